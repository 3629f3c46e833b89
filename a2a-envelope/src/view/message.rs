//! Messages.

use std::borrow::Cow;

use super::{PartView, filled, objects, raw, texts};
use crate::json::Node;
use crate::vocabulary::Role;

/// A message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageView<'a> {
    /// `messageId`; 0.1 has none.
    pub message_id: Option<Cow<'a, str>>,
    /// `contextId`.
    pub context_id: Option<Cow<'a, str>>,
    /// `taskId`: the task this message goes on with.
    pub task_id: Option<Cow<'a, str>>,
    /// `role`, as spelled; see [`role`](Self::role).
    pub role_text: Option<Cow<'a, str>>,
    /// `parts`, those that are objects.
    pub parts: Vec<PartView<'a>>,
    /// `metadata`, as JSON text.
    pub metadata: Option<&'a str>,
    /// `extensions`.
    pub extensions: Vec<Cow<'a, str>>,
    /// `referenceTaskIds`.
    pub reference_task_ids: Vec<Cow<'a, str>>,
    /// The whole message, as JSON text.
    pub raw: &'a str,
}

impl<'a> MessageView<'a> {
    /// Reads a message's text; `None` if it is no JSON object within the default limits.
    #[must_use]
    pub fn read(text: &'a [u8]) -> Option<Self> {
        super::object(text).map(Self::of)
    }

    pub(crate) fn of(node: Node<'a>) -> Self {
        Self {
            message_id: filled(node, "messageId"),
            context_id: filled(node, "contextId"),
            task_id: filled(node, "taskId"),
            role_text: filled(node, "role"),
            parts: objects(node, "parts").map(PartView::of).collect(),
            metadata: raw(node, "metadata"),
            extensions: texts(node, "extensions"),
            reference_task_ids: texts(node, "referenceTaskIds"),
            raw: node.raw(),
        }
    }

    /// Who wrote it, if that is a role this crate knows.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        Role::parse(self.role_text.as_deref()?)
    }

    /// The text parts, each on lines of its own.
    #[must_use]
    pub fn text(&self) -> String {
        join(&self.parts)
    }
}

pub(super) fn join(parts: &[PartView<'_>]) -> String {
    parts.iter().filter_map(PartView::text).collect::<Vec<_>>().join("\n")
}
