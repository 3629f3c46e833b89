//! Answers and items of a stream.

use std::borrow::Cow;

use super::{ArtifactView, MessageView, StatusView, TaskView, filled, flag, number, raw};
use crate::json::Node;
use crate::task::TaskState;

/// What an answer or an item of a stream is, in whichever version and wrapping.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventView<'a> {
    /// A whole task.
    Task(TaskView<'a>),
    /// A message.
    Message(MessageView<'a>),
    /// A task's new status.
    Status(UpdateView<'a>),
    /// An artifact of a task, or a piece of it.
    Artifact(UpdateView<'a>),
}

/// A change to a task.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateView<'a> {
    /// `taskId`, or 0.1's `id`.
    pub task_id: Option<Cow<'a, str>>,
    /// `contextId`.
    pub context_id: Option<Cow<'a, str>>,
    /// `status`, of a status update.
    pub status: StatusView<'a>,
    /// `artifact`, of an artifact update.
    pub artifact: Option<ArtifactView<'a>>,
    /// Whether the parts are added to those of the artifact with this id.
    pub append: bool,
    /// Whether the artifact is complete with this.
    pub last_chunk: bool,
    /// 0.x's `final`: nothing follows.
    pub is_final: bool,
    /// `generation`, of A2A 1.1.
    pub generation: Option<u64>,
    /// `metadata`, as JSON text.
    pub metadata: Option<&'a str>,
    /// The whole update, as JSON text.
    pub raw: &'a str,
}

impl<'a> EventView<'a> {
    /// Reads an answer or item: a `StreamResponse` or `SendMessageResponse` of 1.0, an object with a `kind`, or
    /// a bare one told by its members. A JSON-RPC response is read through to its `result`. `None` for
    /// anything else.
    #[must_use]
    pub fn read(text: &'a [u8]) -> Option<Self> {
        Self::of(super::object(text)?)
    }

    pub(crate) fn of(node: Node<'a>) -> Option<Self> {
        let (shape, inner) = shape_of(node)?;
        Some(match shape {
            Shape::Task => Self::Task(TaskView::of(inner)),
            Shape::Message => Self::Message(MessageView::of(inner)),
            Shape::Status => Self::Status(UpdateView::of(inner)),
            Shape::Artifact => Self::Artifact(UpdateView::of(inner)),
        })
    }

    /// The state the task is in after this, if it says so.
    #[must_use]
    pub fn state(&self) -> Option<TaskState> {
        match self {
            Self::Task(task) => task.status.state(),
            Self::Status(update) => update.status.state(),
            _ => None,
        }
    }

    /// The task it belongs to.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        match self {
            Self::Task(task) => task.id.as_deref(),
            Self::Message(message) => message.task_id.as_deref(),
            Self::Status(update) | Self::Artifact(update) => update.task_id.as_deref(),
        }
    }

    /// The context it belongs to.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        match self {
            Self::Task(task) => task.context_id.as_deref(),
            Self::Message(message) => message.context_id.as_deref(),
            Self::Status(update) | Self::Artifact(update) => update.context_id.as_deref(),
        }
    }

    /// The task's generation after this.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        match self {
            Self::Task(task) => task.generation,
            Self::Message(_) => None,
            Self::Status(update) | Self::Artifact(update) => update.generation,
        }
    }

    /// What it says to a reader of text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Task(task) => task.text(),
            Self::Message(message) => message.text(),
            Self::Status(update) => update.status.text(),
            Self::Artifact(update) => update.artifact.as_ref().map(ArtifactView::text).unwrap_or_default(),
        }
    }

    /// The class name the mq9 facade writes into `mq9-a2a-type`.
    #[must_use]
    pub const fn class_name(&self) -> &'static str {
        match self {
            Self::Task(_) => "Task",
            Self::Message(_) => "Message",
            Self::Status(_) => "TaskStatusUpdateEvent",
            Self::Artifact(_) => "TaskArtifactUpdateEvent",
        }
    }

    /// The event itself as JSON text, without what it was wrapped in.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        match self {
            Self::Task(task) => task.raw,
            Self::Message(message) => message.raw,
            Self::Status(update) | Self::Artifact(update) => update.raw,
        }
    }
}

