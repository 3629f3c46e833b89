//! What is handed over together, and what a failure leads to.

use std::sync::Arc;
use std::time::Duration;

use super::lane::{Fate, Queued};
use crate::agent::outcome::{HandlerError, Verdict};
use crate::agent::serve_options::ServePolicy;
use crate::agent::serve_stats::ServeStats;

/// What is handed over, how many run at once, and what happens to a message whose handler fails.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) serve: ServePolicy,
    pub(crate) concurrency: usize,
    pub(crate) retry_base: Duration,
    pub(crate) retry_cap: Duration,
    /// After how many failures a message is given up.
    pub(crate) max_attempts: Option<u32>,
}

impl Policy {
    /// How many messages that failed so often are handed over together. The last try is each one's own, so
    /// that one of them cannot make the others be given up.
    pub(super) fn batch_after(&self, failures: u32) -> usize {
        let last = failures > 0 && self.max_attempts.is_some_and(|most| failures.saturating_add(1) >= most);
        match self.serve {
            ServePolicy::Batch(most) if !last => most,
            _ => 1,
        }
    }

    /// Notes a failure of `queued`; returns how long it waits for its next try.
    pub(super) fn strike(
        &self,
        queued: &mut Queued,
        error: &Arc<HandlerError>,
        stats: &mut ServeStats,
    ) -> Duration {
        let open = queued.is_open();
        let tries = queued.strike();
        tracing::warn!(
            name: "handler.failed", id = %queued.delivery.id, task = queued.fate.name(), failures = tries,
            error_kind = error.kind_name(), rejected = error.is_reject(), panicked = error.is_panic(),
            "a message was not handled"
        );
        stats.failed += u64::from(open);
        if open && (error.is_reject() || self.max_attempts.is_some_and(|most| tries >= most)) {
            queued.fate = Fate::Bury { error: Arc::clone(error), quiet: false };
            return Duration::ZERO;
        }
        match error.verdict() {
            Verdict::After(wait) => wait,
            Verdict::Backoff(least) => self.retry_delay(tries).max(least),
            Verdict::Reject => self.retry_delay(tries),
        }
    }

    pub(super) fn retry_delay(&self, tries: u32) -> Duration {
        self.retry_base.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(self.retry_cap)
    }
}
