//! A call: one request, and the replies to it in order.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
use super::replies::{Registered, Routed};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::message::{Body, Priority};

/// What is asked of a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallRequest {
    /// What it says.
    pub body: Body,
    /// Its id; the correlation id too, unless one is set.
    pub client_msg_id: ClientMsgId,
    /// What ties the replies to it.
    pub correlation_id: Option<CorrelationId>,
    /// What it is ordered within.
    pub conversation: Option<ConversationId>,
    /// Lines beside the body.
    pub headers: crate::Headers,
    /// How urgent it is.
    pub priority: Priority,
    /// How long to wait for the last reply (default 60 s). The moment is carried in the message: a peer
    /// that finds it later answers with an error instead of running it.
    pub timeout: Duration,
    /// Use a reply inbox for this call alone instead of the one kept for the peer (default off).
    pub private_inbox: bool,
}

impl CallRequest {
    /// A request under a fresh id, with a timeout of 60 s.
    pub fn new(body: Body) -> Self {
        Self {
            body,
            client_msg_id: ClientMsgId::random(),
            correlation_id: None,
            conversation: None,
            headers: crate::Headers::new(),
            priority: Priority::Normal,
            timeout: Duration::from_secs(60),
            private_inbox: false,
        }
    }

    /// Replaces the id: a repeated call under its old id is handled once.
    pub fn with_id(mut self, id: ClientMsgId) -> Self {
        self.client_msg_id = id;
        self
    }

    /// Sets the correlation id.
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Sets the conversation.
    pub fn with_conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    /// Sets one header line.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the priority.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long to wait for the last reply.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Uses a reply inbox for this call alone.
    pub fn with_private_inbox(mut self) -> Self {
        self.private_inbox = true;
        self
    }

    pub(crate) fn deadline(&self) -> SystemTime {
        SystemTime::now() + self.timeout
    }
}

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
/// error: [`Timeout`](ErrorKind::Timeout), [`Disconnected`](ErrorKind::Disconnected) or
/// [`Closed`](ErrorKind::Closed).
///
/// Dropping it stops waiting; the request is not taken back.
pub struct Call {
    registered: Registered,
    replies: mpsc::Receiver<Routed>,
    /// Replies that arrived before an earlier one.
    early: BTreeMap<u64, Reply>,
    next: u64,
    ended: bool,
    deadline: Pin<Box<Sleep>>,
}

impl Call {
    pub(crate) fn new(registered: Registered, replies: mpsc::Receiver<Routed>, timeout: Duration) -> Self {
        Self {
            registered,
            replies,
            early: BTreeMap::new(),
            next: 1,
            ended: false,
            deadline: Box::pin(tokio::time::sleep(timeout)),
        }
    }

    /// What ties the replies to this call.
    pub fn correlation_id(&self) -> &CorrelationId {
        self.registered.correlation_id()
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
                    .with_reached(crate::error::Reached::Yes));
            }
            if reply.last {
                return Ok(reply);
            }
        }
        Err(Error::new(ErrorKind::Closed, "call", "the call had ended before"))
    }

    fn end(&mut self, kind: ErrorKind, message: &str) -> Poll<Option<Result<Reply>>> {
        self.ended = true;
        Poll::Ready(Some(Err(Error::new(kind, "call", message))))
    }
}

impl Stream for Call {
    type Item = Result<Reply>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let due = self.next;
            if let Some(reply) = self.early.remove(&due) {
                self.next += 1;
                self.ended = reply.last;
                return Poll::Ready(Some(Ok(reply)));
            }
            match self.replies.poll_recv(cx) {
                Poll::Ready(Some(Routed::Reply(delivery))) => {
                    let reply = read(*delivery, due);
                    if reply.seq >= due && self.early.len() < MOST_EARLY {
                        self.early.insert(reply.seq, reply);
                    }
                }
                Poll::Ready(Some(Routed::Lost(error))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return self.end(ErrorKind::Closed, "the agent was closed"),
                Poll::Pending => {
                    ready!(self.deadline.as_mut().poll(cx));
                    return self.end(ErrorKind::Timeout, "no last reply came before the deadline");
                }
            }
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("correlation_id", self.correlation_id())
            .field("next", &self.next)
            .field("ended", &self.ended)
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
