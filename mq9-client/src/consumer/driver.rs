//! The polling task: many mailboxes over one connection, earliest due first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use futures_util::stream::FuturesUnordered;

use crate::address::MailAddress;
use crate::error::Result;
use crate::message::{MsgId, Received};
use crate::options::{FetchOptions, Group};

use super::desk::Desk;
use super::limiter::Limiter;
use super::ops::MailboxOps;
use super::options::PollerOptions;
use super::slot::{Fate, Order, Slot};

/// All mailboxes of one poller.
pub(crate) struct Driver {
    desk: Arc<Desk>,
    slots: HashMap<u64, Slot>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Mailboxes whose FETCH is due and waits for its turn: busy ones, idle ones.
    due: [BTreeSet<(Instant, u64)>; 2],
    /// Which of the two had the last turn: they alternate, so that neither starves the other.
    last_turn: usize,
    fetching: usize,
    concurrent: usize,
    limiter: Limiter,
    /// Calls to make.
    launches: Vec<Launch>,
}

/// One call to the broker.
struct Launch {
    key: u64,
    mailbox: MailAddress,
    call: Call,
}

enum Call {
    Fetch(FetchOptions, AbortRegistration),
    Ack(Group, MsgId),
    Delete(MsgId),
    Exists,
}

/// Its answer.
enum Landed {
    /// `None` when the FETCH was stopped.
    Fetch(Option<Result<Vec<Received>>>),
    Ack(Result<()>),
    Delete(MsgId, Result<()>),
    Exists(Result<bool>),
}

impl Driver {
    pub(crate) fn new(desk: Arc<Desk>, options: &PollerOptions) -> Self {
        Self {
            desk,
            slots: HashMap::new(),
            timers: BinaryHeap::new(),
            due: Default::default(),
            last_turn: 0,
            fetching: 0,
            concurrent: options.concurrent_fetches.max(1),
            limiter: Limiter::new(options.polls_per_second),
            launches: Vec::new(),
        }
    }

