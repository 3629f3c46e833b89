use std::fmt;

use bytes::Bytes;

use crate::correlation::CorrelationId;
use crate::error::{Error, HeaderRule, Result, excerpt};
use crate::headers::Headers;
use crate::json;
use crate::limits::{LimitKind, Limits};
use crate::names;
use crate::reply::ReplyType;

/// The envelope format this crate writes, as the header `amb-envelope` says it.
pub const FORMAT: &str = "1";

/// Headers beside a body that is never rewritten.
///
/// Whoever carries it natively writes the pairs of [`headers`](Self::headers) into its own header block and
/// the body as it is; a network without headers carries the text of [`to_wrapped`](Self::to_wrapped).
///
/// The body is UTF-8 text, usually an A2A JSON-RPC object; this is checked where it matters (wrapping,
/// parsing), not on every construction. `Debug` prints its length only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The headers.
    pub headers: Headers,
    /// The body, byte for byte what its author wrote.
    pub body: Bytes,
}

impl Envelope {
    /// A body with the header that marks this format and no other.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self::from_parts(Headers::new(), body).marked()
    }

    /// Headers and a body as they were received, mark or no mark.
    #[must_use]
    pub fn from_parts(headers: Headers, body: impl Into<Bytes>) -> Self {
        Self { headers, body: body.into() }
    }

    /// Headers and body.
    #[must_use]
    pub fn into_parts(self) -> (Headers, Bytes) {
        (self.headers, self.body)
    }

    /// Refuses an envelope whose mark names another format. One without a mark passes: foreign dialects
    /// have none.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFormat`].
    pub fn check_format(&self) -> Result<()> {
        match self.headers.get(names::ENVELOPE) {
            None | Some(FORMAT) => Ok(()),
            Some(other) => Err(Error::UnknownFormat { found: excerpt(other) }),
        }
    }

    /// Checks an envelope against the rules of the format and the given limits: the mark, the header count,
    /// the body's size and encoding, the correlation id, and every number among the headers.
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub fn validate(&self, limits: &Limits) -> Result<()> {
        self.check_format()?;
        limits.check(LimitKind::Headers, self.headers.len())?;
        limits.check(LimitKind::Body, self.body.len())?;
        self.body_text()?;
        self.correlation_id()?;
        self.seq()?;
        self.generation()?;
        self.deadline()?;
        Ok(())
    }

    /// The body as text.
    ///
    /// # Errors
    ///
    /// [`Error::NotUtf8`].
    pub fn body_text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map_err(|error| Error::NotUtf8 { offset: error.valid_up_to() })
    }

    /// The A2A operation a request asks for: the header's, or else the body's JSON-RPC `method`.
    ///
    /// # Errors
    ///
    /// [`Error::MethodMismatch`] if the two name different operations; [`Error::Limit`] for a body too
    /// large or too deep to look at. A body that is no JSON object simply has no method.
    pub fn request_method(&self, limits: &Limits) -> Result<Option<String>> {
        let inside = match json::parse_body(&self.body, limits) {
            Ok(root) if root.get("jsonrpc").is_some() => root.text_of("method").map(|m| m.into_owned()),
            Err(error @ Error::Limit { .. }) => return Err(error),
            _ => None,
        };
        match (self.method(), inside) {
            (Some(header), Some(body)) if header != body => {
                Err(Error::MethodMismatch { header: excerpt(header), body: excerpt(&body) })
            }
            (Some(header), _) => Ok(Some(header.to_owned())),
            (None, inside) => Ok(inside),
        }
    }

    /// The value of any header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Sets any header.
    ///
    /// # Errors
    ///
    /// As [`Headers::set`].
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self> {
        self.headers.set(name, value)?;
        Ok(self)
    }

    /// `mq9-a2a-method`.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.headers.get(names::METHOD)
    }

    /// Sets `mq9-a2a-method`, in PascalCase (`SendMessage`).
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or breaks a rule for values.
    pub fn with_method(self, method: &str) -> Result<Self> {
        self.with_filled(names::METHOD, method)
    }

    /// `mq9-reply-to` as it stands: a bare mailbox address, or an `mq9://` URI from a foreign writer.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.headers.get(names::REPLY_TO)
    }

    /// Sets `mq9-reply-to` to a bare mailbox address.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or not visible ASCII.
    pub fn with_reply_to(self, address: &str) -> Result<Self> {
        self.with_address(names::REPLY_TO, address)
    }

    /// `amb-correlation-id`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is not 1 to 128 characters of visible ASCII.
    pub fn correlation_id(&self) -> Result<Option<CorrelationId>> {
        self.headers.get(names::CORRELATION_ID).map(CorrelationId::new).transpose()
    }

    /// Sets `amb-correlation-id`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_correlation_id(self, id: &CorrelationId) -> Result<Self> {
        self.with_header(names::CORRELATION_ID, id.as_str())
    }

    /// `mq9-a2a-type`; `None` also for values of other formats, which [`header`](Self::header) shows.
    #[must_use]
    pub fn reply_type(&self) -> Option<ReplyType> {
        self.headers.get(names::TYPE).and_then(ReplyType::parse)
    }

    /// Sets `mq9-a2a-type`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_reply_type(self, kind: ReplyType) -> Result<Self> {
        self.with_header(names::TYPE, kind.as_str())
    }

    /// `amb-seq`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is no unsigned decimal number.
    pub fn seq(&self) -> Result<Option<u64>> {
        self.number(names::SEQ)
    }

    /// Sets `amb-seq`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_seq(self, seq: u64) -> Result<Self> {
        self.with_header(names::SEQ, &seq.to_string())
    }

    /// `amb-generation`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is no unsigned decimal number.
    pub fn generation(&self) -> Result<Option<u64>> {
        self.number(names::GENERATION)
    }

    /// Sets `amb-generation`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_generation(self, generation: u64) -> Result<Self> {
        self.with_header(names::GENERATION, &generation.to_string())
    }

    /// Whether `mq9-a2a-last` says `true` (in any case): no reply follows this one.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.headers.get(names::LAST).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Sets `mq9-a2a-last`, or takes it away.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_last(mut self, last: bool) -> Result<Self> {
        if last {
            return self.with_header(names::LAST, "true");
        }
        self.headers.remove(names::LAST);
        Ok(self)
    }

    /// `amb-deadline`, in unix milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is no unsigned decimal number.
    pub fn deadline(&self) -> Result<Option<u64>> {
        self.number(names::DEADLINE)
    }

    /// Sets `amb-deadline`, in unix milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_deadline(self, unix_ms: u64) -> Result<Self> {
        self.with_header(names::DEADLINE, &unix_ms.to_string())
    }

    /// `amb-idempotency-key`.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.headers.get(names::IDEMPOTENCY_KEY)
    }

    /// Sets `amb-idempotency-key`; for A2A messages their `messageId`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or breaks a rule for values.
    pub fn with_idempotency_key(self, key: &str) -> Result<Self> {
        self.with_filled(names::IDEMPOTENCY_KEY, key)
    }

    /// `mq9-a2a-task-id`.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.headers.get(names::TASK_ID)
    }

    /// Sets `mq9-a2a-task-id`. Not for a request that starts a new task: the server makes its id.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or breaks a rule for values.
    pub fn with_task_id(self, id: &str) -> Result<Self> {
        self.with_filled(names::TASK_ID, id)
    }

    /// `amb-context-id`.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.headers.get(names::CONTEXT_ID)
    }

    /// Sets `amb-context-id`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or breaks a rule for values.
    pub fn with_context_id(self, id: &str) -> Result<Self> {
        self.with_filled(names::CONTEXT_ID, id)
    }

    /// `amb-task-inbox`: where follow-ups and cancels go.
    #[must_use]
    pub fn task_inbox(&self) -> Option<&str> {
        self.headers.get(names::TASK_INBOX)
    }

    /// Sets `amb-task-inbox`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or not visible ASCII.
    pub fn with_task_inbox(self, address: &str) -> Result<Self> {
        self.with_address(names::TASK_INBOX, address)
    }

    /// `a2a-version`. A writer of A2A 1.0 must send it: A2A reads an absent one as 0.3.
    #[must_use]
    pub fn a2a_version(&self) -> Option<&str> {
        self.headers.get(names::A2A_VERSION)
    }

    /// Sets `a2a-version`, `Major.Minor`.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if it is empty or breaks a rule for values.
    pub fn with_a2a_version(self, version: &str) -> Result<Self> {
        self.with_filled(names::A2A_VERSION, version)
    }

    fn marked(mut self) -> Self {
        let marked = self.headers.set(names::ENVELOPE, FORMAT);
        debug_assert!(marked.is_ok(), "the first header always fits");
        self
    }

    fn with_filled(self, name: &str, value: &str) -> Result<Self> {
        if value.is_empty() {
            return Err(Error::header(name, HeaderRule::Empty));
        }
        self.with_header(name, value)
    }

    fn with_address(self, name: &str, address: &str) -> Result<Self> {
        if !address.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::header(name, HeaderRule::NotVisibleAscii));
        }
        self.with_filled(name, address)
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let refused = Error::header(name, HeaderRule::NotANumber);
        if !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused);
        }
        value.parse().map(Some).map_err(|_| refused)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("headers", &self.headers)
            .field("body", &format_args!("<{} bytes>", self.body.len()))
            .finish()
    }
}
