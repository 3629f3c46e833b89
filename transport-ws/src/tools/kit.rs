//! What every tool is made of.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use agentchat_core::Result;
use agentchat_core::tools::{ToolArgs, ToolCall, ToolSpec};
use bytes::Bytes;
use serde_json::Value;

use crate::api::AgentChat;

/// What tools share.
#[derive(Clone)]
pub(super) struct Kit {
    client: AgentChat,
    own: Arc<str>,
}

/// One call of a tool: its client keeps to the call's time, and what the server says is kept beside what
/// is made of it.
pub(super) struct Asked {
    pub(super) client: AgentChat,
    /// Whose account it is.
    pub(super) own: Arc<str>,
    pub(super) call: ToolCall,
    heard: Heard,
}

/// The body of the last answer that a client got. `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Bytes>>);

impl Kit {
    pub(super) fn new(client: &AgentChat, own: String) -> Self {
        Self { client: client.clone(), own: own.into() }
    }

    /// The tool `name`, which does `run`.
    pub(super) fn tool<A, F, R>(&self, name: &str, description: &str, run: F) -> Result<ToolSpec>
    where
        A: ToolArgs,
        F: Fn(Asked, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value>> + Send + 'static,
    {
        let kit = self.clone();
        ToolSpec::new(name, description, move |args: A, call: ToolCall| run(kit.ask(call), args))
    }

    /// The same for one that changes nothing.
    pub(super) fn reading<A, F, R>(&self, name: &str, description: &str, run: F) -> Result<ToolSpec>
    where
        A: ToolArgs,
        F: Fn(Asked, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value>> + Send + 'static,
    {
        Ok(self.tool(name, description, run)?.with_read_only(true))
    }

    /// The same for one that changes something, and the second time nothing more.
    pub(super) fn repeatable<A, F, R>(&self, name: &str, description: &str, run: F) -> Result<ToolSpec>
    where
        A: ToolArgs,
        F: Fn(Asked, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value>> + Send + 'static,
    {
        Ok(self.tool(name, description, run)?.with_idempotent(true))
    }

    fn ask(&self, call: ToolCall) -> Asked {
        let heard = Heard::default();
        let client = self.client.clone().with_call_timeout(call.remaining()).heard_by(heard.clone());
        Asked { client, own: Arc::clone(&self.own), call, heard }
    }
}

impl Asked {
    /// What the server said last, as it said it; nothing for an answer without a body, or no JSON.
    pub(super) fn said(&self) -> Value {
        let body = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// One member of it.
    pub(super) fn said_of(&self, name: &str) -> Value {
        match self.said() {
            Value::Object(mut members) => members.remove(name).unwrap_or_default(),
            _ => Value::Null,
        }
    }
}

impl Heard {
    pub(crate) fn keep(&self, body: &Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body.clone();
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heard(…)")
    }
}
