//! Every future of an attachment and of an agent over it is dropped after each of its polls, on every network,
//! over real sockets. The same call made again works, nothing is lost or handed out twice, and when all is
//! dropped no task is left.
//!
//! The network runs elsewhere, so that the tasks of this runtime are those of the clients alone.

#[path = "support/fault/mod.rs"]
mod fault;
#[path = "support/hunt/mod.rs"]
mod hunt;
mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Connector, Event, Heartbeat, Outbound, Query, Request,
    ServeOptions, SubscribeOptions, Subscription, Transport,
};
use fault::drops::{pending_at_most, told_once};
use futures_util::StreamExt;
use hunt::{Kind, MS, Net, SECOND, kinds, message, within};
use tokio::runtime::{Builder, Runtime};

/// A network in a runtime of its own, and names that nobody used.
struct World {
    net: Arc<Net>,
    runtime: Runtime,
    names: Cell<u32>,
}

/// An agent of its own, that can attach again and again.
struct Who {
    connector: Arc<dyn Connector>,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let net = runtime.spawn(Net::start(kind)).await.expect("no panic");
        Self { net: Arc::new(net), runtime, names: Cell::new(0) }
    }

    async fn who(&self, what: &str) -> Who {
        let number = self.names.get();
        self.names.set(number + 1);
        let way = self.net.way(&format!("{what}{number}")).await;
        Who { connector: way.connector(Arc::new(MemoryStore::new())) }
    }

    fn end(self) {
        let Self { net, runtime, .. } = self;
        let guard = runtime.enter();
        drop(net);
        drop(guard);
        runtime.shutdown_background();
    }
}

impl Who {
    async fn attach(&self) -> Arc<dyn Transport> {
        within(20, "attaching", self.connector.connect()).await.expect("attached")
    }

    async fn start(&self) -> Agent {
        within(20, "starting", Agent::builder(Arc::clone(&self.connector)).start()).await.expect("started")
    }
}

async fn read(transport: &Arc<dyn Transport>) -> Subscription {
    within(20, "subscribing", transport.subscribe(SubscribeOptions::own())).await.expect("subscribed")
}

fn note(to: &Arc<dyn Transport>, text: &str) -> Outbound {
    Outbound::new(to.address().clone(), Body::text(text))
}

/// The texts that come until `last`, each settled.
async fn texts(bob: &Arc<dyn Transport>, reading: &mut Subscription, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|text| text != last) {
        let next = message(&mut reading.events, 15 * SECOND).await;
        let next = next.unwrap_or_else(|| panic!("nothing comes after {all:?}"));
        all.push(next.body.as_str().expect("text").to_owned());
        within(20, "settling", bob.ack(&[next.tag])).await.expect("settled");
    }
    all
}

/// Hunts on every network at once, each in a thread and runtime of its own.
fn each(hunt: impl AsyncFn(Kind) + Sync) {
    std::thread::scope(|scope| {
        for kind in kinds() {
            let hunt = &hunt;
            scope.spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(hunt(kind));
            });
        }
    });
}

/// Runs `round` with one poll more each time until its future came to its end.
async fn everywhere(world: &World, what: &str, mut round: impl AsyncFnMut(usize) -> bool) {
    for polls in 0..300 {
        let told = Told(world.net.kind, what, polls);
        let ended = round(polls).await;
        let deadline = std::time::Instant::now() + 10 * SECOND;
        while fault::tasks() > 0 {
            assert!(std::time::Instant::now() < deadline, "{} tasks are left", fault::tasks());
            tokio::time::sleep(2 * MS).await;
        }
        drop(told);
        if ended {
            return;
        }
    }
    panic!("{what} does not come to its end");
}

struct Told<'a>(Kind, &'a str, usize);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}: {} was dropped after {} polls", self.0, self.1, self.2);
        }
    }
}

