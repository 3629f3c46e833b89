//! The task itself: its state and what changes it. How it is stored is in `stored.rs`.

use std::time::Duration;

use super::artifact::{Artifact, push_all};
use super::error::TaskError;
use super::event::Event;
use super::question_deadline::AnswerBy;
use super::state::TaskState;
use super::time::iso8601;
use super::turn::{TaskRequest, Turn};
use crate::json::quote;
use crate::json_text::JsonText;

/// A task: its state, what it has made, and the requests that led there. It can be stored and read back,
/// and another worker goes on with it.
///
/// Every change counts [`generation`](Self::generation) up by one. Whoever stores the task says which
/// generation it replaces, so that of two writers only one gets through; see
/// [`TaskStore`](super::TaskStore). All times are durations since the unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    pub(super) id: String,
    pub(super) context_id: String,
    pub(super) state: TaskState,
    pub(super) message: Option<JsonText>,
    pub(super) changed_ms: u64,
    pub(super) generation: u64,
    pub(super) reserved: u64,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) turns: Vec<Turn>,
    /// The deadline of its question; after the end that led to, until that was told.
    pub(super) answer_by: Option<AnswerBy>,
    /// What [`Task::size`] gives, so that a long answer is not counted anew for each of its chunks.
    pub(super) bytes: usize,
}

impl Task {
    /// The most bytes of messages and artifacts a task holds.
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;
    /// The most requests a task remembers; the oldest are forgotten.
    pub const MAX_TURNS: usize = 64;

