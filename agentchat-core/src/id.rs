//! Names of things: checked once, then passed around as themselves.

use std::fmt;

use std::time::SystemTime;

use uuid::{Builder, Uuid};

use crate::error::{Error, ErrorKind, Result};
use crate::text::Text;

/// Defines a text newtype of 1 to 128 visible ASCII characters, the narrowest rule among the networks.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        text_id! { @type $(#[$doc])* $name, $what }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
    (@type $(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Text);

        impl $name {
            /// Checks and keeps `text`.
            ///
            /// # Errors
            /// [`ErrorKind::Invalid`] unless it has 1 to 128 visible ASCII characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                checked($what, text.as_ref()).map(Self)
            }

            /// Text that is known to be within the rule.
            #[allow(dead_code, reason = "not every kind of id is made here")]
            pub(crate) fn format(args: fmt::Arguments<'_>) -> Self {
                let text = Text::format(args);
                debug_assert!(checked($what, text.as_str()).is_ok(), "not within the rule");
                Self(text)
            }

            #[allow(dead_code, reason = "not every kind of id is looked for by its bytes")]
            pub(crate) fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The text as it goes on the wire.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

text_id! {
    /// The sender's name for a message, made with it and kept through every retry, reconnect and restart.
    /// Receivers and servers recognise a repetition by it.
    ClientMsgId, "client message id"
}
text_id! {
    /// The server's name for a stored message.
    MessageId, "message id"
}
text_id! {
    /// What messages are ordered within.
    ConversationId, "conversation id"
}
text_id! {
    /// What ties replies to the call that asked.
    CorrelationId, "correlation id"
}
text_id! {
    @type
    /// A delivery's handle for [`Transport::ack`](crate::Transport::ack). Only its transport can read it;
    /// `Debug` shows nothing of it, since it may name an inbox.
    AckTag, "ack tag"
}

impl fmt::Debug for AckTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckTag(…)")
    }
}

impl MessageId {
    /// The id that is this number, written out.
    pub(crate) fn numbered(number: u64) -> Self {
        Self(Text::number(number))
    }
}

impl AckTag {
    /// The tag that is these numbers, written out with a dot between them.
    pub(crate) fn pair(first: u64, second: u64) -> Self {
        Self(Text::pair(first, second))
    }

    /// The numbers of a [`pair`](Self::pair).
    pub(crate) fn numbers(&self) -> Option<(u64, u64)> {
        let tag = self.0.as_bytes();
        let dot = tag.iter().position(|byte| *byte == b'.')?;
        Some((number(&tag[..dot])?, number(&tag[dot + 1..])?))
    }

    /// The number of a tag that was made [`below`](Self::below) `prefix`.
    pub(crate) fn number_below(&self, prefix: &str) -> Option<u64> {
        number(self.0.as_bytes().strip_prefix(prefix.as_bytes())?)
    }

    /// The tag that is the number behind `prefix`, which is within the rule.
    pub(crate) fn below(prefix: &str, number: u64) -> Self {
        Self(Text::below(prefix, number))
    }
}

impl ClientMsgId {
    /// A fresh id (UUID version 7: ordered by time, to the millisecond; 74 random bits).
    pub fn random() -> Self {
        Self(text(fresh()))
    }

    /// The id that `key` always gives under `scope` (UUID version 5): a repeated action gets its old id.
    pub fn derived(scope: &str, key: &str) -> Self {
        let scope = Uuid::new_v5(&NAMESPACE, scope.as_bytes());
        Self(text(Uuid::new_v5(&scope, key.as_bytes())))
    }
}

impl CorrelationId {
    /// A fresh id (UUID version 7).
    pub fn random() -> Self {
        Self(text(fresh()))
    }
}

/// What the digits say.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |number: u64, byte| number.checked_mul(10)?.checked_add(digit(byte)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// A UUID version 7: the time in milliseconds, then 74 random bits.
fn fresh() -> Uuid {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let dice = Uuid::new_v4().into_bytes();
    // Its version and variant, which are not random, stand in bytes 6 and 8.
    let [a, b, c, d, e, f, _, g, _, h, i, j, ..] = dice;
    let random = [a, b, c, d, e, f, g, h, i, j];
    Builder::from_unix_timestamp_millis(u64::try_from(since.as_millis()).unwrap_or(0), &random).into_uuid()
}

fn text(id: Uuid) -> Text {
    (&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).into()
}

fn checked(what: &str, text: &str) -> Result<Text> {
    // Looked at to the end, so that several bytes are looked at together.
    let legal = || text.bytes().fold(true, |legal, byte| legal & byte.is_ascii_graphic());
    if (1..=LONGEST_ID).contains(&text.len()) && legal() {
        return Ok(text.into());
    }
    let fault = match text.len() {
        0 => "is empty".to_owned(),
        len if len > LONGEST_ID => format!("has {len} bytes; at most {LONGEST_ID} are allowed"),
        _ => "has a character that is not visible ASCII".to_owned(),
    };
    Err(Error::new(ErrorKind::Invalid, "id", format!("the {what} {fault}")))
}

/// Thirty-two characters that stand for a long or secret text. Stores hold them: they never change.
pub(crate) fn digest(text: &str) -> String {
    Uuid::new_v5(&NAMESPACE, text.as_bytes()).simple().to_string()
}

/// Bytes of the longest id.
pub(crate) const LONGEST_ID: usize = 128;
/// Our own namespace for derived ids, so that they cannot meet anyone else's.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b1f_0c5e_9a43_5d0e_8c1d_3f6a_72e4_91b7);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_rule_are_refused_by_name() {
        assert!(ClientMsgId::new("m-1").is_ok());
        for (text, fault) in [("", "empty"), ("a b", "visible"), ("é", "visible"), (&"x".repeat(129), "129")]
        {
            let error = ClientMsgId::new(text).expect_err(text).to_string();
            assert!(error.contains("client message id") && error.contains(fault), "{error}");
        }
    }

    #[test]
    fn a_digest_is_what_stores_hold_already() {
        assert_eq!(digest("loopback://one"), "1c1452309cc1594d9307d4d802c804ff");
    }

    #[test]
    fn a_derived_id_is_the_same_every_time_and_differs_by_scope_and_key() {
        assert_eq!(ClientMsgId::derived("a", "1"), ClientMsgId::derived("a", "1"));
        assert_ne!(ClientMsgId::derived("a", "1"), ClientMsgId::derived("a", "2"));
        assert_ne!(ClientMsgId::derived("a", "1"), ClientMsgId::derived("b", "1"));
        assert_ne!(ClientMsgId::random(), ClientMsgId::random());
    }

    #[test]
    fn a_tag_of_two_numbers_is_read_and_no_other() {
        for pair in [(0, 0), (7, 1_234_567), (u64::MAX, u64::MAX)] {
            assert_eq!(AckTag::pair(pair.0, pair.1).numbers(), Some(pair));
        }
        for other in ["7", "7.", ".7", "7.x", "+7.7", "7.7.7", "7.18446744073709551616"] {
            assert_eq!(AckTag::new(other).expect("within the rule").numbers(), None, "{other}");
        }
    }
}
