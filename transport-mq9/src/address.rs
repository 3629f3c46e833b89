//! Which mailbox an address means, seen from one broker.

use std::sync::Arc;

use agentchat_core::{Address, Error, ErrorKind, Result};
use mq9_client::{MailAddress, Mq9Uri};

/// The broker a transport is attached to, under every name it is known by.
#[derive(Debug, Clone)]
pub(crate) struct Broker {
    /// `mq9://host:port` or `mq9s://host:port`, as the connector was told.
    uri: Mq9Uri,
    /// Further `host[:port]` that are the same broker.
    aliases: Arc<[Mq9Uri]>,
}

impl Broker {
    pub(crate) fn new(uri: Mq9Uri, aliases: impl IntoIterator<Item = Mq9Uri>) -> Self {
        Self { uri: uri.server(), aliases: aliases.into_iter().collect() }
    }

    /// The address of `mailbox` on this broker.
    pub(crate) fn address_of(&self, mailbox: &MailAddress) -> Result<Address> {
        let scheme = if self.uri.requires_tls() { "mq9s" } else { "mq9" };
        Address::parse(format!("{scheme}://{}/{mailbox}", authority(&self.uri)))
    }

    /// The mailbox that `address` means here.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for another network's address, a bad name, or another broker's mailbox:
    /// a message for one must never land in a mailbox of the same name here.
    pub(crate) fn mailbox_of(&self, address: &Address, operation: &'static str) -> Result<MailAddress> {
        self.mailbox_in(address.as_str(), operation)
    }

    /// As [`Broker::mailbox_of`], for a URI or a bare mailbox name of this broker.
    pub(crate) fn mailbox_in(&self, text: &str, operation: &'static str) -> Result<MailAddress> {
        let refuse = |why: String| Error::new(ErrorKind::Invalid, operation, why);
        if !text.contains("://") {
            return MailAddress::new(text).map_err(|cause| crate::map_error::error(operation, cause));
        }
        // Not the connection's configuration is at fault, but the argument.
        let uri: Mq9Uri = text
            .parse()
            .map_err(|cause: mq9_client::Error| refuse(format!("the address cannot be used: {cause}")))?;
        if !self.uri.same_broker(&uri) && !self.aliases.iter().any(|alias| alias.same_broker(&uri)) {
            let why = format!(
                "the address is on broker {}, this transport is connected to {}",
                authority(&uri),
                authority(&self.uri)
            );
            return Err(refuse(why));
        }
        uri.mailbox().cloned().ok_or_else(|| refuse("the address names no mailbox".to_owned()))
    }
}

/// `host:port`, an IPv6 address in brackets.
fn authority(uri: &Mq9Uri) -> String {
    match uri.host() {
        host if host.contains(':') => format!("[{host}]:{}", uri.port()),
        host => format!("{host}:{}", uri.port()),
    }
}
