//! A message on its way out.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::address::Address;
use crate::header::Headers;
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::media_type::MediaType;

/// Bytes and what they are. The bytes arrive unchanged on every transport.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Body {
    /// What the bytes are.
    pub media_type: MediaType,
    /// The bytes.
    pub bytes: Bytes,
}

impl Body {
    /// `bytes` of `media_type`.
    pub fn new(media_type: impl Into<MediaType>, bytes: impl Into<Bytes>) -> Self {
        Self { media_type: media_type.into(), bytes: bytes.into() }
    }

    /// UTF-8 text (`text/plain`).
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain", text.into())
    }

    /// JSON text (`application/json`). It is not parsed.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self::new("application/json", text)
    }

    /// Opaque bytes (`application/octet-stream`).
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::new("application/octet-stream", bytes)
    }

    /// The bytes as text, when they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

/// How urgent a message is.
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

/// A message to send. It has its [`ClientMsgId`] from birth: send the same value again to repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outbound {
    /// What receivers and servers recognise a repetition by.
    pub client_msg_id: ClientMsgId,
    /// Where it goes.
    pub to: Address,
    /// What it is ordered within. Without one it is ordered with nothing else.
    pub conversation: Option<ConversationId>,
    /// What it says.
    pub body: Body,
    /// Lines beside the body, carried and handed over as they are.
    pub headers: Headers,
    /// Where answers should go, when not to the sender's inbox.
    pub reply_to: Option<Address>,
    /// The call that this asks or answers.
    pub correlation_id: Option<CorrelationId>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it is worth delivering.
    pub ttl: Option<Duration>,
    /// How long the network holds it back.
    pub delay: Option<Duration>,
    /// Keeps only the newest message of this key in the inbox. It is the application's, never spent by
    /// the library.
    pub key: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// After this moment the receiver should not act on it any more.
    pub deadline: Option<SystemTime>,
}

impl Outbound {
    /// A message to `to` under a fresh id.
    pub fn new(to: Address, body: Body) -> Self {
        Self {
            client_msg_id: ClientMsgId::random(),
            to,
            conversation: None,
            body,
            headers: Headers::new(),
            reply_to: None,
            correlation_id: None,
            priority: Priority::Normal,
            ttl: None,
            delay: None,
            key: None,
            tags: Vec::new(),
            deadline: None,
        }
    }

    /// Replaces the id, for a message that was born elsewhere.
    pub fn with_id(mut self, id: ClientMsgId) -> Self {
        self.client_msg_id = id;
        self
    }

    /// Sets the conversation.
    pub fn with_conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    /// Sets one header line.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets where answers go.
    pub fn with_reply_to(mut self, address: Address) -> Self {
        self.reply_to = Some(address);
        self
    }

    /// Sets the correlation id.
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Sets the priority.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long it is worth delivering.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets how long the network holds it back.
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Sets the compaction key.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a label.
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets the moment after which the receiver should not act on it.
    pub fn with_deadline(mut self, deadline: SystemTime) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// A digest of everything but the id: equal for repetitions, and (but for collisions of a 64-bit
    /// hash) different for another content under the same id.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.to, &self.conversation, &self.body, &self.reply_to, &self.correlation_id).hash(&mut hasher);
        (self.priority, self.ttl, self.delay, &self.key, &self.tags, self.deadline).hash(&mut hasher);
        for line in self.headers.iter() {
            line.hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_follows_the_content_and_not_the_id() {
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to.clone(), Body::text("hello"));
        let repeated = message.clone().with_id(ClientMsgId::random());
        assert_eq!(message.fingerprint(), repeated.fingerprint());
        for other in [
            Outbound::new(to.clone(), Body::text("hullo")),
            Outbound::new(Address::parse("loopback://c").expect("valid"), Body::text("hello")),
            Outbound::new(to.clone(), Body::text("hello")).with_header("a", "b"),
            Outbound::new(to, Body::text("hello")).with_priority(Priority::Urgent),
        ] {
            assert_ne!(message.fingerprint(), other.fingerprint());
        }
    }

    #[test]
    fn debug_shows_no_body_and_no_whole_address() {
        let to = Address::parse("loopback://secret-inbox").expect("valid");
        let shown = format!("{:?}", Outbound::new(to, Body::text("the plan")));
        assert!(!shown.contains("the plan") && !shown.contains("secret-inbox"), "{shown}");
    }
}
