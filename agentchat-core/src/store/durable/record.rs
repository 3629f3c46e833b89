//! How messages, reasons and times lie in the file.
//!
//! A message is the length of its head (4 bytes, big-endian), the head as JSON, then the body's bytes to
//! the end. JSON names every field, so a record explains itself to whoever opens the file; the body,
//! usually the largest part, costs neither base64 nor escaping. Absent fields are left out. Times and
//! durations are `[seconds, nanoseconds]`, so that a message read back equals the one handed over. A
//! reason is one JSON object.
//!
//! A field that is not known is refused, never dropped: whoever adds one raises
//! [`FORMAT`](super::file::FORMAT).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::types::{ParkedReason, StoredSend};
use crate::address::Address;
use crate::error::{ErrorKind, Reached};
use crate::header::Headers;
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::message::{Body, Outbound, Priority};

/// A record that cannot be read: which part is wrong. It never repeats what the record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// Writes a message.
pub(super) fn encode_send(send: &StoredSend) -> Vec<u8> {
    let message = &send.message;
    let head = Head {
        position: send.position,
        attempts: send.attempts,
        id: message.client_msg_id.to_string(),
        to: message.to.to_string(),
        conversation: message.conversation.as_ref().map(ToString::to_string),
        media_type: message.body.media_type.to_string(),
        headers: message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        reply_to: message.reply_to.as_ref().map(ToString::to_string),
        correlation: message.correlation_id.as_ref().map(ToString::to_string),
        priority: match message.priority {
            Priority::Normal => Urgency::Normal,
            Priority::Urgent => Urgency::Urgent,
            Priority::Critical => Urgency::Critical,
        },
        ttl: message.ttl.map(from_duration),
        delay: message.delay.map(from_duration),
        key: message.key.clone(),
        tags: message.tags.clone(),
        deadline: message.deadline.map(from_time),
    };
    let head = serde_json::to_vec(&head).expect("a struct of texts and numbers is JSON");
    let length = u32::try_from(head.len()).expect("an outbox is smaller than 4 GiB");
    let mut record = Vec::with_capacity(4 + head.len() + message.body.bytes.len());
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(&head);
    record.extend_from_slice(&message.body.bytes);
    record
}

/// Reads what [`encode_send`] wrote.
pub(super) fn decode_send(record: &[u8]) -> Result<StoredSend, Unreadable> {
    let (length, rest) = record.split_first_chunk::<4>().ok_or(Unreadable("the length"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Unreadable("the length"))?;
    let (head, body) = rest.split_at_checked(length).ok_or(Unreadable("the length"))?;
    let head: Head = serde_json::from_slice(head).map_err(|_| Unreadable("the head"))?;
    let address = |text| Address::parse(text).map_err(|_| Unreadable("an address"));
    let mut headers = Headers::new();
    for (name, value) in head.headers {
        headers.insert(name, value);
    }
    let message = Outbound {
        client_msg_id: ClientMsgId::new(head.id).map_err(|_| Unreadable("the id"))?,
        to: address(head.to)?,
        conversation: head.conversation.map(named(ConversationId::new)).transpose()?,
        body: Body::new(head.media_type, Bytes::copy_from_slice(body)),
        headers,
        reply_to: head.reply_to.map(address).transpose()?,
        correlation_id: head.correlation.map(named(CorrelationId::new)).transpose()?,
        priority: match head.priority {
            Urgency::Normal => Priority::Normal,
            Urgency::Urgent => Priority::Urgent,
            Urgency::Critical => Priority::Critical,
        },
        ttl: head.ttl.map(to_duration).transpose()?,
        delay: head.delay.map(to_duration).transpose()?,
        key: head.key,
        tags: head.tags,
        deadline: head.deadline.map(to_time).transpose()?,
    };
    Ok(StoredSend::new(head.position, message).with_attempts(head.attempts))
}

/// Writes a reason.
pub(super) fn encode_reason(reason: &ParkedReason) -> Vec<u8> {
    let written = Reason {
        kind: kind_name(reason.kind).to_owned(),
        reached: match reason.reached {
            Reached::No => Reach::No,
            Reached::Unknown => Reach::Unknown,
            Reached::Yes => Reach::Yes,
        },
        text: reason.text.clone(),
        at: from_time(reason.at),
    };
    serde_json::to_vec(&written).expect("a struct of texts and numbers is JSON")
}

/// Reads what [`encode_reason`] wrote.
pub(super) fn decode_reason(record: &[u8]) -> Result<ParkedReason, Unreadable> {
    let read: Reason = serde_json::from_slice(record).map_err(|_| Unreadable("the reason"))?;
    let kind = KINDS.into_iter().find(|kind| kind_name(*kind) == read.kind);
    let reached = match read.reached {
        Reach::No => Reached::No,
        Reach::Unknown => Reached::Unknown,
        Reach::Yes => Reached::Yes,
    };
    Ok(ParkedReason::new(kind.unwrap_or(ErrorKind::Unexpected), reached, read.text, to_time(read.at)?))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    position: u64,
    attempts: u32,
    id: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
    media_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    priority: Urgency,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<(u64, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<(u64, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<(i64, u32)>,
}

#[derive(Serialize, Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Urgency {
    #[default]
    Normal,
    Urgent,
    Critical,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    kind: String,
    reached: Reach,
    text: String,
    at: (i64, u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reach {
    No,
    Unknown,
    Yes,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn named<T>(make: fn(String) -> crate::Result<T>) -> impl Fn(String) -> Result<T, Unreadable> {
    move |text| make(text).map_err(|_| Unreadable("an id"))
}

fn from_duration(duration: Duration) -> (u64, u32) {
    (duration.as_secs(), duration.subsec_nanos())
}

fn to_duration((seconds, nanos): (u64, u32)) -> Result<Duration, Unreadable> {
    if nanos >= NANOS {
        return Err(Unreadable("a duration"));
    }
    Ok(Duration::new(seconds, nanos))
}

/// Whole seconds rounded down, and the nanoseconds above them.
fn from_time(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-(before.as_secs() as i64), 0),
                nanos => (-(before.as_secs() as i64) - 1, NANOS - nanos),
            }
        }
    }
}

fn to_time((seconds, nanos): (i64, u32)) -> Result<SystemTime, Unreadable> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    let fraction = to_duration((0, nanos)).map_err(|_| Unreadable("a time"))?;
    whole.and_then(|whole| whole.checked_add(fraction)).ok_or(Unreadable("a time"))
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "config",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Invalid => "invalid",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::RateLimited => "rate_limited",
        ErrorKind::Backpressure => "backpressure",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Disconnected => "disconnected",
        ErrorKind::Closed => "closed",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Protocol => "protocol",
        ErrorKind::Handler => "handler",
        ErrorKind::Unexpected => "unexpected",
    }
}

const NANOS: u32 = 1_000_000_000;
const KINDS: [ErrorKind; 16] = [
    ErrorKind::Config,
    ErrorKind::Unauthorized,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::Invalid,
    ErrorKind::TooLarge,
    ErrorKind::RateLimited,
    ErrorKind::Backpressure,
    ErrorKind::Timeout,
    ErrorKind::Disconnected,
    ErrorKind::Closed,
    ErrorKind::Unsupported,
    ErrorKind::Protocol,
    ErrorKind::Handler,
    ErrorKind::Unexpected,
];

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
