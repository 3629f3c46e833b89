//! Settling what a consumer handed out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::message::MsgId;

use super::driver::now;
use super::moment::after;
use super::shared::{Shared, closed};
use super::stream::Closed;

/// Settles the messages of one [`Consumer`](super::Consumer). Clones do the same.
///
/// Settling neither waits nor fails: it is noted, and told to the broker in batches. Ids that were not
/// handed out, or are settled already, are passed over, as is everything after the consumer has ended.
#[derive(Clone)]
pub struct Acker {
    shared: Arc<Shared>,
}

impl Acker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// This message is done and must not come again.
    pub fn settle(&self, id: MsgId) {
        self.shared.settle(id);
    }

    /// These messages are done: one step for many.
    pub fn settle_all(&self, ids: impl IntoIterator<Item = MsgId>) {
        self.shared.settle_all(ids);
    }

    /// This message failed: it is handed out again after `delay`, with one more
    /// [`attempt`](super::Delivered::attempt). Until it is settled nothing after it can be acknowledged by
    /// offset, though others go on being handed out.
    pub fn retry(&self, id: MsgId, delay: Duration) {
        self.shared.retry(id, delay);
    }

    /// Waits until everything settled so far is acknowledged (or deleted) at the broker.
    ///
    /// With [`AckMode::Offset`](super::AckMode) that takes until every message before it is settled too: bound
    /// the wait if that may not happen. Cancel-safe.
    ///
    /// # Errors
    /// What the consumer ended with, or [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub async fn flush(&self) -> Result<()> {
        self.shared.flush()?.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits until the stream holds, or has handed out, everything that was stored when the consumer
    /// began. Poll the stream first where both are ready: then what comes after is new.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// What the consumer ended with, if it ended before.
    pub async fn caught_up(&self) -> Result<()> {
        self.shared.caught_up().await
    }

    /// Ends the stream after the messages that it already holds: nothing more is handed out. Settled
    /// messages, now or later, are still acknowledged.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Ends the consumer without waiting for what is unsettled: stops reading, tells the broker what is
    /// settled as far as it can be (that may take a few small reads), and says what is left. The stream
    /// ends without an error.
    ///
    /// It takes at most `deadline`. Dropping the future does not take it back.
    pub async fn finish(&self, deadline: Duration) -> Closed {
        let answered = self.shared.finish(after(now(), deadline));
        answered.await.unwrap_or_else(|_| Closed::new(Vec::new(), false))
    }
}

impl fmt::Debug for Acker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acker").finish_non_exhaustive()
    }
}