    /// Runs until the last handle is gone.
    pub(crate) async fn run<O: MailboxOps>(mut self, ops: O) {
        let mut flights = FuturesUnordered::new();
        let desk = Arc::clone(&self.desk);
        loop {
            let now = now();
            let stop = self.hear(now);
            self.ring_timers(now);
            let limited = self.begin_fetches(now);
            flights.extend(self.launches.drain(..).map(|launch| fly(ops.clone(), launch)));
            if stop && self.slots.is_empty() {
                break;
            }
            let alarm = self.next_timer().into_iter().chain(limited).min();
            tokio::select! {
                Some((key, landed)) = flights.next(), if !flights.is_empty() => self.land(key, landed),
                () = desk.called() => {}
                () = sleep_until(alarm) => {}
            }
        }
        // The last acknowledgements are under way; they are not waited for long.
        let rest = async { while flights.next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
    }

    /// Takes new mailboxes in and attends to those that called. True once the last handle is gone.
    fn hear(&mut self, now: Instant) -> bool {
        let notes = self.desk.take();
        for slot in notes.arrivals {
            let key = slot.shared.key();
            self.slots.insert(key, slot);
            self.attend(key, now);
        }
        for key in notes.woken {
            self.attend(key, now);
        }
        notes.stop
    }

    fn ring_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            if let Some(slot) = self.slots.get_mut(&key) {
                if slot.timer == Some(at) {
                    slot.timer = None;
                }
                self.attend(key, now);
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Begins the FETCHes that are due, as far as the bounds allow. Gives when to look again if the budget
    /// is spent.
    fn begin_fetches(&mut self, now: Instant) -> Option<Instant> {
        while self.fetching < self.concurrent {
            let (turn, (at, key)) = self.next_turn()?;
            let Some(slot) = self.slots.get_mut(&key) else {
                self.due[turn].remove(&(at, key));
                continue;
            };
            if !slot.reader.continues() {
                let ready = self.limiter.ready_at(now);
                if ready > now {
                    return Some(ready);
                }
                self.limiter.take(now);
            }
            self.due[turn].remove(&(at, key));
            self.last_turn = turn;
            slot.queued = None;
            if slot.shared.is_abandoned() || slot.reader.fetch_due(now).is_none_or(|due| due > now) {
                self.attend(key, now);
                continue;
            }
            let (handle, registration) = AbortHandle::new_pair();
            slot.fetch = Some(handle);
            let options = slot.reader.begin_fetch(now);
            self.fetching += 1;
            let call = Call::Fetch(options, registration);
            self.launches.push(Launch { key, mailbox: slot.mailbox.clone(), call });
        }
        None
    }

    fn next_turn(&self) -> Option<(usize, (Instant, u64))> {
        let other = 1 - self.last_turn;
        [other, self.last_turn].into_iter().find_map(|turn| Some((turn, *self.due[turn].first()?)))
    }

    fn land(&mut self, key: u64, landed: Landed) {
        let now = now();
        if matches!(landed, Landed::Fetch(_)) {
            self.fetching -= 1;
        }
        let idle_floor = self.limiter.idle_floor(self.slots.len());
        let Some(slot) = self.slots.get_mut(&key) else { return };
        match landed {
            Landed::Fetch(reply) => {
                slot.fetch = None;
                if let Some(reply) = reply {
                    slot.reader.on_fetched(now, reply, idle_floor);
                }
            }
            Landed::Ack(reply) => slot.reader.on_acked(now, reply),
            Landed::Delete(id, reply) => slot.reader.on_deleted(now, id, reply),
            Landed::Exists(reply) => slot.reader.on_exists(now, reply),
        }
        self.attend(key, now);
    }

    /// Runs one mailbox's machine and notes when to come back to it.
    fn attend(&mut self, key: u64, now: Instant) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let mut orders = Vec::new();
        let fate = slot.attend(now, &mut orders);
        self.launches.extend(orders.into_iter().map(|order| {
            let call = match order {
                Order::Ack(id) => Call::Ack(slot.group.clone(), id),
                Order::Delete(id) => Call::Delete(id),
                Order::Exists => Call::Exists,
            };
            Launch { key, mailbox: slot.mailbox.clone(), call }
        }));
        if fate == Fate::Goes {
            if let Some(place) = slot.queued {
                for due in &mut self.due {
                    due.remove(&(place, key));
                }
            }
            self.slots.remove(&key);
            return;
        }
        let mut deadline = slot.deadline();
        match slot.reader.fetch_due(now) {
            Some(at) if at <= now && slot.queued.is_none() => {
                slot.queued = Some(at);
                self.due[usize::from(slot.reader.is_idle(now))].insert((at, key));
            }
            Some(at) if at <= now => {}
            Some(at) => deadline = Some(deadline.map_or(at, |deadline| deadline.min(at))),
            None => {}
        }
        // A later timer that is already set does no harm; it only looks.
        if let Some(at) = deadline
            && slot.timer.is_none_or(|set| at < set)
        {
            slot.timer = Some(at);
            self.timers.push(Reverse((at, key)));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.desk.task_is_gone();
    }
}

async fn fly<O: MailboxOps>(ops: O, launch: Launch) -> (u64, Landed) {
    let Launch { key, mailbox, call } = launch;
    let landed = match call {
        Call::Fetch(options, stopped) => {
            Landed::Fetch(Abortable::new(ops.fetch(&mailbox, &options), stopped).await.ok())
        }
        Call::Ack(group, up_to) => Landed::Ack(ops.ack(&mailbox, &group, up_to).await),
        Call::Delete(id) => Landed::Delete(id, ops.delete(&mailbox, id).await),
        Call::Exists => Landed::Exists(ops.exists(&mailbox).await),
    };
    (key, landed)
}

/// tokio's clock, so that paused time works.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How long the task outlives its last handle to send acknowledgements.
const LAST_WORDS: Duration = Duration::from_secs(1);
