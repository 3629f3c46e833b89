//! How far each conversation of the server is settled. Knows no store and no network.

use std::collections::{BTreeMap, HashMap};

/// By the server's conversation, the number before which everything is settled, and what is settled behind
/// it. A conversation begins at 1; what never comes has to be told ([`Ledger::verified`]).
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: HashMap<String, Line>,
    /// Where the messages are that were handed out and are not settled, by id.
    open: HashMap<String, (String, u64)>,
    /// What the store is to be told: a number, or nothing for a conversation that is gone.
    drafts: BTreeMap<String, Option<u64>>,
}

#[derive(Debug)]
struct Line {
    next: u64,
    /// `next` is where it stands: the store said so, or something was settled from there on. Without, it is
    /// the beginning because nobody knows better.
    known: bool,
    /// Settled stretches behind `next`, by their beginnings, with their ends.
    done: BTreeMap<u64, u64>,
    open: usize,
    /// What is missing was looked for already.
    looked: bool,
}

impl Ledger {
    /// What the store has. It counts at 1, too: messages that waited when the store was first used may be the
    /// first of their conversation.
    pub(super) fn load(&mut self, conversation: &str, next: u64) {
        let line = self.line(conversation);
        (line.next, line.known) = (next.max(1), true);
    }

    /// A message is handed out.
    pub(super) fn handed(&mut self, id: &str, conversation: &str, seq: u64) {
        if self.open.len() < OPEN && self.open.insert(id.to_owned(), (conversation.to_owned(), seq)).is_none()
        {
            self.line(conversation).open += 1;
        }
    }

    /// It is settled.
    pub(super) fn settled(&mut self, id: &str) {
        let Some((conversation, seq)) = self.open.remove(id) else { return };
        self.line(&conversation).open -= 1;
        self.done(&conversation, seq);
    }

    /// Nothing has to be handed out under this number.
    pub(super) fn done(&mut self, conversation: &str, seq: u64) {
        self.stretch(conversation, seq, seq.saturating_add(1));
    }

    /// History was read: from the number `from` up to `to`, and not `to` itself, it has these, in order, and
    /// no others.
    pub(super) fn verified(&mut self, conversation: &str, from: u64, to: u64, present: &[u64]) {
        let mut begin = from;
        for seq in present.iter().copied().filter(|seq| (from..to).contains(seq)) {
            self.stretch(conversation, begin, seq);
            begin = seq + 1;
        }
        self.stretch(conversation, begin, to);
    }

    /// Whether nothing has to be handed out under this number any more.
    pub(super) fn is_done(&self, conversation: &str, seq: u64) -> bool {
        let Some(line) = self.lines.get(conversation) else { return false };
        seq < line.next || line.done.range(..=seq).next_back().is_some_and(|(_, end)| seq < *end)
    }

    /// The first number that is not settled, of a conversation that is known.
    pub(super) fn next(&self, conversation: &str) -> Option<u64> {
        self.lines.get(conversation).map(|line| line.next)
    }

    /// Whether a cursor is kept for it, by whose word everything before is settled.
    pub(super) fn has_cursor(&self, conversation: &str) -> bool {
        self.lines.get(conversation).is_some_and(|line| line.known)
    }

    /// The conversations that are known and have nothing handed out.
    pub(super) fn idle(&self) -> Vec<String> {
        let idle = self.lines.iter().filter(|(_, line)| line.open == 0);
        idle.map(|(conversation, _)| conversation.clone()).collect()
    }

    /// A conversation is gone.
    pub(super) fn forget(&mut self, conversation: &str) {
        if self.lines.remove(conversation).is_some() {
            self.open.retain(|_, (of, _)| of != conversation);
            self.drafts.insert(conversation.to_owned(), None);
        }
    }

    /// A conversation in which something is settled behind numbers that nobody has seen: they run from the
    /// first number up to the second. It is told once.
    pub(super) fn gap(&mut self) -> Option<(String, u64, u64)> {
        let stuck = |line: &Line| !line.looked && line.open == 0 && !line.done.is_empty();
        let (conversation, line) = self.lines.iter_mut().find(|(_, line)| stuck(line))?;
        line.looked = true;
        let first = *line.done.keys().next()?;
        Some((conversation.clone(), line.next, first))
    }

    /// What the store is to be told.
    pub(super) fn take_drafts(&mut self) -> BTreeMap<String, Option<u64>> {
        std::mem::take(&mut self.drafts)
    }

    /// The store could not be told. What was noted since counts.
    pub(super) fn give_back(&mut self, conversation: String, value: Option<u64>) {
        self.drafts.entry(conversation).or_insert(value);
    }

    pub(super) fn has_drafts(&self) -> bool {
        !self.drafts.is_empty()
    }

    /// Looks for what is missing once more, over the next attachment.
    pub(super) fn look_again(&mut self) {
        self.lines.values_mut().for_each(|line| line.looked = false);
    }

