//! A question as a handler asks it: a text, and how long it waits.

use std::fmt;
use std::time::Duration;

use crate::task::{QuestionPolicy, TaskState, Unanswered};

/// What a handler asks its caller, and how long the answer is waited for.
///
/// A text is a question that waits as the server's options say
/// ([`QuestionPolicy`], in [`WriterOptions::question`](crate::stream::WriterOptions::question)). `Debug` prints
/// no text.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Question {
    text: String,
    within: Option<Option<Duration>>,
    unanswered: Option<Unanswered>,
}

impl Question {
    /// A question of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), within: None, unanswered: None }
    }

    /// It may be answered for so long. Afterwards its task ends, whichever worker has it then.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(Some(time));
        self
    }

    /// It may be answered for as long as the store keeps its task.
    pub fn without_deadline(mut self) -> Self {
        self.within = Some(None);
        self
    }

    /// What becomes of its task when nobody answers in time.
    pub fn if_unanswered(mut self, unanswered: Unanswered) -> Self {
        self.unanswered = Some(unanswered);
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How it is waited for, where the server waits as `usual`.
    pub(super) fn policy(&self, usual: QuestionPolicy) -> QuestionPolicy {
        usual
            .with_within(self.within.unwrap_or(usual.within))
            .with_unanswered(self.unanswered.unwrap_or(usual.unanswered))
    }
}

impl From<&str> for Question {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&String> for Question {
    fn from(text: &String) -> Self {
        Self::new(text.as_str())
    }
}

impl From<String> for Question {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("within", &self.within)
            .field("unanswered", &self.unanswered)
            .finish_non_exhaustive()
    }
}

/// A question on its way to its task, and the state it is asked in.
pub(crate) struct Asking {
    pub(crate) state: TaskState,
    pub(crate) question: Question,
}
