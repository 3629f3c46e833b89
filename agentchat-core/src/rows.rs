//! What comes and goes in the order of its numbers: the rows of an inbox, the messages of an outbox.

use std::collections::VecDeque;

/// Things under numbers that only ever grow. Those that leave make place for those that come: what is
/// written next was written last, and the memory in use is what is stored, not what passed through.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
    /// Numbers in order, and their places; `None` for those that left in front of older ones.
    order: VecDeque<(u64, Option<usize>)>,
    gone: usize,
}

impl<T> Rows<T> {
    pub(crate) fn len(&self) -> usize {
        self.order.len() - self.gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `row` in under `number`, which is larger than any before.
    pub(crate) fn push(&mut self, number: u64, row: T) {
        debug_assert!(self.order.back().is_none_or(|(last, _)| *last < number));
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(row);
        self.order.push_back((number, Some(place)));
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        let (_, place) = self.order[self.find(number)?];
        self.places[place?].as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let (_, place) = self.order[self.find(number)?];
        self.places[place?].as_mut()
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let at = self.find(number)?;
        let place = self.order[at].1.take()?;
        self.free.push(place);
        self.gone += 1;
        while self.order.front().is_some_and(|(_, place)| place.is_none()) {
            self.order.pop_front();
            self.gone -= 1;
        }
        if self.gone > self.order.len() / 2 + SPARE {
            self.order.retain(|(_, place)| place.is_some());
            self.gone = 0;
        }
        let row = self.places[place].take();
        if self.is_empty() && self.places.len() > KEPT {
            *self = Self::default();
        }
        row
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.order.iter().filter_map(|(number, place)| Some((*number, self.places[(*place)?].as_ref()?)))
    }

    /// Where `number` stands in the order. Most often it is asked for among the first.
    fn find(&self, number: u64) -> Option<usize> {
        let (first, _) = self.order.front()?;
        let guess = usize::try_from(number.checked_sub(*first)?).unwrap_or(usize::MAX);
        match self.order.get(guess) {
            Some((found, _)) if *found == number => Some(guess),
            _ => self.order.binary_search_by_key(&number, |(number, _)| *number).ok(),
        }
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), order: VecDeque::new(), gone: 0 }
    }
}

/// How many that left in front of older ones are kept in the order before it is put together anew.
const SPARE: usize = 4_096;
/// How many empty places are kept once nothing is there.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_whatever_leaves_when(steps in prop::collection::vec((1_u64..4, any::<bool>(), 0_u64..60), 0..200)) {
            let (mut rows, mut model, mut last) = (Rows::default(), BTreeMap::new(), 0);
            for (step, adds, other) in steps {
                if adds {
                    last += step;
                    rows.push(last, last);
                    model.insert(last, last);
                } else {
                    prop_assert_eq!(rows.remove(other), model.remove(&other));
                }
                prop_assert_eq!(rows.get(other), model.get(&other));
                prop_assert_eq!(rows.get(last), model.get(&last));
                prop_assert_eq!(rows.len(), model.len());
                prop_assert!(rows.iter().eq(model.iter().map(|(number, row)| (*number, row))));
            }
        }
    }

    #[test]
    fn it_keeps_little_more_than_what_is_in_it() {
        let mut rows = Rows::default();
        rows.push(0, 0);
        for number in 1..100_000 {
            rows.push(number, number);
            rows.remove(number - 1 + u64::from(number == 1));
            if number > 1 {
                rows.remove(number);
            }
        }
        assert!(rows.order.len() <= 2 * SPARE + 4 && rows.places.len() <= 4, "the first one stays");
        for number in 100_000..100_000 + 2 * KEPT as u64 {
            rows.push(number, number);
        }
        for number in 0..101_000 {
            rows.remove(number);
        }
        assert!(rows.is_empty() && rows.places.capacity() == 0);
    }
}
