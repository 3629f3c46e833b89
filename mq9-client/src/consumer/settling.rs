//! When and what the broker is told about settled messages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::moment::after;
use super::options::{AckMode, ConsumerOptions};

/// One command to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// The group goes on at this position; everything below it is done.
    Ack(u64),
    /// This message is removed.
    Delete(u64),
}

/// What is settled and not yet told. Positions are the id after the last one.
///
/// Acknowledgements go one at a time, because a plain overwrite that arrived late would rewind the group.
#[derive(Debug)]
pub(crate) struct Settling {
    mode: AckMode,
    every: usize,
    interval: Duration,
    acked: u64,
    /// After the highest message taken.
    high: u64,
    /// After the highest message settled.
    settled: u64,
    count: usize,
    since: Option<Instant>,
    rewound: bool,
    flush_to: u64,
    sending: Option<u64>,
    not_before: Option<Instant>,
    /// By turn: the ids to delete.
    deletes: BTreeMap<u64, u64>,
    /// By id: the turns under way.
    deleting: BTreeMap<u64, u64>,
    deletes_made: u64,
}

impl Settling {
    pub(crate) fn new(options: &ConsumerOptions) -> Self {
        Self {
            mode: options.ack_mode,
            every: options.ack_every,
            interval: options.ack_interval,
            acked: 0,
            high: 0,
            settled: 0,
            count: 0,
            since: None,
            rewound: false,
            flush_to: 0,
            sending: None,
            not_before: None,
            deletes: BTreeMap::new(),
            deleting: BTreeMap::new(),
            deletes_made: 0,
        }
    }

    /// A message was taken from the mailbox.
    pub(crate) fn taken(&mut self, id: u64) {
        self.high = self.high.max(id + 1);
    }

    /// A taken message is done. `ours` is false for one of another share, which is never deleted.
    pub(crate) fn settled(&mut self, id: u64, ours: bool, now: Instant) {
        self.settled = self.settled.max(id + 1);
        self.count += 1;
        self.since.get_or_insert(now);
        if self.mode == AckMode::Delete && ours {
            self.deletes.insert(self.deletes_made, id);
            self.deletes_made += 1;
        }
    }

    /// The broker has forgotten the group's offset, or someone rewound it: tell it again.
    pub(crate) fn rewound(&mut self) {
        self.rewound = self.mode == AckMode::Offset;
    }

    /// Whether the broker knows of everything taken, so that the group's offset is where reading goes on.
    pub(crate) fn is_told(&self) -> bool {
        self.acked >= self.high && self.sending.is_none() && !self.rewound
    }

    /// How many settled messages a wake-up is worth.
    pub(crate) fn batch(&self) -> usize {
        self.every.saturating_sub(self.count).max(1)
    }

    /// The next command. Everything below `safe` may be acknowledged; `rest` says that nothing is
    /// outstanding and the mailbox is read to its end.
    pub(crate) fn next(&mut self, now: Instant, safe: u64, rest: bool) -> Option<Command> {
        if self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if self.mode == AckMode::Delete {
            return self.next_delete();
        }
        if !self.wants_ack(safe) {
            return None;
        }
        let due = self.rewound
            || rest
            || self.count >= self.every
            || self.acked < self.flush_to
            || self.since.is_some_and(|since| now >= after(since, self.interval));
        due.then(|| {
            self.count = 0;
            self.since = (safe < self.settled).then_some(now);
            self.sending = Some(safe);
            Command::Ack(safe)
        })
    }

    /// When `next` may have something without anything else happening.
    pub(crate) fn deadline(&self, safe: u64) -> Option<Instant> {
        if self.mode == AckMode::Delete {
            return self.not_before.filter(|_| !self.deletes.is_empty());
        }
        if !self.wants_ack(safe) {
            return None;
        }
        let due = self.since.map(|since| after(since, self.interval));
        due.max(self.not_before).or(self.not_before)
    }

