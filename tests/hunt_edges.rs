//! The edges, on every network: the largest message and one byte more, a key that is rotated in the middle of
//! everything, two processes on one inbox, handlers that never end, thousands of conversations at once.

#[path = "support/hunt/mod.rs"]
mod hunt;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    Agent, Body, CloseMode, Connector, ConversationId, ErrorKind, Event, Outbound, Reached, Request,
    Resilient, ResilientConnector, ServeOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use hunt::{Kind, MS, Net, SECOND, Trail, Way, message, options, seeds, within};

async fn session(way: &Way, store: &Arc<MemoryStore>, seed: u64) -> Resilient {
    let options = options(seed).with_store(Arc::clone(store));
    let connected = Resilient::connect(way.connector(Arc::clone(store)), options);
    within(30, "connecting", connected).await.expect("connected")
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

fn of_agentchat(kind: Kind) -> bool {
    matches!(kind, Kind::Current | Kind::Legacy | Kind::Poll)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_messages_arrive_unchanged_and_one_byte_more_is_refused() {
    hunt::on_each(|kind| async move {
        let _trail = Trail(kind, 0);
        let net = Net::start(kind).await;
        let (ann, bob) = (net.way("ann").await, net.way("bob").await);
        let bob = session(&bob, &store(), 1).await;
        let bare = within(20, "attaching", ann.connector(store()).connect()).await.expect("attached");
        let most = bare.capabilities().max_body.expect("every network has a limit");
        drop(bare);
        let ann = session(&ann, &store(), 2).await;
        let bytes = |size: usize| (0..size).map(|at| (at * 31 % 251) as u8).collect::<Vec<u8>>();
        let letters = |size: usize| "xyz\"\\\n\u{1}\u{7f}".chars().cycle().take(size).collect::<String>();
        // A real NATS server carries no reply over its limit, and in a reply these letters take twice the room.
        let letters = |size: usize| match kind {
            Kind::Mq9Nats => "x".repeat(size),
            _ => letters(size),
        };
        let bodies = |size: usize| {
            [Body::binary(bytes(size)), Body::text(letters(size)), Body::text("é".repeat(size / 2))]
        };
        let mut sent = Vec::new();
        for body in bodies(most).into_iter().chain(bodies(most - 1)) {
            for conversation in [None, Some(ConversationId::new("c".repeat(40)).expect("an id"))] {
                let mut note = Outbound::new(bob.address().clone(), body.clone());
                note.conversation = conversation;
                let size = (body.bytes.len(), body.media_type.clone());
                let accepted = within(60, "sending", ann.send(&note)).await;
                accepted.unwrap_or_else(|error| panic!("{size:?} of {most}: {error:?}"));
                sent.push(body.clone());
            }
        }
        for body in [Body::binary(bytes(most + 1)), Body::text("x".repeat(most + 1))] {
            let note = Outbound::new(bob.address().clone(), body);
            let error = within(60, "sending", ann.send(&note)).await.expect_err("one byte more");
            assert_eq!((error.kind(), error.reached()), (ErrorKind::TooLarge, Reached::No), "{error:?}");
        }
        let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        for number in 0..sent.len() {
            let delivery = message(&mut events, 30 * SECOND).await;
            let delivery = delivery.unwrap_or_else(|| panic!("{number} of {} came", sent.len()));
            let at = sent.iter().position(|body| *body == delivery.body).expect("it is one of them");
            sent.swap_remove(at);
            sent.push(Body::text("taken"));
            bob.ack(&[delivery.tag]).await.expect("settled");
        }
        println!("{kind:?}: at most {most} bytes");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_rotated_in_mid_flight_costs_one_error_and_no_message() {
    const COUNT: usize = 60;
    hunt::on_each(|kind| async move {
        for seed in seeds(1) {
            let _trail = Trail(kind, seed);
            if !of_agentchat(kind) {
                return;
            }
            let mut dice = fastrand::Rng::with_seed(seed);
            let net = Net::start(kind).await;
            let place = net.place().expect("it is AgentChat");
            let (mut ways, stores) = (vec![net.way("ann").await, net.way("bob").await], [store(), store()]);
            let ann = session(&ways[0], &stores[0], seed).await;
            let bob = session(&ways[1], &stores[1], seed).await;
            let to = bob.address().clone();
            let (who, rotate_at) = (dice.usize(0..2), dice.usize(1..COUNT));
            let mut settled = BTreeSet::new();
            let mut sends = Vec::new();
            for number in 0..COUNT {
                let note = Outbound::new(to.clone(), Body::text(number.to_string()));
                let note = note.with_conversation(ConversationId::new("c").expect("an id"));
                // Refused without a trace once the session is over.
                if let Ok(sending) = ann.try_send(note) {
                    sends.push((number, sending));
                }
            }
            let pause = MS * dice.u32(0..60);
            let handle = ["ann", "bob"][who];
            let rotating = async {
                tokio::time::sleep(pause).await;
                ways[who].credential = place.server.lock().await.rotate_key(handle);
            };
            let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
            let mut errors = 0;
            let mut batch = Vec::new();
            let reading = async {
                while let Ok(Some(event)) = tokio::time::timeout(2 * SECOND, events.next()).await {
                    match event {
                        Ok(Event::Message(delivery)) => batch.push(delivery),
                        Ok(_) => {}
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
                            errors += 1;
                        }
                    }
                    if batch.len() > rotate_at % 7 {
                        for delivery in batch.drain(..) {
                            if bob.ack(std::slice::from_ref(&delivery.tag)).await.is_ok() {
                                let text = delivery.body.as_str().expect("text").to_owned();
                                assert!(settled.insert(text), "settled twice");
                            }
                        }
                    }
                }
            };
            within(60, "reading", async { tokio::join!(rotating, reading) }).await;
            assert!(errors <= 1 && (errors == 0 || who == 1), "{errors} errors");
            let mut accepted = BTreeSet::new();
            for (number, sending) in sends {
                match within(30, "a send", sending).await {
                    Ok(_) => drop(accepted.insert(number.to_string())),
                    Err(error) => {
                        let kind = error.kind();
                        assert!(matches!(kind, ErrorKind::Unauthorized | ErrorKind::Closed), "{error:?}");
                        assert_eq!(who, 0, "{error:?}");
                    }
                }
            }
            drop((ann, bob, events));
            // With the new key, from the stores: what was kept goes out, what was not settled comes.
            let ann = session(&ways[0], &stores[0], seed + 1).await;
            let bob = session(&ways[1], &stores[1], seed + 1).await;
            let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
            let (mut here, mut newest) = (BTreeSet::new(), None);
            while let Some(delivery) = message(&mut events, 3 * SECOND).await {
                let text = delivery.body.as_str().expect("text").to_owned();
                assert!(!settled.contains(&text), "{text} came after it was settled");
                assert!(here.insert(text.clone()), "{text} came twice");
                let number: usize = text.parse().expect("a number");
                assert!(newest.is_none_or(|newest| newest < number), "{number} after {newest:?}");
                newest = Some(number);
                bob.ack(&[delivery.tag]).await.expect("settled");
            }
            settled.extend(here);
            let lost: Vec<_> = accepted.difference(&settled).collect();
            assert!(lost.is_empty(), "lost with the key: {lost:?}");
            let all = (0..COUNT).filter(|number| !settled.contains(&number.to_string()));
            assert_eq!(all.collect::<Vec<_>>(), Vec::<usize>::new(), "kept and never sent");
            assert_eq!(ann.stats().queued_messages, 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_on_one_inbox_lose_nothing_together_and_do_not_fight() {
    const COUNT: usize = 80;
    hunt::on_each(|kind| async move {
        for seed in seeds(1) {
            let _trail = Trail(kind, seed);
            let net = Net::start(kind).await;
            let (ann, way) = (net.way("ann").await, net.way("bob").await);
            let ann = session(&ann, &store(), seed).await;
            // Two processes of one agent, each with a store of its own.
            let both = join_all([1, 2].map(|number| {
                let (way, store) = (way.clone(), store());
                async move { session(&way, &store, seed + number).await }
            }))
            .await;
            let seen = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
            let all = tokio::sync::watch::Sender::new(false);
            let begun = Instant::now();
            let reading = both.iter().map(|bob| {
                let (seen, all) = (Arc::clone(&seen), all.clone());
                async move {
                    let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
                    let mut here = BTreeSet::new();
                    // A moment more, for what comes to both, or again. A message behind the others would tell no
                    // more: it comes to one of them, and nothing says to which.
                    let over = async {
                        let _ = all.subscribe().wait_for(|all| *all).await;
                        tokio::time::sleep(300 * MS).await;
                    };
                    let mut over = pin!(tokio::time::timeout(35 * SECOND, over));
                    loop {
                        let event = tokio::select! {
                            _ = &mut over => return,
                            event = events.next() => event,
                        };
                        match event {
                            Some(Ok(Event::Message(delivery))) => {
                                let text = delivery.body.as_str().expect("text").to_owned();
                                assert!(here.insert(text.clone()), "{text} came twice to one of them");
                                let count = {
                                    let mut seen = seen.lock().expect("no panic");
                                    *seen.entry(text).or_default() += 1;
                                    seen.len()
                                };
                                let _ = bob.ack(&[delivery.tag]).await;
                                if count == COUNT {
                                    all.send_replace(true);
                                }
                            }
                            Some(Ok(_)) => {}
                            // Told that another has taken over.
                            other => return println!("one ended: {other:?}"),
                        }
                    }
                }
            });
            let sending = async {
                for number in 0..COUNT {
                    let note = Outbound::new(both[0].address().clone(), Body::text(number.to_string()));
                    within(20, "sending", ann.send(&note)).await.expect("accepted");
                    tokio::time::sleep(10 * MS).await;
                }
            };
            within(40, "reading", async { tokio::join!(join_all(reading), sending) }).await;
            let seen = seen.lock().expect("no panic");
            let missing: Vec<_> = (0..COUNT).filter(|it| !seen.contains_key(&it.to_string())).collect();
            let connects: Vec<_> = both.iter().map(|bob| bob.stats().connects).collect();
            let twice = seen.values().filter(|times| **times > 1).count();
            println!(
                "{kind:?}: {twice} of {COUNT} went to both, {connects:?} connects in {:?}",
                begun.elapsed()
            );
            assert!(missing.is_empty(), "lost between both: {missing:?}");
            assert!(connects.iter().all(|connects| *connects < 40), "they fight: {connects:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_never_end_hold_up_their_conversation_alone_and_let_agents_close() {
    hunt::on_each(|kind| async move {
        let _trail = Trail(kind, 0);
        let net = Net::start(kind).await;
        let (ann, bob) = (net.way("ann").await, net.way("bob").await);
        let ann = session(&ann, &store(), 1).await;
        let kept = store();
        let start = async || {
            let session = options(2).with_store(Arc::clone(&kept));
            let connector = ResilientConnector::new(bob.connector(Arc::clone(&kept)), session);
            within(30, "starting", Agent::builder(connector).start()).await.expect("started")
        };
        let agent = start().await;
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let log = Arc::clone(&done);
        let handler = move |request: Request| {
            let log = Arc::clone(&log);
            async move {
                let text = request.body().as_str().expect("text").to_owned();
                match text.split('.').next() {
                    Some("hang") => std::future::pending::<()>().await,
                    // Wakes again and again, and never ends.
                    Some("spin") => loop {
                        tokio::task::yield_now().await;
                        tokio::time::sleep(MS).await;
                    },
                    _ => {}
                }
                log.lock().expect("no panic").insert(text);
                Ok(())
            }
        };
        let serving = agent.serve(handler, ServeOptions::default().with_concurrency(8));
        let serving = within(20, "serving", serving).await.expect("served");
        for number in 0..30 {
            let kind = match number {
                3 => "hang",
                7 => "spin",
                _ => "fine",
            };
            let line = ConversationId::new(format!("c{}", number % 6)).expect("an id");
            let note = Outbound::new(agent.address().clone(), Body::text(format!("{kind}.{number}")));
            within(20, "sending", ann.send(&note.with_conversation(line))).await.expect("accepted");
        }
        // Two of six conversations are held up: behind 3, and behind 7.
        let free = |number: &usize| !(*number % 6 == 3 || (*number % 6 == 1 && *number >= 7));
        let expected: Vec<_> = (0..30).filter(free).map(|number| format!("fine.{number}")).collect();
        let all = async {
            while !expected.iter().all(|text| done.lock().expect("no panic").contains(text)) {
                tokio::time::sleep(5 * MS).await;
            }
        };
        within(30, "what is not held up", all).await;
        let begun = Instant::now();
        let report = within(20, "closing", agent.close(CloseMode::Detach, SECOND)).await.expect("closed");
        assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
        assert!(!report.drained && report.unsettled >= 2, "{report:?}");
        within(20, "the end of serving", serving.wait()).await;
        drop(agent);
        let agent = start().await;
        let again = Arc::new(Mutex::new(BTreeSet::new()));
        let log = Arc::clone(&again);
        let handler = move |request: Request| {
            let log = Arc::clone(&log);
            async move {
                let text = request.body().as_str().expect("text").to_owned();
                log.lock().expect("no panic").insert((text, request.delivery().redelivered));
                Ok(())
            }
        };
        let _serving =
            within(20, "serving", agent.serve(handler, ServeOptions::default())).await.expect("served");
        let back = async {
            loop {
                let left: BTreeSet<_> = {
                    let again = again.lock().expect("no panic");
                    again.iter().map(|(text, _)| text.clone()).collect()
                };
                let held = (0..30).filter(|number| !free(number)).count();
                if left.len() >= held && left.contains("hang.3") && left.contains("spin.7") {
                    return;
                }
                tokio::time::sleep(5 * MS).await;
            }
        };
        within(30, "what was held up", back).await;
        let repeated: Vec<_> = {
            let (done, again) = (done.lock().expect("no panic"), again.lock().expect("no panic"));
            again.iter().filter(|(text, _)| done.contains(text)).cloned().collect()
        };
        assert!(repeated.is_empty(), "settled and there again: {repeated:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_conversations_at_once_are_each_handled_once() {
    const WRITERS: usize = 10;
    let each = hunt::rounds(1).saturating_mul(60) as usize;
    hunt::on_each(|kind| async move {
        let _trail = Trail(kind, 0);
        let (net, begun) = (Net::start(kind).await, Instant::now());
        let bob = net.way("bob").await;
        let connector = ResilientConnector::new(bob.connector(store()), options(2));
        let agent = within(30, "starting", Agent::builder(connector).start()).await.expect("started");
        let seen = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
        let log = Arc::clone(&seen);
        let handler = move |request: Request| {
            let log = Arc::clone(&log);
            async move {
                *log.lock()
                    .expect("no panic")
                    .entry(request.body().as_str().unwrap_or("").to_owned())
                    .or_default() += 1;
                Ok(())
            }
        };
        let serving = agent.serve(handler, ServeOptions::default().with_concurrency(64));
        let _serving = within(20, "serving", serving).await.expect("served");
        let mut writing = Vec::new();
        for writer in 0..WRITERS {
            let session = session(&net.way(&format!("writer{writer}")).await, &store(), 3).await;
            let to = agent.address().clone();
            writing.push(async move {
                for number in 0..each {
                    let id = ConversationId::new(format!("c{writer}-{number}")).expect("an id");
                    let note = Outbound::new(to.clone(), Body::text(format!("{writer} {number}")));
                    session.send(&note.with_conversation(id)).await.expect("accepted");
                }
            });
        }
        within(400, "writing", join_all(writing)).await;
        let all = async {
            while seen.lock().expect("no panic").len() < WRITERS * each {
                tokio::time::sleep(10 * MS).await;
            }
        };
        within(200, "the work", all).await;
        assert!(seen.lock().expect("no panic").values().all(|times| *times == 1));
        println!("{kind:?}: {} conversations in {:?}", WRITERS * each, begun.elapsed());
    })
    .await;
}
