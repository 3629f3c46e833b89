//! Serving an inbox: reads deliveries, runs handlers, acknowledges what they settled.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::AgentShared;
use super::acks::Acks;
use super::conclude::{Letter, bury, expire, supersede};
use super::dispatch::{Dispatcher, Job, LaneKey, Task};
use super::handler::Handler;
use super::outcome::{HandlerError, HandlerResult, contained};
use super::request::Request;
use super::serve_options::{ServeOptions, ServePolicy};
use super::serving::{Control, Served, Serving, Stop};
use super::settled::SharedSettled;
use super::trace::Handling;
use crate::clock::{FAR, after};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Inbox;
use crate::telemetry::Hole;
use crate::transport::{Event, EventStream};

/// What a serving task reads.
pub(crate) struct Source {
    pub(crate) events: EventStream,
    pub(crate) settled: SharedSettled,
    /// Whether the task notes arrivals itself, and nobody did before it.
    pub(crate) raw: bool,
}

/// Begins to serve what `source` brings.
pub(crate) fn start(
    agent: Arc<AgentShared>,
    source: Source,
    handler: Arc<dyn Handler>,
    options: ServeOptions,
) -> Serving {
    let Source { events, settled, raw } = source;
    let control = Arc::new(Control::new(options.subscribe.inbox == Inbox::Own));
    let stop = control.subscribe();
    let slots = u32::try_from(options.concurrency).unwrap_or(u32::MAX);
    let server = Server {
        dispatcher: Dispatcher::new(options.policy(), options.gate()),
        running: JoinSet::new(),
        jobs: HashMap::new(),
        acks: Acks::new(Arc::clone(&agent.transport)),
        settled,
        raw,
        _slots: Counted::new(Arc::clone(&agent), |agent| &agent.slots, slots),
        agent,
        handler,
        options,
        control: Arc::clone(&control),
    };
    Serving::new(tokio::spawn(server.run(events, stop)), control)
}

impl Source {
    /// A subscription of its own.
    pub(crate) fn new(events: EventStream, agent: &AgentShared) -> Self {
        Self { events, settled: SharedSettled::new(agent.capabilities()), raw: true }
    }
}

