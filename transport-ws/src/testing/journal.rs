//! What went over the wire, in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing that happened. The newest 16 384 are kept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalEntry {
    /// A request was answered, or its connection ended instead (then the status is 0).
    #[non_exhaustive]
    Request {
        /// `GET` and so on.
        method: String,
        /// The path with its query, as it was sent.
        path: String,
        /// Whose key it carried, if it is somebody's.
        handle: Option<String>,
        /// The request's headers, in order, names in lower case.
        headers: Vec<(String, String)>,
        /// The request's body.
        body: Vec<u8>,
        /// The answer's status.
        status: u16,
    },
    /// A socket was opened.
    #[non_exhaustive]
    Opened {
        /// Counts sockets over the server's whole life, from 1.
        socket: u64,
        /// The headers of its upgrade request.
        headers: Vec<(String, String)>,
    },
    /// A client sent a text frame.
    #[non_exhaustive]
    Received {
        /// On which socket.
        socket: u64,
        /// The frame.
        text: String,
    },
    /// A text frame was queued for a client.
    #[non_exhaustive]
    Sent {
        /// On which socket.
        socket: u64,
        /// The frame.
        text: String,
    },
    /// The server closed a socket.
    #[non_exhaustive]
    Closed {
        /// Which socket.
        socket: u64,
        /// The close code; 1006 if there was no close frame.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// A socket is gone, whoever ended it.
    #[non_exhaustive]
    Gone {
        /// Which socket.
        socket: u64,
        /// The code the client closed it with, if it did.
        code: Option<u16>,
    },
}

impl fmt::Debug for JournalEntry {
    /// Without keys, bodies and addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalEntry::Request { method, path, body, status, .. } => {
                let path = path.split('?').next().unwrap_or_default();
                write!(f, "{method} {path} ({} bytes) -> {status}", body.len())
            }
            JournalEntry::Opened { socket, .. } => write!(f, "#{socket} opened"),
            JournalEntry::Received { socket, text } => write!(f, "#{socket} > {} bytes", text.len()),
            JournalEntry::Sent { socket, text } => write!(f, "#{socket} < {} bytes", text.len()),
            JournalEntry::Closed { socket, code, reason } => write!(f, "#{socket} closed {code} {reason:?}"),
            JournalEntry::Gone { socket, code } => write!(f, "#{socket} gone {code:?}"),
        }
    }
}

#[derive(Default)]
pub(crate) struct Journal {
    entries: Mutex<VecDeque<JournalEntry>>,
}

impl Journal {
    pub(crate) fn note(&self, entry: JournalEntry) {
        let mut entries = self.entries();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn all(&self) -> Vec<JournalEntry> {
        self.entries().iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.entries().clear();
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<JournalEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const KEPT: usize = 16_384;
