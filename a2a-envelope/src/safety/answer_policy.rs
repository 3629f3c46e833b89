//! Which answer addresses are followed.

use std::fmt;

use crate::error::{Error, Result};

/// Which answer addresses are followed: mailboxes on the broker one is connected to, and no others.
///
/// An answer address is a stranger's claim. Whoever followed it anywhere would send what they know to
/// wherever a request says, so this refuses every host but the connected one, its other names, and the
/// literal `broker`, which means the connected one. Hosts are compared by spelling, case aside; nothing is
/// resolved. `Debug` prints the hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPolicy {
    hosts: Vec<(String, Option<u16>)>,
}

impl AnswerPolicy {
    /// Answers go to the broker of this address: `host`, `host:port`, or a URI of which scheme, credentials
    /// and path are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if there is no host in it.
    pub fn connected_to(server: &str) -> Result<Self> {
        Self { hosts: Vec::new() }.or(server)
    }

    /// Also under this name, for brokers that have several.
    ///
    /// # Errors
    ///
    /// As [`connected_to`](Self::connected_to).
    pub fn or(mut self, server: &str) -> Result<Self> {
        let authority = server.split_once("://").map_or(server, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        self.hosts.push(server_of(server)?);
        Ok(self)
    }

    /// Answers go to mailboxes that are named without a host, or with the host `broker`.
    #[must_use]
    pub fn local() -> Self {
        Self { hosts: Vec::new() }
    }

    /// The mailbox an answer address means, if it may be answered.
    ///
    /// Accepted are `mq9://` and `mq9s://` with the connected host (and its port, if one is written) or
    /// `broker`, and a bare mailbox name.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] with the rule the address breaks; the address itself is not printed.
    pub fn check(&self, address: &str) -> Result<AnswerTarget> {
        let name = match address.split_once("://") {
            None => address,
            Some((scheme, rest)) => {
                if !["mq9", "mq9s"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
                    return Err(Error::Address(AddressRule::Scheme));
                }
                if rest.contains(['?', '#']) {
                    return Err(Error::Address(AddressRule::Name));
                }
                let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
                self.check_authority(authority)?;
                name
            }
        };
        if is_mailbox_name(name) {
            Ok(AnswerTarget { mailbox: name.to_owned() })
        } else {
            Err(Error::Address(AddressRule::Name))
        }
    }

    /// Whether an address is on the broker one is connected to.
    #[must_use]
    pub fn accepts(&self, address: &str) -> bool {
        self.check(address).is_ok()
    }

    fn check_authority(&self, authority: &str) -> Result<()> {
        if authority.contains('@') {
            return Err(Error::Address(AddressRule::Credentials));
        }
        let (host, port) = server_of(authority)?;
        let known = (host == CONNECTED && port.is_none())
            || self.hosts.iter().any(|(own, own_port)| {
                // A port that is not written names no other broker.
                *own == host && (port.is_none() || port == Some(own_port.unwrap_or(DEFAULT_PORT)))
            });
        if known { Ok(()) } else { Err(Error::Address(AddressRule::ForeignHost)) }
    }
}

/// A mailbox that may be answered. `Debug` masks it: on mq9 who knows an address can read the mailbox.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AnswerTarget {
    /// The bare mailbox name, on the connected broker.
    pub mailbox: String,
}

impl fmt::Debug for AnswerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerTarget(<masked>)")
    }
}

/// Why an answer address is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressRule {
    /// Its scheme is neither `mq9` nor `mq9s`.
    Scheme,
    /// It is on another host, or another port.
    ForeignHost,
    /// It carries a user name or password.
    Credentials,
    /// It has no host that can be read.
    Host,
    /// It names no mailbox: 1 to 128 of `a-z`, `0-9` and single dots inside.
    Name,
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "its scheme is neither mq9 nor mq9s",
            Self::ForeignHost => "it is not on the connected host",
            Self::Credentials => "it carries credentials",
            Self::Host => "its host cannot be read",
            Self::Name => "it names no legal mailbox",
        })
    }
}

/// Whether an mq9 URI carries a user name or password, which would travel to whoever reads the message.
pub(crate) fn has_userinfo(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(scheme, rest)| {
        ["mq9", "mq9s", "nats", "tls"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
            && rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    })
}

