//! Writing a stream: each event under its number, and saved before it leaves.

mod emit;

pub(super) use emit::said_of;

use std::time::Duration;

use super::coalesce::Gathered;
use super::error::StreamError;
use super::line::Line;
use super::options::WriterOptions;
use super::retained::Retained;
use crate::correlation::CorrelationId;
use crate::envelope::Envelope;
use crate::error::Result as EnvelopeResult;
use crate::limits::Limits;
use crate::reply::ReplyType;
use crate::task::{Event, QuestionPolicy, Task, TaskError, TaskState};

/// What a writer asks for. Carry them out in their order, each only when the one before is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriterAction {
    /// Keep the task in place of generation `expected`, and publish its
    /// [`Snapshot`](super::Snapshot). If the store says [`TaskError::Stale`], another worker has the task:
    /// call [`StreamWriter::lost`] and carry out nothing more.
    #[non_exhaustive]
    Save {
        /// The task.
        task: Box<Task>,
        /// Which generation it replaces.
        expected: u64,
    },
    /// Send this to the answer address of the request that its correlation id names: the task's, or that of
    /// one who subscribed.
    Send(Envelope),
}

/// Writes what a task says to the request it works on: every event in its order under a number and a
/// generation, the end marked once, and the task saved where that is due.
///
/// It has no clock: `now` is the time since the unix epoch. It sends nothing: it returns [`WriterAction`]s.
/// Text is gathered ([`text`](Self::text)); any other event sends first what was gathered before it.
///
/// A request that does not stream gets one reply, at its end; the task is saved all the same.
///
/// A worker that takes over a task whose request is open (its first worker died) begins behind every number
/// that may have been used, with the task as it was saved. Artifacts are then begun anew by the first text
/// for them.
#[derive(Debug)]
pub struct StreamWriter {
    task: Task,
    line: Line,
    streams: bool,
    options: WriterOptions,
    stored: u64,
    reserved_seq: u64,
    reserved_generation: u64,
    saved_at: Duration,
    unsaved: bool,
    gathered: Option<Gathered>,
    begun: Vec<String>,
    announced: bool,
    announce_at: Duration,
    retained: Retained,
    subscribers: Vec<Line>,
    ended: bool,
    /// What an operation that failed had already written; the next one gives it.
    out: Vec<WriterAction>,
}

impl StreamWriter {
    /// Begins, or goes on with, the open request of a task as it was read from the store. The first action
    /// saves the task: before it is done no other worker is kept out.
    ///
    /// # Errors
    ///
    /// [`TaskError::NoOpenRequest`], and [`StreamError::Envelope`] if an id or the task inbox cannot be
    /// carried.
    pub fn open(
        mut task: Task,
        options: WriterOptions,
        now: Duration,
    ) -> Result<(Self, Vec<WriterAction>), StreamError> {
        let Some(turn) = task.open_turn() else {
            return Err(TaskError::NoOpenRequest { state: task.state().clone() }.into());
        };
        let (streams, taken_over) = (turn.request.streams, turn.seq > 0);
        let line = Line::of(&turn.request, turn.seq)?;
        let stored = task.generation();
        task.skip_reserved();
        let generation = task.apply(&Event::status(TaskState::Working), now)?;
        let mut writer = Self {
            line,
            streams,
            stored,
            reserved_seq: 0,
            reserved_generation: 0,
            saved_at: now,
            unsaved: false,
            gathered: None,
            begun: Vec::new(),
            announced: false,
            announce_at: now.saturating_add(options.announce_after),
            retained: Retained::new(generation, options.retained_events, options.retained_bytes),
            subscribers: Vec::new(),
            ended: false,
            task,
            options,
            out: Vec::new(),
        };
        // Whether everything can be carried shows here, not in the middle of an answer.
        writer.line.ack(writer.belongs())?;
        writer.save(now);
        if taken_over {
            writer.announce()?;
        }
        let actions = writer.take();
        Ok((writer, actions))
    }

    /// The task as it is now, with what is not saved yet.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Whether the last reply was written, or the task was lost to another worker.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// That the request is taken, to be sent as often as it is asked.
    ///
    /// # Errors
    ///
    /// None that [`open`](Self::open) did not find.
    pub fn ack(&self) -> EnvelopeResult<Envelope> {
        self.line.ack(self.belongs())
    }

    /// More text of an artifact. The first text of an artifact since [`open`](Self::open) replaces what the
    /// artifact held before.
    ///
    /// # Errors
    ///
    /// [`StreamError::Ended`] for text that comes too late, [`TaskError::TooLarge`] when the task is full.
    pub fn text(
        &mut self,
        artifact: &str,
        text: &str,
        now: Duration,
    ) -> Result<Vec<WriterAction>, StreamError> {
        self.check_open()?;
        let flush = self.gathered.as_ref().is_some_and(|gathered| {
            gathered.artifact != artifact || gathered.overflows(text.len(), &self.options.coalesce)
        });
        if flush {
            self.flush(false, now)?;
        }
        if !text.is_empty() {
            self.gathered.get_or_insert_with(|| Gathered::new(artifact, now)).push(text);
        }
        self.flush_due(now)?;
        Ok(self.take())
    }

