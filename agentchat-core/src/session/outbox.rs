//! The queue of messages on their way out: bounded, ordered within a conversation, and losing nothing.
//!
//! ```text
//!              push                poll: Start             on_result
//!   (caller) ---------> Waiting -> Ready ------> InFlight -----------> accepted: ends
//!                                   ^  ^             |  |  \
//!                          time, or |  |  connection |  |   `--> Parked: resume -> Ready
//!                         the front |  |  again      |  |               discard -> handed back
//!                                   |  `-Interrupted-'  |
//!                                   `---- Retrying -----'
//! ```
//!
//! With a store, a message is `Keeping` first, and again before its first attempt if the store does not know
//! yet that there may be one: so that after a restart it is known which messages may have arrived. It has its
//! place in its conversation meanwhile.
//!
//! One message of a conversation is under way at a time, because sends under way together have no order.
//! A message leaves the queue in three ways only: accepted by the network, taken back before its first
//! attempt ([`Outbox::withdraw`]), or handed back to the caller ([`Outbox::discard`]).

mod agenda;
mod attempts;
mod entry;
mod journal;
mod keeping;
mod lanes;
mod limits;
mod rate_gate;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use self::agenda::Agenda;
use self::attempts::expired;
use self::entry::Entry;
pub(crate) use self::entry::{Action, Attempt, Change, Outcome, Pending, Queued, Refused, State, Ticket};
pub(crate) use self::entry::{StoreOp, Stored};
use self::journal::Journal;
use self::lanes::Lanes;
pub use self::limits::OutboxLimits;
use self::limits::cost;
use self::rate_gate::RateGate;
use crate::error::{Error, ErrorKind, Reached};
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::rows::Rows;
use crate::session::backoff::{Backoff, BackoffPolicy, FAR};
use crate::session::rate::RateLimits;

/// The queue. It begins without a connection; after every call that changes something, and at
/// [`Outbox::deadline`], ask [`Outbox::poll`] until it has nothing more to do.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: OutboxLimits,
    retry: BackoffPolicy,
    dedup: bool,
    connected: bool,
    /// By ticket.
    entries: Rows<Entry>,
    ids: HashMap<ClientMsgId, Ticket>,
    lanes: Lanes,
    agenda: Agenda,
    gate: RateGate,
    /// Parked without the caller knowing yet.
    unreported: BTreeSet<Ticket>,
    bytes: usize,
    next: u64,
    /// What the store is to be told, where there is one.
    journal: Option<Journal>,
    /// The next message's position in the store.
    next_position: u64,
}

impl Outbox {
    /// An empty queue. `retry` is each message's own policy; `dedup` says that the receiving side
    /// recognises a repeated `client_msg_id`, so that what may have arrived can be sent again.
    pub(crate) fn new(limits: OutboxLimits, retry: BackoffPolicy, dedup: bool) -> Self {
        Self {
            limits,
            retry,
            dedup,
            connected: false,
            entries: Rows::default(),
            ids: HashMap::new(),
            lanes: Lanes::default(),
            agenda: Agenda::default(),
            gate: RateGate::new(RateLimits::new()),
            unreported: BTreeSet::new(),
            bytes: 0,
            next: 0,
            journal: None,
            next_position: 0,
        }
    }