impl<'a> UpdateView<'a> {
    fn of(node: Node<'a>) -> Self {
        let artifact = node.get("artifact").filter(|a| a.is_object()).map(ArtifactView::of);
        let told = |name| flag(node, name);
        Self {
            task_id: filled(node, "taskId").or_else(|| filled(node, "id")),
            context_id: filled(node, "contextId").or_else(|| filled(node, "sessionId")),
            status: StatusView::within(node),
            append: told("append").or_else(|| artifact.as_ref()?.append).unwrap_or(false),
            last_chunk: told("lastChunk").or_else(|| artifact.as_ref()?.last_chunk).unwrap_or(false),
            artifact,
            is_final: told("final").unwrap_or(false),
            generation: number(node, "generation"),
            metadata: raw(node, "metadata"),
            raw: node.raw(),
        }
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Task,
    Message,
    Status,
    Artifact,
}

/// Told by its wrapping, else by its `kind`, else by its members.
pub(crate) fn shape_of(node: Node<'_>) -> Option<(Shape, Node<'_>)> {
    let node = if node.get("jsonrpc").is_some() { node.get("result")? } else { node };
    if !node.is_object() {
        return None;
    }
    if let Some(kind) = node.text_of("kind") {
        let shape = match kind.as_ref() {
            "task" => Shape::Task,
            "message" => Shape::Message,
            "status-update" => Shape::Status,
            "artifact-update" => Shape::Artifact,
            _ => return None,
        };
        return Some((shape, node));
    }
    let has = |name| node.get(name).is_some_and(Node::is_object);
    for (name, shape) in WRAPPINGS {
        if has(name) && !node.items().any(|item| item.is_named("role") || item.is_named("status")) {
            return Some((shape, node.get(name)?));
        }
    }
    let shape = if has("artifact") {
        Shape::Artifact
    } else if has("status") {
        // 0.1 tells an update from a task by `final` alone; both have an `id`.
        let update = node.get("taskId").is_some() || node.get("final").is_some();
        if update { Shape::Status } else { Shape::Task }
    } else if node.get("role").is_some() && node.get("parts").is_some() {
        Shape::Message
    } else {
        return None;
    };
    Some((shape, node))
}

pub(crate) const WRAPPINGS: [(&str, Shape); 4] = [
    ("task", Shape::Task),
    ("message", Shape::Message),
    ("statusUpdate", Shape::Status),
    ("artifactUpdate", Shape::Artifact),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<&'static str> {
        EventView::read(text.as_bytes()).map(|event| event.class_name())
    }

    #[test]
    fn every_wrapping_of_an_event_is_read() {
        for (text, want) in [
            (r#"{"task":{"id":"t","status":{}}}"#, "Task"),
            (r#"{"kind":"task","id":"t"}"#, "Task"),
            (r#"{"id":"t","status":{"state":"working"}}"#, "Task"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t","sessionId":"s","status":{}}}"#, "Task"),
            (r#"{"message":{"role":"ROLE_AGENT","parts":[]}}"#, "Message"),
            (r#"{"role":"agent","parts":[]}"#, "Message"),
            (r#"{"statusUpdate":{"taskId":"t","status":{}}}"#, "TaskStatusUpdateEvent"),
            (r#"{"taskId":"t","status":{}}"#, "TaskStatusUpdateEvent"),
            (r#"{"id":"t","status":{},"final":false}"#, "TaskStatusUpdateEvent"),
            (r#"{"artifactUpdate":{"taskId":"t","artifact":{}}}"#, "TaskArtifactUpdateEvent"),
            (r#"{"id":"t","artifact":{"index":0}}"#, "TaskArtifactUpdateEvent"),
        ] {
            assert_eq!(name(text), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_none() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"kind":"task-paused","id":"t","status":{}}"#,
            r#"{"jsonrpc":"2.0","error":{}}"#,
            r#"{"tasks":[]}"#,
            r#"{"task":[]}"#,
            r#"{"result":{"task":{}}}"#,
        ] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn an_update_says_the_same_in_every_version() {
        for text in [
            r#"{"artifactUpdate":{"taskId":"t","append":true,"lastChunk":true,"generation":"7","artifact":{"artifactId":"a","parts":[{"text":"x"}]}}}"#,
            r#"{"kind":"artifact-update","taskId":"t","append":true,"lastChunk":true,"generation":7,"artifact":{"artifactId":"a","parts":[{"kind":"text","text":"x"}]}}"#,
            r#"{"id":"t","generation":7,"artifact":{"append":true,"lastChunk":true,"parts":[{"type":"text","text":"x"}]}}"#,
        ] {
            let event = EventView::read(text.as_bytes()).unwrap();
            assert_eq!(
                (event.task_id(), event.generation(), event.text().as_str()),
                (Some("t"), Some(7), "x")
            );
            let EventView::Artifact(update) = event else { panic!("{text}") };
            assert!(update.append && update.last_chunk, "{text}");
        }
    }
}
