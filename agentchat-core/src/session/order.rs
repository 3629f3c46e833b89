//! Order within a conversation, where the network numbers its messages.
//!
//! Numbers only say what comes after what. Whether a message was seen is decided by its id, before it gets
//! here: so a row whose number is below what has passed is *late*, not a repetition, and passes at once.

#[cfg(test)]
pub(crate) mod fuzz;
mod line;
mod lines;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use self::line::{Line, Turn};
use self::lines::Lines;
use crate::id::ConversationId;

/// Puts the rows of many conversations into the order of their numbers.
///
/// - The first row of a conversation sets what is due next: nothing before it is missed. A known cursor
///   ([`Order::resume`]) sets it earlier.
/// - A row above the number that is due is held: up to [`OrderLimits::hold_rows`] per conversation, and for
///   [`OrderLimits::gap_wait`] from the moment history was asked for what is missing (at once, unless the
///   caller's budget for history rows is used up). Then it passes after a [`OrderAction::Gap`].
/// - What history does not have although it has later rows will not come: the gap is passed at once. The
///   same hole is asked for once; again only from where an answer has moved it to.
/// - While the backlog is read ([`Order::begin_catch_up`]), rows of an unknown conversation and rows above
///   the number that is due wait until the backlog has passed them, without asking history.
///
/// Memory: an idle conversation takes about 200 bytes with an id of 36 characters. The least recently used
/// beyond [`OrderLimits::conversations`] is forgotten, one that holds rows only when all do, after passing what
/// it holds: its next row is a first row again.
#[derive(Debug)]
pub(crate) struct Order<T> {
    lines: Lines<T>,
    /// The conversations that hold rows; their number is bounded by the rows that the caller admits.
    holding: BTreeSet<ConversationId>,
    /// Those of them with a hole that history was not asked about.
    unasked: BTreeSet<ConversationId>,
    out: VecDeque<OrderAction<T>>,
    stats: OrderStats,
    limits: OrderLimits,
    catching_up: bool,
    arrivals: u64,
}

/// What follows from what arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OrderAction<T> {
    /// It is this row's turn. `late`: rows with higher numbers, or own sends, went before it.
    Pass { item: T, late: bool },
    /// Read history from the number `from` on and hand the rows to [`Order::history`].
    AskHistory { conversation: ConversationId, from: u64, limit: usize },
    /// The numbers from `expected` up to before `got` could not be had.
    Gap { conversation: ConversationId, expected: u64, got: u64 },
}

/// How much is held, how long, and for how many conversations.
#[derive(Debug, Clone)]
pub(crate) struct OrderLimits {
    /// Rows held per conversation (default 500). One more passes the first gap at once.
    pub(crate) hold_rows: usize,
    /// How long a hole may stay open once history was asked (default 2 s).
    pub(crate) gap_wait: Duration,
    /// Rows asked of history at once (default 200); 0 where there is no history.
    pub(crate) history_rows: usize,
    /// Conversations remembered (default 10,000).
    pub(crate) conversations: usize,
}

/// What has happened, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OrderStats {
    /// Rows that passed after rows with higher numbers.
    pub(crate) late: u64,
    /// Gaps that were passed.
    pub(crate) gaps: u64,
    /// Holes that were opened and then filled.
    pub(crate) gaps_filled: u64,
}

impl<T> Order<T> {
    /// Knows no conversation yet and is catching up.
    pub(crate) fn new(limits: OrderLimits) -> Self {
        Self {
            lines: Lines::new(),
            holding: BTreeSet::new(),
            unasked: BTreeSet::new(),
            out: VecDeque::new(),
            stats: OrderStats::default(),
            limits,
            catching_up: true,
            arrivals: 0,
        }
    }

    /// Takes in a row that was never seen.
    pub(crate) fn row(&mut self, conversation: &ConversationId, seq: u64, item: T, now: Instant) {
        let (arrival, catching_up) = (self.arrive(), self.catching_up);
        self.on(conversation, now, |line, turn| line.row(seq, arrival, item, catching_up, turn));
    }

    /// The number is accounted for without a row to pass: an own row, a repetition, an own send of earlier.
    pub(crate) fn note(&mut self, conversation: &ConversationId, seq: u64, now: Instant) {
        self.on(conversation, now, |line, turn| line.note(seq, turn));
    }

    /// An own send got this number just now. Of a conversation without rows it tells more: what follows it
    /// was not there before.
    pub(crate) fn sent(&mut self, conversation: &ConversationId, seq: u64, now: Instant) {
        self.on(conversation, now, |line, turn| line.sent(seq, turn));
    }

    /// `next` is the first number not yet handled, from a cursor that outlived an earlier session. Ignored
    /// for a conversation that has rows already.
    pub(crate) fn resume(&mut self, conversation: &ConversationId, next: u64, now: Instant) {
        self.on(conversation, now, |line, turn| line.resume(next, turn));
    }

    /// The answer of history: its rows that were never seen, the numbers of those that were, and the highest
    /// number it showed.
    pub(crate) fn history(
        &mut self,
        conversation: &ConversationId,
        rows: Vec<(u64, T)>,
        seen: &[u64],
        proven: Option<u64>,
        now: Instant,
    ) {
        let rows = rows.into_iter().map(|(seq, item)| (seq, self.arrive(), item)).collect();
        let catching_up = self.catching_up;
        self.on(conversation, now, |line, turn| line.history(rows, seen, proven, catching_up, turn));
    }

