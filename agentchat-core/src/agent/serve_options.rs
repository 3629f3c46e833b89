//! How an inbox is served.

use std::time::Duration;

use super::dispatch::Policy;
use crate::address::Address;
use crate::options::SubscribeOptions;

/// How an inbox is served. Counts of zero count as one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// How many handlers run at once (default 16). Messages of one conversation run one after the other.
    pub concurrency: usize,
    /// How the inbox is read; its bounds are those of the queue. What is unsettled holds its place there,
    /// so failing messages, and what waits behind them in their conversations, can fill it. Nothing more
    /// is taken in then until one of them is settled: raise the bounds or use a dead-letter address where
    /// that matters.
    pub subscribe: SubscribeOptions,
    /// The wait before a failed message is tried again (default 1 s); it doubles with each failure.
    pub retry_base: Duration,
    /// The longest such wait (default 60 s).
    pub retry_cap: Duration,
    /// Where a message goes that failed this often. Without it a message is tried until it is settled,
    /// holding its conversation and its place in the queue, and nothing else.
    pub dead_letter: Option<(Address, u32)>,
    /// How long running handlers may go on once the inbox cannot be read any more, as after a lost
    /// connection (default 30 s). Then they are dropped: their messages come again anyway.
    pub grace: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            subscribe: SubscribeOptions::own(),
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            dead_letter: None,
            grace: Duration::from_secs(30),
        }
    }
}

impl ServeOptions {
    /// Sets how many handlers run at once.
    pub fn with_concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// Sets how the inbox is read.
    pub fn with_subscribe(mut self, subscribe: SubscribeOptions) -> Self {
        self.subscribe = subscribe;
        self
    }

    /// Sets the first and the longest wait before a failed message is tried again.
    pub fn with_retry(mut self, base: Duration, cap: Duration) -> Self {
        self.retry_base = base;
        self.retry_cap = cap;
        self
    }

    /// Sends a message that failed `attempts` times to `address` and settles it. Until the network has
    /// taken it there, it stays unsettled and is tried again.
    pub fn with_dead_letter(mut self, address: Address, attempts: u32) -> Self {
        self.dead_letter = Some((address, attempts.max(1)));
        self
    }

    /// Sets how long running handlers may go on once the inbox cannot be read any more.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The same with every bound at least one, however the fields were set.
    pub(crate) fn bounded(mut self) -> Self {
        self.concurrency = self.concurrency.max(1);
        self.subscribe.max_unsettled = self.subscribe.max_unsettled.max(1);
        self.subscribe.max_unsettled_bytes = self.subscribe.max_unsettled_bytes.max(1);
        self
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            concurrency: self.concurrency,
            retry_base: self.retry_base,
            retry_cap: self.retry_cap,
            max_attempts: self.dead_letter.as_ref().map(|(_, attempts)| (*attempts).max(1)),
        }
    }
}
