//! The keyed state of an inbox.

use std::collections::HashMap;
use std::time::SystemTime;

use super::inbox::{InboxLimits, OVERHEAD};
use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::message::Body;

/// Values by key, each the last one put there. They are replaced and never removed.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    values: HashMap<String, (Body, SystemTime)>,
    /// What they take of [`InboxLimits::bytes`].
    bytes: usize,
}

impl Keyed {
    /// # Errors
    /// `Backpressure`, for good, when it goes beyond `limits`. What was there stays.
    pub(crate) fn put(&mut self, key: &str, value: Body, limits: InboxLimits) -> Result<()> {
        let known = self.values.get(key).map(|(value, _)| cost(key, value));
        let (count, cost) = (self.values.len() + usize::from(known.is_none()), cost(key, &value));
        let bytes = (self.bytes - known.unwrap_or(0)).saturating_add(cost);
        if count > limits.messages || bytes > limits.bytes {
            let InboxLimits { messages, bytes } = limits;
            let what = format!("the keyed state is full: at most {messages} values and {bytes} bytes");
            let full = Error::new(ErrorKind::Backpressure, "put", what);
            return Err(full.with_advice(Advice::Never).with_reached(Reached::Yes));
        }
        self.bytes = bytes;
        self.values.insert(key.to_owned(), (value, SystemTime::now()));
        Ok(())
    }

    pub(crate) fn get(&self, key: &str) -> Option<(Body, SystemTime)> {
        self.values.get(key).cloned()
    }
}

fn cost(key: &str, value: &Body) -> usize {
    key.len() + value.bytes.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_as_many_values_and_bytes_as_it_may_and_replaces_them() {
        let (body, limits) =
            (|text: &'static str| Body::text(text), InboxLimits { messages: 2, bytes: 2 * (OVERHEAD + 4) });
        let mut state = Keyed::default();
        for round in ["0", "1", "2"] {
            state.put("a", body("111"), limits).expect("room");
            state.put("b", body(round), limits).expect("room");
        }
        let full = |error: Error| {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Backpressure, false));
            assert!(error.to_string().contains("at most 2 values and 2056 bytes"), "{error}");
        };
        full(state.put("c", body(""), limits).expect_err("a third value"));
        full(state.put("b", body("12345"), limits).expect_err("too many bytes"));
        assert_eq!(state.get("b").expect("it stays").0, body("2"));
        assert_eq!((state.get("c").is_none(), state.bytes), (true, 2 * OVERHEAD + 6));
    }
}
