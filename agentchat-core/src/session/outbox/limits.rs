//! How much may wait to be sent.

use crate::error::{Error, ErrorKind, Result};
use crate::message::Outbound;

/// How much the queue of messages on their way out may hold. Messages under way and parked ones count
/// until they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// At most this many messages (default 1,024).
    pub max_messages: usize,
    /// At most this many bytes (default 16 MiB): body, headers, media type, key, tags, and 1,024 for each
    /// message's own keeping.
    pub max_bytes: usize,
    /// At most this many attempts under way at once (default 64).
    pub in_flight: usize,
}

impl OutboxLimits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many messages may wait.
    pub fn with_max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// Sets how many bytes may wait.
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how many attempts may be under way at once.
    pub fn with_in_flight(mut self, attempts: usize) -> Self {
        self.in_flight = attempts;
        self
    }

    /// Checks that anything can be sent at all.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field: zero `max_messages`, zero `in_flight`, or `max_bytes` that
    /// do not hold even an empty message.
    pub fn check(&self) -> Result<()> {
        let fault = if self.max_messages == 0 {
            "`max_messages` must be at least 1".to_owned()
        } else if self.max_bytes < OVERHEAD {
            format!("`max_bytes` must be at least {OVERHEAD}, what an empty message takes")
        } else if self.in_flight == 0 {
            "`in_flight` must be at least 1".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, "outbox", fault))
    }
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { max_messages: 1024, max_bytes: 16 * 1024 * 1024, in_flight: 64 }
    }
}

/// What `message` takes of [`OutboxLimits::max_bytes`].
pub(super) fn cost(message: &Outbound) -> usize {
    let tags: usize = message.tags.iter().map(String::len).sum();
    let key = message.key.as_ref().map_or(0, String::len);
    let body = message.body.bytes.len() + message.body.media_type.size();
    OVERHEAD + body + message.headers.size() + key + tags
}

/// The message's struct, its ids and addresses, and its place in the queue's indexes, rounded up.
const OVERHEAD: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Body};

    #[test]
    fn the_documented_defaults_hold() {
        let limits = OutboxLimits::new();
        let documented = (1024, 16 * 1024 * 1024, 64);
        assert_eq!((limits.max_messages, limits.max_bytes, limits.in_flight), documented);
        limits.check().expect("the defaults are valid");
    }

    #[test]
    fn limits_that_let_nothing_through_are_refused_by_name() {
        let limits = OutboxLimits::new();
        for (bad, field) in [
            (limits.with_max_messages(0), "`max_messages`"),
            (limits.with_max_bytes(511), "`max_bytes`"),
            (limits.with_in_flight(0), "`in_flight`"),
        ] {
            let error = bad.check().expect_err(field);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn everything_of_any_length_counts() {
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to, Body::new("a/b", "12345")).with_header("h", "vv");
        assert_eq!(cost(&message.with_key("key").with_tag("t").with_tag("tt")), 1024 + 3 + 5 + 3 + 3 + 3);
    }
}