#[test]
fn attaching_sending_and_ending() {
    each(async |kind| {
        let world = World::new(kind).await;
        everywhere(&world, "connecting", async |polls| {
            let (ann, bob) = (world.who("ann").await, world.who("bob").await);
            let ended = pending_at_most(polls, bob.connector.connect()).await.is_some();
            let (ann, bob) = (ann.attach().await, bob.attach().await);
            let mut reading = read(&bob).await;
            within(20, "sending", ann.send(&note(&bob, "x"))).await.expect("accepted");
            assert_eq!(texts(&bob, &mut reading, "x").await, ["x"]);
            ended
        })
        .await;
        everywhere(&world, "sending", async |polls| {
            let (ann, bob) = (world.who("ann").await.attach().await, world.who("bob").await.attach().await);
            let same = note(&bob, "x");
            let ended = pending_at_most(polls, ann.send(&same)).await.is_some();
            within(20, "sending", ann.send(&same)).await.expect("accepted");
            within(20, "sending", ann.send(&note(&bob, "y"))).await.expect("accepted");
            let mut reading = read(&bob).await;
            let came = texts(&bob, &mut reading, "y").await;
            // An attachment without a session hands out what is stored twice.
            assert!(came == ["x", "y"] || (came == ["x", "x", "y"] && is_mq9(kind)), "{came:?}");
            ended
        })
        .await;
        for mode in [CloseMode::Detach, CloseMode::Retire] {
            everywhere(&world, "closing", async |polls| {
                let (ann, who) = (world.who("ann").await.attach().await, world.who("bob").await);
                let bob = who.attach().await;
                let reading = read(&bob).await;
                within(20, "sending", ann.send(&note(&bob, "x"))).await.expect("accepted");
                let first = pending_at_most(polls, bob.close(mode)).await;
                let again = within(20, "closing", bob.close(mode)).await;
                told_once(first.as_ref(), &again);
                let ended = first.is_some();
                first.unwrap_or(again).expect("closed");
                drop((reading, bob));
                let bob = who.attach().await;
                let mut reading = read(&bob).await;
                assert_eq!(texts(&bob, &mut reading, "x").await, ["x"]);
                ended
            })
            .await;
        }
        world.end();
    });
}

#[test]
fn reading_and_settling() {
    each(async |kind| {
        let world = World::new(kind).await;
        everywhere(&world, "subscribing", async |polls| {
            let (ann, bob) = (world.who("ann").await.attach().await, world.who("bob").await.attach().await);
            within(20, "sending", ann.send(&note(&bob, "x"))).await.expect("accepted");
            let ended = pending_at_most(polls, bob.subscribe(SubscribeOptions::own())).await.is_some();
            let mut reading = read(&bob).await;
            assert_eq!(texts(&bob, &mut reading, "x").await, ["x"]);
            ended
        })
        .await;
        everywhere(&world, "waiting for events", async |polls| {
            let (ann, bob) = (world.who("ann").await.attach().await, world.who("bob").await.attach().await);
            let mut reading = read(&bob).await;
            let mut came = Vec::new();
            let mut ended = true;
            for number in 0..4 {
                within(20, "sending", ann.send(&note(&bob, &number.to_string()))).await.expect("accepted");
                while came.len() <= number {
                    let next = reading.events.next();
                    let bounded = tokio::time::timeout(SECOND, pending_at_most(polls, next));
                    let Some(event) = bounded.await.ok().flatten() else {
                        ended = false;
                        let next = message(&mut reading.events, 15 * SECOND).await.expect("it comes");
                        came.push(next.body.as_str().expect("text").to_owned());
                        continue;
                    };
                    if let Event::Message(next) = event.expect("goes on").expect("no error") {
                        came.push(next.body.as_str().expect("text").to_owned());
                    }
                }
            }
            assert_eq!(came, ["0", "1", "2", "3"]);
            ended || polls > 12
        })
        .await;
        everywhere(&world, "settling", async |polls| {
            let (ann, who) = (world.who("ann").await.attach().await, world.who("bob").await);
            let bob = who.attach().await;
            let mut reading = read(&bob).await;
            for text in ["x", "y"] {
                within(20, "sending", ann.send(&note(&bob, text))).await.expect("accepted");
            }
            let one = message(&mut reading.events, 15 * SECOND).await.expect("it comes");
            let two = message(&mut reading.events, 15 * SECOND).await.expect("it comes");
            let tags = [two.tag, one.tag];
            let ended = pending_at_most(polls, bob.ack(&tags)).await.is_some();
            within(20, "settling", bob.ack(&tags)).await.expect("settled");
            drop(reading);
            within(20, "closing", bob.close(CloseMode::Detach)).await.expect("closed");
            drop(bob);
            let bob = who.attach().await;
            let mut reading = read(&bob).await;
            within(20, "sending", ann.send(&note(&bob, "z"))).await.expect("accepted");
            assert_eq!(texts(&bob, &mut reading, "z").await, ["z"]);
            ended
        })
        .await;
        world.end();
    });
}

