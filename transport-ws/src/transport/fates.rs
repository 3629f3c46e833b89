//! What became of the messages of an attachment: handed out, settled. Bounded, oldest forgotten first.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use agentchat_core::MessageId;

use super::text_map::Keyed;

/// What became of messages, by id.
///
/// They stand one behind the other, and are found by the hash of their id: what was put in long ago is in no
/// cache any more, so forgetting it must not look for it. Should two ids have the same hash, the older one
/// counts as forgotten.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    known: VecDeque<Known>,
    /// By hash: the number of one of `known`.
    index: HashMap<u64, u64, Keyed>,
    /// The number of the first one.
    first: u64,
    keyed: Keyed,
    unsettled: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Handed out, and its reader has it still: so many bytes.
    Unsettled(usize),
    /// Handed out to a reader that is gone.
    Loose,
    Settled,
}

#[derive(Debug)]
struct Known {
    hash: u64,
    id: MessageId,
    fate: Fate,
}

impl Fates {
    pub(crate) fn of(&self, id: &str) -> Option<Fate> {
        self.find(self.hash(id), id).map(|at| self.known[at].fate)
    }

    /// A message is handed out, of which nothing is known (`new`) or something else.
    pub(crate) fn hand_out(&mut self, id: &MessageId, size: usize, new: bool) {
        let hash = self.hash(id.as_str());
        match if new { None } else { self.find(hash, id.as_str()) } {
            Some(at) => self.change(at, Fate::Unsettled(size)),
            None => self.push(Known { hash, id: id.clone(), fate: Fate::Unsettled(size) }),
        }
        self.unsettled += 1;
        self.bytes += size;
    }

    /// Gives the id back as one that can be kept; nothing for what cannot be an id.
    pub(crate) fn settle(&mut self, id: &str) -> Option<MessageId> {
        let hash = self.hash(id);
        if let Some(at) = self.find(hash, id) {
            self.change(at, Fate::Settled);
            return Some(self.known[at].id.clone());
        }
        let id = MessageId::new(id).ok()?;
        self.push(Known { hash, id: id.clone(), fate: Fate::Settled });
        Some(id)
    }

    /// The reader is gone: what it did not settle may be handed out again.
    pub(crate) fn reader_gone(&mut self) {
        if self.unsettled > 0 {
            let unsettled = self.known.iter_mut().filter(|known| matches!(known.fate, Fate::Unsettled(_)));
            unsettled.for_each(|known| known.fate = Fate::Loose);
        }
        (self.unsettled, self.bytes) = (0, 0);
    }

    pub(crate) fn has_credit(&self, messages: usize, bytes: usize) -> bool {
        self.unsettled < messages.max(1) && (self.bytes < bytes || self.unsettled == 0)
    }

    fn hash(&self, id: &str) -> u64 {
        self.keyed.hash_one(id)
    }

    fn find(&self, hash: u64, id: &str) -> Option<usize> {
        let at = usize::try_from(self.index.get(&hash)? - self.first).ok()?;
        self.known.get(at).filter(|known| known.id.as_str() == id).map(|_| at)
    }

    fn change(&mut self, at: usize, fate: Fate) {
        let before = std::mem::replace(&mut self.known[at].fate, fate);
        self.count_off(before);
    }

    fn push(&mut self, known: Known) {
        // What a reader has is kept: only where there are enough of the others it is worth looking for them.
        if self.known.len() >= REMEMBERED.max(2 * self.unsettled) {
            self.forget();
        }
        let number = self.first + self.known.len() as u64;
        if let Some(other) = self.index.insert(known.hash, number)
            && let Ok(at) = usize::try_from(other - self.first)
        {
            self.change(at, Fate::Settled);
        }
        self.known.push_back(known);
    }

    /// What was this before is something else now.
    fn count_off(&mut self, before: Fate) {
        if let Fate::Unsettled(size) = before {
            self.unsettled -= 1;
            self.bytes -= size;
        }
    }

