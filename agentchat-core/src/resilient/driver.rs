//! The task of a session: the only place that sleeps, spawns or selects.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::calls::{Answer, Call};
use super::core::{Core, Done, Reply, Stopped, Todo};
use super::direct;
use super::events::Seat;
use super::keeping::{self, Keeping};
use super::options::ResilientOptions;
use super::parting;
use super::shared::{Owner, Shared};
use super::slots::{Item, SlotWork};
use crate::agent::{Acks, Role};
use crate::card::AgentCard;
use crate::clock::{FAR, after};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::AckTag;
use crate::options::CloseMode;
use crate::session::backoff::Backoff;
use crate::session::lifecycle::CloseReason;
use crate::session::outbox::Attempt;
use crate::transport::{Connector, Event, EventStream, ReplayRange, Transport};

/// Makes the first connection and starts the task. Dropping the future attaches nothing.
pub(super) async fn start(
    connector: Arc<dyn Connector>,
    options: Arc<ResilientOptions>,
    role: Role,
) -> Result<(Arc<Shared>, Arc<Owner>)> {
    options.check()?;
    let mut rng = options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut backoff = Backoff::new(options.reconnect);
    let until = after(Instant::now(), options.connect_timeout);
    let loaded = keeping::load(&options.stores, until).await?;
    let first = first(&*connector, role, &mut backoff, &mut rng, until).await?;
    backoff.connected(Instant::now());
    let mut capabilities = first.capabilities().clone();
    capabilities.reconnects = true;
    let mut core = Core::new(Arc::clone(&options), first.address().clone(), capabilities, backoff, rng);
    (core.role, core.provisional) = (role, role == Role::Follower);
    core.restore(loaded, Instant::now(), SystemTime::now());
    let dating = core.dating;
    let shared = Arc::new(Shared::new(core));
    let driver = Driver {
        shared: Arc::clone(&shared),
        connector,
        keeping: Keeping::new(options.stores.clone(), options.call_timeout, dating),
        options,
        jobs: FuturesUnordered::new(),
        running: HashMap::new(),
        attached: None,
        connecting: None,
        alarm: Box::pin(sleep_until(after(Instant::now(), FAR))),
    };
    let task = tokio::spawn(driver.run(first));
    let owner = Arc::new(Owner::new(Arc::clone(&shared), task.abort_handle()));
    Ok((shared, owner))
}

async fn first(
    connector: &dyn Connector,
    role: Role,
    backoff: &mut Backoff,
    rng: &mut fastrand::Rng,
    until: Instant,
) -> Result<Arc<dyn Transport>> {
    loop {
        let error = match timeout_at(until, connector.connect_for(role)).await {
            Ok(Ok(first)) => return Ok(first),
            Ok(Err(error)) => error,
            Err(_) => return Err(unconnected()),
        };
        let again = if error.is_fatal() { None } else { backoff.failed(Instant::now(), error.advice(), rng) };
        match again {
            Some(at) if at < until => sleep_until(at).await,
            _ => return Err(error),
        }
    }
}

type Jobs = FuturesUnordered<Abortable<BoxFuture<'static, Done>>>;

struct Driver {
    shared: Arc<Shared>,
    connector: Arc<dyn Connector>,
    options: Arc<ResilientOptions>,
    jobs: Jobs,
    running: HashMap<Job, AbortHandle>,
    keeping: Keeping,
    attached: Option<(Arc<dyn Transport>, Acks)>,
    connecting: Option<BoxFuture<'static, Result<Arc<dyn Transport>>>>,
    /// Set to the session's deadline or before it: setting it costs more than waking once too often.
    alarm: Pin<Box<Sleep>>,
}

/// A job that can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Job {
    Call(u64),
    Read(u64),
}

#[allow(clippy::large_enum_variant, reason = "nearly every one is a message that was read")]
enum Woken {
    Wake,
    Done(Done),
    Stopped,
    Connected(Result<Arc<dyn Transport>>),
    Acked,
    Due,
}

