//! What came in: told once, kept with the dialect it came in.

mod facts;

use bytes::Bytes;

use crate::answer_address::AnswerAddress;
use crate::correlation::Correlation;
use crate::dialect::{Dialect, is_hermes};
use crate::envelope::Envelope;
use crate::error::Result;
use crate::headers::Headers;
use crate::json::{self, Node};
use crate::limits::{LimitKind, Limits};
use crate::names;
use crate::safety::drop_server_set;
use crate::view::{EventView, RequestView, RpcError, RpcView};
use crate::vocabulary::{A2aVersion, Operation};
use crate::wrapped::is_wrapped;
use facts::Facts;

/// A message as it was received, in whichever dialect and carriage.
///
/// The body is the author's, byte for byte. What the headers of this format say is taken from them, and
/// the body is not looked at; only what they leave open is looked up there. A method, version or state nobody
/// here knows is no error: it reaches the handler as it is. Before a server runs a request, it calls
/// [`check`](Self::check).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Headers and body. Headers that a peer must not set are gone.
    pub envelope: Envelope,
    /// How it was written; answers go out the same way.
    pub dialect: Dialect,
    /// How it travelled; answers go out the same way.
    pub carriage: Carriage,
    /// Whether it asks or answers.
    pub kind: MessageKind,
    /// The method as spelled: the header's, else the body's. A facade request that names none asks for
    /// `SendMessage`.
    pub method: Option<String>,
    /// The A2A version, told by `a2a-version` or else by the spelling; `None` for a version that is not known
    /// here or leaves no mark.
    pub version: Option<A2aVersion>,
    /// Which request it is, or belongs to.
    pub correlation: Option<Correlation>,
    /// Where answers go, as the message says it; see [`AnswerPolicy`](crate::AnswerPolicy) before following
    /// it. `None` on a reply.
    pub answer: Option<AnswerAddress>,
}

/// How headers and body travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carriage {
    /// As headers and payload of the transport.
    Native,
    /// As one JSON text.
    Wrapped,
}

/// Whether a message asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// It asks for something.
    Request,
    /// It answers, or is an item of a stream of answers.
    Reply,
    /// It does not say.
    Unknown,
}

impl Received {
    /// Reads what a transport received: its headers, none if it has none, and the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`](crate::Error::Limit) for a body, header count or nesting beyond `limits`;
    /// [`Error::UnknownFormat`](crate::Error::UnknownFormat) for another format of this envelope; and the
    /// errors of [`Envelope::from_wrapped`] for a broken wrapped one. A body that is no JSON, or JSON of no
    /// known shape, is no error: it is opaque.
    pub fn read(headers: Headers, body: impl Into<Bytes>, limits: &Limits) -> Result<Self> {
        let body = body.into();
        limits.check(LimitKind::Headers, headers.len())?;
        if headers.contains(names::ENVELOPE) {
            return Self::of_ours(Envelope::from_parts(headers, body), Carriage::Native, limits);
        }
        // A wrapped body may be larger than a plain one; only its mark can tell.
        let size = if body.len() > limits.max_body { LimitKind::Wrapped } else { LimitKind::Body };
        let root = match json::parse(&body, size, limits) {
            Ok(root) => Some(root),
            Err(error @ crate::Error::Limit { .. }) => return Err(error),
            Err(_) => None,
        };
        if root.is_some_and(is_wrapped) {
            let envelope = Envelope::from_wrapped(&body, limits)?;
            return Self::of_ours(envelope, Carriage::Wrapped, limits);
        }
        limits.check(LimitKind::Body, body.len())?;
        let dialect = Dialect::told(&headers, root);
        let facts = Facts::of(dialect, &headers, root);
        Ok(Self::with(Envelope::from_parts(headers, body.clone()), dialect, Carriage::Native, facts))
    }

    fn of_ours(envelope: Envelope, carriage: Carriage, limits: &Limits) -> Result<Self> {
        envelope.check_format()?;
        limits.check(LimitKind::Body, envelope.body.len())?;
        envelope.body_text()?;
        let facts = match Facts::by_headers(&envelope.headers) {
            Some(facts) => facts,
            None => match json::parse_body(&envelope.body, limits) {
                Err(error @ crate::Error::Limit { .. }) => return Err(error),
                root => Facts::of(Dialect::Envelope, &envelope.headers, root.ok()),
            },
        };
        Ok(Self::with(envelope, Dialect::Envelope, carriage, facts))
    }

    fn with(mut envelope: Envelope, dialect: Dialect, carriage: Carriage, facts: Facts) -> Self {
        drop_server_set(&mut envelope.headers, facts.kind == MessageKind::Request);
        let Facts { kind, method, version, correlation, answer } = facts;
        Self { envelope, dialect, carriage, kind, method, version, correlation, answer }
    }

    /// The operation a request asks for; `None` for a method that is not known here.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        Operation::parse(self.method.as_deref()?)
    }

    /// What a server checks before it runs a request: the format's rules for headers and body, and that header
    /// and body name one operation.
    ///
    /// # Errors
    ///
    /// As [`Envelope::validate`] and [`Envelope::request_method`].
    pub fn check(&self, limits: &Limits) -> Result<()> {
        self.envelope.validate(limits)?;
        self.envelope.request_method(limits).map(drop)
    }

    /// What a request asks, read from the body; `None` if the body is no request of any dialect.
    #[must_use]
    pub fn request(&self) -> Option<RequestView<'_>> {
        RequestView::read(&self.envelope.body)
    }

    /// What a reply says, read from the body; `None` if it is no event of any dialect.
    #[must_use]
    pub fn event(&self) -> Option<EventView<'_>> {
        EventView::of(self.result()?)
    }

    /// What it says to a reader of text: an event's text, Hermes' `answer` or `error`, or a request's text.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(event) = self.event().filter(|_| self.kind == MessageKind::Reply) {
            return event.text();
        }
        let words = || {
            let result = self.result()?;
            result.text_of("answer").or_else(|| result.text_of("error")).map(|text| text.into_owned())
        };
        match self.dialect {
            Dialect::Hermes if self.kind == MessageKind::Reply => words().unwrap_or_default(),
            _ => self.request().map(|request| request.text()).unwrap_or_default(),
        }
    }

    /// The error a JSON-RPC reply reports.
    #[must_use]
    pub fn error(&self) -> Option<RpcError<'_>> {
        RpcView::read(&self.envelope.body)?.error
    }

    /// Whether a reply is the last to its request: it says so, or is an error, a message or a Hermes reply, or
    /// brings the task to where it ends or waits.
    ///
    /// The mq9 facade sends another last event, `COMPLETED`, even behind a failed one: the first counts.
    #[must_use]
    pub fn is_last(&self) -> bool {
        use crate::ReplyType::{End, Error, Response};
        if self.envelope.is_last() || matches!(self.envelope.reply_type(), Some(Response | Error | End)) {
            return true;
        }
        if matches!(self.dialect, Dialect::Envelope | Dialect::Facade) {
            // These say it in a header, and have not.
            return false;
        }
        self.dialect == Dialect::Hermes
            || self.error().is_some()
            || self.event().is_some_and(|event| match &event {
                EventView::Message(_) => true,
                EventView::Status(update) if update.is_final => true,
                _ => event.state().is_some_and(|state| state.is_terminal() || state.is_interrupted()),
            })
    }

    /// The node an event is read from.
    fn result(&self) -> Option<Node<'_>> {
        let root = crate::view::object(&self.envelope.body)?;
        if is_hermes(root) {
            return root.get("result");
        }
        Some(root)
    }
}
