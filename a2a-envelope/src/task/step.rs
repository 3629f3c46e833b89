//! The steps between a request's arrival and its end, named so that a crash at each can be thought through.

use super::record::Task;
use crate::idempotency::{RequestRecord, RequestState};

/// How far a request has come. Each step is complete when what it names is durable, or sent.
///
/// A worker takes them in order. One that finds a request again (it was delivered again, or a start reads
/// [`open_tasks`](super::TaskStore::open_tasks)) asks [`after_crash`](Self::after_crash) and goes on with the
/// step after that. `Acked`, `Settled` and `Sent` leave no mark in a store, and are done again without harm:
/// the caller passes over what it has seen. `Settled` may come later, even last: that only means that a crash
/// brings the request again instead of leaving it to the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// The request was read. A crash here leaves nothing; the network delivers it again.
    Received,
    /// Its key is recorded with the id of its task. A crash here leaves a record without a task: the task is
    /// made now, under that id.
    Recorded,
    /// Its task is stored with the request open. From here on a start finds it.
    Stored,
    /// The caller was told that it is taken.
    Acked,
    /// The network was told that it is done with.
    Settled,
    /// The handler has begun. A crash here means that the handler is entered again with the stored task;
    /// what it has sent is not repeated under the same numbers.
    Running,
    /// The outcome is stored in the task. The handler never runs again for this request.
    Answered,
    /// The last reply was sent.
    Sent,
    /// The record holds the outcome.
    Closed,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Recorded,
        Self::Stored,
        Self::Acked,
        Self::Settled,
        Self::Running,
        Self::Answered,
        Self::Sent,
        Self::Closed,
    ];

    /// The step after this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step > self)
    }

    /// How far a request has certainly come, by what the stores hold: the record of its key, and its task.
    #[must_use]
    pub fn after_crash(record: Option<&RequestRecord>, task: Option<&Task>) -> Self {
        let Some(record) = record else { return Self::Received };
        if record.state == RequestState::Answered {
            return Self::Closed;
        }
        let turn = task.and_then(|task| task.turns().iter().rev().find(|turn| turn.is_of(record)));
        match turn {
            None => Self::Recorded,
            Some(turn) if turn.closed => Self::Answered,
            // Numbers are reserved before the handler can have said anything.
            Some(turn) if turn.seq > 0 => Self::Running,
            Some(_) => Self::Stored,
        }
    }
}
