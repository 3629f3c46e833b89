//! Headers as pairs that any transport can write: checked, bounded, in the order they were set.

use std::fmt;

use crate::error::{Error, HeaderRule, Result};
use crate::names;

/// Header names and values, in the order they were first set.
///
/// Names are case-insensitive and kept in lower case; a name has one value. Every value satisfies the
/// format's rules (no CR, LF or NUL, no surrounding white space, at most 4 KiB; 16 KiB and 128 headers in
/// all), so a transport can write the pairs into a header block as they are. Two maps are equal if they hold
/// the same pairs, in whatever order.
///
/// `Debug` prints the values of routing-neutral headers only: addresses and unknown headers show a length.
#[derive(Clone, Default)]
pub struct Headers {
    pairs: Vec<(String, String)>,
    bytes: usize,
}

impl Headers {
    /// The largest value, in bytes.
    pub const MAX_VALUE: usize = 4 * 1024;
    /// The most bytes of all names and values together.
    pub const MAX_TOTAL: usize = 16 * 1024;
    /// The most headers.
    pub const MAX_COUNT: usize = 128;

    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self { pairs: Vec::new(), bytes: 0 }
    }

    /// Reads pairs as a transport received them. Of a repeated name the last value counts, as it does in
    /// the mq9 broker.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] for the first name or value that breaks a rule.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.set_bytes(name.as_ref(), value.as_ref())?;
        }
        Ok(headers)
    }

    /// The value of a header; the name's case does not matter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).map(|at| self.pairs[at].1.as_str())
    }

    /// Whether a header is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Sets a header; a value that was there is replaced, in its place, and returned.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if name or value break a rule; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Option<String>> {
        let refuse = |rule| Err(Error::header(name, rule));
        if let Some(rule) = broken_rule(name, value) {
            return refuse(rule);
        }
        match self.position(name) {
            Some(at) => {
                let total = self.bytes - self.pairs[at].1.len() + value.len();
                if total > Self::MAX_TOTAL {
                    return refuse(HeaderRule::TotalTooLong { found: total });
                }
                self.bytes = total;
                Ok(Some(std::mem::replace(&mut self.pairs[at].1, value.to_owned())))
            }
            None => {
                let total = self.bytes + name.len() + value.len();
                if total > Self::MAX_TOTAL {
                    return refuse(HeaderRule::TotalTooLong { found: total });
                }
                if self.pairs.len() == Self::MAX_COUNT {
                    return refuse(HeaderRule::TooMany);
                }
                self.bytes = total;
                self.pairs.push((name.to_ascii_lowercase(), value.to_owned()));
                Ok(None)
            }
        }
    }

    /// [`set`](Self::set) for a value that has not been checked to be UTF-8.
    ///
    /// # Errors
    ///
    /// As `set`, and [`HeaderRule::NotUtf8`].
    pub fn set_bytes(&mut self, name: &str, value: &[u8]) -> Result<Option<String>> {
        match std::str::from_utf8(value) {
            Ok(value) => self.set(name, value),
            Err(_) => Err(Error::header(name, HeaderRule::NotUtf8)),
        }
    }

    /// Takes a header away and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.position(name)?;
        let (name, value) = self.pairs.remove(at);
        self.bytes -= name.len() + value.len();
        Some(value)
    }

    /// The pairs, in order, ready to be written natively.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Bytes of all names and values together, as counted against [`MAX_TOTAL`](Self::MAX_TOTAL).
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.bytes
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            if PRINTABLE.contains(&name) {
                map.entry(&name, &value);
            } else {
                map.entry(&name, &format_args!("<{} bytes>", value.len()));
            }
        }
        map.finish()
    }
}

