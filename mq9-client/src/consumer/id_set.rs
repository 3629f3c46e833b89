//! A set of message ids kept as ranges, so that a dense log costs one entry.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ids as half-open ranges: first id to the id after the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdSet {
    lower: BTreeMap<u64, u64>,
    /// The highest range, kept apart because nearly every id is added behind it.
    top: Range<u64>,
}

impl IdSet {
    /// Adds `id`; false when it was there.
    pub(crate) fn insert(&mut self, id: u64) -> bool {
        if id == self.top.end && !self.top.is_empty() {
            self.top.end += 1;
            return true;
        }
        if self.top.contains(&id) {
            return false;
        }
        if self.top.is_empty() || id > self.top.end {
            let below = std::mem::replace(&mut self.top, id..id + 1);
            if !below.is_empty() {
                self.lower.insert(below.start, below.end);
            }
            return true;
        }
        let added = self.insert_lower(id);
        if let Some(last) = self.lower.last_entry().filter(|last| *last.get() == self.top.start) {
            self.top.start = *last.key();
            last.remove();
        }
        added
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.gap_from(id) != id
    }

    /// The first id at or above `id` that is not in the set.
    pub(crate) fn gap_from(&self, id: u64) -> u64 {
        if self.top.contains(&id) {
            return self.top.end;
        }
        if id >= self.top.end {
            return id;
        }
        match self.lower.range(..=id).next_back() {
            Some((_, end)) if *end > id => *end,
            _ => id,
        }
    }

    /// Forgets every id below `floor`.
    pub(crate) fn remove_below(&mut self, floor: u64) {
        if floor >= self.top.start {
            self.lower.clear();
            self.top.start = floor.min(self.top.end);
            return;
        }
        while let Some(first) = self.lower.first_entry() {
            if *first.key() >= floor {
                return;
            }
            let end = first.remove();
            if end > floor {
                self.lower.insert(floor, end);
                return;
            }
        }
    }

    fn insert_lower(&mut self, id: u64) -> bool {
        let below = self.lower.range_mut(..=id).next_back();
        let start = match below {
            Some((_, end)) if *end > id => return false,
            Some((start, end)) if *end == id => {
                *end = id + 1;
                *start
            }
            _ => {
                self.lower.insert(id, id + 1);
                id
            }
        };
        if let Some(end) = self.lower.remove(&(id + 1)) {
            self.lower.insert(start, end);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::IdSet;

    #[test]
    fn a_dense_log_is_one_range_in_whatever_order_it_comes() {
        let mut set = IdSet::default();
        for id in [3, 1, 2, 0, 4] {
            assert!(set.insert(id));
        }
        assert!(set.lower.is_empty());
        assert_eq!(set.gap_from(0), 5);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(ops in prop::collection::vec((0_u64..40, any::<bool>()), 0..120)) {
            let (mut set, mut plain) = (IdSet::default(), BTreeSet::new());
            for (id, add) in ops {
                if add {
                    prop_assert_eq!(set.insert(id), plain.insert(id));
                } else {
                    let floor = id / 4;
                    set.remove_below(floor);
                    plain.retain(|id| *id >= floor);
                }
            }
            for id in 0..45 {
                prop_assert_eq!(set.contains(id), plain.contains(&id));
                prop_assert!(!set.top.is_empty() || set.lower.is_empty());
                let gap = (id..).find(|id| !plain.contains(id));
                prop_assert_eq!(Some(set.gap_from(id)), gap);
            }
        }
    }
}
