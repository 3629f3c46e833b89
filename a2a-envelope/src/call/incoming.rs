//! A request as its server needs it.

use std::fmt;
use std::time::Duration;

use crate::answer_address::answer_address;
use crate::envelope::Envelope;
use crate::error::{Error, HeaderRule, Result};
use crate::idempotency::{RequestKey, RequestRecord, WaitingRequest};
use crate::json::{self, Node};
use crate::json_text::JsonText;
use crate::limits::Limits;
use crate::names;
use crate::reply::ReplyType;
use crate::stream::{Belongs, Line, line_of};
use crate::task::{TaskError, TaskRequest};
use crate::vocabulary::Operation;

/// A request as its server needs it. Nothing of it is kept by reading it.
///
/// `Debug` prints neither message nor address.
#[derive(Clone)]
#[non_exhaustive]
pub struct Incoming {
    /// What it asks for; `None` for a method that is not known here. A message without a method is sent.
    pub operation: Option<Operation>,
    /// The replies to it, from number 1.
    pub line: Line,
    /// What makes it the same request when it comes again.
    pub key: Option<RequestKey>,
    /// The task it names: a follow-up, or what is read, called off or subscribed to.
    pub task_id: Option<String>,
    /// The context it names.
    pub context_id: Option<String>,
    /// The generation a follow-up answers (`amb-if-generation`, or `ifGenerationMatch` of A2A 1.1).
    pub if_generation: Option<u64>,
    /// The generation a subscription resumes after (`amb-resume-after`).
    pub resume_after: Option<u64>,
    /// When nobody waits for it any longer, since the unix epoch.
    pub deadline: Option<Duration>,
    /// The A2A message, if it has one.
    pub message: Option<JsonText>,
    /// Where answers go: the sender's claim, which is to be checked before anything is sent there.
    pub reply_to: Option<String>,
}

impl Incoming {
    /// Reads a request. `client_msg_id` is the id its network knows it by.
    ///
    /// # Errors
    ///
    /// [`Error::MethodMismatch`], [`Error::Limit`], and [`Error::Header`] for a number that is none, or
    /// a correlation id that no reply could carry.
    pub fn read(envelope: &Envelope, client_msg_id: Option<&str>, limits: &Limits) -> Result<Self> {
        let method = envelope.request_method(limits)?;
        let operation = method.as_deref().map_or(Some(Operation::SendMessage), Operation::parse);
        let root = json::parse_body(&envelope.body, limits).ok();
        let params = root.map(|root| root.get("params").unwrap_or(root));
        let message = params.and_then(message_of);
        let owned = |text: std::borrow::Cow<'_, str>| Some(text.into_owned()).filter(|text| !text.is_empty());
        let said = |name| message.and_then(|message| message.text_of(name)).and_then(owned);
        let named = || params.and_then(|params| params.text_of("id")).and_then(owned);
        let sends = operation.is_some_and(Operation::sends_message);
        let task_id = if sends { said("taskId") } else { named() };
        let generation_match = params
            .and_then(|params| params.at(&["configuration", "ifGenerationMatch"]))
            .and_then(|value| value.raw().trim_matches('"').parse().ok());
        Ok(Self {
            line: line_of(envelope)?,
            key: RequestKey::of(envelope, client_msg_id, limits),
            task_id: task_id.or_else(|| envelope.task_id().map(str::to_owned)),
            context_id: said("contextId").or_else(|| envelope.context_id().map(str::to_owned)),
            if_generation: number(envelope, names::IF_GENERATION)?.or(generation_match),
            resume_after: number(envelope, names::RESUME_AFTER)?,
            deadline: envelope.deadline()?.map(Duration::from_millis),
            message: message.map(JsonText::of),
            reply_to: answer_address(&envelope.headers, &envelope.body).map(|found| found.address),
            operation,
        })
    }

