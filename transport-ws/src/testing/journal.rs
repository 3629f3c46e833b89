//! What went over the wire, in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing that happened. The newest 16 384 are kept, and no more than 64 MiB of them.
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
    /// An attempt to hand an event to a webhook has ended.
    #[non_exhaustive]
    Webhook {
        /// Which delivery; the same for all of its attempts.
        delivery: String,
        /// The event's name.
        event: String,
        /// Whether it was answered with 2xx in time.
        accepted: bool,
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
            JournalEntry::Webhook { event, accepted, .. } => write!(f, "webhook {event} {accepted}"),
            JournalEntry::Gone { socket, code } => write!(f, "#{socket} gone {code:?}"),
        }
    }
}

#[derive(Default)]
pub(crate) struct Journal {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<JournalEntry>,
    bytes: usize,
}

impl Journal {
    pub(crate) fn note(&self, entry: JournalEntry) {
        let mut kept = self.kept();
        kept.bytes += entry.size();
        kept.entries.push_back(entry);
        while kept.entries.len() > MAX_ENTRIES || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.entries.pop_front() else { return };
            kept.bytes -= oldest.size();
        }
    }

    pub(crate) fn all(&self) -> Vec<JournalEntry> {
        self.kept().entries.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JournalEntry {
    /// What it weighs, roughly: only what can be long counts.
    fn size(&self) -> usize {
        match self {
            JournalEntry::Request { path, body, .. } => path.len() + body.len(),
            JournalEntry::Received { text, .. } | JournalEntry::Sent { text, .. } => text.len(),
            _ => 0,
        }
    }
}

const MAX_ENTRIES: usize = 16_384;
const MAX_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{Journal, JournalEntry, MAX_BYTES, MAX_ENTRIES};

    fn sent(socket: u64, length: usize) -> JournalEntry {
        JournalEntry::Sent { socket, text: "x".repeat(length) }
    }

    #[test]
    fn the_journal_forgets_the_oldest_by_number_and_by_size() {
        let journal = Journal::default();
        for socket in 0..MAX_ENTRIES as u64 + 5 {
            journal.note(sent(socket, 1));
        }
        let all = journal.all();
        assert_eq!((all.len(), all[0].clone()), (MAX_ENTRIES, sent(5, 1)));
        journal.note(sent(1, MAX_BYTES / 2));
        journal.note(sent(2, MAX_BYTES / 2));
        assert_eq!(journal.all().len(), 2);
    }
}
