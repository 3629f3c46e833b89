//! An envelope as a whole: headers, body, and the rules that bind both.

mod request;
mod typed;

use std::fmt;

use bytes::Bytes;

use crate::error::{Error, Result, excerpt};
use crate::headers::Headers;
use crate::json;
use crate::limits::{LimitKind, Limits};
use crate::names;
use crate::vocabulary::Operation;

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

    /// The A2A operation a request asks for: the header's, or else the body's JSON-RPC `method` as written.
    /// Names of one operation in different A2A versions (`SendMessage`, `message/send`) agree: the Java
    /// facade writes the first beside a body with the second.
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
            (Some(header), Some(body)) if !agree(header, &body) => {
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

    fn marked(mut self) -> Self {
        let marked = self.headers.set(names::ENVELOPE, FORMAT);
        debug_assert!(marked.is_ok(), "the first header always fits");
        self
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

/// Whether two method names ask for one operation; names that nobody here knows must be equal.
fn agree(one: &str, other: &str) -> bool {
    one == other || Operation::parse(one).is_some_and(|known| Operation::parse(other) == Some(known))
}
