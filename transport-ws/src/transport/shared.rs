//! What the parts of an attachment share: the task that has the socket, the reader, the calls.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentchat_core::{Reached, Result};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;

use super::ending::Ending;
use super::fates::Fates;
use super::positions::Positions;
use crate::wire::MessageRow;

/// One attachment's state. No lock is held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Messages are acknowledged one by one; without, what is written counts as delivered.
    pub(crate) acks: bool,
    inner: Mutex<Inner>,
    ended: watch::Sender<Option<Ending>>,
    /// Something happened that the reader looks at.
    pub(crate) arrived: Notify,
    /// Something is to be written, or there is room again.
    pub(crate) work: Notify,
    /// There may be invitations to groups that have not been seen.
    pub(crate) invited: Notify,
    /// Where rows go that were written to this attachment and read by nobody, when the server will not
    /// bring them again.
    leftover: Leftover,
    positions: Positions,
    /// What had come over earlier sockets, until the first reader has looked for what is missing behind it.
    due: Mutex<Vec<(String, u64)>>,
}

/// Rows that wait for the next attachment of the same connector.
pub(crate) type Leftover = Arc<Mutex<VecDeque<MessageRow>>>;

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) arrivals: VecDeque<MessageRow>,
    bytes: usize,
    /// Counts arrivals, also those that were not kept.
    pub(crate) count: u64,
    /// The number of the reader that reads; the newest takes over.
    pub(crate) reader: u64,
    pub(crate) reading: Reads,
    /// Something was not kept that the server has still: it is to be asked for.
    pub(crate) missed: bool,
    /// Numbers of one's own messages.
    pub(crate) sent: VecDeque<(String, u64)>,
    pub(crate) fates: Fates,
    ack_queue: Vec<String>,
    flushed: Vec<oneshot::Sender<()>>,
    pub(crate) closing: bool,
}

/// What the reader is at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// There is none.
    #[default]
    Nothing,
    /// It reads by REST what waited.
    Backlog,
    Live,
}

/// Ends the socket's task with the last handle of transport and subscriptions.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) AbortHandle);

