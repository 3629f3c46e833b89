//! How long a question waits, and what becomes of its task when nobody answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::TaskError;
use super::event::Event;
use super::record::{Task, millis};
use super::state::TaskState;
use crate::json_text::JsonText;

/// What becomes of a task whose question nobody answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unanswered {
    /// It ends as `FAILED` (default).
    #[default]
    Fail,
    /// It ends as `CANCELED`.
    Cancel,
}

/// How long a question is waited for, and what becomes of its task then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuestionPolicy {
    /// How long it may be answered. Default seven days; with `None` it waits for as long as its store keeps it.
    pub within: Option<Duration>,
    /// What becomes of the task then. Default [`Unanswered::Fail`].
    pub unanswered: Unanswered,
}

/// The deadline of a question, kept with its task: any worker that finds it ends the task by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnswerBy {
    /// Until when it may be answered, in unix milliseconds. At this moment it is too late.
    pub unix_ms: u64,
    /// What becomes of the task then.
    #[serde(default)]
    pub unanswered: Unanswered,
}

impl Unanswered {
    /// The state the task ends in.
    #[must_use]
    pub fn state(self) -> TaskState {
        match self {
            Self::Fail => TaskState::Failed,
            Self::Cancel => TaskState::Canceled,
        }
    }
}

impl QuestionPolicy {
    /// The policy with another [`within`](Self::within).
    #[must_use]
    pub fn with_within(mut self, within: Option<Duration>) -> Self {
        self.within = within;
        self
    }

    /// The policy with another [`unanswered`](Self::unanswered).
    #[must_use]
    pub fn with_unanswered(mut self, unanswered: Unanswered) -> Self {
        self.unanswered = unanswered;
        self
    }

    /// The deadline of a question asked at `now`, the time since the unix epoch.
    #[must_use]
    pub fn answer_by(&self, now: Duration) -> Option<AnswerBy> {
        let at = now.saturating_add(self.within?);
        Some(AnswerBy { unix_ms: millis(at), unanswered: self.unanswered })
    }
}

impl Default for QuestionPolicy {
    fn default() -> Self {
        Self { within: Some(WEEK), unanswered: Unanswered::Fail }
    }
}

impl AnswerBy {
    /// The moment, since the unix epoch.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.unix_ms)
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(&self, now: Duration) -> bool {
        now >= self.at()
    }
}

impl Task {
    /// The deadline of the question the task asks; `None` without one, and where nothing is asked.
    #[must_use]
    pub fn answer_by(&self) -> Option<AnswerBy> {
        self.answer_by.filter(|_| self.state.is_interrupted())
    }

    /// Gives the question that was just asked a deadline. It belongs to the change that asked: call it before
    /// that is stored. A task that asks nothing stays as it is.
    pub fn set_answer_by(&mut self, by: Option<AnswerBy>) {
        if self.state.is_interrupted() {
            self.answer_by = by;
        }
    }

    /// When a server sees to the task without being asked: the deadline of its question, and after that until
    /// the end it led to was [told](Self::told). A store lists a task under it; see
    /// [`TaskStore::due_tasks`](super::TaskStore::due_tasks).
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.answer_by.map(|by| by.at())
    }

    /// Ends the task if its question has a deadline and that has passed; gives whether it did. The end has to
    /// be told afterwards, which outlives a worker: the task stays [due](Self::due) until it is
    /// [told](Self::told).
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply); none for a task as this crate makes it.
    pub fn expire(&mut self, reason: JsonText, now: Duration) -> Result<bool, TaskError> {
        let Some(by) = self.answer_by().filter(|by| by.has_passed(now)) else { return Ok(false) };
        self.apply(&Event::status_with(by.unanswered.state(), reason), now)?;
        self.answer_by = Some(by);
        Ok(true)
    }

    /// Whether the task ended because nobody answered, and who asked was not told yet.
    #[must_use]
    pub fn has_untold_end(&self) -> bool {
        self.state.is_terminal() && self.answer_by.is_some()
    }

    /// That who asked was told of the end. It counts as a change, so that it can be stored.
    pub fn told(&mut self) {
        if self.has_untold_end() {
            self.answer_by = None;
            self.bump();
        }
    }
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_may_be_answered_up_to_its_deadline_and_not_at_it() {
        let asked = Duration::from_millis(5_000);
        let by = QuestionPolicy::default().with_within(Some(Duration::from_millis(1_500))).answer_by(asked);
        let by = by.unwrap();
        assert_eq!(by.unix_ms, 6_500);
        assert!(!by.has_passed(Duration::from_millis(6_499)) && by.has_passed(Duration::from_millis(6_500)));
        let far = QuestionPolicy::default().with_within(Some(Duration::MAX)).answer_by(asked).unwrap();
        assert_eq!(far.unix_ms, u64::MAX, "one beyond all numbers is the last of them");
        assert_eq!(QuestionPolicy::default().with_within(None).answer_by(asked), None);
    }
}
