//! Rows in the order of their conversations, as the server numbers them. Knows no clock.
//!
//! The server counts within *its* conversations. One of them may carry several of core's (a sender may name
//! its own), so only here, where the server's id is still there, can a missing number be told from one that
//! went to another conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::text_map::TextMap;
use crate::wire::MessageRow;

/// The numbers due in each conversation, and the rows that wait for an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Order {
    lines: TextMap<String, Line>,
    uses: u64,
}

/// A row may be handed on.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) row: MessageRow,
    /// Later ones of its conversation went before it.
    pub(crate) late: bool,
}

#[derive(Debug)]
struct Line {
    next: u64,
    held: BTreeMap<u64, MessageRow>,
    /// Numbers at or above `next` that will not come: one's own messages.
    own: BTreeSet<u64>,
    /// Since when something is missing.
    since: Option<Instant>,
    asked: bool,
    used: u64,
}

impl Order {
    /// A row of the backlog: it is in its place already.
    pub(crate) fn backlog(&mut self, row: MessageRow) -> Passed {
        if let (Some(conversation), Some(seq)) = (row.conversation_id(), row.seq()) {
            self.line(conversation, seq, |line| line.next = line.next.max(seq + 1));
        }
        Passed { row, late: false }
    }

    /// A row that arrived. Without a number it passes at once.
    pub(crate) fn row(&mut self, row: MessageRow, now: Instant, out: &mut impl Extend<Passed>) {
        let (Some(conversation), Some(seq)) = (row.conversation_id(), row.seq()) else {
            out.extend(Some(Passed { row, late: false }));
            return;
        };
        let place = |line: &mut Line| {
            let (due, idle) = (line.next, line.held.is_empty() && line.own.is_empty());
            if seq <= due && idle {
                line.next = due.max(seq + 1);
            }
            (due, idle)
        };
        let (due, idle) = self.line(conversation, seq, place);
        if seq <= due && idle {
            // Nearly every row: it is due, and nothing waits for it.
            out.extend(Some(Passed { row, late: seq < due }));
            return;
        }
        let Some(line) = self.lines.get_mut(conversation) else { return };
        if seq <= line.next {
            let late = seq < line.next;
            line.next = line.next.max(seq + 1);
            out.extend(Some(Passed { row, late }));
            line.advance(now, out);
            return;
        }
        line.held.insert(seq, row);
        if line.held.len() > HELD {
            line.flush(out);
        } else {
            line.since.get_or_insert(now);
        }
    }

    /// A message of one's own has this number; it is not pushed.
    pub(crate) fn sent(&mut self, conversation: &str, seq: u64, now: Instant, out: &mut impl Extend<Passed>) {
        let Some(line) = self.lines.get_mut(conversation) else { return };
        if seq >= line.next && line.own.len() < HELD {
            line.own.insert(seq);
            line.advance(now, out);
        }
    }

    /// When [`Order::overdue`] has something to tell.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waiting = self.lines.values().filter(|line| !line.asked).filter_map(|line| line.since);
        waiting.min().map(|since| since + PATIENCE)
    }

    /// A conversation whose missing rows are to be looked for in history: those after the number `after`
    /// and before the number `before`. It is told once; answer with [`Order::history`].
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(String, u64, u64)> {
        let late = |line: &Line| !line.asked && line.since.is_some_and(|since| since + PATIENCE <= now);
        let (conversation, line) = self.lines.iter_mut().find(|(_, line)| late(line))?;
        line.asked = true;
        let before = *line.held.keys().next()?;
        Some((conversation.clone(), line.next - 1, before))
    }

    /// What history has of the missing rows, or nothing where it could not be read. What is missing then
    /// does not come any more.
    pub(crate) fn history(
        &mut self,
        conversation: &str,
        rows: Vec<MessageRow>,
        out: &mut impl Extend<Passed>,
    ) {
        let Some(line) = self.lines.get_mut(conversation) else { return };
        for row in rows {
            match row.seq() {
                Some(seq) if seq >= line.next => drop(line.held.entry(seq).or_insert(row)),
                _ => {}
            }
        }
        line.flush(out);
    }

    /// The rows that wait, out of their conversations.
    pub(crate) fn take_held(&mut self) -> Vec<MessageRow> {
        self.lines.values_mut().flat_map(|line| std::mem::take(&mut line.held).into_values()).collect()
    }

    /// Works on the line of a conversation, which begins with `first` if it does not exist.
    fn line<T>(&mut self, conversation: &str, first: u64, work: impl FnOnce(&mut Line) -> T) -> T {
        self.uses += 1;
        if let Some(line) = self.lines.get_mut(conversation) {
            line.used = self.uses;
            return work(line);
        }
        if self.lines.len() >= LINES {
            let idle = self.lines.iter().filter(|(_, line)| line.held.is_empty());
            let oldest = idle.min_by_key(|(_, line)| line.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.lines.remove(&name));
        }
        let line = self.lines.entry(conversation.to_owned()).or_insert(Line {
            next: first,
            held: BTreeMap::new(),
            own: BTreeSet::new(),
            since: None,
            asked: false,
            used: self.uses,
        });
        work(line)
    }
}

impl Line {
    fn advance(&mut self, now: Instant, out: &mut impl Extend<Passed>) {
        if self.held.is_empty() && self.own.is_empty() {
            (self.since, self.asked) = (None, false);
            return;
        }
        let before = self.next;
        loop {
            if let Some(row) = self.held.remove(&self.next) {
                out.extend(Some(Passed { row, late: false }));
            } else if !self.own.remove(&self.next) {
                break;
            }
            self.next += 1;
        }
        self.own = self.own.split_off(&self.next);
        if self.held.is_empty() {
            (self.since, self.asked) = (None, false);
        } else if self.next != before {
            // A hole was closed; another one is open, for which there is new patience.
            (self.since, self.asked) = (Some(now), false);
        }
    }

