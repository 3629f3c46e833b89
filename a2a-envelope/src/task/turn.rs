//! A task's requests, and the turn that works on one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::correlation::CorrelationId;
use crate::idempotency::RequestRecord;
use crate::json_text::JsonText;

/// A request of a task: the message that began it, or a follow-up.
///
/// `Debug` prints neither the message nor the address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskRequest {
    /// What ties the answers to it.
    pub correlation: String,
    /// The JSON-RPC `id` as it was spelled.
    pub id_json: JsonText,
    /// The A2A message.
    pub message: JsonText,
    /// Where the answers go; nobody is answered without it.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Under which key the request is remembered.
    #[serde(default)]
    pub key: Option<String>,
    /// Under whose key that is. Two callers of one task may use the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Whether the caller wants every event, or the outcome only.
    #[serde(default)]
    pub streams: bool,
    /// When nobody waits for it any longer, in unix milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// How it was asked, where the answers need to know.
    #[serde(default)]
    pub asked: Option<Asked>,
}

/// How a request was asked, kept so that it is answered in kind by another worker too.
///
/// `Debug` prints no content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Asked {
    /// Headers and body in the wrapped carriage; of a request of this format only the headers that come back.
    pub text: String,
    /// Whether it was of this format.
    pub ours: bool,
    /// Whether it travelled as one JSON text.
    pub wrapped: bool,
    /// The network's conversation it belongs to.
    #[serde(default)]
    pub conversation: Option<String>,
    /// The trace that the work on it belongs to, as a `traceparent` line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("ours", &self.ours)
            .field("wrapped", &self.wrapped)
            .finish_non_exhaustive()
    }
}

impl TaskRequest {
    /// A request that wants its outcome only, under a correlation id.
    #[must_use]
    pub fn new(correlation: &CorrelationId, message: JsonText) -> Self {
        Self {
            correlation: correlation.as_str().to_owned(),
            id_json: JsonText::string(correlation.as_str()),
            message,
            reply_to: None,
            key: None,
            sender: None,
            streams: false,
            deadline_ms: None,
            asked: None,
        }
    }

    /// Every event is wanted.
    #[must_use]
    pub fn with_streaming(mut self) -> Self {
        self.streams = true;
        self
    }

    /// Where the answers go.
    #[must_use]
    pub fn with_reply_to(mut self, address: impl Into<String>) -> Self {
        self.reply_to = Some(address.into());
        self
    }

    /// Under which key the request is remembered.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The JSON-RPC `id` as it was spelled.
    #[must_use]
    pub fn with_id_json(mut self, id: JsonText) -> Self {
        self.id_json = id;
        self
    }

    /// Whether nobody waits for it any longer. A worker that takes the request over asks this before it runs it.
    #[must_use]
    pub fn is_expired(&self, now: Duration) -> bool {
        self.deadline_ms.is_some_and(|deadline| now >= Duration::from_millis(deadline))
    }

    fn size(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |asked| asked.text.len());
        self.correlation.len() + self.id_json.as_str().len() + self.message.as_str().len() + asked
    }
}

impl fmt::Debug for TaskRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRequest")
            .field("correlation", &self.correlation)
            .field("message", &self.message)
            .field("reply_to", &self.reply_to.as_ref().map(|_| "<address>"))
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// A request of a task and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Turn {
    /// The request.
    pub request: TaskRequest,
    /// What was said at its end: a question, a reason, or the message that was the answer.
    #[serde(default)]
    pub answer: Option<JsonText>,
    /// The highest number among its replies that may have been used. Whoever goes on with an open turn
    /// numbers from the next one.
    #[serde(default)]
    pub seq: u64,
    /// Whether its last reply was made.
    #[serde(default)]
    pub closed: bool,
    /// Whether the answer was a lone message, so that the caller never heard of a task.
    #[serde(default)]
    pub message_only: bool,
}

impl Turn {
    pub(super) fn new(request: TaskRequest) -> Self {
        Self { request, answer: None, seq: 0, closed: false, message_only: false }
    }

    /// Whether it is that of the request of this record. One that was stored without its sender is known by its key.
    pub(crate) fn is_of(&self, record: &RequestRecord) -> bool {
        self.request.key.as_ref() == Some(&record.key)
            && self.request.sender.as_ref().is_none_or(|sender| *sender == record.sender)
    }

    pub(super) fn size(&self) -> usize {
        self.request.size() + self.answer.as_ref().map_or(0, |answer| answer.as_str().len())
    }
}
