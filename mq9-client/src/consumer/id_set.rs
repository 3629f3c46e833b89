//! A set of message ids kept as ranges, so that a dense log costs one entry.

use std::collections::BTreeMap;

/// Ids as half-open ranges: first id to the id after the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdSet(BTreeMap<u64, u64>);

impl IdSet {
    /// Adds `id`; false when it was there.
    pub(crate) fn insert(&mut self, id: u64) -> bool {
        let below = self.0.range_mut(..=id).next_back();
        let start = match below {
            Some((_, end)) if *end > id => return false,
            Some((start, end)) if *end == id => {
                *end = id + 1;
                *start
            }
            _ => {
                self.0.insert(id, id + 1);
                id
            }
        };
        if let Some(end) = self.0.remove(&(id + 1)) {
            self.0.insert(start, end);
        }
        true
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.gap_from(id) != id
    }

    /// The first id at or above `id` that is not in the set.
    pub(crate) fn gap_from(&self, id: u64) -> u64 {
        match self.0.range(..=id).next_back() {
            Some((_, end)) if *end > id => *end,
            _ => id,
        }
    }

    /// Forgets every id below `floor`.
    pub(crate) fn remove_below(&mut self, floor: u64) {
        while let Some(first) = self.0.first_entry() {
            if *first.key() >= floor {
                return;
            }
            let end = first.remove();
            if end > floor {
                self.0.insert(floor, end);
                return;
            }
        }
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
        assert_eq!(set.0.len(), 1);
        assert_eq!(set.gap_from(0), 5);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(ops in prop::collection::vec((0_u64..40, any::<bool>()), 0..80)) {
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
                let gap = (id..).find(|id| !plain.contains(id));
                prop_assert_eq!(Some(set.gap_from(id)), gap);
            }
        }
    }
}
