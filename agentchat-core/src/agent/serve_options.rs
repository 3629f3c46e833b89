//! How an inbox is served.

use std::sync::Arc;
use std::time::Duration;

use super::dead_letter::{DeadLetter, DeadLetterHook, DeadLetters, SyncHook};
use super::dispatch::Policy;
use super::outcome::HandlerResult;
use super::turns::{Gate, Guard, TurnGuard, Turns};
use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{SubscribeOptions, at_least_one};

/// What of a conversation is handed to the handler. A conversation never runs twice at once; messages
/// without one have nothing to do with each other and are handled one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ServePolicy {
    /// Each message, in order (the default).
    #[default]
    Each,
    /// Up to so many messages that wait together, in order and at once, to
    /// [`Handler::handle_batch`](crate::Handler::handle_batch). Nothing waits for a batch to fill. They are
    /// settled together. A batch that fails comes again as it was, without what has arrived since; its last
    /// try is each message's own, so that one of them cannot make the others be given up.
    Batch(usize),
    /// Only the newest message that waits. Those it supersedes are settled without being handled; they are
    /// counted in [`ServeStats::superseded`](crate::agent::ServeStats::superseded), and a sender that waits
    /// for a reply is told. A message that runs is not interrupted; one that failed is superseded too.
    Latest,
}

/// How an inbox is served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// What of a conversation is handed to the handler.
    pub policy: ServePolicy,
    /// How many handlers run at once (default 16). Those of one conversation run one after the other.
    #[doc(alias = "max_in_flight")]
    pub concurrency: usize,
    /// How the inbox is read; its bounds are those of the queue. What is unsettled holds its place there,
    /// so failing messages, and what waits behind them in their conversations, can fill it. Nothing more
    /// is taken in then until one of them is settled: raise the bounds or limit the attempts where that
    /// matters.
    pub subscribe: SubscribeOptions,
    /// The wait before a failed message is tried again (default 1 s); it doubles with each failure.
    pub retry_base: Duration,
    /// The longest such wait (default 60 s).
    pub retry_cap: Duration,
    /// After how many failures a message is given up: it goes to where dead letters go, its sender is told if
    /// it waits for a reply, and it is settled. Without a number a message is tried until it is settled,
    /// holding its conversation and its place in the queue, and nothing else.
    pub max_attempts: Option<u32>,
    /// Where messages go that are given up or rejected. Until they are taken there, they stay unsettled, hold
    /// their conversation and are tried again. Without a place they are settled, which the log tells.
    pub dead_letters: Option<DeadLetters>,
    /// How many messages of one conversation are handled within which time.
    pub turn_limit: Option<(u32, Duration)>,
    /// How long running handlers may go on once the inbox cannot be read any more, as after a lost
    /// connection (default 30 s). Then they are dropped: their messages come again anyway.
    pub grace: Duration,
    /// Whether a request found after its deadline is handed to the handler, which then answers it in its own
    /// words (default off: it is answered with an error and not handed over).
    pub hand_over_expired: bool,
    guard: Option<Guard>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            policy: ServePolicy::Each,
            concurrency: 16,
            subscribe: SubscribeOptions::own(),
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            max_attempts: None,
            dead_letters: None,
            turn_limit: None,
            grace: Duration::from_secs(30),
            hand_over_expired: false,
            guard: None,
        }
    }
}

