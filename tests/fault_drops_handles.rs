//! What is waited for beside the verbs is dropped at every point where it waits, too: a message on its way, the
//! word that it is kept, history, events of a session, answers of many, the end of a serving, and the stores
//! on disk. Nothing that was accepted or kept is lost, and whoever waits again hears it.

#[path = "support/fault/mod.rs"]
mod fault;
mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use agentchat_core::agent::CallMode;
use agentchat_core::store::{
    Cursor, CursorStore, DedupStore, DurableStore, MemoryStore, OutboxStore, ParkedReason, StoredSend,
};
use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, ConversationId, ErrorKind, EventStream, Loopback, LoopbackFaults,
    Outbound, Reached, ReplayRange, Request, Resilient, ResilientConnector, ServeOptions, SessionEvent,
    SubscribeOptions, Transport,
};
use fault::drops::{Cutoff, everywhere, pending_at_most};
use fault::world::World;
use fault::{SECOND, message, options, soon, text};
use support::Scratch;

async fn read(session: &Resilient) -> EventStream {
    soon("subscribing", session.subscribe(SubscribeOptions::own())).await.expect("subscribed").events
}

/// Everything that comes within a minute.
async fn drain(session: &Resilient) -> Vec<String> {
    let mut events = read(session).await;
    let mut all = Vec::new();
    while let Some(delivery) = message(&mut events, 60 * SECOND).await {
        all.push(text(&delivery));
    }
    all
}

fn note(text: &str) -> Outbound {
    let to = agentchat_core::Address::parse("loopback://bob").expect("valid");
    Outbound::new(to, Body::text(text)).with_conversation(ConversationId::new("c").expect("valid"))
}

