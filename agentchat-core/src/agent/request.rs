//! A message as a handler sees it, and the replies it gives.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::AgentShared;
use super::answer_log::Answers;
use super::headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
use crate::delivery::{Delivery, Receipt};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::ClientMsgId;
use crate::message::{Body, Outbound};

/// One message to handle.
///
/// Replies are numbered from 1 in the order they are made, and their ids derive from the request's: a
/// request that is handled again after a crash gives replies that the caller recognises as repetitions. A last
/// reply that comes earlier than before the crash ends the call after what had been given.
///
/// Within a process a message is answered once, however often it is handled. What was answered is remembered
/// by the message's identity, for the 16,384 messages answered last, up to 16 MiB and a day. When a message is
/// tried again or delivered again, a reply that stands where one was given before is not sent: the first
/// one stays, whatever the second says, and the receipt is that of the first, as
/// [`Duplicate`](crate::SendOutcome::Duplicate). After the last reply nothing more is sent. A last reply that
/// comes earlier than at the first time ends the call after what had been given.
///
/// Numbers have no holes. A reply of which it is not known whether it was sent (its call failed like that,
/// or its future was dropped) keeps its number: making the same reply again repeats it, and another reply
/// is only sent after it. A caller therefore never waits for a reply that its peer gave up.
pub struct Request {
    delivery: Arc<Delivery>,
    attempt: u32,
    agent: Arc<AgentShared>,
    run: Mutex<Run>,
}

/// What this run of the handler has answered.
#[derive(Debug, Default)]
struct Run {
    /// Under which identity it is remembered, and all that was answered under it.
    answers: Option<(Arc<str>, Arc<Mutex<Answers>>)>,
    /// How many replies this run has made.
    made: u64,
    /// Whether a reply in doubt is this run's own.
    doubts: bool,
}

impl Request {
    pub(crate) fn new(delivery: Arc<Delivery>, attempt: u32, agent: Arc<AgentShared>) -> Self {
        Self { delivery, attempt, agent, run: Mutex::default() }
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

    /// Whether the sender waits for an answer. Who sent a reply does not.
    pub fn wants_reply(&self) -> bool {
        waits_for_reply(&self.delivery)
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

    /// Sends the last reply. Nothing is sent after it.
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
        let mut run = self.run.lock().await;
        let (identity, answers) = self.remembered(&mut run);
        let mut answers = answers.lock().await;
        let seq = match (last, answers.ended()) {
            (false, _) => run.made + 1,
            (true, None) => answers.taken + 1,
            (true, Some(_)) => answers.taken,
        };
        let mut message = self.message(seq, body, last, error)?;
        let end = answers.ended().filter(|_| seq >= answers.taken);
        if let Some(first) = answers.known(seq).or(end) {
            if !first.is(&message) {
                tracing::debug!(name: "reply.kept_first", id = %self.delivery.id, seq, "it was answered before");
            }
            run.made = seq.min(answers.taken);
            return Ok(first.receipt());
        }
        if seq <= answers.taken {
            let receipt = self.agent.transmit_for(&self.delivery, &message).await?;
            run.made = seq;
            return Ok(receipt);
        }
        if let Some(doubtful) = &answers.in_doubt
            && doubtful.fingerprint() != message.fingerprint()
        {
            let doubtful = doubtful.clone();
            let receipt = self.agent.transmit_for(&self.delivery, &doubtful).await?;
            answers.took(&doubtful, is_last(&doubtful), &receipt);
            run.made = answers.taken;
            if answers.ended().is_some() || !(last || run.doubts) {
                tracing::debug!(name: "reply.kept_first", id = %self.delivery.id, seq, "it was answered before");
                return Ok(receipt);
            }
            let seq = answers.taken + 1;
            message.client_msg_id = self.reply_id(seq, last);
            message.headers.insert(REPLY_SEQ, seq.to_string());
        }
        let doubted = answers.in_doubt.replace(message.clone()).is_some();
        run.doubts = true;
        self.agent.answered.weigh(&identity, &answers, Instant::now());
        let sent = self.agent.transmit_for(&self.delivery, &message).await;
        match &sent {
            Ok(receipt) => {
                answers.took(&message, last, receipt);
                run.made = answers.taken;
            }
            // Certainly not stored, now or before: the number is free for another reply.
            Err(error) if error.reached() != Reached::Unknown && !doubted => answers.in_doubt = None,
            Err(_) => {}
        }
        self.agent.answered.weigh(&identity, &answers, Instant::now());
        sent
    }

    fn remembered(&self, run: &mut Run) -> (Arc<str>, Arc<Mutex<Answers>>) {
        let remembered = run.answers.get_or_insert_with(|| {
            let identity: Arc<str> = self.delivery.identity().into();
            let answers = self.agent.answered.of(&identity, Instant::now());
            (identity, answers)
        });
        remembered.clone()
    }

    fn message(&self, seq: u64, body: Body, last: bool, error: Option<&str>) -> Result<Outbound> {
        let request = &self.delivery;
        let to = request.answer_address().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "reply", "the sender gave no address to answer to")
        })?;
        let mut message = Outbound::new(to.clone(), body)
            .with_id(self.reply_id(seq, last))
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

    /// The id of a reply: of this request, which its id names only together with its sender. The last one is
    /// named as such: another process, which was killed before it came to it, may have sent more before it, and
    /// under the id of one of those it would pass for its repetition.
    fn reply_id(&self, seq: u64, last: bool) -> ClientMsgId {
        let own = self.agent.transport.address();
        let which = if last { "last".to_owned() } else { seq.to_string() };
        ClientMsgId::derived(&self.delivery.identity(), &format!("reply {which} of {own}"))
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

/// Whether a sender waits for an answer to `delivery`. Who sent a reply does not: answering it by itself could
/// go on for ever.
pub(crate) fn waits_for_reply(delivery: &Delivery) -> bool {
    delivery.correlation_id.is_some() && delivery.answer_address().is_some() && !is_reply(delivery)
}

/// Whether a message says of itself that it is a reply.
pub(crate) fn is_reply(delivery: &Delivery) -> bool {
    [REPLY_SEQ, REPLY_LAST, REPLY_ERROR].iter().any(|name| delivery.headers.get(name).is_some())
}

fn is_last(reply: &Outbound) -> bool {
    reply.headers.get(REPLY_LAST).is_some()
}
