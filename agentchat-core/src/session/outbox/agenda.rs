//! What can be sent, what waits for a moment, what is under way: each in the order it is asked for.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use tokio::time::Instant;

use super::entry::{Entry, State, Ticket};
use crate::message::Priority;

/// Indexes over the entries by state. An entry is taken out before it changes and put back after.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    ready: BTreeSet<Rank>,
    retries: BTreeSet<(Instant, Ticket)>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    in_flight: BTreeSet<Ticket>,
}

/// Smallest first: what a lost connection interrupted, in order; then the most urgent, then the oldest.
type Rank = (Option<Reverse<Priority>>, Ticket);

impl Agenda {
    pub(super) fn add(&mut self, ticket: Ticket, entry: &Entry) {
        match entry.state {
            State::Ready | State::Interrupted => _ = self.ready.insert(rank(ticket, entry)),
            State::Retrying(at) => _ = self.retries.insert((at, ticket)),
            State::InFlight => _ = self.in_flight.insert(ticket),
            State::Keeping | State::Waiting | State::Parked => {}
        }
        if let Some(deadline) = watched_deadline(entry) {
            self.deadlines.insert((deadline, ticket));
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket, entry: &Entry) {
        match entry.state {
            State::Ready | State::Interrupted => _ = self.ready.remove(&rank(ticket, entry)),
            State::Retrying(at) => _ = self.retries.remove(&(at, ticket)),
            State::InFlight => _ = self.in_flight.remove(&ticket),
            State::Keeping | State::Waiting | State::Parked => {}
        }
        if let Some(deadline) = watched_deadline(entry) {
            self.deadlines.remove(&(deadline, ticket));
        }
    }

    /// What can be sent first.
    pub(super) fn first_ready(&self) -> Option<Ticket> {
        self.ready.first().map(|(_, ticket)| *ticket)
    }

    /// Something whose wait is over.
    pub(super) fn due(&self, now: Instant) -> Option<Ticket> {
        self.retries.first().filter(|(at, _)| *at <= now).map(|(_, ticket)| *ticket)
    }

    /// Something whose deadline is reached and that is not under way.
    pub(super) fn expired(&self, now: Instant) -> Option<Ticket> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, ticket)| *ticket)
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What is under way, oldest first.
    pub(super) fn in_flight(&self) -> &BTreeSet<Ticket> {
        &self.in_flight
    }
}

fn rank(ticket: Ticket, entry: &Entry) -> Rank {
    let urgency = (entry.state != State::Interrupted).then_some(Reverse(entry.message.priority));
    (urgency, ticket)
}

/// An attempt under way may still succeed, and what is parked was reported already: neither expires.
fn watched_deadline(entry: &Entry) -> Option<Instant> {
    entry.deadline.filter(|_| !matches!(entry.state, State::InFlight | State::Parked))
}
