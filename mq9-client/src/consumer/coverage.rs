//! Which ids of a mailbox have certainly been seen, class by class.
//!
//! One ACK moves all three priority classes, while one FETCH reads them one after the other (critical,
//! urgent, normal; each up to `num_msgs`; no further class once the total has reached `num_msgs`). An id
//! may be acknowledged only if no unseen message of *any* class lies at or below it. This keeps, per
//! class, the first id that may still be unseen, and says where to read next.
//!
//! What a reply proves, for a read from `from`, of `num` rows per class, issued when every id below
//! `barrier` was known to be stored:
//!
//! * A class that was read to its end has nothing unseen below `barrier`, nor below any id that this
//!   reply shows in it or in a class read *before* it. Ids of classes read after it prove nothing: a
//!   higher-priority message may have been stored between the two reads of one FETCH.
//! * A class cut by count or size has nothing unseen up to its last row.
//! * A class that was not read proves nothing; nor does a read that began beyond the class's own mark.
//! * An id that was seen belongs to the class it was seen in, so it cannot hide a message of another.
//!   In a log without gaps this alone keeps all three marks together.
//!
//! Rows are taken only where they adjoin the class's mark, so each class is handed out in id order.

use std::collections::VecDeque;

use crate::message::{Priority, Received};

use super::id_set::IdSet;

/// One planned read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// The first id asked for. 0 stands for wherever the group or the deliver policy begins.
    pub(crate) from: u64,
    /// Rows per class.
    pub(crate) num: u32,
    barrier: u64,
    /// The class that lags, if one does.
    target: Option<usize>,
    /// Only looks for skipped rows of a higher class; lower classes have been read beyond `from`.
    verifies: bool,
}

/// Per class, how far everything has been seen. Positions are the first id *not* covered.
#[derive(Debug, Clone)]
pub(crate) struct Coverage {
    next: [u64; CLASSES],
    /// Every id below was stored at some moment in the past.
    barrier: u64,
    /// Every id taken, from `low()` on.
    seen: IdSet,
    /// Taken critical and urgent ids from `low()` on: what a read has to pass to reach a lower class.
    higher: [VecDeque<u64>; CLASSES - 1],
    /// Rows to make room for beyond those expected, grown while reads bring nothing on.
    slack: u32,
    /// The last reply went to the end of every class.
    at_end: bool,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            next: [0; CLASSES],
            barrier: 0,
            seen: IdSet::default(),
            higher: Default::default(),
            slack: 0,
            at_end: false,
        }
    }
}

impl Coverage {
    /// Everything below this id, in every class, has been seen.
    pub(crate) fn low(&self) -> u64 {
        self.next[0].min(self.next[1]).min(self.next[2])
    }

    /// The id after the highest one known to be stored.
    pub(crate) fn barrier(&self) -> u64 {
        self.barrier
    }

    /// Whether something below the barrier may be unseen: there is more to read at once.
    pub(crate) fn lags(&self) -> bool {
        self.low() < self.barrier
    }

