//! What closing an agent left.

use std::fmt;

use super::tasks::word;
use crate::error::Error;
use crate::options::CloseMode;

/// What was left when an agent closed. `Display` is one line for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// What it was closed for.
    pub mode: CloseMode,
    /// Whether every handler had finished before the deadline.
    pub drained: bool,
    /// How many messages were taken in and not settled. They come again.
    pub unsettled: usize,
    /// How many messages were settled, but could not be acknowledged while they were served. They come
    /// again too, and whoever serves the inbox then cannot know that they were handled.
    pub unacknowledged: usize,
    /// How many messages a [`Resilient`](crate::Resilient) session still had to send. Whoever sent them was
    /// told; what nobody waits for is in [`Resilient::parked`](crate::Resilient::parked).
    pub unsent: usize,
    /// How many calls were under way and ended as [`Closed`](crate::ErrorKind::Closed).
    pub calls_ended: usize,
    /// Whether the agent was taken out of the directory.
    pub unregistered: bool,
}

impl CloseReport {
    /// Nothing is left yet.
    pub(crate) fn new(mode: CloseMode) -> Self {
        Self {
            mode,
            drained: true,
            unsettled: 0,
            unacknowledged: 0,
            unsent: 0,
            calls_ended: 0,
            unregistered: false,
        }
    }

    /// Whether nothing is left to be done by anybody: all that was taken in is handled and acknowledged, all
    /// that was sent has gone out, and no call was cut short.
    pub fn is_clean(&self) -> bool {
        self.drained && (self.unsettled, self.unacknowledged, self.unsent, self.calls_ended) == (0, 0, 0, 0)
    }

    /// Adds the same facts to an error.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error =
            error.with_context("mode", word(self.mode)).with_context("drained", self.drained.to_string());
        let error = error.with_context("unregistered", self.unregistered.to_string());
        let told = |error: &Error, name| error.context().any(|(known, _)| known == name);
        self.counts().into_iter().fold(error, |error, (name, count)| match told(&error, name) {
            true => error,
            false => error.with_context(name, count.to_string()),
        })
    }

    fn counts(&self) -> [(&'static str, usize); 4] {
        [
            ("unsettled", self.unsettled),
            ("unacknowledged", self.unacknowledged),
            ("unsent", self.unsent),
            ("calls_ended", self.calls_ended),
        ]
    }
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drained = if self.drained { "drained" } else { "not drained" };
        let unregistered = if self.unregistered { "unregistered" } else { "not unregistered" };
        write!(f, "{}: {drained}, {unregistered}", word(self.mode))?;
        self.counts().into_iter().try_for_each(|(name, count)| write!(f, ", {name} {count}"))
    }
}
