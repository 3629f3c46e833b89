//! What a consumer's handles and its driver share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::error::{Error, ErrorKind, Result};
use crate::message::MsgId;

use super::delivered::Delivered;
use super::desk::Desk;
use super::stats::ConsumerStats;
use super::stream::Closed;

/// One consumer's exchange: rows one way, settlements and wishes the other.
///
/// Every list in it is bounded: rows and settlements by the consumer's budget, wishes by the calls
/// that wait for them.
#[derive(Debug)]
pub(crate) struct Shared {
    key: u64,
    desk: Arc<Desk>,
    abandoned: AtomicBool,
    caught_up: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inbox: VecDeque<Delivered>,
    reader: Option<Waker>,
    settled: Vec<MsgId>,
    retries: Vec<(MsgId, Duration)>,
    flushes: Vec<oneshot::Sender<Result<()>>>,
    closes: Vec<CloseWish>,
    /// Nothing more is to be handed out.
    stopped: bool,
    woken: bool,
    /// The driver looks by itself before long.
    soon: bool,
    /// So many settlements are worth waking the driver for.
    wanted: usize,
    end: Option<Error>,
    /// Why it is over, and what was left, for calls that come later.
    over: Option<Error>,
    left: Closed,
    caught_up: bool,
    stats: ConsumerStats,
}

/// A wish to close: what the stream held and nobody can settle any more, whether and until when to wait for the rest, and whom
/// to tell.
#[derive(Debug)]
pub(crate) struct CloseWish {
    pub(crate) withdrawn: Vec<MsgId>,
    pub(crate) waits: bool,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Closed>,
}

/// What the driver expects of a consumer next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    /// So many settlements are worth waking it for.
    pub(crate) wanted: usize,
    /// It looks by itself before long.
    pub(crate) soon: bool,
    /// What was stored at the beginning has been taken.
    pub(crate) caught_up: bool,
    pub(crate) stats: ConsumerStats,
}

/// What the handles said since the driver last looked.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) settled: Vec<MsgId>,
    pub(crate) retries: Vec<(MsgId, Duration)>,
    pub(crate) flushes: Vec<oneshot::Sender<Result<()>>>,
    pub(crate) closes: Vec<CloseWish>,
    pub(crate) withdrawn: Vec<MsgId>,
    pub(crate) stopped: bool,
}

