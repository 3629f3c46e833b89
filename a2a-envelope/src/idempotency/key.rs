//! What makes two requests one.

use std::fmt;

use crate::envelope::Envelope;
use crate::json;
use crate::limits::Limits;
use crate::sha256::sha256_base32;

/// What makes two requests one: an A2A `messageId` and an AgentChat `client_msg_id` are the same key.
///
/// A text of 1 to 128 characters of visible ASCII is its own key. Any other becomes the SHA-256 of it in base
/// 32, which is 52 such characters, so that every key can be sent as a `client_msg_id` and comes back as
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey(String);

impl RequestKey {
    /// The longest text that is its own key, in characters.
    pub const MAX: usize = 128;

    /// The key of a `messageId` or `client_msg_id`; an empty one has none.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let clean = id.len() <= Self::MAX && id.bytes().all(|b| b.is_ascii_graphic());
        match (id.is_empty(), clean) {
            (true, _) => None,
            (_, true) => Some(Self(id.to_owned())),
            (_, false) => Some(Self(sha256_base32(id.as_bytes()))),
        }
    }

    /// The key of a request: its header `amb-idempotency-key`, else the `messageId` in its body, else the id
    /// its network gave it (`client_msg_id`), else its correlation id. `None` for a message with none of
    /// these: it cannot be recognised when it comes again.
    ///
    /// The body is read within `limits`; one beyond them has no id in it.
    #[must_use]
    pub fn of(envelope: &Envelope, client_msg_id: Option<&str>, limits: &Limits) -> Option<Self> {
        envelope
            .idempotency_key()
            .and_then(Self::new)
            .or_else(|| message_id(&envelope.body, limits).as_deref().and_then(Self::new))
            .or_else(|| client_msg_id.and_then(Self::new))
            .or_else(|| {
                let found = crate::correlation::correlation_of(&envelope.headers, &envelope.body)?;
                Self::new(&found.id)
            })
    }

    /// The key, fit for a `client_msg_id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `messageId` of a request: of its message under `params`, of a bare request's, or its own.
fn message_id(body: &[u8], limits: &Limits) -> Option<String> {
    let root = json::parse_body(body, limits).ok()?;
    let paths: [&[&str]; 3] =
        [&["params", "message", "messageId"], &["message", "messageId"], &["messageId"]];
    let id = paths.iter().find_map(|path| root.at(path))?.as_str()?;
    Some(id.into_owned())
}