    /// A new task at generation 1, `SUBMITTED`, with its first request open. Ids are made by the server.
    ///
    /// # Errors
    ///
    /// [`TaskError::Id`], and [`TaskError::TooLarge`] for a request beyond [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(
        id: impl Into<String>,
        context_id: impl Into<String>,
        request: TaskRequest,
        now: Duration,
    ) -> Result<Self, TaskError> {
        let mut task = Self {
            id: checked(id.into())?,
            context_id: checked(context_id.into())?,
            state: TaskState::Submitted,
            message: None,
            changed_ms: millis(now),
            generation: 1,
            reserved: 1,
            artifacts: Vec::new(),
            turns: vec![Turn::new(request)],
            answer_by: None,
            bytes: 0,
        };
        task.weigh();
        task.fits(0)?;
        Ok(task)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The context it belongs to.
    #[must_use]
    pub fn context_id(&self) -> &str {
        &self.context_id
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> &TaskState {
        &self.state
    }

    /// What is said about its state: the question of a task that waits.
    #[must_use]
    pub fn message(&self) -> Option<&JsonText> {
        self.message.as_ref()
    }

    /// How often it has changed; a new task is at 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it has made, in the order of the first mention.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// Its requests, the oldest first.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The request that is not answered yet.
    #[must_use]
    pub fn open_turn(&self) -> Option<&Turn> {
        self.turns.last().filter(|turn| !turn.closed)
    }

    /// When its state changed last, since the unix epoch.
    #[must_use]
    pub fn changed_at(&self) -> Duration {
        Duration::from_millis(self.changed_ms)
    }

    /// Takes the caller's answer to a task that waits: the task goes on working, with this request open.
    ///
    /// `context_id` is what the message names, if it does. `generation` is the one the caller answered; `None`
    /// takes an answer to whatever the task asks now. From the deadline of its question on the task counts as
    /// over, also where its end is not stored yet.
    ///
    /// # Errors
    ///
    /// Nothing is changed by [`TaskError::Over`], [`TaskError::Busy`] (it works, and asks nothing),
    /// [`TaskError::OtherContext`], [`TaskError::Stale`] and [`TaskError::TooLarge`].
    pub fn follow_up(
        &mut self,
        request: TaskRequest,
        context_id: Option<&str>,
        generation: Option<u64>,
        now: Duration,
    ) -> Result<(), TaskError> {
        if self.state.is_terminal() {
            return Err(TaskError::Over { state: self.state.clone() });
        }
        if let Some(by) = self.answer_by().filter(|by| by.has_passed(now)) {
            return Err(TaskError::Over { state: by.unanswered.state() });
        }
        if context_id.is_some_and(|context| context != self.context_id) {
            return Err(TaskError::OtherContext);
        }
        if let Some(expected) = generation.filter(|expected| *expected != self.generation) {
            return Err(TaskError::Stale { expected, found: self.generation });
        }
        if self.open_turn().is_some() || !self.takes_messages() {
            return Err(TaskError::Busy { state: self.state.clone() });
        }
        let turn = Turn::new(request);
        self.fits(turn.size())?;
        if self.turns.len() == Self::MAX_TURNS {
            self.turns.remove(0);
        }
        self.turns.push(turn);
        self.enter(TaskState::Working, None, now);
        self.bump();
        self.weigh();
        Ok(())
    }

    /// Changes the task as `event` says and gives the new generation. An event that ends the request closes
    /// the open turn.
    ///
    /// # Errors
    ///
    /// Nothing is changed by [`TaskError::Over`], [`TaskError::Transition`], [`TaskError::OtherTask`] and
    /// [`TaskError::TooLarge`].
    pub fn apply(&mut self, event: &Event, now: Duration) -> Result<u64, TaskError> {
        if self.state.is_terminal() {
            return Err(TaskError::Over { state: self.state.clone() });
        }
        // A task that is full can still be ended.
        let room = if event.ends_request() { ROOM_TO_END } else { 0 };
        self.fits(event.size().saturating_sub(room))?;
        match event {
            Event::Status { state, message } => self.go(state, message.clone(), now)?,
            Event::Artifact { artifact, append, .. } => self.put_artifact(artifact, *append),
            Event::Task(view) => {
                if view.id != self.id || view.context_id.as_ref().is_some_and(|id| *id != self.context_id) {
                    return Err(TaskError::OtherTask);
                }
                if view.state != self.state {
                    self.go(&view.state, view.message.clone(), now)?;
                }
                self.artifacts = view.artifacts();
            }
            Event::Message(message) => {
                self.go(&TaskState::Completed, Some(message.clone()), now)?;
                if let Some(turn) = self.turns.last_mut() {
                    turn.message_only = true;
                }
            }
            Event::Failure { .. } => self.go(&TaskState::Failed, None, now)?,
            Event::Other(_) => {}
        }
        if event.ends_request() {
            self.close_turn();
        }
        if !matches!(event, Event::Artifact { append: true, .. }) {
            self.weigh();
        }
        self.bump();
        Ok(self.generation)
    }

    /// Calls the task off, whatever it was doing. It needs no worker: one that still writes finds its next
    /// change refused as stale. Where a request is open, [`StreamWriter`](crate::stream::StreamWriter) does the
    /// same and tells its caller.
    ///
    /// # Errors
    ///
    /// [`TaskError::NotCancelable`] if it is over; it stays as it is.
    pub fn cancel(&mut self, now: Duration) -> Result<u64, TaskError> {
        self.apply(&Event::status(TaskState::Canceled), now)
            .map_err(|_| TaskError::NotCancelable { state: self.state.clone() })
    }

    /// The task as an A2A 1.0 object, its requests and answers as `history`.
    #[must_use]
    pub fn to_json(&self) -> JsonText {
        let mut text = format!(
            "{{\"id\":{},\"contextId\":{},\"status\":{{\"state\":{}",
            quote(&self.id),
            quote(&self.context_id),
            quote(self.state.as_str())
        );
        if let Some(message) = &self.message {
            text.push_str(",\"message\":");
            text.push_str(message.as_str());
        }
        text.push_str(&format!(",\"timestamp\":\"{}\"}}", iso8601(self.changed_ms)));
        if !self.artifacts.is_empty() {
            text.push_str(",\"artifacts\":[");
            push_all(&mut text, &self.artifacts.iter().map(Artifact::to_json).collect::<Vec<_>>());
            text.push(']');
        }
        let history = self.turns.iter().flat_map(|turn| [Some(&turn.request.message), turn.answer.as_ref()]);
        let history: Vec<_> = history.flatten().cloned().collect();
        text.push_str(",\"history\":[");
        push_all(&mut text, &history);
        text.push_str("]}");
        JsonText::trusted(text)
    }

    /// Bytes of its messages and artifacts, as counted against [`MAX_BYTES`](Self::MAX_BYTES).
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes
    }

    pub(super) fn weigh(&mut self) {
        let turns: usize = self.turns.iter().map(Turn::size).sum();
        let artifacts: usize = self.artifacts.iter().map(Artifact::size).sum();
        self.bytes = turns + artifacts + self.message.as_ref().map_or(0, |message| message.as_str().len());
    }

    /// Numbers up to these may be used before the task is stored again.
    pub(crate) fn reserve(&mut self, seq: u64, generation: u64) {
        self.reserved = generation.max(self.generation);
        if let Some(turn) = self.turns.last_mut() {
            turn.seq = turn.seq.max(seq);
        }
    }

    /// All that was reserved is used up: an earlier worker may have done so.
    pub(crate) fn skip_reserved(&mut self) {
        self.generation = self.generation.max(self.reserved);
    }

    /// The last number of the open turn was this one, and no other will be used.
    pub(crate) fn settle_numbers(&mut self, seq: u64) {
        self.reserved = self.generation;
        if let Some(turn) = self.turns.last_mut() {
            turn.seq = seq;
        }
    }

    /// Whether a message may begin a turn: where it asks for one, and where nobody knows what it waits for.
    fn takes_messages(&self) -> bool {
        self.state.is_interrupted() || matches!(self.state, TaskState::Unspecified | TaskState::Other(_))
    }

    fn go(&mut self, next: &TaskState, message: Option<JsonText>, now: Duration) -> Result<(), TaskError> {
        if !self.state.may_become(next) {
            return Err(TaskError::Transition { from: self.state.clone(), to: next.clone() });
        }
        self.enter(next.clone(), message, now);
        Ok(())
    }

    fn enter(&mut self, state: TaskState, message: Option<JsonText>, now: Duration) {
        self.state = state;
        self.message = message;
        self.answer_by = None;
        self.changed_ms = millis(now);
    }

    fn put_artifact(&mut self, artifact: &Artifact, append: bool) {
        match self.artifacts.iter_mut().find(|known| known.id == artifact.id) {
            Some(known) if append => {
                known.append(artifact.clone());
                self.bytes += artifact.parts_size();
            }
            Some(known) => *known = artifact.clone(),
            None => {
                self.bytes += artifact.size();
                self.artifacts.push(artifact.clone());
            }
        }
        if append && !artifact.members.is_empty() {
            self.weigh();
        }
    }

    fn close_turn(&mut self) {
        let said = self.message.clone();
        if let Some(turn) = self.turns.last_mut().filter(|turn| !turn.closed) {
            turn.closed = true;
            turn.answer = said;
        }
    }

    pub(super) fn bump(&mut self) {
        self.generation += 1;
        self.reserved = self.reserved.max(self.generation);
    }

    fn fits(&self, more: usize) -> Result<(), TaskError> {
        let found = self.bytes + more;
        if found > Self::MAX_BYTES {
            return Err(TaskError::TooLarge { allowed: Self::MAX_BYTES, found });
        }
        Ok(())
    }
}

fn checked(id: String) -> Result<String, TaskError> {
    let fine = (1..=256).contains(&id.len()) && !id.chars().any(char::is_control) && id.trim() == id;
    if fine { Ok(id) } else { Err(TaskError::Id) }
}

/// What an ending may go beyond the limit, in bytes.
const ROOM_TO_END: usize = 64 * 1024;

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
