//! How a session stands, as seen from outside.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Reached};
use crate::message::Outbound;

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// A connection is being made.
    Connecting,
    /// There is a connection, and what waited in the agent's own inbox is being read.
    CatchingUp,
    /// There is a connection, and nothing old is left to read.
    Live,
    /// The last attempt failed, or the connection was lost; the next attempt is made then.
    BackingOff {
        /// Failures in a row.
        attempt: u32,
        /// When the next attempt is made.
        until: Instant,
    },
    /// It was told to close: nothing new is taken in, what is queued is being sent.
    Draining,
    /// It has ended for good.
    Closed(CloseReason),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was closed by its owner, or its last handle was dropped.
    Requested,
    /// Connecting cannot help, or was given up; or the session's own task ended before its time, because
    /// something below it panicked or its runtime was shut down.
    Failed {
        /// What kind of error ended it.
        kind: ErrorKind,
        /// That error in a line.
        what: Arc<str>,
    },
}

impl CloseReason {
    pub(super) fn failed(error: &Error) -> Self {
        Self::Failed { kind: error.kind(), what: error.to_string().into() }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("it was closed"),
            Self::Failed { what, .. } => f.write_str(what),
        }
    }
}

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
