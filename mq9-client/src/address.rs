//! Mailbox names, checked once.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// The name of a mailbox: 1 to 128 of `a-z`, `0-9` and single dots inside.
///
/// The broker itself also accepts `a..b` and any length; this client refuses both, as the protocol
/// document does. On mq9 **the address is the only guard**: whoever knows it can read, acknowledge
/// and delete. `Debug` therefore masks it; `Display` prints it whole, for the wire.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailAddress(std::sync::Arc<str>);

impl MailAddress {
    /// The longest name accepted, in characters.
    pub const MAX_LEN: usize = 128;

    /// Checks `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the first character or rule that fails.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        match fault(name) {
            None => Ok(Self(name.into())),
            Some(fault) => Err(Error::new(ErrorKind::Invalid, "mail address", fault)),
        }
    }

    /// A fresh unguessable address `{prefix}.{26 characters}` carrying 128 random bits
    /// (without `prefix`, the random part alone).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the prefix breaks the naming rules;
    /// [`ErrorKind::Config`] when the operating system gives no randomness.
    pub fn generate(prefix: &str) -> Result<Self> {
        let mut bits = [0_u8; 16];
        getrandom::fill(&mut bits).map_err(|error| {
            Error::new(ErrorKind::Config, "mail address", format!("no random bits: {error}"))
        })?;
        let random = base32(bits);
        if prefix.is_empty() { Self::new(random) } else { Self::new(format!("{prefix}.{random}")) }
    }

    /// The name as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why `name` is no mailbox name, if it is not.
fn fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".into());
    }
    if name.chars().count() > MailAddress::MAX_LEN {
        return Some(format!("has {} characters; at most 128 are allowed", name.chars().count()));
    }
    if let Some((at, bad)) = name.char_indices().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '.')) {
        return Some(format!("has {bad:?} at byte {at}; only a-z, 0-9 and dots are allowed"));
    }
    if name.starts_with('.') || name.ends_with('.') {
        return Some("must begin and end with a letter or digit".into());
    }
    if name.contains("..") {
        return Some("has two dots in a row".into());
    }
    None
}

/// 128 bits as 26 characters of `a-z2-7`.
fn base32(bytes: [u8; 16]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = u128::from_be_bytes(bytes);
    (0..26).map(|place| char::from(ALPHABET[((bits >> (place * 5)) & 31) as usize])).collect()
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(4).collect();
        write!(f, "MailAddress({shown}…)")
    }
}

impl FromStr for MailAddress {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl AsRef<str> for MailAddress {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_outside_the_rules_are_refused_with_the_reason() {
        for (name, reason) in [
            ("", "empty"),
            ("Agent", "'A' at byte 0"),
            ("my-agent", "'-' at byte 2"),
            (".a", "begin and end"),
            ("a.", "begin and end"),
            ("a..b", "two dots"),
            ("é", "'é' at byte 0"),
            ("a b", "' ' at byte 1"),
            (&"n".repeat(129), "129 characters"),
        ] {
            let error = MailAddress::new(name).expect_err(name).to_string();
            assert!(error.contains(reason), "{name:?}: {error}");
        }
        for name in ["a", "z.9", "agent.coder.inbox", &"n".repeat(128)] {
            assert_eq!(MailAddress::new(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn debug_hides_all_but_the_first_characters() {
        let address = MailAddress::generate("reply").expect("generated");
        let shown = format!("{address:?}");
        assert_eq!(shown, "MailAddress(repl…)");
        assert_ne!(address, MailAddress::generate("reply").expect("generated"));
    }

    #[test]
    fn all_128_bits_of_generated_names_are_random() {
        // By chance a bit is the same in 1,000 names once in 10^300 runs, and two are equal as rarely as two keys.
        let names: Vec<String> = (0..1_000)
            .map(|_| MailAddress::generate("reply").expect("generated").as_str().to_owned())
            .collect();
        let distinct: std::collections::HashSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        let (mut ever, mut always) = (0_u128, u128::MAX);
        for name in &names {
            let random = name.strip_prefix("reply.").expect("the prefix");
            assert_eq!(random.len(), 26);
            let digit = |c: char| "abcdefghijklmnopqrstuvwxyz234567".find(c).expect("a digit") as u128;
            let bits = random.chars().rev().fold(0_u128, |bits, c| (bits << 5) | digit(c));
            (ever, always) = (ever | bits, always & bits);
        }
        assert_eq!((ever, always), (u128::MAX, 0), "each bit is set in some and not in others");
    }

    proptest! {
        #[test]
        fn every_128_bit_value_has_its_own_spelling(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(a == b, base32(a) == base32(b));
            prop_assert!(MailAddress::new(base32(a)).is_ok());
        }
    }
}
