//! The outbox and who waits for what becomes of its messages. Knows no clock.

mod failing;
mod keeping;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::Instant;

pub(super) use self::keeping::Watch;
use super::observer::Observer;
use super::state::{Parked, SessionStats};
use crate::clock::after;
use crate::delivery::Receipt;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{ClientMsgId, ConversationId};
use crate::message::Outbound;
use crate::session::outbox::{Action, Attempt, Outbox, Outcome, Pending, Queued, State, Ticket};

/// Messages on their way out, with their senders.
#[derive(Debug)]
pub(super) struct Sends {
    pub(super) observer: Observer,
    outbox: Outbox,
    timeout: Duration,
    waiters: HashMap<Ticket, Vec<Waiter>>,
    /// By the number of the waiter; those that still wait for room are not in it.
    tickets: HashMap<u64, Ticket>,
    /// Who waits for room, first come first served: one entry for each future that waits.
    queue: VecDeque<(Arc<Outbound>, Waiter)>,
    expiry: BTreeSet<(Instant, u64)>,
    next: u64,
    ended: bool,
    /// Whether there is a store for the outbox.
    stored: bool,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    until: Instant,
    /// Its time was over while an attempt was under way, the last one it waits for.
    overdue: bool,
    reply: oneshot::Sender<Result<Receipt>>,
    /// Told once the message is kept.
    kept: Option<oneshot::Sender<()>>,
}

/// A sender's place: its number and where the outcome comes.
pub(super) type Place = (u64, oneshot::Receiver<Result<Receipt>>);

impl Sends {
    pub(super) fn new(outbox: Outbox, timeout: Duration) -> Self {
        Self {
            observer: Observer::default(),
            outbox,
            timeout,
            waiters: HashMap::new(),
            tickets: HashMap::new(),
            queue: VecDeque::new(),
            expiry: BTreeSet::new(),
            next: 0,
            ended: false,
            stored: false,
        }
    }

    /// Takes a message in, or puts its sender at the end of those who wait for room.
    pub(super) fn send(&mut self, message: Arc<Outbound>, now: Instant, wall: SystemTime) -> Result<Place> {
        match self.offer(message, now, wall) {
            Ok(place) => Ok(place),
            Err(refused) if refused.1.kind() == ErrorKind::Backpressure => {
                let message = refused.0;
                let left = message.deadline.map(|at| at.duration_since(wall).unwrap_or_default());
                let (waiter, place) = self.waiter(now, left);
                self.queue.push_back((message, waiter));
                Ok(place)
            }
            Err(refused) => Err(refused.1),
        }
    }

    /// Takes a message in if there is room for it now and nobody waits for room.
    pub(super) fn offer(
        &mut self,
        message: Arc<Outbound>,
        now: Instant,
        wall: SystemTime,
    ) -> std::result::Result<Place, Box<(Arc<Outbound>, Error)>> {
        let may_wait = !self.outbox.knows(&message.client_msg_id) && !self.outbox.is_too_large(&message);
        if !self.queue.is_empty() && may_wait {
            let error = Error::new(ErrorKind::Backpressure, "send", "others wait for room in the outbox");
            return Err(Box::new((message, error)));
        }
        match self.outbox.push(message, now, wall) {
            Ok(queued) => Ok(self.join(queued, now)),
            Err(refused) => Err(Box::new((refused.message, refused.error))),
        }
    }

    /// Whether nothing is known of the message and nothing has to come before it but what is in the outbox.
    pub(super) fn is_open(&self, message: &Outbound) -> bool {
        !self.stored && self.queue.is_empty() && !self.outbox.knows(&message.client_msg_id)
    }

    /// Takes in a message for which the outbox [is open](Self::is_open). `Ok`: its sender is to make the
    /// attempt, and nobody waits for it yet.
    pub(super) fn begin(
        &mut self,
        message: Arc<Outbound>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<std::result::Result<Attempt, Place>> {
        if !self.outbox.fits(&message) {
            return self.send(message, now, SystemTime::now()).map(Err);
        }
        let queued = self.outbox.push(message, now, wall).map_err(|refused| refused.error)?;
        Ok(match self.outbox.start(queued.ticket(), now) {
            Some(attempt) => Ok(attempt),
            None => Err(self.join(queued, now)),
        })
    }

    /// A place for the sender that made an attempt of its own, or why the message was given up meanwhile;
    /// `None` when it has ended.
    pub(super) fn wait_for(&mut self, ticket: Ticket, now: Instant) -> Option<Result<Place>> {
        let pending = self.outbox.get(ticket)?;
        if let Some(error) =
            pending.error.filter(|_| pending.state == State::Parked).map(|error| error.copy())
        {
            self.give_back(ticket, &error, now);
            return Some(Err(error));
        }
        let (waiter, place) = self.waiter(now, None);
        self.tickets.insert(waiter.number, ticket);
        self.waiters.entry(ticket).or_default().push(waiter);
        Some(Ok(place))
    }

    /// Nobody can send the message any more, and its sender is told so.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.outbox.discard(ticket);
    }

