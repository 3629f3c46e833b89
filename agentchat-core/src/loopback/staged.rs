//! Rows that lie ready for a reader.

use std::collections::VecDeque;
use std::sync::Arc;

use super::inbox::Given;
use super::stored::Stored;
use super::view::Place;

/// What a reader is given next, laid ready by whoever made it due: the reader takes all of it at once, and
/// does not look at the rows while it has the network's lock.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    rows: VecDeque<Given>,
    /// In the order of delivery; none is of the backlog.
    places: Vec<(Place, bool)>,
}

impl Staged {
    pub(crate) fn is_full(&self) -> bool {
        self.places.len() >= MOST
    }

    /// Adds a row that goes behind all others.
    pub(crate) fn push(&mut self, place: Place, row: Arc<Stored>) {
        debug_assert!(self.last().is_none_or(|last| last < place));
        self.rows.push_back(Given::Row(row));
        self.places.push((place, false));
    }

    pub(crate) fn first(&self) -> Option<Place> {
        self.places.first().map(|(place, _)| *place)
    }

    pub(crate) fn last(&self) -> Option<Place> {
        self.places.last().map(|(place, _)| *place)
    }

    /// Takes the last one away.
    pub(crate) fn pop(&mut self) -> Option<Place> {
        self.rows.pop_back();
        self.places.pop().map(|(place, _)| place)
    }

    /// Returns whether it was among them.
    pub(crate) fn remove(&mut self, place: &Place) -> bool {
        if self.first().is_none_or(|first| *place < first) {
            return false;
        }
        let found = self.places.binary_search_by_key(place, |(other, _)| *other);
        if let Ok(at) = found {
            self.rows.remove(at);
            self.places.remove(at);
        }
        found.is_ok()
    }

    /// Gives all of them to `rows` and `places`, which are empty. Returns whether there are any.
    pub(crate) fn give(&mut self, rows: &mut VecDeque<Given>, places: &mut Vec<(Place, bool)>) -> bool {
        debug_assert!(rows.is_empty() && places.is_empty());
        std::mem::swap(&mut self.rows, rows);
        std::mem::swap(&mut self.places, places);
        !rows.is_empty()
    }
}

/// How many lie ready at most.
const MOST: usize = 256;
