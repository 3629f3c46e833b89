//! Rows that wait for a reader, in the order of delivery.

use std::collections::{BTreeSet, VecDeque};

use super::view::Place;

/// A set of places. Rows nearly always come in order and leave in order, which costs next to nothing; what
/// comes or leaves out of order costs the logarithm of what is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitingRows {
    /// In order, and whether each is still there. The first one is.
    run: VecDeque<(Place, bool)>,
    gone: usize,
    /// Those that came when a later one was there already.
    others: BTreeSet<Place>,
}

impl WaitingRows {
    pub(crate) fn insert(&mut self, place: Place) {
        if !self.others.is_empty() && self.others.contains(&place) {
            return;
        }
        if self.run.back().is_none_or(|(last, _)| *last < place) {
            return self.run.push_back((place, true));
        }
        match self.find(&place) {
            Some(at) => self.gone -= usize::from(!std::mem::replace(&mut self.run[at].1, true)),
            None => drop(self.others.insert(place)),
        }
    }

    /// Returns whether it was in it.
    pub(crate) fn remove(&mut self, place: &Place) -> bool {
        if !self.others.is_empty() && self.others.remove(place) {
            return true;
        }
        let Some(at) = self.find(place) else { return false };
        let there = std::mem::replace(&mut self.run[at].1, false);
        self.gone += usize::from(there);
        while self.run.front().is_some_and(|(_, there)| !there) {
            self.run.pop_front();
            self.gone -= 1;
        }
        if self.gone > self.run.len() / 2 + SPARE {
            self.run.retain(|(_, there)| *there);
            self.gone = 0;
        }
        there
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.run.is_empty() && self.others.is_empty()
    }

    pub(crate) fn first(&self) -> Option<Place> {
        let run = self.run.front().map(|(place, _)| *place);
        match self.others.first() {
            Some(other) => Some(run.map_or(*other, |run| run.min(*other))),
            None => run,
        }
    }

    /// The one behind the first.
    pub(crate) fn second(&self) -> Option<Place> {
        let run = self.run.iter().filter(|(_, there)| *there).map(|(place, _)| *place).take(2);
        let mut both: Vec<Place> = run.chain(self.others.iter().copied().take(2)).collect();
        both.sort_unstable();
        both.get(1).copied()
    }

    /// Where it stands in the run. Most often it is the first.
    fn find(&self, place: &Place) -> Option<usize> {
        match self.run.front() {
            Some((first, _)) if first == place => Some(0),
            _ => self.run.binary_search_by_key(place, |(other, _)| *other).ok(),
        }
    }
}

impl FromIterator<Place> for WaitingRows {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        let mut waiting = Self::default();
        places.into_iter().for_each(|place| waiting.insert(place));
        waiting
    }
}

/// How many that are gone may stay among the others.
const SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Priority;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_an_ordered_set_whatever_comes_and_leaves_when(
            steps in prop::collection::vec((any::<bool>(), 0_u64..400, prop::bool::weighted(0.1)), 0..900)
        ) {
            let (mut waiting, mut model) = (WaitingRows::default(), BTreeSet::new());
            for (adds, id, urgent) in steps {
                let place = Place::of(if urgent { Priority::Urgent } else { Priority::Normal }, id);
                if adds {
                    waiting.insert(place);
                    model.insert(place);
                } else {
                    prop_assert_eq!(waiting.remove(&place), model.remove(&place));
                }
                let mut expected = model.iter().copied();
                prop_assert_eq!((waiting.first(), waiting.second()), (expected.next(), expected.next()));
                prop_assert_eq!(waiting.is_empty(), model.is_empty());
                prop_assert!(waiting.run.len() <= 2 * (model.len() + SPARE) + 2);
            }
            let again: WaitingRows = model.iter().copied().collect();
            prop_assert_eq!((again.first(), again.second()), (waiting.first(), waiting.second()));
        }
    }
}
