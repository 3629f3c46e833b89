//! What came of a reply or of a moment, told to the driver of the calls.

use crate::envelope::Envelope;
use crate::stream::ReaderItem;

/// Whose a reply was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// Of a call that is open: what follows from it.
    #[non_exhaustive]
    Call {
        /// The call's correlation id.
        id: String,
        /// What its reader said.
        items: Vec<ReaderItem>,
    },
    /// Of a call that ended or timed out before. What a call that timed out hears is kept with it.
    #[non_exhaustive]
    Late {
        /// The call's correlation id.
        id: String,
        /// What its reader said; nothing if it had ended.
        items: Vec<ReaderItem>,
    },
    /// Of no call known here.
    Foreign(Envelope),
}

/// What became due.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallDue {
    /// What a call's reader said.
    Items(Vec<ReaderItem>),
    /// Its deadline passed. It can be read by its id for a while, and late replies are added to it.
    TimedOut,
}

/// Why a call was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A call of this correlation id is known.
    #[error("a call of this correlation id is known")]
    Exists,
    /// As many calls are open as may.
    #[error("{open} calls are open and no more may")]
    #[non_exhaustive]
    Full {
        /// How many are open.
        open: usize,
    },
}