    /// Whether the last reply went to the end of every class, and nothing of it was left out.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end && !self.lags()
    }

    /// Whether this row was taken before, or lies below everything of its class that could be new.
    pub(crate) fn knows(&self, row: &Received) -> bool {
        let id = row.id.get();
        id < self.next[class_of(row)] || self.seen.contains(id)
    }

    /// Learns that `id` is stored, without having read what lies below it.
    pub(crate) fn note_stored(&mut self, id: u64) {
        self.barrier = self.barrier.max(id.saturating_add(1));
    }

    /// The next read, for about `want` new rows.
    ///
    /// It begins at the mark of the highest class that lags. A lower class is reached only past the
    /// known rows of the higher ones, which therefore count on top. A reply holds up to `2 * num - 1` rows,
    /// because a class is begun only while the total is below `num`.
    pub(crate) fn plan(&self, want: u32) -> Read {
        let lagging = (0..CLASSES).find(|class| self.next[*class] < self.barrier);
        let from = lagging.map_or(self.barrier, |class| self.next[class]);
        let passed: usize =
            self.higher.iter().map(|ids| ids.len() - ids.partition_point(|id| *id < from)).sum();
        let verifies = lagging.is_some_and(|class| self.next[class + 1..].iter().any(|next| *next > from));
        // At the end the broker begins at the last record instead, which takes one place.
        let wanted = if verifies { want.min(MARGIN) } else { want.saturating_add(1) };
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let num = wanted.max(1).saturating_add(passed).saturating_add(self.slack);
        Read { from, num, barrier: self.barrier, target: lagging, verifies }
    }

    /// Takes a reply: gives the rows that are new, in the reply's order, and moves the marks.
    ///
    /// `admit` is asked for each new row; from the first refusal on the reply counts as cut there.
    /// `rows` must have passed [`fault`](super::one_partition::fault).
    pub(crate) fn absorb(
        &mut self,
        read: &Read,
        rows: Vec<Received>,
        mut admit: impl FnMut(&Received) -> bool,
    ) -> Vec<Received> {
        let mut fresh = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter().peekable();
        let (mut total, mut open) = (0_u32, true);
        let mut stored = read.barrier;
        self.at_end = true;
        for class in 0..CLASSES {
            let mark = self.next[class];
            let adjoins = read.from <= mark;
            let (mut count, mut bytes, mut last) = (0_u32, 0_usize, None);
            while let Some(row) = rows.next_if(|row| class_of(row) == class) {
                let id = row.id.get();
                count = count.saturating_add(1);
                bytes += row.size() + ROW_OVERHEAD;
                stored = stored.max(id.saturating_add(1));
                if !open || !adjoins {
                    continue;
                }
                if id >= mark && !self.seen.contains(id) {
                    open = admit(&row);
                    if !open {
                        continue;
                    }
                    self.seen.insert(id);
                    if let Some(higher) = self.higher.get_mut(class) {
                        higher.push_back(id);
                    }
                    fresh.push(row);
                }
                last = Some(id);
            }
            let reached = total < read.num;
            let whole = open && count < read.num && bytes < READ_LIMIT;
            self.at_end &= adjoins && reached && whole;
            if adjoins && reached {
                let proven = if whole { stored } else { last.map_or(0, |id| id + 1) };
                self.next[class] = self.next[class].max(proven);
            }
            total = total.saturating_add(count);
        }
        self.barrier = self.barrier.max(stored);
        for next in &mut self.next {
            *next = self.seen.gap_from(*next);
        }
        // More rows than expected stood before the class that lags: more room next time.
        let short = match read.target {
            Some(class) if read.verifies => self.next[class] < read.barrier,
            Some(class) => self.next[class] <= read.from && fresh.is_empty() && open,
            None => false,
        };
        self.slack = if short { self.slack.saturating_mul(4).max(MARGIN) } else { 0 };
        self.forget_below_low();
        fresh
    }

    fn forget_below_low(&mut self) {
        let low = self.low();
        self.seen.remove_below(low);
        for ids in &mut self.higher {
            while ids.front().is_some_and(|id| *id < low) {
                ids.pop_front();
            }
        }
    }
}

/// The priority class a row is read with, in the broker's order of reading.
pub(crate) fn class_of(row: &Received) -> usize {
    match row.priority {
        Some(Priority::Critical) => 0,
        Some(Priority::Urgent) => 1,
        Some(Priority::Normal) | None => 2,
    }
}

pub(crate) const CLASSES: usize = 3;

/// The broker stops reading a class at about 30 MiB as stored. Rows are measured here after decoding,
/// which may have taken a quarter off, so a class is taken for cut well below that.
const READ_LIMIT: usize = 16 << 20;
const ROW_OVERHEAD: usize = 64;

