//! Starting attempts, and what their ends mean.

use std::sync::Arc;

use tokio::time::Instant;

use super::verdict::{Verdict, verdict};
use super::{Action, Attempt, EXPIRED, Outbox, Outcome, State, Ticket, refusal};
use crate::delivery::Receipt;
use crate::error::{Advice, Error, ErrorKind, Reached, Result};

impl Outbox {
    /// What to do now; `None` when there is nothing until something happens or [`Outbox::deadline`] comes.
    ///
    /// Interrupted messages start first, then more urgent ones, then older ones. A steady stream of urgent
    /// messages that fills the window holds back all others: that is what urgent means.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Action> {
        if let Some(ticket) = self.unreported.pop_first()
            && let Some(error) = self.entries.get(ticket.0).and_then(|entry| entry.error.clone())
        {
            return Some(Action::Parked(ticket, error));
        }
        if let Some(ticket) = self.agenda.expired(now) {
            let cause = self.entries.get(ticket.0).and_then(|entry| entry.error.clone());
            let error = self.park(ticket, expired(cause))?;
            return Some(Action::Parked(ticket, error));
        }
        while let Some(ticket) = self.agenda.due(now) {
            self.turn(ticket, State::Ready);
        }
        self.agenda.release(now);
        self.gate.tick(now);
        if !self.connected || self.agenda.in_flight().len() >= self.limits.in_flight {
            return None;
        }
        let ticket = self.first_permitted(now)?;
        self.begin(ticket).map(Action::Start)
    }

    /// Begins an attempt of `ticket`, if that is what [`Outbox::poll`] would do now, and would do next.
    pub(crate) fn start(&mut self, ticket: Ticket, now: Instant) -> Option<Attempt> {
        let is_first = self.agenda.first_ready() == Some(ticket);
        let has_room = self.connected && self.agenda.in_flight().len() < self.limits.in_flight;
        let others = !self.unreported.is_empty() || self.agenda.is_due(now) || self.gate.is_limited();
        if is_first && has_room && !others { self.begin(ticket) } else { None }
    }

    /// Whether anything is ready to be sent.
    pub(crate) fn has_ready(&self) -> bool {
        self.agenda.first_ready().is_some()
    }

    fn begin(&mut self, ticket: Ticket) -> Option<Attempt> {
        let entry = self.turn(ticket, State::InFlight)?;
        entry.attempts += 1;
        entry.tries += 1;
        let message = Arc::clone(&entry.message);
        Some(Attempt { ticket, number: entry.attempts, message })
    }

    /// Takes the result of attempt `number` of `ticket`.
    ///
    /// An acceptance always counts, also from an attempt that a lost connection had cut off. Any other
    /// result counts only for the attempt under way. An error that says the connection is gone stops all
    /// starting until [`Outbox::on_connected`]; see [`Outbox::is_connected`].
    pub(crate) fn on_result(
        &mut self,
        ticket: Ticket,
        number: u32,
        result: Result<Receipt>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Outcome {
        let Some(entry) = self.entries.get_mut(ticket.0) else { return Outcome::Ignored };
        let error = match result {
            Ok(receipt) if (1..=entry.attempts).contains(&number) => {
                self.remove(ticket);
                return Outcome::Accepted(receipt);
            }
            Err(error) if entry.state == State::InFlight && number == entry.attempts => error,
            _ => return Outcome::Ignored,
        };
        entry.may_have_arrived |= error.reached() == Reached::Unknown;
        let gone = error.ends_attachment();
        let exhausted = self.retry.exhausted(entry.tries);
        let next = match verdict(&error, self.dedup) {
            Verdict::Park => None,
            _ if exhausted => None,
            Verdict::Reconnect => Some(State::Interrupted),
            Verdict::Backoff => entry.backoff.failed(now, error.advice(), rng).map(State::Retrying),
        };
        let too_late = matches!(next, Some(State::Retrying(at)) if entry.is_past(at));
        self.connected &= !gone;
        let Some(next) = next.filter(|_| !too_late) else {
            let error = match () {
                () if too_late => expired(Some(Arc::new(error))),
                () if exhausted => error.with_advice(Advice::Never),
                () => error,
            };
            return self.park(ticket, error).map_or(Outcome::Ignored, Outcome::Parked);
        };
        if let Some(entry) = self.turn(ticket, next) {
            entry.error = Some(Arc::new(error));
        }
        match next {
            State::Retrying(at) => Outcome::Retry(at),
            _ => Outcome::AwaitConnection,
        }
    }

    /// The connection is there: sending may begin.
    pub(crate) fn on_connected(&mut self) {
        self.on_disconnected();
        self.connected = true;
        self.note_attempts();
    }

    /// The connection is gone. Hand in the results that are known first: every attempt still under way
    /// becomes unknown. Where the receiving side recognises repetitions it goes first on the next
    /// connection, otherwise it is parked.
    pub(crate) fn on_disconnected(&mut self) {
        self.connected = false;
        for ticket in self.agenda.in_flight().clone() {
            let Some(entry) = self.entries.get_mut(ticket.0) else { continue };
            entry.may_have_arrived = true;
            let exhausted = self.retry.exhausted(entry.tries);
            if self.dedup && !exhausted {
                self.turn(ticket, State::Interrupted);
                continue;
            }
            let error = Error::new(ErrorKind::Disconnected, "send", "the connection was lost on the way");
            self.park(ticket, if exhausted { error.with_advice(Advice::Never) } else { error });
            self.unreported.insert(ticket);
        }
    }
}

/// Past its deadline; `cause` is why it was not sent before.
pub(super) fn expired(cause: Option<Arc<Error>>) -> Error {
    let error = refusal(ErrorKind::Timeout, EXPIRED).with_advice(Advice::Never);
    match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}
