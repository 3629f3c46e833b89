//! What a call comes with, and what the tool sees of it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::id::ClientMsgId;

/// What a framework knows of a call.
#[derive(Clone, Default)]
#[must_use]
pub struct ToolContext {
    /// The scope, and the call's name in it.
    call_id: Option<(String, String)>,
    deadline: Option<Duration>,
}

/// A call, as the tool sees it. Cheap to clone.
#[derive(Clone)]
pub struct ToolCall(Arc<Inner>);

struct Inner {
    call_id: Option<String>,
    /// What ids are derived under, and from: chance, or the framework's call.
    scope: String,
    key: String,
    used: OnceLock<ClientMsgId>,
    end: Instant,
}

impl ToolContext {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The framework's own name of this call, within `scope`: what tells this run or conversation apart from
    /// all others that the account sees, and is the same when the framework repeats a call. Call ids alone are
    /// counted anew in each, with many frameworks. A repeated call sends under its old ids:
    /// [`ToolCall::client_msg_id`].
    pub fn with_call_id(mut self, scope: impl Into<String>, id: impl Into<String>) -> Self {
        self.call_id = Some((scope.into(), id.into()));
        self
    }

    /// How long the call may take, whatever the tool's own [deadline](super::ToolSpec::deadline) is.
    pub fn with_deadline(mut self, within: Duration) -> Self {
        self.deadline = Some(within);
        self
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }
}

impl ToolCall {
    pub(super) fn new(tool: &str, arguments: &Value, context: ToolContext, end: Instant) -> Self {
        let (call_id, scope, key) = match context.call_id {
            // Lengths tell the parts apart, whatever is in them.
            Some((scope, id)) => {
                let within = format!("tool call {}:{scope} {}:{tool}", scope.len(), tool.len());
                let key = format!("{}:{id} {}", id.len(), canonical(arguments));
                (Some(id), within, key)
            }
            None => (None, "tool call".to_owned(), ClientMsgId::random().to_string()),
        };
        Self(Arc::new(Inner { call_id, scope, key, used: OnceLock::new(), end }))
    }

    /// The id for the message that this call sends; the same each time it is asked. With a call id of the
    /// framework it is derived from the scope, the tool, that id and the arguments, so that a call which the
    /// framework or the model repeats is recognised by the network and not sent twice, also by another
    /// process. A call id that is used anew with other arguments gets another id: it is another message.
    /// Without a call id it is a fresh one. It is told in the answer when the call fails.
    pub fn client_msg_id(&self) -> ClientMsgId {
        self.0.used.get_or_init(|| ClientMsgId::derived(&self.0.scope, &self.0.key)).clone()
    }

    /// The same for a call that sends several messages: one id for each `part`.
    pub fn client_msg_id_for(&self, part: &str) -> ClientMsgId {
        ClientMsgId::derived(&self.0.scope, &format!("{} {part}", self.client_msg_id()))
    }

    /// The framework's name of the call, when it has one.
    pub fn call_id(&self) -> Option<&str> {
        self.0.call_id.as_deref()
    }

    /// How much of its time is left. What is left is the bound for what the tool waits for.
    pub fn remaining(&self) -> Duration {
        self.0.end.saturating_duration_since(Instant::now())
    }

    pub(super) fn used_id(&self) -> Option<&ClientMsgId> {
        self.0.used.get()
    }
}

impl fmt::Debug for ToolContext {
    /// A scope may name a conversation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("has_call_id", &self.call_id.is_some())
            .field("deadline", &self.deadline)
            .finish()
    }
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall").field("call_id", &self.0.call_id).finish_non_exhaustive()
    }
}

/// One text for arguments that are equal, whatever order their members have.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(tool: &str, arguments: Value, context: ToolContext) -> ToolCall {
        ToolCall::new(tool, &arguments, context, Instant::now())
    }

    fn id(scope: &str, tool: &str, id: &str, arguments: Value) -> ClientMsgId {
        call(tool, arguments, ToolContext::new().with_call_id(scope, id)).client_msg_id()
    }

    #[test]
    fn a_repeated_call_has_its_old_id_and_any_other_call_another() {
        let first = id("run 1", "send", "call_1", json!({"to": "bob", "text": "hi"}));
        // Written down: another process, and a later version, must find the same.
        assert_eq!(first.as_str(), "3465a37a-ee78-54ff-a943-424955215145");
        assert_eq!(first, id("run 1", "send", "call_1", json!({"text": "hi", "to": "bob"})));
        for other in [
            id("run 2", "send", "call_1", json!({"to": "bob", "text": "hi"})),
            id("run 1", "send", "call_2", json!({"to": "bob", "text": "hi"})),
            id("run 1", "tell", "call_1", json!({"to": "bob", "text": "hi"})),
            id("run 1", "send", "call_1", json!({"to": "bob", "text": "ho"})),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn without_a_call_id_each_call_has_an_id_of_its_own_and_keeps_it() {
        let one = call("send", json!({}), ToolContext::new());
        let other = call("send", json!({}), ToolContext::new());
        assert_eq!((one.used_id(), one.call_id()), (None, None));
        assert_eq!(one.client_msg_id(), one.clone().client_msg_id());
        assert_ne!(one.client_msg_id(), other.client_msg_id());
        assert_eq!(one.used_id(), Some(&one.client_msg_id()));
    }

    #[test]
    fn the_parts_of_a_call_have_ids_of_their_own() {
        let context = || ToolContext::new().with_call_id("run", "1");
        let (one, again) = (call("send", json!({}), context()), call("send", json!({}), context()));
        assert_eq!(one.client_msg_id_for("bob"), again.client_msg_id_for("bob"));
        assert_ne!(one.client_msg_id_for("bob"), one.client_msg_id_for("eve"));
        assert_ne!(one.client_msg_id_for(""), one.client_msg_id());
    }

    #[test]
    fn a_scope_does_not_print() {
        let context = ToolContext::new().with_call_id("conv_secret", "1");
        assert!(!format!("{context:?} {:?}", call("t", json!({}), context.clone())).contains("secret"));
    }
}
