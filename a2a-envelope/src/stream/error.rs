//! Why something was not written to a stream.

use crate::error::Error;
use crate::task::TaskError;

/// Why something was not written to a stream. Nothing of it was written then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The last reply was written, or another worker has the task now.
    #[error("the stream has ended")]
    Ended,
    /// The task does not allow it.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// It cannot be carried.
    #[error(transparent)]
    Envelope(#[from] Error),
    /// As many listen to the task as may.
    #[error("{count} listen to the task and no more may")]
    #[non_exhaustive]
    TooManySubscribers {
        /// How many listen.
        count: usize,
    },
}
