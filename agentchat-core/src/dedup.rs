//! What has been seen: by message id, never by sequence number, because rows can arrive late.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::numbers::NumberMap;

/// A window of ids, bounded by count and age. It has no clock of its own.
///
/// Settled ids are found by a keyed hash of 64 bits, and then compared: an index by the ids themselves would
/// take more memory than the ids, and a full window costs what its memory costs. Should two ids of a window
/// ever have the same hash, which nobody outside can bring about, the older one counts as forgotten.
#[derive(Debug)]
pub(crate) struct Dedup {
    in_progress: HashSet<Arc<str>>,
    /// Settled ids in the order they were settled, the oldest to be forgotten first, with their hashes: what
    /// was put in long ago is in no cache any more.
    settled: VecDeque<(Instant, Arc<str>, u64)>,
    /// By hash: how many ids were settled before this one.
    index: NumberMap<u64>,
    forgotten: u64,
    hasher: RandomState,
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

impl Dedup {
    /// A window of up to `capacity` settled ids that are younger than `max_age`. Ids in progress are
    /// never forgotten: their number is bounded by whoever admits them.
    pub(crate) fn new(capacity: usize, max_age: Duration) -> Self {
        Self {
            in_progress: HashSet::new(),
            settled: VecDeque::new(),
            index: NumberMap::default(),
            forgotten: 0,
            hasher: RandomState::new(),
            capacity,
            max_age,
        }
    }

    /// Meets `id`.
    pub(crate) fn observe(&mut self, id: &str, now: Instant) -> Seen {
        if self.is_settled(id, now) {
            Seen::Settled
        } else if self.in_progress.contains(id) {
            Seen::InProgress
        } else {
            self.in_progress.insert(id.into());
            Seen::New
        }
    }

    /// Whether `id` is settled, without meeting it.
    pub(crate) fn is_settled(&mut self, id: &str, now: Instant) -> bool {
        self.is_settled_at(self.hash(id), id, now)
    }

    /// The hash of an id in this window, for those who ask about the same one more than once.
    pub(crate) fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }

    /// [`Dedup::is_settled`] of an id whose [`Dedup::hash`] is known.
    pub(crate) fn is_settled_at(&mut self, hash: u64, id: &str, now: Instant) -> bool {
        self.forget_old(now);
        self.knows(hash, id)
    }

    /// Marks `id` settled: from now on it is a repetition.
    pub(crate) fn settle(&mut self, id: &str, now: Instant) {
        let id = self.in_progress.take(id).unwrap_or_else(|| id.into());
        self.put(id, now);
    }

    /// The same for an id that was never met here.
    pub(crate) fn put(&mut self, id: Arc<str>, now: Instant) {
        self.put_at(self.hash(&id), id, now);
    }

    /// [`Dedup::put`] of an id whose [`Dedup::hash`] is known.
    pub(crate) fn put_at(&mut self, hash: u64, id: Arc<str>, now: Instant) {
        if !self.knows(hash, &id) {
            self.index.insert(hash, self.forgotten + self.settled.len() as u64);
            self.settled.push_back((now, id, hash));
        }
        self.forget_old(now);
    }

    fn knows(&self, hash: u64, id: &str) -> bool {
        let place = self.index.get(&hash).and_then(|number| usize::try_from(number - self.forgotten).ok());
        place.and_then(|at| self.settled.get(at)).is_some_and(|(_, known, _)| **known == *id)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, _, hash)) = self.settled.front() {
            let expired = now.saturating_duration_since(*at) >= self.max_age;
            if self.settled.len() <= self.capacity && !expired {
                break;
            }
            if self.index.get(hash) == Some(&self.forgotten) {
                self.index.remove(hash);
            }
            self.forgotten += 1;
            self.settled.pop_front();
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
                prop_assert_eq!((window.index.len(), window.in_progress.len()), (window.settled.len(), 0));
                prop_assert_eq!(window.observe(&id.to_string(), now), Seen::Settled);
            }
        }
    }
}
