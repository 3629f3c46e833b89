//! Two agents of one loopback network, and a message's way from one to the other.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use agentchat_core::{
    Address, Agent, Body, Connector, Event, EventStream, Loopback, Outbound, Request, Resilient,
    ResilientOptions, ServeOptions, Serving, SubscribeOptions, Transport,
};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio::task::coop::consume_budget;

use crate::batches;
use crate::rig::pin;

/// Between which two layers messages go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Attachments of [`Loopback`]: no session, no agent.
    Bare,
    /// A [`Resilient`] session at each end.
    Resilient,
    /// Agents on bare attachments: `Agent::send` to a handler of `Agent::serve`.
    Agent,
}

/// A sender and a receiver, connected once and used for many rounds.
pub struct Pair {
    to: Address,
    sender: Sender,
    receiver: Receiver,
}

#[derive(Clone)]
enum Sender {
    Transport(Arc<dyn Transport>),
    Agent(Agent),
}

enum Receiver {
    Reading(Arc<dyn Transport>, Option<EventStream>),
    Serving { handled: Arc<Handled>, _agent: Agent, _serving: Serving },
}

#[derive(Default)]
struct Handled {
    count: AtomicUsize,
    goal: AtomicUsize,
    reached: Notify,
}

/// Which worker runs the sender's side of a pair, and which the receiver's. A side is all that its agent
/// has: its session and what serves its inbox, too.
///
/// A task is woken onto the worker that wakes it, and the system likes to keep two threads that wake each
/// other on one core. So where two tasks of a runtime run changes from one moment to the next, and with it
/// what a message costs, threefold. Here each side has a runtime of one worker, which is kept on a core.
pub struct Workers {
    first: Runtime,
    /// `None`: the first worker has both sides.
    second: Option<Runtime>,
}

impl Workers {
    /// The sender on a worker of the first core, the receiver on one of the second.
    pub fn apart() -> Self {
        Self { first: worker(Some(0)), second: Some(worker(Some(1))) }
    }

    /// Both on one worker.
    pub fn together() -> Self {
        Self { first: worker(None), second: None }
    }

    fn sending(&self) -> &Handle {
        self.first.handle()
    }

    fn receiving(&self) -> &Handle {
        self.second.as_ref().unwrap_or(&self.first).handle()
    }
}

fn worker(core: Option<usize>) -> Runtime {
    let place = move || core.into_iter().for_each(pin);
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(place)
        .build()
        .expect("a runtime")
}

impl Pair {
    pub fn connect(kind: Kind, workers: &Workers) -> Self {
        let network = Loopback::new().with_inbox_limits(CAPACITY, usize::MAX);
        let (from, to) = (network.connector("a").expect("valid"), network.connector("b").expect("valid"));
        let (sending, receiving) = (workers.sending(), workers.receiving());
        if kind == Kind::Agent {
            let handled = Arc::new(Handled::default());
            let seen = Arc::clone(&handled);
            let handler = move |request: Request| {
                handle(&request.body().bytes);
                seen.one();
                std::future::ready(Ok(()))
            };
            let options = ServeOptions::default().with_subscribe(subscribe());
            let (agent, serving) = receiving.block_on(async {
                let agent = Agent::builder(to).start().await.expect("attached");
                let serving = agent.serve(handler, options).await.expect("served");
                (agent, serving)
            });
            let sender = sending.block_on(Agent::builder(from).start()).expect("attached");
            let to = agent.address().clone();
            let receiver = Receiver::Serving { handled, _agent: agent, _serving: serving };
            return Self { to, sender: Sender::Agent(sender), receiver };
        }
        let sender = sending.block_on(attach(kind, from));
        let (receiver, events) = receiving.block_on(async {
            let receiver = attach(kind, to).await;
            let mut events = receiver.subscribe(subscribe()).await.expect("subscribed").events;
            assert!(matches!(events.next().await, Some(Ok(Event::CaughtUp))));
            (receiver, events)
        });
        let to = receiver.address().clone();
        Self { to, sender: Sender::Transport(sender), receiver: Receiver::Reading(receiver, Some(events)) }
    }

