//! The stream of one mailbox's messages.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::task::coop;

use crate::error::Result;
use crate::message::MsgId;

use super::acker::Acker;
use super::delivered::Delivered;
use super::driver::now;
use super::moment::after;
use super::options::ConsumerOptions;
use super::poller::Owner;
use super::shared::Shared;
use super::stats::ConsumerStats;

/// The messages of one mailbox, each until it is settled.
///
/// A [`Stream`] of `Result<Delivered>`. Temporary failures are repeated with backoff and only counted (see
/// [`Consumer::stats`]); a permanent one is the last item. Every message is to be settled through the
/// [`Acker`] once it is handled: what is not comes again to the next consumer of the group.
///
/// *Order:* within one priority, messages come by id; a more urgent one that is stored overtakes. *Once:* a
/// message comes once per consumer, retries aside. After a crash, messages settled but not yet acknowledged
/// (some milliseconds' worth at the end of a mailbox, a quarter of a second's in a backlog) come again.
///
/// Dropping the consumer stops its reading at once; what was settled by then is acknowledged, but
/// nobody waits for that. [`Consumer::close`] does.
pub struct Consumer {
    shared: Arc<Shared>,
    /// Keeps the polling task alive.
    _owner: Arc<Owner>,
    batch: VecDeque<Delivered>,
    options: ConsumerOptions,
}

/// What was left when a consumer was closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Closed {
    /// Messages that were fetched and not settled, by id. They come again to the next consumer of the group.
    pub unsettled: Vec<MsgId>,
    /// Whether every settled message is acknowledged. If not (an unsettled one lies before it, or time ran
    /// out), some come again too.
    pub acknowledged: bool,
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, owner: Arc<Owner>, options: ConsumerOptions) -> Self {
        Self { shared, _owner: owner, batch: VecDeque::new(), options }
    }

    /// The handle to settle messages with.
    pub fn acker(&self) -> Acker {
        Acker::new(Arc::clone(&self.shared))
    }

    /// The next message; `None` after the final error, and after [`Acker::stop`].
    ///
    /// Cancel-safe: a message is either given or still there. Takes part in tokio's cooperative scheduling:
    /// in a backlog it yields now and then though a message is ready.
    pub async fn next(&mut self) -> Option<Result<Delivered>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Counters so far.
    pub fn stats(&self) -> ConsumerStats {
        self.shared.stats()
    }

    /// Stops reading, waits until what was handed out is settled and acknowledged or `deadline` has
    /// passed, and says what is left.
    ///
    /// What the stream had not handed out yet, and what waits for a retry, is left and not waited for.
    /// Dropping the future is dropping the consumer.
    pub async fn close(self, deadline: Duration) -> Closed {
        let answered = self.shared.close(&self.batch, after(now(), deadline));
        match answered.await {
            Ok(closed) => closed,
            Err(_) => Closed::new(self.batch.iter().map(Delivered::id).collect(), false),
        }
    }

    pub(crate) fn options(&self) -> &ConsumerOptions {
        &self.options
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivered>>> {
        // A backlog is always ready. Without a pause now and then whoever reads it in one go would keep
        // its thread from fetching the next part meanwhile.
        let turn = ready!(coop::poll_proceed(cx));
        let next = loop {
            if let Some(next) = self.batch.pop_front() {
                break Some(Ok(next));
            }
            match ready!(self.shared.poll_batch(&mut self.batch, cx)) {
                Some(Ok(())) => {}
                Some(Err(error)) => break Some(Err(error)),
                None => break None,
            }
        };
        turn.made_progress();
        Poll::Ready(next)
    }
}

impl Closed {
    pub(crate) fn new(unsettled: Vec<MsgId>, acknowledged: bool) -> Self {
        Self { unsettled, acknowledged }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivered>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("options", &self.options)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