    /// Forgets the oldest that no reader has. Several together, so that those that a reader has, which go to the
    /// end, are not passed over with every message.
    fn forget(&mut self) {
        let left = self.known.len() - AT_ONCE;
        for _ in 0..self.known.len() {
            if self.known.len() == left {
                return;
            }
            let Some(oldest) = self.known.pop_front() else { return };
            if self.index.get(&oldest.hash) == Some(&self.first) {
                self.index.remove(&oldest.hash);
            }
            self.first += 1;
            if matches!(oldest.fate, Fate::Unsettled(_)) {
                self.index.insert(oldest.hash, self.first + self.known.len() as u64);
                self.known.push_back(oldest);
            }
        }
    }
}

/// More than the server drains to a new socket at once.
const REMEMBERED: usize = 16_384;
/// How many are forgotten when there are so many.
const AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MessageId {
        MessageId::new(text).expect("an id")
    }

    #[test]
    fn credit_is_by_number_and_bytes_and_comes_back_by_settling() {
        let mut fates = Fates::default();
        assert!(fates.has_credit(0, 0), "bounds of zero count as one");
        fates.hand_out(&id("a"), 10, true);
        assert!(!fates.has_credit(1, 100) && !fates.has_credit(5, 10) && fates.has_credit(5, 11));
        fates.settle("a");
        fates.settle("a");
        assert!(fates.has_credit(1, 1));
        assert_eq!(fates.of("a"), Some(Fate::Settled));
    }

    #[test]
    fn c66_dedup_bound() {
        let mut fates = Fates::default();
        fates.settle("kept-by-its-reader");
        fates.hand_out(&id("in-hand"), 1, true);
        for number in 0..REMEMBERED {
            fates.settle(&number.to_string());
        }
        assert_eq!(fates.of("kept-by-its-reader"), None, "the oldest is forgotten, and would be handed out");
        assert_eq!(fates.of("in-hand"), Some(Fate::Unsettled(1)), "what a reader has is never forgotten");
        assert_eq!(fates.of(&AT_ONCE.to_string()), Some(Fate::Settled), "the younger ones are known");
        assert!(fates.index.len() <= REMEMBERED && fates.known.len() <= REMEMBERED);
    }

    #[test]
    fn what_a_reader_leaves_is_loose_and_memory_is_bounded() {
        let mut fates = Fates::default();
        fates.hand_out(&id("a"), 1, true);
        fates.reader_gone();
        assert_eq!(fates.of("a"), Some(Fate::Loose));
        for number in 0..=REMEMBERED {
            fates.settle(&number.to_string());
        }
        assert_eq!((fates.of("a"), fates.index.len()), (None, fates.known.len()));
        assert!(fates.known.len() <= REMEMBERED);
    }

    #[test]
    fn a_reader_that_has_more_than_is_remembered_costs_the_others_no_more_than_their_room() {
        let mut fates = Fates::default();
        let in_hand = 3 * REMEMBERED;
        for number in 0..in_hand {
            fates.hand_out(&id(&format!("h{number}")), 1, true);
        }
        for number in 0..in_hand {
            fates.settle(&number.to_string());
            assert!(fates.known.len() <= 2 * in_hand);
        }
        for number in 0..in_hand {
            assert_eq!(fates.of(&format!("h{number}")), Some(Fate::Unsettled(1)));
            fates.settle(&format!("h{number}"));
        }
        fates.settle("one-more");
        assert_eq!((fates.unsettled, fates.bytes, fates.index.len()), (0, 0, fates.known.len()));
        while fates.known.len() > REMEMBERED {
            fates.forget();
        }
        assert_eq!(fates.of("one-more"), Some(Fate::Settled));
    }

    #[test]
    fn what_a_reader_has_is_not_forgotten() {
        let mut fates = Fates::default();
        fates.hand_out(&id("a"), 7, true);
        for number in 0..REMEMBERED {
            fates.settle(&number.to_string());
        }
        assert_eq!((fates.of("a"), fates.of("0")), (Some(Fate::Unsettled(7)), None));
        fates.settle("a");
        assert_eq!((fates.unsettled, fates.bytes), (0, 0));
        assert!((REMEMBERED - AT_ONCE..=REMEMBERED).contains(&fates.known.len()));
    }
}