    /// Carries `count` messages from one task to another, until the last one is settled.
    pub fn carry(&mut self, count: usize, workers: &Workers) {
        let (sender, to) = (self.sender.clone(), self.to.clone());
        match &mut self.receiver {
            Receiver::Reading(transport, events) => {
                let (transport, mut stream) = (Arc::clone(transport), events.take().expect("put back"));
                let reading = workers.receiving().spawn(async move {
                    batches::read(&*transport, &mut stream, (count, BATCH), handle).await;
                    stream
                });
                let sending = workers.sending().spawn(send_all(sender, to, count));
                workers.sending().block_on(sending).expect("sent");
                *events = Some(workers.receiving().block_on(reading).expect("read"));
            }
            Receiver::Serving { handled, .. } => {
                let goal = handled.goal.fetch_add(count, Ordering::Relaxed) + count;
                let sending = workers.sending().spawn(send_all(sender, to, count));
                workers.sending().block_on(sending).expect("sent");
                workers.receiving().block_on(async {
                    while handled.count.load(Ordering::Acquire) < goal {
                        handled.reached.notified().await;
                    }
                });
            }
        }
    }
}

async fn attach(kind: Kind, connector: impl Connector) -> Arc<dyn Transport> {
    match kind {
        Kind::Resilient => {
            Arc::new(Resilient::connect(connector, ResilientOptions::new()).await.expect("attached"))
        }
        _ => connector.connect().await.expect("attached"),
    }
}

impl Sender {
    async fn send(&self, message: &Outbound) {
        match self {
            Self::Transport(transport) => transport.send(message).await,
            Self::Agent(agent) => agent.send(message).await,
        }
        .expect("accepted");
    }
}

impl Handled {
    fn one(&self) {
        if self.count.fetch_add(1, Ordering::AcqRel) + 1 == self.goal.load(Ordering::Relaxed) {
            self.reached.notify_one();
        }
    }
}

/// The raw limit: the same bodies through a bounded channel between two tasks.
pub fn carry_raw(count: usize, workers: &Workers) {
    let (send, mut receive) = mpsc::channel(CAPACITY);
    let reading = workers.receiving().spawn(async move {
        for _ in 0..count {
            handle(&receive.recv().await.expect("a body"));
        }
    });
    let sending = workers.sending().spawn(async move {
        for _ in 0..count {
            send.send(Bytes::from(vec![b'x'; SIZE])).await.expect("taken");
        }
    });
    workers.sending().block_on(sending).expect("sent");
    workers.receiving().block_on(reading).expect("read");
}

/// A runtime with two workers.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Sends with up to [`IN_FLIGHT`] under way. What is accepted at once takes no place in the window.
async fn send_all(sender: Sender, to: Address, count: usize) {
    let mut under_way = FuturesUnordered::new();
    for _ in 0..count {
        // When the task's turn is over it ends here, and not with a window full of sends that wait for the next.
        consume_budget().await;
        let (sender, message) = (sender.clone(), Outbound::new(to.clone(), body()));
        let mut sending = Box::pin(async move { sender.send(&message).await });
        if poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await {
            under_way.push(sending);
        }
        while under_way.len() >= IN_FLIGHT {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
}

fn subscribe() -> SubscribeOptions {
    SubscribeOptions::own().with_max_unsettled(CAPACITY)
}

fn body() -> Body {
    Body::binary(vec![b'x'; SIZE])
}

fn handle(body: &Bytes) {
    assert_eq!(black_box(body).len(), SIZE);
}

/// Bytes of a body.
pub const SIZE: usize = 500;
/// How many the channel holds, and how many the subscription may have unsettled.
const CAPACITY: usize = 1_024;
const IN_FLIGHT: usize = 64;
const BATCH: usize = 256;
