//! Rows in the order of their conversations, as the server numbers them. Knows no clock.
//!
//! The server counts within *its* conversations. One of them may carry several of core's (a sender may name
//! its own), so only here, where the server's id is still there, can a missing number be told from one that
//! went to another conversation.
//!
//! A hole is looked for in history a moment after it shows, and passed when history has been read, or when it
//! has been waited for long enough, whatever history does. What history has after that goes on late.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use self::line::Line;
use super::lost::Found;
use super::text_map::TextMap;
use crate::wire::MessageRow;

/// The numbers due in each conversation, and the rows that wait for an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Order {
    lines: TextMap<String, Line>,
    uses: u64,
    /// Conversations that have a hole, oldest first.
    open: BTreeMap<Hole, String>,
    /// Those of them that history is still to be asked about.
    fresh: BTreeSet<Hole>,
    holes: u64,
    /// What history is to be asked for.
    to_ask: VecDeque<Ask>,
    /// What it was asked for, by their numbers.
    asked: BTreeMap<u64, Ask>,
    asks: u64,
    /// What waits, in bytes.
    bytes: usize,
}

/// What goes on.
#[derive(Debug)]
pub(crate) enum Passed {
    /// A row may be handed on. `late`: later ones of its conversation went before it.
    Row { row: MessageRow, late: bool },
    /// Numbers from `expected` on, and before `got`, were given up.
    Gap { conversation: String, expected: u64, got: u64 },
}

/// A question to history: what a conversation has after one number and before another.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) number: u64,
    pub(crate) conversation: String,
    pub(crate) after: u64,
    pub(crate) before: u64,
}

/// Since when something is missing, and a number to tell holes of one moment apart.
type Hole = (Instant, u64);

impl Passed {
    pub(crate) fn into_row(self) -> Option<MessageRow> {
        match self {
            Self::Row { row, .. } => Some(row),
            Self::Gap { .. } => None,
        }
    }
}

impl Order {
    /// A row of the backlog: it is in its place already. What waited and belongs before it goes before it.
    pub(crate) fn backlog(&mut self, row: MessageRow, out: &mut impl Extend<Passed>) {
        let (Some(conversation), Some(seq)) = (row.conversation_id(), row.seq()) else {
            out.extend(Some(Passed::Row { row, late: false }));
            return;
        };
        let (due, idle) = self.place(conversation, seq, |line| {
            let before = (line.next, line.is_idle());
            if line.is_idle() {
                line.next = line.next.max(seq.saturating_add(1));
            }
            before
        });
        if idle {
            out.extend(Some(Passed::Row { row, late: seq < due }));
            return;
        }
        let conversation = conversation.to_owned();
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        // What is missing between them does not wait at the server: it was settled, or is one's own.
        if let Some(upto) = seq.checked_sub(1) {
            line.pass_upto(upto, None, &mut self.bytes, out);
        }
        let twins = line.take(seq, row.id(), &mut self.bytes);
        let late = seq < line.next;
        line.next = line.next.max(seq.saturating_add(1));
        out.extend(Some(Passed::Row { row, late }));
        out.extend(twins.into_iter().map(|row| Passed::Row { row, late: true }));
        line.advance(&mut self.bytes, out);
        self.settle(&conversation);
    }

    /// A row that arrived. Without a number it passes at once. Returns whether too much waits, so that some
    /// of it was let go.
    pub(crate) fn row(&mut self, row: MessageRow, now: Instant, out: &mut impl Extend<Passed>) -> bool {
        let (Some(conversation), Some(seq)) = (row.conversation_id(), row.seq()) else {
            out.extend(Some(Passed::Row { row, late: false }));
            return false;
        };
        let (due, idle) = self.place(conversation, seq, |line| {
            let (due, idle) = (line.next, line.is_idle());
            if seq <= due && idle {
                line.next = due.max(seq.saturating_add(1));
            }
            (due, idle)
        });
        if seq <= due && idle {
            // Nearly every row: it is due, and nothing waits for it.
            out.extend(Some(Passed::Row { row, late: seq < due }));
            return false;
        }
        let conversation = conversation.to_owned();
        let Some(line) = self.lines.get_mut(&conversation) else { return false };
        let mut overflows = false;
        if seq <= line.next {
            let late = seq < line.next;
            line.next = line.next.max(seq.saturating_add(1));
            out.extend(Some(Passed::Row { row, late }));
            line.advance(&mut self.bytes, out);
        } else {
            line.hold(seq, row, now, &mut self.bytes);
            if line.held() > HELD {
                overflows = true;
                line.pass_upto(u64::MAX, Some(&conversation), &mut self.bytes, out);
            }
        }
        self.settle(&conversation);
        while self.bytes > HELD_BYTES
            && let Some((_, oldest)) = self.open.first_key_value()
        {
            overflows = true;
            let conversation = oldest.clone();
            self.give_up(&conversation, u64::MAX, out);
        }
        overflows
    }

    /// A message of one's own has this number; it is not pushed.
    pub(crate) fn sent(&mut self, conversation: &str, seq: u64, out: &mut impl Extend<Passed>) {
        let Some(line) = self.lines.get_mut(conversation) else { return };
        if line.note_done(seq) {
            line.advance(&mut self.bytes, out);
            self.settle(conversation);
        }
    }