    /// The broker's answer to an ACK.
    pub(crate) fn on_acked(&mut self) {
        if let Some(to) = self.sending.take() {
            self.acked = to;
            self.rewound = false;
            self.not_before = None;
        }
    }

    /// An ACK failed; the next goes out at `at`.
    pub(crate) fn on_ack_failed(&mut self, at: Instant) {
        self.sending = None;
        self.not_before = Some(at);
        // Whether it was carried out is unknown; the same position again does no harm.
        self.rewound = true;
    }

    /// The broker's answer to a DELETE.
    pub(crate) fn on_deleted(&mut self, id: u64) {
        self.deleting.remove(&id);
        self.not_before = None;
    }

    /// A DELETE failed; it is repeated from `at` on.
    pub(crate) fn on_delete_failed(&mut self, id: u64, at: Instant) {
        if let Some(turn) = self.deleting.remove(&id) {
            self.deletes.insert(turn, id);
        }
        self.not_before = self.not_before.max(Some(at));
    }

    /// Whether commands wait because one failed.
    pub(crate) fn pauses(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// Asks for everything settled so far to be told soon, and gives the ticket to ask
    /// [`is_flushed`](Self::is_flushed) with.
    pub(crate) fn flush(&mut self) -> u64 {
        if self.mode == AckMode::Delete {
            return self.deletes_made;
        }
        self.flush_to = self.flush_to.max(self.settled);
        self.settled
    }

    /// Whether all that was settled when `ticket` was given is told.
    pub(crate) fn is_flushed(&self, ticket: u64) -> bool {
        if self.mode == AckMode::Offset {
            return self.acked >= ticket && !self.rewound;
        }
        let waiting = self.deletes.first_key_value().map(|(turn, _)| *turn);
        let first = self.deleting.values().copied().chain(waiting).min();
        first.is_none_or(|first| first >= ticket)
    }

    /// Whether settled messages wait for an acknowledgement that `safe` does not reach.
    pub(crate) fn is_held_at(&self, safe: u64) -> bool {
        self.mode == AckMode::Offset && safe < self.settled
    }

    /// Whether a command is under way, or could be sent now or after a pause.
    pub(crate) fn is_busy(&self, safe: u64) -> bool {
        self.sending.is_some()
            || !self.deleting.is_empty()
            || !self.deletes.is_empty()
            || (self.mode == AckMode::Offset && self.wants_ack(safe) && self.has_news())
    }

    /// Whether there is anything to tell: a group that goes on where another reader left it has an offset
    /// that was never told here.
    fn has_news(&self) -> bool {
        self.rewound || self.acked < self.settled
    }

    /// Forgets everything: the mailbox holds other messages under the same ids now.
    pub(crate) fn restart(&mut self) {
        (self.acked, self.high, self.settled, self.count, self.flush_to) = (0, 0, 0, 0, 0);
        (self.since, self.rewound, self.sending) = (None, false, None);
        self.deletes.clear();
    }

    fn wants_ack(&self, safe: u64) -> bool {
        let news = safe > self.acked && self.acked < self.high;
        self.sending.is_none() && safe > 0 && (news || self.rewound)
    }

    fn next_delete(&mut self) -> Option<Command> {
        if self.deleting.len() >= MAX_DELETES {
            return None;
        }
        let (turn, id) = self.deletes.pop_first()?;
        self.deleting.insert(id, turn);
        self.count = 0;
        Some(Command::Delete(id))
    }
}

/// DELETEs of one mailbox under way at once.
const MAX_DELETES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn settling(mode: AckMode) -> Settling {
        Settling::new(&ConsumerOptions::new("g").with_ack_mode(mode).with_ack_every(3, 250 * MS))
    }

    fn settle(settling: &mut Settling, ids: impl IntoIterator<Item = u64>, now: Instant) {
        for id in ids {
            settling.taken(id);
            settling.settled(id, true, now);
        }
    }

