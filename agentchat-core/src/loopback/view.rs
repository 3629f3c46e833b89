//! What one subscription has been given of an inbox, and what it may have next.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::message::Priority;

/// Where a row stands in the order of delivery: the highest priority first, then the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(Reverse<Priority>, u64);

impl Place {
    pub(crate) fn of(priority: Priority, id: u64) -> Self {
        Self(Reverse(priority), id)
    }
}

/// One subscription's view of an inbox.
#[derive(Debug)]
pub(crate) struct View {
    /// Rows that are due and were not given out here.
    waiting: BTreeSet<Place>,
    /// Those of them that waited when the subscription began; `None` once it was told that it is caught up.
    backlog: Option<BTreeSet<Place>>,
    /// Rows given out here and not settled, and their sizes.
    taken: HashMap<u64, usize>,
    /// What was given out or lost here, in that order, behind the cursor of a network that keeps one.
    given: Option<VecDeque<u64>>,
    bytes: usize,
    max_taken: usize,
    max_bytes: usize,
}

impl View {
    /// A view in which `due` waits. Bounds of 0 count as 1.
    pub(crate) fn new(due: BTreeSet<Place>, max_taken: usize, max_bytes: usize, cursor: bool) -> Self {
        Self {
            waiting: due.clone(),
            backlog: Some(due),
            taken: HashMap::new(),
            given: cursor.then(VecDeque::new),
            bytes: 0,
            max_taken: max_taken.max(1),
            max_bytes: max_bytes.max(1),
        }
    }

    /// Whether it is caught up now and was not before.
    pub(crate) fn catches_up(&mut self) -> bool {
        let all_given = self.backlog.as_ref().is_some_and(BTreeSet::is_empty);
        if all_given {
            self.backlog = None;
        }
        all_given
    }

    /// Whether it has been told that it is caught up.
    pub(crate) fn is_live(&self) -> bool {
        self.backlog.is_none()
    }

    /// The row to give out next, unless too much is unsettled.
    pub(crate) fn choose(&self, mut skips: impl FnMut() -> bool) -> Option<u64> {
        if self.taken.len() >= self.max_taken || self.bytes >= self.max_bytes {
            return None;
        }
        let mut waiting = self.waiting.iter();
        let (first, second) = (waiting.next(), waiting.next());
        let chosen = match second {
            Some(second) if skips() => Some(second),
            _ => first,
        };
        chosen.map(|place| place.1)
    }

    pub(crate) fn take(&mut self, place: &Place, size: usize) {
        self.waiting.remove(place);
        self.backlog.as_mut().map(|backlog| backlog.remove(place));
        self.taken.insert(place.1, size);
        self.bytes += size;
        self.given.iter_mut().for_each(|given| given.push_back(place.1));
    }

    /// The row is lost on its way.
    pub(crate) fn lose(&mut self, place: &Place) {
        self.waiting.remove(place);
        self.given.iter_mut().for_each(|given| given.push_back(place.1));
    }

    /// Moves the cursor over the row, if it was given out here. Returns what it has passed.
    pub(crate) fn pass(&mut self, id: u64) -> Vec<u64> {
        let Some(given) = &mut self.given else { return Vec::new() };
        let at = given.iter().position(|other| *other == id);
        at.map(|at| given.drain(..=at).collect()).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, place: Place) {
        self.waiting.insert(place);
    }

    /// The row is settled, or gone.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.waiting.remove(place);
        self.backlog.as_mut().map(|backlog| backlog.remove(place));
        if let Some(size) = self.taken.remove(&place.1) {
            self.bytes -= size;
        }
    }
}
