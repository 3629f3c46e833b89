//! What a caller knows of a task from its stream.

use super::item::ReaderItem;
use crate::json_text::JsonText;
use crate::task::{Artifact, Event, Task, TaskState};

/// What a caller knows of a task, from what its reader said: the state and the artifacts, with appended parts
/// in their places.
///
/// It holds at most [`Task::MAX_BYTES`]; what would go beyond is left out, and it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    state: Option<TaskState>,
    message: Option<JsonText>,
    artifacts: Vec<Artifact>,
    bytes: usize,
    truncated: bool,
}

impl Mirror {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state said last.
    #[must_use]
    pub fn state(&self) -> Option<&TaskState> {
        self.state.as_ref()
    }

    /// What was said about the state, or the message that was the whole answer.
    #[must_use]
    pub fn message(&self) -> Option<&JsonText> {
        self.message.as_ref()
    }

    /// The artifacts, in the order of the first mention.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// The text of one artifact.
    #[must_use]
    pub fn text(&self, artifact: &str) -> Option<String> {
        self.artifacts.iter().find(|known| known.id == artifact).map(Artifact::text)
    }

    /// Whether something was left out because it was too much.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Takes what the reader said.
    pub fn apply(&mut self, item: &ReaderItem) {
        match item {
            ReaderItem::Reply(reply) => self.event(&reply.event),
            ReaderItem::Resynced { task, .. } => self.event(&Event::Task(task.clone())),
            _ => {}
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Task(task) => {
                (self.state, self.message) = (Some(task.state.clone()), task.message.clone());
                self.artifacts.clear();
                (self.bytes, self.truncated) = (0, false);
                for artifact in task.artifacts() {
                    self.put(&artifact, false);
                }
            }
            Event::Status { state, message } => {
                (self.state, self.message) = (Some(state.clone()), message.clone());
            }
            Event::Artifact { artifact, append, .. } => self.put(artifact, *append),
            Event::Message(message) => self.message = Some(message.clone()),
            Event::Failure { .. } | Event::Other(_) => {}
        }
    }

    fn put(&mut self, artifact: &Artifact, append: bool) {
        let known = self.artifacts.iter().position(|known| known.id == artifact.id);
        let replaced = known.filter(|_| !append).map_or(0, |at| self.artifacts[at].size());
        let bytes = self.bytes.saturating_sub(replaced) + artifact.size();
        if bytes > Task::MAX_BYTES {
            self.truncated = true;
            return;
        }
        self.bytes = bytes;
        match known {
            Some(at) if append => self.artifacts[at].append(artifact.clone()),
            Some(at) => self.artifacts[at] = artifact.clone(),
            None => self.artifacts.push(artifact.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::task::TaskText;

    #[test]
    fn what_is_too_much_is_left_out_and_it_says_so_until_it_hears_the_whole_task() {
        let mut mirror = Mirror::new();
        let large = |id: &str, parts: usize| {
            let artifact = Artifact::new(id).with_text(&"x".repeat(Task::MAX_BYTES / 4 * parts));
            Event::artifact(artifact)
        };
        mirror.event(&large("a", 2));
        assert!(!mirror.is_truncated());
        // What is kept in place of something too large counts on.
        mirror.event(&large("a", 5));
        assert!(mirror.is_truncated());
        mirror.event(&large("b", 3));
        assert_eq!(mirror.artifacts().iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a"]);
        let whole = br#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}"#;
        mirror.event(&Event::Task(TaskText::parse(whole, &Limits::default()).expect("a task")));
        assert!(!mirror.is_truncated() && mirror.artifacts().is_empty());
    }
}