impl Shared {
    pub(crate) fn new(acks: bool, leftover: Leftover, positions: Positions) -> Self {
        let waiting = match acks {
            true => VecDeque::new(),
            false => std::mem::take(&mut *leftover.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let bytes = waiting.iter().map(|row| row.json_text().len()).sum();
        Self {
            acks,
            inner: Mutex::new(Inner { arrivals: waiting, bytes, ..Inner::default() }),
            ended: watch::Sender::new(None),
            arrived: Notify::new(),
            work: Notify::new(),
            invited: Notify::new(),
            leftover,
            due: Mutex::new(if acks { Vec::new() } else { positions.due() }),
            positions,
        }
    }

    /// Conversations to be looked at for what was lost between two sockets, and the number due in each.
    pub(crate) fn take_due(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// They could not be looked at.
    pub(crate) fn give_back_due(&self, due: Vec<(String, u64)>) {
        self.positions.back_to(due);
    }

    /// Keeps what nobody reads here any more for the next attachment.
    pub(crate) fn salvage(&self) {
        if self.acks {
            return;
        }
        self.positions.back_to(self.take_due());
        let rows = self.take_arrivals();
        let mut leftover = self.leftover.lock().unwrap_or_else(PoisonError::into_inner);
        let room = ROWS.saturating_sub(leftover.len());
        leftover.extend(rows.into_iter().take(room));
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message came over the socket.
    pub(crate) fn arrive(&self, row: MessageRow) {
        let mut inner = self.inner();
        inner.count += 1;
        if self.acks {
            // Everything is on the server until it is acknowledged, so nothing is lost by leaving it there.
            let drained = row.delivery_id().is_some() && inner.reading == Reads::Backlog;
            if inner.reading == Reads::Nothing {
                return;
            }
            if drained || inner.missed || inner.is_full() {
                inner.missed = true;
                drop(inner);
                self.arrived.notify_one();
                return;
            }
        }
        if let (false, Some(conversation), Some(seq)) = (self.acks, row.conversation_id(), row.seq()) {
            self.positions.arrived(conversation, seq);
        }
        inner.bytes += row.json_text().len();
        inner.arrivals.push_back(row);
        drop(inner);
        self.arrived.notify_one();
    }

    /// Whether the socket may be read. Where what is written counts as delivered, it is left unread while
    /// there is no room: the server holds back then.
    pub(crate) fn has_room(&self) -> bool {
        self.acks || !self.inner().is_full()
    }

    /// Puts back what a reader took and did not hand out.
    pub(crate) fn put_back(&self, rows: impl DoubleEndedIterator<Item = MessageRow>) {
        let mut inner = self.inner();
        for row in rows.rev() {
            inner.bytes += row.json_text().len();
            inner.arrivals.push_front(row);
        }
    }

    pub(crate) fn take_arrivals(&self) -> VecDeque<MessageRow> {
        let mut inner = self.inner();
        inner.bytes = 0;
        let taken = std::mem::take(&mut inner.arrivals);
        drop(inner);
        self.work.notify_one();
        taken
    }

    pub(crate) fn take_sent(&self) -> VecDeque<(String, u64)> {
        std::mem::take(&mut self.inner().sent)
    }

    /// A message of one's own was given this number.
    pub(crate) fn note_sent(&self, conversation: &str, seq: u64) {
        let mut inner = self.inner();
        if inner.reading == Reads::Nothing {
            return;
        }
        if inner.sent.len() == SENT {
            inner.sent.pop_front();
        }
        inner.sent.push_back((conversation.to_owned(), seq));
        drop(inner);
        self.arrived.notify_one();
    }

    /// Queues acknowledgements. The receiver hears when they have been written.
    pub(crate) fn queue_acks(&self, ids: impl IntoIterator<Item = String>) -> oneshot::Receiver<()> {
        let (told, flushed) = oneshot::channel();
        let mut inner = self.inner();
        inner.ack_queue.extend(ids);
        inner.flushed.push(told);
        drop(inner);
        self.work.notify_one();
        flushed
    }

    /// What is to be written: ids, and who waits for it.
    pub(crate) fn take_acks(&self) -> (Vec<String>, Vec<oneshot::Sender<()>>) {
        let mut inner = self.inner();
        (std::mem::take(&mut inner.ack_queue), std::mem::take(&mut inner.flushed))
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ended.borrow().clone()
    }

    /// The attachment is over; only the first reason counts.
    pub(crate) fn end(&self, ending: Ending) {
        self.ended.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(ending);
            }
            first
        });
        self.arrived.notify_one();
        self.work.notify_one();
    }

    /// Returns once the attachment is over. Cancel-safe.
    pub(crate) async fn ended(&self) -> Ending {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await.map(|ending| ending.clone()) {
            Ok(Some(ending)) => ending,
            _ => Ending::Closed,
        }
    }

    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        match self.ending() {
            Some(ending) => Err(ending.error(operation, Reached::No)),
            None => Ok(()),
        }
    }

    /// Makes a call for as long as the attachment stands.
    pub(crate) async fn under<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.check(operation)?;
        tokio::select! {
            biased;
            ending = self.ended() => Err(ending.error(operation, Reached::Unknown)),
            answer = call => answer,
        }
    }
}

impl Inner {
    fn is_full(&self) -> bool {
        self.arrivals.len() >= ROWS || self.bytes >= BYTES
    }

    pub(crate) fn is_window_full(&self) -> bool {
        self.is_full()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.salvage();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Rows that have arrived and not been looked at by the reader.
const ROWS: usize = 1024;
/// The same in bytes.
const BYTES: usize = 8 * 1024 * 1024;
/// Numbers of one's own messages that the reader has not looked at.
const SENT: usize = 4096;
