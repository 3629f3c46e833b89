//! What a failed attempt means for its message.

use crate::error::{Error, Reached};

/// What to do with a message whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Only the caller can say what next.
    Park,
    /// Send it again after a while.
    Backoff,
    /// Send it again on the next connection.
    Reconnect,
}

/// Decides by the error's advice and by whether repeating could deliver twice. `dedup` says that the
/// receiving side recognises a repeated `client_msg_id`.
pub(super) fn verdict(error: &Error, dedup: bool) -> Verdict {
    let could_repeat = error.reached() != Reached::Unknown || dedup;
    if !error.is_retryable() || error.is_fatal() || !could_repeat {
        Verdict::Park
    } else if error.ends_attachment() {
        Verdict::Reconnect
    } else {
        Verdict::Backoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Advice, ErrorKind};
    use std::time::Duration;

    #[test]
    fn every_kind_with_what_it_implies() {
        use ErrorKind::*;
        use Verdict::{Backoff, Park, Reconnect};
        for (kind, with_dedup, without) in [
            (Config, Park, Park),
            (Unauthorized, Park, Park),
            (Forbidden, Park, Park),
            (NotFound, Park, Park),
            (Conflict, Park, Park),
            (Invalid, Park, Park),
            (TooLarge, Park, Park),
            (RateLimited, Backoff, Backoff),
            (Backpressure, Backoff, Backoff),
            (Timeout, Backoff, Park),
            (Disconnected, Reconnect, Park),
            (Closed, Park, Park),
            (Unsupported, Park, Park),
            (Protocol, Park, Park),
            (Handler, Park, Park),
            (Unexpected, Park, Park),
        ] {
            let error = Error::new(kind, "send", "");
            assert_eq!((verdict(&error, true), verdict(&error, false)), (with_dedup, without), "{kind:?}");
        }
    }

    #[test]
    fn only_an_unknown_arrival_needs_the_other_side_to_recognise_it() {
        for kind in [ErrorKind::Timeout, ErrorKind::Disconnected, ErrorKind::RateLimited] {
            for (reached, safe_alone) in
                [(Reached::No, true), (Reached::Yes, true), (Reached::Unknown, false)]
            {
                let error = Error::new(kind, "send", "").with_reached(reached);
                assert_eq!(verdict(&error, false) != Verdict::Park, safe_alone, "{kind:?} {reached:?}");
                assert_ne!(verdict(&error, true), Verdict::Park, "{kind:?} {reached:?}");
            }
        }
    }

    #[test]
    fn advice_weighs_more_than_what_the_kind_implies() {
        let wait = Advice::After(Duration::from_secs(1));
        for (kind, advice, expected) in [
            (ErrorKind::RateLimited, Advice::Never, Verdict::Park),
            (ErrorKind::Unexpected, Advice::Backoff, Verdict::Backoff),
            (ErrorKind::Unexpected, Advice::Reconnect, Verdict::Reconnect),
            (ErrorKind::Disconnected, Advice::Backoff, Verdict::Backoff),
            (ErrorKind::Disconnected, wait, Verdict::Backoff),
            (ErrorKind::Unauthorized, Advice::Backoff, Verdict::Park),
        ] {
            let error = Error::new(kind, "send", "").with_advice(advice);
            assert_eq!(verdict(&error, true), expected, "{kind:?} {advice:?}");
        }
    }
}
