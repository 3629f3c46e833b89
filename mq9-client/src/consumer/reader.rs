//! One mailbox's machine: what to read next, what to hand out, what to tell the broker.
//!
//! It knows no clock and no connection: it is told `now`, replies and settlements, and asked for actions.

mod rows;

use std::time::{Duration, Instant};

use tracing::debug;

use crate::address::MailAddress;
use crate::error::ErrorKind::{Broker, Timeout};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MsgId, Received};
use crate::options::{DeliverPolicy, FetchOptions, Group};

use super::coverage::{Coverage, Read};
use super::delivered::Delivered;
use super::moment::after;
use super::options::{AckMode, ConsumerOptions};
use super::outstanding::Outstanding;
use super::pacing::Pacer;
use super::settling::{Command, Settling};
use super::stats::ConsumerStats;

/// What the driver is to do. Fetching is asked for separately: see [`Reader::fetch_due`].
#[derive(Debug)]
pub(crate) enum Action {
    /// Hand these out.
    Deliver(Vec<Delivered>),
    /// Acknowledge up to and with this id; answer with [`Reader::on_acked`].
    Ack(MsgId),
    /// Delete this message; answer with [`Reader::on_deleted`].
    Delete(MsgId),
    /// Ask whether the mailbox exists; answer with [`Reader::on_exists`].
    Exists,
    /// The last action: the consumer is over.
    End(Error),
}

/// One mailbox as one consumer reads it.
#[derive(Debug)]
pub(crate) struct Reader {
    mailbox: MailAddress,
    group: Group,
    options: ConsumerOptions,
    /// Where a group without an offset begins, resolved so that it no longer moves.
    start: DeliverPolicy,
    phase: Phase,
    coverage: Coverage,
    outstanding: Outstanding,
    settling: Settling,
    pacer: Pacer,
    rng: fastrand::Rng,
    ready: Vec<Delivered>,
    fetching: Option<Fetching>,
    /// The next poll of a mailbox that was read to its end.
    poll_at: Instant,
    /// No read before this: the last one failed, or brought nothing though something was expected.
    hold_until: Option<Instant>,
    /// When the end of the mailbox was last looked at without the group.
    looked_at: Instant,
    sounded: bool,
    checked: bool,
    caught_up: bool,
    /// The id after the newest row there was at the beginning, where the broker showed it.
    waited: Option<u64>,
    /// The group's offset belongs to data that is gone.
    replaced: bool,
    /// The newest store time seen, in seconds since 1970.
    newest: u64,
    /// The row with the highest id seen, to compare with when the broker shows it again.
    last: Option<Received>,
    row_size: usize,
    /// How many rows are asked for at most: a reply that does not come may be too large to come.
    most: u32,
    /// A row was left out for lack of room; the next settlement makes some.
    full: bool,
    exists_at: Option<Instant>,
    end: Option<Error>,
    stats: ConsumerStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The mailbox's data was replaced: what is in hand is settled first, then everything begins anew.
    Draining,
    /// Nothing more is handed out. So many reads are left to find out what may be acknowledged.
    Stopping(u8),
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Fetching {
    /// The newest row, without the group: how far the mailbox reaches, and whether ids repeat.
    Sound,
    Read {
        read: Read,
        group: bool,
    },
}

impl Reader {
    pub(crate) fn new(
        mailbox: MailAddress,
        group: Group,
        options: ConsumerOptions,
        rng: fastrand::Rng,
        now: Instant,
    ) -> Self {
        Self {
            mailbox,
            group,
            start: options.deliver,
            phase: Phase::Running,
            coverage: Coverage::default(),
            outstanding: Outstanding::default(),
            settling: Settling::new(&options),
            pacer: Pacer::new(options.pacing, now),
            rng,
            ready: Vec::new(),
            fetching: None,
            poll_at: now,
            hold_until: None,
            looked_at: now,
            sounded: false,
            checked: false,
            caught_up: false,
            waited: None,
            replaced: false,
            newest: 0,
            last: None,
            row_size: FIRST_ROW_SIZE,
            most: u32::MAX,
            full: false,
            exists_at: options.expiry_probe.map(|interval| after(now, interval)),
            end: None,
            stats: ConsumerStats::default(),
            options,
        }
    }

