//! The handler's side of one task: what it says goes from here to the task's runner.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::handler::TurnResult;
use super::question::{Asking, Question};
use crate::json_text::JsonText;
use crate::safety::Origin;
use crate::stream::StreamError;
use crate::task::{Event, Task, TaskError, TaskState};
use crate::view::MessageView;

/// What a handler has in hand: the task, the message to work on, and the line to the caller.
///
/// What is said goes out in the order of the calls. Each call returns when what it made is stored and with the
/// network, so a handler is never faster than its caller's mailbox. Dropping a call's future may leave it said.
/// Clones speak for the same task.
#[derive(Clone)]
pub struct TurnHandle {
    pub(super) ops: mpsc::Sender<Op>,
    pub(super) task: Arc<Mutex<Task>>,
    pub(super) message: Arc<Mutex<JsonText>>,
    pub(super) origin: Option<Origin>,
}

/// What a handler says.
pub(crate) struct Op {
    pub(crate) kind: OpKind,
    pub(crate) done: oneshot::Sender<Result<(), TurnRefusal>>,
}

pub(crate) enum OpKind {
    Text { artifact: String, text: String },
    EndText { artifact: String },
    Event(Event),
    Ask(Asking),
    AskHere(Asking, oneshot::Sender<Result<JsonText, TurnRefusal>>),
    Fail(String),
}

/// Why what a handler said was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnRefusal {
    /// The task has ended, was parked, or does not allow it.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Another worker has the task, or it was called off.
    #[error("the task is no longer this worker's")]
    Lost,
    /// It is larger than the network carries in one message, and cannot be divided.
    #[error("the event has {bytes} bytes, and this network carries at most {most}")]
    #[non_exhaustive]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// The largest body.
        most: usize,
    },
    /// The question stays parked; the answer enters the handler anew.
    #[error("nobody answered in time; the question stays open")]
    Unanswered,
    /// The deadline of the question has passed, and the task ended by it.
    #[error("nobody answered in time; the task has ended")]
    Expired,
}

impl TurnHandle {
    /// The task, as it was when this request began.
    #[must_use]
    pub fn task(&self) -> Task {
        lock(&self.task).clone()
    }

    /// The A2A message to work on: the newest.
    #[must_use]
    pub fn message(&self) -> JsonText {
        lock(&self.message).clone()
    }

    /// The text of that message.
    #[must_use]
    pub fn request_text(&self) -> String {
        let message = self.message();
        MessageView::read(message.as_str().as_bytes()).map(|view| view.text()).unwrap_or_default()
    }

    /// Whether this answers a question the task asked.
    #[must_use]
    pub fn is_follow_up(&self) -> bool {
        lock(&self.task).turns().len() > 1
    }

    /// Who asked in the first place, if the request says so.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// More text of an artifact. It is gathered for a moment before it goes out.
    ///
    /// # Errors
    /// [`TurnRefusal::Stream`] after the end, [`TurnRefusal::Lost`].
    pub async fn text(&self, artifact: &str, text: &str) -> Result<(), TurnRefusal> {
        self.say(OpKind::Text { artifact: artifact.to_owned(), text: text.to_owned() }).await
    }

    /// That an artifact is whole.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub async fn end_text(&self, artifact: &str) -> Result<(), TurnRefusal> {
        self.say(OpKind::EndText { artifact: artifact.to_owned() }).await
    }

    /// Any event. One that ends the request is the last reply. To a caller that wants every event, an artifact that
    /// is larger than the network carries goes out in several chunks, its texts divided where they must be. A last
    /// reply that is too large goes out without the task's history, or as an error that names the limit: then the
    /// task is as it is, and its caller has to read it otherwise.
    ///
    /// # Errors
    /// As [`text`](Self::text); [`TurnRefusal::TooLarge`] for what cannot be divided, and the task goes on.
    pub async fn event(&self, event: Event) -> Result<(), TurnRefusal> {
        self.say(OpKind::Event(event)).await
    }

    /// Asks the caller something and parks the task: return what this gives. The handler is entered anew with
    /// the answer, here or elsewhere, also after a restart. When nobody answers by the
    /// [question's deadline](Question::within), the task ends, here or elsewhere.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub async fn ask(&self, question: impl Into<Question>) -> TurnResult {
        let asking = Asking { state: TaskState::InputRequired, question: question.into() };
        Ok(self.say(OpKind::Ask(asking)).await?)
    }

    /// The same for something the caller has to authorise.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub async fn ask_for_auth(&self, question: impl Into<Question>) -> TurnResult {
        let asking = Asking { state: TaskState::AuthRequired, question: question.into() };
        Ok(self.say(OpKind::Ask(asking)).await?)
    }

    /// Asks and waits here for the answer, with everything the handler has in memory. The task is parked as
    /// well: after a restart the handler is entered anew with the answer.
    ///
    /// # Errors
    /// As [`text`](Self::text); [`TurnRefusal::Expired`] when nobody answers by the
    /// [question's deadline](Question::within): the task has ended then, and the handler has the
    /// [`grace`](super::A2aServerOptions::grace) to leave; [`TurnRefusal::Unanswered`] when the handler is not kept
    /// waiting for so long.
    pub async fn ask_here(&self, question: impl Into<Question>) -> Result<String, TurnRefusal> {
        let (answer, answered) = oneshot::channel();
        let asking = Asking { state: TaskState::InputRequired, question: question.into() };
        self.say(OpKind::AskHere(asking, answer)).await?;
        let message = answered.await.map_err(|_| TurnRefusal::Unanswered)??;
        Ok(MessageView::read(message.as_str().as_bytes()).map(|view| view.text()).unwrap_or_default())
    }

    /// Ends the task well.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub async fn complete(&self) -> Result<(), TurnRefusal> {
        self.event(Event::status(TaskState::Completed)).await
    }

    /// Ends the task badly, with a reason for the caller.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub async fn fail(&self, reason: &str) -> Result<(), TurnRefusal> {
        self.say(OpKind::Fail(reason.to_owned())).await
    }

    async fn say(&self, kind: OpKind) -> Result<(), TurnRefusal> {
        let (done, said) = oneshot::channel();
        self.ops.send(Op { kind, done }).await.map_err(|_| TurnRefusal::Lost)?;
        said.await.map_err(|_| TurnRefusal::Lost)?
    }
}

impl fmt::Debug for TurnHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnHandle").field("task", &lock(&self.task).id()).finish_non_exhaustive()
    }
}

impl From<TaskError> for TurnRefusal {
    fn from(error: TaskError) -> Self {
        Self::Stream(error.into())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
