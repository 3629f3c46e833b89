//! Every public future is dropped at every point where it waits, and at every millisecond of its life, with
//! a connection that holds and with one that has just broken. Nothing that was accepted is lost, nothing is
//! handed out twice, no task stays behind, and the next call works.

#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Event, EventStream, Heartbeat, Loopback, Outbound, Query,
    Request, Resilient, ResilientConnector, ServeOptions, SessionState, SubscribeOptions, Transport,
};
use fault::drops::{Cutoff, everywhere};
use fault::frames::{Framed, Wire};
use fault::{MS, SECOND, message, options, session, soon, text};
use futures_util::StreamExt;

struct World {
    network: Loopback,
    wire: Wire,
}

impl World {
    fn new() -> Self {
        Self { network: Loopback::new(), wire: Wire::clear().with_latency(2 * MS) }
    }

    fn connector(&self, name: &str) -> Framed {
        self.wire.connector(name, self.network.connector(name).expect("a name"))
    }

    async fn session(&self, name: &str) -> Resilient {
        session(self.connector(name), 7).await
    }

    async fn agent(&self, name: &str) -> Agent {
        let sessions = ResilientConnector::new(self.connector(name), options(7));
        soon("starting", Agent::builder(sessions).start()).await.expect("started")
    }

    /// What a new attachment finds in the inbox of `name`.
    async fn left(&self, name: &str) -> Vec<String> {
        let reader = self.session(name).await;
        let mut events = read(&reader).await;
        let mut left = Vec::new();
        loop {
            match soon("an event", events.next()).await.expect("goes on").expect("no error") {
                Event::Message(delivery) => left.push(text(&delivery)),
                _ => return left,
            }
        }
    }
}

async fn read(session: &Resilient) -> EventStream {
    soon("subscribing", session.subscribe(SubscribeOptions::own())).await.expect("subscribed").events
}

/// Everything that comes within a minute, settled.
async fn drain(session: &Resilient, events: &mut EventStream) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(delivery) = message(events, 60 * SECOND).await {
        all.push(text(&delivery));
        session.ack(&[delivery.tag]).await.expect("settled");
    }
    all
}

fn note(session: &Resilient, text: &str) -> Outbound {
    Outbound::new(session.address().clone(), Body::text(text))
}

