//! What was settled, over all connections; and what a message is recognised by.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::dedup::{Dedup, Mark, MarkSet};

/// What a message is recognised by, with its mark in the window: it is looked for several times.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    mark: Mark,
    pub(super) text: Arc<str>,
}

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

    pub(super) fn identity(&self, id: &str) -> Identity {
        Identity { mark: self.window.mark(id), text: id.into() }
    }

    /// Whether `id`, which is not in progress, was settled.
    pub(super) fn settled(&mut self, id: &Identity, now: Instant) -> bool {
        self.window.is_settled(id.mark, now)
            && (self.abandoned.is_empty() || !self.abandoned.contains(&id.mark))
    }

    pub(super) fn settle(&mut self, id: &Identity, now: Instant) {
        if !self.abandoned.is_empty() && self.abandoned.remove(&id.mark) {
            self.abandoned_order.retain(|other| *other != id.mark);
        }
        self.window.put(id.mark, now);
    }

    /// `id` is not in progress any more, and not settled: it is new when it comes again.
    pub(super) fn abandon(&mut self, id: &Identity, now: Instant) {
        self.window.put(id.mark, now);
        if self.abandoned.insert(id.mark) {
            self.abandoned_order.push_back(id.mark);
        }
        // The window has settled one id for each of these, so it forgot the oldest before.
        while self.abandoned_order.len() > self.capacity + 1 {
            if let Some(mark) = self.abandoned_order.pop_front() {
                self.abandoned.remove(&mark);
            }
        }
    }
}

impl Deref for Identity {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark && self.text == other.text
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mark.hash(state);
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
            let id = seen.identity(&number.to_string());
            assert!(!seen.settled(&id, now));
            if number % 3 == 0 {
                seen.settle(&id, now);
                assert!(seen.settled(&id, now));
            } else {
                seen.abandon(&id, now);
            }
            for old in (0..=number).filter(|old| old % 3 != 0) {
                let old = seen.identity(&old.to_string());
                assert!(!seen.settled(&old, now), "{old:?} was never settled");
                seen.abandon(&old, now);
            }
            assert!(seen.abandoned.len() <= 5 && seen.abandoned_order.len() <= 5);
        }
        let again = seen.identity("98");
        seen.settle(&again, now);
        assert!(seen.settled(&again, now), "it came again and was settled");
    }
}
