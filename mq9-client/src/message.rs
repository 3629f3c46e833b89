//! Messages as sent and as received.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

pub use crate::headers::Headers;

/// A message's number in its mailbox: from 0, strictly increasing, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MsgId(u64);

impl MsgId {
    /// The id with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How urgent a message is. Higher ones are delivered first; within one it is first in, first out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Priority {
    /// The default.
    #[default]
    Normal,
    /// Before every normal message.
    Urgent,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Urgent => "urgent",
            Self::Critical => "critical",
        }
    }

    /// Reads the wire's name exactly; the broker itself treats any other word as normal in silence.
    pub fn from_wire(name: &str) -> Option<Self> {
        match name {
            "normal" => Some(Self::Normal),
            "urgent" => Some(Self::Urgent),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }
}

impl std::str::FromStr for Priority {
    type Err = crate::Error;

    fn from_str(name: &str) -> crate::Result<Self> {
        Self::from_wire(name).ok_or_else(|| {
            crate::Error::new(
                crate::ErrorKind::Invalid,
                "priority",
                format!("{name:?} is none of normal, urgent, critical"),
            )
        })
    }
}

/// A message to send. UTF-8 payloads go as they are; others travel as base64, marked in a header,
/// because the broker hands payloads out as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) payload: Bytes,
    pub(crate) headers: Headers,
    pub(crate) priority: Priority,
    pub(crate) key: Option<String>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) delay: Option<Duration>,
    pub(crate) tags: Vec<String>,
}

impl Message {
    /// A normal-priority message without headers.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            headers: Headers::new(),
            priority: Priority::Normal,
            key: None,
            ttl: None,
            delay: None,
            tags: Vec::new(),
        }
    }

    /// Sets the priority (`mq9-priority`).
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the compaction key (`mq9-key`): only the newest message of a key is kept in the mailbox,
    /// and it is delivered again to groups that had acknowledged the older one.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Lets the message expire (`mq9-ttl`), in whole seconds rounded up. The broker keeps it visible
    /// for up to a second longer. A delayed message loses its ttl in the broker.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Delivers the message later (`mq9-delay`), in whole seconds rounded up; at most 365 days, since a
    /// longer delay stops one of the broker's delay workers for good. A delayed message has no id until
    /// it is delivered, and the broker drops its key and ttl: sending both is refused.
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Adds a tag (`mq9-tags`). Commas and surrounding blanks are refused, as the broker splits at them.
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a header line. Names beginning `mq9-` that the broker reads have their own setters and are
    /// refused here when the message is sent.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Replaces all free header lines.
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// The payload as handed in.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &self.payload.len())
            .field("headers", &self.headers.len())
            .field("priority", &self.priority)
            .field("keyed", &self.key.is_some())
            .field("ttl", &self.ttl)
            .field("delay", &self.delay)
            .field("tags", &self.tags.len())
            .finish()
    }
}

/// A message as the broker handed it out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its number in the mailbox.
    pub id: MsgId,
    /// Exactly the bytes that were sent, when the sender was this client or sent UTF-8.
    ///
    /// A small one (up to 1 KiB) shares memory with its neighbours in the reply, so whoever keeps one for
    /// long keeps up to 4 KiB; copy it to keep no more than it needs.
    pub payload: Bytes,
    /// Every header line it was sent with, the broker's own (`mq9-…`) among them.
    pub headers: Headers,
    /// Its priority. `None` for a record that a plain NATS publish put into the mailbox's storage.
    pub priority: Option<Priority>,
    /// When the broker stored it (a delayed one: when it was delivered), in whole seconds since 1970.
    pub create_time: u64,
}

impl Received {
    /// The compaction key it was sent with.
    pub fn key(&self) -> Option<&str> {
        self.headers.get("mq9-key")
    }

    /// The tags it was sent with.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.headers
            .get("mq9-tags")
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
    }

    /// What it costs in memory, roughly: payload and header bytes.
    pub fn size(&self) -> usize {
        self.payload.len() + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("id", &self.id)
            .field("bytes", &self.payload.len())
            .field("headers", &self.headers.len())
            .field("priority", &self.priority)
            .field("create_time", &self.create_time)
            .finish()
    }
}
