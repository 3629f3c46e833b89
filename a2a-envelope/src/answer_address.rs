//! Where the answer to a request goes: in a header, in the body, or both. The answers are in `answering`.

use std::fmt;

use crate::callback::{CallbackField, find, with_callback};
use crate::dialect::is_hermes;
use crate::envelope::Envelope;
use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::json::{self, Node};
use crate::limits::Limits;
use crate::names;

/// Where a request says its answers should go.
///
/// The default is [`Header`](Self::Header), for A2A between peers that read headers. A plain `call` of
/// somebody who may be blind to them uses [`FOR_CALL`](Self::FOR_CALL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Placement {
    /// In the header alone: the body stays byte for byte. The choice among peers that read headers.
    #[default]
    Header,
    /// In header and body, so that peers blind to headers find it too.
    HeaderAndBody,
    /// In the body alone.
    Body,
}

impl Placement {
    /// The default of a plain call: in the header, and in the body's field of the message's own version.
    pub const FOR_CALL: Self = Self::HeaderAndBody;
}

/// Where an answer address was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerSource {
    /// The header `mq9-reply-to`.
    Header,
    /// `reply_to` of a Hermes call.
    Hermes,
    /// The body's callback.
    Callback(CallbackField),
}

/// Where an answer goes, as the message says it. `Debug` leaves the address out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerAddress {
    /// A bare mailbox address or a URI, as written. It is a stranger's claim: accept only schemes and hosts
    /// you would answer anyway.
    pub address: String,
    /// Where it was found.
    pub source: AnswerSource,
}

impl fmt::Debug for AnswerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerAddress").field("address", &"<masked>").field("source", &self.source).finish()
    }
}

/// Finds where an answer goes: the header, else Hermes' `reply_to`, else the body's callback. An empty one
/// counts as absent, and so does everything in a body that is not JSON or beyond the default [`Limits`].
#[must_use]
pub fn answer_address(headers: &Headers, body: &[u8]) -> Option<AnswerAddress> {
    by_header(headers).or_else(|| by_body(json::parse_body(body, &Limits::default()).ok()?))
}

/// The answer address in the headers.
pub(crate) fn by_header(headers: &Headers) -> Option<AnswerAddress> {
    let address = headers.get(names::REPLY_TO).filter(|address| !address.is_empty())?;
    Some(AnswerAddress { address: address.to_owned(), source: AnswerSource::Header })
}

/// The answer address in a body that has been parsed already.
pub(crate) fn by_body(root: Node<'_>) -> Option<AnswerAddress> {
    if is_hermes(root) {
        if let Some(address) = root.text_of("reply_to").filter(|address| !address.is_empty()) {
            return Some(AnswerAddress { address: address.into_owned(), source: AnswerSource::Hermes });
        }
    }
    let found = find(root)?;
    Some(AnswerAddress { address: found.uri, source: AnswerSource::Callback(found.field) })
}

impl Envelope {
    /// Says where answers go: `address` is the bare mailbox address for the header, `uri` the same mailbox
    /// as a URI for the body. An existing answer address is refused unless `replace` is set.
    ///
    /// # Errors
    ///
    /// As [`Envelope::with_reply_to`] and [`with_callback`]; an existing header is
    /// [`Error::AnswerExists`].
    pub fn with_answer_address(
        mut self,
        address: &str,
        uri: &str,
        placement: Placement,
        replace: bool,
    ) -> Result<Self> {
        if !replace && self.headers.get(names::REPLY_TO).is_some_and(|known| !known.is_empty()) {
            return Err(Error::AnswerExists);
        }
        if placement != Placement::Header {
            self.body = with_callback(&self.body, uri, None, replace)?;
        }
        if placement == Placement::Body {
            self.headers.remove(names::REPLY_TO);
            return Ok(self);
        }
        self.with_reply_to(address)
    }
}
