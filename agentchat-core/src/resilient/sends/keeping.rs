//! The senders beside the store.

use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Sends;
use crate::capability::Capabilities;
use crate::error::{Error, Reached, Result};
use crate::id::ClientMsgId;
use crate::session::outbox::{Pending, StoreOp, Stored};
use crate::store::{ParkedSend, StoredSend};

/// Whether a sender's message is kept.
pub(in crate::resilient) enum Watch {
    /// It is, or there is nothing to wait for.
    Kept,
    /// Told here; when the other end goes away, the outcome is there.
    Coming(oneshot::Receiver<()>),
}

impl Sends {
    /// Goes on with what an earlier session left. What this network cannot carry is set aside.
    pub(in crate::resilient) fn restore(
        &mut self,
        queued: Vec<StoredSend>,
        parked: Vec<ParkedSend>,
        capabilities: &Capabilities,
        now: Instant,
        wall: SystemTime,
    ) {
        self.stored = true;
        self.outbox.restore(queued, parked, now, wall);
        let unable =
            |pending: Pending<'_>| Some((pending.ticket, capabilities.check(pending.message).err()?));
        for (ticket, error) in self.outbox.pending().filter_map(unable).collect::<Vec<_>>() {
            self.outbox.refuse(ticket, error);
        }
    }

    /// The next change for the store.
    pub(in crate::resilient) fn poll_store(&mut self, now: Instant) -> Option<StoreOp> {
        self.outbox.poll_store(now)
    }

    pub(in crate::resilient) fn on_stored(
        &mut self,
        id: &ClientMsgId,
        result: Result<()>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        match self.outbox.on_stored(id, result, now, rng) {
            Stored::Kept(ticket) => {
                let waiters = self.waiters.get_mut(&ticket).into_iter().flatten();
                for kept in waiters.filter_map(|waiter| waiter.kept.take()) {
                    let _ = kept.send(());
                }
            }
            Stored::Parked(ticket, error) => self.parked(ticket, error, now),
            Stored::Nothing => {}
        }
    }

    /// How many changes the store has not taken yet.
    pub(in crate::resilient) fn unwritten(&self) -> usize {
        self.outbox.unwritten()
    }

    /// How many messages in the outbox the store is known to hold.
    pub(in crate::resilient) fn kept(&self) -> usize {
        self.outbox.pending().filter(|pending| pending.kept).count()
    }

    /// Tells sender `number` when its message is kept.
    pub(in crate::resilient) fn watch(&mut self, number: u64) -> Watch {
        if !self.stored {
            return Watch::Kept;
        }
        let ticket = self.tickets.get(&number);
        if ticket.is_some_and(|ticket| self.outbox.get(*ticket).is_some_and(|pending| pending.kept)) {
            return Watch::Kept;
        }
        let joined = ticket.and_then(|ticket| self.waiters.get_mut(ticket)).into_iter().flatten();
        let queued = self.queue.iter_mut().map(|(_, waiter)| waiter);
        let (told, coming) = oneshot::channel();
        if let Some(waiter) = joined.chain(queued).find(|waiter| waiter.number == number) {
            waiter.kept = Some(told);
        }
        Watch::Coming(coming)
    }

    /// What a sender is told whose message stays in the store, or may.
    pub(super) fn left_behind(why: &Error, reached: Reached, kept: bool) -> Error {
        let stays = if kept { "is kept" } else { "may be kept" };
        let what = format!("{why}; the message {stays} in the store and goes out with the next session");
        // It will be sent, so under another id it would be sent twice.
        let reached = if reached == Reached::Yes { reached } else { Reached::Unknown };
        Error::new(why.kind(), "send", what).with_advice(why.advice()).with_reached(reached)
    }
}
