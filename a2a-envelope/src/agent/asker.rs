//! Who asked, and how: what an answer needs.

use agentchat_core::{Address, ConversationId, Delivery, TraceContext};

use crate::answering::{Answer, Answering};
use crate::dialect::Dialect;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::headers::Headers;
use crate::json;
use crate::limits::Limits;
use crate::names;
use crate::received::{Carriage, Received};
use crate::reply::ReplyType;
use crate::safety::{Origin, Reach, origin_of};
use crate::task::{Asked, TaskRequest};

/// The one who waits for the replies to a request.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// Where answers go; nobody is answered without it.
    pub(crate) to: Option<Address>,
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) origin: Option<Origin>,
    ours: bool,
    wrapped: bool,
    answering: Answering,
    /// As it came, where another dialect has to be told again after a restart.
    text: Option<String>,
    traceparent: Option<String>,
    /// The trace that the work on the request belongs to.
    pub(crate) trace: Option<TraceContext>,
    /// What the network knows its request by: what is said to this message alone, and not in the line of its
    /// task, is told apart by it.
    pub(crate) via: String,
}

impl Asker {
    pub(crate) fn new(received: &Received, delivery: &Delivery, to: Option<Address>, agent: &str) -> Self {
        let mut asker = Self::of(received, to, agent);
        asker.conversation.clone_from(&delivery.conversation);
        let id = delivery.client_msg_id.as_ref().map_or(delivery.id.as_str(), |id| id.as_str());
        id.clone_into(&mut asker.via);
        asker.traceparent = received.envelope.header(names::TRACEPARENT).map(str::to_owned);
        asker.trace = TraceContext::current();
        asker
    }

    /// The asker of a request that was stored.
    pub(crate) fn restored(request: &TaskRequest, to: Option<Address>, agent: &str) -> Self {
        let limits = Limits::default();
        let plain = || Received::read(Headers::new(), "{}", &limits);
        let read = request.asked.as_ref().and_then(|asked| {
            let mut envelope = Envelope::from_wrapped(asked.text.as_bytes(), &limits).ok()?;
            if !asked.ours {
                envelope.headers.remove(names::ENVELOPE);
            }
            Received::read(envelope.headers, envelope.body, &limits).ok()
        });
        // An empty object always reads; it stands for a request of this format.
        let ours = request.asked.as_ref().is_none_or(|asked| asked.ours);
        let received = match read.map_or_else(plain, Ok) {
            Ok(received) => received,
            Err(_) => unreachable!("an empty object is within all limits"),
        };
        let mut asker = Self::of(&received, to, agent);
        asker.ours = ours;
        if let Some(asked) = &request.asked {
            asker.wrapped = asked.wrapped;
            asker.trace = asked.trace.as_deref().and_then(|line| TraceContext::parse(line).ok());
            asker.conversation = asked.conversation.as_deref().and_then(|id| ConversationId::new(id).ok());
        }
        asker
    }

    fn of(received: &Received, to: Option<Address>, agent: &str) -> Self {
        let ours = received.dialect == Dialect::Envelope;
        let Envelope { headers, body } = &received.envelope;
        let kept = match ours {
            false => Some(received.envelope.clone()),
            true => received
                .envelope
                .origin()
                .and_then(|origin| Envelope::new("{}").with_origin(&origin, Reach::Home).ok()),
        };
        Self {
            to,
            conversation: None,
            origin: origin_of(headers, body),
            ours,
            wrapped: received.carriage == Carriage::Wrapped,
            answering: received.answering().as_agent(agent),
            text: kept
                .and_then(|kept| String::from_utf8(kept.to_wrapped(&Limits::default()).ok()?.to_vec()).ok()),
            traceparent: None,
            trace: None,
            via: String::new(),
        }
    }

    /// What the task keeps of it.
    pub(crate) fn asked(&self) -> Option<Asked> {
        let conversation = self.conversation.as_ref().map(|id| id.as_str().to_owned());
        if self.text.is_none() && !self.wrapped && conversation.is_none() && self.trace.is_none() {
            return None;
        }
        let empty = || r#"{"a2aEnvelope":"1","body":"{}"}"#.to_owned();
        let text = self.text.clone().unwrap_or_else(empty);
        let trace = self.trace.map(|trace| trace.to_string());
        Some(Asked { text, ours: self.ours, wrapped: self.wrapped, conversation, trace })
    }

    /// One reply in the dialect and carriage that asked; `None` where it has no form there.
    pub(crate) fn write(&mut self, reply: &Envelope, unix_seconds: u64) -> Result<Option<Envelope>> {
        let written = match self.ours {
            true => Some(self.ours(reply)?),
            false => match answer_of(reply) {
                Some(answer) => self.answering.write(&answer.with_time(unix_seconds))?,
                None => None,
            },
        };
        let Some(mut written) = written else { return Ok(None) };
        if let Some(line) = &self.traceparent {
            if self.ours && !written.headers.contains(names::TRACEPARENT) {
                written = written.with_header(names::TRACEPARENT, line)?;
            }
        }
        if self.wrapped {
            let text = written.to_wrapped(&Limits::default())?;
            return Ok(Some(Envelope::from_parts(Headers::new(), text)));
        }
        Ok(Some(written))
    }

    fn ours(&self, reply: &Envelope) -> Result<Envelope> {
        match &self.origin {
            Some(origin) => reply.clone().with_origin(origin, Reach::Home),
            None => Ok(reply.clone()),
        }
    }
}

/// A reply of this format as what it says, to be said in another.
fn answer_of(reply: &Envelope) -> Option<Answer> {
    let last = reply.is_last();
    let kind = reply.reply_type()?;
    let root = json::parse_body(&reply.body, &Limits::default()).ok();
    let answer = match kind {
        ReplyType::Ack => Answer::ack(),
        ReplyType::End => Answer::end(),
        ReplyType::Error => {
            let error = root?.get("error")?;
            let code = error.get("code").and_then(|code| code.raw().parse().ok()).unwrap_or(-32603);
            let message = error.text_of("message").unwrap_or_default().into_owned();
            // Codes of A2A get the details of the version that asked.
            let known =
                crate::vocabulary::ErrorCode::from_code(code).is_some_and(|code| code.reason().is_some());
            let data = error.get("data").map(|data| data.raw().to_owned()).filter(|_| !known);
            Answer::failure_with(code, message, data)
        }
        ReplyType::Response => Answer::response(root?.get("result")?.raw()),
        ReplyType::StreamResponse => Answer::item(root?.get("result")?.raw()).with_last(last),
    };
    Some(answer)
}