impl Driver {
    async fn run(mut self, first: Arc<dyn Transport>) {
        // Whatever ends this task, nobody waits for it any more.
        let _end = EndOnDrop(Arc::clone(&self.shared));
        self.shared.lock().line.set(Some(Arc::clone(&first)));
        self.attached = Some((Arc::clone(&first), Acks::of_session(first, self.options.call_timeout)));
        loop {
            let lost = self.shared.lock().line.take_lost();
            if let Some(lost) = lost {
                self.fail(lost);
            }
            let (todo, adopted, deadline, ended) = {
                let mut core = self.shared.lock();
                let now = Instant::now();
                let todo = core.poll(now, SystemTime::now());
                self.shared.publish(&mut core, now);
                (todo, core.line.take_adopted(), core.deadline(), core.has_ended())
            };
            for attempt in adopted {
                let (_, registration) = AbortHandle::new_pair();
                self.jobs.push(Abortable::new(attempt, registration));
            }
            let busy = !todo.is_empty();
            for todo in todo {
                match todo {
                    // Boxed: what is done once must not take room in the task of every session.
                    Todo::Finish(mode) => return Box::pin(self.finish(mode)).await,
                    other => self.act(other),
                }
            }
            if ended {
                return Box::pin(self.keeping.finish(LAST_WORDS)).await;
            }
            if busy {
                continue;
            }
            self.set_alarm(deadline);
            match self.wait().await {
                Woken::Wake | Woken::Stopped | Woken::Acked | Woken::Due => {}
                Woken::Done(done) => self.done(done),
                Woken::Connected(result) => self.connected(result),
            }
        }
    }

    fn set_alarm(&mut self, deadline: Option<Instant>) {
        if self.alarm.is_elapsed() || deadline.is_some_and(|at| at < self.alarm.deadline()) {
            let due = deadline.unwrap_or_else(|| after(Instant::now(), FAR));
            self.alarm.as_mut().reset(due);
        }
    }