/// Host in lower case and port, as written.
fn server_of(server: &str) -> Result<(String, Option<u16>)> {
    let refused = Error::Address(AddressRule::Host);
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let Some((host, behind)) = rest.split_once(']') else { return Err(refused) };
        match (behind, behind.strip_prefix(':')) {
            ("", _) => (host, None),
            (_, Some(port)) => (host, Some(port)),
            _ => return Err(refused),
        }
    } else {
        match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        }
    };
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:%".contains(&b)) {
        return Err(refused);
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(port) => Some(port),
            Err(_) => return Err(refused),
        },
        Some(_) => return Err(refused),
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn is_mailbox_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
        && name.split('.').all(|part| !part.is_empty())
}

/// The host that means the broker one is connected to.
const CONNECTED: &str = "broker";
const DEFAULT_PORT: u16 = 4222;
const MAX_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AnswerPolicy {
        AnswerPolicy::connected_to("mq9://user:secret@Broker.Internal:4332/inbox").unwrap()
    }

    fn rule(policy: &AnswerPolicy, address: &str) -> Option<AddressRule> {
        match policy.check(address) {
            Ok(_) => None,
            Err(Error::Address(rule)) => Some(rule),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn mailboxes_of_the_connected_broker_are_answered() {
        for address in [
            "cb.one",
            "mq9://broker/cb.one",
            "MQ9S://Broker/cb.one",
            "mq9://broker.internal/cb.one",
            "mq9://BROKER.internal:4332/cb.one",
        ] {
            assert_eq!(policy().check(address).unwrap().mailbox, "cb.one", "{address}");
        }
        let second = policy().or("10.0.0.7").unwrap().or("[::1]:5000").unwrap();
        assert!(second.accepts("mq9://10.0.0.7:4222/a") && second.accepts("mq9://[::1]:5000/a"));
    }

    #[test]
    fn another_host_or_port_is_not_answered() {
        for address in [
            "mq9://evil.example/cb",
            "mq9://broker.internal.evil.example/cb",
            "mq9://broker.internal:4222/cb",
            "mq9://broker:4332/cb",
            "mq9://127.0.0.1/cb",
            "mq9://[::1]/cb",
        ] {
            assert_eq!(rule(&policy(), address), Some(AddressRule::ForeignHost), "{address}");
        }
        assert_eq!(rule(&AnswerPolicy::local(), "mq9://broker.internal/cb"), Some(AddressRule::ForeignHost));
        assert!(AnswerPolicy::local().accepts("cb") && AnswerPolicy::local().accepts("mq9://broker/cb"));
    }

    #[test]
    fn another_scheme_is_not_answered() {
        for address in [
            "https://broker.internal/cb",
            "file:///etc/passwd",
            "nats://broker/cb",
            "://x",
            "agentchat://bob",
        ] {
            assert_eq!(rule(&policy(), address), Some(AddressRule::Scheme), "{address}");
        }
    }

    #[test]
    fn what_is_no_mailbox_name_is_not_answered() {
        let long = "a".repeat(129);
        for address in [
            "",
            "UPPER",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a/b",
            "$mq9.ai",
            "*",
            ">",
            "é",
            "mq9://broker",
            "mq9://broker/",
            "mq9://broker/a/b",
            "mq9://broker/a?x=1",
            "mq9://broker/a#x",
            &long,
        ] {
            assert_eq!(rule(&policy(), address), Some(AddressRule::Name), "{address}");
        }
        assert!(policy().accepts(&long[1..]));
    }

    #[test]
    fn an_address_with_credentials_or_a_broken_host_is_not_answered() {
        assert_eq!(rule(&policy(), "mq9://u:p@broker/cb"), Some(AddressRule::Credentials));
        assert_eq!(rule(&policy(), "mq9://broker@evil.example/cb"), Some(AddressRule::Credentials));
        for address in
            ["mq9:///cb", "mq9://[::1/cb", "mq9://broker:x/cb", "mq9://broker:99999/cb", "mq9://a b/cb"]
        {
            assert_eq!(rule(&policy(), address), Some(AddressRule::Host), "{address}");
        }
        assert!(AnswerPolicy::connected_to("mq9://").is_err());
    }

    #[test]
    fn neither_errors_nor_debug_print_an_address() {
        let line = policy().check("mq9://evil.example/secretbox").unwrap_err().to_string();
        assert!(!line.contains("secretbox") && !line.contains("evil"), "{line}");
        assert!(!format!("{:?}", policy().check("secretbox")).contains("secretbox"));
        assert!(!format!("{:?}", policy()).contains("secret"));
    }
}
