//! What a session has done and holds, as seen from outside. How it stands is in `session::lifecycle`.

use crate::error::{Error, Reached};
use crate::message::Outbound;

/// What has happened in a session, and what it holds. The counts of an inbox begin with its subscription
/// and go on over its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Connections made.
    pub connects: u64,
    /// Messages that arrived, repetitions included.
    pub received: u64,
    /// Messages handed to subscriptions.
    pub delivered: u64,
    /// Repetitions that were not handed out.
    pub duplicates: u64,
    /// The agent's own messages that were not handed out.
    pub self_filtered: u64,
    /// Messages handed out after others of their conversation with higher numbers.
    pub late: u64,
    /// Gaps in the numbers that were given up: each was an [`Event::Gap`](crate::Event::Gap).
    pub gaps: u64,
    /// Holes in the numbers that were filled in time, by history or by what came after all.
    pub gaps_filled: u64,
    /// Messages in the outbox, those under way and parked ones included.
    pub queued_messages: usize,
    /// What they take of the outbox, in bytes.
    pub queued_bytes: usize,
    /// Attempts to send that are under way.
    pub in_flight: usize,
    /// Messages that were given up while nobody waited for them.
    pub parked: usize,
    /// Messages that were taken in and not settled.
    pub unsettled: usize,
}

/// A message that could not be sent while nobody waited for it. It holds back the later ones of its
/// conversation until it is resumed or discarded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parked {
    /// The message.
    pub message: Outbound,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether any attempt may have arrived.
    pub reached: Reached,
    /// Why the last attempt failed.
    pub error: Option<Error>,
}
