//! How a consumer and its poller are told what to do.

use std::time::Duration;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{DeliverPolicy, Group};

use super::pacing::Pacing;
use super::partition::Partition;

/// What a consumer does with one mailbox.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// The group's short name. On the broker it is `{mailbox}/{group}`, with the share's suffix when there
    /// is a [`Partition`].
    pub group: String,
    /// Where a group without a stored offset begins. With [`DeliverPolicy::Latest`] the group keeps its
    /// place only from its first acknowledgement on.
    pub deliver: DeliverPolicy,
    /// How settled messages are acknowledged.
    pub ack_mode: AckMode,
    /// The most messages fetched and not yet settled: 4096. Never exceeded: what a reply brings beyond is
    /// dropped and read again.
    pub max_outstanding: usize,
    /// The most bytes (payloads and headers) fetched and not yet settled: 16 MiB. Exceeded only by a single
    /// message larger than it. A reply under way may hold more: its size is estimated from earlier rows.
    /// Messages of up to 1 KiB share allocations of 4 KiB, which one of them alone keeps: where few of many
    /// neighbours stay unsettled, up to 4 KiB for each.
    pub max_outstanding_bytes: usize,
    /// In a backlog, acknowledge after this many settled messages: 1000.
    pub ack_every: usize,
    /// In a backlog, acknowledge at the latest this long after a settled message: 250 ms.
    pub ack_interval: Duration,
    /// How often the mailbox is polled.
    pub pacing: Pacing,
    /// The share of the mailbox this consumer takes; `None` takes all.
    pub partition: Option<Partition>,
    /// How often to ask whether the mailbox still exists: `None`, right for one that lives for ever. An
    /// expired mailbox shows no error to a reader, only to senders.
    pub expiry_probe: Option<Duration>,
    /// The first and the longest delay before [`for_each`](super::Consumer::for_each) hands a failed message
    /// out again; it doubles from one to the other: 100 ms, 30 s.
    pub retry_delay: (Duration, Duration),
}

/// How settled messages are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AckMode {
    /// The group's offset moves over settled prefixes, many messages at once. The messages stay in the
    /// mailbox for other groups. An unsettled message holds the offset back, but not other messages.
    #[default]
    Offset,
    /// Every settled message is deleted from the mailbox, one command each. Exact whatever the order, but
    /// nobody else gets the message, and no group is used. With a [`Partition`] only the messages of
    /// this share are deleted.
    Delete,
}

impl ConsumerOptions {
    /// The defaults, for a group of this short name.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            deliver: DeliverPolicy::Earliest,
            ack_mode: AckMode::Offset,
            max_outstanding: 4096,
            max_outstanding_bytes: 16 << 20,
            ack_every: 1000,
            ack_interval: Duration::from_millis(250),
            pacing: Pacing::default(),
            partition: None,
            expiry_probe: None,
            retry_delay: (Duration::from_millis(100), Duration::from_secs(30)),
        }
    }

    /// Sets where a group without an offset begins.
    pub fn with_deliver(mut self, deliver: DeliverPolicy) -> Self {
        self.deliver = deliver;
        self
    }

    /// Sets how settled messages are acknowledged.
    pub fn with_ack_mode(mut self, mode: AckMode) -> Self {
        self.ack_mode = mode;
        self
    }

    /// Sets the most messages fetched and not yet settled.
    pub fn with_max_outstanding(mut self, messages: usize) -> Self {
        self.max_outstanding = messages;
        self
    }

    /// Sets the most bytes fetched and not yet settled.
    pub fn with_max_outstanding_bytes(mut self, bytes: usize) -> Self {
        self.max_outstanding_bytes = bytes;
        self
    }

    /// Sets how many settled messages, or how much time, one acknowledgement in a backlog gathers.
    pub fn with_ack_every(mut self, messages: usize, interval: Duration) -> Self {
        (self.ack_every, self.ack_interval) = (messages, interval);
        self
    }

    /// Sets how often the mailbox is polled.
    pub fn with_pacing(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Takes only a share of the mailbox.
    pub fn with_partition(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Asks this often whether the mailbox still exists.
    pub fn with_expiry_probe(mut self, interval: Duration) -> Self {
        self.expiry_probe = Some(interval);
        self
    }

    /// Sets the first and the longest delay before a failed message is handed out again.
    pub fn with_retry_delay(mut self, first: Duration, cap: Duration) -> Self {
        self.retry_delay = (first, cap);
        self
    }

    /// The group on the broker.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the short name is empty.
    pub fn group_for(&self, mailbox: &MailAddress) -> Result<Group> {
        let own = Group::for_mailbox(mailbox, &self.group)?;
        match &self.partition {
            Some(partition) => Group::for_mailbox(mailbox, &partition.group_name(&self.group)),
            None => Ok(own),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.pacing.validate()?;
        let fault = if self.max_outstanding == 0 || self.max_outstanding_bytes == 0 {
            "a consumer needs room for one message"
        } else if self.ack_every == 0 {
            "an acknowledgement covers at least one message"
        } else if self.expiry_probe.is_some_and(|interval| interval < Duration::from_secs(1)) {
            "the shortest interval of the expiry probe is 1 s"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, "consumer options", fault))
    }

    /// The delay before attempt `attempt + 1`.
    pub(crate) fn retry_after(&self, attempt: u32) -> Duration {
        let (first, cap) = self.retry_delay;
        first.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(cap)
    }
}

/// How a poller serves its mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollerOptions {
    /// The most polls in a second, over all mailboxes: 1000. Reads that continue a backlog do not count.
    pub polls_per_second: u32,
    /// The most FETCHes under way at once: 4.
    pub concurrent_fetches: usize,
    /// Seeds the jitter of backoffs; `None` takes fresh randomness.
    pub seed: Option<u64>,
}

