//! What the verbs can be told.

use std::time::Duration;

use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};

/// How an inbox is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Which inbox.
    pub inbox: Inbox,
    /// How many deliveries may be unsettled before the transport stops taking more in (default 256).
    pub max_unsettled: usize,
    /// The same in bytes of body and headers (default 8 MiB). One delivery may go over it.
    pub max_unsettled_bytes: usize,
}

/// Which inbox a subscription reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inbox {
    /// The agent's own.
    Own,
    /// A new one that nobody can guess, for answers. Needs the capability `extra_inbox`.
    Fresh {
        /// How long it lives at least.
        ttl: Duration,
    },
    /// An inbox that this agent opened before, here or on an earlier attachment: what is unsettled in it
    /// comes again. Needs the capability `extra_inbox`, except for the agent's own.
    Existing(Address),
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { inbox: Inbox::Own, max_unsettled: 256, max_unsettled_bytes: 8 * 1024 * 1024 }
    }
}

impl SubscribeOptions {
    /// The agent's own inbox with the default bounds.
    pub fn own() -> Self {
        Self::default()
    }

    /// A new inbox that lives at least `ttl`.
    pub fn fresh(ttl: Duration) -> Self {
        Self { inbox: Inbox::Fresh { ttl }, ..Self::default() }
    }

    /// The inbox at `address`, which this agent opened before.
    pub fn existing(address: Address) -> Self {
        Self { inbox: Inbox::Existing(address), ..Self::default() }
    }

    /// Sets how many deliveries may be unsettled.
    pub fn with_max_unsettled(mut self, messages: usize) -> Self {
        self.max_unsettled = messages;
        self
    }

    /// Sets how many bytes may be unsettled.
    pub fn with_max_unsettled_bytes(mut self, bytes: usize) -> Self {
        self.max_unsettled_bytes = bytes;
        self
    }

    /// Checks that something can be read under these bounds. Every transport of this project does so before
    /// it subscribes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the field and its limit.
    pub fn check(&self) -> Result<()> {
        self.check_in("subscribe")
    }

    pub(crate) fn check_in(&self, operation: &'static str) -> Result<()> {
        at_least_one(operation, "max_unsettled", self.max_unsettled)?;
        at_least_one(operation, "max_unsettled_bytes", self.max_unsettled_bytes)
    }
}

/// # Errors
/// `Invalid`, naming the field, when it is zero.
pub(crate) fn at_least_one(operation: &'static str, field: &str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, operation, format!("`{field}` must be at least 1")))
}

/// What closing leaves behind. Neither deletes an account or an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseMode {
    /// Keep the registration: the agent is away and its inbox goes on collecting.
    Detach,
    /// Unregister as well: nobody finds the agent any more.
    Retire,
}
