//! How a server works: its bounds, its waits and who is told.

use std::time::Duration;

use agentchat_core::ServeOptions;

use crate::card::RawCard;
use crate::idempotency::RequestLimits;
use crate::limits::Limits;
use crate::stream::WriterOptions;
use crate::task::QuestionPolicy;

/// How an [`A2aServer`](super::A2aServer) works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct A2aServerOptions {
    /// How streams are written, and how long questions wait ([`WriterOptions::question`], default seven days).
    /// Without a task inbox, the agent's own is said.
    pub writer: WriterOptions,
    /// How much is remembered of requests. One that comes while as many run as may stays in the inbox and is
    /// tried again.
    pub requests: RequestLimits,
    /// What is parsed of a request.
    pub limits: Limits,
    /// How the inbox is read.
    pub serve: ServeOptions,
    /// How many messages wait for one task that works (default 16); further ones are refused as busy.
    pub max_waiting: usize,
    /// How long one reply, or one save, is tried again before it is given up (default 60 s).
    pub patience: Duration,
    /// How long a handler is kept waiting for a question asked [in memory](super::TurnHandle::ask_here) (default
    /// 1 h). The task stays parked afterwards, until the deadline of the question.
    pub ask_patience: Duration,
    /// How long a handler may go on after its task's last reply (default 5 s).
    pub grace: Duration,
    /// Whether what an earlier process left running is gone on with at the start (default on). Switch it off
    /// where several workers share the stores, and let one of them
    /// [take over](super::A2aServing::take_over) when another is gone.
    pub recover: bool,
    /// What `GetExtendedAgentCard` is answered with, byte for byte (default none). Whoever knows the agent's
    /// inbox may ask for it.
    pub extended_card: Option<RawCard>,
}

impl A2aServerOptions {
    /// These options with another [`writer`](Self::writer).
    #[must_use]
    pub fn with_writer(mut self, writer: WriterOptions) -> Self {
        self.writer = writer;
        self
    }

    /// These options, with questions that wait like this where they do not say otherwise.
    #[must_use]
    pub fn with_question(mut self, policy: QuestionPolicy) -> Self {
        self.writer.question = policy;
        self
    }

    /// These options with another [`requests`](Self::requests).
    #[must_use]
    pub fn with_requests(mut self, limits: RequestLimits) -> Self {
        self.requests = limits;
        self
    }

    /// These options with another [`serve`](Self::serve).
    #[must_use]
    pub fn with_serve(mut self, options: ServeOptions) -> Self {
        self.serve = options;
        self
    }

    /// These options with another [`max_waiting`](Self::max_waiting).
    #[must_use]
    pub fn with_max_waiting(mut self, messages: usize) -> Self {
        self.max_waiting = messages;
        self
    }

    /// These options with another [`patience`](Self::patience).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// These options with another [`ask_patience`](Self::ask_patience).
    #[must_use]
    pub fn with_ask_patience(mut self, patience: Duration) -> Self {
        self.ask_patience = patience;
        self
    }

    /// These options with another [`grace`](Self::grace).
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// These options with another [`recover`](Self::recover).
    #[must_use]
    pub fn with_recover(mut self, recover: bool) -> Self {
        self.recover = recover;
        self
    }

    /// These options with an [`extended_card`](Self::extended_card).
    #[must_use]
    pub fn with_extended_card(mut self, card: RawCard) -> Self {
        self.extended_card = Some(card);
        self
    }
}

impl Default for A2aServerOptions {
    fn default() -> Self {
        Self {
            writer: WriterOptions::default(),
            requests: RequestLimits::default(),
            limits: Limits::default(),
            serve: ServeOptions::default(),
            max_waiting: 16,
            patience: Duration::from_secs(60),
            ask_patience: Duration::from_secs(3_600),
            grace: Duration::from_secs(5),
            recover: true,
            extended_card: None,
        }
    }
}