impl PollerOptions {
    /// Sets the budget of polls.
    pub fn with_polls_per_second(mut self, polls: u32) -> Self {
        self.polls_per_second = polls;
        self
    }

    /// Sets the most FETCHes under way at once.
    pub fn with_concurrent_fetches(mut self, fetches: usize) -> Self {
        self.concurrent_fetches = fetches;
        self
    }

    /// Seeds the jitter.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl Default for PollerOptions {
    fn default() -> Self {
        Self { polls_per_second: 1000, concurrent_fetches: 4, seed: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_as_documented() {
        let options = ConsumerOptions::new("g");
        assert_eq!((options.max_outstanding, options.max_outstanding_bytes), (4096, 16 * 1024 * 1024));
        assert_eq!((options.ack_every, options.ack_interval), (1000, Duration::from_millis(250)));
        assert_eq!((options.deliver, options.ack_mode), (DeliverPolicy::Earliest, AckMode::Offset));
        assert_eq!((&options.partition, options.expiry_probe), (&None, None));
        let delays: Vec<_> = [1, 2, 3, 99].map(|attempt| options.retry_after(attempt).as_millis()).into();
        assert_eq!(delays, [100, 200, 400, 30_000]);
        let poller = PollerOptions::default();
        assert_eq!((poller.polls_per_second, poller.concurrent_fetches), (1000, 4));
    }

    #[test]
    fn each_share_of_a_mailbox_has_a_group_of_its_own() {
        let mailbox = MailAddress::new("a.b").expect("valid");
        let options = ConsumerOptions::new("work");
        assert_eq!(options.group_for(&mailbox).expect("group").as_str(), "a.b/work");
        let options = options.with_partition(Partition::new(1, 3).expect("share"));
        assert_eq!(options.group_for(&mailbox).expect("group").as_str(), "a.b/work.p1of3");
        assert!(ConsumerOptions::new("").group_for(&mailbox).is_err());
    }

    #[test]
    fn options_that_could_never_work_are_refused() {
        for options in [
            ConsumerOptions::new("g").with_max_outstanding(0),
            ConsumerOptions::new("g").with_max_outstanding_bytes(0),
            ConsumerOptions::new("g").with_ack_every(0, Duration::ZERO),
            ConsumerOptions::new("g").with_expiry_probe(Duration::from_millis(1)),
        ] {
            assert_eq!(options.validate().expect_err("refused").kind(), ErrorKind::Invalid);
        }
    }
}
