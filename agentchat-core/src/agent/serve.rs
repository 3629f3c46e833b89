//! Serving an inbox: reads deliveries, runs handlers, acknowledges what they settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::AgentShared;
use super::dispatch::{Dispatcher, Finished, LaneKey, Policy, Verdict};
use super::request::{Handler, HandlerResult, Request};
use crate::address::Address;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind};
use crate::id::{AckTag, ClientMsgId};
use crate::message::Outbound;
use crate::options::SubscribeOptions;
use crate::transport::{Event, EventStream};

/// How an inbox is served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// How many handlers run at once (default 16). Messages of one conversation run one after the other.
    pub concurrency: usize,
    /// How the inbox is read; its bounds are those of the queue.
    pub subscribe: SubscribeOptions,
    /// The wait before a failed message is tried again (default 1 s); it doubles with each failure.
    pub retry_base: Duration,
    /// The longest such wait (default 60 s).
    pub retry_cap: Duration,
    /// Where a message goes that failed this often. Without it a message is tried until it is settled,
    /// holding its conversation and nothing else.
    pub dead_letter: Option<(Address, u32)>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            subscribe: SubscribeOptions::own(),
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            dead_letter: None,
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

    /// Sends a message that failed `attempts` times to `address` and settles it.
    pub fn with_dead_letter(mut self, address: Address, attempts: u32) -> Self {
        self.dead_letter = Some((address, attempts.max(1)));
        self
    }

    fn policy(&self) -> Policy {
        Policy {
            concurrency: self.concurrency,
            retry_base: self.retry_base,
            retry_cap: self.retry_cap,
            max_attempts: self.dead_letter.as_ref().map(|(_, attempts)| *attempts),
        }
    }
}

/// An inbox being served. Dropping it stops at once: handlers are dropped, what they had not settled
/// comes again.
#[derive(Debug)]
pub struct Serving {
    task: Option<JoinHandle<Served>>,
    stop: Arc<watch::Sender<bool>>,
}

/// How serving ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Served {
    /// How many messages were taken in and not settled. They come again.
    pub unsettled: usize,
    /// Why it ended, unless it was asked to.
    pub error: Option<Error>,
}

impl Serving {
    pub(crate) fn start(
        agent: Arc<AgentShared>,
        events: EventStream,
        handler: Arc<dyn Handler>,
        options: ServeOptions,
    ) -> Self {
        let stop = Arc::new(watch::Sender::new(false));
        let capacity = options.subscribe.max_unsettled;
        let server = Server {
            dispatcher: Dispatcher::new(options.policy()),
            running: JoinSet::new(),
            agent,
            handler,
            options,
            capacity,
        };
        let task = tokio::spawn(server.run(events, stop.subscribe()));
        Self { task: Some(task), stop }
    }

    pub(crate) fn stop_signal(&self) -> Arc<watch::Sender<bool>> {
        Arc::clone(&self.stop)
    }

    /// Waits until serving ends, which it does when the attachment is lost or the agent is closed.
    pub async fn wait(mut self) -> Served {
        match self.task.take() {
            Some(task) => joined(task.await),
            None => joined_nothing(),
        }
    }

