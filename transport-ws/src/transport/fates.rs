//! What became of the messages of an attachment: handed out, settled. Bounded, oldest forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What became of messages, by id.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    of: HashMap<Arc<str>, Fate>,
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
        self.of.get(id).copied()
    }

    /// A message is handed out.
    pub(crate) fn hand_out(&mut self, id: &str, size: usize) {
        if !matches!(self.of(id), Some(Fate::Unsettled(_))) {
            self.unsettled += 1;
            self.bytes += size;
            self.remember(id, Fate::Unsettled(size));
        }
    }

    /// Returns the id, to be kept without a copy.
    pub(crate) fn settle(&mut self, id: &str) -> Arc<str> {
        self.remember(id, Fate::Settled)
    }

    /// The reader is gone: what it did not settle may be handed out again.
    pub(crate) fn reader_gone(&mut self) {
        if self.unsettled > 0 {
            let unsettled = self.of.values_mut().filter(|fate| matches!(fate, Fate::Unsettled(_)));
            unsettled.for_each(|fate| *fate = Fate::Loose);
        }
        (self.unsettled, self.bytes) = (0, 0);
    }

    pub(crate) fn has_credit(&self, messages: usize, bytes: usize) -> bool {
        self.unsettled < messages.max(1) && (self.bytes < bytes || self.unsettled == 0)
    }

    fn remember(&mut self, id: &str, fate: Fate) -> Arc<str> {
        if let Some((known, _)) = self.of.get_key_value(id) {
            let known = Arc::clone(known);
            if let Some(Fate::Unsettled(size)) = self.of.insert(Arc::clone(&known), fate) {
                self.unsettled -= 1;
                self.bytes -= size;
            }
            return known;
        }
        let id: Arc<str> = id.into();
        self.of.insert(Arc::clone(&id), fate);
        self.order.push_back(Arc::clone(&id));
        if self.order.len() > REMEMBERED {
            self.forget();
        }
        id
    }

    /// Forgets the oldest one that no reader has.
    fn forget(&mut self) {
        for _ in 0..self.order.len() {
            let Some(oldest) = self.order.pop_front() else { return };
            if !matches!(self.of(&oldest), Some(Fate::Unsettled(_))) {
                self.of.remove(&oldest);
                return;
            }
            self.order.push_back(oldest);
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
