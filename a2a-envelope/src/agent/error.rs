//! Why a call, or something a handler wanted, did not go well.

use agentchat_core::ErrorKind;

use crate::error::Error;

/// Why a call, or something a handler wanted, did not go well.
///
/// `Display` is one line and prints no body and no whole address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum A2aError {
    /// The network.
    #[error(transparent)]
    Network(#[from] agentchat_core::Error),
    /// Something could not be carried, or not be read.
    #[error(transparent)]
    Envelope(#[from] Error),
    /// The peer answered with an error.
    #[error("the peer refused ({code}): {message}")]
    #[non_exhaustive]
    Refused {
        /// The JSON-RPC code.
        code: i64,
        /// What the peer says.
        message: String,
    },
    /// The deadline of the call passed. It can be read by its id for a while.
    #[error("no last reply came before the deadline")]
    #[non_exhaustive]
    TimedOut {
        /// The call's correlation id.
        id: String,
    },
    /// The stream was cut before its end; the task may go on.
    #[error("the replies were cut off before the last one")]
    Cut,
    /// A call under this id is open, or too many are.
    #[error(transparent)]
    Call(#[from] crate::call::CallError),
    /// The task does not take it.
    #[error(transparent)]
    Task(#[from] crate::task::TaskError),
}

impl A2aError {
    /// The JSON-RPC code of a peer's refusal.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Network(error) => error.kind() == ErrorKind::Timeout,
            _ => false,
        }
    }
}
