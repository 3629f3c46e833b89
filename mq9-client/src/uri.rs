//! `mq9://host[:port][/mailbox]`: where a broker and a mailbox on it are found.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::address::MailAddress;
use crate::connect::{Credentials, Secret};
use crate::error::{Error, ErrorKind, Result};

/// A broker's address, and perhaps a mailbox there: `mq9://host[:port][/mailbox]`.
///
/// Schemes are `mq9` and `nats` (plain, TLS if the server demands it), `mq9s` and `tls` (TLS required).
/// The port is 4222 unless given. `user:password@` or `token@` may stand before the host, with
/// percent-encoding. The literal host `broker` means *the broker one is connected to*, and cannot be
/// dialled.
///
/// `Display` prints everything but the credentials; `Debug` masks the mailbox as well.
///
/// ```
/// use mq9_client::Mq9Uri;
///
/// let inbox: Mq9Uri = "mq9://ada:secret@demo.example/agent.inbox".parse()?;
/// assert_eq!((inbox.host(), inbox.port()), ("demo.example", 4222));
/// assert_eq!(inbox.to_string(), "mq9://demo.example/agent.inbox");
/// assert!(inbox.same_broker(&"mq9://broker/other".parse()?));
/// # Ok::<(), mq9_client::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Mq9Uri {
    scheme: Scheme,
    credentials: Option<Credentials>,
    host: String,
    port: u16,
    mailbox: Option<MailAddress>,
}

/// The scheme of an [`Mq9Uri`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `mq9`.
    Mq9,
    /// `mq9s`: TLS required.
    Mq9s,
    /// `nats`: the same as `mq9`.
    Nats,
    /// `tls`: the same as `mq9s`.
    Tls,
}

impl Mq9Uri {
    /// The port of an address that names none.
    pub const DEFAULT_PORT: u16 = 4222;
    /// The host that means "the broker one is connected to".
    pub const CONNECTED: &str = "broker";

    /// The address of `mailbox` on the broker one is connected to: `mq9://broker/{mailbox}`.
    pub fn on_connected(mailbox: MailAddress) -> Self {
        Self {
            scheme: Scheme::Mq9,
            credentials: None,
            host: Self::CONNECTED.into(),
            port: Self::DEFAULT_PORT,
            mailbox: Some(mailbox),
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mailbox, when the address names one.
    pub fn mailbox(&self) -> Option<&MailAddress> {
        self.mailbox.as_ref()
    }

    /// Whether the scheme requires TLS.
    pub fn requires_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Mq9s | Scheme::Tls)
    }

    /// Whether the host is the literal `broker`.
    pub fn is_connected_one(&self) -> bool {
        self.host == Self::CONNECTED
    }

    /// Whether both mean the same broker: equal host and port, by spelling. The host `broker` matches
    /// any. Other names are not resolved, so `localhost` and `127.0.0.1` differ.
    pub fn same_broker(&self, other: &Self) -> bool {
        self.is_connected_one()
            || other.is_connected_one()
            || (self.host == other.host && self.port == other.port)
    }

    /// The same broker with this mailbox, and without the credentials.
    pub fn with_mailbox(&self, mailbox: MailAddress) -> Self {
        Self { mailbox: Some(mailbox), ..self.server() }
    }

    /// The broker alone: no credentials, no mailbox.
    pub fn server(&self) -> Self {
        Self {
            scheme: self.scheme,
            credentials: None,
            host: self.host.clone(),
            port: self.port,
            mailbox: None,
        }
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Host and port as written in a URI, an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}:{}", self.host, self.port)
    }

    #[cfg(feature = "interop")]
    pub(crate) fn plain(host: &str, port: u16) -> Option<Self> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("nats://{host}:{port}").parse().ok()
    }
}

impl Scheme {
    /// The scheme as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mq9 => "mq9",
            Self::Mq9s => "mq9s",
            Self::Nats => "nats",
            Self::Tls => "tls",
        }
    }
}

