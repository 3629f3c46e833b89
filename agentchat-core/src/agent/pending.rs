//! What a call has received and not read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::delivery::Delivery;
use crate::error::Error;

/// The replies between the task that reads an inbox and the call that asked. It holds up to
/// [`MESSAGES`] and [`BYTES`]; one reply may go over the latter.
#[derive(Debug)]
pub(crate) struct Pending {
    state: Mutex<State>,
    /// Tells the reading task that there is room again.
    room: Arc<Notify>,
    deadline: Instant,
}

#[derive(Debug)]
struct State {
    replies: VecDeque<Delivery>,
    bytes: usize,
    end: End,
    waker: Option<Waker>,
    read_at: Instant,
    /// A reply was given back for want of room.
    refused: bool,
}

#[derive(Debug)]
enum End {
    /// More may come.
    Open,
    /// Nothing more comes: what is here can be read, then this.
    With(Error),
    /// Nobody reads any more.
    Over,
}

impl Pending {
    pub(crate) fn new(room: Arc<Notify>, deadline: Instant) -> Self {
        let state = State {
            replies: VecDeque::new(),
            bytes: 0,
            end: End::Open,
            waker: None,
            read_at: Instant::now(),
            refused: false,
        };
        Self { state: Mutex::new(state), room, deadline }
    }

    /// Hands a reply over, or gives it back when there is no room. After the end it is dropped: the call
    /// has been told by then, or has stopped listening.
    pub(crate) fn offer(&self, reply: Delivery) -> Result<(), Box<Delivery>> {
        let mut state = self.lock();
        if !matches!(state.end, End::Open) {
            return Ok(());
        }
        if state.replies.len() >= MESSAGES || state.bytes >= BYTES {
            state.refused = true;
            return Err(Box::new(reply));
        }
        state.bytes += reply.size();
        state.replies.push_back(reply);
        wake(state);
        Ok(())
    }

    /// Ends it: what was handed over can still be read, then `error`. Only the first end counts.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.lock();
        if matches!(state.end, End::Open) {
            state.end = End::With(error);
            self.tell_room(&mut state);
            wake(state);
        }
    }

    /// Nobody reads any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.end = End::Over;
        let replies = std::mem::take(&mut state.replies);
        (state.bytes, state.waker) = (0, None);
        self.tell_room(&mut state);
        drop(state);
        drop(replies);
    }

    /// The next reply; the error ends it, and nothing comes after that.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery, Error>>> {
        let mut state = self.lock();
        state.read_at = Instant::now();
        if let Some(reply) = state.replies.pop_front() {
            state.bytes -= reply.size();
            self.tell_room(&mut state);
            return Poll::Ready(Some(Ok(reply)));
        }
        match std::mem::replace(&mut state.end, End::Over) {
            End::Open => {
                state.end = End::Open;
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            End::With(error) => Poll::Ready(Some(Err(error))),
            End::Over => Poll::Ready(None),
        }
    }

    /// Whether it holds up others for nothing: its deadline has passed, or nobody has read it for long.
    pub(crate) fn is_stuck(&self, now: Instant, others_wait: bool) -> bool {
        let unread = now.saturating_duration_since(self.lock().read_at);
        now >= self.deadline || (others_wait && unread >= STUCK)
    }

    fn tell_room(&self, state: &mut State) {
        if std::mem::take(&mut state.refused) {
            self.room.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the call; not under the lock, since a waker is the caller's code.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// How many replies of one call wait here to be read.
pub(crate) const MESSAGES: usize = 256;
/// How many bytes of them.
pub(crate) const BYTES: usize = 8 * 1024 * 1024;
/// How long a call may leave its replies unread while other calls wait for theirs in the same inbox.
pub(crate) const STUCK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::{AckTag, Body, MessageId};
    use futures_util::FutureExt;

    fn reply(size: usize) -> Delivery {
        let tag = AckTag::new("t").expect("tag");
        Delivery::new(MessageId::new("1").expect("id"), tag, Body::binary(vec![0; size]))
    }

    fn pending() -> Pending {
        Pending::new(Arc::default(), Instant::now() + 3600 * Duration::from_secs(1))
    }

    fn read(pending: &Pending) -> Poll<Option<Result<Delivery, Error>>> {
        pending.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_by_number_and_by_bytes_and_says_when_there_is_room() {
        for (size, fit) in [(1, MESSAGES), (BYTES / 4, 4), (BYTES * 2, 1)] {
            let pending = pending();
            let offers = (0..1_000).take_while(|_| pending.offer(reply(size)).is_ok()).count();
            assert_eq!(offers, fit);
            assert!(pending.room.notified().now_or_never().is_none());
            assert!(matches!(read(&pending), Poll::Ready(Some(Ok(_)))));
            assert!(pending.room.notified().now_or_never().is_some(), "somebody was refused");
            pending.offer(reply(size)).expect("there is room");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_end_counts_and_comes_after_what_was_handed_over() {
        let pending = pending();
        pending.offer(reply(1)).expect("room");
        for kind in [ErrorKind::Disconnected, ErrorKind::Timeout] {
            pending.end(Error::new(kind, "call", "over"));
        }
        pending.offer(reply(1)).expect("dropped");
        assert!(matches!(read(&pending), Poll::Ready(Some(Ok(_)))));
        let Poll::Ready(Some(Err(error))) = read(&pending) else { panic!("the end") };
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert!(matches!(read(&pending), Poll::Ready(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_stuck_past_its_deadline_or_when_it_leaves_others_waiting() {
        let (pending, now) = (pending(), Instant::now());
        assert!(!pending.is_stuck(now + STUCK * 2, false), "alone it may take its time");
        assert!(pending.is_stuck(now + STUCK, true));
        assert!(!pending.is_stuck(now + STUCK / 2, true));
        assert!(pending.is_stuck(now + Duration::from_secs(3600), false));
        tokio::time::advance(STUCK).await;
        assert!(read(&pending).is_pending());
        assert!(!pending.is_stuck(now + STUCK, true), "it has looked");
    }
}