    fn line(&mut self, conversation: &str) -> &mut Line {
        self.lines.entry(conversation.to_owned()).or_insert_with(|| Line {
            next: 1,
            known: false,
            done: BTreeMap::new(),
            open: 0,
            looked: false,
        })
    }

    /// From `from` up to `to` everything is settled.
    fn stretch(&mut self, conversation: &str, from: u64, to: u64) {
        if from >= to || (self.lines.len() >= LINES && !self.lines.contains_key(conversation)) {
            return;
        }
        let line = self.line(conversation);
        let (mut from, mut to) = (from, to);
        // Those that it touches become one with it.
        while let Some((begin, end)) = line.done.range(..=to).next_back().map(|(begin, end)| (*begin, *end))
            && end >= from
        {
            line.done.remove(&begin);
            (from, to) = (from.min(begin), to.max(end));
        }
        if from <= line.next {
            if to > line.next {
                (line.next, line.known, line.looked) = (to, true, false);
                self.drafts.insert(conversation.to_owned(), Some(to));
            }
        } else if line.done.len() < STRETCHES {
            line.done.insert(from, to);
        }
    }
}

/// Conversations that are followed. Of others everything may come again.
const LINES: usize = 10_000;
/// Messages handed out and not settled.
const OPEN: usize = 65_536;
/// Settled stretches behind something that is not, in one conversation.
const STRETCHES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_passes_only_what_is_settled() {
        let mut ledger = Ledger::default();
        for seq in 1..=3 {
            ledger.handed(&format!("m{seq}"), "c", seq);
        }
        ledger.settled("m2");
        ledger.settled("m3");
        assert_eq!((ledger.next("c"), ledger.has_drafts()), (Some(1), false));
        ledger.settled("m1");
        assert_eq!(ledger.take_drafts(), BTreeMap::from([("c".to_owned(), Some(4))]));
        ledger.settled("m1");
        assert!(!ledger.has_drafts(), "a second time it changes nothing");
    }

    #[test]
    fn a_cursor_counts_at_the_beginning_too_and_a_message_in_hand_is_none() {
        let mut ledger = Ledger::default();
        ledger.load("waits", 1);
        ledger.handed("m", "new", 1);
        assert!(ledger.has_cursor("waits") && !ledger.has_cursor("new") && !ledger.has_cursor("never"));
        ledger.settled("m");
        assert!(ledger.has_cursor("new"));
    }

    #[test]
    fn a_hole_holds_the_cursor_until_history_was_seen() {
        let mut ledger = Ledger::default();
        ledger.load("c", 5);
        ledger.done("c", 8);
        assert_eq!(ledger.gap(), Some(("c".to_owned(), 5, 8)));
        assert_eq!(ledger.gap(), None, "it is told once");
        ledger.verified("c", 5, 8, &[6]);
        assert_eq!(ledger.next("c"), Some(6), "one of them is there, and nobody has it yet");
        ledger.handed("m6", "c", 6);
        ledger.settled("m6");
        assert_eq!(ledger.next("c"), Some(9));
    }

    #[test]
    fn a_conversation_that_is_gone_is_cleared() {
        let mut ledger = Ledger::default();
        ledger.load("c", 5);
        ledger.forget("c");
        ledger.forget("never");
        assert_eq!(ledger.take_drafts(), BTreeMap::from([("c".to_owned(), None)]));
        assert_eq!(ledger.next("c"), None);
        ledger.give_back("c".to_owned(), None);
        ledger.load("c", 1);
        ledger.done("c", 1);
        ledger.give_back("c".to_owned(), None);
        assert_eq!(ledger.take_drafts(), BTreeMap::from([("c".to_owned(), Some(2))]), "the newer one counts");
    }

    proptest! {
        /// Against a set of numbers: the cursor is the first that is not settled, and never goes back.
        #[test]
        fn the_cursor_is_the_first_number_that_is_not_settled(
            steps in proptest::collection::vec((1..40_u64, 0..6_u64, any::<u32>()), 1..60),
        ) {
            let (mut ledger, mut done, mut last) = (Ledger::default(), BTreeSet::new(), 1);
            for (from, length, bits) in steps {
                let to = from + length;
                let present: Vec<_> = (from..to).filter(|seq| bits >> (seq % 32) & 1 == 1).collect();
                ledger.verified("c", from, to, &present);
                done.extend((from..to).filter(|seq| !present.contains(seq)));
                let next = (1..).find(|seq| !done.contains(seq)).expect("there is one");
                prop_assert_eq!(ledger.next("c").unwrap_or(1), next);
                prop_assert!(next >= last);
                last = next;
                for seq in 1..50 {
                    prop_assert_eq!(ledger.is_done("c", seq), done.contains(&seq));
                }
                if let Some(Some(told)) = ledger.take_drafts().get("c") {
                    prop_assert_eq!(*told, next);
                }
            }
        }
    }
}