/// How many unknown rows of a higher class a verifying read makes room for at first.
const MARGIN: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::model::row;

    fn absorb(coverage: &mut Coverage, read: &Read, ids: &[(u64, Priority)]) -> Vec<u64> {
        let rows = ids.iter().map(|(id, priority)| row(*id, *priority)).collect();
        coverage.absorb(read, rows, |_| true).iter().map(|row| row.id.get()).collect()
    }

    use Priority::{Critical, Normal, Urgent};

    #[test]
    fn a_complete_reply_of_a_dense_log_covers_it() {
        let mut coverage = Coverage::default();
        let read = coverage.plan(10);
        let ids = [(2, Critical), (1, Urgent), (0, Normal), (3, Normal)];
        assert_eq!(absorb(&mut coverage, &read, &ids), [2, 1, 0, 3]);
        assert_eq!((coverage.low(), coverage.lags()), (4, false));
    }

    #[test]
    fn an_id_that_a_critical_message_may_hide_behind_is_not_covered() {
        let mut coverage = Coverage::default();
        let read = coverage.plan(10);
        // Id 1 is missing: deleted, or a critical message stored after the critical class was read.
        absorb(&mut coverage, &read, &[(0, Normal), (2, Normal)]);
        assert_eq!(coverage.low(), 1);
        let check = coverage.plan(10);
        assert_eq!(check.from, 1);
        assert_eq!(absorb(&mut coverage, &check, &[(1, Critical), (2, Normal)]), [1]);
        assert_eq!(coverage.low(), 3);
    }

    #[test]
    fn a_gap_that_nothing_fills_is_covered_by_reading_it_again() {
        let mut coverage = Coverage::default();
        let read = coverage.plan(10);
        absorb(&mut coverage, &read, &[(0, Normal), (9, Normal)]);
        let check = coverage.plan(1000);
        assert!(check.num <= MARGIN, "a look for skipped rows is narrow: {check:?}");
        assert_eq!(absorb(&mut coverage, &check, &[(9, Normal)]), [0_u64; 0]);
        assert_eq!((coverage.low(), coverage.lags()), (10, false));
    }

    #[test]
    fn a_class_cut_by_count_is_covered_up_to_its_last_row_and_lower_ones_not_at_all() {
        let mut coverage = Coverage::default();
        let read = Read { from: 0, num: 2, barrier: 50, target: None, verifies: false };
        coverage.note_stored(49);
        absorb(&mut coverage, &read, &[(10, Critical), (20, Critical)]);
        assert_eq!(coverage.next, [21, 0, 0]);
        assert_eq!(coverage.plan(5).from, 21);
    }

    #[test]
    fn a_known_barrier_keeps_higher_classes_ahead_of_a_deep_backlog() {
        let mut coverage = Coverage::default();
        coverage.note_stored(999);
        let read = coverage.plan(1);
        absorb(&mut coverage, &read, &[(0, Normal), (3, Normal)]);
        assert_eq!(coverage.next, [1000, 1000, 4]);
        assert_eq!((coverage.low(), coverage.plan(1).from), (4, 4));
    }

    #[test]
    fn a_class_near_the_brokers_read_limit_counts_as_cut() {
        let mut coverage = Coverage::default();
        let read = coverage.plan(100);
        let mut big = row(3, Normal);
        big.payload = vec![b'x'; READ_LIMIT].into();
        coverage.absorb(&read, vec![big], |_| true);
        assert_eq!(coverage.next[2], 4);
        coverage.note_stored(9);
        let read = coverage.plan(100);
        let mut big = row(4, Critical);
        big.payload = vec![b'x'; READ_LIMIT].into();
        coverage.absorb(&read, vec![big], |_| true);
        assert!(coverage.next[0] < 10, "more critical rows may lie beyond");
    }

    #[test]
    fn a_row_without_room_is_left_for_the_next_read() {
        let mut coverage = Coverage::default();
        let read = coverage.plan(10);
        let rows = vec![row(0, Normal), row(1, Normal), row(2, Normal)];
        let mut room = 2;
        let fresh = coverage.absorb(&read, rows, |_| {
            room -= 1;
            room >= 0
        });
        assert_eq!((fresh.len(), coverage.low(), coverage.lags()), (2, 2, true));
        assert_eq!(coverage.plan(10).from, 2);
    }

    #[test]
    fn rows_beyond_a_class_mark_wait_so_that_a_class_stays_in_order() {
        let mut coverage = Coverage::default();
        coverage.note_stored(99);
        absorb(
            &mut coverage,
            &Read { from: 0, num: 1, barrier: 100, target: None, verifies: false },
            &[(40, Critical)],
        );
        let read = coverage.plan(10);
        assert_eq!(read.from, 41);
        assert_eq!(absorb(&mut coverage, &read, &[(50, Critical), (60, Normal)]), [50]);
        let read = coverage.plan(10);
        assert_eq!(read.from, 0);
        let ids = [(40, Critical), (50, Critical), (7, Normal), (60, Normal)];
        assert_eq!(absorb(&mut coverage, &read, &ids), [7, 60]);
        assert_eq!(coverage.low(), 100);
    }
}
