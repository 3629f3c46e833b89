//! Every future of a session is dropped at every point where it waits, and at every
//! millisecond of its life, with a connection that holds and with one that has just broken. Nothing that was
//! accepted is lost, nothing is handed out twice, no task stays behind, and the next call works.

#[path = "support/fault/mod.rs"]
mod fault;

use agentchat_core::{
    AgentCard, Body, CloseMode, Event, EventStream, Heartbeat, Outbound, Query, Resilient, SessionState,
    SubscribeOptions, Transport,
};
use fault::drops::{Cutoff, everywhere, told_once};
use fault::world::World;
use fault::{SECOND, message, options, soon, text};
use futures_util::StreamExt;

/// What a new attachment finds in the inbox of `name`.
async fn left(world: &World, name: &str) -> Vec<String> {
    let reader = world.session(name).await;
    let mut events = read(&reader).await;
    let mut left = Vec::new();
    loop {
        match soon("an event", events.next()).await.expect("goes on").expect("no error") {
            Event::Message(delivery) => left.push(text(&delivery)),
            _ => return left,
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
            tokio::time::sleep(SECOND).await;
            assert_eq!(world.wire.readings(), 0, "an inbox is read for nobody");
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
            assert!(left(&world, "bob").await.is_empty());
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
        async |bob, first| {
            let again = soon("closing again", bob.close(CloseMode::Detach)).await;
            told_once(first.as_ref(), &again);
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
