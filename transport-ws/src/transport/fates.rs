//! What became of the messages of an attachment: handed out, settled. Bounded, oldest forgotten first.

use std::collections::{HashMap, VecDeque};

/// What became of messages, by id.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    of: HashMap<String, Fate>,
    order: VecDeque<String>,
    unsettled: HashMap<String, usize>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Handed out, and its reader has it still.
    Unsettled,
    /// Handed out to a reader that is gone.
    Loose,
    Settled,
}

impl Fates {
    pub(crate) fn of(&self, id: &str) -> Option<Fate> {
        if self.unsettled.contains_key(id) {
            return Some(Fate::Unsettled);
        }
        self.of.get(id).copied()
    }

    /// A message is handed out.
    pub(crate) fn hand_out(&mut self, id: &str, size: usize) {
        self.remember(id, Fate::Loose);
        if self.unsettled.insert(id.to_owned(), size).is_none() {
            self.bytes += size;
        }
    }

    pub(crate) fn settle(&mut self, id: &str) {
        self.remember(id, Fate::Settled);
        if let Some(size) = self.unsettled.remove(id) {
            self.bytes -= size;
        }
    }

    /// The reader is gone: what it did not settle may be handed out again.
    pub(crate) fn reader_gone(&mut self) {
        self.unsettled.clear();
        self.bytes = 0;
    }

    pub(crate) fn has_credit(&self, messages: usize, bytes: usize) -> bool {
        self.unsettled.len() < messages.max(1) && (self.bytes < bytes || self.unsettled.is_empty())
    }

    fn remember(&mut self, id: &str, fate: Fate) {
        if self.of.insert(id.to_owned(), fate).is_none() {
            self.order.push_back(id.to_owned());
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.of.remove(&oldest);
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
        assert_eq!(fates.of("in hand"), Some(Fate::Unsettled), "what a reader has is never forgotten");
        assert_eq!(fates.of("0"), Some(Fate::Settled), "the others are known");
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
}
