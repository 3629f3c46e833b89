//! What the parts of an attachment share: the task that has the socket, the reader, the calls.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentchat_core::{ErrorKind, MessageId, Reached, Result};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;

use super::counts::Counts;
use super::ending::Ending;
use super::fates::{Fate, Fates};
use super::keeping::Keeping;
use super::leftover::Leftover;
use super::positions::Positions;
use crate::wire::MessageRow;

/// One attachment's state. No lock is held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Messages are acknowledged one by one; without, what is written counts as delivered.
    pub(crate) acks: bool,
    inner: Mutex<Inner>,
    ended: watch::Sender<Option<Ending>>,
    /// Whether `ended` says something: asked with every message.
    is_over: AtomicBool,
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
    /// Where the server brings nothing again, and a store was given.
    pub(crate) keeping: Option<Arc<Keeping>>,
    pub(crate) counts: Arc<Counts>,
    /// What had come over earlier sockets, until the first reader has looked for what is missing behind it.
    due: Mutex<Vec<(String, u64)>>,
}

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
    ack_queue: Vec<MessageId>,
    flushed: Vec<oneshot::Sender<()>>,
    pub(crate) closing: bool,
    /// It was closed, and everything that was settled before has been told to the server.
    pub(crate) all_told: bool,
    /// A message of one's own went out: an answer may come soon.
    pub(crate) woken: bool,
    /// A call found nobody: the server may be away.
    pub(crate) suspect: bool,
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
        let (waiting, due) = match acks {
            true => Default::default(),
            false => {
                let (waiting, missed) = leftover.take();
                (waiting, positions.due(missed))
            }
        };
        let bytes = waiting.iter().map(MessageRow::len).sum();
        Self {
            acks,
            inner: Mutex::new(Inner { arrivals: waiting, bytes, ..Inner::default() }),
            ended: watch::Sender::new(None),
            is_over: AtomicBool::new(false),
            arrived: Notify::new(),
            work: Notify::new(),
            invited: Notify::new(),
            leftover,
            due: Mutex::new(due),
            positions,
            keeping: None,
            counts: Arc::default(),
        }
    }

    /// Counts what is met where others of its connector count, too.
    pub(crate) fn with_counts(mut self, counts: Arc<Counts>) -> Self {
        self.counts = counts;
        self
    }

    /// Keeps how far each conversation is settled.
    pub(crate) fn with_keeping(mut self, keeping: Option<Arc<Keeping>>) -> Self {
        self.keeping = keeping;
        self
    }

    /// Conversations to be looked at for what was lost between two sockets, and the number due in each.
    pub(crate) fn due(&self) -> Vec<(String, u64)> {
        self.lock_due().clone()
    }

    /// They were looked at: `rest` is still to be, and `unread` over the next attachment.
    pub(crate) fn looked(&self, rest: Vec<(String, u64)>, unread: Vec<(String, u64)>) {
        *self.lock_due() = rest;
        self.leftover.look_for(unread);
    }

    /// A reader leaves holes in these, which begin with these numbers: the next one is to look for them.
    pub(crate) fn still_due(&self, unfilled: Vec<(String, u64)>) {
        self.lock_due().extend(unfilled);
    }

    fn lock_due(&self) -> MutexGuard<'_, Vec<(String, u64)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what nobody reads here any more for the next attachment. An attachment takes over what the one before
    /// it left, and reads no more from its socket while that is much.
    pub(crate) fn salvage(&self) {
        if self.acks {
            return;
        }
        self.leftover.look_for(std::mem::take(&mut *self.lock_due()));
        let mut rows = self.take_arrivals();
        {
            // One that came twice may be settled by now.
            let inner = self.inner();
            rows.retain(|row| row.id().is_none_or(|id| inner.fates.of(id) != Some(Fate::Settled)));
        }
        self.counts.unkept(self.leftover.keep(rows));
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages came over the socket.
    pub(crate) fn arrive(&self, rows: &mut Vec<MessageRow>) {
        if !self.acks {
            self.positions.arrived(rows.iter().filter_map(MessageRow::place));
        }
        let mut inner = self.inner();
        for row in rows.drain(..) {
            self.keep(&mut inner, row);
        }
        drop(inner);
        self.arrived.notify_one();
    }

    fn keep(&self, inner: &mut Inner, row: MessageRow) {
        inner.count += 1;
        if self.acks {
            // Everything is on the server until it is acknowledged, so nothing is lost by leaving it there.
            let drained = row.delivery_id().is_some() && inner.reading == Reads::Backlog;
            if inner.reading == Reads::Nothing {
                return;
            }
            if drained || inner.missed || inner.is_overfull() {
                inner.missed = true;
                return;
            }
        }
        inner.bytes += row.len();
        inner.arrivals.push_back(row);
    }

    /// Whether there is room for what the socket brings. Where what is written counts as delivered, it is
    /// left unread while there is none, else for a while: the server holds back then.
    pub(crate) fn has_room(&self) -> bool {
        let inner = self.inner();
        let is_kept = !self.acks || (inner.reading != Reads::Nothing && !inner.missed);
        !(is_kept && inner.is_full())
    }

    /// Puts back what a reader took and did not hand out.
    pub(crate) fn put_back(&self, rows: impl DoubleEndedIterator<Item = MessageRow>) {
        let mut inner = self.inner();
        for row in rows.rev() {
            inner.bytes += row.len();
            inner.arrivals.push_front(row);
        }
    }

    pub(crate) fn take_arrivals(&self) -> VecDeque<MessageRow> {
        let mut taken = VecDeque::new();
        self.swap_arrivals(&mut taken);
        taken
    }

    /// Takes what has arrived. `taken` must be empty: what arrives next is put into its memory.
    pub(crate) fn swap_arrivals(&self, taken: &mut VecDeque<MessageRow>) {
        let mut inner = self.inner();
        inner.bytes = 0;
        std::mem::swap(&mut inner.arrivals, taken);
        drop(inner);
        if !taken.is_empty() {
            self.work.notify_one();
        }
    }

    pub(crate) fn take_sent(&self) -> VecDeque<(String, u64)> {
        std::mem::take(&mut self.inner().sent)
    }

    /// A message of one's own was given this number.
    pub(crate) fn note_own(&self, conversation: &str, seq: u64) {
        self.note_sent(conversation, seq);
        if let Some(keeping) = &self.keeping {
            keeping.sent(conversation, seq);
        }
    }

    fn note_sent(&self, conversation: &str, seq: u64) {
        let mut inner = self.inner();
        if inner.reading == Reads::Nothing {
            return;
        }
        inner.woken = true;
        if inner.sent.len() == SENT {
            inner.sent.pop_front();
        }
        inner.sent.push_back((conversation.to_owned(), seq));
        drop(inner);
        self.arrived.notify_one();
        self.work.notify_one();
    }

    /// These are settled. Where that is acknowledged, the socket's task writes it, together with that of other
    /// calls.
    pub(crate) fn settle(&self, ids: &[&str]) {
        let mut inner = self.inner();
        for id in ids {
            let settled = inner.fates.settle(id);
            if self.acks {
                inner.ack_queue.extend(settled);
            }
        }
        drop(inner);
        self.arrived.notify_one();
        if self.acks && !ids.is_empty() {
            self.work.notify_one();
        }
    }

    /// Queues acknowledgements.
    pub(crate) fn queue_acks(&self, ids: impl IntoIterator<Item = MessageId>) {
        self.inner().ack_queue.extend(ids);
        self.work.notify_one();
    }

    /// The receiver hears when all that was queued has been written.
    pub(crate) fn flushed(&self) -> oneshot::Receiver<()> {
        let (told, flushed) = oneshot::channel();
        self.inner().flushed.push(told);
        self.work.notify_one();
        flushed
    }

    /// What is to be written: ids, and who waits for it.
    pub(crate) fn take_acks(&self) -> (Vec<MessageId>, Vec<oneshot::Sender<()>>) {
        let mut inner = self.inner();
        (std::mem::take(&mut inner.ack_queue), std::mem::take(&mut inner.flushed))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
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
        self.is_over.store(true, Ordering::Release);
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
            answer = call => {
                if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Disconnected) {
                    self.inner().suspect = true;
                    self.work.notify_one();
                }
                answer
            }
        }
    }
}

