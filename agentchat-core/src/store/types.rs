//! What stores keep.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Reached};
use crate::id::ClientMsgId;
use crate::message::Outbound;

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredSend {
    /// Its place in the outbox; the lowest is first.
    pub position: u64,
    /// The message, every part as it was handed over.
    pub message: Outbound,
    /// How many attempts were begun when it was last saved. A crash may hide further ones.
    pub attempts: u32,
}

impl StoredSend {
    /// `message` at `position`, before its first attempt.
    pub fn new(position: u64, message: Outbound) -> Self {
        Self { position, message, attempts: 0 }
    }

    /// Sets the count of attempts.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The id of the message.
    pub fn id(&self) -> &ClientMsgId {
        &self.message.client_msg_id
    }

    /// What it counts against [`StoreLimits::max_send_bytes`](super::StoreLimits): its texts and body in
    /// bytes, and a constant for the rest.
    pub fn size(&self) -> u64 {
        let message = &self.message;
        let texts = message.body.media_type.len()
            + message.to.as_str().len()
            + message.reply_to.as_ref().map_or(0, |address| address.as_str().len())
            + message.key.as_ref().map_or(0, String::len)
            + message.tags.iter().map(String::len).sum::<usize>();
        (OVERHEAD + texts + message.headers.size() + message.body.bytes.len()) as u64
    }
}

/// A message that was given up, with the reason: a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedSend {
    /// The message, as it was in the outbox.
    pub send: StoredSend,
    /// Why it is here.
    pub reason: ParkedReason,
}

impl ParkedSend {
    /// `send`, parked for `reason`.
    pub fn new(send: StoredSend, reason: ParkedReason) -> Self {
        Self { send, reason }
    }
}

/// Why a message was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedReason {
    /// What went wrong. A kind that a newer version wrote reads as [`ErrorKind::Unexpected`].
    pub kind: ErrorKind,
    /// Whether an attempt may have delivered it: whether sending it again may repeat it.
    pub reached: Reached,
    /// One line for people, at most 1,024 bytes. It must be free of secrets, as an [`Error`] is.
    pub text: String,
    /// When it was parked.
    pub at: SystemTime,
}

impl ParkedReason {
    /// A reason in words; a text over 1,024 bytes is cut.
    pub fn new(kind: ErrorKind, reached: Reached, text: impl Into<String>, at: SystemTime) -> Self {
        let mut text = text.into();
        let end = (0..=MAX_REASON.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        Self { kind, reached, text, at }
    }

    /// The last error of a message that is given up.
    pub fn from_error(error: &Error, at: SystemTime) -> Self {
        Self::new(error.kind(), error.reached(), error.to_string(), at)
    }
}

/// A position in an inbox or conversation. Only the transport that made it can read it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(Bytes);

impl Cursor {
    /// Wraps the transport's bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The transport's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

/// An id that is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettledId {
    /// The id, as it was inserted.
    pub id: String,
    /// When it was settled, in whole milliseconds.
    pub settled_at: SystemTime,
}

impl SettledId {
    /// `id`, settled at `settled_at`.
    pub fn new(id: impl Into<String>, settled_at: SystemTime) -> Self {
        Self { id: id.into(), settled_at }
    }
}

/// Whole milliseconds since 1970, rounded down; times out of range become the nearest that fits.
pub(super) fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            let nanos = before.duration().as_nanos().div_ceil(1_000_000);
            i64::try_from(nanos).map_or(i64::MIN, |millis| -millis)
        }
    }
}

/// The reverse of [`to_millis`]; a time that the platform cannot express becomes 1970.
pub(super) fn from_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// What a message costs beside its texts, roughly.
const OVERHEAD: usize = 256;
const MAX_REASON: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::message::Body;
    use proptest::prelude::*;

    #[test]
    fn debug_shows_no_body_address_or_cursor() {
        let to = Address::parse("loopback://secret-inbox").expect("valid");
        let send = StoredSend::new(1, Outbound::new(to, Body::text("the plan")));
        let error = Error::new(ErrorKind::Forbidden, "send", "not a contact");
        let shown = format!(
            "{:?} {:?}",
            ParkedSend::new(send, ParkedReason::from_error(&error, UNIX_EPOCH)),
            Cursor::new("secret-offset")
        );
        assert!(!shown.contains("the plan") && !shown.contains("secret"), "{shown}");
        assert!(shown.contains("not a contact"), "{shown}");
    }

    #[test]
    fn a_reason_is_cut_at_a_character_and_not_inside_one() {
        let text = "ü".repeat(600);
        let reason = ParkedReason::new(ErrorKind::Invalid, Reached::No, format!("x{text}"), UNIX_EPOCH);
        assert_eq!(reason.text.len(), 1023);
    }

    proptest! {
        #[test]
        fn milliseconds_survive_and_finer_parts_round_down(millis in -1_i64 << 45..1_i64 << 45, nanos in 0_u64..1_000_000) {
            let time = from_millis(millis);
            prop_assert_eq!(to_millis(time), millis);
            prop_assert_eq!(to_millis(time + Duration::from_nanos(nanos)), millis);
        }
    }
}
