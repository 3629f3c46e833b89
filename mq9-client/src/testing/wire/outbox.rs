//! What waits to be written to one connection, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};

/// The outgoing queue of one connection, and the switch that cuts it.
///
/// A client that reads too slowly for its queue is cut, as a NATS server does, so nobody else waits for
/// it and the queue never holds more than its limit plus one frame.
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    ready: Notify,
    limit: usize,
    cut: watch::Sender<bool>,
}

/// Whether a frame counts when a cut is to fall after so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Handshake, pings, confirmations, errors.
    Control,
    /// A reply or message.
    Reply,
}

/// What to write in one call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    /// Close once written.
    pub(crate) last: bool,
}

impl Outbox {
    pub(crate) fn new(limit: usize, cut_after: Option<u64>) -> Self {
        let queue = Queue { cut_after, ..Queue::default() };
        Outbox { queue: Mutex::new(queue), ready: Notify::new(), limit, cut: watch::Sender::new(false) }
    }

    /// Queues a frame, or cuts the connection if its client does not keep up.
    pub(crate) fn push(&self, frame: Bytes, kind: Kind) {
        let mut queue = self.lock();
        if queue.bytes > self.limit {
            queue.frames.clear();
            queue.bytes = 0;
            drop(queue);
            tracing::debug!(target: "mq9_client::testing", "a client reads too slowly and is cut");
            return self.cut();
        }
        queue.bytes += frame.len();
        queue.frames.push_back((frame, kind));
        drop(queue);
        self.ready.notify_one();
    }

    /// Closes the connection once what is queued is written.
    pub(crate) fn finish(&self) {
        self.lock().finishing = true;
        self.ready.notify_one();
    }

    /// Cuts the connection at once; what is queued is lost.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Cuts the connection after so many more bytes of replies.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.lock().cut_after = Some(bytes);
    }

    pub(crate) fn is_cut(&self) -> bool {
        *self.cut.borrow()
    }

    /// Returns when the connection is cut. Cancel-safe.
    pub(crate) async fn wait_cut(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }

    /// The next thing to write. Cancel-safe: a batch is taken only when it is returned.
    pub(crate) async fn next(&self) -> Batch {
        loop {
            let batch = self.lock().take();
            match batch {
                Some(batch) => return batch,
                None => self.ready.notified().await,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // A panic cannot leave the queue half changed in a way that matters here.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(Bytes, Kind)>,
    bytes: usize,
    cut_after: Option<u64>,
    finishing: bool,
}

impl Queue {
    fn take(&mut self) -> Option<Batch> {
        let Some((mut first, kind)) = self.frames.pop_front() else {
            return self.finishing.then(|| Batch { bytes: Bytes::new(), last: true });
        };
        self.bytes -= first.len();
        let mut last = self.spend(&mut first, kind);
        if last || self.frames.is_empty() {
            return Some(Batch { bytes: first, last });
        }
        let mut batch = BytesMut::from(first.as_ref());
        while !last && self.frames.front().is_some_and(|(frame, _)| batch.len() + frame.len() <= BATCH) {
            let Some((mut frame, kind)) = self.frames.pop_front() else { break };
            self.bytes -= frame.len();
            last = self.spend(&mut frame, kind);
            batch.extend_from_slice(&frame);
        }
        Some(Batch { bytes: batch.freeze(), last })
    }

    /// Shortens `frame` to what may still be written. `true`: nothing may follow it.
    fn spend(&mut self, frame: &mut Bytes, kind: Kind) -> bool {
        let Some(left) = self.cut_after.as_mut().filter(|_| kind == Kind::Reply) else {
            return false;
        };
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(frame.len());
        frame.truncate(allowed);
        *left -= allowed as u64;
        *left == 0
    }
}

/// Small frames are written together up to this size, in bytes.
const BATCH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn frames_are_written_in_order_and_together() {
        let outbox = Outbox::new(100, None);
        outbox.push(frame("a"), Kind::Control);
        outbox.push(frame("b"), Kind::Reply);
        assert_eq!(outbox.next().await, Batch { bytes: frame("ab"), last: false });
        outbox.push(frame("c"), Kind::Reply);
        outbox.finish();
        assert_eq!(outbox.next().await, Batch { bytes: frame("c"), last: false });
        assert!(outbox.next().await.last);
    }

    #[tokio::test]
    async fn a_cut_falls_after_exactly_so_many_reply_bytes() {
        for (after, expected) in [(0, "info"), (1, "infor"), (5, "inforeply"), (7, "inforeplyre")] {
            let outbox = Outbox::new(100, Some(after));
            outbox.push(frame("info"), Kind::Control);
            outbox.push(frame("reply"), Kind::Reply);
            outbox.push(frame("reply"), Kind::Reply);
            assert_eq!(outbox.next().await, Batch { bytes: frame(expected), last: true }, "{after}");
        }
    }

    #[tokio::test]
    async fn a_reader_too_slow_is_cut_and_its_queue_freed() {
        let outbox = Outbox::new(8, None);
        for _ in 0..2 {
            outbox.push(frame("12345678"), Kind::Reply);
            assert!(!outbox.is_cut());
        }
        outbox.push(frame("1"), Kind::Reply);
        outbox.wait_cut().await;
        assert_eq!(outbox.lock().bytes, 0);
    }
}