    /// Whether anything could be sent, or taken in, with a place in the window or the outbox more.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() || self.outbox.has_ready()
    }

    /// The sender stopped waiting. Its message leaves if no attempt was made.
    pub(super) fn cancel(&mut self, number: u64, now: Instant, wall: SystemTime) {
        self.queue.retain(|(_, waiter)| waiter.number != number);
        if let Some(ticket) = self.forget(number) {
            self.outbox.withdraw(ticket);
        }
        self.admit(now, wall);
    }

    fn forget(&mut self, number: u64) -> Option<Ticket> {
        let ticket = self.tickets.remove(&number)?;
        let waiters = self.waiters.get_mut(&ticket)?;
        let at = waiters.iter().position(|waiter| waiter.number == number)?;
        let waiter = waiters.swap_remove(at);
        self.expiry.remove(&(waiter.until, number));
        if waiters.is_empty() {
            self.waiters.remove(&ticket);
        }
        Some(ticket)
    }

    /// The sender leaves its message to the outbox.
    pub(super) fn detach(&mut self, number: u64) {
        if let Some(ticket) = self.forget(number) {
            self.outbox.keep(ticket);
        }
    }

    pub(super) fn on_connected(&mut self) {
        self.outbox.on_connected();
    }

    pub(super) fn on_disconnected(&mut self, now: Instant) {
        self.outbox.on_disconnected();
        for ticket in self.waiters.keys().copied().collect::<Vec<_>>() {
            self.end_overdue(ticket, now);
        }
    }

    /// What to send now.
    pub(super) fn poll(&mut self, now: Instant, wall: SystemTime) -> Option<Attempt> {
        self.expire(now);
        self.admit(now, wall);
        loop {
            let action = self.outbox.poll(now);
            while let Some(limited) = self.outbox.take_refusal() {
                self.observer.limited(limited, now);
            }
            match action? {
                Action::Start(attempt) => return Some(attempt),
                Action::Parked(ticket, error) => self.parked(ticket, error, now),
            }
            self.admit(now, wall);
        }
    }

    pub(super) fn on_result(
        &mut self,
        ticket: Ticket,
        number: u32,
        result: Result<Receipt>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        match self.outbox.on_result(ticket, number, result, now, rng) {
            Outcome::Accepted(receipt) => {
                for waiter in self.take_waiters(ticket) {
                    let _ = waiter.reply.send(Ok(receipt.clone()));
                }
            }
            Outcome::Parked(error) => self.parked(ticket, error, now),
            Outcome::Retry(at) => {
                self.retried(ticket, Some(at.saturating_duration_since(now)));
                self.end_overdue(ticket, now);
            }
            Outcome::AwaitConnection => {
                self.retried(ticket, None);
                self.end_overdue(ticket, now);
            }
            Outcome::Ignored => {}
        }
    }

    /// What the message under way is ordered within.
    pub(super) fn conversation(&self, ticket: Ticket) -> Option<ConversationId> {
        self.outbox.get(ticket)?.message.conversation.clone()
    }

    /// Nothing can be sent any more: everybody is told why. What nobody waits for stays to be looked at.
    pub(super) fn end(&mut self, why: &Error) {
        self.ended = true;
        self.outbox.on_disconnected();
        let stored = self.outbox.leave_store();
        for (_, waiter) in std::mem::take(&mut self.queue) {
            let _ = waiter.reply.send(Err(why.copy().with_reached(Reached::No)));
        }
        for ticket in self.waiters.keys().copied().collect::<Vec<_>>() {
            let pending = self.outbox.get(ticket);
            let (reached, kept, owned) = pending.map_or((Reached::Unknown, false, false), |pending| {
                (pending.reached, pending.kept, pending.owned)
            });
            if !stored && !owned {
                self.outbox.discard(ticket);
            }
            for waiter in self.take_waiters(ticket) {
                let _ = waiter.reply.send(Err(match stored {
                    true => Self::left_behind(why, reached, kept),
                    false => why.copy().with_reached(reached),
                }));
            }
        }
        self.expiry.clear();
    }

    /// Stops taking in: who waits for room is told so.
    pub(super) fn stop_intake(&mut self, why: &Error) {
        for (_, waiter) in std::mem::take(&mut self.queue) {
            self.expiry.remove(&(waiter.until, waiter.number));
            let _ = waiter.reply.send(Err(why.copy().with_reached(Reached::No)));
        }
    }

    /// Whether nothing is left that could be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.is_empty() || self.outbox.pending().all(|pending| self.is_stuck(&pending))
    }

    /// How many messages are in the outbox.
    pub(super) fn len(&self) -> usize {
        self.outbox.pending().count()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.outbox.deadline().into_iter().chain(self.expiry.first().map(|(at, _)| *at)).min()
    }

    pub(super) fn capacity(&self) -> (usize, usize) {
        self.outbox.capacity()
    }

    pub(super) fn parked_messages(&self) -> Vec<Parked> {
        let all = self.outbox.pending().filter(|pending| self.is_parked(pending));
        all.map(|pending| Parked {
            message: (**pending.message).clone(),
            attempts: pending.attempts,
            reached: pending.reached,
            error: pending.error.map(|error| error.copy()),
        })
        .collect()
    }

    pub(super) fn discard(&mut self, id: &ClientMsgId) -> Option<Outbound> {
        let ticket = self.find_parked(id)?;
        self.outbox.discard(ticket)
    }

    pub(super) fn resume(&mut self, id: &ClientMsgId, now: Instant) -> bool {
        let Some(ticket) = self.find_parked(id).filter(|_| !self.ended) else { return false };
        let resumed = self.outbox.resume(ticket, now);
        if resumed {
            // It was left to the outbox: nobody who joins it and stops waiting takes it away.
            self.outbox.keep(ticket);
        }
        resumed
    }

    pub(super) fn count(&self, stats: &mut SessionStats, max_bytes: usize) {
        for pending in self.outbox.pending() {
            stats.queued_messages += 1;
            stats.in_flight += usize::from(pending.state == State::InFlight);
            stats.parked += usize::from(self.is_parked(&pending));
        }
        stats.queued_bytes = max_bytes - self.outbox.capacity().1;
    }
}

