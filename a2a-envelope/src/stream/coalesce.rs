//! Text gathered into larger events.

use std::time::Duration;

use crate::JsonText;
use crate::task::text_part;

/// How much text is gathered before it becomes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coalesce {
    /// How long the first piece waits at most. Default 50 ms.
    pub after: Duration,
    /// How many bytes of text are gathered at most. Default 4 KiB. A longer piece is one event.
    pub bytes: usize,
}

impl Coalesce {
    /// Nothing is gathered: each piece is an event of its own.
    pub const OFF: Self = Self { after: Duration::ZERO, bytes: 0 };

    /// Other bounds than the default ones.
    #[must_use]
    pub const fn new(after: Duration, bytes: usize) -> Self {
        Self { after, bytes }
    }
}

impl Default for Coalesce {
    fn default() -> Self {
        Self { after: Duration::from_millis(50), bytes: 4 * 1024 }
    }
}

/// The text that is gathered: of one artifact at a time, so that the order of events stays.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) artifact: String,
    text: String,
    since: Duration,
}

impl Gathered {
    pub(super) fn new(artifact: &str, now: Duration) -> Self {
        Self { artifact: artifact.to_owned(), text: String::new(), since: now }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Whether `more` bytes would not fit any longer.
    pub(super) fn overflows(&self, more: usize, coalesce: &Coalesce) -> bool {
        !self.text.is_empty() && self.text.len() + more > coalesce.bytes
    }

    pub(super) fn is_due(&self, now: Duration, coalesce: &Coalesce) -> bool {
        self.text.len() >= coalesce.bytes || now >= self.due(coalesce)
    }

    pub(super) fn due(&self, coalesce: &Coalesce) -> Duration {
        self.since.saturating_add(coalesce.after)
    }

    pub(super) fn part(&self) -> JsonText {
        text_part(&self.text)
    }
}
