//! What was settled, over all connections.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::dedup::{Dedup, Mark, MarkSet};

/// The window of settled ids. What is in progress is not its business: it asks only about ids that are not.
#[derive(Debug)]
pub(super) struct Seen {
    window: Dedup,
    /// Met, but never settled, and forgotten. The window holds them as settled, because that is how its
    /// entries age; here they stay at least as long as there.
    abandoned: MarkSet,
    abandoned_order: VecDeque<Mark>,
    capacity: usize,
}

impl Seen {
    pub(super) fn new(capacity: usize, max_age: Duration) -> Self {
        let (abandoned, abandoned_order) = (MarkSet::default(), VecDeque::new());
        Self { window: Dedup::new(capacity, max_age), abandoned, abandoned_order, capacity }
    }

    /// What an id is known by here.
    pub(super) fn mark(&self, id: &str) -> Mark {
        self.window.mark(id)
    }

    /// Whether `id`, which is not in progress, was settled.
    pub(super) fn settled(&mut self, id: Mark, now: Instant) -> bool {
        self.window.is_settled(id, now) && (self.abandoned.is_empty() || !self.abandoned.contains(&id))
    }

    pub(super) fn settle(&mut self, id: Mark, now: Instant) {
        if !self.abandoned.is_empty() && self.abandoned.remove(&id) {
            self.abandoned_order.retain(|other| *other != id);
        }
        self.window.put(id, now);
    }

    /// `id` is not in progress any more, and not settled: it is new when it comes again.
    pub(super) fn abandon(&mut self, id: Mark, now: Instant) {
        self.window.put(id, now);
        if self.abandoned.insert(id) {
            self.abandoned_order.push_back(id);
        }
        // The window has settled one id for each of these, so it forgot the oldest before.
        while self.abandoned_order.len() > self.capacity + 1 {
            if let Some(id) = self.abandoned_order.pop_front() {
                self.abandoned.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_abandoned_is_never_taken_for_settled_and_does_not_pile_up() {
        let now = Instant::now();
        let mut seen = Seen::new(4, Duration::from_secs(3600));
        for number in 0..100 {
            let id = seen.mark(&number.to_string());
            assert!(!seen.settled(id, now));
            if number % 3 == 0 {
                seen.settle(id, now);
                assert!(seen.settled(id, now));
            } else {
                seen.abandon(id, now);
            }
            for old in (0..=number).filter(|old| old % 3 != 0) {
                let old = seen.mark(&old.to_string());
                assert!(!seen.settled(old, now), "{old:?} was never settled");
                seen.abandon(old, now);
            }
            assert!(seen.abandoned.len() <= 5 && seen.abandoned_order.len() <= 5);
        }
        let again = seen.mark("98");
        seen.settle(again, now);
        assert!(seen.settled(again, now), "it came again and was settled");
    }
}
