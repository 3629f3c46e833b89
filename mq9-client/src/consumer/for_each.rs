//! Running a handler over a consumer's messages.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tracing::{error, warn};

use crate::error::Result;

use super::acker::Acker;
use super::delivered::Delivered;
use super::options::ConsumerOptions;
use super::stream::Consumer;

impl Consumer {
    /// Runs `handler` on every message, up to `concurrency` at once (1 keeps the order), in this task.
    ///
    /// `Ok` settles the message. `Err` has it handed out again after a delay that doubles with each attempt
    /// (see [`ConsumerOptions::retry_delay`]); so does a panic, which is caught. Both are logged by the id of
    /// the message alone: what the handler says may quote it, and is the handler's to tell. A message
    /// that can never succeed is the handler's to give up on: it sees the
    /// [`attempt`](Delivered::attempt) and answers `Ok`.
    ///
    /// Ends well after [`Acker::stop`]: once the handlers under way are done and what they settled is
    /// acknowledged, or ten seconds have passed. Dropping the future drops the consumer and the handlers
    /// under way; their messages come again.
    ///
    /// # Errors
    /// The stream's final error, after the handlers under way are done.
    pub async fn for_each<H, F, E>(mut self, concurrency: usize, handler: H) -> Result<()>
    where
        H: Fn(Delivered) -> F + Send + Sync,
        F: Future<Output = std::result::Result<(), E>> + Send,
        E: Send,
    {
        let acker = self.acker();
        let options = self.options().clone();
        let mut running = FuturesUnordered::new();
        let mut over = None;
        while over.is_none() || !running.is_empty() {
            tokio::select! {
                biased;
                Some(()) = running.next(), if !running.is_empty() => {}
                item = self.next(), if over.is_none() && running.len() < concurrency.max(1) => match item {
                    Some(Ok(message)) => {
                        let one = handle(&handler, message, &acker, &options);
                        if concurrency <= 1 { one.await } else { running.push(one) }
                    }
                    Some(Err(error)) => over = Some(Err(error)),
                    None => over = Some(Ok(())),
                },
            }
            // Handlers that never wait must not keep the polling task from running.
            tokio::task::coop::consume_budget().await;
        }
        drop(running);
        match over {
            Some(Err(error)) => Err(error),
            _ => {
                self.close(LAST_FLUSH).await;
                Ok(())
            }
        }
    }
}

async fn handle<H, F, E>(handler: &H, message: Delivered, acker: &Acker, options: &ConsumerOptions)
where
    H: Fn(Delivered) -> F + Send + Sync,
    F: Future<Output = std::result::Result<(), E>> + Send,
    E: Send,
{
    let (id, attempt) = (message.id(), message.attempt);
    let outcome = AssertUnwindSafe(async { handler(message).await }).catch_unwind().await;
    match outcome {
        Ok(Ok(())) => return acker.settle(id),
        // What a handler says may quote the message, so no word of it is told.
        Ok(Err(_)) => warn!(%id, attempt, "a handler failed; the message will come again"),
        Err(_) => error!(%id, attempt, "a handler panicked; the message will come again"),
    }
    acker.retry(id, options.retry_after(attempt));
}

const LAST_FLUSH: Duration = Duration::from_secs(10);
