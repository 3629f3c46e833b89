//! The replies to one request: their numbers and headers.

use crate::correlation::CorrelationId;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::json::quote;
use crate::json_text::JsonText;
use crate::reply::ReplyType;
use crate::task::{AnswerBy, TaskRequest};

/// The replies to one request: it gives each its number and its headers. After the last one it gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    correlation: CorrelationId,
    id_json: JsonText,
    seq: u64,
    ended: bool,
}

/// What a reply belongs to.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Belongs<'a> {
    /// The task, its context and its generation.
    pub task: Option<(&'a str, &'a str, u64)>,
    /// Where follow-ups go.
    pub task_inbox: Option<&'a str>,
    /// Until when its question may be answered.
    pub answer_by: Option<AnswerBy>,
}

impl<'a> Belongs<'a> {
    /// To no task.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// To a task of a context, at a generation.
    #[must_use]
    pub fn to_task(id: &'a str, context_id: &'a str, generation: u64) -> Self {
        Self { task: Some((id, context_id, generation)), task_inbox: None, answer_by: None }
    }

    /// Where follow-ups go.
    #[must_use]
    pub fn with_task_inbox(mut self, inbox: Option<&'a str>) -> Self {
        self.task_inbox = inbox;
        self
    }

    /// Until when its question may be answered.
    #[must_use]
    pub fn with_answer_by(mut self, by: Option<AnswerBy>) -> Self {
        self.answer_by = by;
        self
    }
}

impl Line {
    /// The replies to the request of this correlation id. `id_json` is the JSON-RPC `id` as it was spelled.
    #[must_use]
    pub fn new(correlation: CorrelationId, id_json: JsonText) -> Self {
        Self { correlation, id_json, seq: 0, ended: false }
    }

    /// The replies to a stored request, whose numbers up to `seq` are used.
    ///
    /// # Errors
    ///
    /// [`Error::Header`](crate::Error::Header) for a correlation id that no header can carry.
    pub fn of(request: &TaskRequest, seq: u64) -> Result<Self> {
        let correlation = CorrelationId::new(request.correlation.as_str())?;
        Ok(Self { correlation, id_json: request.id_json.clone(), seq, ended: false })
    }

    /// The correlation id.
    #[must_use]
    pub fn correlation(&self) -> &CorrelationId {
        &self.correlation
    }

    /// The JSON-RPC `id` as it was spelled.
    #[must_use]
    pub fn id_json(&self) -> &JsonText {
        &self.id_json
    }

    /// The number given last; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether the last reply was given.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// That the request is taken: number 0, as often as it is asked.
    ///
    /// # Errors
    ///
    /// [`Error::Header`](crate::Error::Header), as for all that follow, if an id cannot be carried.
    pub fn ack(&self, belongs: Belongs<'_>) -> Result<Envelope> {
        self.envelope(ReplyType::Ack, "{}".to_owned(), 0, belongs)
    }

    /// One result of the request: an item of a stream, or the one answer. `None` after the end.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack); no number is used then.
    pub fn result(
        &mut self,
        kind: ReplyType,
        result: &JsonText,
        last: bool,
        belongs: Belongs<'_>,
    ) -> Result<Option<Envelope>> {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}", self.id_json);
        self.numbered(kind, body, last, belongs)
    }

    /// The request failed. `None` after the end.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn failure(
        &mut self,
        code: i32,
        message: &str,
        reason: &str,
        belongs: Belongs<'_>,
    ) -> Result<Option<Envelope>> {
        let error = error_json(code, message, reason);
        self.failure_with(&error, belongs)
    }

    /// The request failed with this JSON-RPC error object. `None` after the end.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn failure_with(&mut self, error: &JsonText, belongs: Belongs<'_>) -> Result<Option<Envelope>> {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", self.id_json);
        self.numbered(ReplyType::Error, body, true, belongs)
    }

    /// That nothing follows, where the reply before could not say so. `None` after the end.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn end(&mut self, belongs: Belongs<'_>) -> Result<Option<Envelope>> {
        self.numbered(ReplyType::End, "{}".to_owned(), true, belongs)
    }

    fn numbered(
        &mut self,
        kind: ReplyType,
        body: String,
        last: bool,
        belongs: Belongs<'_>,
    ) -> Result<Option<Envelope>> {
        if self.ended {
            return Ok(None);
        }
        let envelope = self.envelope(kind, body, self.seq + 1, belongs)?.with_last(last)?;
        self.seq += 1;
        self.ended = last;
        Ok(Some(envelope))
    }

    fn envelope(&self, kind: ReplyType, body: String, seq: u64, belongs: Belongs<'_>) -> Result<Envelope> {
        let mut envelope = Envelope::new(body)
            .with_correlation_id(&self.correlation)?
            .with_reply_type(kind)?
            .with_seq(seq)?;
        if let Some((task, context, generation)) = belongs.task {
            envelope = envelope.with_task_id(task)?.with_context_id(context)?.with_generation(generation)?;
        }
        if let Some(by) = belongs.answer_by {
            envelope = envelope.with_deadline(by.unix_ms)?;
        }
        match belongs.task_inbox {
            Some(inbox) => envelope.with_task_inbox(inbox),
            None => Ok(envelope),
        }
    }
}

/// A JSON-RPC error object with A2A's details.
pub(crate) fn error_json(code: i32, message: &str, reason: &str) -> JsonText {
    let domain =
        if (-32_010..=-32_001).contains(&code) { "a2a-protocol.org" } else { "agentchat-rs.github.io" };
    JsonText::trusted(format!(
        "{{\"code\":{code},\"message\":{},\"data\":[{{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\
         \"reason\":{},\"domain\":\"{domain}\"}}]}}",
        quote(message),
        quote(reason)
    ))
}
