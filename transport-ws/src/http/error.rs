//! Why a call failed.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use agentchat_core::{Advice, ErrorKind, Reached};
use serde_json::Value;

use super::answer::Answer;
use crate::map_error::{ErrorCode, classify, code_of_status};
use crate::wire::{ErrorBody, GroupDeleted};

/// Why a call of the AgentChat API failed.
///
/// `Display` is one line: the call and what is wrong. Neither it nor `Debug` shows keys, bodies or details;
/// those are asked for by name. It turns into an [`agentchat_core::Error`] by `?`.
pub struct ApiError(Box<Inner>);

struct Inner {
    operation: &'static str,
    failure: Failure,
    kind: ErrorKind,
    advice: Advice,
    reached: Reached,
    code: Option<String>,
    status: Option<u16>,
    message: String,
    /// The message without names, where it has some: what is printed.
    shown: Option<String>,
    details: Option<Value>,
    beside: serde_json::Map<String, Value>,
    synthesised: bool,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: u32,
    /// An earlier attempt of the same call may have taken effect.
    ambiguous: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// How far a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// It was refused here; nothing was sent.
    Invalid,
    /// There was no connection, or it was lost before the answer was complete.
    Connection,
    /// The answer was not complete in time.
    Timeout,
    /// The answer is not what the API says: no JSON, too large, a redirect.
    Unreadable,
    /// The server refused.
    Refused,
}

/// The details of [`ErrorCode::AwaitingReply`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AwaitingReply {
    /// Who has not answered yet.
    pub recipient_handle: Option<String>,
    /// Since when, as written.
    pub waiting_since: Option<String>,
}

/// The details of [`ErrorCode::RecipientBacklogged`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Backlogged {
    /// Whose inbox is full.
    pub recipient_handle: Option<String>,
    /// How many messages wait there.
    pub undelivered_count: Option<u64>,
}

crate::wire::moments! { AwaitingReply: waiting_since }

impl ApiError {
    /// A call that is refused before anything is sent.
    pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> Self {
        Self::local(operation, ErrorKind::Invalid, message)
    }

    pub(crate) fn local(operation: &'static str, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::of(operation, Failure::Invalid, kind, Advice::Never, Reached::No, message.into())
    }

    /// No answer came. The attachment stands: nothing but this call had the connection, so the advice is a wait.
    pub(super) fn connection(operation: &'static str, reached: Reached, message: &str) -> Self {
        let wait = Advice::After(FIRST_WAIT);
        Self::of(operation, Failure::Connection, ErrorKind::Disconnected, wait, reached, message.to_owned())
    }

    pub(super) fn timeout(operation: &'static str, reached: Reached) -> Self {
        let message = "no answer in time".to_owned();
        Self::of(operation, Failure::Timeout, ErrorKind::Timeout, Advice::Backoff, reached, message)
    }

    /// An answer that is not what the API says. The request may have taken effect.
    pub(crate) fn unreadable(operation: &'static str, answer: &Answer, message: impl Into<String>) -> Self {
        let message = message.into();
        let (kind, advice) = (ErrorKind::Protocol, Advice::Backoff);
        let mut error = Self::of(operation, Failure::Unreadable, kind, advice, Reached::Unknown, message);
        error.0.status = Some(answer.status);
        error.0.request_id.clone_from(&answer.request_id);
        error
    }

    /// The server's refusal.
    pub(super) fn refused(operation: &'static str, answer: &Answer) -> Self {
        let parsed = serde_json::from_slice::<Value>(&answer.body).map(ErrorBody::read);
        let hint = |body: Option<&ErrorBody>| {
            answer.retry_after.or_else(|| body?.retry_after_ms().map(Duration::from_millis))
        };
        let (body, synthesised) = match parsed {
            Ok(Ok(body)) => (body, false),
            other => {
                let whole =
                    other.ok().and_then(Result::err).map(|value| serde_json::json!({ "body": value }));
                let body = ErrorBody {
                    code: code_of_status(answer.status).to_owned(),
                    message: answer.reason().to_owned(),
                    details: whole,
                    beside: serde_json::Map::new(),
                };
                (body, true)
            }
        };
        let retry_after = hint(Some(&body));
        let code = ErrorCode::from(body.code.as_str());
        let (kind, advice, reached) = classify(&code, answer.status, retry_after, synthesised);
        let mut error = Self::of(operation, Failure::Refused, kind, advice, reached, one_line(&body.message));
        let inner = &mut error.0;
        (inner.code, inner.status, inner.synthesised) = (Some(body.code), Some(answer.status), synthesised);
        (inner.details, inner.beside) = (body.details, body.beside);
        inner.request_id.clone_from(&answer.request_id);
        inner.retry_after = retry_after;
        for name in error.names() {
            error.hide(&name);
        }
        error
    }

