//! How a session stands, as seen from outside.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ErrorKind};

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
    pub(crate) fn failed(error: &Error) -> Self {
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
