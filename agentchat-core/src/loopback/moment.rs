//! The time of one step.

use std::cell::Cell;

use tokio::time::Instant;

/// The time of one step, read when it is first asked for: most messages need no clock, and reading it takes
/// longer than storing them.
#[derive(Debug, Default)]
pub(crate) struct Moment(Cell<Option<Instant>>);

impl Moment {
    pub(crate) fn at(now: Instant) -> Self {
        Self(Cell::new(Some(now)))
    }

    pub(crate) fn get(&self) -> Instant {
        let now = self.0.get().unwrap_or_else(Instant::now);
        self.0.set(Some(now));
        now
    }
}
