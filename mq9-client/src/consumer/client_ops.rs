//! The consumer's commands over a client, and the way there from one.

use crate::address::MailAddress;
use crate::client::{Client, ConnectionState};
use crate::error::{Advice, Result};
use crate::message::{MsgId, Received};
use crate::options::{FetchOptions, Group};

use super::ops::MailboxOps;
use super::options::{ConsumerOptions, PollerOptions};
use super::poller::Poller;
use super::stream::Consumer;

impl Poller {
    /// Opens a second connection beside `client`'s (reading must not delay sending) and starts polling on it.
    ///
    /// The connection closes with the poller's task. It reconnects, or not, as `client` was told to.
    ///
    /// # Errors
    /// As [`Client::open_sibling`].
    pub async fn connect(client: &Client, options: PollerOptions) -> Result<Self> {
        Self::spawn(client.open_sibling().await?, options)
    }
}

impl Client {
    /// Consumes one mailbox, over a connection and a task of its own. For several mailboxes make one
    /// [`Poller`] and add them to it.
    ///
    /// # Errors
    /// As [`Client::open_sibling`] and [`Poller::add`].
    pub async fn consume(&self, mailbox: &MailAddress, options: ConsumerOptions) -> Result<Consumer> {
        Poller::connect(self, PollerOptions::default()).await?.add(mailbox.clone(), options)
    }
}

impl MailboxOps for Client {
    async fn fetch(&self, mailbox: &MailAddress, options: &FetchOptions) -> Result<Vec<Received>> {
        concluded(self, self.fetch_as_stored(mailbox, options).await)
    }

    async fn ack(&self, mailbox: &MailAddress, group: &Group, up_to: MsgId) -> Result<()> {
        concluded(self, Client::ack(self, mailbox, group, up_to).await)
    }

    async fn delete(&self, mailbox: &MailAddress, id: MsgId) -> Result<()> {
        concluded(self, Client::delete(self, mailbox, id).await)
    }

    async fn exists(&self, mailbox: &MailAddress) -> Result<bool> {
        concluded(self, self.mailbox_exists(mailbox).await)
    }
}

/// A client that was told not to reconnect is finished with its connection: no repetition can succeed.
fn concluded<T>(client: &Client, outcome: Result<T>) -> Result<T> {
    outcome.map_err(|error| match client.state() {
        ConnectionState::Closed => error.with_advice(Advice::Never),
        _ => error,
    })
}
