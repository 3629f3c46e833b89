//! Which mailbox the answers to a call will go to, decided before it is sent.

use std::fmt;
use std::time::Duration;

use crate::callback::{Callback, find};
use crate::error::{Error, Result};
use crate::json;
use crate::limits::Limits;

/// How long a mailbox lives that is made for the answers to one call.
pub const CALLBACK_TTL: Duration = Duration::from_secs(86_400);

/// Where the answers to a call will go, before it is sent. `Debug` leaves addresses out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallbackPlan {
    /// A mailbox is to be made, for this long ([`CALLBACK_TTL`]).
    Create(Duration),
    /// The caller has named one.
    Given(String),
    /// The message carries one already: it is kept, and answers are awaited there.
    InMessage(Callback),
}

impl CallbackPlan {
    /// Decides for a body and the callback its caller has named, if any.
    ///
    /// # Errors
    ///
    /// [`Error::CallbackExists`] if the caller names one and the message carries another: nobody said which is
    /// meant.
    pub fn of(body: &[u8], given: Option<&str>) -> Result<Self> {
        let found = json::parse_body(body, &Limits::default()).ok().and_then(find);
        match (given, found) {
            (None, None) => Ok(Self::Create(CALLBACK_TTL)),
            (None, Some(found)) => Ok(Self::InMessage(found)),
            (Some(given), Some(found)) if found.uri != given => {
                Err(Error::CallbackExists { field: found.field })
            }
            (Some(_), Some(found)) => Ok(Self::InMessage(found)),
            (Some(given), None) => Ok(Self::Given(given.to_owned())),
        }
    }
}

impl fmt::Debug for CallbackPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(ttl) => f.debug_tuple("Create").field(ttl).finish(),
            Self::Given(_) => f.write_str("Given(<masked>)"),
            Self::InMessage(found) => f.debug_tuple("InMessage").field(found).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &[u8] = br#"{"pushNotification":{"url":"mq9://broker/mine"}}"#;

    #[test]
    fn a_call_without_a_callback_gets_a_mailbox_for_a_day() {
        assert_eq!(CallbackPlan::of(b"{}", None), Ok(CallbackPlan::Create(Duration::from_secs(86_400))));
        assert_eq!(CallbackPlan::of(b"no json", None), Ok(CallbackPlan::Create(CALLBACK_TTL)));
    }

    #[test]
    fn a_callers_own_callback_is_accepted_from_either_place() {
        assert_eq!(CallbackPlan::of(b"{}", Some("box")), Ok(CallbackPlan::Given("box".into())));
        for given in [None, Some("mq9://broker/mine")] {
            let Ok(CallbackPlan::InMessage(found)) = CallbackPlan::of(SET, given) else {
                panic!("{given:?}")
            };
            assert_eq!(found.uri, "mq9://broker/mine");
        }
    }

    #[test]
    fn two_callbacks_are_one_too_many() {
        assert!(matches!(
            CallbackPlan::of(SET, Some("mq9://broker/other")),
            Err(Error::CallbackExists { .. })
        ));
    }

    #[test]
    fn debug_prints_no_address() {
        let plans = [CallbackPlan::of(SET, None), CallbackPlan::of(b"", Some("mq9://broker/mine"))];
        assert!(!format!("{plans:?}").contains("mine"));
    }
}
