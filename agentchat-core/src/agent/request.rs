//! A message as a handler sees it, and the replies it gives.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::AgentShared;
use super::headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
use crate::delivery::{Delivery, Receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientMsgId;
use crate::message::{Body, Outbound};

/// What a handler returns. `Ok` settles the message; an error makes it come again after a backoff.
pub type HandlerResult = std::result::Result<(), Box<dyn StdError + Send + Sync>>;

/// Handles the messages of a serving agent. Closures `Fn(Request) -> impl Future<Output = HandlerResult>`
/// are handlers.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one message. A panic counts as an error. The future is dropped when the agent closes and
    /// its deadline passes; the message comes again to the next one who serves the inbox.
    async fn handle(&self, request: Request) -> HandlerResult;
}

#[async_trait]
impl<F, T> Handler for F
where
    F: Fn(Request) -> T + Send + Sync + 'static,
    T: Future<Output = HandlerResult> + Send,
{
    async fn handle(&self, request: Request) -> HandlerResult {
        self(request).await
    }
}

/// One message to handle.
///
/// Replies are numbered from 1 in the order they are made, and their ids derive from the request's: a
/// request that is handled again after a crash gives replies that the caller recognises as repetitions.
#[derive(Debug)]
pub struct Request {
    delivery: Delivery,
    attempt: u32,
    agent: Arc<AgentShared>,
    replies: AtomicU64,
}

impl Request {
    pub(crate) fn new(delivery: Delivery, attempt: u32, agent: Arc<AgentShared>) -> Self {
        Self { delivery, attempt, agent, replies: AtomicU64::new(0) }
    }

    /// The message.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The message's body.
    pub fn body(&self) -> &Body {
        &self.delivery.body
    }

    /// 1 the first time, 2 after one failure, and so on. It counts within this process.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the sender waits for an answer.
    pub fn wants_reply(&self) -> bool {
        self.delivery.correlation_id.is_some() && self.delivery.answer_address().is_some()
    }

    /// Sends a reply that more will follow.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the sender gave no address to answer to; otherwise as
    /// [`Agent::send`](crate::Agent::send).
    pub async fn progress(&self, body: Body) -> Result<Receipt> {
        self.answer(body, false, None).await
    }

    /// Sends the last reply.
    ///
    /// # Errors
    /// As [`Request::progress`].
    pub async fn reply(&self, body: Body) -> Result<Receipt> {
        self.answer(body, true, None).await
    }

    /// Ends the call with a failure the caller sees: `message` is one line of text.
    ///
    /// # Errors
    /// As [`Request::progress`].
    pub async fn fail(&self, message: &str) -> Result<Receipt> {
        self.answer(Body::text(""), true, Some(message)).await
    }

    async fn answer(&self, body: Body, last: bool, error: Option<&str>) -> Result<Receipt> {
        let request = &self.delivery;
        let to = request.answer_address().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "reply", "the sender gave no address to answer to")
        })?;
        let seq = self.replies.fetch_add(1, Ordering::Relaxed) + 1;
        let scope = request.client_msg_id.as_ref().map_or(request.id.as_str(), ClientMsgId::as_str);
        let own = self.agent.transport.address();
        let mut message = Outbound::new(to.clone(), body)
            .with_id(ClientMsgId::derived(scope, &format!("reply {seq} of {own}")))
            .with_header(REPLY_SEQ, seq.to_string());
        message.correlation_id.clone_from(&request.correlation_id);
        message.conversation.clone_from(&request.conversation);
        message.priority = request.priority;
        if last {
            message.headers.insert(REPLY_LAST, "true");
        }
        if let Some(error) = error {
            let line: String =
                error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
            message.headers.insert(REPLY_ERROR, line.trim());
        }
        self.agent.transmit(&message).await
    }
}
