//! Tasks, their status and their artifacts.

use std::borrow::Cow;

use super::message::join;
use super::{MessageView, PartView, filled, flag, number, objects, raw};
use crate::json::Node;
use crate::task::TaskState;

/// A task.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskView<'a> {
    /// `id`.
    pub id: Option<Cow<'a, str>>,
    /// `contextId`, or 0.1's `sessionId`.
    pub context_id: Option<Cow<'a, str>>,
    /// `status`.
    pub status: StatusView<'a>,
    /// `artifacts`, those that are objects.
    pub artifacts: Vec<ArtifactView<'a>>,
    /// `history`, those that are objects.
    pub history: Vec<MessageView<'a>>,
    /// `generation`, of A2A 1.1.
    pub generation: Option<u64>,
    /// `metadata`, as JSON text.
    pub metadata: Option<&'a str>,
    /// The whole task, as JSON text.
    pub raw: &'a str,
}

impl<'a> TaskView<'a> {
    /// Reads a task's text; `None` if it is no JSON object within the default limits.
    #[must_use]
    pub fn read(text: &'a [u8]) -> Option<Self> {
        super::object(text).map(Self::of)
    }

    pub(crate) fn of(node: Node<'a>) -> Self {
        Self {
            id: filled(node, "id"),
            context_id: filled(node, "contextId").or_else(|| filled(node, "sessionId")),
            status: StatusView::within(node),
            artifacts: objects(node, "artifacts").map(ArtifactView::of).collect(),
            history: objects(node, "history").map(MessageView::of).collect(),
            generation: number(node, "generation"),
            metadata: raw(node, "metadata"),
            raw: node.raw(),
        }
    }

    /// The text of the artifacts, or of the status message where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        let text: Vec<_> =
            self.artifacts.iter().map(ArtifactView::text).filter(|text| !text.is_empty()).collect();
        if text.is_empty() { self.status.text() } else { text.join("\n") }
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusView<'a> {
    /// `state`, as spelled; see [`state`](Self::state).
    pub state_text: Option<Cow<'a, str>>,
    /// `message`.
    pub message: Option<Box<MessageView<'a>>>,
    /// `timestamp`, as spelled.
    pub timestamp: Option<Cow<'a, str>>,
}

impl<'a> StatusView<'a> {
    pub(super) fn within(node: Node<'a>) -> Self {
        let Some(status) = node.get("status") else { return Self::default() };
        Self {
            state_text: filled(status, "state"),
            message: status
                .get("message")
                .filter(|message| message.is_object())
                .map(|message| Box::new(MessageView::of(message))),
            timestamp: filled(status, "timestamp"),
        }
    }

    /// The state, if it is one this crate knows.
    #[must_use]
    pub fn state(&self) -> Option<TaskState> {
        TaskState::known(self.state_text.as_deref()?)
    }

    /// The text of the status message.
    #[must_use]
    pub fn text(&self) -> String {
        self.message.as_ref().map(|message| message.text()).unwrap_or_default()
    }
}

/// Something a task has made, whole or the next piece of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactView<'a> {
    /// `artifactId`; 0.1 has none.
    pub id: Option<Cow<'a, str>>,
    /// 0.1's `index`, which stands for the id there.
    pub index: Option<u64>,
    /// `name`.
    pub name: Option<Cow<'a, str>>,
    /// `description`.
    pub description: Option<Cow<'a, str>>,
    /// `parts`, those that are objects.
    pub parts: Vec<PartView<'a>>,
    /// `metadata`, as JSON text.
    pub metadata: Option<&'a str>,
    /// 0.1's `append`, which later versions have on the event.
    pub append: Option<bool>,
    /// 0.1's `lastChunk`, likewise.
    pub last_chunk: Option<bool>,
    /// The whole artifact, as JSON text.
    pub raw: &'a str,
}

impl<'a> ArtifactView<'a> {
    pub(super) fn of(node: Node<'a>) -> Self {
        Self {
            id: filled(node, "artifactId"),
            index: number(node, "index"),
            name: filled(node, "name"),
            description: filled(node, "description"),
            parts: objects(node, "parts").map(PartView::of).collect(),
            metadata: raw(node, "metadata"),
            append: flag(node, "append"),
            last_chunk: flag(node, "lastChunk"),
            raw: node.raw(),
        }
    }

    /// The text parts, each on lines of its own.
    #[must_use]
    pub fn text(&self) -> String {
        join(&self.parts)
    }
}
