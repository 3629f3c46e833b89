//! A message in the queue, and the words the queue and its driver speak.

use std::sync::Arc;

use tokio::time::Instant;

use crate::delivery::Receipt;
use crate::error::{Error, Reached};
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::session::backoff::{Backoff, BackoffPolicy};
use crate::store::StoredSend;

/// A message's place in the queue. Later messages have larger tickets; none is given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(super) u64);

/// What became of a message that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It has a place of its own.
    New(Ticket),
    /// The same message was in the queue already: both share its place and its outcome. One that is
    /// parked stays so until it is resumed; [`get`](super::Outbox::get) tells.
    Joined(Ticket),
}

impl Queued {
    pub(crate) fn ticket(self) -> Ticket {
        match self {
            Self::New(ticket) | Self::Joined(ticket) => ticket,
        }
    }
}

/// A message that was not taken, handed back.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) message: Arc<Outbound>,
    /// Backpressure: try again when [`fits`](super::Outbox::fits) says so. Any other kind is final.
    pub(crate) error: Error,
}

/// What to do now.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send it, and hand the result to [`on_result`](super::Outbox::on_result).
    Start(Attempt),
    /// It was set aside: tell whoever waits for it. Said once each time it is set aside.
    Parked(Ticket, Arc<Error>),
}

/// A change for the store to make; hand what comes of it to [`on_stored`](super::Outbox::on_stored).
#[derive(Debug)]
pub(crate) struct StoreOp {
    pub(crate) id: ClientMsgId,
    pub(crate) change: Change,
}

/// What the store is to do with a message.
#[derive(Debug)]
pub(crate) enum Change {
    Save(Box<StoredSend>),
    Remove,
    /// It was given up, for this reason.
    Park(Arc<Error>),
}

/// What the end of a change in the store means.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The message is kept now.
    Kept(Ticket),
    /// It cannot be kept, so it was set aside without an attempt.
    Parked(Ticket, Arc<Error>),
    Nothing,
}

/// One attempt to send a message.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) ticket: Ticket,
    /// Counts from 1 and never starts over.
    pub(crate) number: u32,
    pub(crate) message: Arc<Outbound>,
}

/// What the result of an attempt means.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The network has it; the ticket has ended.
    Accepted(Receipt),
    /// It is sent again then, if the connection holds.
    Retry(Instant),
    /// It is set aside until the caller resumes or discards it.
    Parked(Arc<Error>),
    /// The connection is gone; it is among the first on the next one.
    AwaitConnection,
    /// The result is about an attempt that no longer matters.
    Ignored,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The store is to keep it first, or to note that it may be tried.
    Keeping,
    /// Earlier messages of its conversation come first.
    Waiting,
    /// It can be sent.
    Ready,
    /// It was under way when the connection was lost: it goes first on the next one.
    Interrupted,
    /// An attempt is under way.
    InFlight,
    /// It is sent again then.
    Retrying(Instant),
    /// It keeps its place until the caller resumes or discards it.
    Parked,
}

/// A message in the queue, as reported.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    pub(crate) ticket: Ticket,
    pub(crate) message: &'a Arc<Outbound>,
    pub(crate) state: State,
    /// Attempts made, the one under way included.
    pub(crate) attempts: u32,
    /// `No`: certainly nowhere yet, safe to send under any id. `Unknown`: an attempt may have arrived.
    pub(crate) reached: Reached,
    /// Why it failed last.
    pub(crate) error: Option<&'a Arc<Error>>,
    /// Whether the store is known to hold it.
    pub(crate) kept: bool,
    /// Whether it stays though nobody waits for it.
    pub(crate) owned: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Outbound>,
    pub(super) cost: usize,
    pub(super) state: State,
    pub(super) attempts: u32,
    /// Attempts since it was handed in or resumed.
    pub(super) tries: u32,
    /// How many senders wait for it.
    pub(super) holders: usize,
    /// The queue itself answers for it: an earlier session left it, or its sender did.
    pub(super) owned: bool,
    pub(super) may_have_arrived: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) backoff: Backoff,
    pub(super) error: Option<Arc<Error>>,
    /// Its place in the store.
    pub(super) position: u64,
    /// The count of attempts under which the store holds it.
    pub(super) noted: Option<u32>,
}

impl Entry {
    /// A message that one sender waits for.
    pub(super) fn new(
        message: Arc<Outbound>,
        cost: usize,
        deadline: Option<Instant>,
        retry: BackoffPolicy,
        position: u64,
    ) -> Self {
        Self {
            cost,
            state: State::Waiting,
            attempts: 0,
            tries: 0,
            holders: 1,
            owned: false,
            may_have_arrived: false,
            deadline,
            backoff: Backoff::new(retry),
            error: None,
            position,
            noted: None,
            message,
        }
    }

    pub(super) fn is_past(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether any attempt may have been stored by the other side.
    pub(super) fn reached(&self) -> Reached {
        if self.may_have_arrived || self.state == State::InFlight { Reached::Unknown } else { Reached::No }
    }

    pub(super) fn report(&self, ticket: Ticket) -> Pending<'_> {
        Pending {
            ticket,
            message: &self.message,
            state: self.state,
            attempts: self.attempts,
            reached: self.reached(),
            error: self.error.as_ref(),
            kept: self.noted.is_some(),
            owned: self.owned,
        }
    }
}
