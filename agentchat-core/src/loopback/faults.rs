//! What can go wrong on a loopback network, from a seed, and what kind of network it is.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How a [`Loopback`](super::Loopback) misbehaves. All chances are from 0 to 1; the default is none.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoopbackFaults {
    /// What the dice are thrown from.
    pub seed: u64,
    /// How long each send takes.
    pub latency: Duration,
    /// The chance that a message is lost on its way: the send fails as timed out.
    pub lose_request: f64,
    /// The chance that only the answer is lost: the message is stored and the send fails as timed out.
    pub lose_answer: f64,
    /// The chance that a message is stored twice.
    pub duplicate: f64,
    /// The chance, where two messages could be delivered, that the second goes before the first.
    pub reorder: f64,
    /// The chance that a send cuts the sender's attachment, before or after the message is stored.
    pub cut: f64,
    /// The chance that a message is dropped on its way to a subscription that is caught up. It stays in its
    /// inbox and its history: it leaves a hole in the numbers, and comes to the next subscription. What
    /// history does not show (fresh inboxes, messages without conversation) is not dropped.
    pub drop: f64,
    /// No fault, but another kind of network, where both sides see the numbers of a conversation: an inbox
    /// counts what its owner sends as well, receipts tell that number, and history shows those messages.
    /// Nothing on it makes holes for good: there are no priorities, no delay or ttl, no keyed state.
    pub numbered: bool,
    /// What an agent sends comes back to its own inbox as well.
    pub echo: bool,
    /// Acknowledging is [`Cumulative`](crate::AckGuarantee::Cumulative): one cursor over what was given out
    /// on a subscription, or dropped there.
    pub cursor: bool,
    /// An agent has its own inbox and can open no further one: the capability
    /// [`extra_inbox`](crate::Capabilities::extra_inbox) is off.
    pub one_inbox: bool,
}

impl Default for LoopbackFaults {
    fn default() -> Self {
        Self::seeded(0)
    }
}

impl LoopbackFaults {
    /// No fault, with dice from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            latency: Duration::ZERO,
            lose_request: 0.0,
            lose_answer: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            cut: 0.0,
            drop: 0.0,
            numbered: false,
            echo: false,
            cursor: false,
            one_inbox: false,
        }
    }

    /// Sets how long each send takes.
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the chances of losing a message and of losing only the answer to it.
    pub fn with_loss(mut self, request: f64, answer: f64) -> Self {
        (self.lose_request, self.lose_answer) = (request, answer);
        self
    }

    /// Sets the chance of storing a message twice.
    pub fn with_duplicates(mut self, chance: f64) -> Self {
        self.duplicate = chance;
        self
    }

    /// Sets the chance of delivering out of order.
    pub fn with_reordering(mut self, chance: f64) -> Self {
        self.reorder = chance;
        self
    }

    /// Sets the chance of a cut.
    pub fn with_cuts(mut self, chance: f64) -> Self {
        self.cut = chance;
        self
    }

    /// Sets the chance of dropping a message on its way to a reader.
    pub fn with_drops(mut self, chance: f64) -> Self {
        self.drop = chance;
        self
    }

    /// Makes both sides of a conversation see its numbers.
    pub fn with_numbers(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// Makes what an agent sends come back to its own inbox.
    pub fn with_echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Makes acknowledging move a cursor.
    pub fn with_cursor(mut self) -> Self {
        self.cursor = true;
        self
    }

    /// Checks that every chance is one. A network does so when an agent [connects](super::Loopback::connector).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the field and its limits.
    pub fn check(&self) -> Result<()> {
        let chances = [
            (self.lose_request, "lose_request"),
            (self.lose_answer, "lose_answer"),
            (self.duplicate, "duplicate"),
            (self.reorder, "reorder"),
            (self.cut, "cut"),
            (self.drop, "drop"),
        ];
        match chances.into_iter().find(|(chance, _)| !(0.0..=1.0).contains(chance)) {
            None => Ok(()),
            Some((chance, field)) => {
                let what = format!("`{field}` is {chance}, and must be from 0 to 1");
                Err(Error::new(ErrorKind::Invalid, "connect", what))
            }
        }
    }

    /// Leaves every agent with its one inbox.
    pub fn with_one_inbox(mut self) -> Self {
        self.one_inbox = true;
        self
    }
}
