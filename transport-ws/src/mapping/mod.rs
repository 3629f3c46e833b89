//! A message between its two forms: core's, and the content and metadata of a row. The format is in the
//! crate's `WIRE.md`.

mod json_copy;
mod pack;
mod unpack;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub(crate) use {
    pack::to_draft,
    unpack::{address_of, from_row, from_row_of},
};

/// What our senders write beside the content, under [`OURS`]. What is not said is as usual.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Ours<'a> {
    /// The format's version.
    #[serde(default)]
    v: u32,
    /// Where the body is.
    #[serde(default, skip_serializing_if = "BodyIn::is_text")]
    body: BodyIn,
    /// The body's media type, unless [`TEXT`].
    #[serde(default, borrow, rename = "type", skip_serializing_if = "Option::is_none")]
    media_type: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    conversation: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Cow<'a, str>>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Cow<'a, str>>,
    /// Pairs, since the server sorts the members of objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Where a body is in its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BodyIn {
    /// `text`, as it is. `data` beside it is a copy for other clients.
    #[default]
    Text,
    /// `data.base64`.
    Base64,
}

impl BodyIn {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_text(&self) -> bool {
        *self == Self::Text
    }
}

/// The scheme of AgentChat addresses.
pub(crate) const SCHEME: &str = "agentchat";
/// The member of the metadata that is ours.
const OURS: &str = "agentchat-rs";
const VERSION: u32 = 1;
/// What a body is when its sender did not say.
const TEXT: &str = "text/plain";
const JSON: &str = "application/json";
/// A content that is neither a text alone nor data alone, as JSON. Written by other clients.
const CONTENT: &str = "application/vnd.agentchat.content+json";
/// An event that the server itself tells. Nobody else's message gets this type.
pub(crate) const SYSTEM: &str = "application/vnd.agentchat.system+json";

/// The largest body there can be: plain text without escapes and with nothing beside it. What else a message
/// has, and how its bytes must be written, counts too: a message that does not fit is refused with the sizes.
pub const MAX_BODY: usize = crate::api::MAX_CONTENT - r#"{"text":""}"#.len();
/// Any bytes up to this size fit, with up to 700 bytes of metadata.
pub const MAX_ANY_BODY: usize = 24_000;

#[cfg(test)]
pub(crate) mod tests;
