//! Frames that the server sends down the socket.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::group::{GroupDeleted, GroupInvitation};
use super::loose::Loose;
use super::presence::Presence;
use super::receipt::ReadReceipt;
use super::row::MessageRow;
use super::row_reader::read_within;
use super::{Extra, lenient};

/// A frame from the server. Reading one never fails: what cannot be read is [`ServerFrame::Unreadable`], to
/// be counted and passed over.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly every frame is a message")]
pub enum ServerFrame {
    /// `hello.ok`: the server takes the key.
    HelloOk {
        /// The capabilities it grants, of those that were offered.
        capabilities: Vec<String>,
    },
    /// `message.new`: pushed, drained or offered again.
    Message(MessageRow),
    /// `message.read`: someone read a message of ours.
    Read(ReadReceipt),
    /// `presence.update`: a contact's presence changed.
    Presence(Presence),
    /// `typing.start` or `typing.stop`.
    Typing(Typing),
    /// `rate_limit.warning`.
    RateLimit(RateLimitWarning),
    /// `group.invite.received`.
    Invitation(GroupInvitation),
    /// `group.deleted`: a group this agent was in is gone.
    GroupDeleted(GroupDeleted),
    /// `hello.error`, `auth.rejected` or `error`. Before the session is live it is a refusal.
    Refused {
        /// The frame's type.
        kind: String,
        /// The server's words, when it gave some.
        reason: Option<String>,
    },
    /// A type that this version does not know.
    Unknown {
        /// The frame's type.
        kind: String,
        /// Its payload as JSON text; empty without one, or where it is null. `Debug` of the frame shows its
        /// length only.
        payload: Payload,
    },
    /// What is no frame.
    Unreadable(Unreadable),
}

/// Why something could not be read. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreadable {
    /// No JSON, or no UTF-8.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// A frame without a text `type`.
    NoType,
    /// A frame whose payload is not what its type needs.
    BadPayload,
    /// A binary frame. AgentChat has none.
    Binary,
}

/// The payload of a frame of unknown type: JSON text.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Payload {
    /// The text.
    pub json: String,
}

/// Someone began or stopped writing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Typing {
    /// Where.
    pub conversation_id: String,
    /// Who, when the server says so.
    pub sender: Option<String>,
    /// Whether it began.
    pub started: bool,
    /// What else came.
    pub extra: Extra,
}

