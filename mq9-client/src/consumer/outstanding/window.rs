//! A map from ids to values for what comes and goes nearly in order.

use std::collections::VecDeque;

/// Values by id in one piece of memory. Appending behind the highest id and removing the lowest cost a step;
/// finding one elsewhere costs a search; inserting one elsewhere costs moving what lies behind.
///
/// A removed value leaves its place until all on one side of it are gone, but there are never more than three
/// places to a value.
#[derive(Debug)]
pub(super) struct Window<T> {
    /// By id; neither the first nor the last place is empty.
    places: VecDeque<(u64, Option<T>)>,
    len: usize,
}

impl<T> Window<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The lowest id.
    pub(super) fn first(&self) -> Option<u64> {
        self.places.front().map(|(id, _)| *id)
    }

    /// The ids in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = u64> {
        self.places.iter().filter(|(_, value)| value.is_some()).map(|(id, _)| *id)
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.places.get(self.find(id).ok()?)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let at = self.find(id).ok()?;
        self.places.get_mut(at)?.1.as_mut()
    }

    pub(super) fn insert(&mut self, id: u64, value: T) {
        self.len += 1;
        if self.places.back().is_none_or(|(last, _)| *last < id) {
            return self.places.push_back((id, Some(value)));
        }
        match self.find(id) {
            Ok(at) => self.len -= usize::from(self.places[at].1.replace(value).is_some()),
            Err(at) => self.places.insert(at, (id, Some(value))),
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let at = self.find(id).ok()?;
        let value = self.places[at].1.take()?;
        self.len -= 1;
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
        }
        while let Some((_, None)) = self.places.back() {
            self.places.pop_back();
        }
        if self.places.len() > 3 * self.len {
            self.places.retain(|(_, value)| value.is_some());
        }
        if self.len == 0 && self.places.capacity() > KEPT {
            self.places = VecDeque::new();
        }
        Some(value)
    }

    /// The place of `id`, or where it would be: tried first where it lies if no id is missing.
    fn find(&self, id: u64) -> Result<usize, usize> {
        let Some((first, _)) = self.places.front().filter(|(first, _)| *first <= id) else { return Err(0) };
        let near = usize::try_from(id - first).unwrap_or(usize::MAX);
        match self.places.get(near) {
            Some((found, _)) if *found == id => Ok(near),
            _ => self.places.binary_search_by_key(&id, |(id, _)| *id),
        }
    }
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { places: VecDeque::new(), len: 0 }
    }
}

/// An empty window keeps memory for at most so many values.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Window;

    #[test]
    fn places_left_behind_are_bounded() {
        let mut window = Window::default();
        for id in 0..1000 {
            window.insert(id, ());
        }
        for id in 1..999 {
            assert!(window.remove(id).is_some());
            assert!(window.places.len() <= 3 * window.len());
        }
        assert_eq!(window.keys().collect::<Vec<_>>(), [0, 999]);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut window = Window::default();
        for id in 0..1000 {
            window.insert(id, ());
        }
        for id in 0..1000 {
            window.remove(id);
        }
        assert!(window.places.capacity() <= super::KEPT);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(
            ops in prop::collection::vec((0_u64..30, 0_u8..5), 0..150),
            spread in prop::sample::select(vec![1_u64, 7, u64::MAX / 30]),
        ) {
            let (mut window, mut plain) = (Window::default(), BTreeMap::new());
            for (turn, (id, op)) in ops.into_iter().enumerate() {
                let id = id * spread;
                match op {
                    0 | 1 => {
                        window.insert(id, turn);
                        plain.insert(id, turn);
                    }
                    2 | 3 => prop_assert_eq!(window.remove(id), plain.remove(&id)),
                    _ => prop_assert_eq!(window.get_mut(id).map(|value| *value), plain.get(&id).copied()),
                }
                prop_assert_eq!(window.len(), plain.len());
                prop_assert_eq!(window.first(), plain.first_key_value().map(|(id, _)| *id));
                prop_assert_eq!(window.get(id), plain.get(&id));
                prop_assert!(window.places.len() <= 3 * window.len());
            }
            prop_assert_eq!(window.keys().collect::<Vec<_>>(), plain.into_keys().collect::<Vec<_>>());
        }
    }
}