    async fn wait(&mut self) -> Woken {
        let acking = self.attached.as_mut().map(|(_, acks)| acks);
        let acked = async {
            match acking {
                Some(acks) => acks.work().await,
                None => std::future::pending().await,
            }
        };
        let connected = async {
            match &mut self.connecting {
                Some(connecting) => connecting.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.wake.notified() => Woken::Wake,
            Some(done) = self.jobs.next(), if !self.jobs.is_empty() => done.map_or(Woken::Stopped, Woken::Done),
            Some(kept) = self.keeping.next(), if !self.keeping.is_empty() => Woken::Done(Done::Kept(kept)),
            () = acked => Woken::Acked,
            connected = connected => Woken::Connected(connected),
            () = self.alarm.as_mut() => Woken::Due,
        }
    }

    fn act(&mut self, todo: Todo) {
        match todo {
            Todo::Connect => self.connect(),
            Todo::StopCall(number) => self.stop(Job::Call(number)),
            Todo::StopReading(stopped) => self.stop_reading(stopped),
            Todo::Send(attempt) => self.send(attempt),
            Todo::Call(number, call, card) => self.call(number, call, card),
            Todo::Slot(work) => self.work(work),
            Todo::Keep(keep) => self.keeping.start(keep),
            Todo::Finish(_) => {}
        }
    }

    fn connect(&mut self) {
        let (connector, limit) = (Arc::clone(&self.connector), self.options.connect_timeout);
        let role = self.shared.lock().role;
        let connecting = async move {
            timeout(limit, connector.connect_for(role)).await.unwrap_or_else(|_| Err(unconnected()))
        };
        self.connecting = Some(connecting.boxed());
    }

    fn send(&mut self, attempt: Attempt) {
        let limit = self.options.call_timeout;
        self.job(None, move |transport| direct::attempt(transport, attempt, limit));
    }

    fn call(&mut self, number: u64, call: Arc<Call>, card: Option<AgentCard>) {
        // What is settled must not come again to a new subscription.
        let settled = match *call {
            Call::Subscribe(_) => self.unacknowledged(),
            _ => Vec::new(),
        };
        self.job(Some(Job::Call(number)), move |transport| async move {
            acknowledge(&*transport, &settled).await;
            Done::Called(number, call.attempt(&*transport, card).await.map_err(of_attachment))
        });
    }

    fn work(&mut self, work: SlotWork) {
        let limit = self.options.call_timeout;
        match work {
            SlotWork::Ack(tags) => {
                if let Some((_, acks)) = &mut self.attached {
                    acks.extend(tags);
                }
            }
            SlotWork::Subscribe(slot, options) => {
                self.job(Some(Job::Read(slot)), move |transport| async move {
                    let opened = timeout(limit, transport.subscribe(options)).await;
                    let opened =
                        opened.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "subscribe", SILENT)));
                    Done::Subscribed(slot, opened.map(|opened| opened.events).map_err(of_attachment))
                });
            }
            SlotWork::Read(slot, mut stream, room) => {
                self.job(Some(Job::Read(slot)), move |_| async move {
                    let items = read(&mut stream, room).await;
                    Done::Read(slot, stream, items)
                });
            }
            SlotWork::History { slot, conversation, from, limit: rows } => {
                self.job(None, move |transport| async move {
                    let asked = transport.replay(&conversation, ReplayRange::new(from, rows));
                    // What history does not say in time, the wait for the hole decides.
                    let rows = timeout(limit, asked).await.ok().and_then(Result::ok).unwrap_or_default();
                    Done::History(slot, conversation, rows)
                });
            }
        }
    }

    fn job<F>(&mut self, job: Option<Job>, run: impl FnOnce(Arc<dyn Transport>) -> F)
    where
        F: Future<Output = Done> + Send + 'static,
    {
        let Some((transport, _)) = &self.attached else { return };
        let (handle, registration) = AbortHandle::new_pair();
        self.jobs.push(Abortable::new(run(Arc::clone(transport)).boxed(), registration));
        if let Some(job) = job {
            self.running.insert(job, handle);
        }
    }

    fn unacknowledged(&self) -> Vec<AckTag> {
        self.attached.as_ref().map(|(_, acks)| acks.tags().cloned().collect()).unwrap_or_default()
    }

    /// Some transports forget a subscription's tags with it: they are acknowledged before.
    fn stop_reading(&mut self, Stopped(slot, stream): Stopped) {
        let settled = self.unacknowledged();
        if settled.is_empty() {
            return self.stop(Job::Read(slot));
        }
        let job = self.running.remove(&Job::Read(slot));
        self.job(None, move |transport| async move {
            acknowledge(&*transport, &settled).await;
            job.inspect(AbortHandle::abort);
            drop(stream);
            Done::Nothing
        });
    }

    fn stop(&mut self, job: Job) {
        if let Some(handle) = self.running.remove(&job) {
            handle.abort();
        }
    }

    fn done(&mut self, done: Done) {
        let more = self.take_ready(AT_ONCE);
        if let Some(lost) = self.take_in(std::iter::once(done).chain(more)) {
            self.fail(lost);
        }
    }

    /// The connection is gone.
    fn fail(&mut self, lost: Error) {
        // What is known already counts; everything else of this connection is unknown for good.
        let known = self.take_ready(usize::MAX);
        self.take_in(known);
        self.lose(lost, false);
    }

    /// The jobs that have ended by now.
    fn take_ready(&mut self, most: usize) -> Vec<Done> {
        let mut ready = Vec::new();
        while ready.len() < most
            && let Some(Some(done)) = self.jobs.next().now_or_never()
        {
            ready.extend(done.ok());
        }
        ready
    }

    fn take_in(&mut self, all: impl IntoIterator<Item = Done>) -> Option<Error> {
        let (mut replies, mut lost) = (Vec::new(), None);
        {
            let mut core = self.shared.lock();
            let now = Instant::now();
            for done in all {
                match &done {
                    Done::Called(number, _) => drop(self.running.remove(&Job::Call(*number))),
                    Done::Subscribed(slot, _) | Done::Read(slot, ..) => {
                        self.running.remove(&Job::Read(*slot));
                    }
                    Done::Sent(..) | Done::History(..) | Done::Kept(_) | Done::Nothing => {}
                }
                let (reply, error) = core.on_done(done, now);
                replies.extend(reply);
                lost = lost.or(error);
            }
        }
        for reply in replies {
            match reply {
                Reply::Plain(answer, to) => drop(to.send(Ok(answer))),
                Reply::Seat(slot, address, to) => {
                    let seat = Seat::new(Arc::clone(&self.shared), slot);
                    // When the caller is gone, the seat comes back and is dropped: the reading stops.
                    drop(to.send(Ok(Answer::Seated(address, seat))));
                }
            }
        }
        lost
    }

    fn lose(&mut self, error: Error, attempted: bool) {
        self.jobs = FuturesUnordered::new();
        self.running.clear();
        let owes = self.attached.take().is_some_and(|(_, acks)| acks.len() + acks.lost() > 0);
        let mut core = self.shared.lock();
        if owes {
            core.slots.owe();
        }
        core.on_lost(error, attempted, Instant::now());
    }

    fn connected(&mut self, result: Result<Arc<dyn Transport>>) {
        self.connecting = None;
        match result {
            Ok(transport) => {
                let mut core = self.shared.lock();
                if core.on_connected(transport.address(), Instant::now()) {
                    core.line.set(Some(Arc::clone(&transport)));
                    let acks = Acks::of_session(Arc::clone(&transport), self.options.call_timeout);
                    self.attached = Some((transport, acks));
                }
            }
            Err(error) => self.lose(error, true),
        }
    }

    /// Acknowledges what is settled, closes the attachment and ends the session.
    async fn finish(mut self, mode: CloseMode) {
        let limit = self.options.drain_timeout.max(LAST_WORDS);
        let until = after(Instant::now(), limit);
        let result = match self.attached.take() {
            Some((transport, mut acks)) => {
                acks.finish_soon();
                // What is settled while the last ones are under way goes with them.
                let flushed = async {
                    while !self.shared.lock().is_last_ack_sent(&mut acks) {
                        acks.work().await;
                    }
                };
                let flushed = timeout_at(until, flushed).await.is_ok() && acks.lost() == 0;
                self.shared.lock().seal();
                // What reads on is told by the session why it ends.
                self.jobs = FuturesUnordered::new();
                match parting::part(&*transport, mode, self.options.call_timeout).await {
                    Ok(()) if !flushed => {
                        let what = "some settled messages could not be acknowledged and will come again";
                        Err(Error::new(ErrorKind::Timeout, "close", what))
                    }
                    closed => closed,
                }
            }
            None if mode == CloseMode::Retire => {
                let what = "there was no connection to unregister on";
                Err(Error::new(ErrorKind::Disconnected, "close", what).with_reached(Reached::No))
            }
            None => Ok(()),
        };
        let mut core = self.shared.lock();
        core.finish(result);
        self.shared.publish(&mut core, Instant::now());
    }
}

