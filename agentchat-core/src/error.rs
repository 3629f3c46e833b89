//! One error for every transport: what kind, what to do, did it reach the peer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// The result of every call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot be used.
    Config,
    /// The network refused the credentials. Final until they change.
    Unauthorized,
    /// The credentials are good, but this is not allowed to them.
    Forbidden,
    /// The address, agent or message does not exist.
    NotFound,
    /// It clashes with what is there, such as one message id used for two contents.
    Conflict,
    /// The call's own arguments are wrong.
    Invalid,
    /// The body or headers are larger than the network carries.
    TooLarge,
    /// The network asks for fewer calls.
    RateLimited,
    /// A local queue is full.
    Backpressure,
    /// No answer came before the deadline.
    Timeout,
    /// The connection is down, or went down while the call was under way.
    Disconnected,
    /// This agent, transport or subscription was closed by its owner.
    Closed,
    /// This network cannot do that; see [`Capabilities`](crate::Capabilities).
    Unsupported,
    /// The peer said something its protocol does not allow.
    Protocol,
    /// A handler failed or panicked.
    Handler,
    /// None of the above.
    Unexpected,
}

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Do not repeat: the same call would fail the same way.
    Never,
    /// Repeat after a backoff.
    Backoff,
    /// Repeat no sooner than this.
    After(Duration),
    /// Repeat once there is a new connection.
    Reconnect,
}

/// Whether the call reached the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// Certainly not: repeating cannot do it twice.
    No,
    /// It may have: repeat only what the receiving side can recognise as the same.
    Unknown,
    /// It did; this error is the peer's own answer.
    Yes,
}

/// A failed call.
///
/// `Display` is one line: the operation and what is wrong. `Debug` adds the rest. Neither prints keys,
/// tokens or whole addresses; a transport that builds one must not put them in.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    advice: Advice,
    reached: Reached,
    operation: &'static str,
    message: String,
    code: Option<String>,
    request_id: Option<String>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in `operation` (a verb: `send`, `subscribe`, …). Advice and reach begin with
    /// what the kind implies; a transport that knows better says so with the setters.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let (advice, reached) = implied(kind);
        Self(Box::new(Inner {
            kind,
            advice,
            reached,
            operation,
            message: message.into(),
            code: None,
            request_id: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The error for a verb or option that the transport's capabilities exclude.
    pub fn unsupported(operation: &'static str, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, operation, what)
    }

    /// Sets what the caller should do.
    pub fn with_advice(mut self, advice: Advice) -> Self {
        self.0.advice = advice;
        self
    }

    /// Sets whether the call reached the peer.
    pub fn with_reached(mut self, reached: Reached) -> Self {
        self.0.reached = reached;
        self
    }

    /// Keeps the server's own code, verbatim.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Keeps the id under which the server's operators can find the request.
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// Adds a fact for whoever reads the log. The value must already be free of secrets.
    pub fn with_context(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((name, value.into()));
        self
    }

    /// Keeps the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        self.0.advice
    }

    /// Whether the call reached the peer.
    pub fn reached(&self) -> Reached {
        self.0.reached
    }

    /// The verb that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The server's own code or text, verbatim, when it gave one.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The server's request id, when it gave one.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Further facts, in the order they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Whether repeating the same call may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.advice != Advice::Never
    }

    /// How long the server asked to wait, when it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.advice {
            Advice::After(wait) => Some(wait),
            _ => None,
        }
    }

    /// The same facts for a second reader; the cause stays with the first.
    pub(crate) fn copy(&self) -> Self {
        let Inner { kind, advice, reached, operation, message, code, request_id, context, source: _ } =
            &*self.0;
        Self(Box::new(Inner {
            kind: *kind,
            advice: *advice,
            reached: *reached,
            operation,
            message: message.clone(),
            code: code.clone(),
            request_id: request_id.clone(),
            context: context.clone(),
            source: None,
        }))
    }

    /// Whether the attachment that gave this error is over. A wait as advice says that it stands, and that
    /// no more than this call's own connection was lost.
    pub(crate) fn ends_attachment(&self) -> bool {
        match self.0.advice {
            Advice::Reconnect => true,
            Advice::Never => self.0.kind == ErrorKind::Disconnected,
            Advice::Backoff | Advice::After(_) => false,
        }
    }

    /// Whether the connection cannot be had again without somebody's help.
    pub fn is_fatal(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unauthorized | ErrorKind::Config)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        if let Some(code) = &self.0.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("advice", &inner.advice)
            .field("reached", &inner.reached)
            .field("operation", &inner.operation)
            .field("message", &inner.message)
            .field("code", &inner.code)
            .field("request_id", &inner.request_id)
            .field("context", &inner.context)
            .field("source", &inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

fn implied(kind: ErrorKind) -> (Advice, Reached) {
    use ErrorKind::*;
    match kind {
        Config | Invalid | TooLarge | Unsupported | Closed => (Advice::Never, Reached::No),
        Unauthorized | Forbidden | NotFound | Conflict => (Advice::Never, Reached::Yes),
        RateLimited => (Advice::Backoff, Reached::Yes),
        Backpressure => (Advice::Backoff, Reached::No),
        Timeout => (Advice::Backoff, Reached::Unknown),
        Disconnected => (Advice::Reconnect, Reached::Unknown),
        Protocol | Handler | Unexpected => (Advice::Never, Reached::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answers_its_three_questions_and_keeps_the_servers_word() {
        let error = Error::new(ErrorKind::RateLimited, "send", "slow down")
            .with_advice(Advice::After(Duration::from_secs(3)))
            .with_code("RATE_LIMITED")
            .with_request_id("req_1")
            .with_context("attempt", "2");
        assert_eq!(error.to_string(), "send: slow down (RATE_LIMITED)");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert_eq!((error.reached(), error.is_retryable(), error.is_fatal()), (Reached::Yes, true, false));
        assert_eq!(error.context().collect::<Vec<_>>(), [("attempt", "2")]);
    }

    #[test]
    fn a_lost_connection_ends_the_attachment_unless_the_advice_is_to_wait() {
        let lost = || Error::new(ErrorKind::Disconnected, "send", "");
        assert!(lost().ends_attachment() && lost().with_advice(Advice::Never).ends_attachment());
        for wait in [Advice::Backoff, Advice::After(Duration::ZERO)] {
            assert!(!lost().with_advice(wait).ends_attachment(), "{wait:?}");
        }
        let other = || Error::new(ErrorKind::Unexpected, "send", "");
        assert!(other().with_advice(Advice::Reconnect).ends_attachment());
        assert!(!other().ends_attachment() && !Error::new(ErrorKind::Timeout, "send", "").ends_attachment());
    }

    #[test]
    fn a_lost_connection_may_have_delivered_and_a_full_queue_has_not() {
        assert_eq!(Error::new(ErrorKind::Disconnected, "send", "").reached(), Reached::Unknown);
        assert_eq!(Error::new(ErrorKind::Backpressure, "send", "").reached(), Reached::No);
    }
}
