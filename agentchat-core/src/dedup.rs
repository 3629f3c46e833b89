//! What has been seen: by message id, never by sequence number, because rows can arrive late.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A window of ids, bounded by count and age. It has no clock of its own.
#[derive(Debug)]
pub(crate) struct Dedup {
    states: HashMap<Arc<str>, State>,
    /// Settled ids in the order they were settled, the oldest to be forgotten first.
    settled: VecDeque<(Instant, Arc<str>)>,
    capacity: usize,
    max_age: Duration,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Never met; it is in progress from now on.
    New,
    /// Met, and not settled yet.
    InProgress,
    /// Met and settled.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InProgress,
    Settled,
}

impl Dedup {
    /// A window of up to `capacity` settled ids that are younger than `max_age`. Ids in progress are
    /// never forgotten: their number is bounded by whoever admits them.
    pub(crate) fn new(capacity: usize, max_age: Duration) -> Self {
        Self { states: HashMap::new(), settled: VecDeque::new(), capacity, max_age }
    }

    /// Meets `id`.
    pub(crate) fn observe(&mut self, id: &str, now: Instant) -> Seen {
        self.forget_old(now);
        match self.states.get(id) {
            Some(State::InProgress) => Seen::InProgress,
            Some(State::Settled) => Seen::Settled,
            None => {
                self.states.insert(id.into(), State::InProgress);
                Seen::New
            }
        }
    }

    /// Marks `id` settled: from now on it is a repetition.
    pub(crate) fn settle(&mut self, id: &str, now: Instant) {
        let id: Arc<str> = id.into();
        if self.states.insert(Arc::clone(&id), State::Settled) != Some(State::Settled) {
            self.settled.push_back((now, id));
        }
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, _)) = self.settled.front() {
            let expired = now.saturating_duration_since(*at) >= self.max_age;
            if self.settled.len() <= self.capacity && !expired {
                break;
            }
            if let Some((_, id)) = self.settled.pop_front() {
                self.states.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_settled_id_is_a_repetition_until_it_is_too_old() {
        let start = Instant::now();
        let mut window = Dedup::new(10, HOUR);
        assert_eq!(window.observe("a", start), Seen::New);
        assert_eq!(window.observe("a", start), Seen::InProgress);
        window.settle("a", start);
        assert_eq!(window.observe("a", start + HOUR / 2), Seen::Settled);
        assert_eq!(window.observe("a", start + HOUR), Seen::New);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_settled_ids_than_its_capacity(ids in prop::collection::vec(0_u8..40, 0..200)) {
            let start = Instant::now();
            let mut window = Dedup::new(8, HOUR);
            for (tick, id) in ids.iter().enumerate() {
                let now = start + Duration::from_millis(tick as u64);
                window.observe(&id.to_string(), now);
                window.settle(&id.to_string(), now);
                prop_assert!(window.settled.len() <= 8);
                prop_assert_eq!(window.states.len(), window.settled.len());
                prop_assert_eq!(window.observe(&id.to_string(), now), Seen::Settled);
            }
        }
    }
}