/// A session of bob over a store that holds `rows`, at each cutoff, over a connection that holds and over one
/// that has just broken.
async fn over_a_store(
    what: &str,
    rows: &[&str],
    mut round: impl AsyncFnMut(&Resilient, &[Outbound], Cutoff) -> bool,
) {
    for broken in [false, true] {
        everywhere(what, async |cutoff| {
            let (world, store) = (World::new(), Arc::new(MemoryStore::default()));
            let rows: Vec<_> = rows.iter().map(|row| note(row)).collect();
            for (position, row) in (0..).zip(&rows) {
                store.save(&StoredSend::new(position, row.clone())).await.expect("saved");
            }
            let options = options(7).with_store(Arc::clone(&store));
            let connecting = Resilient::connect(world.connector("bob"), options);
            let bob = soon("connecting", connecting).await.expect("connects");
            if broken {
                world.wire.cut_all();
            }
            let ended = round(&bob, &rows, cutoff).await;
            tokio::time::sleep(SECOND).await;
            assert!(store.load().await.expect("read").is_empty(), "the store forgets what was sent");
            ended
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_send_over_what_a_restart_brought_back() {
    over_a_store("a repeated send", &["1", "2", "3"], async |bob, rows, cutoff| {
        let sent = cutoff.run(bob.send(&rows[1])).await;
        assert_eq!(drain(bob).await, ["1", "2", "3"]);
        sent.is_some_and(|sent| sent.is_ok())
    })
    .await;
    over_a_store("repeated sends together", &["1", "2", "3"], async |bob, rows, cutoff| {
        let sends = async { tokio::join!(bob.send(&rows[2]), bob.send(&rows[0]), bob.send(&rows[1])) };
        let ended = cutoff.run(sends).await.is_some();
        assert_eq!(drain(bob).await, ["1", "2", "3"]);
        ended
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_on_its_way() {
    over_a_store("waiting in turns", &[], async |bob, _, cutoff| {
        let mut sending = bob.try_send(note("x")).expect("there is room");
        let sent = cutoff.run(&mut sending).await;
        let ended = sent.is_some();
        let sent = match sent {
            Some(sent) => sent,
            None => soon("the rest", sending).await,
        };
        sent.expect("accepted");
        assert_eq!(drain(bob).await, ["x"]);
        ended
    })
    .await;
    over_a_store("waiting once", &[], async |bob, _, cutoff| {
        let sent = cutoff.run(bob.try_send(note("x")).expect("there is room")).await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(bob.stats().queued_messages, 0, "it left, one way or the other");
        let came = drain(bob).await;
        assert!(came.len() == 1 || (came.is_empty() && sent.is_none()), "{came:?}");
        sent.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_word_that_a_message_is_kept() {
    for detached in [true, false] {
        over_a_store("being kept", &[], async |bob, _, cutoff| {
            let mut sending = bob.try_send(note("x")).expect("there is room");
            let kept = cutoff.run(sending.kept()).await;
            let ended = kept.is_some();
            soon("the word", sending.kept()).await.expect("kept");
            match detached {
                true => sending.detach(),
                false => drop(soon("the answer", sending).await.expect("accepted")),
            }
            assert_eq!(drain(bob).await, ["x"]);
            ended
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn history_and_the_events_of_a_session() {
    for broken in [false, true] {
        everywhere("history", async |cutoff| {
            let network = Loopback::with_faults(LoopbackFaults::default().with_numbers());
            let world = World { network, ..World::new() };
            let bob = world.session("bob").await;
            soon("sending", bob.send(&note("x"))).await.expect("accepted");
            if broken {
                world.wire.cut_all();
            }
            let conversation = ConversationId::new("c").expect("valid");
            let asked = || bob.replay(&conversation, ReplayRange::new(0, 10));
            let rows = cutoff.run(asked()).await;
            let again = soon("asking again", asked()).await.expect("an answer");
            assert_eq!(again.iter().map(text).collect::<Vec<_>>(), ["x"]);
            assert!(rows.as_ref().is_none_or(|rows| rows.as_ref().is_ok_and(|rows| rows.len() == 1)));
            rows.is_some()
        })
        .await;
        everywhere("the events of a session", async |cutoff| {
            let world = World::new();
            let bob = world.session("bob").await;
            let (mut dropped, mut whole) = (bob.events(), bob.events());
            if broken {
                world.wire.cut_all();
            }
            let busy = tokio::spawn({
                let bob = bob.clone();
                async move {
                    soon("sending", bob.send(&note("x"))).await.expect("accepted");
                    soon("closing", bob.close(CloseMode::Detach)).await.expect("closed");
                }
            });
            let (mut seen, mut drops) = (Vec::new(), 0);
            while drops < 20 {
                match cutoff.run(dropped.next()).await {
                    Some(Some(event)) => seen.push(event),
                    Some(None) => break,
                    None => drops += 1,
                }
            }
            while let Some(event) = soon("an event", dropped.next()).await {
                seen.push(event);
            }
            let mut all: Vec<SessionEvent> = Vec::new();
            while let Some(event) = soon("an event", whole.next()).await {
                all.push(event);
            }
            assert_eq!(seen, all, "no event is lost or told twice");
            soon("the sender", busy).await.expect("no panic");
            drops == 0
        })
        .await;
    }
}

fn answering(name: &'static str) -> impl agentchat_core::Handler {
    move |request: Request| async move {
        request.reply(Body::text(name)).await?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn asking_many_at_once() {
    for mode in [CallMode::all, CallMode::first] {
        for broken in [false, true] {
            everywhere("asking many", async |cutoff| {
                let world = World::new();
                let asker = world.agent("asker").await;
                let (mut workers, mut targets) = (Vec::new(), Vec::new());
                for name in ["ann", "ben", "cid"] {
                    let sessions = ResilientConnector::new(world.connector(name), options(7));
                    let starting = Agent::builder(sessions).serve(answering(name), ServeOptions::default());
                    let worker = soon("starting", starting.start()).await.expect("started");
                    targets.push(worker.address().clone());
                    workers.push(worker);
                }
                if broken {
                    world.wire.cut_all();
                }
                let request = || CallRequest::new(Body::text("x")).with_timeout(600 * SECOND);
                let asked = cutoff.run(asker.call_many(&targets, request(), mode())).await;
                let ended = asked.is_some();
                let again = soon("asking again", asker.call_many(&targets, request(), CallMode::all())).await;
                assert_eq!(again.expect("asked").answers().count(), 3);
                assert!(asked.is_none_or(|asked| asked.is_ok_and(|asked| asked.answers().count() > 0)));
                for worker in &workers {
                    soon("closing", worker.close(CloseMode::Detach, SECOND)).await.expect("closed");
                }
                ended
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_serving() {
    everywhere("the end of a serving", async |cutoff| {
        let world = World::new();
        let sessions = ResilientConnector::new(world.connector("bob"), options(7));
        let starting = Agent::builder(sessions).serve(answering("bob"), ServeOptions::default());
        let bob = soon("starting", starting.start()).await.expect("started");
        let closing = tokio::spawn({
            let bob = bob.clone();
            async move { bob.close(CloseMode::Detach, SECOND).await }
        });
        let served = cutoff.run(bob.served()).await;
        soon("closing", closing).await.expect("no panic").expect("closed");
        let again = soon("asking again", bob.served()).await.expect("it served");
        assert_eq!((again.unsettled, again.unacknowledged), (0, 0));
        served.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answering_with_a_failure() {
    for broken in [false, true] {
        everywhere("a failure", async |cutoff| {
            let world = World::new();
            let (asker, worker) = (world.agent("asker").await, world.agent("worker").await);
            let (wire, ended) = (world.wire.clone(), Arc::new(Mutex::new(false)));
            let told = Arc::clone(&ended);
            let handler = move |request: Request| {
                let (wire, told) = (wire.clone(), Arc::clone(&told));
                async move {
                    if broken && request.attempt() == 1 {
                        wire.cut_all();
                    }
                    let failed = cutoff.run(request.fail("it broke")).await;
                    *told.lock().expect("no panic") = failed.is_some();
                    if failed.is_none() {
                        request.fail("it broke").await?;
                    }
                    Ok(())
                }
            };
            let serving = worker.serve(handler, ServeOptions::default());
            let _serving = soon("serving", serving).await.expect("served");
            let request = CallRequest::new(Body::text("x")).with_timeout(600 * SECOND);
            let mut call = soon("asking", asker.call(worker.address(), request)).await.expect("sent");
            let end = soon("the end", call.next()).await.expect("an end").expect("a reply");
            assert_eq!((end.last, end.error.as_deref()), (true, Some("it broke")));
            assert!(soon("nothing more", call.next()).await.is_none());
            *ended.lock().expect("no panic")
        })
        .await;
    }
}

/// Runs `call` dropped after ever more waits, until it comes to its end, then to its end.
async fn dropped_then_whole<T>(call: impl AsyncFn() -> agentchat_core::Result<T>) -> T {
    for times in 0..100 {
        if let Some(ended) = pending_at_most(times, call()).await {
            return ended.expect("the store works");
        }
    }
    panic!("it waits more than a hundred times");
}

#[tokio::test]
async fn the_stores_on_disk() {
    let scratch = Scratch::new("stores");
    let path = scratch.path().join("store");
    let opened = async || loop {
        match DurableStore::open(&path).await {
            // One that was dropped while it was opened, or before it was closed, has the file a little longer.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            opened => return opened,
        }
    };
    let store = dropped_then_whole(opened).await;
    let sends: Vec<_> = (0..4).map(|position| StoredSend::new(position, note("x"))).collect();
    let ids = |sends: &[StoredSend]| sends.iter().map(|send| send.id().clone()).collect::<Vec<_>>();
    for send in &sends {
        dropped_then_whole(async || store.save(send).await).await;
    }
    let held = dropped_then_whole(async || store.load().await).await;
    assert_eq!(ids(&held), ids(&sends), "each once, in order");
    let reason = ParkedReason::new(ErrorKind::Forbidden, Reached::Yes, "send: no", UNIX_EPOCH);
    dropped_then_whole(async || store.park(sends[0].id(), &reason).await).await;
    assert_eq!(dropped_then_whole(async || store.parked().await).await.len(), 1);
    let back = dropped_then_whole(async || store.unpark(sends[0].id()).await).await;
    assert!(back.is_none() || back.is_some_and(|back| back.id() == sends[0].id()), "it came back once");
    dropped_then_whole(async || store.remove(sends[3].id()).await).await;
    let (key, cursor) = ("k", Cursor::new("7"));
    dropped_then_whole(async || store.set(key, &cursor).await).await;
    assert!(dropped_then_whole(async || CursorStore::get(&store, key).await).await.is_some());
    assert_eq!(dropped_then_whole(async || store.list("").await).await.len(), 1);
    dropped_then_whole(async || store.insert("s", UNIX_EPOCH + SECOND).await).await;
    assert!(dropped_then_whole(async || store.contains("s").await).await);
    assert_eq!(dropped_then_whole(async || store.newest(10).await).await.len(), 1);
    dropped_then_whole(async || store.forget_older_than(UNIX_EPOCH + 2 * SECOND).await).await;
    dropped_then_whole(async || store.close().await).await;
    drop(store);
    let store = opened().await.expect("it opens again");
    assert_eq!(ids(&store.load().await.expect("read")), ids(&sends[..3]), "what was confirmed is there");
    assert!(!store.contains("s").await.expect("read") && store.parked().await.expect("read").is_empty());
    assert!(CursorStore::get(&store, key).await.expect("read").is_some());
    dropped_then_whole(async || store.clear(key).await).await;
    assert!(store.list("").await.expect("read").is_empty());
}