    pub(crate) fn stats(&self) -> ConsumerStats {
        self.stats
    }

    pub(crate) fn outstanding(&self) -> &Outstanding {
        &self.outstanding
    }

    pub(crate) fn options(&self) -> &ConsumerOptions {
        &self.options
    }

    /// When the next FETCH may go out; `None` until something else happens.
    pub(crate) fn fetch_due(&self, now: Instant) -> Option<Instant> {
        if self.fetching.is_some() {
            return None;
        }
        let hold = self.hold_until.unwrap_or(now);
        match self.phase {
            Phase::Ended | Phase::Draining => None,
            Phase::Stopping(reads) => (reads > 0 && self.ack_waits_for_a_read()).then_some(hold),
            Phase::Running if self.wants_sounding() => Some(hold),
            Phase::Running if !self.has_room() => None,
            Phase::Running if self.coverage.lags() => Some(hold),
            Phase::Running => Some(self.hold_until.map_or(self.poll_at, |hold| hold.max(self.poll_at))),
        }
    }

    /// Whether the next FETCH continues a backlog, rather than polling.
    pub(crate) fn continues(&self) -> bool {
        self.sounded && self.coverage.lags()
    }

    /// Whether everything that was stored when the consumer began has been taken.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Whether the mailbox has been silent for long.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.pacer.is_idle(now)
    }

    /// Begins the FETCH that is due.
    pub(crate) fn begin_fetch(&mut self, now: Instant) -> FetchOptions {
        self.stats.fetches += 1;
        self.hold_until = None;
        if let Phase::Stopping(reads) = &mut self.phase {
            *reads = reads.saturating_sub(1);
        }
        if self.wants_sounding() {
            self.fetching = Some(Fetching::Sound);
            return FetchOptions::stateless().with_deliver(DeliverPolicy::Latest).with_num_msgs(SOUND_ROWS);
        }
        let mut read = self.coverage.plan(self.want());
        read.num = read.num.min(self.most);
        let offset = self.options.ack_mode == AckMode::Offset && !self.replaced;
        let at_rest = !self.coverage.lags() && self.outstanding.is_empty() && self.settling.is_told();
        let recheck = now.saturating_duration_since(self.looked_at) >= RECHECK && read.from > 0;
        let group = offset && (read.from == 0 || (at_rest && !recheck));
        if !group {
            self.looked_at = now;
        }
        self.fetching = Some(Fetching::Read { read, group });
        let options = match (group, read.from) {
            (true, _) => FetchOptions::group(self.group.clone()).with_deliver(self.start),
            (false, 0) => FetchOptions::stateless().with_deliver(self.start),
            (false, from) => FetchOptions::stateless().with_deliver(DeliverPolicy::FromId(MsgId::new(from))),
        };
        options.with_num_msgs(read.num)
    }

    /// The reply to the FETCH under way. `idle_floor` is how often the poller can afford to ask an idle
    /// mailbox.
    pub(crate) fn on_fetched(&mut self, now: Instant, reply: Result<Vec<Received>>, idle_floor: Duration) {
        let Some(fetching) = self.fetching.take() else { return };
        let mut rows = match reply {
            Ok(rows) => rows,
            Err(error) => {
                if let (Fetching::Read { read, .. }, Timeout | Broker) = (fetching, error.kind()) {
                    self.most = (read.num / 2).max(1);
                }
                let wait = self.failed(error);
                self.hold_until = wait.map(|wait| after(now, wait));
                return;
            }
        };
        self.pacer.succeeded();
        self.most = self.most.saturating_mul(2);
        if matches!(self.phase, Phase::Ended | Phase::Draining) {
            return;
        }
        if let Some(id) = super::one_partition::fault(&mut rows) {
            return self.end_partitioned(id);
        }
        match fetching {
            Fetching::Sound => self.sound(&rows),
            Fetching::Read { read, group } => self.read(now, &read, group, rows, idle_floor),
        }
    }

