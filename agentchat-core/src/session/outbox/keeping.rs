//! The queue beside its store: what has to be kept before it goes on, and what an earlier session left.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::entry::Entry;
use super::journal::{Journal, Noted};
use super::limits::cost;
use super::{Outbox, State, StoreOp, Stored, Ticket};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::ClientMsgId;
use crate::session::backoff::FAR;
use crate::store::{ParkedSend, StoredSend};

impl Outbox {
    /// From now on there is a store: nothing is tried that it does not hold. `queued` and `parked` are what
    /// it holds now, each in order; they may be more than the limits let in. Positions go on above them.
    ///
    /// What may have been tried before is parked unless the receiving side recognises repetitions.
    pub(crate) fn restore(
        &mut self,
        queued: Vec<StoredSend>,
        parked: Vec<ParkedSend>,
        now: Instant,
        wall: SystemTime,
    ) {
        self.journal.get_or_insert_default();
        let queued = queued.into_iter().map(|send| (send, None));
        let parked = parked.into_iter().map(|parked| (parked.send, Some(parked.reason)));
        let mut sends: Vec<_> = queued.chain(parked).collect();
        sends.sort_by_key(|(send, _)| send.position);
        if let Some((last, _)) = sends.last() {
            self.next_position = last.position.saturating_add(1);
        }
        for (StoredSend { position, message, attempts }, reason) in sends {
            let left = message.deadline.map(|deadline| deadline.duration_since(wall).unwrap_or_default());
            let deadline = left.map(|left| now + left.min(FAR));
            let cost = cost(&message);
            let mut entry = Entry::new(message.into(), cost, deadline, self.retry, position);
            (entry.holders, entry.owned) = (0, true);
            (entry.attempts, entry.noted) = (attempts, Some(attempts));
            let reason = reason.map(|reason| {
                let text = reason.text.strip_prefix("send: ").unwrap_or(&reason.text);
                Arc::new(Error::new(reason.kind, "send", text).with_reached(reason.reached))
            });
            entry.may_have_arrived = match &reason {
                Some(reason) => reason.reached() == Reached::Unknown,
                None => attempts > 0,
            };
            entry.error.clone_from(&reason);
            let (message, tried) = (Arc::clone(&entry.message), entry.may_have_arrived);
            let ticket = self.insert(entry);
            if let Some(journal) = &mut self.journal {
                journal.restore(ticket, position, &message, attempts, reason.as_ref());
            }
            if reason.is_some() {
                self.turn(ticket, State::Parked);
            } else if tried && !self.dedup {
                let what = "the process ended while it may have been on its way";
                self.park(ticket, Error::new(ErrorKind::Disconnected, "send", what));
                self.unreported.insert(ticket);
            } else {
                self.settle(ticket);
            }
        }
    }

    /// Sets aside what was restored and cannot be sent.
    pub(crate) fn refuse(&mut self, ticket: Ticket, error: Error) {
        if self.set_aside(ticket, error).is_some() {
            self.unreported.insert(ticket);
        }
    }

    /// Parks what is not under way nor parked already; whoever asks for it tells of it.
    pub(crate) fn set_aside(&mut self, ticket: Ticket, error: Error) -> Option<Arc<Error>> {
        let state = self.entries.get(ticket.0)?.state;
        if matches!(state, State::InFlight | State::Parked) { None } else { self.park(ticket, error) }
    }

    /// The next change for the store to make, where there is one.
    pub(crate) fn poll_store(&mut self, now: Instant) -> Option<StoreOp> {
        self.journal.as_mut()?.poll(now)
    }

    /// Takes what has come of a change in the store.
    pub(crate) fn on_stored(
        &mut self,
        id: &ClientMsgId,
        result: Result<()>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Stored {
        let Some(journal) = &mut self.journal else { return Stored::Nothing };
        match journal.on_done(id, result, now, rng) {
            Noted::Saved(ticket, attempts) => {
                let Some(entry) = self.entries.get_mut(ticket.0) else { return Stored::Nothing };
                entry.noted = Some(attempts);
                if entry.state == State::Keeping {
                    self.settle(ticket);
                }
                Stored::Kept(ticket)
            }
            Noted::Delayed(ticket, error) => {
                if let Some(entry) = self.entries.get_mut(ticket.0) {
                    entry.error = Some(Arc::new(error));
                }
                Stored::Nothing
            }
            Noted::Refused(ticket, error) => {
                let keeping = self.get(ticket).is_some_and(|pending| pending.state == State::Keeping);
                let error = keeping.then(|| self.park(ticket, error)).flatten();
                error.map_or(Stored::Nothing, |error| Stored::Parked(ticket, error))
            }
            Noted::Nothing => Stored::Nothing,
        }
    }

    /// How many messages are not yet in the store as they should be.
    pub(crate) fn unwritten(&self) -> usize {
        self.journal.as_ref().map_or(0, Journal::unwritten)
    }

    /// The store stays as it is from now on, whatever happens to the queue. Returns whether there is one.
    pub(crate) fn leave_store(&mut self) -> bool {
        self.journal.take().is_some()
    }

    /// Gives a message that is not under way its state: by its place in its lane, and by what the store
    /// has to know first.
    pub(super) fn settle(&mut self, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(ticket.0) else { return };
        let first = self.lanes.is_first(entry.message.conversation.as_ref(), ticket);
        let idle = if first { State::Ready } else { State::Waiting };
        let Some(journal) = &mut self.journal else {
            self.turn(ticket, idle);
            return;
        };
        // Whether it may be tried before the store can be asked again. Where repetitions are recognised it
        // does no harm to say so early, which saves a change for each message behind others.
        let soon = self.connected && (self.dedup || first);
        let attempts = entry.attempts.max(u32::from(soon));
        if entry.noted.is_none_or(|noted| noted < u32::from(soon)) {
            let noted = journal.save(ticket, entry.position, &entry.message, attempts);
            entry.noted = noted.or(entry.noted);
            if noted.is_none() {
                self.turn(ticket, State::Keeping);
                return;
            }
        }
        self.turn(ticket, idle);
    }

    /// There is a connection: what can be sent next has to be noted as perhaps tried.
    pub(super) fn note_attempts(&mut self) {
        if self.journal.is_none() {
            return;
        }
        let idle = |entry: &Entry| matches!(entry.state, State::Ready | State::Waiting);
        let unnoted = self.entries.iter().filter(|(_, entry)| entry.noted == Some(0) && idle(entry));
        for ticket in unnoted.map(|(ticket, _)| Ticket(ticket)).collect::<Vec<_>>() {
            self.settle(ticket);
        }
    }
}

#[cfg(test)]
mod tests;
