//! Sending, reading, acknowledging and deleting messages.

use bytes::Bytes;

use crate::address::MailAddress;
use crate::client::Client;
use crate::error::Result;
use crate::message::{Message, MsgId, Received};
use crate::options::{FetchOptions, Group, QueryOptions};
use crate::protocol::outgoing::outgoing;
use crate::protocol::subjects::Command;
use crate::protocol::{replies, requests, rows};

/// What became of a sent message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It is stored under this id.
    Stored(MsgId),
    /// It is kept for later delivery and has no id until then.
    Delayed,
}

impl Sent {
    /// The id, unless the message is delayed.
    pub fn id(self) -> Option<MsgId> {
        match self {
            Self::Stored(id) => Some(id),
            Self::Delayed => None,
        }
    }
}

impl Client {
    /// Sends a message, and returns once the broker says that it is stored.
    ///
    /// Messages sent one after the other on one connection get rising ids; that holds for futures
    /// polled side by side as well. A payload that is not UTF-8 travels as base64 (see
    /// [`crate::CONTENT_ENCODING`]).
    ///
    /// # Errors
    /// - [`crate::ErrorKind::Invalid`], nothing sent: a delay above 365 days; a delay together with a
    ///   key or a ttl, which the broker would drop; a header that has its own setter, a name that is not
    ///   plain printable ASCII, a value with line breaks or surrounding blanks; an unusable key or tag.
    /// - [`crate::ErrorKind::TooLarge`], nothing sent: more bytes than [`Client::max_payload`], headers
    ///   and encoding counted.
    /// - [`crate::ErrorKind::MailboxNotFound`]: no such mailbox, or expired.
    /// - [`crate::ErrorKind::Broker`]: the broker could not store it.
    /// - [`crate::ErrorKind::Timeout`] and [`crate::ErrorKind::Disconnected`], with
    ///   [`crate::Error::reached`] telling whether sending again may store it twice.
    pub async fn send(&self, mailbox: &MailAddress, message: &Message) -> Result<Sent> {
        let command = Command::Send(mailbox);
        let link = self.session.link(command.operation())?;
        let wire = outgoing(message, link.nats.max_payload())?;
        let raw = self.call_on(&link, command, wire.headers, wire.payload).await?;
        let id = replies::stored(command, &raw, message.delay.is_some())?;
        Ok(id.map_or(Sent::Delayed, Sent::Stored))
    }

    /// Reads messages: critical, then urgent, then normal, each class in order of id. Never waits for
    /// messages to come. An expired mailbox is no error here: see [`Client::mailbox_exists`].
    ///
    /// Reading changes nothing, except with [`FetchOptions::force_deliver`]: what is not acknowledged
    /// comes again, to every member of the group.
    ///
    /// # Errors
    /// - [`crate::ErrorKind::Invalid`]: the group is bound to another mailbox.
    /// - [`crate::ErrorKind::Partitioned`]: the same id came twice, so ids cannot be acknowledged.
    /// - [`crate::ErrorKind::Protocol`] with [`crate::Error::message_id`]: that message claims to be base64 and is
    ///   not. It hides the others from this call; go past it or delete it.
    /// - [`crate::ErrorKind::MailboxNotFound`]: the name was never a mailbox.
    pub async fn fetch(&self, mailbox: &MailAddress, options: &FetchOptions) -> Result<Vec<Received>> {
        let command = Command::Fetch(mailbox);
        let raw = self.fetch_reply(mailbox, options).await?;
        rows::messages(command, &raw)?.into_iter().collect()
    }

    /// As [`Client::fetch`], but a message that claims to be base64 and is not comes as it was sent.
    pub(crate) async fn fetch_as_stored(
        &self,
        mailbox: &MailAddress,
        options: &FetchOptions,
    ) -> Result<Vec<Received>> {
        let raw = self.fetch_reply(mailbox, options).await?;
        rows::messages_as_stored(Command::Fetch(mailbox), &raw)
    }

    async fn fetch_reply(&self, mailbox: &MailAddress, options: &FetchOptions) -> Result<Bytes> {
        let command = Command::Fetch(mailbox);
        if let Some(group) = &options.group {
            group.check(command.operation(), mailbox)?;
        }
        self.call(command, requests::fetch(options)?).await
    }

    /// Acknowledges `id` and **everything before it, in all three priority classes**, delivered or not:
    /// the broker stores `id + 1` as the group's position. A smaller id than last time rewinds the group.
    /// Acknowledge the highest id of a complete batch, once.
    ///
    /// The broker answers before the position is on disk (about 20 ms), so a crash there brings messages
    /// again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`]: the group is bound to another mailbox, or the id is the highest
    /// there is (which would rewind to the start); [`crate::ErrorKind::MailboxNotFound`].
    pub async fn ack(&self, mailbox: &MailAddress, group: &Group, id: MsgId) -> Result<()> {
        let command = Command::Ack(mailbox);
        group.check(command.operation(), mailbox)?;
        let raw = self.call(command, requests::ack(mailbox, group, id)?).await?;
        replies::done(command, &raw)
    }

    /// Looks into a mailbox without moving any group: the oldest messages first, at most 100.
    ///
    /// The broker ignores [`QueryOptions::since`], so this filters what it returned; with tags the
    /// limit counts for each tag, and a tag `a` also matches tags that begin with `a/`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a limit outside 1 to 100; otherwise as [`Client::fetch`].
    pub async fn query(&self, mailbox: &MailAddress, options: &QueryOptions) -> Result<Vec<Received>> {
        let command = Command::Query(mailbox);
        let raw = self.call(command, requests::query(options)?).await?;
        let mut messages: Vec<Received> =
            rows::messages(command, &raw)?.into_iter().collect::<Result<_>>()?;
        if let Some(since) = options.since {
            messages.retain(|message| message.create_time >= since);
        }
        Ok(messages)
    }

    /// Removes one message. Deleting an id that is gone, or never was, succeeds as well.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MailboxNotFound`]; otherwise as every call.
    pub async fn delete(&self, mailbox: &MailAddress, id: MsgId) -> Result<()> {
        let command = Command::Delete(mailbox, id);
        replies::deleted(command, &self.call(command, Bytes::new()).await?)
    }
}