    /// The follow-up that waits in a record.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] for a correlation id that no header can carry.
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only what serves asks"))]
    pub(crate) fn waiting(record: &RequestRecord, waiting: &WaitingRequest) -> Result<Self> {
        let request = &waiting.request;
        let operation =
            if request.streams { Operation::SendStreamingMessage } else { Operation::SendMessage };
        Ok(Self {
            operation: Some(operation),
            line: Line::of(request, 0)?,
            key: RequestKey::new(&record.key),
            task_id: Some(record.task_id.clone()),
            context_id: waiting.context_id.clone(),
            if_generation: waiting.if_generation,
            resume_after: None,
            deadline: request.deadline_ms.map(Duration::from_millis),
            message: Some(request.message.clone()),
            reply_to: request.reply_to.clone(),
        })
    }

    /// Whether nobody waits for it any longer: it is answered with [`expired`](Self::expired) and not run.
    #[must_use]
    pub fn is_expired(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// The answer to a request that came too late.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if an id cannot be carried.
    pub fn expired(&self) -> Result<Envelope> {
        self.refused(-32603, "the deadline of the request has passed", DEADLINE_EXCEEDED)
    }

    /// The answer to a request whose key was used for another one.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if an id cannot be carried.
    pub fn conflict(&self) -> Result<Envelope> {
        self.refused(-32600, "the key was used for a request with another body", "IDEMPOTENCY_CONFLICT")
    }

    /// The answer to a request that its task does not take.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if an id cannot be carried.
    pub fn refused_by(&self, error: &TaskError) -> Result<Envelope> {
        self.refused(error.code(), &error.public_text(), error.reason())
    }

    /// That the request is durably taken: number 0, as often as it is asked.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if an id cannot be carried.
    pub fn ack(&self) -> Result<Envelope> {
        self.line.ack(Belongs::nowhere())
    }

    /// The request as a task keeps it; `None` without a message.
    #[must_use]
    pub fn task_request(&self) -> Option<TaskRequest> {
        let mut request = TaskRequest::new(self.line.correlation(), self.message.clone()?)
            .with_id_json(self.line.id_json().clone());
        request.streams = self.operation == Some(Operation::SendStreamingMessage);
        request.reply_to.clone_from(&self.reply_to);
        request.deadline_ms = self.deadline.and_then(|deadline| u64::try_from(deadline.as_millis()).ok());
        request.key = self.key.as_ref().map(|key| key.as_str().to_owned());
        Some(request)
    }

    /// The answer that refuses the request.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if an id cannot be carried.
    pub fn refused(&self, code: i32, message: &str, reason: &str) -> Result<Envelope> {
        let made = self.line.clone().failure(code, message, reason, Belongs::nowhere())?;
        Ok(made.expect("no last reply was given before"))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("operation", &self.operation)
            .field("correlation", self.line.correlation())
            .field("task_id", &self.task_id)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Envelope {
    /// Sets `amb-resume-after`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_resume_after(self, generation: u64) -> Result<Self> {
        self.with_header(names::RESUME_AFTER, &generation.to_string())
    }

    /// Sets `amb-if-generation`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_if_generation(self, generation: u64) -> Result<Self> {
        self.with_header(names::IF_GENERATION, &generation.to_string())
    }
}

/// The message of a request's parameters, or the parameters if they are one.
fn message_of(params: Node<'_>) -> Option<Node<'_>> {
    let bare = || Some(params).filter(|at| at.get("role").is_some() && at.get("parts").is_some());
    params.get("message").filter(|message| message.is_object()).or_else(bare)
}

fn number(envelope: &Envelope, name: &str) -> Result<Option<u64>> {
    let Some(value) = envelope.header(name) else { return Ok(None) };
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number.map(Some).ok_or_else(|| Error::header(name, HeaderRule::NotANumber))
}

/// Whether a reply says that a request was found after its deadline and became no task. Its sender has given it
/// up by then, or has sent it again.
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only what calls asks"))]
pub(crate) fn is_stale(reply: &Envelope) -> bool {
    if reply.reply_type() != Some(ReplyType::Error) || reply.task_id().is_some() {
        return false;
    }
    let Ok(root) = json::parse_body(&reply.body, &Limits::default()) else { return false };
    let is_it = |detail: Node<'_>| detail.text_of("reason").is_some_and(|reason| reason == DEADLINE_EXCEEDED);
    root.at(&["error", "data"]).is_some_and(|details| details.items().any(|item| is_it(item.value)))
}

/// The reason of a request that was found after its deadline.
pub(crate) const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
