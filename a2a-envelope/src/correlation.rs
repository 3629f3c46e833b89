//! Which request a message belongs to, and where that is said.

use std::fmt;

use crate::error::{Error, HeaderRule, Result};
use crate::headers::Headers;
use crate::json::{self, Kind, Node, quote};
use crate::limits::Limits;
use crate::names;

/// A correlation id this format can carry in a header: 1 to 128 characters of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// The longest id, in characters.
    pub const MAX: usize = 128;

    /// Checks an id.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] naming `amb-correlation-id` and the rule.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        let rule = if id.is_empty() {
            HeaderRule::Empty
        } else if id.len() > Self::MAX {
            HeaderRule::CorrelationTooLong { found: id.len() }
        } else if !id.bytes().all(|b| b.is_ascii_graphic()) {
            HeaderRule::NotVisibleAscii
        } else {
            return Ok(Self(id));
        };
        Err(Error::header(names::CORRELATION_ID, rule))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for CorrelationId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Where a correlation id was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CorrelationSource {
    /// The header `amb-correlation-id`.
    Header,
    /// The `id` of a JSON-RPC object.
    JsonRpcId,
    /// The `correlation_id` of a Hermes call or reply.
    Hermes,
}

/// The correlation id of a message, as its writer spelled it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Correlation {
    /// The id's text; of a number its digits exactly as written (`7`, `1.0`).
    pub id: String,
    /// Where it was found.
    pub source: CorrelationSource,
    /// The id as a JSON token, to be repeated in an answer: `"7"` and `7` are different ids there.
    pub json: String,
}

impl Correlation {
    /// The id in the form a header can carry.
    ///
    /// # Errors
    ///
    /// [`Error::Header`]: foreign writers are free to use longer ids and other characters.
    pub fn to_header(&self) -> Result<CorrelationId> {
        CorrelationId::new(self.id.as_str())
    }
}

/// Finds a message's correlation id: the header, else the JSON-RPC `id`, else Hermes' `correlation_id`.
///
/// A `null`, empty or structured id is none. A header is taken as it stands, legal or not. The body is read
/// within the default [`Limits`]; one beyond them, or that is no JSON, has no id in it.
#[must_use]
pub fn correlation_of(headers: &Headers, body: &[u8]) -> Option<Correlation> {
    by_header(headers).or_else(|| by_body(json::parse_body(body, &Limits::default()).ok()?))
}

/// The id in the headers.
pub(crate) fn by_header(headers: &Headers) -> Option<Correlation> {
    let id = headers.get(names::CORRELATION_ID).filter(|id| !id.is_empty())?;
    Some(Correlation { id: id.to_owned(), source: CorrelationSource::Header, json: quote(id) })
}

/// The id in a body that has been parsed already.
pub(crate) fn by_body(root: Node<'_>) -> Option<Correlation> {
    let rpc = root.get("jsonrpc").and_then(|_| root.get("id"));
    rpc.and_then(|id| token(id, CorrelationSource::JsonRpcId))
        .or_else(|| token(root.get("correlation_id")?, CorrelationSource::Hermes))
}

fn token(id: Node<'_>, source: CorrelationSource) -> Option<Correlation> {
    let text = match id.kind() {
        Kind::String => id.as_str().filter(|text| !text.is_empty())?.into_owned(),
        Kind::Number if source == CorrelationSource::JsonRpcId => id.raw().to_owned(),
        _ => return None,
    };
    Some(Correlation { id: text, source, json: id.raw().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Option<(String, CorrelationSource, String)> {
        correlation_of(&Headers::new(), body.as_bytes()).map(|c| (c.id, c.source, c.json))
    }

    #[test]
    fn the_rules_for_an_id_are_1_to_128_visible_ascii() {
        for good in ["a", "!~", &"x".repeat(128)] {
            assert_eq!(CorrelationId::new(good).unwrap().to_string(), good);
        }
        let rule = |id: &str| match CorrelationId::new(id) {
            Err(Error::Header { name, rule, .. }) => {
                assert_eq!(name, "amb-correlation-id");
                rule
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(rule(""), HeaderRule::Empty);
        assert_eq!(rule(&"x".repeat(129)), HeaderRule::CorrelationTooLong { found: 129 });
        for bad in ["a b", "a\n", "é", "\u{7f}", " "] {
            assert_eq!(rule(bad), HeaderRule::NotVisibleAscii, "{bad:?}");
        }
    }

    #[test]
    fn the_header_comes_before_the_body() {
        let headers = Headers::from_pairs([(names::CORRELATION_ID, "h-1")]).unwrap();
        let found = correlation_of(&headers, br#"{"jsonrpc":"2.0","id":"b-1"}"#).unwrap();
        assert_eq!((found.id.as_str(), found.source), ("h-1", CorrelationSource::Header));
        assert_eq!(found.json, "\"h-1\"");
    }

    #[test]
    fn a_json_rpc_id_keeps_its_spelling() {
        use CorrelationSource::JsonRpcId;
        for (body, id, json) in [
            (r#"{"jsonrpc":"2.0","id":"7"}"#, "7", "\"7\""),
            (r#"{"jsonrpc":"2.0","id":7}"#, "7", "7"),
            (r#"{"id":1.0,"jsonrpc":"2.0"}"#, "1.0", "1.0"),
            (r#"{"id":1e400,"jsonrpc":"2.0"}"#, "1e400", "1e400"),
            (r#"{"id":"\u0061/b","jsonrpc":"2.0"}"#, "a/b", r#""\u0061/b""#),
        ] {
            assert_eq!(of(body), Some((id.into(), JsonRpcId, json.into())), "{body}");
        }
    }

    #[test]
    fn hermes_ids_are_read_where_json_rpc_has_none() {
        let id = "5d41402abc4b2a76b9719d911017c592";
        let body = format!(r#"{{"type":"mq9_call","correlation_id":"{id}"}}"#);
        assert_eq!(of(&body).unwrap().0, id);
        let both = r#"{"jsonrpc":"2.0","id":"j","correlation_id":"h"}"#;
        assert_eq!(of(both).unwrap().1, CorrelationSource::JsonRpcId);
        let null = r#"{"jsonrpc":"2.0","id":null,"correlation_id":"h"}"#;
        assert_eq!(of(null).unwrap().1, CorrelationSource::Hermes);
    }

    #[test]
    fn what_is_no_id_is_none() {
        for body in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"id":"no jsonrpc"}"#,
            r#"{"jsonrpc":"2.0","id":null}"#,
            r#"{"jsonrpc":"2.0","id":""}"#,
            r#"{"jsonrpc":"2.0","id":{}}"#,
            r#"{"jsonrpc":"2.0","id":true}"#,
            r#"{"correlation_id":7}"#,
            r#"{"jsonrpc":"2.0","id":"\ud800"}"#,
        ] {
            assert_eq!(of(body), None, "{body}");
        }
    }

    #[test]
    fn a_foreign_id_that_no_header_can_carry_is_read_all_the_same() {
        let found = correlation_of(&Headers::new(), br#"{"jsonrpc":"2.0","id":"call number 1"}"#).unwrap();
        assert_eq!(found.id, "call number 1");
        assert!(found.to_header().is_err());
    }
}