    /// A backlog is about to be read: what is above the number that is due waits for it. Questions to
    /// history that are under way are void.
    pub(crate) fn begin_catch_up(&mut self) {
        self.catching_up = true;
        for conversation in &self.holding {
            if let Some(line) = self.lines.get_mut(conversation) {
                line.close_hole();
            }
        }
        self.unasked.clear();
    }

    /// The backlog has been read: what is still missing is a hole.
    pub(crate) fn end_catch_up(&mut self, now: Instant) {
        self.catching_up = false;
        for conversation in self.holding.clone() {
            self.on(&conversation, now, |line, turn| line.open(turn));
        }
    }

    /// Forgets every conversation and every row it holds.
    pub(crate) fn forget(&mut self) {
        self.lines = Lines::new();
        self.holding.clear();
        self.unasked.clear();
        self.out.clear();
    }

    /// Room is short while catching up: the conversation that holds the most without a hole under
    /// question goes on as if its backlog had been read. `false` when there is none.
    pub(crate) fn press(&mut self, now: Instant) -> bool {
        let weight = |line: &Line<T>| line.waits_for_backlog().then(|| (line.held(), line.oldest_held()));
        let heaviest = self
            .holding
            .iter()
            .filter_map(|id| Some((weight(self.lines.get(id)?)?, id)))
            .max_by_key(|((held, oldest), _)| (*held, std::cmp::Reverse(*oldest)));
        let Some(conversation) = heaviest.map(|(_, id)| id.clone()) else { return false };
        let wait = if self.limits.history_rows == 0 { Duration::ZERO } else { self.limits.gap_wait };
        self.on(&conversation, now, |line, turn| {
            turn.open = true;
            turn.wait = wait;
            line.open(turn);
        });
        true
    }

    /// Asks history for the holes that were not asked for yet, `budget` rows at most. The wait for a hole
    /// runs from here.
    pub(crate) fn ask(&mut self, mut budget: usize, now: Instant) {
        if self.limits.history_rows == 0 || budget == 0 || self.unasked.is_empty() {
            return;
        }
        for conversation in self.unasked.clone() {
            if budget == 0 {
                break;
            }
            self.on(&conversation, now, |line, turn| budget -= line.ask(budget, turn));
        }
    }

    /// Passes the holes whose wait is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            for conversation in self.holding.clone() {
                self.on(&conversation, now, |line, turn| line.expire(turn));
            }
        }
    }

    /// When [`Order::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.holding_lines().filter_map(Line::deadline).min()
    }

    /// What to do next.
    pub(crate) fn poll(&mut self) -> Option<OrderAction<T>> {
        self.out.pop_front()
    }

    /// The number that is due, once a row or a cursor has set it.
    pub(crate) fn due(&self, conversation: &ConversationId) -> Option<u64> {
        self.lines.get(conversation)?.due()
    }

    /// The question to history that is open for the conversation: from where, and how many rows.
    pub(crate) fn asked(&self, conversation: &ConversationId) -> Option<(u64, usize)> {
        self.lines.get(conversation)?.asked()
    }

    /// Rows asked of history and not answered.
    pub(crate) fn asked_rows(&self) -> usize {
        self.holding_lines().filter_map(Line::asked).map(|(_, limit)| limit).sum()
    }

    /// How many rows have been taken in: the arrival number of the next one.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The arrival number of the row that is held longest.
    pub(crate) fn oldest_held(&self) -> Option<u64> {
        self.holding_lines().filter_map(Line::oldest_held).min()
    }

    /// The most rows that any conversation holds.
    #[cfg(test)]
    pub(crate) fn most_held(&self) -> usize {
        self.holding_lines().map(Line::held).max().unwrap_or(0)
    }

    /// What has happened.
    pub(crate) fn stats(&self) -> OrderStats {
        self.stats
    }

    fn holding_lines(&self) -> impl Iterator<Item = &Line<T>> {
        self.holding.iter().filter_map(|id| self.lines.get(id))
    }

    fn arrive(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals - 1
    }

    /// Runs `act` on the line of `conversation`, making room for a new one.
    fn on(
        &mut self,
        conversation: &ConversationId,
        now: Instant,
        act: impl FnOnce(&mut Line<T>, &mut Turn<'_, T>),
    ) {
        if !self.lines.contains(conversation)
            && self.lines.len() >= self.limits.conversations.max(1)
            && let Some((id, mut line)) = self.lines.pop_least_used(self.holding.len())
        {
            self.holding.remove(&id);
            self.unasked.remove(&id);
            line.flush(&mut Turn::new(&id, &self.limits, &mut self.out, &mut self.stats, false, now));
        }
        let line = self.lines.touch(conversation);
        let open = !self.catching_up;
        act(line, &mut Turn::new(conversation, &self.limits, &mut self.out, &mut self.stats, open, now));
        let (holds, asks) = (line.held() > 0, line.is_unasked());
        mark(&mut self.holding, conversation, holds);
        mark(&mut self.unasked, conversation, asks);
    }
}

/// Puts a conversation into a set, or takes it out.
fn mark(set: &mut BTreeSet<ConversationId>, conversation: &ConversationId, is_in: bool) {
    match is_in {
        true if set.contains(conversation) => {}
        true => drop(set.insert(conversation.clone())),
        false => drop(set.remove(conversation)),
    }
}

impl Default for OrderLimits {
    fn default() -> Self {
        Self { hold_rows: 500, gap_wait: Duration::from_secs(2), history_rows: 200, conversations: 10_000 }
    }
}
