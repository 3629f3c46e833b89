//! Where a message goes: a parsed URI.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::text::Text;

/// Where a message goes: `mq9://host[:port]/mailbox`, `mq9s://…` (TLS), `agentchat://handle-or-group`,
/// `loopback://name`, or the same two shapes under the scheme of another transport.
///
/// `Display` prints the whole URI, for the wire. `Debug` masks the name, because on mq9 the address is
/// the only guard of a mailbox.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: Text,
    scheme: u32,
    /// Where the name begins: behind `scheme://` or behind `scheme://authority/`.
    name: u32,
}

impl Address {
    /// Parses `text`. The scheme is lower case; the name is what stands behind the authority when there
    /// is a `/`, else what stands behind `://`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], saying which part is missing or wrong. The text itself is not repeated.
    pub fn parse(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let invalid = |what: &str| Error::new(ErrorKind::Invalid, "address", what);
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("has no `scheme://`"))?;
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(legal) {
            return Err(invalid("the scheme must be lower-case letters, digits, `+`, `-` or `.`"));
        }
        let start = scheme.len() + 3;
        let (authority, name) = match rest.split_once('/') {
            Some((authority, name)) => (authority, name),
            None => ("", rest),
        };
        if name.is_empty() {
            return Err(invalid("names nobody: the part behind the host is empty"));
        }
        if rest.contains('/') && (authority.is_empty() || authority.starts_with(':')) {
            return Err(invalid("the host is empty"));
        }
        if authority.contains('@') {
            return Err(invalid("must not carry credentials"));
        }
        if name.contains('/') || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("has a further `/`, a blank or a control character"));
        }
        if let Some((_, port)) = authority.rsplit_once(':')
            && !authority.ends_with(']')
            && !port.parse::<u16>().is_ok_and(|port| port > 0)
        {
            return Err(invalid("the port is not a number from 1 to 65535"));
        }
        let name = if authority.is_empty() { start } else { start + authority.len() + 1 };
        let place = |at: usize| u32::try_from(at).map_err(|_| invalid("is longer than any network carries"));
        Ok(Self { scheme: place(start - 3)?, name: place(name)?, text: text.into() })
    }

    /// `scheme://name`, for networks without hosts.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn of(scheme: &str, name: &str) -> Result<Self> {
        Self::parse(format!("{scheme}://{name}"))
    }

    /// The scheme, which names the transport.
    pub fn scheme(&self) -> &str {
        &self.as_str()[..self.scheme as usize]
    }

    /// `host[:port]`, when the address has one.
    pub fn authority(&self) -> Option<&str> {
        let (start, name) = (self.scheme as usize + 3, self.name as usize);
        (name > start).then(|| &self.as_str()[start..name - 1])
    }

    /// The mailbox, handle or name.
    pub fn name(&self) -> &str {
        &self.as_str()[self.name as usize..]
    }

    /// Whether its scheme is `scheme`.
    pub(crate) fn has_scheme(&self, scheme: &str) -> bool {
        self.text.as_bytes()[..self.scheme as usize] == *scheme.as_bytes()
    }

    /// Whether both have the same name, wherever they are.
    pub(crate) fn has_name_of(&self, other: &Self) -> bool {
        self.text.as_bytes()[self.name as usize..] == other.text.as_bytes()[other.name as usize..]
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.name().chars().take(4).collect();
        write!(f, "Address({}{shown}…)", &self.as_str()[..self.name as usize])
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_parts_of_each_documented_form_are_read() {
        for (text, scheme, authority, name) in [
            ("mq9://broker.example:4222/a.b", "mq9", Some("broker.example:4222"), "a.b"),
            ("mq9s://[::1]:4222/a", "mq9s", Some("[::1]:4222"), "a"),
            ("mq9://[::1]/a", "mq9", Some("[::1]"), "a"),
            ("agentchat://coder", "agentchat", None, "coder"),
            ("loopback://b", "loopback", None, "b"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.scheme(), address.authority(), address.name()), (scheme, authority, name));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn malformed_addresses_are_refused_with_the_part_at_fault() {
        for (text, part) in [
            ("a.b", "scheme://"),
            ("MQ9://h/a", "scheme"),
            ("://a", "scheme"),
            ("mq9://h/", "empty"),
            ("mq9:///a", "host is empty"),
            ("mq9://:4222/a", "host is empty"),
            ("loopback://", "empty"),
            ("mq9://u:p@h/a", "credentials"),
            ("mq9://h:0/a", "port"),
            ("mq9://h:x/a", "port"),
            ("mq9://h/a/b", "further"),
            ("mq9://h/a b", "blank"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn debug_does_not_give_the_mailbox_away() {
        let address = Address::parse("mq9://h/inbox.abcdefgh").expect("valid");
        assert_eq!(format!("{address:?}"), "Address(mq9://h/inbo…)");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_prints_back(text in ".{0,60}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(address.as_str(), text.as_str());
                prop_assert!(!address.name().is_empty());
            }
        }

        #[test]
        fn every_host_port_and_name_survives(host in "[a-z][a-z0-9.]{0,10}", port in 1_u16.., name in "[a-z0-9][a-z0-9.]{0,20}") {
            let address = Address::parse(format!("mq9://{host}:{port}/{name}")).unwrap();
            let authority = format!("{host}:{port}");
            prop_assert_eq!(address.authority(), Some(authority.as_str()));
            prop_assert_eq!(address.name(), name);
        }
    }
}
