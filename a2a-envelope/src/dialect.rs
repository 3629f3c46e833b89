//! How a message was written, told from its headers and its body.

use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::json::{self, Node};
use crate::limits::{LimitKind, Limits};
use crate::names;
use crate::wrapped;

/// How a message was written, told from its headers and its body.
///
/// An answer goes out in the dialect that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// This crate's envelope: the header `amb-envelope`, or the wrapped carriage.
    Envelope,
    /// The Hermes plugin: an object whose `type` is `mq9_call` or `mq9_call_reply`.
    Hermes,
    /// A2A 0.1 to 0.3 as JSON-RPC.
    JsonRpcLegacy,
    /// A2A 1.0 or later as JSON-RPC.
    JsonRpc,
    /// The mq9 facade: its headers beside a bare A2A object.
    Facade,
    /// An A2A request or message with neither JSON-RPC nor headers around it.
    BareA2a,
    /// Anything else. Delivered untouched.
    Opaque,
}

impl Dialect {
    /// Tells the dialect within the default [`Limits`]. The first match wins, in the order of the variants.
    ///
    /// A body beyond the limits is judged by its headers alone.
    #[must_use]
    pub fn detect(headers: &Headers, body: &[u8]) -> Self {
        Self::detect_within(headers, body, &Limits::default()).unwrap_or_else(|_| by_headers(headers))
    }

    /// [`detect`](Self::detect) within other limits, and saying so when the body is beyond them.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`]. A body that is not JSON is no error: it is told by its headers, or opaque.
    pub fn detect_within(headers: &Headers, body: &[u8], limits: &Limits) -> Result<Self> {
        if headers.contains(names::ENVELOPE) {
            return Ok(Self::Envelope);
        }
        // A wrapped body may be larger than a plain one; only its mark can tell.
        let size = if body.len() > limits.max_body { LimitKind::Wrapped } else { LimitKind::Body };
        match json::parse(body, size, limits) {
            Ok(root) if wrapped::is_wrapped(root) => Ok(Self::Envelope),
            Ok(root) => limits.check(LimitKind::Body, body.len()).map(|()| by_body(headers, root)),
            Err(limit @ Error::Limit { .. }) => Err(limit),
            Err(_) => limits.check(LimitKind::Body, body.len()).map(|()| by_headers(headers)),
        }
    }

    /// The dialect of a body that has been parsed already, or that is no JSON.
    pub(crate) fn told(headers: &Headers, root: Option<Node<'_>>) -> Self {
        root.map_or_else(|| by_headers(headers), |root| by_body(headers, root))
    }
}

fn by_headers(headers: &Headers) -> Dialect {
    if headers.contains(names::ENVELOPE) {
        Dialect::Envelope
    } else if headers
        .iter()
        .any(|(name, _)| name.starts_with(names::FACADE_PREFIX) || name == names::REPLY_TO)
    {
        Dialect::Facade
    } else {
        Dialect::Opaque
    }
}

fn by_body(headers: &Headers, root: Node<'_>) -> Dialect {
    if wrapped::is_wrapped(root) {
        return Dialect::Envelope;
    }
    if is_hermes(root) {
        return Dialect::Hermes;
    }
    if is_json_rpc(root) {
        let legacy = version_is_legacy(headers).unwrap_or_else(|| looks_legacy(root));
        return if legacy { Dialect::JsonRpcLegacy } else { Dialect::JsonRpc };
    }
    match by_headers(headers) {
        Dialect::Opaque if is_bare(root) => Dialect::BareA2a,
        told => told,
    }
}

pub(crate) fn is_hermes(root: Node<'_>) -> bool {
    matches!(root.text_of("type").as_deref(), Some("mq9_call" | "mq9_call_reply"))
}

pub(crate) fn is_json_rpc(root: Node<'_>) -> bool {
    root.text_of("jsonrpc").as_deref() == Some("2.0")
}

/// What the service parameter says; A2A reads an empty one as 0.3. `None` if it is absent or unreadable.
fn version_is_legacy(headers: &Headers) -> Option<bool> {
    let version = headers.get(names::A2A_VERSION)?;
    if version.is_empty() {
        return Some(true);
    }
    let major = version.split_once('.').map_or(version, |(major, _)| major);
    major.parse::<u32>().ok().map(|major| major == 0)
}

/// 0.x writes methods with a slash, and its objects say their `kind`; 1.0 does neither.
fn looks_legacy(root: Node<'_>) -> bool {
    if let Some(method) = root.text_of("method") {
        return method.contains('/');
    }
    let Some(result) = root.get("result") else { return false };
    ["kind", "final", "sessionId"].into_iter().any(|mark| result.get(mark).is_some())
}

fn is_bare(root: Node<'_>) -> bool {
    root.get("message").is_some_and(Node::is_object)
        || (root.get("role").is_some() && root.get("parts").is_some())
}
