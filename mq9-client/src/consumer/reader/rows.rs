//! What a reply's rows mean: new, known, another share's, or a sign that the mailbox is not what it was.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::consumer::coverage::{Coverage, Read};
use crate::consumer::delivered::Delivered;
use crate::consumer::moment::after;
use crate::message::{MsgId, Received};
use crate::options::DeliverPolicy;

use super::{Phase, Reader};

impl Reader {
    /// Takes the newest row for how far the mailbox reaches.
    pub(super) fn sound(&mut self, rows: &[Received]) {
        let top = rows.iter().map(|row| row.id.get()).max();
        for row in rows {
            if self.coverage.knows(row)
                && let Some(verdict) = self.contradiction(row)
            {
                return self.contradicted(row.id.get(), verdict);
            }
        }
        if !self.sounded && self.options.deliver == DeliverPolicy::Latest {
            // `latest` would be taken anew by every read until the first acknowledgement.
            self.start = top.map_or(DeliverPolicy::Earliest, |id| DeliverPolicy::FromId(MsgId::new(id)));
        }
        self.checked = self.coverage.barrier() >= 2 || top.is_some_and(|id| id >= 1);
        if !self.sounded {
            self.waited = top.map(|id| id.saturating_add(1));
        }
        self.sounded = true;
        for row in rows {
            self.coverage.note_stored(row.id.get());
            self.newest = self.newest.max(row.create_time);
        }
    }

    pub(super) fn read(
        &mut self,
        now: Instant,
        read: &Read,
        group: bool,
        rows: Vec<Received>,
        idle_floor: Duration,
    ) {
        let low = self.coverage.low();
        let (mut newest, mut size, mut last) = (self.newest, 0, None::<&Received>);
        for row in &rows {
            let id = row.id.get();
            newest = newest.max(row.create_time);
            size += row.size();
            if last.is_none_or(|last| last.id < row.id) {
                last = Some(row);
            }
            if !self.coverage.knows(row) {
                continue;
            }
            self.stats.duplicates += 1;
            if let Some(verdict) = self.contradiction(row) {
                return self.contradicted(id, verdict);
            }
            if group && id < low {
                self.settling.rewound();
            }
        }
        if let Some(last) = last
            && self.last.as_ref().is_none_or(|known| known.id < last.id)
        {
            self.last = Some(last.clone());
        }
        if !rows.is_empty() {
            self.row_size = (size / rows.len()).max(1);
        }
        self.newest = newest;
        let lagged = self.coverage.lags();
        let taken = self.take(read, rows, now);
        if taken > 0 {
            self.pacer.heard(now);
        } else if lagged && self.coverage.low() == low {
            // Nothing came of it; without a pause a broker at odds with itself would be asked in a loop.
            self.hold_until = Some(after(now, self.options.pacing.hot));
        }
        // A broker for which `latest` means new messages only does not show how far the backlog reaches.
        self.caught_up |= match self.waited {
            Some(end) => self.coverage.low() >= end,
            None => self.coverage.is_at_end(),
        };
        self.poll_at = after(now, self.pacer.wait(now, idle_floor));
    }

    /// Takes what is new and fits, and settles what belongs to other shares. Gives how much was taken.
    fn take(&mut self, read: &Read, rows: Vec<Received>, now: Instant) -> usize {
        let Self { coverage, outstanding, options, phase, full, .. } = self;
        let stopping = *phase != Phase::Running;
        let mut foreign = VecDeque::new();
        let (mut count, mut bytes) = (outstanding.len(), outstanding.bytes());
        let fresh = coverage.absorb(read, rows, |row| {
            if options.partition.as_ref().is_some_and(|partition| !partition.owns(row)) {
                foreign.push_back(row.id);
                return true;
            }
            let fits = count < options.max_outstanding && bytes + row.size() <= options.max_outstanding_bytes;
            if stopping || !(fits || count == 0) {
                *full = true;
                return false;
            }
            (count, bytes) = (count + 1, bytes + row.size());
            true
        });
        let taken = fresh.len();
        self.ready.reserve(taken);
        for row in fresh {
            let id = row.id;
            self.settling.taken(id.get());
            if foreign.front() == Some(&id) {
                foreign.pop_front();
                self.settling.settled(id.get(), false, now);
            } else {
                self.ready.push(self.outstanding.take(row));
            }
        }
        taken
    }

    pub(super) fn hand_out(&mut self, now: Instant) -> Option<Vec<Delivered>> {
        if !matches!(self.phase, Phase::Stopping(_) | Phase::Ended) {
            while let Some(again) = self.outstanding.pop_retry(now) {
                self.ready.push(again);
            }
        }
        if self.ready.is_empty() {
            return None;
        }
        self.stats.delivered += self.ready.len() as u64;
        Some(std::mem::take(&mut self.ready))
    }

    /// What a row that was seen before, or lies below all that could be new, says about the mailbox.
    fn contradiction(&self, row: &Received) -> Option<Contradiction> {
        if let Some(held) = self.outstanding.get(row.id.get()) {
            return differs(held, row).then_some(Contradiction::Partitioned);
        }
        if row.create_time > self.newest {
            return Some(Contradiction::Replaced);
        }
        let last = self.last.as_ref().filter(|last| last.id == row.id)?;
        differs(last, row).then_some(Contradiction::Partitioned)
    }

    fn contradicted(&mut self, id: u64, verdict: Contradiction) {
        match verdict {
            Contradiction::Partitioned => self.end_partitioned(id),
            Contradiction::Replaced => {
                warn!(mailbox = ?self.mailbox, id, "the mailbox holds other messages than before; reading it anew");
                self.stats.resets += 1;
                self.phase = Phase::Draining;
                self.settling.restart();
                if self.outstanding.is_empty() {
                    self.start_over(self.looked_at);
                }
            }
        }
    }

    pub(super) fn start_over(&mut self, now: Instant) {
        self.phase = Phase::Running;
        self.coverage = Coverage::default();
        self.settling.restart();
        self.start = DeliverPolicy::Earliest;
        (self.sounded, self.checked, self.replaced) = (false, false, true);
        (self.newest, self.last, self.waited) = (0, None, None);
        self.poll_at = now;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contradiction {
    /// One id, two messages.
    Partitioned,
    /// An id that was done with belongs to a newer message: the mailbox began again.
    Replaced,
}

fn differs(a: &Received, b: &Received) -> bool {
    a.create_time != b.create_time || a.priority != b.priority || a.payload != b.payload
}
