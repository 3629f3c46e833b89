//! What a caller asks, and the envelope it travels in.

use std::fmt;
use std::time::Duration;

use agentchat_core::ClientMsgId;

use super::a2a_answer::A2aAnswer;
use crate::correlation::CorrelationId;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::json::quote;
use crate::json_text::JsonText;
use crate::safety::{Origin, Reach};
use crate::stream::ReaderOptions;
use crate::view::MessageView;
use crate::vocabulary::Operation;

/// What is asked of a peer, and how its replies are read.
///
/// The `messageId` is what a repetition is recognised by: the same request sent again, by the same agent to the
/// same peer, is answered and not run again. `Debug` prints no message.
#[derive(Clone)]
#[non_exhaustive]
pub struct A2aRequest {
    /// What it says.
    pub(super) message: Said,
    pub(super) message_id: String,
    /// Whether every event is wanted, or the outcome only (default).
    pub streams: bool,
    /// How long the peer may take, sending included (default 60 s). The moment is carried: a peer that finds the
    /// request later answers with an error instead of running it.
    pub timeout: Duration,
    /// How long a call that timed out can still be read (default one hour).
    pub keep: Duration,
    /// Whether the replies get an inbox for this call alone, instead of the one kept for the peer. It is as good as
    /// unsaid on a network where an agent has one inbox ([`extra_inbox`](agentchat_core::Capabilities::extra_inbox)
    /// is off): nobody but the peer can answer there, whom the network tells apart by itself. Once such a call is
    /// answered or given up, the same request has another inbox, and is a new one to the peer.
    pub private_inbox: bool,
    /// How the replies are read.
    pub reader: ReaderOptions,
    /// The task this answers, its context, and the generation it answers.
    pub(super) task: Option<(String, Option<String>, Option<u64>)>,
    pub(super) context_id: Option<String>,
    pub(super) task_inbox: Option<String>,
    /// Who asked in the first place.
    pub origin: Option<Origin>,
}

#[derive(Clone)]
pub(super) enum Said {
    Text(String),
    Message(JsonText),
}

impl A2aRequest {
    /// A message of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Said::Text(text.into()), ClientMsgId::random().as_str().to_owned())
    }

    /// An A2A message as its author wrote it: its bytes travel unchanged, its own ids count.
    #[must_use]
    pub fn message(message: JsonText) -> Self {
        let id = MessageView::read(message.as_str().as_bytes())
            .and_then(|view| view.message_id.map(|id| id.into_owned()));
        let id = id.unwrap_or_else(|| ClientMsgId::random().as_str().to_owned());
        Self::of(Said::Message(message), id)
    }

    fn of(message: Said, message_id: String) -> Self {
        Self {
            message,
            message_id,
            streams: false,
            timeout: Duration::from_secs(60),
            keep: Duration::from_secs(3_600),
            private_inbox: false,
            reader: ReaderOptions::default(),
            task: None,
            context_id: None,
            task_inbox: None,
            origin: None,
        }
    }

    /// Under this `messageId`; for a [`message`](Self::message), under this key.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = id.into();
        self
    }

    /// Every event is wanted.
    #[must_use]
    pub fn with_streaming(mut self) -> Self {
        self.streams = true;
        self
    }

    /// Sets how long the peer may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a call that timed out can be read.
    #[must_use]
    pub fn with_keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Uses an inbox for this call alone, where there is such a thing; see [`private_inbox`](Self::private_inbox).
    #[must_use]
    pub fn with_private_inbox(mut self) -> Self {
        self.private_inbox = true;
        self
    }

    /// Sets how the replies are read.
    #[must_use]
    pub fn with_reader(mut self, options: ReaderOptions) -> Self {
        self.reader = options;
        self
    }

    /// Begins a new task in this context.
    #[must_use]
    pub fn with_context(mut self, context_id: impl Into<String>) -> Self {
        self.context_id = Some(context_id.into());
        self
    }

    /// Says more to this task, whatever it asks now.
    #[must_use]
    pub fn with_task(mut self, task_id: impl Into<String>, context_id: Option<String>) -> Self {
        self.task = Some((task_id.into(), context_id, None));
        self
    }

    /// Answers what a task asked: this question and no later one.
    #[must_use]
    pub fn answering(mut self, question: &A2aAnswer) -> Self {
        if let Some(task) = &question.task_id {
            self.task = Some((task.clone(), question.context_id.clone(), question.asked_at()));
            self.task_inbox.clone_from(&question.task_inbox);
        }
        self
    }

    /// Says who asked in the first place.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The request under a correlation id, as it is sent.
    pub(super) fn envelope(&self, correlation: &CorrelationId, reach: Reach) -> Result<Envelope> {
        let method = if self.streams { Operation::SendStreamingMessage } else { Operation::SendMessage };
        let message = match &self.message {
            Said::Message(message) => message.as_str().to_owned(),
            Said::Text(text) => self.said(text),
        };
        let params = format!("{{\"message\":{message}}}");
        let mut envelope = envelope(method, correlation, &params)?;
        if self.message_id.bytes().all(|b| b.is_ascii_graphic()) && !self.message_id.is_empty() {
            envelope = envelope.with_idempotency_key(&self.message_id)?;
        }
        if let Some((task, context, generation)) = &self.task {
            envelope = envelope.with_task_id(task)?;
            if let Some(context) = context {
                envelope = envelope.with_context_id(context)?;
            }
            if let Some(generation) = generation {
                envelope = envelope.with_if_generation(*generation)?;
            }
        }
        match &self.origin {
            Some(origin) => envelope.with_origin(origin, reach),
            None => Ok(envelope),
        }
    }

    fn said(&self, text: &str) -> String {
        let mut message = format!("{{\"messageId\":{}", quote(&self.message_id));
        let (task, context) = match &self.task {
            Some((task, context, _)) => (Some(task), context.as_ref()),
            None => (None, self.context_id.as_ref()),
        };
        for (name, value) in [("taskId", task), ("contextId", context)] {
            if let Some(value) = value {
                message.push_str(&format!(",\"{name}\":{}", quote(value)));
            }
        }
        message.push_str(&format!(",\"role\":\"ROLE_USER\",\"parts\":[{{\"text\":{}}}]}}", quote(text)));
        message
    }
}

impl fmt::Debug for A2aRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("A2aRequest")
            .field("message_id", &self.message_id)
            .field("streams", &self.streams)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A request of this method with these parameters.
pub(super) fn envelope(method: Operation, correlation: &CorrelationId, params: &str) -> Result<Envelope> {
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"{method}\",\"params\":{params}}}",
        quote(correlation.as_str())
    );
    Envelope::new(body)
        .with_method(method.as_str())?
        .with_correlation_id(correlation)?
        .with_a2a_version("1.0")
}
