//! Who asked in the first place, as a token that only the first agent can read.

use std::fmt;

use crate::envelope::Envelope;
use crate::error::{Error, HeaderRule, Result};
use crate::headers::Headers;
use crate::json::{self, Node};
use crate::limits::Limits;
use crate::names;

/// Who asked in the first place, as a token that only the first agent can read.
///
/// An agent that asks others on behalf of a user of some platform keeps platform, conversation and user to
/// itself, under a token of its own making; the token travels, and comes back on every reply. It is advice,
/// never a reason to grant anything. `Debug` prints its length only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    token: String,
    hop: u8,
}

impl Origin {
    /// The longest token, in bytes.
    pub const MAX_TOKEN: usize = 256;
    /// The furthest a token travels, in agents behind the first.
    pub const MAX_HOPS: u8 = 8;
    /// Where a message without headers may carry the same: a member of its `metadata`, an object with `ref`
    /// and `hop`.
    pub const EXTENSION: &'static str = "https://agentchat-rs.github.io/ext/origin/v1";

    /// A token to send with a first request: 1 to 256 characters of visible ASCII. Make it random or sealed,
    /// never a name or an id of the platform.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] naming `amb-origin-ref` and the rule.
    pub fn new(token: impl Into<String>) -> Result<Self> {
        let token = token.into();
        let refuse = |rule| Err(Error::header(names::ORIGIN_REF, rule));
        if token.is_empty() {
            return refuse(HeaderRule::Empty);
        }
        if token.len() > Self::MAX_TOKEN {
            return refuse(HeaderRule::OriginTooLong { found: token.len() });
        }
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return refuse(HeaderRule::NotVisibleAscii);
        }
        Ok(Self { token, hop: 0 })
    }

    /// The token, as the first agent made it.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// How many agents it has passed behind the first one asked.
    #[must_use]
    pub fn hop(&self) -> u8 {
        self.hop
    }

    /// The same one agent further; `None` where it has travelled far enough.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        (self.hop < Self::MAX_HOPS).then(|| Self { token: self.token.clone(), hop: self.hop + 1 })
    }

    fn read(token: &str, hop: &str) -> Option<Self> {
        let hop = if hop.is_empty() { 0 } else { hop.parse().ok().filter(|hop| *hop <= Self::MAX_HOPS)? };
        Self::new(token).ok().map(|origin| Self { hop, ..origin })
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin(<{} bytes>, hop {})", self.token.len(), self.hop)
    }
}

/// How far away the one who reads a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// On the broker one is connected to.
    Home,
    /// On another host: the origin stays behind.
    Foreign,
}

/// The origin of a message: its headers', else `ref` and `hop` in the metadata of an A2A message, else those
/// in the `context` of a Hermes call. One that breaks a rule, or has come too far, is none.
#[must_use]
pub fn origin_of(headers: &Headers, body: &[u8]) -> Option<Origin> {
    if let Some(token) = headers.get(names::ORIGIN_REF) {
        return Origin::read(token, headers.get(names::ORIGIN_HOP).unwrap_or_default());
    }
    let root = json::parse_body(body, &Limits::default()).ok()?;
    let message =
        [&["params", "message"][..], &["message"], &[]].into_iter().find_map(|path| root.at(path))?;
    let place = message.at(&["metadata", Origin::EXTENSION]).or_else(|| root.get("context"))?;
    // An object of any size would be a way round the limit.
    if place.raw().len() > MAX_OBJECT {
        return None;
    }
    let hop = place.get("hop").map_or("", Node::raw);
    Origin::read(&place.text_of("ref")?, hop)
}

impl Envelope {
    /// The origin in the headers; one that breaks a rule is none.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        Origin::read(
            self.headers.get(names::ORIGIN_REF)?,
            self.headers.get(names::ORIGIN_HOP).unwrap_or_default(),
        )
    }

    /// Says who asked in the first place, unless the reader is on a foreign host, which takes away what is
    /// there.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if the headers together are full.
    pub fn with_origin(mut self, origin: &Origin, reach: Reach) -> Result<Self> {
        self.headers.remove(names::ORIGIN_REF);
        self.headers.remove(names::ORIGIN_HOP);
        if reach == Reach::Foreign {
            return Ok(self);
        }
        if origin.hop > 0 {
            self.headers.set(names::ORIGIN_HOP, &origin.hop.to_string())?;
        }
        self.with_header(names::ORIGIN_REF, &origin.token)
    }
}

