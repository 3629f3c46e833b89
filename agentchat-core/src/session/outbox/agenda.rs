//! What can be sent, what waits for a moment, what is under way: each in the order it is asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::entry::{Entry, State, Ticket};
use crate::message::Priority;

/// Indexes over the entries by state. An entry is taken out before it changes and put back after.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    ready: BTreeSet<Rank>,
    /// Ready, but without a permit until then.
    held: BTreeSet<(Instant, Rank)>,
    held_until: BTreeMap<Rank, Instant>,
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
            State::Ready | State::Interrupted => self.remove_ready(rank(ticket, entry)),
            State::Retrying(at) => _ = self.retries.remove(&(at, ticket)),
            State::InFlight => _ = self.in_flight.remove(&ticket),
            State::Keeping | State::Waiting | State::Parked => {}
        }
        if let Some(deadline) = watched_deadline(entry) {
            self.deadlines.remove(&(deadline, ticket));
        }
    }

    /// Whether anything waits for a moment that has come.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let moments = [self.next_retry(), self.next_deadline(), self.next_held()];
        moments.into_iter().flatten().any(|at| at <= now)
    }

    /// What can be sent first.
    pub(super) fn first_ready(&self) -> Option<Ticket> {
        self.ready.first().map(|(_, ticket)| *ticket)
    }

    /// Sets aside what is ready until it may have a permit.
    pub(super) fn hold(&mut self, ticket: Ticket, entry: &Entry, until: Instant) {
        let rank = rank(ticket, entry);
        if self.ready.remove(&rank) {
            self.held.insert((until, rank));
            self.held_until.insert(rank, until);
        }
    }

    /// Puts back what was set aside until now.
    pub(super) fn release(&mut self, now: Instant) {
        while self.held.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, rank)) = self.held.pop_first() else { return };
            self.held_until.remove(&rank);
            self.ready.insert(rank);
        }
    }

    pub(super) fn next_held(&self) -> Option<Instant> {
        self.held.first().map(|(until, _)| *until)
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

    fn remove_ready(&mut self, rank: Rank) {
        if !self.ready.remove(&rank)
            && let Some(until) = self.held_until.remove(&rank)
        {
            self.held.remove(&(until, rank));
        }
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
