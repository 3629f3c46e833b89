//! What a call came to, as `ask` hands it over.

use std::time::Duration;

use agentchat_core::Reply;

use super::call::envelope_of;
use crate::json_text::JsonText;
use crate::safety::Origin;
use crate::stream::{Mirror, ReaderItem, ReaderOptions, StreamReader};
use crate::task::{Artifact, Event, TaskState};
use crate::view::MessageView;

/// What came of a call: the outcome, or a question.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct A2aAnswer {
    /// The task, if there is one.
    pub task_id: Option<String>,
    /// Its context.
    pub context_id: Option<String>,
    /// The generation up to which all is known; 0 where it was not said.
    pub generation: u64,
    /// Until when a question may be answered, since the unix epoch, if the peer said so.
    pub answer_by: Option<Duration>,
    /// Where follow-ups go, if the peer said so.
    pub task_inbox: Option<String>,
    /// The origin that went with the request, as it came back.
    pub origin: Option<Origin>,
    /// What is known of the task.
    pub mirror: Mirror,
    /// The code and words of a JSON-RPC error, if that was the answer.
    pub failure: Option<(i64, String)>,
}

impl A2aAnswer {
    /// The answer in a last reply, as [`A2aClient::call_many`](super::A2aClient::call_many) gives them.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        let mut answer = Self::default();
        let Some(envelope) = envelope_of(reply, None) else { return answer };
        answer.learn(&envelope);
        let now = Duration::ZERO;
        let mut reader = StreamReader::new(ReaderOptions::default().with_single(), now);
        // Only the last reply is kept of a call to many: it stands for itself.
        let mut alone = envelope;
        alone.headers.remove(crate::names::SEQ);
        for item in reader.receive(alone, now).unwrap_or_default() {
            answer.take(&item);
        }
        answer
    }

    /// The task's state; `None` where the answer was a message alone.
    #[must_use]
    pub fn state(&self) -> Option<&TaskState> {
        self.mirror.state()
    }

    /// Whether the task waits for its caller.
    #[must_use]
    pub fn is_question(&self) -> bool {
        self.state().is_some_and(TaskState::is_interrupted)
    }

    /// The text of all artifacts, or of the message where there is none: an answer, a question, a reason.
    #[must_use]
    pub fn text(&self) -> String {
        let artifacts: String = self.mirror.artifacts().iter().map(Artifact::text).collect();
        if artifacts.is_empty() || self.is_question() { self.message_text() } else { artifacts }
    }

    /// The text of the message about the state: the question of a task that waits.
    #[must_use]
    pub fn message_text(&self) -> String {
        let message = self.mirror.message().map(JsonText::as_str).unwrap_or_default();
        MessageView::read(message.as_bytes()).map(|view| view.text()).unwrap_or_default()
    }

    /// The generation of a question, where it is known.
    pub(super) fn asked_at(&self) -> Option<u64> {
        Some(self.generation).filter(|generation| *generation > 0)
    }

    pub(super) fn learn(&mut self, envelope: &crate::Envelope) {
        let keep = |place: &mut Option<String>, said: Option<&str>| {
            if let Some(said) = said {
                *place = Some(said.to_owned());
            }
        };
        keep(&mut self.task_id, envelope.task_id());
        keep(&mut self.context_id, envelope.context_id());
        keep(&mut self.task_inbox, envelope.task_inbox());
        self.answer_by = envelope.deadline().ok().flatten().map(Duration::from_millis);
        self.origin = envelope.origin().or(self.origin.take());
        self.generation = self.generation.max(envelope.generation().ok().flatten().unwrap_or(0));
    }

    pub(super) fn take(&mut self, item: &ReaderItem) {
        self.mirror.apply(item);
        match item {
            ReaderItem::Reply(reply) => match &reply.event {
                Event::Failure { code, message, .. } => self.failure = Some((*code, message.clone())),
                Event::Task(task) => self.task(&task.id, task.context_id.as_ref()),
                _ => {}
            },
            ReaderItem::Resynced { task, generation } => {
                self.task(&task.id, task.context_id.as_ref());
                self.generation = self.generation.max(*generation);
            }
            _ => {}
        }
    }

    /// The answer that a task's text is.
    pub(super) fn of_task(snapshot: crate::stream::Snapshot) -> Self {
        let mut answer = Self::default();
        answer.take(&ReaderItem::Resynced { task: snapshot.task, generation: snapshot.generation });
        answer
    }

    fn task(&mut self, id: &str, context: Option<&String>) {
        self.task_id = Some(id.to_owned());
        if let Some(context) = context {
            self.context_id = Some(context.clone());
        }
    }
}
