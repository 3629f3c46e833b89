//! How much stores keep, and the checks that every store makes alike.

use std::time::{Duration, SystemTime};

use super::types::{Cursor, StoredSend, to_millis};
use crate::error::{Error, ErrorKind, Reached, Result};

/// How much a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// Messages in the outbox and parked, together. Default 10,000.
    pub max_sends: usize,
    /// Bytes of those messages, by [`StoredSend::size`](super::StoredSend::size). Default 64 MiB.
    pub max_send_bytes: u64,
    /// Cursors. Default 100,000.
    pub max_cursors: usize,
    /// Settled ids; the oldest beyond it are forgotten. A session keeps two for each message: that it is handed
    /// out, and that it is settled. Default 131,072, for the 65,536 messages that an inbox remembers.
    pub max_settled: usize,
    /// How long a settled id is kept. Default 7 days.
    pub max_settled_age: Duration,
}

impl StoreLimits {
    /// Sets how many messages are kept, in the outbox and parked together.
    pub fn with_max_sends(mut self, count: usize) -> Self {
        self.max_sends = count;
        self
    }

    /// Sets how many bytes of messages are kept.
    pub fn with_max_send_bytes(mut self, bytes: u64) -> Self {
        self.max_send_bytes = bytes;
        self
    }

    /// Sets how many cursors are kept.
    pub fn with_max_cursors(mut self, count: usize) -> Self {
        self.max_cursors = count;
        self
    }

    /// Sets how many settled ids are kept.
    pub fn with_max_settled(mut self, count: usize) -> Self {
        self.max_settled = count;
        self
    }

    /// Sets how long settled ids are kept.
    pub fn with_max_settled_age(mut self, age: Duration) -> Self {
        self.max_settled_age = age;
        self
    }

    /// Checks that something can be kept. A durable store does so when it is opened, one in memory at each call.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the field and its limit.
    pub fn check(&self) -> Result<()> {
        let zeros = [
            (self.max_sends == 0, "`max_sends` must be at least 1"),
            (self.max_send_bytes == 0, "`max_send_bytes` must be at least 1"),
            (self.max_cursors == 0, "`max_cursors` must be at least 1"),
            (self.max_settled == 0, "`max_settled` must be at least 1"),
            (self.max_settled_age.is_zero(), "`max_settled_age` must be longer than nothing"),
        ];
        match zeros.into_iter().find(|(is_zero, _)| *is_zero) {
            None => Ok(()),
            Some((_, what)) => Err(failure(ErrorKind::Invalid, "store.open", what)),
        }
    }

    /// Whether the new message `send` fits beside `count` messages of `bytes` that are held.
    pub(super) fn admit_send(
        &self,
        send: &StoredSend,
        count: usize,
        bytes: u64,
        parked: usize,
    ) -> Result<()> {
        if send.size() > self.max_send_bytes {
            let fault = format!(
                "the message takes {} bytes of the store, and `max_send_bytes` is {}",
                send.size(),
                self.max_send_bytes
            );
            return Err(failure(ErrorKind::TooLarge, "outbox.save", fault));
        }
        let total = bytes.saturating_add(send.size());
        if count < self.max_sends && total <= self.max_send_bytes {
            return Ok(());
        }
        let fault =
            format!("the outbox is full: {count} messages with {bytes} bytes, {parked} of them parked");
        Err(failure(ErrorKind::Backpressure, "outbox.save", fault)
            .with_context("max_sends", self.max_sends.to_string())
            .with_context("max_send_bytes", self.max_send_bytes.to_string()))
    }

    /// Whether one more cursor fits.
    pub(super) fn admit_cursor(&self, count: usize) -> Result<()> {
        if count < self.max_cursors {
            return Ok(());
        }
        let fault = format!("there are {count} cursors and no more fit");
        Err(failure(ErrorKind::Backpressure, "cursor.set", fault))
    }

    /// The time, in milliseconds, below which ids are too old at `now`.
    pub(super) fn settled_horizon(&self, now: i64) -> i64 {
        let age = i64::try_from(self.max_settled_age.as_millis()).unwrap_or(i64::MAX);
        now.saturating_sub(age)
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            max_sends: 10_000,
            max_send_bytes: 64 * 1024 * 1024,
            max_cursors: 100_000,
            max_settled: 2 * 65_536,
            max_settled_age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// An error of a store: no peer was reached.
pub(super) fn failure(kind: ErrorKind, operation: &'static str, text: impl Into<String>) -> Error {
    Error::new(kind, operation, text).with_reached(Reached::No)
}

/// The id is kept with another content.
pub(super) fn other_content() -> Error {
    failure(ErrorKind::Conflict, "outbox.save", "the id is already used for a message with another content")
}

/// Nothing is kept under the id.
pub(super) fn nothing_to_park() -> Error {
    failure(ErrorKind::NotFound, "outbox.park", "no message of that id is in the outbox")
}

/// Checks a cursor and its key.
pub(super) fn check_cursor(key: &str, cursor: &Cursor) -> Result<()> {
    check_name("cursor.set", "key", key)?;
    let len = cursor.bytes().len();
    if len > MAX_CURSOR {
        let fault = format!("the cursor has {len} bytes; at most {MAX_CURSOR}");
        return Err(failure(ErrorKind::TooLarge, "cursor.set", fault));
    }
    Ok(())
}

/// Checks a settled id and gives its time in milliseconds.
pub(super) fn check_settled(id: &str, settled_at: SystemTime) -> Result<i64> {
    check_name("dedup.insert", "id", id)?;
    Ok(to_millis(settled_at))
}

fn check_name(operation: &'static str, what: &str, text: &str) -> Result<()> {
    if (1..=MAX_NAME).contains(&text.len()) {
        return Ok(());
    }
    let fault = format!("the {what} has {} bytes; it needs 1 to {MAX_NAME}", text.len());
    Err(failure(ErrorKind::Invalid, operation, fault))
}

const MAX_NAME: usize = 1024;
const MAX_CURSOR: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_documented() {
        let limits = StoreLimits::default();
        assert_eq!((limits.max_sends, limits.max_send_bytes), (10_000, 67_108_864));
        assert_eq!((limits.max_cursors, limits.max_settled), (100_000, 131_072));
        assert_eq!(limits.max_settled_age, Duration::from_secs(604_800));
    }
}
