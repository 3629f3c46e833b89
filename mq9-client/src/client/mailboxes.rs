//! Creating mailboxes and asking for them.

use crate::address::MailAddress;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::options::CreateMailbox;
use crate::protocol::subjects::Command;
use crate::protocol::{replies, requests};

/// What [`Client::ensure_mailbox`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ensured {
    /// It was made now. Two connections that create at the same moment may both be told so.
    Created(MailAddress),
    /// It was there, with the lifetime of whoever made it.
    Existed(MailAddress),
}

impl Ensured {
    /// The mailbox's address.
    pub fn address(&self) -> &MailAddress {
        match self {
            Self::Created(address) | Self::Existed(address) => address,
        }
    }

    /// The mailbox's address.
    pub fn into_address(self) -> MailAddress {
        match self {
            Self::Created(address) | Self::Existed(address) => address,
        }
    }
}

impl Client {
    /// Creates a mailbox, and gives its address.
    ///
    /// The broker has no command to remove one: it goes when its lifetime is over. A name used again
    /// after that brings back the old messages and the old groups' offsets, so choose unguessable names
    /// ([`MailAddress::generate`]) and do not recycle them.
    ///
    /// # Errors
    /// [`ErrorKind::MailboxExists`] when the name is taken; [`ErrorKind::Invalid`] for a lifetime of
    /// zero (which would mean forever); otherwise as every call.
    pub async fn create_mailbox(&self, mailbox: CreateMailbox) -> Result<MailAddress> {
        let command = Command::Create(mailbox.name.as_ref());
        let raw = self.call(command, requests::create(&mailbox)?).await?;
        let address = replies::created(command, &raw)?;
        match &mailbox.name {
            Some(name) if *name != address => {
                Err(replies::protocol(command, "another mail_address than asked for", &[]))
            }
            _ => Ok(address),
        }
    }

    /// Creates a named mailbox unless it exists. An existing one keeps its lifetime, which may be
    /// shorter than asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without a name; otherwise as [`Client::create_mailbox`].
    pub async fn ensure_mailbox(&self, mailbox: CreateMailbox) -> Result<Ensured> {
        let Some(name) = mailbox.name.clone() else {
            return Err(Error::new(
                ErrorKind::Invalid,
                "MAILBOX.CREATE",
                "only a named mailbox can be ensured",
            ));
        };
        match self.create_mailbox(mailbox).await {
            Ok(address) => Ok(Ensured::Created(address)),
            Err(error) if error.kind() == ErrorKind::MailboxExists => Ok(Ensured::Existed(name)),
            Err(error) => Err(error),
        }
    }

    /// Whether a mailbox exists.
    ///
    /// FETCH, QUERY and ACK go on answering for an expired mailbox, and there is no command to ask; this
    /// tries to create the name with a lifetime of one second. A living mailbox is not touched. A
    /// missing or expired name exists after that for up to 61 s, until the broker's next collection:
    /// within that time a send to it succeeds, its old messages show, and a second question is answered
    /// with yes.
    ///
    /// # Errors
    /// As every call.
    pub async fn mailbox_exists(&self, mailbox: &MailAddress) -> Result<bool> {
        let command = Command::Create(Some(mailbox));
        let raw = self.call(command, requests::create_for_a_second(mailbox)?).await?;
        match replies::created(command, &raw) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::MailboxExists => Ok(true),
            Err(error) => Err(error),
        }
    }
}
