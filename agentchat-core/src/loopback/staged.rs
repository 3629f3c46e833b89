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

#[cfg(test)]
mod tests {
    use super::super::hub::Luck;
    use super::super::inbox::{InboxState, Next};
    use super::super::moment::Moment;
    use super::super::view::Ahead;
    use super::*;
    use crate::address::Address;
    use crate::message::{Body, Outbound, Priority};
    use proptest::prelude::*;
    use std::time::SystemTime;
    use tokio::time::Instant;

    /// An inbox with one reader that may have eight rows unsettled.
    struct Side {
        inbox: InboxState,
        view: u64,
        ahead: Arc<Ahead>,
        batch: VecDeque<Given>,
        later: Vec<u64>,
        now: Instant,
    }

    impl Side {
        fn new(plain: bool) -> Self {
            let now = Instant::now();
            let mut inbox = InboxState::new(0, None);
            inbox.plain = plain;
            let (view, ahead) = inbox.open_view(now, 8, usize::MAX, false);
            Self { inbox, view, ahead, batch: VecDeque::new(), later: Vec::new(), now }
        }

        fn store(&mut self, id: u64, priority: Priority) {
            let to = Address::parse("loopback://b").expect("valid");
            let message = Outbound::new(to.clone(), Body::text("x")).with_priority(priority);
            self.inbox.store(id, Stored::new(&message, &to), &Moment::at(self.now), &mut Vec::new());
        }

        /// The number of the next row.
        fn read(&mut self) -> Option<String> {
            loop {
                if self.ahead.is_stale() {
                    self.batch.clear();
                }
                if let Some(given) = self.batch.pop_front() {
                    self.ahead.hand();
                    let Given::Row(row) = given else { continue };
                    return Some(row.hand_out(SystemTime::now()).id.to_string());
                }
                let mut dice = fastrand::Rng::with_seed(1);
                let (now, mut luck) = (Moment::at(self.now), Luck::plain(&mut dice));
                let next = self.inbox.next(self.view, &now, &mut luck, &mut self.batch);
                if matches!(next, Next::Wait(_)) && self.later.is_empty() {
                    return None;
                }
                if matches!(next, Next::Wait(_)) {
                    self.settle_all();
                }
            }
        }

        fn settle(&mut self, id: u64) {
            let waits = self.inbox.settles_later(id);
            self.later.push(id);
            if !waits {
                self.settle_all();
            }
        }

        fn settle_all(&mut self) {
            let mut left = Vec::new();
            self.later.drain(..).for_each(|id| self.inbox.settle(id, false, &mut left));
            self.inbox.after_settling(&mut Vec::new());
        }
    }

    proptest! {
        #[test]
        fn what_lies_ready_is_what_the_reader_would_be_given(
            steps in prop::collection::vec((0_u8..6, any::<prop::sample::Index>()), 0..200)
        ) {
            let (mut ready, mut asked) = (Side::new(true), Side::new(false));
            let (mut next, mut read) = (1, Vec::new());
            for (step, which) in steps {
                match step {
                    0..=2 => {
                        let priority = if step == 2 { Priority::Urgent } else { Priority::Normal };
                        [&mut ready, &mut asked].into_iter().for_each(|side| side.store(next, priority));
                        next += 1;
                    }
                    3 if !read.is_empty() => {
                        let id: u64 = read.swap_remove(which.index(read.len()));
                        [&mut ready, &mut asked].into_iter().for_each(|side| side.settle(id));
                    }
                    // Known from history, perhaps, and settled before it came.
                    4 if next > 1 && which.index(4) == 0 => {
                        let id = which.index(next as usize - 1) as u64 + 1;
                        [&mut ready, &mut asked].into_iter().for_each(|side| side.settle(id));
                        read.retain(|other| *other != id);
                    }
                    _ => {
                        let (one, other) = (ready.read(), asked.read());
                        prop_assert_eq!(&one, &other);
                        read.extend(one.map(|id| id.parse::<u64>().expect("a number")));
                    }
                }
            }
        }
    }
}
