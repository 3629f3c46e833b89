//! How a stream is written. How it is read is in `reader_options.rs`.

use std::time::Duration;

use super::coalesce::Coalesce;
use crate::task::QuestionPolicy;

/// How a stream is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterOptions {
    /// How text is gathered. Default 50 ms or 4 KiB.
    pub coalesce: Coalesce,
    /// How often the task is saved while chunks come. Default 250 ms. Every change of state, every last chunk
    /// and the end are saved at once.
    pub save_every: Duration,
    /// After how long without an event the caller is told of the task. Default 500 ms.
    pub announce_after: Duration,
    /// Where follow-ups and cancels go, said on every reply of the task. Default none.
    pub task_inbox: Option<String>,
    /// How many numbers are reserved with each save. A worker that takes over begins behind them. Default 64.
    pub reserve: u64,
    /// How many events are retained for a caller that resumes. Default 256; the oldest are let go.
    pub retained_events: usize,
    /// How many bytes of events are retained. Default 1 MiB.
    pub retained_bytes: usize,
    /// How many may listen beside the caller. Default 16; further ones are refused.
    pub max_subscribers: usize,
    /// How long questions are waited for that do not say otherwise, and what becomes of their tasks then.
    pub question: QuestionPolicy,
}

impl WriterOptions {
    /// These options with another [`coalesce`](Self::coalesce).
    #[must_use]
    pub fn with_coalesce(mut self, coalesce: Coalesce) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// These options with another [`save_every`](Self::save_every).
    #[must_use]
    pub fn with_save_every(mut self, interval: Duration) -> Self {
        self.save_every = interval;
        self
    }

    /// These options with another [`announce_after`](Self::announce_after).
    #[must_use]
    pub fn with_announce_after(mut self, interval: Duration) -> Self {
        self.announce_after = interval;
        self
    }

    /// These options with a [`task_inbox`](Self::task_inbox).
    #[must_use]
    pub fn with_task_inbox(mut self, address: impl Into<String>) -> Self {
        self.task_inbox = Some(address.into());
        self
    }

    /// These options with another [`reserve`](Self::reserve), 1 at least.
    #[must_use]
    pub fn with_reserve(mut self, count: u64) -> Self {
        self.reserve = count.clamp(1, 1 << 20);
        self
    }

    /// These options with other bounds on what is retained.
    #[must_use]
    pub fn with_retained(mut self, events: usize, bytes: usize) -> Self {
        (self.retained_events, self.retained_bytes) = (events, bytes);
        self
    }

    /// These options with another [`max_subscribers`](Self::max_subscribers).
    #[must_use]
    pub fn with_max_subscribers(mut self, count: usize) -> Self {
        self.max_subscribers = count;
        self
    }

    /// These options with another [`question`](Self::question).
    #[must_use]
    pub fn with_question(mut self, policy: QuestionPolicy) -> Self {
        self.question = policy;
        self
    }
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            coalesce: Coalesce::default(),
            save_every: Duration::from_millis(250),
            announce_after: Duration::from_millis(500),
            task_inbox: None,
            reserve: 64,
            retained_events: 256,
            retained_bytes: 1024 * 1024,
            max_subscribers: 16,
            question: QuestionPolicy::default(),
        }
    }
}