impl Sends {
    fn join(&mut self, queued: Queued, now: Instant) -> Place {
        let ticket = queued.ticket();
        let (waiter, place) = self.waiter(now, None);
        self.settle_in(ticket, waiter, now);
        place
    }

    fn settle_in(&mut self, ticket: Ticket, waiter: Waiter, now: Instant) {
        if self.outbox.get(ticket).is_some_and(|pending| self.is_parked(&pending)) {
            self.outbox.keep(ticket);
        }
        self.tickets.insert(waiter.number, ticket);
        self.waiters.entry(ticket).or_default().push(waiter);
        let parked = self.outbox.get(ticket).filter(|pending| pending.state == State::Parked);
        // Whoever hands a parked message in again wants it tried again.
        if let Some(error) = parked.and_then(|pending| pending.error.cloned())
            && !self.outbox.resume(ticket, now)
        {
            self.parked(ticket, error, now);
        }
    }

    fn waiter(&mut self, now: Instant, left: Option<Duration>) -> (Waiter, Place) {
        let number = self.next;
        self.next += 1;
        let (reply, outcome) = oneshot::channel();
        let until = after(now, left.unwrap_or(self.timeout).min(self.timeout));
        self.expiry.insert((until, number));
        (Waiter { number, until, overdue: false, reply, kept: None }, (number, outcome))
    }

    fn take_waiters(&mut self, ticket: Ticket) -> Vec<Waiter> {
        let waiters = self.waiters.remove(&ticket).unwrap_or_default();
        for waiter in &waiters {
            self.tickets.remove(&waiter.number);
            self.expiry.remove(&(waiter.until, waiter.number));
        }
        waiters
    }

    fn retried(&self, ticket: Ticket, wait: Option<Duration>) {
        if let Some(pending) = self.outbox.get(ticket) {
            self.observer.retried(&pending, wait);
        }
    }

    /// Takes in who waits for room, in turn.
    fn admit(&mut self, now: Instant, wall: SystemTime) {
        while self.queue.front().is_some_and(|(message, _)| self.outbox.fits(message)) {
            let Some((message, waiter)) = self.queue.pop_front() else { return };
            match self.outbox.push(message, now, wall) {
                Ok(queued) => self.settle_in(queued.ticket(), waiter, now),
                Err(refused) => {
                    self.expiry.remove(&(waiter.until, waiter.number));
                    self.give_back_waiting(refused.message.conversation.as_ref(), 0, &refused.error, now);
                    let _ = waiter.reply.send(Err(refused.error));
                }
            }
        }
    }

    /// Whether it is parked, or behind one that is.
    fn is_stuck(&self, pending: &Pending<'_>) -> bool {
        match pending.state {
            State::Parked => true,
            State::Waiting => self.outbox.pending().any(|other| {
                other.state == State::Parked && other.message.conversation == pending.message.conversation
            }),
            _ => false,
        }
    }

    /// Whether it is for the caller to decide about it: who waits for it is told first that it was given up.
    fn is_parked(&self, pending: &Pending<'_>) -> bool {
        self.ended || (pending.state == State::Parked && !self.waiters.contains_key(&pending.ticket))
    }

    fn find_parked(&self, id: &ClientMsgId) -> Option<Ticket> {
        let mut all = self.outbox.pending().filter(|pending| self.is_parked(pending));
        all.find(|pending| pending.message.client_msg_id == *id).map(|pending| pending.ticket)
    }
}

#[cfg(test)]
mod tests;
