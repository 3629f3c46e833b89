//! The message row, the central object: as pushed, drained, synced, read from history and answered to a send.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::context::Context;
use super::frame_in::Unreadable;
use super::row_reader::{ContentVisitor, read};
use super::span::{Span, Text};
use super::system::SystemEvent;

/// A message row. It holds its JSON text, within its frame where it came in one, and where its members lie in it, so reading one copies next to
/// nothing, and what is not known is still there.
///
/// Every member is optional here: a row without `id` or `conversation_id` can be looked at, and what to do
/// with it is the reader's decision. A member of the wrong type counts as missing, but for a `seq` written
/// as text, which is read. `Debug` shows neither content nor metadata.
#[derive(Clone, Default)]
pub struct MessageRow {
    /// What it stands in: itself, or its frame.
    pub(super) raw: Utf8Bytes,
    /// Where it stands in that.
    pub(super) own: Span,
    /// Apart, so that handing a row on copies little.
    pub(super) members: Box<Members>,
}

/// Where the members of a row lie in it.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Members {
    pub(super) id: Text,
    pub(super) conversation_id: Text,
    pub(super) sender: Text,
    pub(super) client_msg_id: Text,
    pub(super) kind: Text,
    pub(super) created_at: Text,
    pub(super) delivery_id: Text,
    pub(super) status: Text,
    pub(super) delivered_at: Text,
    pub(super) read_at: Text,
    pub(super) seq: Option<u64>,
    pub(super) content: Span,
    /// The text of a content that is nothing but a text without escapes; empty where that is not known.
    pub(super) plain: Span,
    pub(super) metadata: Span,
    pub(super) context: Span,
    pub(super) skipped: Span,
    pub(super) extra: Vec<(Text, Span)>,
}

/// What a row says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// Text; also what a row without a kind is.
    Text,
    /// Structured data.
    Structured,
    /// A file.
    File,
    /// An event of a group, if the server wrote it; see [`MessageRow::system_event`].
    System,
    /// A kind this version does not know.
    Other,
}

/// The known members of a row's content.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Content<'a> {
    /// `text`.
    pub text: Option<Cow<'a, str>>,
    /// `data`, as JSON text. An object on real wires.
    pub data: Option<&'a str>,
    /// `attachment_id`.
    pub attachment_id: Option<Cow<'a, str>>,
}

impl MessageRow {
    /// Reads a row from its JSON text.
    ///
    /// # Errors
    /// [`Unreadable`] when it is no JSON object, or one of its strings is no text.
    pub fn parse(json: impl Into<Bytes>) -> Result<Self, Unreadable> {
        read(json.into())
    }

    /// `id`, unless empty.
    pub fn id(&self) -> Option<&str> {
        self.text(&self.members.id)
    }

    /// `conversation_id`, unless empty: what the server numbers the row within.
    pub fn conversation_id(&self) -> Option<&str> {
        self.text(&self.members.conversation_id)
    }

    /// The sender's bare handle: `sender`, else `sender_handle`, else `from`; without a leading `@`.
    pub fn sender(&self) -> Option<&str> {
        self.text(&self.members.sender).map(|handle| handle.strip_prefix('@').unwrap_or(handle))
    }

    /// `client_msg_id`, unless empty.
    pub fn client_msg_id(&self) -> Option<&str> {
        self.text(&self.members.client_msg_id)
    }

    /// `seq`: its number within the conversation, from 1 to what a server's column holds (2⁶³ − 1). Any other
    /// is none that could be counted on from.
    pub fn seq(&self) -> Option<u64> {
        self.members.seq.filter(|seq| (1..=i64::MAX as u64).contains(seq))
    }

    /// Where history has it: its conversation and its number there.
    pub(crate) fn place(&self) -> Option<(&str, u64)> {
        self.conversation_id().zip(self.seq())
    }

    /// `type`.
    pub fn kind(&self) -> MessageKind {
        match self.members.kind.get(&self.raw) {
            None | Some("text") => MessageKind::Text,
            Some("structured") => MessageKind::Structured,
            Some("file") => MessageKind::File,
            Some("system") => MessageKind::System,
            Some(_) => MessageKind::Other,
        }
    }

    /// `created_at`, as written.
    pub fn created_at(&self) -> Option<&str> {
        self.text(&self.members.created_at)
    }

    /// `created_at` as a moment, when it can be read as one.
    pub fn created(&self) -> Option<SystemTime> {
        super::time::parse(self.created_at()?)
    }

    /// `delivery_id`, unless null or empty: the cursor that acknowledges up to this row. Absent on live
    /// pushes; null on one's own group messages.
    pub fn delivery_id(&self) -> Option<&str> {
        self.text(&self.members.delivery_id)
    }

