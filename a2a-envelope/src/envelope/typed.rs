//! The headers of the format, each read and written in its own type.

use super::Envelope;
use crate::correlation::CorrelationId;
use crate::error::{Error, HeaderRule, Result};
use crate::names;
use crate::reply::ReplyType;

impl Envelope {
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