    /// When [`Order::on_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ((since, _), _) = self.open.first_key_value()?;
        let pass = *since + PATIENCE;
        Some(self.fresh.first().map_or(pass, |(since, _)| pass.min(*since + GRACE)))
    }

    /// Lets go what has waited long enough, and notes what history is to be asked for.
    pub(crate) fn on_time(&mut self, now: Instant, out: &mut impl Extend<Passed>) {
        while let Some(hole) = self.fresh.first().copied()
            && hole.0 + GRACE <= now
        {
            self.fresh.remove(&hole);
            let Some(conversation) = self.open.get(&hole) else { continue };
            let Some(line) = self.lines.get(conversation) else { continue };
            if let Some(before) = line.last_held()
                && self.to_ask.len() < ASKS
            {
                self.asks += 1;
                let (conversation, after) = (conversation.clone(), line.next.saturating_sub(1));
                self.to_ask.push_back(Ask { number: self.asks, conversation, after, before });
            }
        }
        while let Some((hole, conversation)) = self.open.first_key_value()
            && hole.0 + PATIENCE <= now
        {
            let conversation = conversation.clone();
            let waited = |line: &Line| line.last_held_since(now.checked_sub(PATIENCE)?);
            let upto = self.lines.get(&conversation).and_then(waited).unwrap_or(u64::MAX);
            self.give_up(&conversation, upto, out);
        }
    }

    /// What history is to be asked for next; answer with [`Order::history`].
    pub(crate) fn next_ask(&mut self) -> Option<Ask> {
        let ask = self.to_ask.pop_front()?;
        self.asked.insert(ask.number, ask.clone());
        Some(ask)
    }

    /// What history has of what it was asked for, or nothing where it could not be read: what is missing may
    /// still come then, until it has been waited for long enough.
    pub(crate) fn history(
        &mut self,
        number: u64,
        found: Option<Found>,
        now: Instant,
        out: &mut impl Extend<Passed>,
    ) {
        let (Some(ask), Some(found)) = (self.asked.remove(&number), found) else { return };
        let Some(line) = self.lines.get_mut(&ask.conversation) else {
            out.extend(found.rows.into_iter().map(|row| Passed::Row { row, late: true }));
            return;
        };
        for seq in found.done {
            line.note_known(seq);
        }
        for row in found.rows {
            match row.seq() {
                Some(seq) if seq >= line.next => line.hold(seq, row, now, &mut self.bytes),
                _ => out.extend(Some(Passed::Row { row, late: true })),
            }
        }
        let is_all = found.to >= ask.before;
        let upto = if is_all { ask.before } else { found.to.saturating_sub(1) };
        if line.next <= upto {
            line.pass_upto(upto, Some(&ask.conversation), &mut self.bytes, out);
            line.advance(&mut self.bytes, out);
        }
        if !is_all && let Some(hole) = line.hole.take() {
            // The rest is asked for anew.
            self.open.remove(&hole);
            self.fresh.remove(&hole);
        }
        self.settle(&ask.conversation);
    }

    /// Where numbers are missing that history was not heard about: conversations, and the first number that
    /// is missing.
    pub(crate) fn unfilled(&self) -> Vec<(String, u64)> {
        let open = self.open.values();
        let open = open.filter_map(|name| Some((name.clone(), self.lines.get(name)?.next)));
        let asks = self.asked.values().chain(&self.to_ask);
        asks.map(|ask| (ask.conversation.clone(), ask.after.saturating_add(1))).chain(open).collect()
    }

    /// The rows that wait, out of their conversations.
    pub(crate) fn take_held(&mut self) -> Vec<MessageRow> {
        (self.open, self.fresh, self.bytes) = Default::default();
        self.lines.values_mut().flat_map(Line::take_all).collect()
    }

    /// Lets go what waits in a conversation up to a number, without what is missing before.
    fn give_up(&mut self, conversation: &str, upto: u64, out: &mut impl Extend<Passed>) {
        if let Some(line) = self.lines.get_mut(conversation) {
            line.pass_upto(upto, Some(conversation), &mut self.bytes, out);
            line.advance(&mut self.bytes, out);
        }
        self.settle(conversation);
    }

    /// Notes whether a conversation has a hole, and since when. What has waited as long as before is behind
    /// the same hole, which was asked about; what came later is behind another one.
    fn settle(&mut self, conversation: &str) {
        let Some(line) = self.lines.get_mut(conversation) else { return };
        let since = line.since();
        if let Some(hole) = line.hole {
            if Some(hole.0) == since {
                return;
            }
            self.open.remove(&hole);
            self.fresh.remove(&hole);
        }
        line.hole = since.map(|since| {
            self.holes += 1;
            (since, self.holes)
        });
        if let Some(hole) = line.hole {
            self.open.insert(hole, conversation.to_owned());
            self.fresh.insert(hole);
        }
    }

    /// Works on the line of a conversation, which begins with `first` if it does not exist.
    fn place<T>(&mut self, conversation: &str, first: u64, work: impl FnOnce(&mut Line) -> T) -> T {
        self.uses += 1;
        if let Some(line) = self.lines.get_mut(conversation) {
            line.used = self.uses;
            return work(line);
        }
        // There may be more of them, which wait; afterwards they become fewer again.
        for _ in LINES..(self.lines.len() + 1).min(LINES + 2) {
            let idle = self.lines.iter().filter(|(_, line)| line.hole.is_none());
            let oldest = idle.min_by_key(|(_, line)| line.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.lines.remove(&name));
        }
        let line = self.lines.entry(conversation.to_owned()).or_insert_with(|| Line::new(first, self.uses));
        work(line)
    }
}

/// How long a missing number is waited for before history is asked: pushes may overtake each other a little.
pub(crate) const GRACE: Duration = Duration::from_millis(100);
/// How long it is waited for at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Rows of one conversation that wait for an earlier one; beyond, they go on without it.
const HELD: usize = 500;
/// The same of all conversations together, in bytes; beyond, those that wait longest go on.
const HELD_BYTES: usize = 8 * 1024 * 1024;
/// Conversations whose numbers are remembered, besides those that wait for something.
const LINES: usize = 1024;
/// Questions to history that wait for their turn; beyond, holes are passed without.
const ASKS: usize = 8192;