fn broken_rule(name: &str, value: &str) -> Option<HeaderRule> {
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_token) {
        return Some(HeaderRule::Name);
    }
    if value.len() > Headers::MAX_VALUE {
        return Some(HeaderRule::TooLong { found: value.len() });
    }
    if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Some(HeaderRule::LineBreak);
    }
    let space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if space(value.as_bytes().first()) || space(value.as_bytes().last()) {
        return Some(HeaderRule::SurroundingSpace);
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const MAX_NAME: usize = 128;

/// Headers whose values hold neither an address nor a secret.
const PRINTABLE: [&str; 14] = [
    names::ENVELOPE,
    names::METHOD,
    names::CORRELATION_ID,
    names::TYPE,
    names::SEQ,
    names::GENERATION,
    names::TASK_ID,
    names::CONTEXT_ID,
    names::LAST,
    names::A2A_VERSION,
    names::DEADLINE,
    names::RESUME_AFTER,
    names::IF_GENERATION,
    names::TRACEPARENT,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(result: Result<Option<String>>) -> HeaderRule {
        match result {
            Err(Error::Header { rule, .. }) => rule,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_case_insensitive_and_written_in_lower_case() {
        let mut headers = Headers::new();
        assert_eq!(headers.set("AMB-Seq", "1"), Ok(None));
        assert_eq!(headers.set("amb-seq", "2"), Ok(Some("1".into())));
        assert_eq!(headers.get("Amb-SEQ"), Some("2"));
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("amb-seq", "2")]);
    }

    #[test]
    fn pairs_come_out_in_the_order_they_were_first_set() {
        let mut headers = Headers::from_pairs([("z", "1"), ("a", "2"), ("m", "3")]).unwrap();
        headers.set("a", "4").unwrap();
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("z", "1"), ("a", "4"), ("m", "3")]);
        assert_eq!(headers.remove("Z"), Some("1".into()));
        assert_eq!(headers.remove("z"), None);
        assert_eq!(headers.iter().len(), 2);
    }

    #[test]
    fn of_a_repeated_name_the_last_value_counts() {
        let headers = Headers::from_pairs([("x", "old"), ("X", "new")]).unwrap();
        assert_eq!((headers.get("x"), headers.len()), (Some("new"), 1));
    }

    #[test]
    fn equality_ignores_order_and_nothing_else() {
        let ab = Headers::from_pairs([("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(ab, Headers::from_pairs([("b", "2"), ("A", "1")]).unwrap());
        assert_ne!(ab, Headers::from_pairs([("a", "1"), ("b", "3")]).unwrap());
        assert_ne!(ab, Headers::from_pairs([("a", "1")]).unwrap());
    }

    #[test]
    fn values_that_a_header_block_cannot_carry_are_refused() {
        let mut headers = Headers::new();
        for bad in ["a\rb", "a\nb", "\r\n", "a\0b"] {
            assert_eq!(rule(headers.set("x", bad)), HeaderRule::LineBreak, "{bad:?}");
        }
        for bad in [" a", "a ", "\ta", "a\t", " "] {
            assert_eq!(rule(headers.set("x", bad)), HeaderRule::SurroundingSpace, "{bad:?}");
        }
        assert_eq!(rule(headers.set_bytes("x", b"\xff")), HeaderRule::NotUtf8);
        assert!(headers.is_empty());
        for good in ["", "a b", "a\tb", "grüße, 世界", "\u{7f}"] {
            headers.set("x", good).unwrap();
            assert_eq!(headers.get("x"), Some(good));
        }
    }

    #[test]
    fn names_are_tokens() {
        let mut headers = Headers::new();
        for bad in ["", "a b", "a:b", "a\nb", "ä", "a\"b", &"n".repeat(129)] {
            assert_eq!(rule(headers.set(bad, "1")), HeaderRule::Name, "{bad:?}");
        }
        assert_eq!(headers.set(&"n".repeat(128), "1"), Ok(None));
    }

    #[test]
    fn a_value_of_4_kib_fits_and_one_byte_more_does_not() {
        let mut headers = Headers::new();
        assert_eq!(headers.set("x", &"v".repeat(4096)), Ok(None));
        assert_eq!(rule(headers.set("x", &"v".repeat(4097))), HeaderRule::TooLong { found: 4097 });
        assert_eq!(headers.get("x").map(str::len), Some(4096));
    }

    #[test]
    fn sixteen_kib_in_all_fit_and_one_byte_more_does_not() {
        let mut headers = Headers::new();
        for name in ["a", "b", "c"] {
            headers.set(name, &"v".repeat(4096)).unwrap();
        }
        headers.set("d", &"v".repeat(4092)).unwrap();
        assert_eq!(headers.total_bytes(), 16_384);
        assert_eq!(rule(headers.set("d", &"v".repeat(4093))), HeaderRule::TotalTooLong { found: 16_385 });
        assert_eq!(rule(headers.set("e", "")), HeaderRule::TotalTooLong { found: 16_385 });
        headers.remove("d");
        assert_eq!(headers.total_bytes(), 3 * 4097);
        headers.set("e", "1").unwrap();
    }

    #[test]
    fn the_129th_header_is_refused_but_replacing_one_is_not() {
        let mut headers = Headers::new();
        for n in 0..128 {
            headers.set(&format!("h{n}"), "").unwrap();
        }
        assert_eq!(rule(headers.set("one-more", "")), HeaderRule::TooMany);
        assert_eq!(headers.set("h0", "x"), Ok(Some(String::new())));
    }

    #[test]
    fn debug_prints_neither_addresses_nor_unknown_values() {
        let headers = Headers::from_pairs([
            (names::REPLY_TO, "secretbox"),
            (names::TASK_INBOX, "secretbox"),
            ("authorization", "secretbox"),
            (names::CORRELATION_ID, "c-1"),
        ])
        .unwrap();
        let printed = format!("{headers:?}");
        assert!(!printed.contains("secretbox"), "{printed}");
        assert!(printed.contains("c-1") && printed.contains("<9 bytes>"), "{printed}");
    }
}
