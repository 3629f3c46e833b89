//! One answer, before it is written in a dialect.

use std::fmt;

use bytes::Bytes;

use crate::vocabulary::ErrorCode;

/// One answer to a request, before it is written in a dialect. `Debug` prints no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub(super) content: Content,
    pub(super) item: bool,
    last: Option<bool>,
    pub(super) seq: Option<u64>,
    pub(super) generation: Option<u64>,
    pub(super) task_inbox: Option<String>,
    pub(super) unix_seconds: Option<u64>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Content {
    Json(String),
    Raw(Bytes),
    Failure { code: i64, message: String, data: Option<String> },
    Ack,
    End,
}

impl Answer {
    /// The one answer to a request that does not stream: a result as JSON text, of any A2A version. It is the
    /// last.
    #[must_use]
    pub fn response(json: impl Into<String>) -> Self {
        Self::of(Content::Json(json.into()), false)
    }

    /// One item of a stream: an event as JSON text, of any A2A version.
    #[must_use]
    pub fn item(json: impl Into<String>) -> Self {
        Self::of(Content::Json(json.into()), true)
    }

    /// Bytes that are the whole body, whatever they are. It is the last unless said otherwise.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Raw(bytes.into()), false)
    }

    /// The request failed. It is the last.
    #[must_use]
    pub fn failure(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::failure_with(code.code(), message, None)
    }

    /// The request failed with any code, and details as JSON text.
    #[must_use]
    pub fn failure_with(code: i64, message: impl Into<String>, data: Option<String>) -> Self {
        Self::of(Content::Failure { code, message: message.into(), data }, false)
    }

    /// The request is durably recorded, not yet run.
    #[must_use]
    pub fn ack() -> Self {
        Self::of(Content::Ack, true)
    }

    /// The stream is over, with nothing else to say. It is the last.
    #[must_use]
    pub fn end() -> Self {
        Self::of(Content::End, false)
    }

    /// Says whether it is the last.
    #[must_use]
    pub fn with_last(mut self, last: bool) -> Self {
        self.last = Some(last);
        self
    }

    /// Its place among the answers to the request: 1, 2, 3, …
    #[must_use]
    pub fn with_seq(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// The task's generation after it. Without this the event's own counts.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Where follow-ups and cancels of the task go: a bare mailbox address.
    #[must_use]
    pub fn with_task_inbox(mut self, address: impl Into<String>) -> Self {
        self.task_inbox = Some(address.into());
        self
    }

    /// When it was written, in unix seconds; Hermes replies say so.
    #[must_use]
    pub fn with_time(mut self, unix_seconds: u64) -> Self {
        self.unix_seconds = Some(unix_seconds);
        self
    }

    /// Whether it is the last.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.last.unwrap_or(!self.item)
    }

    pub(super) fn json(&self) -> Option<&str> {
        match &self.content {
            Content::Json(json) => Some(json),
            Content::Raw(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    fn of(content: Content, item: bool) -> Self {
        Self { content, item, last: None, seq: None, generation: None, task_inbox: None, unix_seconds: None }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = match &self.content {
            Content::Json(json) => ("json", json.len()),
            Content::Raw(bytes) => ("raw", bytes.len()),
            Content::Failure { message, .. } => ("failure", message.len()),
            Content::Ack => ("ack", 0),
            Content::End => ("end", 0),
        };
        f.debug_struct("Answer")
            .field("content", &format_args!("{kind}(<{bytes} bytes>)"))
            .field("last", &self.is_last())
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}