impl FromStr for Mq9Uri {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Config`], saying which part cannot be read, without repeating credentials.
    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refused("has no scheme"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "mq9" => Scheme::Mq9,
            "mq9s" => Scheme::Mq9s,
            "nats" => Scheme::Nats,
            "tls" => Scheme::Tls,
            _ => return Err(refused("has a scheme that is none of mq9, mq9s, nats, tls")),
        };
        if let Some(part) = rest.find(['?', '#']) {
            let name = if rest.as_bytes()[part] == b'?' { "query" } else { "fragment" };
            return Err(refused(format!("has a {name}, which means nothing here")));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, server) = match authority.rsplit_once('@') {
            Some((userinfo, server)) => (Some(userinfo), server),
            None => (None, authority),
        };
        let (host, port) = server_of(server)?;
        let mailbox = match path {
            "" => None,
            name => Some(
                MailAddress::new(name)
                    .map_err(|error| refused(format!("has a path that is no mailbox name ({error})")))?,
            ),
        };
        Ok(Self { scheme, credentials: userinfo.map(credentials_of).transpose()?, host, port, mailbox })
    }
}

impl fmt::Display for Mq9Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f)?;
        match &self.mailbox {
            Some(mailbox) => write!(f, "/{mailbox}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Mq9Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mq9Uri(")?;
        self.print(f)?;
        if let Some(mailbox) = &self.mailbox {
            write!(f, "/{mailbox:?}")?;
        }
        f.write_str(")")
    }
}

impl Mq9Uri {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}", self.scheme.as_str(), self.host)?;
        if self.port == Self::DEFAULT_PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn server_of(server: &str) -> Result<(String, u16)> {
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| refused("has a bracket without its pair"))?;
        let host: Ipv6Addr = host.parse().map_err(|_| refused("has brackets without an IPv6 address"))?;
        let port = match rest {
            "" => None,
            rest => {
                Some(rest.strip_prefix(':').ok_or_else(|| refused("has text after the closing bracket"))?)
            }
        };
        (host.to_string(), port)
    } else {
        let (host, port) = match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        };
        if host.is_empty() {
            return Err(refused("has no host"));
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            return Err(refused("has a host with characters other than letters, digits, '-', '.' and '_'"));
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => Mq9Uri::DEFAULT_PORT,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| refused(PORT_FAULT))?
        }
        Some(_) => return Err(refused(PORT_FAULT)),
    };
    Ok((host, port))
}

fn credentials_of(userinfo: &str) -> Result<Credentials> {
    let decoded = |part: &str| percent_decoded(part).map(Secret::new);
    match userinfo.split_once(':') {
        Some(("", _)) => Err(refused("has a password without a user")),
        Some((user, password)) => {
            Ok(Credentials::User { user: percent_decoded(user)?, password: decoded(password)? })
        }
        None if userinfo.is_empty() => Err(refused("has an empty user before '@'")),
        None => Ok(Credentials::Token(decoded(userinfo)?)),
    }
}

fn percent_decoded(text: &str) -> Result<String> {
    let fault = || refused("has credentials with a broken percent-encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or_else(fault)?, digit().ok_or_else(fault)?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| fault())
}

fn refused(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, "uri", format!("the broker's URI {what}"))
}

const PORT_FAULT: &str = "has a port that is not a number from 1 to 65535";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_forms_are_refused_with_the_part_at_fault() {
        for (text, reason) in [
            ("demo.example", "no scheme"),
            ("http://demo", "none of mq9"),
            ("mq9://", "no host"),
            ("mq9:///box", "no host"),
            ("mq9://:4222", "no host"),
            ("mq9://demo:0", "1 to 65535"),
            ("mq9://demo:65536", "1 to 65535"),
            ("mq9://demo:+1", "1 to 65535"),
            ("mq9://demo:", "1 to 65535"),
            ("mq9://de mo", "characters other"),
            ("mq9://démo", "characters other"),
            ("mq9://[::1", "without its pair"),
            ("mq9://[nope]", "without an IPv6"),
            ("mq9://[::1]x", "after the closing bracket"),
            ("mq9://demo/Box", "no mailbox name"),
            ("mq9://demo/a/b", "no mailbox name"),
            ("mq9://demo/a?x=1", "query"),
            ("mq9://demo#a", "fragment"),
            ("mq9://:pw@demo", "without a user"),
            ("mq9://@demo", "empty user"),
            ("mq9://u:%zz@demo", "percent-encoding"),
            ("mq9://u:%f@demo", "percent-encoding"),
            ("mq9://u:%ff@demo", "percent-encoding"),
        ] {
            let error = text.parse::<Mq9Uri>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_are_read_and_never_printed() {
        let uri: Mq9Uri = "mq9s://ada:p%40ss%3Aword@demo:4333/agent.secret".parse().expect("valid");
        assert_eq!(
            uri.credentials(),
            Some(&Credentials::User { user: "ada".into(), password: Secret::new("p@ss:word") })
        );
        assert!(uri.requires_tls());
        assert_eq!(uri.to_string(), "mq9s://demo:4333/agent.secret");
        assert_eq!(format!("{uri:?}"), "Mq9Uri(mq9s://demo:4333/MailAddress(agen…))");
        let uri: Mq9Uri = "nats://t0ken@demo".parse().expect("valid");
        assert_eq!(uri.credentials(), Some(&Credentials::Token(Secret::new("t0ken"))));
        assert!(!format!("{uri} {uri:?}").contains("t0ken"));
    }

    #[test]
    fn an_error_repeats_neither_credentials_nor_mailbox() {
        let error = "mq9://ada:hunter2@demo:x/agent.box".parse::<Mq9Uri>().expect_err("bad port");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("agent.box"), "{shown}");
    }

    #[test]
    fn the_same_broker_is_told_by_host_and_port() {
        let uri = |text: &str| text.parse::<Mq9Uri>().expect("valid");
        assert!(uri("mq9://Demo/a.b").same_broker(&uri("nats://demo:4222")));
        assert!(!uri("mq9://demo").same_broker(&uri("mq9://demo:4223")));
        assert!(!uri("mq9://localhost").same_broker(&uri("mq9://127.0.0.1")));
        assert!(uri("mq9://broker/x").same_broker(&uri("mq9://elsewhere:9")));
        assert!(uri("mq9://elsewhere:9").same_broker(&uri("mq9://broker")));
        assert_eq!(uri("mq9://[0::1]:5").authority(), "[::1]:5");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back_to_the_same(
            scheme in prop_oneof!["mq9", "mq9s", "nats", "tls"],
            host in prop_oneof!["[a-z][a-z0-9.-]{0,20}", Just("[2001:db8::7]".to_owned()), Just("broker".to_owned())],
            port in proptest::option::of(1_u16..),
            mailbox in proptest::option::of("[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,3}"),
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let mailbox = mailbox.map(|name| format!("/{name}")).unwrap_or_default();
            let uri: Mq9Uri = format!("{scheme}://{host}{port}{mailbox}").parse()?;
            prop_assert_eq!(uri.to_string().parse::<Mq9Uri>()?, uri.clone());
            prop_assert_eq!(uri.scheme().as_str(), scheme);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = text.parse::<Mq9Uri>();
            let _ = format!("mq9://{text}").parse::<Mq9Uri>();
        }

        #[test]
        fn any_password_survives_percent_encoding(password in ".{1,20}") {
            let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let uri: Mq9Uri = format!("mq9://u:{encoded}@demo").parse()?;
            let expected = Credentials::User { user: "u".into(), password: Secret::new(password) };
            prop_assert_eq!(uri.credentials(), Some(&expected));
        }
    }
}
