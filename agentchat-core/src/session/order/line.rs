//! One conversation: what is due, what is held, what is missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{OrderAction, OrderLimits, OrderStats};
use crate::id::ConversationId;

#[derive(Debug)]
pub(super) struct Line<T> {
    /// The number that is due; unknown until a first row or a cursor sets it.
    next: Option<u64>,
    /// Boxed, because nearly every conversation is idle nearly always.
    busy: Option<Box<Busy<T>>>,
}

#[derive(Debug)]
struct Busy<T> {
    /// By number, then by arrival: two rows may carry the same number, and both are messages.
    held: BTreeMap<(u64, u64), T>,
    /// Numbers above the one that is due that need no row.
    noted: BTreeSet<u64>,
    /// The first own sends of a conversation that had no row yet, without a hole between: first and last.
    sent: Option<(u64, u64)>,
    hole: Option<Hole>,
    /// History has shown everything it has up to this number.
    proven: Option<u64>,
}

/// The stretch in front of the held rows, while something is done about it.
#[derive(Debug)]
struct Hole {
    /// The lowest number held when it was found: with that row passed, it is filled.
    end: u64,
    asked: Option<(u64, usize)>,
    until: Option<Instant>,
}

/// What a line works with during one call.
pub(super) struct Turn<'a, T> {
    conversation: &'a ConversationId,
    limits: &'a OrderLimits,
    out: &'a mut VecDeque<OrderAction<T>>,
    stats: &'a mut OrderStats,
    now: Instant,
    /// Whether missing numbers are a hole now; otherwise the backlog may still bring them.
    pub(super) open: bool,
    /// How long a hole waits that nobody can be asked about.
    pub(super) wait: Duration,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self { next: None, busy: None }
    }

    pub(super) fn due(&self) -> Option<u64> {
        self.next
    }

    pub(super) fn held(&self) -> usize {
        self.busy.as_ref().map_or(0, |busy| busy.held.len())
    }

    pub(super) fn oldest_held(&self) -> Option<u64> {
        self.busy.as_ref()?.held.keys().map(|(_, arrival)| *arrival).min()
    }

    #[cfg(test)]
    pub(super) fn noted(&self) -> usize {
        self.busy.as_ref().map_or(0, |busy| busy.noted.len())
    }

    pub(super) fn waits_for_backlog(&self) -> bool {
        self.hole().is_none()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.hole()?.until
    }

    pub(super) fn asked(&self) -> Option<(u64, usize)> {
        self.hole()?.asked
    }

    /// Whether there is a hole that history was not asked about.
    pub(super) fn is_unasked(&self) -> bool {
        self.hole().is_some_and(|hole| hole.asked.is_none())
    }

    pub(super) fn row(&mut self, seq: u64, arrival: u64, item: T, catching_up: bool, turn: &mut Turn<'_, T>) {
        self.place(seq, arrival, item, catching_up, turn);
        self.advance(turn);
        self.fit(turn);
    }

    pub(super) fn note(&mut self, seq: u64, turn: &mut Turn<'_, T>) {
        match (self.next, &self.busy) {
            (Some(next), _) if seq < next => return,
            (Some(next), None) if seq == next => self.next = Some(seq.saturating_add(1)),
            _ => {
                let noted = &mut self.busy().noted;
                noted.insert(seq);
                if noted.len() > turn.limits.hold_rows {
                    noted.pop_first();
                }
            }
        }
        self.advance(turn);
    }

    pub(super) fn sent(&mut self, seq: u64, turn: &mut Turn<'_, T>) {
        if self.next.is_none() {
            let sent = &mut self.busy().sent;
            match sent {
                None => *sent = Some((seq, seq)),
                Some((_, last)) if last.checked_add(1) == Some(seq) => *last = seq,
                Some((first, last)) if (*first..=*last).contains(&seq) => {}
                Some(_) => self.note(seq, turn),
            }
        } else {
            self.note(seq, turn);
        }
    }

    pub(super) fn resume(&mut self, next: u64, turn: &mut Turn<'_, T>) {
        if self.next.is_none() && self.held() == 0 {
            self.next = Some(next);
            self.advance(turn);
        }
    }

    pub(super) fn history(
        &mut self,
        rows: Vec<(u64, u64, T)>,
        seen: &[u64],
        proven: Option<u64>,
        catching_up: bool,
        turn: &mut Turn<'_, T>,
    ) {
        // All rows are placed before anything is concluded from what is not among them.
        for (seq, arrival, item) in rows {
            self.place(seq, arrival, item, catching_up, turn);
        }
        for seq in seen {
            self.note(*seq, turn);
        }
        if let Some(busy) = &mut self.busy {
            busy.proven = busy.proven.max(proven);
        }
        self.advance(turn);
        if let (Some(next), Some(busy)) = (self.next, &mut self.busy)
            && let Some(hole) = busy.hole.as_mut()
            && hole.asked.is_some_and(|(from, _)| from < next)
        {
            (hole.asked, hole.until) = (None, None);
        }
        self.fit(turn);
    }

    /// What is missing is missing from now on, not perhaps in the backlog.
    pub(super) fn open(&mut self, turn: &mut Turn<'_, T>) {
        self.anchor();
        self.advance(turn);
    }

    pub(super) fn close_hole(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.hole = None;
        }
    }

    /// Asks history, unless that was done: how many rows were asked for.
    pub(super) fn ask(&mut self, budget: usize, turn: &mut Turn<'_, T>) -> usize {
        let (Some(from), Some(busy)) = (self.next, &mut self.busy) else { return 0 };
        let (Some((&(first, _), _)), Some(hole)) = (busy.held.first_key_value(), &mut busy.hole) else {
            return 0;
        };
        if hole.asked.is_some() || turn.limits.history_rows == 0 {
            return 0;
        }
        let missing = usize::try_from(first - from).unwrap_or(usize::MAX);
        let limit = missing.min(turn.limits.history_rows).min(budget);
        hole.asked = Some((from, limit));
        hole.until = Some(turn.now + turn.limits.gap_wait);
        let conversation = turn.conversation.clone();
        turn.out.push_back(OrderAction::AskHistory { conversation, from, limit });
        limit
    }

    pub(super) fn expire(&mut self, turn: &mut Turn<'_, T>) {
        if self.deadline().is_some_and(|at| at <= turn.now) {
            self.jump(turn);
        }
    }

    /// Passes everything that is held.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_, T>) {
        self.anchor();
        self.advance(turn);
        while self.held() > 0 {
            self.jump(turn);
        }
    }

    fn hole(&self) -> Option<&Hole> {
        self.busy.as_ref()?.hole.as_ref()
    }

    fn busy(&mut self) -> &mut Busy<T> {
        self.busy.get_or_insert_with(|| {
            let (held, noted) = (BTreeMap::new(), BTreeSet::new());
            Box::new(Busy { held, noted, sent: None, hole: None, proven: None })
        })
    }

    fn place(&mut self, seq: u64, arrival: u64, item: T, catching_up: bool, turn: &mut Turn<'_, T>) {
        if self.next.is_none() && !catching_up {
            self.next = Some(self.first_sent().map_or(seq, |sent| sent.min(seq)));
        }
        match self.next {
            Some(next) if seq < next => turn.pass(item, true),
            Some(next) if seq == next && self.busy.is_none() => {
                self.next = Some(seq.saturating_add(1));
                turn.pass(item, false);
            }
            _ => {
                self.busy().held.insert((seq, arrival), item);
            }
        }
    }

    /// Without a number that is due, the lowest that is held, or was sent before it.
    fn anchor(&mut self) {
        if self.next.is_none() {
            let sent = self.first_sent();
            self.next = self.first_held().map(|held| sent.map_or(held, |sent| sent.min(held)));
        }
    }

    fn first_sent(&self) -> Option<u64> {
        self.busy.as_ref()?.sent.map(|(first, _)| first)
    }

    fn first_held(&self) -> Option<u64> {
        self.busy.as_ref()?.held.keys().next().map(|(seq, _)| *seq)
    }

    /// Passes what is due; finds the hole in front of the rest.
    fn advance(&mut self, turn: &mut Turn<'_, T>) {
        let (Some(next), Some(busy)) = (&mut self.next, &mut self.busy) else { return };
        loop {
            while let Some(last) = busy.pop_accounted(*next) {
                *next = (*next).max(last.saturating_add(1));
            }
            let Some(entry) = busy.held.first_entry() else { break };
            let (seq, _) = *entry.key();
            if seq <= *next {
                turn.pass(entry.remove(), false);
                *next = (*next).max(seq.saturating_add(1));
                if busy.hole.as_ref().is_some_and(|hole| seq >= hole.end) {
                    busy.hole = None;
                    turn.stats.gaps_filled += 1;
                }
            } else if busy.proven.is_some_and(|proven| proven >= seq - 1) {
                turn.gap(*next, seq);
                (*next, busy.hole) = (seq, None);
            } else {
                if turn.open && busy.hole.is_none() {
                    let until = (turn.limits.history_rows == 0).then(|| turn.now + turn.wait);
                    busy.hole = Some(Hole { end: seq, asked: None, until });
                }
                return;
            }
        }
        if busy.noted.is_empty() && busy.sent.is_none() {
            self.busy = None;
        } else {
            busy.hole = None;
        }
    }

    /// Goes on behind the first gap.
    fn jump(&mut self, turn: &mut Turn<'_, T>) {
        self.anchor();
        if let (Some(next), Some(first)) = (self.next, self.first_held())
            && first > next
        {
            turn.gap(next, first);
            self.next = Some(first);
            self.close_hole();
        }
        self.advance(turn);
    }

    /// Holds no more rows than allowed.
    fn fit(&mut self, turn: &mut Turn<'_, T>) {
        while self.held() > turn.limits.hold_rows {
            self.jump(turn);
        }
    }
}

impl<T> Busy<T> {
    /// A number that needs no row and is not above `next`, with those right behind it.
    fn pop_accounted(&mut self, next: u64) -> Option<u64> {
        if self.noted.first().is_some_and(|seq| *seq <= next) {
            return self.noted.pop_first();
        }
        self.sent.take_if(|(first, _)| *first <= next).map(|(_, last)| last)
    }
}

impl<'a, T> Turn<'a, T> {
    pub(super) fn new(
        conversation: &'a ConversationId,
        limits: &'a OrderLimits,
        out: &'a mut VecDeque<OrderAction<T>>,
        stats: &'a mut OrderStats,
        open: bool,
        now: Instant,
    ) -> Self {
        Self { conversation, limits, out, stats, now, open, wait: limits.gap_wait }
    }

    fn pass(&mut self, item: T, late: bool) {
        self.stats.late += u64::from(late);
        self.out.push_back(OrderAction::Pass { item, late });
    }

    fn gap(&mut self, expected: u64, got: u64) {
        self.stats.gaps += 1;
        let conversation = self.conversation.clone();
        self.out.push_back(OrderAction::Gap { conversation, expected, got });
    }
}