    fn flush(&mut self, out: &mut impl Extend<Passed>) {
        for (seq, row) in std::mem::take(&mut self.held) {
            self.next = seq + 1;
            out.extend(Some(Passed { row, late: false }));
        }
        self.own = self.own.split_off(&self.next);
        (self.since, self.asked) = (None, false);
    }
}

/// How long a missing number is waited for before history is asked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Rows of one conversation that wait for an earlier one; beyond, they go on without it.
const HELD: usize = 500;
/// Conversations whose numbers are remembered.
const LINES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(conversation: &str, seq: u64) -> MessageRow {
        let json = format!(r#"{{"id":"m{seq}","conversation_id":"{conversation}","seq":{seq}}}"#);
        MessageRow::parse(json).expect("a row")
    }

    /// What passes as these arrive.
    fn arrive(order: &mut Order, seqs: &[u64], now: Instant) -> Vec<u64> {
        let mut out = Vec::new();
        seqs.iter().for_each(|seq| order.row(row("c", *seq), now, &mut out));
        numbers(&out)
    }

    fn numbers(out: &[Passed]) -> Vec<u64> {
        out.iter().filter_map(|passed| passed.row.seq()).collect()
    }

    #[test]
    fn c78_in_order_and_c79_reorder_pass_without_history() {
        let (mut order, now) = (Order::default(), Instant::now());
        assert_eq!(arrive(&mut order, &[5, 6, 8], now), [5, 6]);
        assert_eq!(arrive(&mut order, &[7], now), [7, 8]);
        assert_eq!(order.deadline(), None);
    }

    #[test]
    fn c80_gap_filled_and_c81_gap_unfillable() {
        let (mut order, now) = (Order::default(), Instant::now());
        arrive(&mut order, &[5, 8], now);
        assert!(order.overdue(now + PATIENCE - Duration::from_millis(1)).is_none());
        assert_eq!(order.overdue(now + PATIENCE), Some(("c".to_owned(), 5, 8)));
        assert_eq!(order.overdue(now + PATIENCE), None, "it is asked once");
        let mut out = Vec::new();
        order.history("c", vec![row("c", 6), row("c", 7), row("c", 8)], &mut out);
        assert_eq!(numbers(&out), [6, 7, 8]);
        assert!(arrive(&mut order, &[12], now).is_empty());
        assert_eq!(order.overdue(now + PATIENCE), Some(("c".to_owned(), 8, 12)));
        let mut out = Vec::new();
        order.history("c", Vec::new(), &mut out);
        assert_eq!(numbers(&out), [12]);
        assert_eq!(order.deadline(), None, "the same hole is not waited for again");
    }

    #[test]
    fn c84_buffer_cap_goes_on_ascending() {
        let (mut order, now) = (Order::default(), Instant::now());
        arrive(&mut order, &[1], now);
        let seqs: Vec<u64> = (3..=3 + HELD as u64).rev().collect();
        let passed = arrive(&mut order, &seqs, now);
        assert_eq!(passed, (3..=3 + HELD as u64).collect::<Vec<_>>());
    }

    #[test]
    fn c85_every_gap_is_detected() {
        let (mut order, now) = (Order::default(), Instant::now());
        for gap in [4, 7, 10] {
            arrive(&mut order, &[gap - 3, gap - 2, gap], now);
            assert_eq!(order.overdue(now + PATIENCE), Some(("c".to_owned(), gap - 2, gap)));
            order.history("c", Vec::new(), &mut Vec::new());
        }
    }

    #[test]
    fn c86_late_lower_seq_passes_and_is_called_late() {
        let (mut order, now) = (Order::default(), Instant::now());
        arrive(&mut order, &[10], now);
        let mut out = Vec::new();
        order.row(row("c", 9), now, &mut out);
        assert!(out[0].late && out.len() == 1);
        assert_eq!(arrive(&mut order, &[11], now), [11]);
    }

    #[test]
    fn c87_own_send_leaves_no_gap_in_either_order() {
        let (mut order, now) = (Order::default(), Instant::now());
        arrive(&mut order, &[3], now);
        order.sent("c", 4, now, &mut Vec::new());
        assert_eq!(arrive(&mut order, &[5], now), [5]);
        // The answer to the send comes behind the peer's next message.
        assert!(arrive(&mut order, &[7], now).is_empty());
        let mut out = Vec::new();
        order.sent("c", 6, now, &mut out);
        assert_eq!(numbers(&out), [7]);
    }

    #[test]
    fn c88_conversations_are_independent() {
        let (mut order, now) = (Order::default(), Instant::now());
        arrive(&mut order, &[1, 3], now);
        let mut out = Vec::new();
        order.row(row("d", 40), now, &mut out);
        order.row(row("d", 41), now, &mut out);
        assert_eq!(numbers(&out), [40, 41]);
    }

    #[test]
    fn a_closed_hole_gives_the_next_one_its_own_patience() {
        let (mut order, now) = (Order::default(), Instant::now());
        arrive(&mut order, &[1, 3, 5], now);
        let later = now + Duration::from_secs(1);
        assert_eq!(arrive(&mut order, &[2], later), [2, 3]);
        assert_eq!(order.deadline(), Some(later + PATIENCE));
    }

    #[test]
    fn memory_of_conversations_is_bounded() {
        let (mut order, now) = (Order::default(), Instant::now());
        for number in 0..LINES + 50 {
            order.row(row(&format!("c{number}"), 1), now, &mut Vec::new());
        }
        assert_eq!(order.lines.len(), LINES);
    }
}