    /// Takes a message in, behind the others of its conversation. `wall` is the time of day at `now`: the
    /// message's deadline is translated once, so a clock that is set later does not move it.
    ///
    /// # Errors
    /// Hands the message back with `Backpressure` when it does not fit now, `TooLarge` when it never will,
    /// `Conflict` when its id is in the queue with another content, `Timeout` when it is past its deadline.
    pub(crate) fn push(
        &mut self,
        message: impl Into<Arc<Outbound>>,
        now: Instant,
        wall: SystemTime,
    ) -> std::result::Result<Queued, Box<Refused>> {
        let message = message.into();
        let refuse = |message, kind, why| Err(Box::new(Refused { message, error: refusal(kind, why) }));
        if let Some(ticket) = self.ids.get(&message.client_msg_id).copied() {
            let known = self.entries.get_mut(ticket.0).filter(|entry| entry.message == message);
            let Some(entry) = known else { return refuse(message, ErrorKind::Conflict, REUSED.to_owned()) };
            entry.holders += 1;
            return Ok(Queued::Joined(ticket));
        }
        let cost = cost(&message);
        if cost > self.limits.max_bytes {
            let most = self.limits.max_bytes;
            let why = format!("the message takes {cost} bytes of the outbox, whose `max_bytes` are {most}");
            return refuse(message, ErrorKind::TooLarge, why);
        }
        let left = message.deadline.map(|deadline| deadline.duration_since(wall).unwrap_or_default());
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Box::new(Refused { message, error: expired(None) }));
        }
        if !self.has_room(cost) {
            let why = self.why_full(cost);
            return refuse(message, ErrorKind::Backpressure, why);
        }
        let deadline = left.map(|left| now + left.min(FAR));
        let ticket = self.insert(Entry::new(message, cost, deadline, self.retry, self.next_position));
        if self.journal.is_some() {
            self.next_position = self.next_position.saturating_add(1);
            self.settle(ticket);
        }
        Ok(Queued::New(ticket))
    }

    /// Whether [`Outbox::push`] has room for `message` now. What is in the queue already always fits.
    pub(crate) fn fits(&self, message: &Outbound) -> bool {
        self.ids.contains_key(&message.client_msg_id) || self.has_room(cost(message))
    }

    /// Whether there is never room for `message`.
    pub(crate) fn is_too_large(&self, message: &Outbound) -> bool {
        cost(message) > self.limits.max_bytes
    }

    /// Whether a message of this id is in the queue.
    pub(crate) fn knows(&self, id: &ClientMsgId) -> bool {
        self.ids.contains_key(id)
    }

    /// How many messages and bytes can still be taken in.
    pub(crate) fn capacity(&self) -> (usize, usize) {
        // What a store gave back may be more than is taken in.
        let messages = self.limits.max_messages.saturating_sub(self.entries.len());
        (messages, self.limits.max_bytes.saturating_sub(self.bytes))
    }

    /// A sender stopped waiting for `ticket` before it learned the outcome. Returns whether the message left
    /// the queue: it does when no attempt was made, nobody else waits for it and it is not the queue's own.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> bool {
        let Some(entry) = self.entries.get_mut(ticket.0) else { return false };
        entry.holders = entry.holders.saturating_sub(1);
        entry.holders == 0 && entry.attempts == 0 && !entry.owned && self.remove(ticket).is_some()
    }

    /// The message is the queue's own from now on: whoever joins it and stops waiting takes nothing away.
    pub(crate) fn keep(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entries.get_mut(ticket.0) {
            entry.owned = true;
        }
    }

    /// What stands behind `ticket` in its conversation, in order.
    pub(crate) fn behind(&self, ticket: Ticket) -> Vec<Ticket> {
        let conversation = self.entries.get(ticket.0).and_then(|entry| entry.message.conversation.as_ref());
        self.lanes.behind(conversation, ticket)
    }

    /// Tries a parked message again, with a fresh count of attempts and the original deadline. Returns
    /// whether it does: what is not parked or is past its deadline stays as it is.
    pub(crate) fn resume(&mut self, ticket: Ticket, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(ticket.0) else { return false };
        if entry.state != State::Parked || entry.is_past(now) {
            return false;
        }
        entry.tries = 0;
        entry.backoff = Backoff::new(self.retry);
        // The store has to take it back before it is tried.
        entry.noted = None;
        self.unreported.remove(&ticket);
        self.settle(ticket);
        true
    }

    /// Hands a message back and lets its conversation go on. Not while an attempt is under way: it could
    /// still be accepted.
    pub(crate) fn discard(&mut self, ticket: Ticket) -> Option<Outbound> {
        self.entries.get(ticket.0).filter(|entry| entry.state != State::InFlight)?;
        self.remove(ticket).map(|entry| Arc::unwrap_or_clone(entry.message))
    }

    /// Whether sending goes on; false from the first result on that says the connection is gone.
    #[cfg_attr(not(test), expect(dead_code, reason = "the driver learns it from the error itself"))]
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// When to ask [`Outbox::poll`] again though nothing happened.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let gate = self.gate.opens_at().filter(|_| self.agenda.first_ready().is_some());
        let starts = [self.agenda.next_retry(), self.agenda.next_held(), gate];
        let starts = starts.into_iter().flatten().filter(|_| self.connected);
        let store = self.journal.as_ref().and_then(Journal::deadline);
        starts.chain(store).chain(self.agenda.next_deadline()).min()
    }

    /// What is in the queue, in the order it came.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Pending<'_>> {
        self.entries.iter().map(|(ticket, entry)| entry.report(Ticket(ticket)))
    }

    /// Where `ticket` stands; `None` when it has ended.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<Pending<'_>> {
        self.entries.get(ticket.0).map(|entry| entry.report(ticket))
    }

    /// Whether nothing is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn has_room(&self, cost: usize) -> bool {
        let (messages, bytes) = self.capacity();
        messages > 0 && cost <= bytes
    }

    /// Gives a message the next ticket, at the end of its lane.
    fn insert(&mut self, mut entry: Entry) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.bytes += entry.cost;
        self.ids.insert(entry.message.client_msg_id.clone(), ticket);
        let first = self.lanes.join(entry.message.conversation.as_ref(), ticket);
        entry.state = if first { State::Ready } else { State::Waiting };
        self.agenda.add(ticket, &entry);
        self.entries.push(ticket.0, entry);
        ticket
    }

    /// Which limit leaves no room.
    fn why_full(&self, cost: usize) -> String {
        let OutboxLimits { max_messages, max_bytes, .. } = self.limits;
        match self.capacity() {
            (0, _) => format!("the outbox is full: its `max_messages` are {max_messages}"),
            (_, left) => {
                format!("the outbox is full: {left} of its `max_bytes`, {max_bytes}, are left for {cost}")
            }
        }
    }

    /// Every change of state goes through here, so that the indexes follow.
    fn turn(&mut self, ticket: Ticket, state: State) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(ticket.0)?;
        self.agenda.remove(ticket, entry);
        entry.state = state;
        self.agenda.add(ticket, entry);
        Some(entry)
    }

    fn park(&mut self, ticket: Ticket, error: Error) -> Option<Arc<Error>> {
        let entry = self.turn(ticket, State::Parked)?;
        // The senders are told now; whoever hands the message in again begins to wait anew.
        entry.holders = 0;
        let error = error.with_context("attempts", entry.attempts.to_string());
        // A refusal of the last attempt says nothing about an earlier one that may have arrived.
        let error = if entry.may_have_arrived { error.with_reached(Reached::Unknown) } else { error };
        let error = Arc::clone(entry.error.insert(Arc::new(error)));
        let id = entry.message.client_msg_id.clone();
        if let Some(journal) = &mut self.journal {
            journal.park(&id, &error);
        }
        Some(error)
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        let entry = self.entries.remove(ticket.0)?;
        self.agenda.remove(ticket, &entry);
        self.ids.remove(&entry.message.client_msg_id);
        self.unreported.remove(&ticket);
        self.bytes -= entry.cost;
        if let Some(journal) = &mut self.journal {
            journal.forget(&entry.message.client_msg_id);
        }
        let first = self.lanes.leave(entry.message.conversation.as_ref(), ticket);
        if let Some(next) = first.filter(|next| self.is_waiting(*next)) {
            self.settle(next);
        }
        Some(entry)
    }

    fn is_waiting(&self, ticket: Ticket) -> bool {
        self.entries.get(ticket.0).is_some_and(|entry| entry.state == State::Waiting)
    }
}

fn refusal(kind: ErrorKind, why: impl Into<String>) -> Error {
    Error::new(kind, "send", why).with_reached(Reached::No)
}

const EXPIRED: &str = "the deadline of the message has passed";
const REUSED: &str =
    "this client message id is in the outbox with another content; a new message needs a new id";

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
