//! What has been seen: by message id, never by sequence number, because rows can arrive late.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::numbers::{NumberHasher, NumberMap};

/// A window of ids, bounded by count and age. It has no clock of its own.
///
/// Of a settled id its [`Mark`] is kept and no text: a full window costs what its memory costs, and what was
/// put in long ago is in no cache any more.
#[derive(Debug)]
pub(crate) struct Dedup {
    in_progress: MarkSet,
    /// Settled ids in the order they were settled, the oldest to be forgotten first.
    settled: VecDeque<(Instant, Mark)>,
    /// By the first half of its mark: how many ids were settled before this one.
    index: NumberMap<u64>,
    forgotten: u64,
    hasher: RandomState,
    capacity: usize,
    max_age: Duration,
}

/// An id in 128 bits of a hash that is keyed at random for each window. Two ids of a full window share a mark
/// with a chance of one in 10²⁸, and nobody outside can look for two that do. Should two have the same first
/// half, the older one counts as forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    first: u64,
    second: u64,
}

/// A set of marks: they are keyed already.
pub(crate) type MarkSet = HashSet<Mark, BuildHasherDefault<NumberHasher>>;

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
            in_progress: MarkSet::default(),
            settled: VecDeque::new(),
            index: NumberMap::default(),
            forgotten: 0,
            hasher: RandomState::new(),
            capacity,
            max_age,
        }
    }

    /// Meets an id.
    pub(crate) fn observe(&mut self, id: Mark, now: Instant) -> Seen {
        if self.is_settled(id, now) {
            Seen::Settled
        } else if self.in_progress.insert(id) {
            Seen::New
        } else {
            Seen::InProgress
        }
    }

    /// What an id is known by in this window.
    pub(crate) fn mark(&self, id: &str) -> Mark {
        Mark { first: self.hasher.hash_one((0_u8, id)), second: self.hasher.hash_one((1_u8, id)) }
    }

    /// Whether an id is settled, without meeting it.
    pub(crate) fn is_settled(&mut self, mark: Mark, now: Instant) -> bool {
        self.forget_old(now);
        self.knows(mark)
    }

    /// Marks an id as settled: from now on it is a repetition.
    pub(crate) fn settle(&mut self, id: Mark, now: Instant) {
        self.in_progress.remove(&id);
        self.put(id, now);
    }

    /// The same for an id that is not in progress here.
    pub(crate) fn put(&mut self, mark: Mark, now: Instant) {
        if !self.knows(mark) {
            self.index.insert(mark.first, self.forgotten + self.settled.len() as u64);
            self.settled.push_back((now, mark));
        }
        self.forget_old(now);
    }

    fn knows(&self, mark: Mark) -> bool {
        let place = self.index.get(&mark.first);
        let place = place.and_then(|number| usize::try_from(number - self.forgotten).ok());
        place.and_then(|at| self.settled.get(at)).is_some_and(|(_, known)| *known == mark)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, mark)) = self.settled.front() {
            let expired = now.saturating_duration_since(*at) >= self.max_age;
            if self.settled.len() <= self.capacity && !expired {
                break;
            }
            if self.index.get(&mark.first) == Some(&self.forgotten) {
                self.index.remove(&mark.first);
            }
            self.forgotten += 1;
            self.settled.pop_front();
        }
    }
}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.first);
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
        let (a, b) = (window.mark("a"), window.mark("b"));
        assert_eq!(window.observe(a, start), Seen::New);
        assert_eq!(window.observe(a, start), Seen::InProgress);
        window.settle(a, start);
        assert_eq!(window.observe(b, start), Seen::New);
        assert_eq!(window.observe(a, start + HOUR / 2), Seen::Settled);
        assert_eq!(window.observe(a, start + HOUR), Seen::New);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_settled_ids_than_its_capacity(ids in prop::collection::vec(0_u8..40, 0..200)) {
            let start = Instant::now();
            let mut window = Dedup::new(8, HOUR);
            for (tick, id) in ids.iter().enumerate() {
                let now = start + Duration::from_millis(tick as u64);
                let id = window.mark(&id.to_string());
                window.observe(id, now);
                window.settle(id, now);
                prop_assert!(window.settled.len() <= 8);
                prop_assert_eq!((window.index.len(), window.in_progress.len()), (window.settled.len(), 0));
                prop_assert_eq!(window.observe(id, now), Seen::Settled);
            }
        }
    }
}