    /// Stops taking messages in, lets running handlers finish until `deadline` has passed, then drops
    /// them.
    pub async fn stop(mut self, deadline: Duration) -> Served {
        self.stop.send_replace(true);
        let Some(mut task) = self.task.take() else { return joined_nothing() };
        match tokio::time::timeout(deadline, &mut task).await {
            Ok(ended) => joined(ended),
            Err(_) => {
                task.abort();
                let _ = task.await;
                let message = "handlers were still running at the deadline and were dropped";
                Served { unsettled: 0, error: Some(Error::new(ErrorKind::Timeout, "serve", message)) }
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The task behind a [`Serving`].
struct Server {
    dispatcher: Dispatcher,
    running: JoinSet<Done>,
    agent: Arc<AgentShared>,
    handler: Arc<dyn Handler>,
    options: ServeOptions,
    capacity: usize,
}

/// What a task of the set did.
enum Done {
    Handled(LaneKey, Finished),
    Buried(Vec<AckTag>),
}

impl Server {
    async fn run(mut self, mut events: EventStream, mut stop: watch::Receiver<bool>) -> Served {
        let mut error = None;
        let mut draining = false;
        loop {
            if !draining {
                self.start_jobs();
            } else if self.running.is_empty() {
                return Served { unsettled: self.dispatcher.in_hand(), error };
            }
            let retry = self.dispatcher.deadline().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                changed = stop.changed(), if !draining => draining = changed.is_err() || *stop.borrow(),
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    self.settle(done.ok()).await;
                }
                event = events.next(), if !draining && self.dispatcher.in_hand() < self.capacity => {
                    match event {
                        Some(Ok(Event::Message(delivery))) => self.admit(delivery).await,
                        Some(Ok(event)) => tracing::debug!(name: "serve.event", ?event, "inbox event"),
                        Some(Err(lost)) => {
                            error = Some(lost);
                            draining = true;
                        }
                        None => {
                            error = Some(Error::new(ErrorKind::Closed, "serve", "the inbox stream ended"));
                            draining = true;
                        }
                    }
                }
                () = tokio::time::sleep_until(retry), if !draining => {}
            }
        }
    }

    fn start_jobs(&mut self) {
        while let Some(job) = self.dispatcher.start(Instant::now(), SystemTime::now()) {
            let handler = Arc::clone(&self.handler);
            let agent = Arc::clone(&self.agent);
            let request = Request::new(job.delivery, job.attempt, Arc::clone(&agent));
            self.running.spawn(async move {
                let handled = match job.expired {
                    true => refuse_expired(request).await,
                    false => run_handler(&agent, &*handler, request).await,
                };
                let finished = match handled {
                    Ok(()) => Finished::Settled,
                    Err(error) => {
                        tracing::warn!(name: "handler.failed", attempt = job.attempt, %error, "a message was not handled");
                        Finished::Failed
                    }
                };
                Done::Handled(job.lane, finished)
            });
        }
    }

    async fn admit(&mut self, delivery: Delivery) {
        if let Some(repeated) = self.dispatcher.admit(delivery, Instant::now()) {
            self.acknowledge(vec![repeated]).await;
        }
    }

    /// Settles a finished task and all others that have finished meanwhile, with one acknowledgement.
    async fn settle(&mut self, first: Option<Done>) {
        let mut tags = Vec::new();
        let mut next = first;
        while let Some(done) = next {
            match done {
                Done::Buried(buried) => tags.extend(buried),
                Done::Handled(lane, finished) => {
                    match self.dispatcher.finish(&lane, finished, Instant::now()) {
                        Some(Verdict::Ack(settled)) => tags.extend(settled),
                        Some(Verdict::GiveUp(delivery, settled)) => self.bury(*delivery, settled),
                        Some(Verdict::RetryAt(_)) | None => {}
                    }
                }
            }
            next = self.running.try_join_next().and_then(std::result::Result::ok);
        }
        if !tags.is_empty() {
            self.acknowledge(tags).await;
        }
    }

    async fn acknowledge(&self, tags: Vec<AckTag>) {
        // What could not be acknowledged comes again and is recognised then.
        if let Err(error) = self.agent.transport.ack(&tags).await {
            tracing::warn!(name: "ack.failed", %error, "settled messages could not be acknowledged");
        }
    }

    /// Sends a message that cannot be handled to the dead-letter address, and only then settles it.
    fn bury(&mut self, delivery: Delivery, tags: Vec<AckTag>) {
        let Some((address, attempts)) = self.options.dead_letter.clone() else { return };
        let agent = Arc::clone(&self.agent);
        let scope = delivery.client_msg_id.as_ref().map_or(delivery.id.as_str(), ClientMsgId::as_str);
        let mut message = Outbound::new(address, delivery.body.clone())
            .with_id(ClientMsgId::derived(scope, "dead letter"))
            .with_header(DEAD_LETTER_ATTEMPTS, attempts.to_string());
        for (name, value) in delivery.headers.iter() {
            message.headers.insert(name, value);
        }
        message.correlation_id = delivery.correlation_id;
        message.conversation = delivery.conversation;
        let policy = self.options.policy();
        self.running.spawn(async move {
            let mut wait = policy.retry_base;
            while let Err(error) = agent.transmit(&message).await {
                tracing::warn!(name: "dead_letter.failed", %error, "a dead letter could not be sent");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(policy.retry_cap);
            }
            Done::Buried(tags)
        });
    }
}

async fn run_handler(agent: &AgentShared, handler: &dyn Handler, request: Request) -> HandlerResult {
    agent.active.fetch_add(1, Ordering::Relaxed);
    let outcome = AssertUnwindSafe(handler.handle(request)).catch_unwind().await;
    agent.active.fetch_sub(1, Ordering::Relaxed);
    outcome.unwrap_or_else(|panic| Err(format!("the handler panicked: {}", panic_text(&*panic)).into()))
}

/// A request found after its deadline is answered, not run: nobody waits for its work any more.
async fn refuse_expired(request: Request) -> HandlerResult {
    if request.wants_reply() {
        request.fail("the request's deadline had passed before it could be handled").await?;
    }
    Ok(())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn joined(ended: std::result::Result<Served, tokio::task::JoinError>) -> Served {
    ended.unwrap_or_else(|error| Served {
        unsettled: 0,
        error: Some(Error::new(ErrorKind::Unexpected, "serve", format!("the serving task died: {error}"))),
    })
}

fn joined_nothing() -> Served {
    Served { unsettled: 0, error: Some(Error::new(ErrorKind::Closed, "serve", "serving had ended before")) }
}

/// On a dead letter: how often its handler failed.
const DEAD_LETTER_ATTEMPTS: &str = "agentchat-dead-letter-attempts";
/// How long the loop sleeps when nothing is due; any event wakes it earlier.
const IDLE: Duration = Duration::from_secs(3600);
