//! What the consumer needs of a broker client.

use std::future::Future;

use crate::address::MailAddress;
use crate::error::Result;
use crate::message::{MsgId, Received};
use crate::options::{FetchOptions, Group};

/// The four commands a consumer sends.
///
/// Each makes one attempt and ends by its own deadline. Dropping a future abandons the call; the
/// broker may still carry it out. Commands of one mailbox must reach the broker in the order in which
/// their futures were first polled: an ACK is a plain overwrite, so a late one would rewind the group.
/// The connection behind it should be one that nothing is sent on, because the broker serves a
/// connection's requests strictly one after the other.
pub(crate) trait MailboxOps: Clone + Send + Sync + 'static {
    /// FETCH: one read, without waiting at the broker.
    fn fetch(
        &self,
        mailbox: &MailAddress,
        options: &FetchOptions,
    ) -> impl Future<Output = Result<Vec<Received>>> + Send;

    /// ACK: the group goes on after `up_to`, in all three priority classes.
    fn ack(
        &self,
        mailbox: &MailAddress,
        group: &Group,
        up_to: MsgId,
    ) -> impl Future<Output = Result<()>> + Send;

    /// DELETE of one message.
    fn delete(&self, mailbox: &MailAddress, id: MsgId) -> impl Future<Output = Result<()>> + Send;

    /// Whether the mailbox exists, asked in a way that notices expiry (FETCH does not).
    fn exists(&self, mailbox: &MailAddress) -> impl Future<Output = Result<bool>> + Send;
}
