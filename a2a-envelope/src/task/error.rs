//! Why something was not done to a task.

use super::state::TaskState;

/// Why something was not done to a task.
///
/// [`code`](Self::code) is the JSON-RPC error that tells a caller. `Display` is one line and prints no
/// message, address or id; of a storage it says what that said, so to peers and observers only
/// [`public_text`](TaskError::public_text) is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// There is no such task.
    #[error("there is no such task")]
    NotFound,
    /// The task changed since it was read, or since the state that was answered. Read it again.
    #[error("the task is at generation {found}, not {expected}: somebody changed it meanwhile")]
    #[non_exhaustive]
    Stale {
        /// The generation that was expected; 0 for a task that was to be new.
        expected: u64,
        /// The generation found.
        found: u64,
    },
    /// The task is over; a further message needs a new task in the same context.
    #[error("the task is over ({state}): ask again with a new task in its context")]
    #[non_exhaustive]
    Over {
        /// Its final state.
        state: TaskState,
    },
    /// The task is over, so it cannot be called off.
    #[error("the task is over ({state}): it cannot be canceled")]
    #[non_exhaustive]
    NotCancelable {
        /// Its final state.
        state: TaskState,
    },
    /// The task is being worked on and takes no message now.
    #[error("the task is {state}; it takes a message when it asks for one")]
    #[non_exhaustive]
    Busy {
        /// Its state.
        state: TaskState,
    },
    /// The task is not being worked on, so nothing can be said in its name.
    #[error("the task is {state} and no request is open")]
    #[non_exhaustive]
    NoOpenRequest {
        /// Its state.
        state: TaskState,
    },
    /// A state may not follow the one the task is in.
    #[error("a task cannot go from {from} to {to}")]
    #[non_exhaustive]
    Transition {
        /// The state it is in.
        from: TaskState,
        /// The state that was asked for.
        to: TaskState,
    },
    /// A message names another context than its task has.
    #[error("the message names another context than its task's")]
    OtherContext,
    /// An event belongs to another task.
    #[error("the event belongs to another task")]
    OtherTask,
    /// The task would hold more than allowed.
    #[error("the task would hold {found} bytes; the most is {allowed}")]
    #[non_exhaustive]
    TooLarge {
        /// What is allowed, in bytes.
        allowed: usize,
        /// What it would hold.
        found: usize,
    },
    /// The store holds as many tasks as it may, and none of them is over.
    #[error("{count} tasks are stored and no more fit")]
    #[non_exhaustive]
    Full {
        /// How many there are.
        count: usize,
    },
    /// A stored task is of a version not known here.
    #[error("the stored task is of version {found}; versions up to {known} are known here")]
    #[non_exhaustive]
    Version {
        /// The version it names.
        found: u64,
        /// The newest known here.
        known: u64,
    },
    /// A stored task cannot be read.
    #[error("the stored task is damaged: {0}")]
    Damaged(&'static str),
    /// The storage failed; the change was made or not made, so repeat it.
    #[error("the storage failed: {0}")]
    Storage(String),
    /// This store lists no tasks.
    #[error("tasks are not listed here")]
    Unlisted,
    /// An id is empty, longer than 256 bytes, or has control characters.
    #[error("an id is empty, longer than 256 bytes, or has control characters")]
    Id,
}

impl TaskError {
    /// The JSON-RPC error code that A2A has for it.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NotFound => -32001,
            Self::NotCancelable { .. } => -32002,
            Self::Over { .. } | Self::Busy { .. } | Self::NoOpenRequest { .. } | Self::Unlisted => -32004,
            Self::Stale { .. } => -32010,
            Self::OtherContext | Self::OtherTask | Self::Id => -32602,
            Self::TooLarge { .. } => -32600,
            Self::Transition { .. }
            | Self::Full { .. }
            | Self::Version { .. }
            | Self::Damaged(_)
            | Self::Storage(_) => -32603,
        }
    }

    /// What a peer or an observer is told of it: of a failure on this side only its kind.
    #[must_use]
    pub fn public_text(&self) -> String {
        match self {
            Self::Storage(_) => "the storage failed".to_owned(),
            Self::Version { .. } | Self::Damaged(_) => "the stored task cannot be read".to_owned(),
            Self::Full { .. } => "no more tasks fit".to_owned(),
            told => told.to_string(),
        }
    }

    /// A2A's name of it, for `reason` in the error's details.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "TASK_NOT_FOUND",
            Self::NotCancelable { .. } => "TASK_NOT_CANCELABLE",
            Self::Over { .. } | Self::Busy { .. } | Self::NoOpenRequest { .. } | Self::Unlisted => {
                "UNSUPPORTED_OPERATION"
            }
            Self::Stale { .. } => "TASK_GENERATION_MISMATCH",
            Self::OtherContext | Self::OtherTask | Self::Id | Self::TooLarge { .. } => "INVALID_REQUEST",
            _ => "INTERNAL",
        }
    }
}