    /// Shows `name` neither in `Display` nor in `Debug`, nor in core's error.
    pub(crate) fn hide(&mut self, name: &str) {
        if name.len() >= SHORTEST_NAME && self.shown().contains(name) {
            self.0.shown = Some(self.shown().replace(name, "…"));
        }
    }

    /// The message as it may be printed.
    pub(crate) fn shown(&self) -> &str {
        self.0.shown.as_deref().unwrap_or(&self.0.message)
    }

    /// Whom the details name: the message may repeat it.
    fn names(&self) -> Vec<String> {
        let details = self.0.details.as_ref().and_then(Value::as_object).into_iter().flatten();
        let named =
            details.chain(&self.0.beside).filter(|(name, _)| NAMING.iter().any(|it| name.contains(it)));
        let texts = named.flat_map(|(_, value)| match value {
            Value::Array(several) => several.iter().collect(),
            one => vec![one],
        });
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn of(
        operation: &'static str,
        failure: Failure,
        kind: ErrorKind,
        advice: Advice,
        reached: Reached,
        message: String,
    ) -> Self {
        Self(Box::new(Inner {
            operation,
            failure,
            kind,
            advice,
            reached,
            code: None,
            status: None,
            message,
            shown: None,
            details: None,
            beside: serde_json::Map::new(),
            synthesised: false,
            request_id: None,
            retry_after: None,
            attempts: 1,
            ambiguous: false,
            source: None,
        }))
    }

    pub(super) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(super) fn after_attempts(mut self, attempts: u32, ambiguous: bool) -> Self {
        self.0.attempts = attempts;
        self.0.ambiguous = ambiguous;
        self
    }

    /// Whether an attempt before the one that this error is of may have taken effect.
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    /// How far the call came.
    pub fn failure(&self) -> Failure {
        self.0.failure
    }

    /// The call that failed: `send`, `sync`, …
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What went wrong, in core's words.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        self.0.advice
    }

    /// Whether the call may have taken effect.
    pub fn reached(&self) -> Reached {
        self.0.reached
    }

