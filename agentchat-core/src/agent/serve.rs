//! Serving an inbox: reads deliveries, runs handlers, acknowledges what they settled.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::AgentShared;
use super::acks::Acks;
use super::dispatch::{Dispatcher, Finished, Job, LaneKey, Task};
use super::request::{Handler, HandlerResult, Request};
use super::serve_options::ServeOptions;
use super::serving::{Control, Served, Serving, Stop};
use crate::address::Address;
use crate::clock::{FAR, after};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::options::Inbox;
use crate::transport::{Event, EventStream};

/// Begins to serve what `events` brings.
pub(crate) fn start(
    agent: Arc<AgentShared>,
    events: EventStream,
    handler: Arc<dyn Handler>,
    options: ServeOptions,
) -> Serving {
    let control = Arc::new(Control::new(options.subscribe.inbox == Inbox::Own));
    let stop = control.subscribe();
    let slots = u32::try_from(options.concurrency).unwrap_or(u32::MAX);
    let server = Server {
        dispatcher: Dispatcher::new(options.policy()),
        running: JoinSet::new(),
        jobs: HashMap::new(),
        acks: Acks::new(Arc::clone(&agent.transport)),
        _slots: Counted::new(Arc::clone(&agent), |agent| &agent.slots, slots),
        agent,
        handler,
        options,
        control: Arc::clone(&control),
    };
    Serving::new(tokio::spawn(server.run(events, stop)), control)
}

/// The task behind a [`Serving`].
struct Server {
    dispatcher: Dispatcher,
    running: JoinSet<Finished>,
    /// What each running task works on, so that one that panics is known too.
    jobs: HashMap<Id, (LaneKey, Task)>,
    acks: Acks,
    _slots: Counted,
    agent: Arc<AgentShared>,
    handler: Arc<dyn Handler>,
    options: ServeOptions,
    control: Arc<Control>,
}

impl Server {
    async fn run(mut self, mut events: EventStream, mut stop: watch::Receiver<Stop>) -> Served {
        let mut lost: Option<Error> = None;
        let mut give_up_at = None;
        loop {
            let stopped = *stop.borrow_and_update();
            match stopped {
                Stop::No => self.start_jobs(),
                Stop::Late | Stop::Gone => return self.dropped(stopped),
                Stop::Lost | Stop::Drain if self.running.is_empty() && self.acks.is_empty() => {
                    return self.ended(lost);
                }
                Stop::Lost | Stop::Drain => self.acks.finish_soon(),
            }
            let serving = stopped == Stop::No;
            let room = self.dispatcher.load() + self.acks.len() < self.options.subscribe.max_unsettled;
            let due = if serving { self.dispatcher.deadline() } else { give_up_at };
            let due = due.unwrap_or_else(|| after(Instant::now(), FAR));
            tokio::select! {
                told = stop.changed() => {
                    if told.is_err() {
                        self.control.stop(Stop::Gone);
                    }
                }
                Some(done) = self.running.join_next_with_id(), if !self.running.is_empty() => {
                    self.settle(done);
                }
                () = self.acks.work() => {}
                event = events.next(), if serving && room => match event {
                    Some(Ok(event)) => self.take_in(event),
                    ended => {
                        let closed = || Error::new(ErrorKind::Closed, "serve", "the inbox stream ended");
                        lost = Some(ended.and_then(Result::err).unwrap_or_else(closed));
                        give_up_at = Some(after(Instant::now(), self.options.grace));
                        self.control.stop(Stop::Lost);
                    }
                },
                () = tokio::time::sleep_until(due) => {
                    if !serving {
                        return self.ended(lost);
                    }
                }
            }
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Message(delivery) => self.acks.extend(self.dispatcher.admit(delivery, Instant::now())),
            Event::CaughtUp => tracing::debug!(name: "serve.caught_up", "what waited has been read"),
            hole => tracing::warn!(name: "serve.hole", event = ?hole, "messages are missing"),
        }
    }