/// The task behind a [`Serving`].
struct Server {
    dispatcher: Dispatcher,
    running: JoinSet<HandlerResult>,
    /// What each running task works on, so that one that panics is known too.
    jobs: HashMap<Id, LaneKey>,
    acks: Acks,
    settled: SharedSettled,
    raw: bool,
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
        // Set to what is due or before it: setting it costs more than waking once too often.
        let mut alarm = pin!(sleep_until(after(Instant::now(), FAR)));
        loop {
            let stopped = *stop.borrow_and_update();
            match stopped {
                Stop::No => self.start_jobs(),
                Stop::Late => {
                    self.last_acks().await;
                    return self.dropped(stopped);
                }
                Stop::Gone => return self.dropped(stopped),
                Stop::Lost | Stop::Drain if self.running.is_empty() && self.acks.is_empty() => {
                    return self.ended(lost);
                }
                Stop::Lost | Stop::Drain => self.acks.finish_soon(),
            }
            self.control.publish(self.dispatcher.stats());
            let serving = stopped == Stop::No;
            let room = self.has_room();
            let due = if serving { self.dispatcher.deadline() } else { give_up_at };
            if alarm.is_elapsed() || due.is_some_and(|at| at < alarm.deadline()) {
                alarm.as_mut().reset(due.unwrap_or_else(|| after(Instant::now(), FAR)));
            }
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
                event = events.next(), if serving && room => {
                    if let Some(error) = self.take_ready(event, &mut events).await {
                        lost = Some(error);
                        give_up_at = Some(after(Instant::now(), self.options.grace));
                        self.control.stop(Stop::Lost);
                    }
                }
                () = alarm.as_mut() => {
                    if !serving && give_up_at.is_some_and(|at| at <= Instant::now()) {
                        return self.ended(lost);
                    }
                }
            }
        }
    }

    /// Takes in an event, and what there is behind it without waiting. Gives the end of them.
    async fn take_ready(
        &mut self,
        mut event: Option<Result<Event>>,
        events: &mut EventStream,
    ) -> Option<Error> {
        let mut taken = 0;
        loop {
            match event {
                Some(Ok(event)) => self.take_in(event),
                ended => {
                    let closed = || Error::new(ErrorKind::Closed, "serve", "the inbox stream ended");
                    return Some(ended.and_then(Result::err).unwrap_or_else(closed));
                }
            }
            taken += 1;
            if taken == AT_ONCE || !self.has_room() {
                return None;
            }
            let ready = poll_fn(|cx| match events.poll_next_unpin(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending => Poll::Ready(None),
            });
            event = ready.await?;
        }
    }

    fn has_room(&self) -> bool {
        self.dispatcher.load() + self.acks.len() < self.options.subscribe.max_unsettled
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Message(delivery) => {
                if self.raw {
                    self.settled.arrived(&delivery.tag);
                }
                let settled = self.dispatcher.admit(delivery, Instant::now());
                self.acks.extend(self.settled.settle(settled));
            }
            Event::CaughtUp => tracing::debug!(name: "serve.caught_up", "what waited has been read"),
            hole => tracing::warn!(name: "serve.hole", hole = %Hole(&hole), "messages are missing"),
        }
    }

    fn start_jobs(&mut self) {
        while let Some(job) = self.dispatcher.start(Instant::now()) {
            let (lane, run) = self.prepare(job);
            self.jobs.insert(self.running.spawn(run).id(), lane);
        }
    }

    /// What is to be done for a job, as a future of its own.
    fn prepare(&self, job: Job) -> (LaneKey, impl Future<Output = HandlerResult> + use<>) {
        let Job { lane, delivery, rest, task } = job;
        let (agent, handler) = (Arc::clone(&self.agent), Arc::clone(&self.handler));
        let dead_letters = self.options.dead_letters.clone();
        let batches = matches!(self.options.policy, ServePolicy::Batch(_));
        let run = async move {
            match task {
                Task::Handle { attempt } if !batches => run_handler(agent, handler, delivery, attempt).await,
                // What is rarer is boxed: it must not take room in the task of every message.
                Task::Handle { attempt } => {
                    Box::pin(run_batch(agent, handler, delivery, rest, attempt)).await
                }
                Task::Expire => Box::pin(expire(agent, delivery)).await,
                Task::Supersede { tries } => Box::pin(supersede(agent, delivery, tries)).await,
                Task::Bury { failures, error, quiet, tries } => {
                    let letter = Letter { delivery, failures, error, quiet };
                    Box::pin(bury(agent, dead_letters, letter, tries)).await
                }
            }
        };
        (lane, run)
    }

    /// Settles a finished task and all others that have finished meanwhile.
    fn settle(&mut self, first: std::result::Result<(Id, HandlerResult), JoinError>) {
        let mut next = Some(first);
        while let Some(done) = next {
            // A task that panicked outside the handler has failed like any other.
            let (id, outcome) = done.unwrap_or_else(|died| (died.id(), Err(panicked(died))));
            if let Some(lane) = self.jobs.remove(&id) {
                let settled = self.dispatcher.finish(&lane, outcome, Instant::now());
                self.acks.extend(self.settled.settle(settled));
            }
            next = self.running.try_join_next_with_id();
        }
    }

    /// Drops what still runs, and acknowledges what has been settled, as far as that goes quickly.
    async fn last_acks(&mut self) {
        if let Some(done) = self.running.try_join_next_with_id() {
            self.settle(done);
        }
        self.running.abort_all();
        self.acks.finish_soon();
        let flushed = async {
            while !self.acks.is_empty() {
                self.acks.work().await;
            }
        };
        let _ = tokio::time::timeout(LAST_ACKS, flushed).await;
    }

    fn ended(&self, error: Option<Error>) -> Served {
        let unsettled = self.dispatcher.in_hand();
        let unacknowledged = self.acks.lost() + self.acks.len() + self.settled.held_back();
        self.control.leave(unsettled, unacknowledged);
        let stats = self.dispatcher.stats();
        self.control.publish(stats);
        Served { unsettled, unacknowledged, stats, error }
    }

    fn dropped(&self, stopped: Stop) -> Served {
        let nobody = Error::new(ErrorKind::Closed, "serve", "every handle of the agent was dropped");
        match stopped {
            Stop::Gone => self.ended(Some(nobody)),
            _ => {
                let Served { unsettled, unacknowledged, stats, .. } = self.ended(None);
                Served::late(unsettled, unacknowledged, stats)
            }
        }
    }
}

async fn run_handler(
    agent: Arc<AgentShared>,
    handler: Arc<dyn Handler>,
    delivery: Arc<Delivery>,
    attempt: u32,
) -> HandlerResult {
    let _active = Counted::new(Arc::clone(&agent), |agent| &agent.active, 1);
    let handling = Handling::new(&delivery, None, attempt, agent.traces);
    let request = Request::new(delivery, attempt, agent);
    // Made inside the block: a handler may panic before it has a future to give.
    handling.run(contained(async { handler.handle(request).await })).await
}

async fn run_batch(
    agent: Arc<AgentShared>,
    handler: Arc<dyn Handler>,
    first: Arc<Delivery>,
    rest: Vec<Arc<Delivery>>,
    attempt: u32,
) -> HandlerResult {
    let _active = Counted::new(Arc::clone(&agent), |agent| &agent.active, 1);
    // A batch is one run, and belongs to the trace of its first message.
    let handling = Handling::new(&first, Some(1 + rest.len()), attempt, agent.traces);
    let request = |delivery| Request::new(delivery, attempt, Arc::clone(&agent));
    let requests = std::iter::once(first).chain(rest).map(request).collect();
    handling.run(contained(async { handler.handle_batch(requests).await })).await
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

fn panicked(died: JoinError) -> HandlerError {
    match died.try_into_panic() {
        Ok(panic) => HandlerError::panic(&*panic),
        Err(died) => HandlerError::retry(died),
    }
}

/// How many events are taken in before handlers are looked after.
const AT_ONCE: usize = 64;
/// What acknowledging gets once the deadline for the handlers has passed; less than what waits for it.
const LAST_ACKS: Duration = Duration::from_millis(500);