    /// The answer to an ACK.
    pub(crate) fn on_acked(&mut self, now: Instant, reply: Result<()>) {
        match reply {
            Ok(()) => {
                self.stats.acks += 1;
                self.settling.on_acked();
                self.replaced = false;
                self.pacer.succeeded();
            }
            Err(error) => {
                if let Some(wait) = self.failed(error) {
                    self.settling.on_ack_failed(after(now, wait));
                }
            }
        }
    }

    /// The answer to a DELETE.
    pub(crate) fn on_deleted(&mut self, now: Instant, id: MsgId, reply: Result<()>) {
        match reply {
            Ok(()) => {
                self.stats.deletes += 1;
                self.settling.on_deleted(id.get());
                self.pacer.succeeded();
            }
            // Those that were under way together fail together: one failure, one pause.
            Err(error) if error.is_retryable() && self.settling.pauses(now) => {
                self.settling.on_delete_failed(id.get(), now);
            }
            Err(error) => {
                if let Some(wait) = self.failed(error) {
                    self.settling.on_delete_failed(id.get(), after(now, wait));
                }
            }
        }
    }

    /// The answer to the question whether the mailbox exists.
    pub(crate) fn on_exists(&mut self, now: Instant, reply: Result<bool>) {
        let interval = self.options.expiry_probe.unwrap_or(RECHECK);
        match reply {
            Ok(true) => self.exists_at = Some(after(now, interval)),
            Ok(false) => {
                let gone = "the mailbox has expired or was never created";
                self.finish(Error::new(ErrorKind::MailboxNotFound, "consume", gone));
            }
            Err(error) => self.exists_at = self.failed(error).map(|wait| after(now, wait.min(interval))),
        }
    }

    /// A message is done. What is not outstanding is passed over.
    pub(crate) fn settle(&mut self, id: MsgId, now: Instant) {
        if !self.outstanding.settle(id.get()) {
            return;
        }
        self.stats.settled += 1;
        self.full = false;
        if self.phase == Phase::Draining {
            if self.outstanding.is_empty() {
                self.start_over(now);
            }
            return;
        }
        self.settling.settled(id.get(), true, now);
    }

    /// A message is to be handed out again after a pause.
    pub(crate) fn retry(&mut self, id: MsgId, pause: Duration, now: Instant) {
        if self.outstanding.retry(id.get(), after(now, pause)) {
            self.stats.retries += 1;
        }
    }

    /// Asks for everything settled so far to be told to the broker soon.
    pub(crate) fn flush(&mut self) -> u64 {
        self.settling.flush()
    }

    /// Whether all that was settled when `ticket` was given is told.
    pub(crate) fn is_flushed(&self, ticket: u64) -> bool {
        self.settling.is_flushed(ticket)
    }

