//! What can go wrong, answering three questions: what kind, what to do, did it reach the broker.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::message::MsgId;

/// The result of every call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An address, option or message was refused before anything was sent.
    Invalid,
    /// The URI, credentials file or TLS material cannot be used.
    Config,
    /// The broker refused the credentials. Final: repeating with the same ones cannot help.
    Unauthorized,
    /// The server answers NATS but nothing there speaks mq9.
    NotMq9,
    /// The mailbox does not exist, or has expired.
    MailboxNotFound,
    /// A mailbox of that name exists already.
    MailboxExists,
    /// The payload is larger than the connection carries.
    TooLarge,
    /// No reply came before the deadline.
    Timeout,
    /// The connection is down, or went down while the call was under way.
    Disconnected,
    /// The client or consumer was closed by its owner.
    Closed,
    /// The broker runs mailboxes with more than one partition, so message ids repeat and
    /// acknowledging by id would lose messages.
    Partitioned,
    /// The broker lacks what was asked (search is not built into the default build).
    Unsupported,
    /// The broker understood the command and refused it.
    Rejected,
    /// A reply is not what the protocol says: not JSON, a field missing, or of the wrong type.
    Protocol,
    /// The broker failed inside; the same call may succeed later.
    Broker,
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
    /// Repeat once the connection is back.
    Reconnect,
}

/// Whether the command reached the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// Certainly not: repeating cannot do it twice.
    No,
    /// It may have: repeating may do it twice.
    Unknown,
    /// It did, and this error is the broker's own answer.
    Yes,
}

/// A failed call: kind, advice, whether it reached the broker, and the context to find out why.
///
/// `Display` is one line. Neither form prints credentials or whole mailbox addresses.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    advice: Advice,
    reached: Reached,
    operation: &'static str,
    message: String,
    broker: Option<String>,
    message_id: Option<MsgId>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in `operation` (a command such as `MSG.SEND`, or a local step such as `uri`).
    ///
    /// Advice and reach follow from the kind: see [`Error::with_advice`] and [`Error::with_reached`].
    pub(crate) fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let (advice, reached) = defaults(kind);
        Self(Box::new(Inner {
            kind,
            advice,
            reached,
            operation,
            message: message.into(),
            broker: None,
            message_id: None,
            source: None,
        }))
    }

    pub(crate) fn with_advice(mut self, advice: Advice) -> Self {
        self.0.advice = advice;
        self
    }

    pub(crate) fn with_reached(mut self, reached: Reached) -> Self {
        self.0.reached = reached;
        self
    }

    /// Names the stored message that cannot be read.
    pub(crate) fn with_message_id(mut self, id: MsgId) -> Self {
        self.0.message_id = Some(id);
        self
    }

    /// Attaches the broker's own text. It is truncated; the caller masks mailbox names in it.
    pub(crate) fn with_broker_text(mut self, text: &str) -> Self {
        self.0.broker = Some(truncated(text));
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
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

    /// Whether the command reached the broker.
    pub fn reached(&self) -> Reached {
        self.0.reached
    }

    /// The command or local step that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The stored message that cannot be read, when the error is about one. It stays in the mailbox: go
    /// past it with an acknowledgement or [`crate::DeliverPolicy::FromId`], or delete it.
    pub fn message_id(&self) -> Option<MsgId> {
        self.0.message_id
    }

    /// The broker's own text up to 512 bytes, verbatim but for the mailbox's name, when the error is its
    /// answer. Never of a malformed reply that may hold messages or cards.
    pub fn broker_text(&self) -> Option<&str> {
        self.0.broker.as_deref()
    }

    /// Whether repeating the same call may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.advice != Advice::Never
    }

    /// The same error again, for a second listener. The source is kept as its text.
    pub(crate) fn duplicate(&self) -> Self {
        let inner = &self.0;
        let mut copy = Self::new(inner.kind, inner.operation, inner.message.clone())
            .with_advice(inner.advice)
            .with_reached(inner.reached);
        copy.0.broker.clone_from(&inner.broker);
        copy.0.message_id = inner.message_id;
        copy.0.source = inner.source.as_ref().map(|source| source.to_string().into());
        copy
    }
}

fn defaults(kind: ErrorKind) -> (Advice, Reached) {
    use ErrorKind::*;
    match kind {
        Invalid | Config | TooLarge => (Advice::Never, Reached::No),
        Closed => (Advice::Never, Reached::No),
        Unauthorized | NotMq9 => (Advice::Never, Reached::No),
        MailboxNotFound | MailboxExists | Unsupported | Rejected | Partitioned => {
            (Advice::Never, Reached::Yes)
        }
        Protocol => (Advice::Never, Reached::Unknown),
        Timeout => (Advice::Backoff, Reached::Unknown),
        Disconnected => (Advice::Reconnect, Reached::Unknown),
        Broker => (Advice::Backoff, Reached::Yes),
    }
}

fn truncated(text: &str) -> String {
    const LIMIT: usize = 512;
    match text.char_indices().map(|(at, _)| at).take_while(|at| *at <= LIMIT).last() {
        Some(cut) if text.len() > LIMIT => format!("{}…", &text[..cut]),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}: {}", inner.operation, inner.message)?;
        if let Some(id) = inner.message_id {
            write!(f, " (message {id})")?;
        }
        if let Some(text) = &inner.broker {
            write!(f, " (broker: {text})")?;
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
            .field("broker", &inner.broker)
            .field("message_id", &inner.message_id)
            .field("source", &inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_operation_and_the_broker_text() {
        let error = Error::new(ErrorKind::MailboxNotFound, "MSG.SEND", "the mailbox does not exist")
            .with_broker_text("mailbox a.b does not exist");
        assert_eq!(
            error.to_string(),
            "MSG.SEND: the mailbox does not exist (broker: mailbox a.b does not exist)"
        );
        assert_eq!(error.reached(), Reached::Yes);
        assert!(!error.is_retryable());
    }

    #[test]
    fn broker_text_is_cut_at_a_character_boundary() {
        let error = Error::new(ErrorKind::Broker, "MSG.SEND", "x").with_broker_text(&"é".repeat(600));
        assert!(error.broker_text().is_some_and(|text| text.len() <= 516 && text.ends_with('…')));
    }

    #[test]
    fn a_lost_connection_may_have_delivered_and_wants_a_reconnect() {
        let error = Error::new(ErrorKind::Disconnected, "MSG.SEND", "connection lost");
        assert_eq!((error.advice(), error.reached()), (Advice::Reconnect, Reached::Unknown));
    }
}
