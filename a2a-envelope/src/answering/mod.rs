//! Answers in the dialect that asked.

mod answer;
mod facade;
mod hermes;
mod rpc;

pub use answer::Answer;

use bytes::Bytes;

use crate::convert::{self, Wrapping};
use crate::correlation::CorrelationId;
use crate::dialect::Dialect;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::names;
use crate::received::{Carriage, Received};
use crate::reply::ReplyType;
use crate::safety::{Origin, Reach, origin_of};
use crate::view::{EventView, RpcView};
use crate::vocabulary::{A2aVersion, Operation};
use answer::Content;
use hermes::HermesCall;

/// Writes the answers to one request, in the dialect, version and carriage it came in.
///
/// What a handler hands over as JSON may be of any A2A version: it is said anew in the one that asked, and
/// handed through untouched if it is that one already. After the last answer there is none.
///
/// | asked in | answered with |
/// |---|---|
/// | this envelope | its headers, and a JSON-RPC response |
/// | JSON-RPC | a JSON-RPC response of the same version |
/// | the mq9 facade | a bare event, its class name and the last flag in headers; to get, list and cancel the bare object without headers |
/// | Hermes | one `mq9_call_reply` with the last answer |
/// | bare A2A | a bare event |
/// | anything else | the bytes of [`Answer::raw`], or the JSON as it is |
#[derive(Clone)]
pub struct Answering {
    dialect: Dialect,
    carriage: Carriage,
    version: Option<A2aVersion>,
    method: Option<String>,
    operation: Option<Operation>,
    /// The JSON-RPC id as a token.
    id: Option<String>,
    correlation: Option<CorrelationId>,
    hermes: Option<HermesCall>,
    /// Whether headers say what the answer is, as the facade has them.
    facade: bool,
    origin: Option<Origin>,
    /// Whether the request had the origin in a header, so that whoever asked reads headers.
    origin_in_header: bool,
    agent: String,
    over: bool,
}

impl Received {
    /// What writes the answers to this request.
    #[must_use]
    pub fn answering(&self) -> Answering {
        let Envelope { headers, body } = &self.envelope;
        let facade = self.dialect == Dialect::Facade
            // The Java facade puts a whole JSON-RPC request beside these headers.
            || (self.dialect != Dialect::Envelope && headers.contains(names::METHOD));
        let id = RpcView::read(body).and_then(|rpc| rpc.id).map(str::to_owned);
        Answering {
            dialect: self.dialect,
            carriage: self.carriage,
            version: self.version,
            method: self.method.clone(),
            operation: self.operation(),
            id: id.or_else(|| self.correlation.as_ref().map(|found| found.json.clone())),
            correlation: self.correlation.as_ref().and_then(|found| found.to_header().ok()),
            hermes: HermesCall::read(body),
            facade,
            origin: origin_of(headers, body),
            origin_in_header: headers.contains(names::ORIGIN_REF),
            agent: String::new(),
            over: false,
        }
    }
}

impl Answering {
    /// Under which name a Hermes reply comes.
    #[must_use]
    pub fn as_agent(mut self, name: impl Into<String>) -> Self {
        self.agent = name.into();
        self
    }

    /// The dialect that asked.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How answers travel: as the request did.
    #[must_use]
    pub fn carriage(&self) -> Carriage {
        self.carriage
    }