    /// The server's code verbatim. Where a refusal had none, the one that goes with its status.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What the server's code means.
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.code().map(ErrorCode::from)
    }

    /// Whether the refusal had no code of its own: it may be a proxy's, not the server's.
    pub fn is_synthesised(&self) -> bool {
        self.0.synthesised
    }

    /// The HTTP status, when there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What is wrong, in one line: the server's words, when it gave some. They may name an agent, which
    /// `Display` and `Debug` leave out where it is known.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The server's request id, for whoever runs it.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The refusal's `details` as JSON text. Of a refusal that had no code it is the whole body, under
    /// `body`.
    pub fn details_json(&self) -> Option<String> {
        self.0.details.as_ref().map(Value::to_string)
    }

    /// A text or number of the details, or beside the code, as text.
    pub fn detail(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The details, when the recipient has not answered the first message yet.
    pub fn awaiting_reply(&self) -> Option<AwaitingReply> {
        (self.error_code()? == ErrorCode::AwaitingReply).then(|| AwaitingReply {
            recipient_handle: self.detail("recipient_handle"),
            waiting_since: self.detail("waiting_since"),
        })
    }

    /// The details, when the recipient has too much waiting.
    pub fn backlogged(&self) -> Option<Backlogged> {
        (self.error_code()? == ErrorCode::RecipientBacklogged).then(|| Backlogged {
            recipient_handle: self.detail("recipient_handle"),
            undelivered_count: self.number("undelivered_count"),
        })
    }

    /// The details, when the group was deleted and they were given.
    pub fn group_deleted(&self) -> Option<GroupDeleted> {
        if self.error_code()? != ErrorCode::GroupDeleted {
            return None;
        }
        serde_json::from_value(self.0.details.clone()?).ok()
    }

    /// The word beside the code of a suspension, where it is one word.
    pub(crate) fn reason(&self) -> Option<&str> {
        let reason = self.0.beside.get("reason").and_then(Value::as_str)?;
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        (reason.len() <= LONGEST_REASON && reason.bytes().all(is_word)).then_some(reason)
    }

    /// How many agents an address may have ([`ErrorCode::EmailLimit`], [`ErrorCode::EmailExhausted`]).
    pub fn limit(&self) -> Option<u64> {
        self.number("limit")
    }

    /// The agents of an address ([`ErrorCode::HandleRequired`]), the oldest first.
    pub fn handles(&self) -> Vec<String> {
        let list = self.value("handles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.as_u64()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.details.as_ref().and_then(|details| details.get(name)).or_else(|| self.0.beside.get(name))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.shown())?;
        if let Some(code) = &self.0.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("ApiError")
            .field("operation", &inner.operation)
            .field("failure", &inner.failure)
            .field("kind", &inner.kind)
            .field("advice", &inner.advice)
            .field("reached", &inner.reached)
            .field("code", &inner.code)
            .field("status", &inner.status)
            .field("message", &self.shown())
            .field("request_id", &inner.request_id)
            .field("retry_after", &inner.retry_after)
            .field("attempts", &inner.attempts)
            .field("source", &inner.source)
            .finish_non_exhaustive()
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The server's words, fit for a log line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

const LONGEST_MESSAGE: usize = 300;
const LONGEST_REASON: usize = 64;
/// Handles are no shorter.
const SHORTEST_NAME: usize = 3;
/// What members are called that hold names and addresses of agents and their owners.
const NAMING: [&str; 2] = ["handle", "email"];
/// The first wait of the retry table.
const FIRST_WAIT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use agentchat_core::Error;

    use super::*;

    fn refused(status: u16, body: &str) -> ApiError {
        let body = bytes::Bytes::from(body.to_owned());
        let status = reqwest::StatusCode::from_u16(status).expect("a status");
        let head = Answer::head(status, &reqwest::header::HeaderMap::new());
        ApiError::refused("send", &Answer { body, ..head })
    }

    fn printed(error: ApiError) -> String {
        let own = format!("{error} {error:?}");
        let core = Error::from(error);
        let context: Vec<_> = core.context().collect();
        format!("{own} {core} {core:?} {context:?}")
    }

    #[test]
    fn no_code_prints_whom_it_is_about_or_what_stands_beside_it() {
        for (code, ..) in ErrorCode::spellings() {
            let body = format!(
                r#"{{"code":"{code}","message":"@bob-7 will not","details":{{"recipient_handle":"bob-7","undelivered_count":10000,
                "handles":["carol-8"],"waiting_since":"2026-08-11T08:00:00Z","body":"a secret"}},"detail":"bob-7 did it","reason":"Bob-7 did"}}"#
            );
            for status in [400, 403, 429, 500] {
                let error = refused(status, &body);
                assert!(error.details_json().is_some_and(|it| it.contains("bob-7")), "asked for, it is told");
                assert_eq!(error.message(), "@bob-7 will not");
                let printed = printed(error).to_lowercase();
                for hidden in ["bob-7", "carol-8", "a secret", "did"] {
                    assert!(!printed.contains(hidden), "{code} {status}: {printed}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_without_a_code_prints_nothing_of_its_body() {
        for status in [400, 401, 403, 404, 410, 429, 500, 502] {
            let error = refused(status, r#"{"oops":"bob-7","content":"a secret"}"#);
            assert!(error.details_json().is_some_and(|it| it.contains("a secret")));
            let printed = printed(error);
            assert!(!printed.contains("bob-7") && !printed.contains("a secret"), "{status}: {printed}");
        }
    }

    #[test]
    fn facts_stay_and_the_rest_is_in_the_source() {
        let mut error = refused(
            429,
            r#"{"code":"RECIPIENT_BACKLOGGED","message":"carol-8 and bob-7","details":{"recipient_handle":"bob-7","undelivered_count":10000,"retry_after_ms":750}}"#,
        );
        error.hide("carol-8");
        let core = Error::from(error);
        assert_eq!(core.to_string(), "send: … and … (RECIPIENT_BACKLOGGED)");
        let context: Vec<_> = core.context().collect();
        assert_eq!(context, [("status", "429"), ("retry_after_ms", "750"), ("undelivered_count", "10000")]);
        let source = StdError::source(&core).and_then(|it| it.downcast_ref::<ApiError>()).expect("kept");
        assert_eq!(source.backlogged().and_then(|it| it.recipient_handle).as_deref(), Some("bob-7"));
        assert_eq!(source.message(), "carol-8 and bob-7");
    }
}
