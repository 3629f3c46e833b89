//! What a reader of a stream says.

use bytes::Bytes;

use crate::error::Error;
use crate::task::{Event, TaskText};

/// What a reader says, in this order of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReaderItem {
    /// The peer has the request, durably. Said once, and not by every peer.
    Taken,
    /// One reply.
    Reply(Reply),
    /// A reply that stood in its place and says nothing that can be read. The stream goes on.
    #[non_exhaustive]
    Unreadable {
        /// Its number.
        seq: Option<u64>,
        /// Why.
        error: Error,
    },
    /// Read the task's snapshot and hand it to [`StreamReader::snapshot`](super::StreamReader::snapshot).
    ReadSnapshot,
    /// Replies were missed. This is the task as it was after them; it replaces what was known of it.
    #[non_exhaustive]
    Resynced {
        /// The task.
        task: TaskText,
        /// Its generation.
        generation: u64,
    },
    /// Replies of these numbers are lost, and no snapshot tells what they said. The stream goes on.
    #[non_exhaustive]
    Gap {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Nothing follows. Said exactly once.
    End(StreamEnd),
}

/// One reply, in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// What it says.
    pub event: Event,
    /// The body it was read from.
    pub body: Bytes,
    /// Its number, if its writer gives numbers.
    pub seq: Option<u64>,
    /// The task's generation, if it says one.
    pub generation: Option<u64>,
    /// Where follow-ups go, if it says so.
    pub task_inbox: Option<String>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamEnd {
    /// By its last reply.
    Last,
    /// By a snapshot that says that the task is over, or waits: the last reply was lost.
    Snapshot,
    /// Its reader gave up; the task may go on.
    Cut,
}