    fn start_jobs(&mut self) {
        while let Some(job) = self.dispatcher.start(Instant::now(), SystemTime::now()) {
            let Job { lane, delivery, task } = job;
            let (agent, handler) = (Arc::clone(&self.agent), Arc::clone(&self.handler));
            let morgue = self.options.dead_letter.as_ref().map(|(address, _)| address.clone());
            let run = async move {
                let done = match task {
                    Task::Handle { attempt } => run_handler(agent, handler, delivery, attempt).await,
                    Task::Expire => refuse_expired(agent, delivery).await,
                    Task::Bury { failures } => bury(&agent, morgue, delivery, failures).await,
                };
                match done {
                    Ok(()) => Finished::Settled,
                    Err(error) => {
                        tracing::warn!(name: "handler.failed", ?task, %error, "a message was not handled");
                        Finished::Failed
                    }
                }
            };
            let id = self.running.spawn(run).id();
            self.jobs.insert(id, (lane, task));
        }
    }

    /// Settles a finished task and all others that have finished meanwhile.
    fn settle(&mut self, first: std::result::Result<(Id, Finished), JoinError>) {
        let mut next = Some(first);
        while let Some(done) = next {
            // A task that panicked outside the handler has failed like any other.
            let (id, finished) = done.unwrap_or_else(|died| (died.id(), Finished::Failed));
            if let Some((lane, task)) = self.jobs.remove(&id) {
                self.acks.extend(self.dispatcher.finish(&lane, task, finished, Instant::now()));
            }
            next = self.running.try_join_next_with_id();
        }
    }

    fn ended(&self, error: Option<Error>) -> Served {
        let unsettled = self.dispatcher.in_hand();
        let unacknowledged = self.acks.lost() + self.acks.len();
        self.control.leave(unsettled, unacknowledged);
        Served { unsettled, unacknowledged, error }
    }

    fn dropped(&self, stopped: Stop) -> Served {
        let nobody = Error::new(ErrorKind::Closed, "serve", "every handle of the agent was dropped");
        match stopped {
            Stop::Gone => self.ended(Some(nobody)),
            _ => {
                let Served { unsettled, unacknowledged, .. } = self.ended(None);
                Served::late(unsettled, unacknowledged)
            }
        }
    }
}

async fn run_handler(
    agent: Arc<AgentShared>,
    handler: Arc<dyn Handler>,
    delivery: Delivery,
    attempt: u32,
) -> HandlerResult {
    let _active = Counted::new(Arc::clone(&agent), |agent| &agent.active, 1);
    let request = Request::new(delivery, attempt, agent);
    // Made inside the block: a handler may panic before it has a future to give.
    let outcome = AssertUnwindSafe(async { handler.handle(request).await }).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(format!("the handler panicked: {}", panic_text(&*panic)).into()))
}

/// A request found after its deadline is answered, not run: nobody waits for its work any more. Nobody may
/// wait for the answer either, so it is settled even when it cannot be given.
async fn refuse_expired(agent: Arc<AgentShared>, delivery: Delivery) -> HandlerResult {
    let request = Request::new(delivery, 1, agent);
    if request.wants_reply()
        && let Err(error) = request.fail("the request's deadline had passed before it could be handled").await
    {
        tracing::debug!(name: "expired.unanswered", %error, "an expired request could not be answered");
    }
    Ok(())
}

/// Sends a message that cannot be handled to the dead-letter address; only then it is settled.
async fn bury(
    agent: &AgentShared,
    morgue: Option<Address>,
    delivery: Delivery,
    failures: u32,
) -> HandlerResult {
    let morgue = morgue.ok_or("there is no dead-letter address")?;
    let id = ClientMsgId::derived(&delivery.identity(), "dead letter");
    let mut message = Outbound::new(morgue, delivery.body).with_id(id);
    message.headers = delivery.headers;
    message.headers.insert(DEAD_LETTER_ATTEMPTS, failures.to_string());
    message.correlation_id = delivery.correlation_id;
    message.conversation = delivery.conversation;
    agent.transmit(&message).await?;
    tracing::warn!(name: "dead_letter.sent", id = %delivery.id, failures, "a message was given up");
    Ok(())
}

/// Adds to a counter of the agent, and takes it back when dropped: at the end, or wherever it is stopped.
struct Counted {
    agent: Arc<AgentShared>,
    counter: fn(&AgentShared) -> &AtomicU32,
    by: u32,
}

impl Counted {
    fn new(agent: Arc<AgentShared>, counter: fn(&AgentShared) -> &AtomicU32, by: u32) -> Self {
        counter(&agent).fetch_add(by, Ordering::Relaxed);
        Self { agent, counter, by }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.agent).fetch_sub(self.by, Ordering::Relaxed);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// On a dead letter: how often its handler failed.
const DEAD_LETTER_ATTEMPTS: &str = "agentchat-dead-letter-attempts";
