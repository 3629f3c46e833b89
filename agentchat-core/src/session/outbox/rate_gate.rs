//! What waits because there is no permit to send it.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{Outbox, Ticket};
use crate::session::rate::{Limited, Rate, RateLimits};

/// Permits, and what came of asking for them.
#[derive(Debug)]
pub(super) struct RateGate {
    rate: Rate,
    /// The agent as a whole has no permit before this.
    shut: Option<Instant>,
    refusals: VecDeque<Limited>,
}

impl RateGate {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self { rate: Rate::new(limits), shut: None, refusals: VecDeque::new() }
    }

    /// When it opens, if it is shut.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.shut
    }

    /// Whether there is any limit.
    pub(super) fn is_limited(&self) -> bool {
        self.rate.is_limited()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.shut = self.shut.filter(|at| *at > now);
    }
}

impl Outbox {
    /// The same under these limits, which have been checked. Attempts that repeat a message count, too.
    /// What has no permit keeps its place and holds up nothing that has one.
    pub(crate) fn with_rate(mut self, limits: RateLimits) -> Self {
        self.gate = RateGate::new(limits);
        self
    }

    /// A permit that was lacking since this was asked last, the oldest first.
    pub(crate) fn take_refusal(&mut self) -> Option<Limited> {
        self.gate.refusals.pop_front()
    }

    /// What can be sent first and has a permit, which is spent with this.
    pub(super) fn first_permitted(&mut self, now: Instant) -> Option<Ticket> {
        if self.gate.shut.is_some() {
            return None;
        }
        loop {
            let ticket = self.agenda.first_ready()?;
            let entry = self.entries.get(ticket.0)?;
            let Err(limited) = self.gate.rate.take(entry.message.conversation.as_ref(), now) else {
                return Some(ticket);
            };
            if self.gate.refusals.len() < REFUSALS {
                self.gate.refusals.push_back(limited);
            }
            match limited {
                Limited::Agent(at) => {
                    self.gate.shut = Some(at);
                    return None;
                }
                Limited::Conversation(at) => self.agenda.hold(ticket, entry, at),
            }
        }
    }
}

/// How many refusals are kept for whoever asks.
const REFUSALS: usize = 64;

#[cfg(test)]
mod tests;