#[test]
fn the_directory_and_keyed_state() {
    each(async |kind| {
        let world = World::new(kind).await;
        for verb in ["register", "report", "discover", "unregister", "put", "get"] {
            everywhere(&world, verb, async |polls| {
                let bob = world.who("bob").await.attach().await;
                let keyed = bob.capabilities().keyed_state;
                if !keyed && matches!(verb, "put" | "get") {
                    return true;
                }
                let card = AgentCard::new("bob", "drops").expect("a card");
                let (beat, query) = (Heartbeat::new("online", SECOND), Query::name("bob"));
                if verb != "register" {
                    within(20, "registering", bob.register(&card)).await.expect("registered");
                }
                let put = || bob.put(bob.address(), "k", Body::text("v"));
                let once = async || match verb {
                    "register" => bob.register(&card).await,
                    "report" => bob.report(&beat).await,
                    "discover" => bob.discover(&query).await.map(drop),
                    "unregister" => bob.unregister().await,
                    "put" => put().await,
                    _ => bob.get(bob.address(), "k").await.map(drop),
                };
                let ended = pending_at_most(polls, once()).await.is_some();
                within(20, verb, once()).await.unwrap_or_else(|error| panic!("{verb}: {error:?}"));
                if verb == "put" {
                    let value = within(20, "getting", bob.get(bob.address(), "k")).await.expect("an answer");
                    assert_eq!(value.expect("it is there").body, Body::text("v"));
                }
                ended
            })
            .await;
        }
        world.end();
    });
}

/// Answers each request, and counts what it handled.
fn echo(count: &Arc<AtomicU32>) -> impl agentchat_core::Handler {
    let count = Arc::clone(count);
    move |request: Request| {
        let count = Arc::clone(&count);
        async move {
            if request.wants_reply() {
                request.reply(request.body().clone()).await?;
            } else {
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        }
    }
}

async fn ask(asker: &Agent, worker: &Agent) {
    let request = CallRequest::new(Body::text("last")).with_timeout(15 * SECOND);
    let call = within(20, "asking", asker.call(worker.address(), request)).await.expect("sent");
    let reply = within(20, "the reply", call.response()).await.expect("answered");
    assert_eq!(reply.body().as_str(), Some("last"));
}

#[test]
fn agents() {
    each(async |kind| {
        let world = World::new(kind).await;
        for step in ["start", "serve", "send", "call", "reply", "stop", "close"] {
            everywhere(&world, step, async |polls| {
                let (asker, who) = (world.who("ann").await.start().await, world.who("bob").await);
                let count = Arc::default();
                let mut ended = true;
                if step == "start" {
                    let starting = Agent::builder(Arc::clone(&who.connector)).start();
                    ended = pending_at_most(polls, starting).await.is_some();
                }
                let worker = who.start().await;
                if step == "serve" {
                    let serving = worker.serve(echo(&count), ServeOptions::default());
                    ended = pending_at_most(polls, serving).await.is_some();
                }
                let serving = worker.serve(echo(&count), ServeOptions::default());
                let serving = within(20, "serving", serving).await.expect("served");
                let note = Outbound::new(worker.address().clone(), Body::text("x"));
                if step == "send" {
                    ended = pending_at_most(polls, asker.send(&note)).await.is_some();
                }
                within(20, "sending", asker.send(&note)).await.expect("accepted");
                let request = || CallRequest::new(Body::text("y")).with_timeout(15 * SECOND);
                if step == "call" {
                    let calling = asker.call(worker.address(), request());
                    ended = pending_at_most(polls, calling).await.is_some();
                }
                if step == "reply" {
                    let call = within(20, "asking", asker.call(worker.address(), request())).await;
                    let waiting = call.expect("sent");
                    ended = pending_at_most(polls, waiting.response()).await.is_some();
                }
                ask(&asker, &worker).await;
                let handled = async {
                    while count.load(Ordering::SeqCst) == 0 {
                        tokio::time::sleep(MS).await;
                    }
                };
                within(20, "the handler", handled).await;
                if step == "stop" {
                    ended = pending_at_most(polls, serving.stop(5 * SECOND)).await.is_some();
                    let again = worker.serve(echo(&count), ServeOptions::default());
                    let _again = within(20, "serving again", again).await.expect("served");
                    ask(&asker, &worker).await;
                } else {
                    drop(serving);
                }
                let mut first = None;
                if step == "close" {
                    let closing = worker.close(CloseMode::Detach, 5 * SECOND);
                    first = pending_at_most(polls, closing).await;
                    ended = first.is_some();
                }
                let again = within(20, "closing", worker.close(CloseMode::Detach, 5 * SECOND)).await;
                told_once(first.as_ref(), &again);
                first.unwrap_or(again).expect("closed");
                assert_eq!(count.load(Ordering::SeqCst), 1, "handled once");
                ended
            })
            .await;
        }
        world.end();
    });
}

fn is_mq9(kind: Kind) -> bool {
    matches!(kind, Kind::Mq9 | Kind::Mq9Robust | Kind::Mq9Nats)
}