    /// Hands out nothing more, and tells the broker soon what is settled, now or later.
    pub(crate) fn stop(&mut self) {
        self.ready.clear();
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Stopping(STOP_READS);
        }
    }

    /// Whether, after [`stop`](Self::stop), everything settled is told as far as it can be.
    pub(crate) fn is_quiet(&self) -> bool {
        match self.phase {
            Phase::Ended | Phase::Draining => true,
            _ => {
                let fetching = self.fetching.is_some() && self.ack_waits_for_a_read();
                !fetching
                    && !self.settling.is_busy(self.safe())
                    && (self.phase == Phase::Stopping(0) || !self.ack_waits_for_a_read())
            }
        }
    }

    /// The next thing to do now, until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Action> {
        if let Some(rows) = self.hand_out(now) {
            return Some(Action::Deliver(rows));
        }
        if self.phase == Phase::Ended {
            return self.end.take().map(Action::End);
        }
        if self.phase == Phase::Draining {
            return None;
        }
        if matches!(self.phase, Phase::Stopping(_)) {
            self.settling.flush();
        }
        let rest = self.outstanding.is_empty() && !self.coverage.lags();
        if self.may_tell() {
            match self.settling.next(now, self.safe(), rest) {
                Some(Command::Ack(to)) => return Some(Action::Ack(MsgId::new(to - 1))),
                Some(Command::Delete(id)) => return Some(Action::Delete(MsgId::new(id))),
                None => {}
            }
        }
        self.exists_at.take_if(|at| *at <= now).map(|_| Action::Exists)
    }

    /// When [`poll`](Self::poll) may have something without anything else happening.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.phase == Phase::Ended {
            return None;
        }
        let telling = self.settling.deadline(self.safe()).filter(|_| self.may_tell());
        [self.outstanding.next_retry(), telling, self.exists_at].into_iter().flatten().min()
    }

    /// How many settlements make it worth waking up.
    pub(crate) fn settlements_wanted(&self) -> usize {
        let all = self.outstanding.len();
        let wanted = if self.has_room() { self.settling.batch() } else { all / 8 };
        wanted.clamp(1, all.max(1))
    }

    /// Everything below may be acknowledged: seen in every class, and nothing of it outstanding.
    fn safe(&self) -> u64 {
        self.outstanding.first().unwrap_or(u64::MAX).min(self.coverage.low())
    }

    /// No command that removes anything before the mailbox was looked at for repeated ids. With a single
    /// message in it there is nothing to see yet.
    fn may_tell(&self) -> bool {
        self.checked || self.coverage.barrier() < 2
    }

    fn wants_sounding(&self) -> bool {
        !self.sounded || !self.may_tell()
    }

    /// Whether settled messages cannot be acknowledged until more is read.
    fn ack_waits_for_a_read(&self) -> bool {
        let safe = self.safe();
        self.settling.is_held_at(safe) && self.coverage.lags() && safe == self.coverage.low()
            || (!self.may_tell() && self.settling.is_busy(safe))
    }

    /// Whether another read could be handed out. In a backlog not for a few rows only, because the broker
    /// loads the whole backlog for each.
    fn has_room(&self) -> bool {
        if self.outstanding.is_empty() || self.full {
            return self.outstanding.is_empty();
        }
        let part = if self.coverage.lags() { 8 } else { usize::MAX };
        self.free() >= (self.options.max_outstanding / part).max(1)
            && self.free_bytes() >= (self.options.max_outstanding_bytes / part).max(1)
    }

    fn free(&self) -> usize {
        self.options.max_outstanding.saturating_sub(self.outstanding.len())
    }

    fn free_bytes(&self) -> usize {
        self.options.max_outstanding_bytes.saturating_sub(self.outstanding.bytes())
    }

    fn want(&self) -> u32 {
        let rows = self.free().min(self.free_bytes() / self.row_size.max(1)).max(1);
        u32::try_from(rows).unwrap_or(u32::MAX)
    }

    /// Ends the consumer, or gives how long to wait before the call is repeated.
    fn failed(&mut self, error: Error) -> Option<Duration> {
        if !error.is_retryable() {
            self.finish(error);
            return None;
        }
        self.stats.temporary_errors += 1;
        let wait = self.pacer.failed(error.advice(), &mut self.rng);
        debug!(mailbox = ?self.mailbox, %error, ?wait, "a call failed and will be repeated");
        Some(wait)
    }

    fn end_partitioned(&mut self, id: u64) {
        self.finish(Error::new(
            ErrorKind::Partitioned,
            "consume",
            format!(
                "id {id} came twice with different content, or out of order: the broker keeps mailboxes in more \
                 than one partition (set `[runtime] default_topic_partition_num = 1`), or the mailbox's data was \
                 replaced"
            ),
        ));
    }

    fn finish(&mut self, error: Error) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.end = Some(error);
        }
    }
}

/// `latest` gives one row per partition; room for a few.
const SOUND_ROWS: u32 = 8;
/// How often an idle mailbox is read past its end without the group: that shows the last record again, and
/// with it whether the mailbox began anew below a group offset that hides it.
const RECHECK: Duration = Duration::from_secs(30);
/// Reads that a stopping consumer may make to find out what can be acknowledged.
const STOP_READS: u8 = 4;
/// A row's size until rows have been seen.
const FIRST_ROW_SIZE: usize = 4096;