    /// That an artifact is whole: what was gathered of it goes out as its last chunk.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    pub fn end_text(&mut self, artifact: &str, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        self.check_open()?;
        if self.gathered.as_ref().is_some_and(|gathered| gathered.artifact != artifact) {
            self.flush(false, now)?;
        }
        self.gathered.get_or_insert_with(|| Gathered::new(artifact, now));
        self.flush(true, now)?;
        Ok(self.take())
    }

    /// One event, behind what was gathered. One that ends the request is the last reply.
    ///
    /// # Errors
    ///
    /// [`StreamError::Ended`] for an event that comes too late, and what [`Task::apply`] refuses. What was
    /// gathered before it may have been written all the same, and comes with the next call.
    pub fn event(&mut self, event: &Event, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        self.take_event(event, None, now)
    }

    /// One event in the bytes of its author, which go out unchanged.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event), and [`StreamError::Envelope`] for bytes that are no event.
    pub fn event_bytes(&mut self, body: &[u8], now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        self.check_open()?;
        let event = Event::parse(body, &Limits::default())?;
        self.take_event(&event, Event::spelled(body), now)
    }

    /// Asks the caller something: the task is parked, the request is answered with the question.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn ask(&mut self, question: &str, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        self.ask_in(TaskState::InputRequired, question, now)
    }

    /// Asks as [`ask`](Self::ask) does, in this state: `AUTH_REQUIRED` for what the caller has to authorise.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn ask_in(
        &mut self,
        state: TaskState,
        question: &str,
        now: Duration,
    ) -> Result<Vec<WriterAction>, StreamError> {
        let message = self.say(question);
        self.event(&Event::status_with(state, message), now)
    }

    /// Asks as [`ask_in`](Self::ask_in) does, and waits for this question otherwise than the options say.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn ask_with(
        &mut self,
        state: TaskState,
        question: &str,
        policy: QuestionPolicy,
        now: Duration,
    ) -> Result<Vec<WriterAction>, StreamError> {
        let usual = std::mem::replace(&mut self.options.question, policy);
        let asked = self.ask_in(state, question, now);
        self.options.question = usual;
        asked
    }

    /// Ends the task well.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn complete(&mut self, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        self.event(&Event::status(TaskState::Completed), now)
    }

    /// Ends the task badly, with a reason for the caller.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn fail(&mut self, reason: &str, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        let message = self.say(reason);
        self.event(&Event::status_with(TaskState::Failed, message), now)
    }

    /// Calls the task off.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn cancel(&mut self, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        self.event(&Event::status(TaskState::Canceled), now)
    }

    /// Lets another request listen: it gets what came after the generation it knows if that is retained,
    /// otherwise the task as it is now, and then every event up to the end of the request.
    ///
    /// # Errors
    ///
    /// [`StreamError::Ended`] (answer with [`subscribed_while_idle`](super::subscribed_while_idle)),
    /// [`StreamError::TooManySubscribers`].
    pub fn subscribe(
        &mut self,
        mut line: Line,
        after: Option<u64>,
    ) -> Result<Vec<WriterAction>, StreamError> {
        self.check_open()?;
        if self.subscribers.len() >= self.options.max_subscribers {
            return Err(StreamError::TooManySubscribers { count: self.subscribers.len() });
        }
        let known = after.filter(|after| *after <= self.task.generation());
        match known.and_then(|after| self.retained.after(after)) {
            Some(later) => {
                for (generation, event) in later {
                    let belongs = self.belongs_at(generation);
                    let made = line.result(ReplyType::StreamResponse, &event, false, belongs)?;
                    self.out.extend(made.map(WriterAction::Send));
                }
            }
            None => {
                let whole = self.whole();
                let made = line.result(ReplyType::StreamResponse, &whole, false, self.belongs())?;
                self.out.extend(made.map(WriterAction::Send));
            }
        }
        self.subscribers.push(line);
        Ok(self.take())
    }

    /// This request listens no longer.
    pub fn unsubscribe(&mut self, correlation: &CorrelationId) {
        self.subscribers.retain(|line| line.correlation() != correlation);
    }

    /// What is due at `now`.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text). After the end nothing is due.
    pub fn poll(&mut self, now: Duration) -> Result<Vec<WriterAction>, StreamError> {
        if self.ended {
            return Ok(self.take());
        }
        if self.wants_announcing() && now >= self.announce_at {
            self.announce()?;
        }
        self.flush_due(now)?;
        if self.unsaved && now >= self.saved_at.saturating_add(self.options.save_every) {
            self.save(now);
        }
        Ok(self.take())
    }

    /// When [`poll`](Self::poll) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if !self.out.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.ended {
            return None;
        }
        let flush = self.gathered.as_ref().map(|gathered| gathered.due(&self.options.coalesce));
        let save = self.unsaved.then(|| self.saved_at.saturating_add(self.options.save_every));
        let announce = self.wants_announcing().then_some(self.announce_at);
        [flush, save, announce].into_iter().flatten().min()
    }

    /// Another worker has the task: nothing more is written. The caller hears from that worker.
    pub fn lost(&mut self) {
        self.ended = true;
        self.gathered = None;
        self.out.clear();
    }

    /// The task, with what is not saved yet.
    #[must_use]
    pub fn into_task(self) -> Task {
        self.task
    }
}