    /// Whether the last answer has been written.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Writes one answer. `None` where the dialect has no form for it (an acknowledgement anywhere but here,
    /// an item of a stream to Hermes), or when the last one has been written.
    ///
    /// # Errors
    ///
    /// [`Error::Header`](crate::Error::Header) for an id or address that no header can carry. Nothing is
    /// written then, and the same answer may be tried again.
    pub fn write(&mut self, answer: &Answer) -> Result<Option<Envelope>> {
        if self.over {
            return Ok(None);
        }
        let written = match self.dialect {
            Dialect::Envelope => self.ours(answer).map(Some),
            Dialect::Hermes => Ok(self.hermes.as_ref().and_then(|call| call.reply(answer, &self.agent))),
            _ if self.facade => self.facade(answer),
            Dialect::JsonRpc | Dialect::JsonRpcLegacy => Ok(self.rpc(answer).map(plain)),
            Dialect::BareA2a => Ok(self.bare(answer).map(plain)),
            _ => Ok(self.opaque(answer).map(plain)),
        }?;
        let written = match (written, &self.origin) {
            (Some(envelope), Some(origin)) if self.origin_in_header || self.dialect == Dialect::Envelope => {
                Some(envelope.with_origin(origin, Reach::Home)?)
            }
            (written, _) => written,
        };
        self.over = answer.is_last();
        Ok(written)
    }

    /// This format: everything is in headers, and the body says it again for those who lose them.
    fn ours(&self, answer: &Answer) -> Result<Envelope> {
        let body = self.rpc(answer).unwrap_or_default();
        let kind = match answer.content {
            Content::Ack => ReplyType::Ack,
            Content::End => ReplyType::End,
            Content::Failure { .. } => ReplyType::Error,
            Content::Json(_) | Content::Raw(_) if answer.item => ReplyType::StreamResponse,
            Content::Json(_) | Content::Raw(_) => ReplyType::Response,
        };
        let mut envelope = Envelope::new(body).with_reply_type(kind)?.with_last(answer.is_last())?;
        if let Some(id) = &self.correlation {
            envelope = envelope.with_correlation_id(id)?;
        }
        let seq = if kind == ReplyType::Ack { Some(0) } else { answer.seq };
        if let Some(seq) = seq {
            envelope = envelope.with_seq(seq)?;
        }
        let event = answer.json().and_then(|json| EventView::read(json.as_bytes()));
        if let Some(generation) = answer.generation.or_else(|| event.as_ref()?.generation()) {
            envelope = envelope.with_generation(generation)?;
        }
        if let Some(id) = event.as_ref().and_then(EventView::task_id) {
            envelope = envelope.with_task_id(id)?;
        }
        if let Some(id) = event.as_ref().and_then(EventView::context_id) {
            envelope = envelope.with_context_id(id)?;
        }
        if let Some(inbox) = &answer.task_inbox {
            envelope = envelope.with_task_inbox(inbox)?;
        }
        Ok(envelope)
    }

    /// An event without anything around it.
    fn bare(&self, answer: &Answer) -> Option<Bytes> {
        match &answer.content {
            Content::Json(json) => Some(self.said(json, Wrapping::Bare, answer.is_last()).into()),
            Content::Raw(bytes) => Some(bytes.clone()),
            Content::Failure { message, .. } => Some(self.failed(message).into()),
            Content::Ack | Content::End => None,
        }
    }

    fn opaque(&self, answer: &Answer) -> Option<Bytes> {
        match &answer.content {
            Content::Json(json) => Some(json.clone().into()),
            Content::Raw(bytes) => Some(bytes.clone()),
            Content::Failure { .. } | Content::Ack | Content::End => None,
        }
    }

    /// A result in the version that asked.
    fn said(&self, json: &str, wrapping: Wrapping, last: bool) -> String {
        match self.version {
            Some(version) => convert::result(json, version, wrapping, last),
            None => json.to_owned(),
        }
    }

    /// A failure for those who know no errors: a task that failed.
    fn failed(&self, message: &str) -> String {
        let text = crate::json::quote(message);
        let event = format!(
            r#"{{"taskId":"","contextId":"","status":{{"state":"TASK_STATE_FAILED","message":{{"messageId":"","role":"ROLE_AGENT","parts":[{{"text":{text}}}]}}}}}}"#
        );
        self.said(&event, Wrapping::Bare, true)
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answering")
            .field("dialect", &self.dialect)
            .field("version", &self.version)
            .field("method", &self.method)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

fn plain(body: impl Into<Bytes>) -> Envelope {
    Envelope::from_parts(crate::headers::Headers::new(), body)
}