impl Shared {
    pub(crate) fn new(key: u64, desk: Arc<Desk>) -> Self {
        Self {
            key,
            desk,
            abandoned: AtomicBool::new(false),
            caught_up: watch::Sender::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    // For the handles.

    /// Refills `batch`; `None` at the end of the stream.
    pub(crate) fn poll_batch(
        &self,
        batch: &mut VecDeque<Delivered>,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<()>>> {
        let mut state = self.lock();
        if !state.stopped && !state.inbox.is_empty() {
            std::mem::swap(&mut state.inbox, batch);
            return Poll::Ready(Some(Ok(())));
        }
        if let Some(error) = state.end.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if state.stopped || state.over.is_some() {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn settle(&self, id: MsgId) {
        let mut state = self.lock();
        if state.over.is_none() {
            state.settled.push(id);
            self.wake_for_settlements(&mut state);
        }
    }

    pub(crate) fn settle_all(&self, ids: impl IntoIterator<Item = MsgId>) {
        let mut state = self.lock();
        if state.over.is_none() {
            state.settled.extend(ids);
            self.wake_for_settlements(&mut state);
        }
    }

    pub(crate) fn retry(&self, id: MsgId, after: Duration) {
        let mut state = self.lock();
        if state.over.is_none() {
            state.retries.push((id, after));
            self.wake(&mut state);
        }
    }

    pub(crate) fn flush(&self) -> Result<oneshot::Receiver<Result<()>>> {
        let mut state = self.lock();
        if let Some(error) = &state.over {
            return Err(error.duplicate());
        }
        let (told, answer) = oneshot::channel();
        state.flushes.push(told);
        self.wake(&mut state);
        Ok(answer)
    }

    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        self.wake(&mut state);
    }

    /// Stops, taking back what was not handed out; `batch` is what the stream still held.
    pub(crate) fn close(&self, batch: &VecDeque<Delivered>, deadline: Instant) -> oneshot::Receiver<Closed> {
        self.end_wish(batch.iter().map(Delivered::id).collect(), true, deadline)
    }

    /// Stops, and tells the broker what is settled, as far as it can be.
    pub(crate) fn finish(&self, deadline: Instant) -> oneshot::Receiver<Closed> {
        self.end_wish(Vec::new(), false, deadline)
    }

    fn end_wish(&self, held: Vec<MsgId>, waits: bool, deadline: Instant) -> oneshot::Receiver<Closed> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        state.stopped = true;
        if state.over.is_some() {
            // It ended before: what was left then is the answer.
            let _ = answer.send(state.left.clone());
            return answered;
        }
        state.closes.push(CloseWish { withdrawn: held, waits, deadline, answer });
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        self.wake(&mut state);
        answered
    }

    /// The stream is gone: no further FETCH.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        let mut state = self.lock();
        state.stopped = true;
        state.inbox = VecDeque::new();
        self.wake(&mut state);
    }

    /// Waits until what was stored at the beginning has been handed to the stream.
    pub(crate) async fn caught_up(&self) -> Result<()> {
        let mut caught_up = self.caught_up.subscribe();
        // The sender lives as long as `self`, so only a change or the end can come; both are marked there.
        let _ = caught_up.wait_for(|marked| *marked).await;
        let state = self.lock();
        match &state.over {
            Some(error) if !state.caught_up => Err(error.duplicate()),
            _ => Ok(()),
        }
    }

    pub(crate) fn stats(&self) -> ConsumerStats {
        self.lock().stats
    }

    // For the driver.

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Takes what the handles said; `said` comes with empty lists, whose room is reused.
    pub(crate) fn listen(&self, said: &mut Said) {
        let mut state = self.lock();
        state.woken = false;
        std::mem::swap(&mut state.settled, &mut said.settled);
        std::mem::swap(&mut state.retries, &mut said.retries);
        said.flushes.append(&mut state.flushes);
        said.closes.append(&mut state.closes);
        said.stopped = state.stopped;
        if state.stopped {
            // The stream takes no more of these.
            said.withdrawn.extend(state.inbox.drain(..).map(|row| row.id()));
        }
    }

    /// Hands rows out, and says when to be woken.
    pub(crate) fn publish(&self, rows: Vec<Delivered>, outlook: Outlook) {
        let mut state = self.lock();
        (state.wanted, state.soon, state.stats) = (outlook.wanted, outlook.soon, outlook.stats);
        if outlook.caught_up && !std::mem::replace(&mut state.caught_up, true) {
            self.caught_up.send_replace(true);
        }
        // Settlements may have come since the driver listened, when other conditions held.
        if !state.settled.is_empty() {
            self.wake_for_settlements(&mut state);
        }
        if rows.is_empty() || state.stopped && self.is_abandoned() {
            return;
        }
        state.inbox.extend(rows);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// The consumer is over; the stream shows `error` if it was not ended on purpose.
    pub(crate) fn end(&self, error: Error, shown: bool, mut left: Closed) {
        let mut state = self.lock();
        if state.over.is_some() {
            return;
        }
        for flush in state.flushes.drain(..) {
            let _ = flush.send(Err(error.duplicate()));
        }
        // What was settled since the driver last listened is told to nobody: it comes again.
        left.acknowledged &= state.settled.is_empty();
        for close in state.closes.drain(..) {
            let _ = close.answer.send(left.clone());
        }
        state.left = left;
        state.end = shown.then(|| error.duplicate());
        state.over = Some(error);
        self.caught_up.send_replace(true);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    fn wake_for_settlements(&self, state: &mut State) {
        let count = state.settled.len();
        if count >= state.wanted || (count > 0 && !state.soon) {
            self.wake(state);
        }
    }

    fn wake(&self, state: &mut State) {
        if !std::mem::replace(&mut state.woken, true) {
            self.desk.wake(self.key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a consumer ends with when its owner let go of it.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "consume", "the consumer is closed")
}
