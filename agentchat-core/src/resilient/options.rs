//! How a session behaves.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::session::{BackoffPolicy, OutboxLimits};

/// How a [`Resilient`](super::Resilient) session reconnects, retries, waits and ends.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ResilientOptions {
    /// When to connect again. Former failures are forgotten only after a connection that lived for
    /// [`BackoffPolicy::stable_after`].
    pub reconnect: BackoffPolicy,
    /// When to repeat a message or call that failed on a connection that holds.
    pub retry: BackoffPolicy,
    /// How much may wait to be sent.
    pub outbox: OutboxLimits,
    /// How long the first connection may take, all attempts together (default 30 s).
    pub connect_timeout: Duration,
    /// How long any call but `send` may take, waiting for a connection included, and how long one attempt
    /// to send may, or ending an attachment (default 30 s).
    pub call_timeout: Duration,
    /// How long `send` may take, waiting for room and connections included (default 5 min).
    pub send_timeout: Duration,
    /// How long closing may take to send what is queued, and again to acknowledge what is settled (default
    /// 5 s). Ending the attachment is a call, bounded by `call_timeout`.
    pub drain_timeout: Duration,
    /// Whether receivers recognise a repeated `client_msg_id`, as every agent of this crate does. Only
    /// then is a message sent again that may have arrived (default true).
    pub receivers_dedup: bool,
    /// Whether messages that come from the agent's own address are settled unseen, for networks that echo
    /// what one sends (default false: a message to oneself is delivered).
    pub skip_own: bool,
    /// What the spread of the waits is drawn from (default: chosen anew for each session).
    pub seed: Option<u64>,
}

impl ResilientOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when to connect again.
    pub fn with_reconnect(mut self, policy: BackoffPolicy) -> Self {
        self.reconnect = policy;
        self
    }

    /// Sets when to repeat a message or call.
    pub fn with_retry(mut self, policy: BackoffPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how much may wait to be sent.
    pub fn with_outbox(mut self, limits: OutboxLimits) -> Self {
        self.outbox = limits;
        self
    }

    /// Sets how long the first connection may take.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a call may take.
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets how long `send` may take.
    pub fn with_send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Sets how long closing may take to send what is queued.
    pub fn with_drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Sets whether receivers recognise a repeated `client_msg_id`.
    pub fn with_receivers_dedup(mut self, dedup: bool) -> Self {
        self.receivers_dedup = dedup;
        self
    }

    /// Sets whether messages from the agent's own address are settled unseen.
    pub fn with_skip_own(mut self, skip: bool) -> Self {
        self.skip_own = skip;
        self
    }

    /// Sets what the spread of the waits is drawn from.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks that the parts make sense.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field.
    pub fn check(&self) -> Result<()> {
        for (policy, name) in [(&self.reconnect, "`reconnect`"), (&self.retry, "`retry`")] {
            let named = |fault: Error| Error::new(ErrorKind::Config, "connect", format!("{name}: {fault}"));
            policy.check().map_err(named)?;
        }
        self.outbox.check()?;
        for (time, name) in [
            (self.connect_timeout, "`connect_timeout`"),
            (self.call_timeout, "`call_timeout`"),
            (self.send_timeout, "`send_timeout`"),
        ] {
            if time.is_zero() {
                let what = format!("{name} must be longer than nothing");
                return Err(Error::new(ErrorKind::Config, "connect", what));
            }
        }
        Ok(())
    }
}

impl Default for ResilientOptions {
    fn default() -> Self {
        Self {
            reconnect: BackoffPolicy::default(),
            retry: BackoffPolicy::default(),
            outbox: OutboxLimits::default(),
            connect_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(5),
            receivers_dedup: true,
            skip_own: false,
            seed: None,
        }
    }
}