/// The largest object around an origin, in bytes.
const MAX_OBJECT: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(origin: &Origin, reach: Reach) -> Option<Origin> {
        let envelope = Envelope::new("{}").with_origin(origin, reach).unwrap();
        assert_eq!(envelope.origin(), origin_of(&envelope.headers, &envelope.body));
        envelope.origin()
    }

    #[test]
    fn the_first_agent_gets_its_own_token_back() {
        let origin = Origin::new("9f2c-tok").unwrap();
        assert_eq!(sent(&origin, Reach::Home), Some(origin.clone()));
        let passed_on = origin.next().unwrap();
        assert_eq!(
            sent(&passed_on, Reach::Home).map(|o| (o.token().to_owned(), o.hop())),
            Some(("9f2c-tok".into(), 1))
        );
    }

    #[test]
    fn a_foreign_host_learns_no_origin() {
        let origin = Origin::new("tok").unwrap().next().unwrap();
        let home = Envelope::new("{}").with_origin(&origin, Reach::Home).unwrap();
        let abroad = home.with_origin(&origin, Reach::Foreign).unwrap();
        assert_eq!(abroad.headers.len(), 1);
        assert_eq!(abroad.origin(), None);
    }

    #[test]
    fn an_origin_ends_after_its_hops() {
        let mut origin = Origin::new("tok").unwrap();
        for hop in 1..=Origin::MAX_HOPS {
            origin = origin.next().unwrap();
            assert_eq!(origin.hop(), hop);
        }
        assert_eq!(origin.next(), None);
        let far = Headers::from_pairs([(names::ORIGIN_REF, "tok"), (names::ORIGIN_HOP, "9")]).unwrap();
        assert_eq!(origin_of(&far, b""), None);
    }

    #[test]
    fn a_token_is_1_to_256_visible_ascii() {
        assert!(Origin::new("x".repeat(256)).is_ok());
        for bad in ["", "a b", "é", "a\n", &"x".repeat(257)] {
            let error = Origin::new(bad).unwrap_err().to_string();
            assert!(error.contains("amb-origin-ref"), "{error}");
        }
    }

    #[test]
    fn messages_without_headers_carry_it_in_metadata_or_in_the_hermes_context() {
        let uri = Origin::EXTENSION;
        let rpc = format!(
            r#"{{"jsonrpc":"2.0","params":{{"message":{{"metadata":{{"{uri}":{{"ref":"t","hop":2}}}}}}}}}}"#
        );
        let bare = format!(r#"{{"role":"user","parts":[],"metadata":{{"{uri}":{{"ref":"t","hop":2}}}}}}"#);
        let hermes = r#"{"type":"mq9_call","context":{"ref":"t","hop":2}}"#;
        for body in [&rpc, &bare, hermes] {
            let found = origin_of(&Headers::new(), body.as_bytes()).unwrap();
            assert_eq!((found.token(), found.hop()), ("t", 2), "{body}");
        }
    }

    #[test]
    fn an_origin_too_large_or_of_another_kind_is_none() {
        let padded = format!(r#"{{"type":"mq9_call","context":{{"ref":"t","x":"{}"}}}}"#, "x".repeat(2048));
        for body in [
            padded.as_str(),
            r#"{"context":{"ref":7}}"#,
            r#"{"context":{"ref":""}}"#,
            r#"{"context":"t"}"#,
            r#"{"context":{"ref":"t","hop":-1}}"#,
            r#"{"context":{"ref":"t","hop":"2"}}"#,
            "[]",
            "x",
        ] {
            assert_eq!(origin_of(&Headers::new(), body.as_bytes()), None, "{body:.60}");
        }
    }

    #[test]
    fn debug_prints_no_token() {
        assert_eq!(format!("{:?}", Origin::new("secret").unwrap()), "Origin(<6 bytes>, hop 0)");
    }
}
