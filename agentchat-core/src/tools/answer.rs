//! What a call ends with.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientMsgId;

/// What a call ends with, as JSON for the model.
///
/// Success is `{"ok":true, …}` with the members of what the tool gave beside it. Failure is
/// `{"ok":false,"error":{…}}` with these members:
///
/// | member | what |
/// |---|---|
/// | `code` | the server's code, verbatim; without one, a code for the class, such as `VALIDATION_ERROR` |
/// | `class` | the [kind](ErrorKind) of the error, in [snake case](ErrorKind::as_str) |
/// | `message` | what is wrong, in one line |
/// | `retry_after_seconds` | how long to wait at least, where that is known: whole seconds, rounded up |
/// | `request_id` | the server's id of the request, where it gave one |
/// | `client_msg_id` | the id the call sent under, where it asked for one: sending under it again is safe |
#[must_use]
pub struct ToolAnswer {
    json: String,
    error: Option<Error>,
}

impl ToolAnswer {
    pub(super) fn succeeded(value: Value) -> Self {
        let mut members = match value {
            Value::Object(members) if !members.contains_key("ok") => members,
            Value::Null => Map::new(),
            value => Map::from_iter([("result".to_owned(), value)]),
        };
        members.insert("ok".to_owned(), Value::Bool(true));
        Self { json: Value::Object(members).to_string(), error: None }
    }

    pub(super) fn failed(error: Error, sent_under: Option<&ClientMsgId>) -> Self {
        let mut fault = Map::new();
        let mut tell = |name: &str, value: Value| fault.insert(name.to_owned(), value);
        tell("code", error.code().unwrap_or(code(error.kind())).into());
        tell("class", error.kind().as_str().into());
        tell("message", error.to_string().into());
        if let Some(wait) = error.retry_after() {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            tell("retry_after_seconds", seconds.max(1).into());
        }
        if let Some(id) = error.request_id() {
            tell("request_id", id.into());
        }
        if let Some(id) = sent_under {
            tell("client_msg_id", id.as_str().into());
        }
        Self { json: json!({ "ok": false, "error": fault }).to_string(), error: Some(error) }
    }

    /// Whether the tool did what it was asked to.
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }

    /// The JSON, for the model.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The same, to keep.
    pub fn into_json(self) -> String {
        self.json
    }

    /// What went wrong, for an adapter whose framework has errors of its own.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The JSON as any type that can be read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a type that cannot.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let unreadable = |_| Error::new(ErrorKind::Invalid, "tool", "the answer is not of that type");
        serde_json::from_str(&self.json).map_err(unreadable)
    }
}

impl fmt::Debug for ToolAnswer {
    /// Not what the tool gave, which may quote messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolAnswer").field("error", &self.error).finish_non_exhaustive()
    }
}

/// The code of an error for which no server gave one.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "CONFIG_ERROR",
        ErrorKind::Unauthorized => "UNAUTHORIZED",
        ErrorKind::Forbidden => "FORBIDDEN",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::Conflict => "CONFLICT",
        ErrorKind::Invalid => "VALIDATION_ERROR",
        ErrorKind::TooLarge => "CONTENT_TOO_LARGE",
        ErrorKind::RateLimited => "RATE_LIMITED",
        ErrorKind::Backpressure => "BACKPRESSURE",
        ErrorKind::Timeout => "TIMEOUT",
        ErrorKind::Disconnected => "CONNECTION_ERROR",
        ErrorKind::Closed => "CLOSED",
        ErrorKind::Unsupported => "UNSUPPORTED",
        ErrorKind::Protocol => "PROTOCOL_ERROR",
        ErrorKind::Handler => "TOOL_FAILED",
        ErrorKind::Unexpected => "UNEXPECTED_ERROR",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Advice;

    fn read(answer: &ToolAnswer) -> Value {
        answer.read().expect("JSON")
    }

    #[test]
    fn what_a_tool_gives_stands_beside_ok() {
        for (given, told) in [
            (json!({"message": {"id": 1}}), json!({"ok": true, "message": {"id": 1}})),
            (json!([1, 2]), json!({"ok": true, "result": [1, 2]})),
            (json!("done"), json!({"ok": true, "result": "done"})),
            (json!({"ok": false}), json!({"ok": true, "result": {"ok": false}})),
            (Value::Null, json!({"ok": true})),
        ] {
            let answer = ToolAnswer::succeeded(given);
            assert_eq!((read(&answer), answer.is_ok()), (told, true));
            let text = answer.as_json().to_owned();
            assert_eq!(answer.into_json(), text);
        }
    }

    #[test]
    fn a_failure_keeps_the_servers_words_beside_its_class() {
        let id = ClientMsgId::new("m1").expect("valid");
        let error = Error::new(ErrorKind::Forbidden, "send", "they take messages of contacts only")
            .with_code("INBOX_RESTRICTED")
            .with_request_id("req_1")
            .with_advice(Advice::After(Duration::from_millis(1_200)));
        let answer = ToolAnswer::failed(error, Some(&id));
        let told = json!({"ok": false, "error": {
            "code": "INBOX_RESTRICTED",
            "class": "forbidden",
            "message": "send: they take messages of contacts only (INBOX_RESTRICTED)",
            "retry_after_seconds": 2,
            "request_id": "req_1",
            "client_msg_id": "m1",
        }});
        assert_eq!((read(&answer), answer.is_ok()), (told, false));
        assert_eq!(answer.error().map(Error::kind), Some(ErrorKind::Forbidden));
    }

    #[test]
    fn a_failure_that_no_server_named_has_a_code_and_says_no_more_than_is_known() {
        let answer = ToolAnswer::failed(Error::new(ErrorKind::Disconnected, "send", "it is down"), None);
        let told = json!({"ok": false, "error": {
            "code": "CONNECTION_ERROR", "class": "disconnected", "message": "send: it is down",
        }});
        assert_eq!(read(&answer), told);
        let soon = Error::new(ErrorKind::RateLimited, "send", "").with_advice(Advice::After(Duration::ZERO));
        assert_eq!(read(&ToolAnswer::failed(soon, None))["error"]["retry_after_seconds"], 1);
    }

    #[test]
    fn an_answer_does_not_print_what_it_holds() {
        let answer = ToolAnswer::succeeded(json!({"text": "confidential"}));
        assert!(!format!("{answer:?}").contains("confidential"));
    }
}
