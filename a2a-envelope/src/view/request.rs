//! Requests.

use std::borrow::Cow;

use super::{MessageView, filled, flag, number, raw, texts};
use crate::json::{Kind, Node};

/// What a request asks, in whichever version and dialect.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The message, of a request to send one.
    pub message: Option<MessageView<'a>>,
    /// The task it is about: `id` or `taskId` of the parameters, or the message's `taskId`. In 0.1 a request
    /// to send names the task's id itself.
    pub task_id: Option<Cow<'a, str>>,
    /// The context: the message's `contextId`, or 0.1's `sessionId`.
    pub context_id: Option<Cow<'a, str>>,
    /// `configuration.acceptedOutputModes`.
    pub accepted_output_modes: Vec<Cow<'a, str>>,
    /// `historyLength`.
    pub history_length: Option<u64>,
    /// Whether the caller waits for the end: 0.x's `blocking`, or 1.0's `returnImmediately`, which means
    /// the opposite. `None` where neither is said: 1.0 then waits, 0.x does not.
    pub waits: Option<bool>,
    /// `tenant`, of 1.0.
    pub tenant: Option<Cow<'a, str>>,
    /// `metadata` of the request, as JSON text.
    pub metadata: Option<&'a str>,
    /// What a Hermes call says in words, where its payload is no A2A message.
    pub instruction: Option<Cow<'a, str>>,
    /// The parameters as JSON text: `params` of JSON-RPC, `payload` of a Hermes call, else the whole body.
    pub raw: &'a str,
}

impl<'a> RequestView<'a> {
    /// Reads a request's body; `None` if it is no JSON object within the default limits, or its parameters
    /// are none.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        Self::of(super::object(body)?)
    }

    pub(crate) fn of(root: Node<'a>) -> Option<Self> {
        let params = if crate::dialect::is_hermes(root) {
            root.get("payload")?
        } else if root.get("jsonrpc").is_some() {
            root.get("params")?
        } else {
            root
        };
        match params.kind() {
            Kind::Object => Some(Self::within(params)),
            // Hermes makes an instruction of a plain text.
            Kind::String => Some(Self { instruction: params.as_str(), ..Self::empty(params) }),
            _ => None,
        }
    }

    fn within(params: Node<'a>) -> Self {
        let message = params.get("message").filter(|message| message.is_object()).or_else(|| {
            let bare = params.get("role").is_some() && params.get("parts").is_some();
            bare.then_some(params)
        });
        let message = message.map(MessageView::of);
        let settings = params.get("configuration").filter(|settings| settings.is_object());
        let told = |name| flag(settings?, name);
        Self {
            task_id: message
                .as_ref()
                .and_then(|message| message.task_id.clone())
                .or_else(|| filled(params, "taskId"))
                .or_else(|| filled(params, "id")),
            context_id: message
                .as_ref()
                .and_then(|message| message.context_id.clone())
                .or_else(|| filled(params, "contextId"))
                .or_else(|| filled(params, "sessionId")),
            accepted_output_modes: settings.map(|s| texts(s, "acceptedOutputModes")).unwrap_or_default(),
            history_length: settings
                .and_then(|settings| number(settings, "historyLength"))
                .or_else(|| number(params, "historyLength")),
            waits: told("blocking").or_else(|| told("returnImmediately").map(|at_once| !at_once)),
            tenant: filled(params, "tenant"),
            metadata: raw(params, "metadata"),
            instruction: filled(params, "instruction"),
            message,
            ..Self::empty(params)
        }
    }

    fn empty(params: Node<'a>) -> Self {
        Self {
            message: None,
            task_id: None,
            context_id: None,
            accepted_output_modes: Vec::new(),
            history_length: None,
            waits: None,
            tenant: None,
            metadata: None,
            instruction: None,
            raw: params.raw(),
        }
    }

    /// What it says to a reader of text: the message's text, else the instruction.
    #[must_use]
    pub fn text(&self) -> String {
        let message = self.message.as_ref().map(MessageView::text).unwrap_or_default();
        if message.is_empty() { self.instruction.as_deref().unwrap_or_default().to_owned() } else { message }
    }
}
