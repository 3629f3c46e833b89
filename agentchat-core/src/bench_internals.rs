//! The session's machines, as the project's figures run them. No part of the crate's promises: this module
//! may change or go in any release.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::dedup::{Dedup, Seen};
use crate::delivery::{Receipt, SendOutcome};
use crate::id::ConversationId;
use crate::message::Outbound;
use crate::session::backoff::BackoffPolicy;
use crate::session::order::{Order, OrderAction, OrderLimits};
use crate::session::outbox::{Action, Outbox, OutboxLimits, Outcome};

/// A window of settled ids.
#[derive(Debug)]
pub struct DedupBench(Dedup, Instant);

impl DedupBench {
    /// A window of up to `capacity` ids.
    pub fn new(capacity: usize) -> Self {
        Self(Dedup::new(capacity, Duration::from_secs(24 * 3600)), Instant::now())
    }

    /// Meets a new id and settles it, forgetting the oldest one when the window is full.
    pub fn step(&mut self, id: &str) {
        let id = self.0.mark(id);
        assert_eq!(self.0.observe(id, self.1), Seen::New);
        self.0.settle(id, self.1);
    }
}

/// Conversations in order.
#[derive(Debug)]
pub struct OrderBench(Order<usize>, Instant);

impl OrderBench {
    /// Remembers up to `conversations`, and its backlog has been read.
    pub fn new(conversations: usize) -> Self {
        let now = Instant::now();
        let mut order = Order::new(OrderLimits { conversations, ..OrderLimits::default() });
        order.end_catch_up(now);
        Self(order, now)
    }

    /// Takes in the row that is due: it passes.
    pub fn step(&mut self, conversation: &ConversationId, seq: u64) {
        self.0.row(conversation, seq, 0, self.1);
        assert_eq!(self.0.poll(), Some(OrderAction::Pass { item: 0, late: false }));
    }
}

/// A queue of messages on their way out, with a connection.
#[derive(Debug)]
pub struct OutboxBench(Outbox, fastrand::Rng, Instant);

impl OutboxBench {
    /// A queue for up to `messages`, with one attempt under way at a time.
    pub fn new(messages: usize) -> Self {
        let limits = OutboxLimits::new().with_max_messages(messages).with_max_bytes(usize::MAX / 2);
        let mut outbox = Outbox::new(limits.with_in_flight(1), BackoffPolicy::default(), true);
        outbox.on_connected();
        Self(outbox, fastrand::Rng::with_seed(1), Instant::now())
    }

    /// Queues `message`.
    pub fn push(&mut self, message: Outbound) {
        assert!(self.0.push(message, self.2, SystemTime::UNIX_EPOCH).is_ok(), "there is room");
    }

    /// Queues `message` behind the others, begins to send the first of them, and takes its receipt.
    pub fn step(&mut self, message: Outbound) {
        self.push(message);
        let Some(Action::Start(attempt)) = self.0.poll(self.2) else { panic!("the window is free") };
        let receipt = Ok(Receipt::new(SendOutcome::Deferred));
        let outcome = self.0.on_result(attempt.ticket, attempt.number, receipt, self.2, &mut self.1);
        assert!(matches!(outcome, Outcome::Accepted(_)));
    }
}
