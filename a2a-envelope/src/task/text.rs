//! A task as it was received.

use super::artifact::Artifact;
use super::event::{message_of, state_of};
use super::state::TaskState;
use crate::error::{Error, MemberRule, Result};
use crate::json::{self, Node};
use crate::json_text::JsonText;
use crate::limits::Limits;

/// An A2A task as it was received: what this crate needs of it, and the whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskText {
    /// The task's id.
    pub id: String,
    /// Its context, if it names one (`sessionId` in A2A 0.1).
    pub context_id: Option<String>,
    /// Its state.
    pub state: TaskState,
    /// What is said about the state.
    pub message: Option<JsonText>,
    /// The object as it was written.
    pub json: JsonText,
}

impl TaskText {
    /// Reads a bare task, of A2A 1.0 or 0.x, within `limits`.
    ///
    /// # Errors
    ///
    /// As for any JSON text, and [`Error::Member`] for one without an `id`.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Self> {
        Self::read(json::parse_body(text, limits)?)
    }

    /// Everything it says, read where it stands; `None` for a text beyond the default limits.
    #[must_use]
    pub fn view(&self) -> Option<crate::TaskView<'_>> {
        crate::TaskView::read(self.json.as_str().as_bytes())
    }

    /// The artifacts. One that cannot be read is left out; the text has it.
    #[must_use]
    pub fn artifacts(&self) -> Vec<Artifact> {
        let Some(root) = json::object_of_checked(self.json.as_str().as_bytes()) else { return Vec::new() };
        let Some(artifacts) = root.get("artifacts") else { return Vec::new() };
        artifacts.items().filter_map(|item| Artifact::read(item.value, "artifact").ok()).collect()
    }

    /// The task with at most the `newest` messages of its history; 0 leaves the history out.
    #[must_use]
    pub fn with_history_length(&self, newest: usize) -> JsonText {
        let Some(root) = json::object_of_checked(self.json.as_str().as_bytes()) else {
            return self.json.clone();
        };
        let Some(history) = root.get("history") else { return self.json.clone() };
        let messages: Vec<_> = history.items().map(|item| item.value.raw()).collect();
        if messages.len() <= newest {
            return self.json.clone();
        }
        let kept = messages[messages.len() - newest..].join(",");
        let text = self.json.as_str();
        JsonText::trusted(format!("{}[{kept}]{}", &text[..history.start()], &text[history.end()..]))
    }

    pub(crate) fn read(node: Node<'_>) -> Result<Self> {
        if !node.is_object() {
            return Err(Error::member("task", MemberRule::NotAnObject));
        }
        let Some(id) = node.text_of("id").filter(|id| !id.is_empty()) else {
            return Err(Error::member("task.id", MemberRule::Missing));
        };
        let context = node.text_of("contextId").or_else(|| node.text_of("sessionId"));
        let status = node.get("status");
        Ok(Self {
            id: id.into_owned(),
            context_id: context.map(|context| context.into_owned()),
            state: state_of(status),
            message: message_of(status),
            json: JsonText::of(node),
        })
    }
}
