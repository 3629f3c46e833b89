//! What became of the messages of an attachment: handed out, settled. Bounded, oldest forgotten first.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::text_map::TextMap;

/// What became of messages, by id.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    /// In cells, so that settling takes one look for the name and the fate.
    of: TextMap<Arc<str>, Cell<Fate>>,
    order: VecDeque<Arc<str>>,
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

impl Fates {
    pub(crate) fn of(&self, id: &str) -> Option<Fate> {
        self.of.get(id).map(Cell::get)
    }

    /// A message is handed out.
    pub(crate) fn hand_out(&mut self, id: &str, size: usize) {
        self.put(id.into(), Fate::Unsettled(size));
        self.unsettled += 1;
        self.bytes += size;
    }

    /// Returns the id, to be kept without a copy.
    pub(crate) fn settle(&mut self, id: &str) -> Arc<str> {
        if let Some((known, fate)) = self.of.get_key_value(id) {
            let (known, before) = (Arc::clone(known), fate.replace(Fate::Settled));
            self.count_off(before);
            return known;
        }
        let id: Arc<str> = id.into();
        self.put(Arc::clone(&id), Fate::Settled);
        id
    }

    /// The reader is gone: what it did not settle may be handed out again.
    pub(crate) fn reader_gone(&mut self) {
        if self.unsettled > 0 {
            let unsettled = self.of.values_mut().filter(|fate| matches!(fate.get(), Fate::Unsettled(_)));
            unsettled.for_each(|fate| fate.set(Fate::Loose));
        }
        (self.unsettled, self.bytes) = (0, 0);
    }

    pub(crate) fn has_credit(&self, messages: usize, bytes: usize) -> bool {
        self.unsettled < messages.max(1) && (self.bytes < bytes || self.unsettled == 0)
    }

    fn put(&mut self, id: Arc<str>, fate: Fate) {
        match self.of.insert(Arc::clone(&id), Cell::new(fate)) {
            Some(before) => self.count_off(before.get()),
            None => {
                self.order.push_back(id);
                if self.order.len() > REMEMBERED {
                    self.forget();
                }
            }
        }
    }

    /// What was this before is something else now.
    fn count_off(&mut self, before: Fate) {
        if let Fate::Unsettled(size) = before {
            self.unsettled -= 1;
            self.bytes -= size;
        }
    }

    /// Forgets the oldest one that no reader has.
    fn forget(&mut self) {
        for _ in 0..self.order.len() {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.of.remove(&oldest) {
                Some(fate) if matches!(fate.get(), Fate::Unsettled(_)) => {
                    self.of.insert(Arc::clone(&oldest), fate);
                    self.order.push_back(oldest);
                }
                _ => return,
            }
        }
    }
}

/// More than the server drains to a new socket at once.
const REMEMBERED: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_by_number_and_bytes_and_comes_back_by_settling() {
        let mut fates = Fates::default();
        assert!(fates.has_credit(0, 0), "bounds of zero count as one");
        fates.hand_out("a", 10);
        assert!(!fates.has_credit(1, 100) && !fates.has_credit(5, 10) && fates.has_credit(5, 11));
        fates.settle("a");
        fates.settle("a");
        assert!(fates.has_credit(1, 1));
        assert_eq!(fates.of("a"), Some(Fate::Settled));
    }

    #[test]
    fn c66_dedup_bound() {
        let mut fates = Fates::default();
        fates.settle("kept by its reader");
        fates.hand_out("in hand", 1);
        for number in 0..REMEMBERED {
            fates.settle(&number.to_string());
        }
        assert_eq!(fates.of("kept by its reader"), None, "the oldest is forgotten, and would be handed out");
        assert_eq!(fates.of("in hand"), Some(Fate::Unsettled(1)), "what a reader has is never forgotten");
        assert_eq!(fates.of("1"), Some(Fate::Settled), "the younger ones are known");
        assert!(fates.of.len() <= REMEMBERED && fates.order.len() <= REMEMBERED);
    }

    #[test]
    fn what_a_reader_leaves_is_loose_and_memory_is_bounded() {
        let mut fates = Fates::default();
        fates.hand_out("a", 1);
        fates.reader_gone();
        assert_eq!(fates.of("a"), Some(Fate::Loose));
        for number in 0..=REMEMBERED {
            fates.settle(&number.to_string());
        }
        assert_eq!((fates.of("a"), fates.of.len(), fates.order.len()), (None, REMEMBERED, REMEMBERED));
    }

    #[test]
    fn what_a_reader_has_is_not_forgotten() {
        let mut fates = Fates::default();
        fates.hand_out("a", 7);
        for number in 0..REMEMBERED {
            fates.settle(&number.to_string());
        }
        assert_eq!((fates.of("a"), fates.of("0")), (Some(Fate::Unsettled(7)), None));
        fates.settle("a");
        assert_eq!((fates.unsettled, fates.bytes, fates.order.len()), (0, 0, REMEMBERED));
    }
}
