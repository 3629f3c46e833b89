//! A message as a handler sees it, and the replies it gives.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::AgentShared;
use super::headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
use crate::delivery::{Delivery, Receipt};
use crate::error::{Error, ErrorKind, Reached, Result};
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
///
/// Numbers have no holes. A reply of which it is not known whether it was sent (its call failed like that,
/// or its future was dropped) keeps its number: making the same reply again repeats it, and another reply
/// is only sent after it. A caller therefore never waits for a reply that its peer gave up.
pub struct Request {
    delivery: Delivery,
    attempt: u32,
    agent: Arc<AgentShared>,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// How many replies the network has taken.
    taken: u64,
    /// The next one, when it may have been sent.
    in_doubt: Option<Outbound>,
}

impl Request {
    pub(crate) fn new(delivery: Delivery, attempt: u32, agent: Arc<AgentShared>) -> Self {
        Self { delivery, attempt, agent, answers: Mutex::default() }
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

    /// Sends a reply that more will follow. Replies made at the same time go one after the other.
    ///
    /// Dropping the future leaves the reply in doubt; see [`Request`].
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the sender gave no address to answer to; otherwise as
    /// [`Agent::send`](crate::Agent::send).
    pub async fn progress(&self, body: Body) -> Result<Receipt> {
        self.answer(body, false, None).await
    }

    /// Sends the last reply. Whatever is sent after it, the caller does not see.
    ///
    /// # Errors
    /// As [`Request::progress`].
    pub async fn reply(&self, body: Body) -> Result<Receipt> {
        self.answer(body, true, None).await
    }

    /// Ends the call with a failure the caller sees: `message` is one line of text, of which the first 500
    /// characters are sent.
    ///
    /// # Errors
    /// As [`Request::progress`].
    pub async fn fail(&self, message: &str) -> Result<Receipt> {
        self.answer(Body::text(""), true, Some(message)).await
    }

    async fn answer(&self, body: Body, last: bool, error: Option<&str>) -> Result<Receipt> {
        let mut answers = self.answers.lock().await;
        let mut message = self.message(answers.taken + 1, body, last, error)?;
        if let Some(doubtful) = &answers.in_doubt
            && doubtful.fingerprint() != message.fingerprint()
        {
            self.agent.transmit_for(&self.delivery, doubtful).await?;
            answers.in_doubt = None;
            answers.taken += 1;
            let seq = answers.taken + 1;
            message.client_msg_id = self.reply_id(seq);
            message.headers.insert(REPLY_SEQ, seq.to_string());
        }
        let doubted = answers.in_doubt.replace(message.clone()).is_some();
        let sent = self.agent.transmit_for(&self.delivery, &message).await;
        match &sent {
            Ok(_) => {
                answers.in_doubt = None;
                answers.taken += 1;
            }
            // Certainly not stored, now or before: the number is free for another reply.
            Err(error) if error.reached() != Reached::Unknown && !doubted => answers.in_doubt = None,
            Err(_) => {}
        }
        sent
    }

    fn message(&self, seq: u64, body: Body, last: bool, error: Option<&str>) -> Result<Outbound> {
        let request = &self.delivery;
        let to = request.answer_address().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "reply", "the sender gave no address to answer to")
        })?;
        let mut message = Outbound::new(to.clone(), body)
            .with_id(self.reply_id(seq))
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
        self.agent.capabilities().check(&message)?;
        Ok(message)
    }

    /// The id of a reply: of this request, which its id names only together with its sender.
    fn reply_id(&self, seq: u64) -> ClientMsgId {
        let own = self.agent.transport.address();
        ClientMsgId::derived(&self.delivery.identity(), &format!("reply {seq} of {own}"))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("delivery", &self.delivery)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