/// Runs `op` on a session at each cutoff, over a connection that holds and over one that has just broken;
/// then `after` looks at what is left.
async fn on_a_session<T>(
    what: &str,
    mut op: impl AsyncFnMut(&Resilient, Cutoff) -> Option<T>,
    mut after: impl AsyncFnMut(&Resilient, Option<T>),
) {
    for broken in [false, true] {
        everywhere(what, async |cutoff| {
            let world = World::new();
            let session = world.session("bob").await;
            if broken {
                world.wire.cut_all();
            }
            let done = op(&session, cutoff).await;
            let ended = done.is_some();
            after(&session, done).await;
            ended
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn connecting() {
    everywhere("connecting", async |cutoff| {
        let world = World::new();
        let connecting = Resilient::connect(world.connector("bob"), options(7));
        let connected = cutoff.run(connecting).await;
        let ended = connected.is_some();
        drop(connected);
        tokio::time::sleep(SECOND).await;
        assert_eq!(fault::tasks(), 0, "nothing is attached");
        let bob = world.session("bob").await;
        soon("sending", bob.send(&note(&bob, "x"))).await.expect("accepted");
        ended
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sending() {
    on_a_session(
        "sending",
        async |bob, cutoff| cutoff.run(bob.send(&note(bob, "x"))).await,
        async |bob, sent| {
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(bob.stats().queued_messages, 0, "it left, one way or the other");
            let came = drain(bob, &mut read(bob).await).await;
            assert!(came.len() <= 1, "{came:?}");
            if let Some(sent) = sent {
                sent.expect("accepted");
                assert_eq!(came, ["x"]);
            }
        },
    )
    .await;
    // Sent again after it was dropped, it comes once.
    on_a_session(
        "sending again",
        async |bob, cutoff| {
            let same = note(bob, "x");
            let sent = cutoff.run(bob.send(&same)).await;
            soon("sending again", bob.send(&same)).await.expect("accepted");
            sent
        },
        async |bob, _| assert_eq!(drain(bob, &mut read(bob).await).await, ["x"]),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn subscribing() {
    on_a_session(
        "subscribing",
        async |bob, cutoff| {
            soon("sending", bob.send(&note(bob, "x"))).await.expect("accepted");
            cutoff.run(bob.subscribe(SubscribeOptions::own())).await
        },
        async |bob, opened| {
            // One that was given is read; otherwise the next one gets everything.
            let mut events = match opened {
                Some(opened) => opened.expect("subscribed").events,
                None => read(bob).await,
            };
            assert_eq!(drain(bob, &mut events).await, ["x"]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn waiting_for_events() {
    for broken in [false, true] {
        everywhere("the next event", async |cutoff| {
            let world = World::new();
            let (alice, bob) = (world.session("alice").await, world.session("bob").await);
            let mut events = read(&bob).await;
            let to = bob.address().clone();
            let sender = tokio::spawn(async move {
                for number in 0..5 {
                    let note = Outbound::new(to.clone(), Body::text(number.to_string()));
                    soon("sending", alice.send(&note)).await.expect("accepted");
                }
                alice
            });
            if broken {
                world.wire.cut_all();
            }
            let mut came = Vec::new();
            let mut take = |item: Option<agentchat_core::Result<Event>>| {
                if let Event::Message(delivery) = item.expect("goes on").expect("no error") {
                    came.push(text(&delivery));
                }
            };
            // Dropped again and again, each time as far as it came.
            let mut dropped = 0;
            for _ in 0..20 {
                match cutoff.run(events.next()).await {
                    Some(item) => take(item),
                    None => dropped += 1,
                }
            }
            while let Ok(item) = tokio::time::timeout(60 * SECOND, events.next()).await {
                take(item);
            }
            assert_eq!(came, ["0", "1", "2", "3", "4"]);
            drop(soon("the sender", sender).await.expect("no panic"));
            // With nothing more to come, waiting never ends: enough is when everything came between drops.
            dropped == 0 || matches!(cutoff, Cutoff::Polls(20..) | Cutoff::Millis(60..))
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledging() {
    for broken in [false, true] {
        everywhere("acknowledging", async |cutoff| {
            let world = World::new();
            let bob = world.session("bob").await;
            let mut events = read(&bob).await;
            soon("sending", bob.send(&note(&bob, "x"))).await.expect("accepted");
            let delivery = message(&mut events, SECOND).await.expect("it came");
            if broken {
                world.wire.cut_all();
            }
            let tags = [delivery.tag];
            let done = cutoff.run(bob.ack(&tags)).await.is_some();
            soon("acknowledging", bob.ack(&tags)).await.expect("settled");
            assert!(drain(&bob, &mut events).await.is_empty());
            drop(events);
            soon("closing", bob.close(CloseMode::Detach)).await.expect("closed");
            assert!(world.left("bob").await.is_empty());
            done
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_directory_and_keyed_state() {
    let card = || AgentCard::new("bob", "is registered").expect("a card");
    let found = async |bob: &Resilient| {
        let found = soon("asking", bob.discover(&Query::name("bob"))).await.expect("an answer");
        found.agents.len()
    };
    let beat = || Heartbeat::new("online", SECOND);
    on_a_session(
        "registering",
        async |bob, cutoff| cutoff.run(bob.register(&card())).await,
        async |bob, done| {
            tokio::time::sleep(SECOND).await;
            let there = found(bob).await;
            assert!(done.is_none() || there == 1);
            soon("registering", bob.register(&card())).await.expect("registered");
            assert_eq!(found(bob).await, 1);
        },
    )
    .await;
    on_a_session(
        "unregistering",
        async |bob, cutoff| {
            soon("registering", bob.register(&card())).await.expect("registered");
            cutoff.run(bob.unregister()).await
        },
        async |bob, _| {
            soon("unregistering", bob.unregister()).await.expect("unregistered");
            assert_eq!(found(bob).await, 0);
        },
    )
    .await;
    on_a_session(
        "reporting",
        async |bob, cutoff| {
            soon("registering", bob.register(&card())).await.expect("registered");
            cutoff.run(bob.report(&beat())).await
        },
        async |bob, _| soon("reporting", bob.report(&beat())).await.expect("reported"),
    )
    .await;
    on_a_session(
        "asking the directory",
        async |bob, cutoff| cutoff.run(bob.discover(&Query::name("bob"))).await,
        async |bob, _| assert_eq!(found(bob).await, 0),
    )
    .await;
    on_a_session(
        "putting",
        async |bob, cutoff| cutoff.run(bob.put(bob.address(), "k", Body::text("v"))).await,
        async |bob, done| {
            tokio::time::sleep(SECOND).await;
            let value = soon("getting", bob.get(bob.address(), "k")).await.expect("an answer");
            assert!(value.is_some() || done.is_none(), "what was put is there");
        },
    )
    .await;
    on_a_session(
        "getting",
        async |bob, cutoff| {
            soon("putting", bob.put(bob.address(), "k", Body::text("v"))).await.expect("put");
            cutoff.run(bob.get(bob.address(), "k")).await
        },
        async |bob, _| {
            let value = soon("getting", bob.get(bob.address(), "k")).await.expect("an answer");
            assert_eq!(value.expect("it is there").body, Body::text("v"));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn closing_a_session_and_watching_its_state() {
    on_a_session(
        "closing",
        async |bob, cutoff| {
            bob.try_send(note(bob, "x")).expect("there is room").detach();
            cutoff.run(bob.close(CloseMode::Detach)).await
        },
        async |bob, _| {
            let _ = soon("closing again", bob.close(CloseMode::Detach)).await;
            assert!(matches!(bob.state(), SessionState::Closed(_)), "{:?}", bob.state());
            assert!(bob.parked().is_empty(), "what was queued has been sent");
        },
    )
    .await;
    on_a_session(
        "watching the state",
        async |bob, cutoff| {
            let _events = read(bob).await;
            tokio::time::sleep(SECOND).await;
            let seen = bob.state();
            let closing = bob.clone();
            let closer = tokio::spawn(async move { closing.close(CloseMode::Detach).await });
            let changed = cutoff.run(bob.state_changed(&seen)).await;
            soon("closing", closer).await.expect("no panic").expect("closed");
            changed
        },
        async |bob, _| {
            let state = soon("a change", bob.state_changed(&SessionState::Live)).await;
            assert!(matches!(state, SessionState::Closed(_)), "{state:?}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn starting_an_agent() {
    everywhere("starting", async |cutoff| {
        let world = World::new();
        let card = AgentCard::new("bob", "starts").expect("a card");
        let sessions = ResilientConnector::new(world.connector("bob"), options(7));
        let started = cutoff.run(Agent::builder(sessions).card(card).start()).await;
        let ended = started.is_some();
        drop(started);
        tokio::time::sleep(SECOND).await;
        assert_eq!(fault::tasks(), 0, "nothing is attached");
        let bob = world.agent("bob").await;
        let note = Outbound::new(bob.address().clone(), Body::text("x"));
        soon("sending", bob.send(&note)).await.expect("accepted");
        ended
    })
    .await;
}

/// How often each message was handled to its end.
type Log = Arc<Mutex<BTreeMap<String, u32>>>;

/// Answers each request, with a progress before.
fn echo(log: &Log) -> impl agentchat_core::Handler {
    let log = Arc::clone(log);
    move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            if request.wants_reply() {
                request.progress(Body::text("half")).await?;
                request.reply(request.body().clone()).await?;
            }
            let text = request.body().as_str().expect("text").to_owned();
            *log.lock().expect("no panic").entry(text).or_default() += 1;
            Ok(())
        }
    }
}

/// An asker and a worker that is served, at each cutoff; afterwards a call goes through, and whatever was
/// asked has been done once.
async fn between_agents(what: &str, mut op: impl AsyncFnMut(&Agent, &Agent, Cutoff) -> bool) {
    for broken in [false, true] {
        everywhere(what, async |cutoff| {
            let world = World::new();
            let (asker, worker) = (world.agent("asker").await, world.agent("worker").await);
            let log = Log::default();
            let options = ServeOptions::default();
            let serving = soon("serving", worker.serve(echo(&log), options)).await.expect("served");
            if broken {
                world.wire.cut_all();
            }
            let ended = op(&asker, &worker, cutoff).await;
            assert_eq!(ask(&asker, &worker, "last").await, ["half", "last"]);
            tokio::time::sleep(60 * SECOND).await;
            {
                let log = log.lock().expect("no panic");
                assert!(log.values().all(|times| *times == 1), "{log:?}");
                assert!(!ended || log.contains_key("x"), "{log:?}");
            }
            let served = soon("stopping", serving.stop(SECOND)).await;
            assert_eq!((served.unsettled, served.unacknowledged), (0, 0), "{served:?}");
            ended
        })
        .await;
    }
}

async fn ask(asker: &Agent, worker: &Agent, what: &str) -> Vec<String> {
    let request = CallRequest::new(Body::text(what)).with_timeout(600 * SECOND);
    let mut call = soon("asking", asker.call(worker.address(), request)).await.expect("sent");
    let mut replies = Vec::new();
    while let Some(reply) = soon("a reply", call.next()).await {
        replies.push(reply.expect("a reply").body().as_str().expect("text").to_owned());
    }
    replies
}

#[tokio::test(start_paused = true)]
async fn sending_and_calling_between_agents() {
    between_agents("sending", async |asker, worker, cutoff| {
        let note = Outbound::new(worker.address().clone(), Body::text("x"));
        let sent = cutoff.run(asker.send(&note)).await.is_some();
        soon("sending again", asker.send(&note)).await.expect("accepted");
        sent
    })
    .await;
    between_agents("calling", async |asker, worker, cutoff| {
        let request = CallRequest::new(Body::text("x"));
        let call = cutoff.run(asker.call(worker.address(), request)).await;
        let Some(call) = call else { return false };
        soon("the reply", call.expect("sent").response()).await.expect("a reply");
        true
    })
    .await;
    between_agents("the last reply", async |asker, worker, cutoff| {
        let request = CallRequest::new(Body::text("x"));
        let call = soon("asking", asker.call(worker.address(), request)).await.expect("sent");
        cutoff.run(call.response()).await.is_some_and(|reply| reply.expect("a reply").last)
    })
    .await;
    between_agents("the next reply", async |asker, worker, cutoff| {
        let request = CallRequest::new(Body::text("x")).with_timeout(600 * SECOND);
        let mut call = soon("asking", asker.call(worker.address(), request)).await.expect("sent");
        let mut replies = Vec::new();
        let mut dropped = false;
        for _ in 0..2 {
            let reply = match cutoff.run(call.next()).await {
                Some(reply) => reply,
                None => {
                    dropped = true;
                    soon("a reply", call.next()).await
                }
            };
            let reply = reply.expect("goes on").expect("a reply");
            replies.push(reply.body().as_str().expect("text").to_owned());
        }
        assert_eq!(replies, ["half", "x"], "no reply is lost");
        assert!(soon("the end", call.next()).await.is_none());
        !dropped
    })
    .await;
    between_agents("the other verbs", async |asker, worker, cutoff| {
        let mut ended = true;
        ended &= cutoff.run(asker.discover(&Query::name("worker"))).await.is_some();
        ended &= cutoff.run(asker.report(&Heartbeat::new("online", SECOND))).await.is_some();
        ended &= cutoff.run(asker.put_state("k", Body::text("v"))).await.is_some();
        ended &= cutoff.run(worker.state_of(asker.address(), "k")).await.is_some();
        if ended {
            assert_eq!(ask(asker, worker, "x").await, ["half", "x"]);
        }
        ended
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn serving_and_stopping() {
    for broken in [false, true] {
        everywhere("serving", async |cutoff| {
            let world = World::new();
            let (asker, worker) = (world.agent("asker").await, world.agent("worker").await);
            let log = Log::default();
            let note = Outbound::new(worker.address().clone(), Body::text("x"));
            soon("sending", asker.send(&note)).await.expect("accepted");
            if broken {
                world.wire.cut_all();
            }
            let served = cutoff.run(worker.serve(echo(&log), ServeOptions::default())).await;
            let ended = served.is_some();
            let _serving = match served {
                Some(serving) => serving.expect("served"),
                None => {
                    let again = worker.serve(echo(&log), ServeOptions::default());
                    soon("serving again", again).await.expect("served")
                }
            };
            assert_eq!(ask(&asker, &worker, "last").await, ["half", "last"]);
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(log.lock().expect("no panic").get("x"), Some(&1));
            ended
        })
        .await;
        for stopping in [false, true] {
            everywhere("stopping", async |cutoff| {
                let world = World::new();
                let (asker, worker) = (world.agent("asker").await, world.agent("worker").await);
                let log = Log::default();
                let serve = async || {
                    let serving = worker.serve(echo(&log), ServeOptions::default());
                    soon("serving", serving).await.expect("served")
                };
                let serving = serve().await;
                let note = Outbound::new(worker.address().clone(), Body::text("x"));
                soon("sending", asker.send(&note)).await.expect("accepted");
                if broken {
                    world.wire.cut_all();
                }
                let ended = match stopping {
                    true => cutoff.run(serving.stop(SECOND)).await.is_some(),
                    // Waiting ends by itself only with the agent: enough is that it was dropped often.
                    false => {
                        cutoff.run(serving.wait()).await.is_some()
                            || matches!(cutoff, Cutoff::Polls(3..) | Cutoff::Millis(40..))
                    }
                };
                let _again = serve().await;
                assert_eq!(ask(&asker, &worker, "last").await, ["half", "last"]);
                tokio::time::sleep(60 * SECOND).await;
                assert_eq!(log.lock().expect("no panic").get("x"), Some(&1));
                ended
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answering() {
    for broken in [false, true] {
        everywhere("answering", async |cutoff| {
            let world = World::new();
            let (asker, worker) = (world.agent("asker").await, world.agent("worker").await);
            let wire = world.wire.clone();
            let ended = Arc::new(Mutex::new(false));
            let told = Arc::clone(&ended);
            let handler = move |request: Request| {
                let (wire, told) = (wire.clone(), Arc::clone(&told));
                async move {
                    if broken && request.attempt() == 1 {
                        wire.cut_all();
                    }
                    // Dropped, it may have been sent: what follows takes the next number, or the same.
                    let half = cutoff.run(request.progress(Body::text("half"))).await;
                    *told.lock().expect("no panic") = half.is_some();
                    let done = cutoff.run(request.reply(Body::text("done"))).await;
                    if done.is_none() {
                        request.reply(Body::text("done")).await?;
                    }
                    Ok(())
                }
            };
            let options = ServeOptions::default();
            let _serving = soon("serving", worker.serve(handler, options)).await.expect("served");
            let replies = ask(&asker, &worker, "x").await;
            assert!(replies == ["half", "done"] || replies == ["done"], "{replies:?}");
            let ended = *ended.lock().expect("no panic");
            assert!(!ended || replies.len() == 2, "{replies:?}");
            ended
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn closing_an_agent() {
    for broken in [false, true] {
        everywhere("closing", async |cutoff| {
            let world = World::new();
            let (asker, worker) = (world.agent("asker").await, world.agent("worker").await);
            let log = Log::default();
            let options = ServeOptions::default();
            let serving = soon("serving", worker.serve(echo(&log), options)).await.expect("served");
            let note = Outbound::new(worker.address().clone(), Body::text("x"));
            soon("sending", asker.send(&note)).await.expect("accepted");
            if broken {
                world.wire.cut_all();
            }
            let first = cutoff.run(worker.close(CloseMode::Detach, 5 * SECOND)).await;
            let ended = first.is_some();
            let again = soon("closing again", worker.close(CloseMode::Detach, 5 * SECOND)).await;
            assert!(again.is_ok() || broken, "{again:?}");
            let told = again.is_err() || first.is_none_or(|first| first.is_err());
            let served = soon("serving", serving.wait()).await;
            drop(worker);
            let worker = world.agent("worker").await;
            let options = ServeOptions::default();
            let _serving = soon("serving", worker.serve(echo(&log), options)).await.expect("served");
            assert_eq!(ask(&asker, &worker, "last").await, ["half", "last"]);
            tokio::time::sleep(60 * SECOND).await;
            let times = log.lock().expect("no panic").get("x").copied().unwrap_or_default();
            // One that was settled but could not be acknowledged comes again, and whoever waited was told.
            let excused = (broken && told) || served.unacknowledged > 0;
            assert!(times == 1 || (times == 2 && excused), "{times} times: {served:?}");
            ended
        })
        .await;
    }
}
