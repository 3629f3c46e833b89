//! The time as the engine has heard it, and the passes that fall due by it.

/// The latest time heard, in milliseconds since 1970. It never goes back.
#[derive(Default)]
pub(crate) struct Clock {
    now_ms: u64,
    /// The first time heard, from which the passes are counted.
    started_ms: Option<u64>,
}

impl Clock {
    pub(crate) fn hear(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.started_ms.get_or_insert(self.now_ms);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }

    /// When the last pass of this period fell due, in milliseconds; the start itself is none.
    ///
    /// What a pass does depends on this alone and not on when it is carried out, so the same commands at
    /// the same times always meet the same state, however often the engine was ticked in between.
    pub(crate) fn last_pass(&self, period_ms: u64) -> Option<u64> {
        let started = self.started_ms?;
        let passes = (self.now_ms - started) / period_ms;
        (passes > 0).then(|| started + passes * period_ms)
    }

    /// When the first pass at or after `due_ms` falls due.
    pub(crate) fn pass_after(&self, due_ms: u64, period_ms: u64) -> u64 {
        let started = self.started_ms.unwrap_or(self.now_ms);
        let passes = due_ms.saturating_sub(started).div_ceil(period_ms).max(1);
        started.saturating_add(passes.saturating_mul(period_ms))
    }
}