    #[test]
    fn who_goes_on_behind_another_and_settles_nothing_has_nothing_to_tell() {
        let mut settling = settling(AckMode::Offset);
        settling.taken(7);
        assert!(!settling.is_busy(7), "the offset was told by whoever settled what is before it");
        settle(&mut settling, 8..9, Instant::now());
        assert!(settling.is_busy(9));
    }

    #[test]
    fn in_a_backlog_one_acknowledgement_covers_many_messages() {
        let now = Instant::now();
        let mut settling = settling(AckMode::Offset);
        settle(&mut settling, 0..2, now);
        assert_eq!(settling.next(now, 2, false), None, "neither enough nor late");
        assert_eq!(settling.deadline(2), Some(now + 250 * MS));
        settle(&mut settling, 2..3, now);
        assert_eq!(settling.next(now, 3, false), Some(Command::Ack(3)));
        assert_eq!(settling.next(now, 3, true), None, "one at a time");
        settling.on_acked();
        assert!(settling.is_told());
        settle(&mut settling, 3..4, now);
        assert_eq!(settling.next(now + 250 * MS, 4, false), Some(Command::Ack(4)), "late");
    }

    #[test]
    fn at_the_end_of_the_mailbox_it_is_acknowledged_at_once() {
        let now = Instant::now();
        let mut settling = settling(AckMode::Offset);
        settle(&mut settling, 0..1, now);
        assert_eq!(settling.next(now, 1, true), Some(Command::Ack(1)));
    }

    #[test]
    fn an_acknowledgement_never_goes_backwards_nor_repeats() {
        let now = Instant::now();
        let mut settling = settling(AckMode::Offset);
        settle(&mut settling, 0..5, now);
        settling.next(now, 5, true);
        settling.on_acked();
        assert_eq!(settling.next(now + 1000 * MS, 5, true), None);
        assert_eq!(settling.next(now + 1000 * MS, 3, true), None);
        settling.rewound();
        assert_eq!(settling.next(now, 5, false), Some(Command::Ack(5)), "the broker lost it");
    }

    #[test]
    fn a_failed_acknowledgement_is_repeated_after_its_pause() {
        let now = Instant::now();
        let mut settling = settling(AckMode::Offset);
        settle(&mut settling, 0..1, now);
        let ticket = settling.flush();
        settling.next(now, 1, true);
        settling.on_ack_failed(now + 50 * MS);
        assert_eq!(settling.next(now, 1, true), None);
        assert!(settling.deadline(1).is_some_and(|at| at >= now + 50 * MS));
        assert_eq!(settling.next(now + 50 * MS, 1, true), Some(Command::Ack(1)));
        assert!(!settling.is_flushed(ticket));
        settling.on_acked();
        assert!(settling.is_flushed(ticket));
    }

    #[test]
    fn deletes_go_one_by_one_and_a_flush_waits_for_those_before_it() {
        let now = Instant::now();
        let mut settling = settling(AckMode::Delete);
        settle(&mut settling, [5, 3], now);
        let ticket = settling.flush();
        settle(&mut settling, [9], now);
        assert_eq!(settling.next(now, 0, false), Some(Command::Delete(5)));
        assert_eq!(settling.next(now, 0, false), Some(Command::Delete(3)));
        settling.on_deleted(3);
        settling.on_delete_failed(5, now + 50 * MS);
        assert_eq!(settling.next(now, 0, false), None);
        assert!(!settling.is_flushed(ticket));
        assert_eq!(settling.next(now + 50 * MS, 0, false), Some(Command::Delete(5)));
        settling.on_deleted(5);
        assert!(settling.is_flushed(ticket));
    }

    #[test]
    fn a_message_of_another_share_is_never_deleted() {
        let mut settling = settling(AckMode::Delete);
        settling.taken(1);
        settling.settled(1, false, Instant::now());
        assert_eq!(settling.next(Instant::now(), 2, true), None);
    }
}