/// The server asks to slow down before it refuses. No recording of one exists; every member may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct RateLimitWarning {
    /// What is limited.
    #[serde(default, deserialize_with = "lenient::text")]
    pub endpoint: Option<String>,
    /// How many calls are allowed.
    #[serde(default, deserialize_with = "lenient::number")]
    pub limit: Option<u64>,
    /// How many are left.
    #[serde(default, deserialize_with = "lenient::number")]
    pub remaining: Option<u64>,
    /// When the count begins anew, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub reset_at: Option<String>,
    /// The server's words.
    #[serde(default, deserialize_with = "lenient::text")]
    pub message: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ServerFrame {
    /// Reads a text frame. A message's row keeps the frame's memory; nothing of it is copied.
    pub fn read(frame: impl Into<Bytes>) -> Self {
        match Utf8Bytes::try_from(frame.into()) {
            Ok(text) => Self::read_text(text),
            Err(_) => Self::Unreadable(Unreadable::NotJson),
        }
    }

    /// [`ServerFrame::read`] of what is known to be text.
    pub(crate) fn read_text(frame: Utf8Bytes) -> Self {
        Self::try_read(frame).unwrap_or_else(Self::Unreadable)
    }

    /// What a binary frame is.
    pub fn binary() -> Self {
        Self::Unreadable(Unreadable::Binary)
    }

    /// The frame's type, as written; nothing for what is no frame.
    pub fn kind(&self) -> Option<&str> {
        Some(match self {
            Self::HelloOk { .. } => "hello.ok",
            Self::Message(_) => "message.new",
            Self::Read(_) => "message.read",
            Self::Presence(_) => "presence.update",
            Self::Typing(typing) if typing.started => "typing.start",
            Self::Typing(_) => "typing.stop",
            Self::RateLimit(_) => "rate_limit.warning",
            Self::Invitation(_) => "group.invite.received",
            Self::GroupDeleted(_) => "group.deleted",
            Self::Refused { kind, .. } | Self::Unknown { kind, .. } => kind,
            Self::Unreadable(_) => return None,
        })
    }

    fn try_read(frame: Utf8Bytes) -> Result<Self, Unreadable> {
        let text = frame.as_str();
        // Nearly every frame is written like this, and is read in one pass then.
        if let Some(payload) = text.strip_prefix(MESSAGE).and_then(|rest| rest.strip_suffix('}'))
            && let Ok((own, members)) = read_within(text, payload)
        {
            return Ok(Self::Message(MessageRow { raw: frame, own, members }));
        }
        let head: Head<'_> = match text.trim_ascii_start().bytes().next() {
            Some(b'{') => serde_json::from_str(text).map_err(|_| Unreadable::NotJson)?,
            _ if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
                return Err(Unreadable::NotAnObject);
            }
            _ => return Err(Unreadable::NotJson),
        };
        let kind = head.kind.and_then(Loose::text).ok_or(Unreadable::NoType)?;
        let payload = head.payload.map_or("", RawValue::get);
        Ok(match &*kind {
            "hello.ok" => {
                Self::HelloOk { capabilities: strings(head.capabilities.map_or("", RawValue::get)) }
            }
            "message.new" if payload.is_empty() => return Err(Unreadable::BadPayload),
            "message.new" => {
                let (own, members) = read_within(text, payload).map_err(|_| Unreadable::BadPayload)?;
                Self::Message(MessageRow { raw: frame, own, members })
            }
            "message.read" => Self::Read(ReadReceipt::read(payload).ok_or(Unreadable::BadPayload)?),
            "presence.update" => Self::Presence(object(payload)?),
            "typing.start" | "typing.stop" => {
                let Members { conversation_id, sender, extra, .. } = object(payload)?;
                let conversation_id = conversation_id.ok_or(Unreadable::BadPayload)?;
                Self::Typing(Typing { conversation_id, sender, started: &*kind == "typing.start", extra })
            }
            "rate_limit.warning" => Self::RateLimit(object(payload).unwrap_or_default()),
            "group.invite.received" => Self::Invitation(object(payload)?),
            "group.deleted" => Self::GroupDeleted(object(payload)?),
            "hello.error" | "auth.rejected" | "error" => {
                let inside: Members = object(payload).unwrap_or_default();
                let beside = [head.message, head.reason].into_iter().flatten().find_map(Loose::text);
                let reason = inside.message.or(inside.reason).or(beside.map(Into::into));
                Self::Refused { kind: kind.into(), reason }
            }
            _ => Self::Unknown { kind: kind.into(), payload: Payload { json: payload.to_owned() } },
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "not JSON",
            Self::NotAnObject => "JSON, but no object",
            Self::NoType => "a frame without a type",
            Self::BadPayload => "a frame with another payload than its type needs",
            Self::Binary => "a binary frame",
        })
    }
}

impl std::error::Error for Unreadable {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.json.len())
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Loose<'a>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<Loose<'a>>,
    #[serde(borrow, default)]
    reason: Option<Loose<'a>>,
}

#[derive(Default, Deserialize)]
struct Members {
    #[serde(default, deserialize_with = "lenient::text")]
    conversation_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    sender: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    reason: Option<String>,
    #[serde(flatten)]
    extra: Extra,
}

/// How a frame with a message begins, as servers write it. What follows is its payload and a brace.
const MESSAGE: &str = r#"{"type":"message.new","payload":"#;

fn object<'a, T: Deserialize<'a>>(payload: &'a str) -> Result<T, Unreadable> {
    if !payload.starts_with('{') {
        return Err(Unreadable::BadPayload);
    }
    serde_json::from_str(payload).map_err(|_| Unreadable::BadPayload)
}

fn strings(json: &str) -> Vec<String> {
    let items: Vec<Loose<'_>> = serde_json::from_str(json).unwrap_or_default();
    items.into_iter().filter_map(|item| item.text().map(Into::into)).collect()
}

#[cfg(test)]
mod tests;