impl Inner {
    fn is_full(&self) -> bool {
        self.arrivals.len() >= ROWS || self.bytes >= BYTES
    }

    /// The socket is read in batches, and one that has begun is kept.
    fn is_overfull(&self) -> bool {
        self.arrivals.len() >= ROWS + AT_ONCE || self.bytes >= BYTES + BYTES / 2
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

/// Rows that are taken from the socket before others have their turn.
pub(crate) const AT_ONCE: usize = 64;
/// Rows that have arrived and not been looked at by the reader.
const ROWS: usize = 1024;
/// The same in bytes.
const BYTES: usize = 8 * 1024 * 1024;
/// Numbers of one's own messages that the reader has not looked at.
const SENT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_holds_back_unless_its_rows_are_left_on_the_server() {
        let shared = |acks| Shared::new(acks, Leftover::default(), Positions::default());
        let fill = |shared: &Shared| shared.arrive(&mut vec![MessageRow::default(); ROWS]);
        let acked = shared(true);
        fill(&acked);
        assert!(acked.has_room(), "nobody reads: nothing is kept");
        acked.inner().reading = Reads::Live;
        fill(&acked);
        assert!(!acked.has_room());
        acked.arrive(&mut vec![MessageRow::default(); AT_ONCE]);
        assert!(!acked.inner().missed, "a batch that was begun before is kept");
        acked.arrive(&mut vec![MessageRow::default()]);
        assert!(acked.inner().missed && acked.has_room(), "left there from now on");
        let unacked = shared(false);
        fill(&unacked);
        assert!(!unacked.has_room());
        unacked.swap_arrivals(&mut VecDeque::new());
        assert!(unacked.has_room());
    }
}
