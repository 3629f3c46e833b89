//! Replies that are to go out later: those of a FETCH that waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::testing::EngineHost;

/// A reply and the subject it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) to: String,
    pub(crate) body: Bytes,
}

/// A reply with its time, on the engine's clock, in milliseconds.
#[derive(Debug)]
pub(crate) struct DueReply {
    pub(crate) at_ms: u64,
    pub(crate) reply: Reply,
}

/// A channel to [`deliver_when_due`]. Sending waits when too many replies wait already.
pub(crate) fn channel() -> (mpsc::Sender<DueReply>, mpsc::Receiver<DueReply>) {
    mpsc::channel(CHANNEL)
}

/// Hands each reply to `deliver` when its time has come, earliest first. Ends when all senders are gone
/// and nothing waits.
pub(crate) async fn deliver_when_due<D, F>(
    host: EngineHost,
    mut incoming: mpsc::Receiver<DueReply>,
    mut deliver: D,
) where
    D: FnMut(Reply) -> F + Send,
    F: Future<Output = ()> + Send,
{
    let mut waiting = Waiting::default();
    let mut open = true;
    while open || !waiting.is_empty() {
        while let Some(reply) = waiting.pop_due(host.now_ms()) {
            deliver(reply).await;
        }
        let pause = waiting.next_at().map(|at_ms| pause(&host, at_ms));
        tokio::select! {
            next = incoming.recv(), if open && waiting.len() < MAX_WAITING => match next {
                Some(due) => waiting.push(due),
                None => open = false,
            },
            () = tokio::time::sleep(pause.unwrap_or(GLANCE)), if pause.is_some() => {}
        }
    }
}

/// Returns once the engine's clock shows `at_ms`. Cancel-safe.
pub(crate) async fn wait_until(host: &EngineHost, at_ms: u64) {
    while host.now_ms() < at_ms {
        tokio::time::sleep(pause(host, at_ms)).await;
    }
}

/// How long to sleep towards `at_ms`: in short steps, because a test may move the engine's clock on.
fn pause(host: &EngineHost, at_ms: u64) -> Duration {
    let left = Duration::from_millis(at_ms.saturating_sub(host.now_ms()));
    left.clamp(Duration::from_millis(1), GLANCE)
}

/// Replies by time; those of the same time in the order they came.
#[derive(Default)]
struct Waiting {
    order: BinaryHeap<Reverse<(u64, u64)>>,
    replies: BTreeMap<u64, Reply>,
    count: u64,
}

impl Waiting {
    fn push(&mut self, due: DueReply) {
        self.order.push(Reverse((due.at_ms, self.count)));
        self.replies.insert(self.count, due.reply);
        self.count += 1;
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<Reply> {
        if self.next_at()? > now_ms {
            return None;
        }
        let Reverse((_, number)) = self.order.pop()?;
        self.replies.remove(&number)
    }

    fn next_at(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    fn len(&self) -> usize {
        self.replies.len()
    }

    fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }
}

/// How soon a clock that was moved on is noticed.
const GLANCE: Duration = Duration::from_millis(20);
const CHANNEL: usize = 64;
const MAX_WAITING: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_out_by_time_and_then_by_arrival() {
        let mut waiting = Waiting::default();
        for (at_ms, to) in [(20, "c"), (10, "a"), (10, "b"), (30, "d")] {
            waiting.push(DueReply { at_ms, reply: Reply { to: to.into(), body: Bytes::new() } });
        }
        let mut until = |now_ms| -> Vec<String> {
            std::iter::from_fn(|| waiting.pop_due(now_ms)).map(|reply| reply.to).collect()
        };
        assert_eq!(until(9), [""; 0]);
        assert_eq!(until(20), ["a", "b", "c"]);
        assert_eq!(until(99), ["d"]);
    }
}
