//! Acknowledgements on their way to the transport.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use crate::clock::after;
use crate::error::{Error, ErrorKind, Result};
use crate::id::AckTag;
use crate::resilient::SILENT;
use crate::telemetry::{observed, verb_span};
use crate::transport::Transport;

/// Settled tags that the transport has not taken yet. One batch is under way at a time; what is settled
/// meanwhile goes with the next one, so a slow network is asked less often. A batch that fails is tried
/// again as long as that can help: its deliveries hold the subscription's credit until it succeeds.
pub(crate) struct Acks {
    transport: Arc<dyn Transport>,
    waiting: Vec<AckTag>,
    under_way: Option<Batch>,
    failures: u32,
    not_before: Option<Instant>,
    lost: usize,
    last_words: bool,
    /// How long a session waits for an answer. An agent has no limit of its own: its transport has.
    limit: Option<Duration>,
}

struct Batch {
    tags: Vec<AckTag>,
    answer: BoxFuture<'static, Result<()>>,
}

impl Acks {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            waiting: Vec::new(),
            under_way: None,
            failures: 0,
            not_before: None,
            lost: 0,
            last_words: false,
            limit: None,
        }
    }

    /// The same for a session, which acknowledges on an attachment of its own: a batch that is not answered
    /// within `limit` has failed.
    pub(crate) fn of_session(transport: Arc<dyn Transport>, limit: Duration) -> Self {
        Self { limit: Some(limit), ..Self::new(transport) }
    }

    pub(crate) fn extend(&mut self, tags: impl IntoIterator<Item = AckTag>) {
        self.waiting.extend(tags);
    }

    /// How many are not with the transport yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.as_ref().map_or(0, |batch| batch.tags.len())
    }

    /// What is not with the transport yet.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &AckTag> {
        self.under_way.iter().flat_map(|batch| &batch.tags).chain(&self.waiting)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were given up: the transport will deliver them again.
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    /// From now on a batch that fails again and again is given up: nobody waits for ever.
    pub(crate) fn finish_soon(&mut self) {
        self.last_words = true;
    }

    /// Works on what is to be acknowledged; pending while there is nothing. Cancel-safe: a batch under way
    /// goes on where it was.
    pub(crate) async fn work(&mut self) {
        if self.under_way.is_none() {
            if self.waiting.is_empty() {
                return std::future::pending().await;
            }
            if let Some(at) = self.not_before {
                tokio::time::sleep_until(at).await;
            }
            let tags: Vec<AckTag> = self.waiting.drain(..self.waiting.len().min(BATCH)).collect();
            let (transport, sent) = (Arc::clone(&self.transport), tags.clone());
            let answer = match self.limit {
                Some(limit) => {
                    let span = verb_span!(DEBUG, "session.ack", count = sent.len());
                    async move { observed(span, within(limit, transport.ack(&sent))).await }.boxed()
                }
                None => {
                    let span = verb_span!(DEBUG, "agent.ack", count = sent.len());
                    async move { observed(span, transport.ack(&sent)).await }.boxed()
                }
            };
            self.under_way = Some(Batch { tags, answer });
        }
        let Some(batch) = &mut self.under_way else { return };
        let answer = batch.answer.as_mut().await;
        let Some(batch) = self.under_way.take() else { return };
        match answer {
            Ok(()) => (self.failures, self.not_before) = (0, None),
            Err(error) => self.failed(batch.tags, &error),
        }
    }

    fn failed(&mut self, tags: Vec<AckTag>, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        let over = error.kind() == ErrorKind::Closed || error.ends_attachment();
        if over || !error.is_retryable() || (self.last_words && self.failures >= LAST_TRIES) {
            self.lost += tags.len();
            tracing::warn!(name: "ack.lost", count = tags.len(), %error, "settled messages will come again");
            return;
        }
        tracing::warn!(name: "ack.failed", count = tags.len(), %error, "an acknowledgement is tried again");
        let backoff = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        let wait = error.retry_after().map_or(backoff, |asked| asked.max(backoff));
        self.not_before = Some(after(Instant::now(), wait));
        self.waiting.splice(..0, tags);
    }
}

async fn within(limit: Duration, answer: impl Future<Output = Result<()>>) -> Result<()> {
    let silent = |_| Err(Error::new(ErrorKind::Timeout, "ack", SILENT));
    timeout(limit, answer).await.unwrap_or_else(silent)
}

/// How many go in one batch at most.
const BATCH: usize = 1_000;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a batch may fail in a row when the end is near.
const LAST_TRIES: u32 = 3;