impl ServeOptions {
    /// Sets what of a conversation is handed to the handler.
    pub fn with_policy(mut self, policy: ServePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how many handlers run at once.
    #[doc(alias = "with_max_in_flight")]
    pub fn with_concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers;
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

    /// Sets after how many failures a message is given up.
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sends a message that failed `attempts` times, or was rejected, to `address` and settles it. Until the
    /// network has taken it there, it stays unsettled and is tried again.
    pub fn with_dead_letter(mut self, address: Address, attempts: u32) -> Self {
        self.dead_letters = Some(DeadLetters::Address(address));
        self.with_max_attempts(attempts)
    }

    /// Hands a message that failed `attempts` times, or was rejected, to `hook`, in place of a dead-letter
    /// address. The message is settled only after the hook returned `Ok`.
    ///
    /// ```
    /// use agentchat_core::ServeOptions;
    /// use agentchat_core::agent::DeadLetter;
    ///
    /// let options = ServeOptions::default().with_dead_letter_hook(
    ///     |letter: DeadLetter| async move {
    ///         println!("{} failed {} times: {}", letter.delivery.id, letter.failures, letter.error);
    ///         Ok(())
    ///     },
    ///     5,
    /// );
    /// # let _ = options;
    /// ```
    pub fn with_dead_letter_hook(mut self, hook: impl DeadLetterHook, attempts: u32) -> Self {
        self.dead_letters = Some(DeadLetters::Hook(Arc::new(hook)));
        self.with_max_attempts(attempts)
    }

    /// As [`with_dead_letter_hook`](Self::with_dead_letter_hook), for a callback that does not wait. It must
    /// not block.
    pub fn with_dead_letter_callback<F>(self, callback: F, attempts: u32) -> Self
    where
        F: Fn(DeadLetter) -> HandlerResult + Send + Sync + 'static,
    {
        self.with_dead_letter_hook(SyncHook(callback), attempts)
    }

    /// Rejects what goes beyond `turns` messages of one conversation within `window`, so that two agents that
    /// answer each other come to an end. A conversation's window begins with a message and is over after its
    /// time; the next message begins another one. The first rejection in each window is a warning in the log.
    ///
    /// A sender that waits for a reply in an inbox for replies, as a call does, is told of each rejection. One
    /// that waits in its own inbox is told of the first in each window: if it answers that, it ends there.
    ///
    /// Messages are counted when they are first handed to the handler, in this process; those without a
    /// conversation are not counted. Of the 16,384 conversations used last the counts are kept.
    pub fn with_turn_limit(mut self, turns: u32, window: Duration) -> Self {
        self.turn_limit = Some((turns, window));
        self
    }

    /// Asks `guard` about each message before it is handled, besides any turn limit. What it refuses is
    /// rejected.
    pub fn with_turn_guard(mut self, guard: impl TurnGuard) -> Self {
        self.guard = Some(Guard(Arc::new(guard)));
        self
    }

    /// Hands requests found after their deadline to the handler, which answers them in its own words.
    pub fn with_expired_handed_over(mut self) -> Self {
        self.hand_over_expired = true;
        self
    }

    /// Sets how long running handlers may go on once the inbox cannot be read any more.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Checks that something can be handled under these options. An agent does so before it serves.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), naming the field and its limit.
    pub fn check(&self) -> Result<()> {
        at_least_one("serve", "concurrency", self.concurrency)?;
        if let ServePolicy::Batch(messages) = self.policy {
            at_least_one("serve", "policy: Batch", messages)?;
        }
        if self.max_attempts == Some(0) {
            at_least_one("serve", "max_attempts", 0)?;
        }
        if let Some((turns, window)) = self.turn_limit {
            at_least_one("serve", "turn_limit", usize::from(turns > 0))?;
            if window.is_zero() {
                let what = "the window of `turn_limit` must be longer than nothing";
                return Err(Error::new(ErrorKind::Invalid, "serve", what));
            }
        }
        self.subscribe.check_in("serve")
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            serve: self.policy,
            concurrency: self.concurrency,
            retry_base: self.retry_base,
            retry_cap: self.retry_cap,
            max_attempts: self.max_attempts,
        }
    }

    pub(crate) fn gate(&self) -> Gate {
        let turns = self.turn_limit.map(|(turns, window)| Turns::new(turns, window));
        Gate { hands_expired: self.hand_over_expired, turns, guard: self.guard.clone() }
    }
}
