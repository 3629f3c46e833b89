//! What is known of a request when it comes in, and why it may be refused.

use super::record::RequestRecord;

/// What is known of a request that has come in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Met {
    /// It is new, and counts as running from now on. Store the record before anything else is done.
    New(RequestRecord),
    /// It runs: tell its sender that it is taken, and let it join the task.
    Running(RequestRecord),
    /// It is answered: send the answer again.
    Answered(RequestRecord),
}

/// Why a request was not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Its sender has used this key for another request. Its JSON-RPC error is -32600.
    #[error("the key was used for a request with another body")]
    Conflict,
    /// As many requests run as may; leave it where it is and come again.
    #[error("{running} requests run and no more may")]
    #[non_exhaustive]
    Full {
        /// How many run.
        running: usize,
    },
}