    /// `status`, as written: `stored`, `delivered`, `read` or another word.
    pub fn status(&self) -> Option<&str> {
        self.text(&self.members.status)
    }

    /// `delivered_at`, as written.
    pub fn delivered_at(&self) -> Option<&str> {
        self.text(&self.members.delivered_at)
    }

    /// `read_at`, as written.
    pub fn read_at(&self) -> Option<&str> {
        self.text(&self.members.read_at)
    }

    /// `content` as JSON text, whatever it is; nothing when absent or null.
    pub fn content_json(&self) -> Option<&str> {
        self.json(self.members.content)
    }

    /// The known members of `content`; all empty when it is no object.
    pub fn content(&self) -> Content<'_> {
        if !self.members.plain.is_empty() {
            let text = Some(Cow::Borrowed(self.members.plain.text(&self.raw)));
            return Content { text, ..Content::default() };
        }
        self.content_json().map(ContentVisitor::read).unwrap_or_default()
    }

    /// `content.text` as bytes. They share the row's memory unless the text has escapes.
    pub fn text_bytes(&self) -> Option<Bytes> {
        Some(self.bytes_of(self.content().text?))
    }

    /// A text out of this row's [`Content`] as bytes.
    pub(crate) fn bytes_of(&self, text: Cow<'_, str>) -> Bytes {
        match text {
            Cow::Borrowed("") => Bytes::new(),
            Cow::Borrowed(text) => AsRef::<Bytes>::as_ref(&self.raw).slice_ref(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        }
    }

    /// `metadata` as JSON text: the sender's own words, not to be trusted; nothing when absent or null.
    pub fn metadata_json(&self) -> Option<&str> {
        self.json(self.members.metadata)
    }

    /// `context`: what the server itself says about sender and conversation. Absent on older servers.
    pub fn context(&self) -> Option<Context> {
        Context::read(self.json(self.members.context)?)
    }

    /// [`MessageRow::context`] as JSON text; nothing when it is no object.
    pub fn context_json(&self) -> Option<&str> {
        self.json(self.members.context).filter(|json| json.starts_with('{'))
    }

    /// `skipped_recipients`: members of a group that did not get it. Only in the answer to a send.
    pub fn skipped_recipients(&self) -> Vec<String> {
        let list = self
            .json(self.members.skipped)
            .and_then(|json| serde_json::from_str::<Vec<&RawValue>>(json).ok());
        let handles = list.unwrap_or_default();
        handles.into_iter().filter_map(|handle| serde_json::from_str(handle.get()).ok()).collect()
    }

    /// Whether the server itself wrote it. Its kind alone is no proof: servers take `system` from anybody. But
    /// its `client_msg_id` names its own id, which no sender can know beforehand.
    pub fn is_system(&self) -> bool {
        let own = || Some(self.client_msg_id()?.strip_prefix("sys_")? == self.id()?);
        self.kind() == MessageKind::System && own().unwrap_or(false)
    }

    /// The group event that a row of the server's own tells.
    pub fn system_event(&self) -> Option<SystemEvent> {
        if !self.is_system() {
            return None;
        }
        SystemEvent::read(self.content().data?)
    }

    /// A member this version does not know, as JSON text.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.extras().find(|(key, _)| *key == name).map(|(_, json)| json)
    }

    /// All members this version does not know, as JSON text, in their order.
    pub fn extras(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members
            .extra
            .iter()
            .map(|(name, json)| (name.get(&self.raw).unwrap_or_default(), json.text(&self.raw)))
    }

    /// The whole row as JSON text, as it came.
    pub fn json_text(&self) -> &str {
        self.own.text(&self.raw)
    }

    /// Bytes of the text that it keeps: its own, or the frame's that it came in.
    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }

    fn text<'a>(&'a self, text: &'a Text) -> Option<&'a str> {
        text.get(&self.raw).filter(|text| !text.is_empty())
    }

    fn json(&self, span: Span) -> Option<&str> {
        if span.is_empty() {
            return None;
        }
        Some(span.text(&self.raw)).filter(|json| *json != "null")
    }
}

impl fmt::Debug for MessageRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRow")
            .field("id", &self.id())
            .field("conversation_id", &self.conversation_id())
            .field("sender", &self.sender())
            .field("seq", &self.seq())
            .field("kind", &self.kind())
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("text", &self.text.as_ref().map(|text| text.len()))
            .field("data", &self.data.map(str::len))
            .field("attachment_id", &self.attachment_id)
            .finish()
    }
}

#[cfg(test)]
mod tests;