/// Waits for an item, and takes with it what there is then: up to so many messages and bytes, of which the
/// last one may go over the bytes. The end is the last item.
async fn read(stream: &mut EventStream, (messages, bytes): (usize, usize)) -> Vec<Item> {
    let (mut items, mut size) = (Vec::new(), 0);
    let mut next = stream.next().await;
    loop {
        let mut over = false;
        items.push(match next {
            Some(Ok(Event::Message(delivery))) => {
                size += delivery.size();
                Item::Message(Box::new(delivery))
            }
            other => {
                over = !matches!(other, Some(Ok(_)));
                Item::Other(Box::new(other.map(|item| item.map_err(of_attachment))))
            }
        });
        if over || items.len() >= messages.min(AT_ONCE) || size >= bytes {
            return items;
        }
        let ready = poll_fn(|cx| match stream.poll_next_unpin(cx) {
            Poll::Ready(item) => Poll::Ready(Some(item)),
            Poll::Pending => Poll::Ready(None),
        });
        match ready.await {
            Some(item) => next = item,
            None => return items,
        }
    }
}

/// Acknowledges early what is under way to be acknowledged anyway: twice is fine, and failing is, too.
async fn acknowledge(transport: &dyn Transport, tags: &[AckTag]) {
    if !tags.is_empty()
        && let Ok(Err(error)) = timeout(LAST_WORDS, transport.ack(tags)).await
    {
        tracing::debug!(name: "ack.early", %error, "it is tried again");
    }
}

/// The task is over, by whatever cause. Where that is a good one, the session has ended before.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let why = match std::thread::panicking() {
            true => Error::new(ErrorKind::Unexpected, "session", "the session's task panicked"),
            false => Error::new(ErrorKind::Closed, "session", "the session's task has stopped"),
        };
        self.0.end(CloseReason::failed(&why), why);
    }
}

/// An attachment that says it was closed, which this session did not do, has lost its connection.
pub(super) fn of_attachment(error: Error) -> Error {
    if error.kind() != ErrorKind::Closed {
        return error;
    }
    let lost = Error::new(ErrorKind::Disconnected, error.operation(), "the attachment has ended");
    lost.with_reached(error.reached()).with_source(error)
}

fn unconnected() -> Error {
    let what = "no connection was made within the connect timeout";
    Error::new(ErrorKind::Timeout, "connect", what).with_reached(Reached::No)
}

/// How many ended jobs are taken in at once, and how many items a job reads.
const AT_ONCE: usize = 64;
pub(crate) const SILENT: &str = "the attachment gave no answer";
/// What ending the attachment gets at least.
const LAST_WORDS: Duration = Duration::from_secs(1);
