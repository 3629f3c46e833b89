//! A call: one request, and the replies to it in order.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::time::{Instant, Sleep};

use super::calls::Registered;
use super::headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::CorrelationId;
use crate::message::Body;

/// One reply.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reply {
    /// Its number: 1 for the first.
    pub seq: u64,
    /// Whether it ends the call.
    pub last: bool,
    /// What went wrong at the peer, when it reports a failure.
    pub error: Option<String>,
    /// The message.
    pub delivery: Delivery,
}

impl Reply {
    /// The reply's body.
    pub fn body(&self) -> &Body {
        &self.delivery.body
    }
}

/// The replies to a request, in order and each once. The stream ends after the last reply or after an
/// error:
/// - [`Timeout`](ErrorKind::Timeout) at the call's deadline, after what had arrived until then;
/// - [`Disconnected`](ErrorKind::Disconnected), [`Closed`](ErrorKind::Closed) or whatever else ended the
///   reply inbox, after what had arrived until then;
/// - [`Backpressure`](ErrorKind::Backpressure) when replies were left unread for long while other calls to
///   the peer waited behind them: then some of them were dropped; and where the agent has one inbox, which
///   nobody serves, when more messages wait in it than are kept for a later serving;
/// - [`Protocol`](ErrorKind::Protocol) when the peer sends ever more replies while an earlier one is
///   missing.
///
/// Unread replies wait here, up to 256 of them and 8 MiB, then in the reply inbox. Dropping the call stops
/// waiting; the request is not taken back, and what still arrives is dropped.
pub struct Call {
    correlation_id: CorrelationId,
    /// `None` once it has ended.
    registered: Option<Registered>,
    /// Replies that arrived before an earlier one.
    early: BTreeMap<u64, Reply>,
    early_bytes: usize,
    due: u64,
    deadline: Pin<Box<Sleep>>,
    timed_out: bool,
}

impl Call {
    pub(crate) fn new(correlation_id: CorrelationId, registered: Registered, deadline: Instant) -> Self {
        Self {
            correlation_id,
            registered: Some(registered),
            early: BTreeMap::new(),
            early_bytes: 0,
            due: 1,
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            timed_out: false,
        }
    }

    /// What ties the replies to this call.
    pub fn correlation_id(&self) -> &CorrelationId {
        &self.correlation_id
    }

    /// The next reply, or `None` after the end. Cancel-safe: no reply is lost by dropping the future.
    pub async fn next(&mut self) -> Option<Result<Reply>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Waits for the last reply and returns it; earlier ones are dropped.
    ///
    /// # Errors
    /// [`Handler`](ErrorKind::Handler) when the peer reports a failure; else whatever ended the stream.
    pub async fn response(mut self) -> Result<Reply> {
        while let Some(reply) = self.next().await {
            let reply = reply?;
            if let Some(error) = reply.error {
                return Err(Error::new(ErrorKind::Handler, "call", format!("the peer failed: {error}"))
                    .with_reached(Reached::Yes));
            }
            if reply.last {
                return Ok(reply);
            }
        }
        Err(Error::new(ErrorKind::Closed, "call", "the call had ended before"))
    }

    fn timeout(&self) -> Error {
        let what = match self.early.keys().next_back() {
            Some(later) => format!("reply {} is missing at the deadline, though {later} came", self.due),
            None => "no last reply came before the deadline".to_owned(),
        };
        let crowded = self.registered.as_ref().is_some_and(|it| it.crowded.load(Ordering::Relaxed));
        let behind = if crowded { "; the inbox is full of messages that are not settled" } else { "" };
        let what = what + behind;
        Error::new(ErrorKind::Timeout, "call", what)
    }

    /// Hands a reply out; the last one ends the call.
    fn give(&mut self, reply: Reply) -> Poll<Option<Result<Reply>>> {
        self.due = self.due.saturating_add(1);
        if reply.last {
            self.end();
        }
        Poll::Ready(Some(Ok(reply)))
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Reply>>> {
        self.end();
        Poll::Ready(Some(Err(error)))
    }

    /// Stops listening at once, so that an ended call that is kept costs nothing.
    fn end(&mut self) {
        self.registered = None;
        self.early = BTreeMap::new();
    }
}

impl Stream for Call {
    type Item = Result<Reply>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(registered) = &self.registered else { return Poll::Ready(None) };
        let pending = std::sync::Arc::clone(&registered.pending);
        // Before reading: a peer that never stops to send must not keep the call alive.
        if !self.timed_out && self.deadline.as_mut().poll(cx).is_ready() {
            self.timed_out = true;
            pending.end(Error::new(ErrorKind::Timeout, "call", "the deadline has passed"));
        }
        loop {
            let due = self.due;
            if let Some(reply) = self.early.remove(&due) {
                self.early_bytes -= reply.delivery.size();
                return self.give(reply);
            }
            let mut reply = match pending.poll(cx) {
                Poll::Ready(Some(Ok(delivery))) => read(delivery, due),
                Poll::Ready(Some(Err(error))) => {
                    let own = self.timed_out && error.kind() == ErrorKind::Timeout;
                    let error = if own { self.timeout() } else { error };
                    return self.fail(error);
                }
                Poll::Ready(None) => return self.fail(super::calls::closed()),
                Poll::Pending => return Poll::Pending,
            };
            // A last reply ends the call also behind its turn: a peer that was killed and handled the request
            // again may have had less to say than what was given of the first time.
            if reply.last {
                reply.seq = reply.seq.max(due);
            }
            if reply.seq == due {
                return self.give(reply);
            }
            if reply.last
                && let Some(other) = self.early.remove(&reply.seq)
            {
                self.early_bytes -= other.delivery.size();
            }
            if reply.seq < due || self.early.contains_key(&reply.seq) {
                tracing::debug!(name: "reply.repeated", seq = reply.seq, "a reply came again");
                continue;
            }
            if self.early.len() >= MOST_EARLY || self.early_bytes >= MOST_EARLY_BYTES {
                let what = format!("reply {due} is missing, and too many later ones came");
                return self.fail(Error::new(ErrorKind::Protocol, "call", what).with_reached(Reached::Yes));
            }
            self.early_bytes += reply.delivery.size();
            self.early.insert(reply.seq, reply);
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("correlation_id", &self.correlation_id)
            .field("due", &self.due)
            .field("ended", &self.registered.is_none())
            .finish_non_exhaustive()
    }
}

/// Reads a reply's number and end. A peer that numbers nothing sends one reply: the next, and the last.
fn read(delivery: Delivery, due: u64) -> Reply {
    let seq = delivery.headers.get(REPLY_SEQ).and_then(|text| text.parse().ok());
    let last = delivery.headers.get(REPLY_LAST).map(|text| text == "true");
    Reply {
        seq: seq.unwrap_or(due),
        last: last.unwrap_or(seq.is_none()),
        error: delivery.headers.get(REPLY_ERROR).map(str::to_owned),
        delivery,
    }
}

/// How many replies may wait for an earlier one.
const MOST_EARLY: usize = 1_024;
/// How many bytes of them; one reply may go over it.
const MOST_EARLY_BYTES: usize = 8 * 1024 * 1024;
