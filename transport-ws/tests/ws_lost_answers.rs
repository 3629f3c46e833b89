//! An answer that is lost costs its call, and neither the socket nor a message.
#![cfg(feature = "test-server")]

mod ws_support;

use std::time::{Duration, Instant};

use agentchat_core::{
    Address, Advice, BackoffPolicy, Body, ErrorKind, Outbound, Query, Reached, Resilient, ResilientOptions,
    SubscribeOptions, Transport,
};
use transport_ws::testing::{HttpFault, JournalEntry, Profile};
use ws_support::{World, backlog, connector, ending, message, next, numbers, read, say, within, word, words};

const BOTH: [Profile; 2] = [Profile::Current, Profile::Legacy];
const SENDS: &str = "POST /v1/messages";
const SOON: Duration = Duration::from_secs(1);

/// A session of `alice` that tries again soon, and gives a call up soon.
async fn session(world: &World) -> Resilient {
    let soon = BackoffPolicy::new().with_base(Duration::from_millis(20));
    let options = ResilientOptions::new().with_retry(soon).with_reconnect(soon);
    let connector = connector(world.config("alice").with_attempt_timeout(SOON));
    within(Resilient::connect(connector, options)).await.expect("attached")
}

fn to_bob(words: impl Into<String>) -> Outbound {
    Outbound::new(Address::parse("agentchat://bob").expect("valid"), Body::text(words))
}

/// How many sockets `handle` was greeted on: each hello carries its key.
fn hellos(world: &World, handle: &str) -> usize {
    let key = world.server.agent(handle);
    world.received().iter().filter(|text| text.contains("\"hello\"") && text.contains(&key)).count()
}

/// The bodies of the requests that send messages.
fn posted(world: &World) -> Vec<String> {
    let body = |entry| match entry {
        JournalEntry::Request { method, path, body, .. } if method == "POST" && path == "/v1/messages" => {
            Some(String::from_utf8(body).expect("JSON"))
        }
        _ => None,
    };
    world.server.journal().into_iter().filter_map(body).collect()
}

/// The ways in which one POST fails: the connection is lost after and before the server carried it out, and
/// no answer comes in time after and before.
fn failures() -> [HttpFault; 4] {
    let late = HttpFault::passing().delay(4 * SOON);
    [HttpFault::lose_answer(), HttpFault::lose_request(), late, HttpFault::hang()]
}

#[tokio::test]
async fn one_failed_post_of_many_costs_no_socket_and_its_message_arrives_once() {
    for profile in BOTH {
        for (number, fault) in failures().into_iter().enumerate() {
            let world = World::of(profile).await;
            let bob = world.attach("bob").await;
            let mut inbox = read(&bob).await;
            assert_eq!(backlog(&mut inbox).await.len(), 0);
            let alice = session(&world).await;
            let reading = alice.subscribe(SubscribeOptions::own()).await.expect("read");
            for at in 0..6 {
                if at == 3 {
                    world.server.faults().on(SENDS, fault.clone());
                }
                within(alice.send(&to_bob(at.to_string()))).await.expect("accepted");
            }
            let mut found = Vec::new();
            for _ in 0..6 {
                found.push(message(&mut inbox).await);
            }
            assert_eq!(words(&found), numbers(0..6), "{profile:?} {number}");
            assert!(ws_support::is_quiet(&mut inbox).await, "{profile:?} {number}: one arrived twice");
            let posted = posted(&world);
            let same: Vec<_> = posted.iter().filter(|body| body.contains("\"3\"")).collect();
            // One that nobody waits for any more may not be in the journal.
            assert!(same.len() >= if number < 2 { 2 } else { 1 }, "{profile:?} {number}: {same:?}");
            assert!(same.iter().all(|body| *body == same[0]), "under the same id: {profile:?} {number}");
            assert_eq!((hellos(&world, "alice"), alice.stats().connects), (1, 1), "{profile:?} {number}");
            drop(reading);
        }
    }
}

#[tokio::test]
async fn the_error_says_what_is_known_and_the_attachment_stands() {
    for profile in BOTH {
        for fault in failures() {
            let world = World::of(profile).await;
            let bob = world.attach("bob").await;
            let connector = connector(world.config("alice").with_attempt_timeout(SOON));
            let alice = agentchat_core::Connector::connect(&connector).await.expect("attached");
            let mut events = read(&alice).await;
            assert_eq!(backlog(&mut events).await.len(), 0);
            world.server.faults().on(SENDS, fault);
            let error = within(alice.send(&to_bob("lost"))).await.expect_err("no answer");
            assert!(matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Timeout), "{error:?}");
            assert_eq!(error.reached(), Reached::Unknown, "{error:?}");
            assert!(matches!(error.advice(), Advice::Backoff | Advice::After(_)), "{error:?}");
            within(alice.send(&to_bob("again"))).await.expect("it stands");
            say(&bob, &alice, "and is read").await;
            assert_eq!(word(&message(&mut events).await), "and is read");
            assert_eq!(hellos(&world, "alice"), 1);
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_no_connection_is_known_not_to_have_been_reached() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let other = World::new().await;
    let gone = connector(other.config("alice"));
    let attached = agentchat_core::Connector::connect(&gone).await.expect("attached");
    drop(other);
    let error = within(async {
        loop {
            match attached.discover(&Query::name("bob")).await {
                Err(error) if error.reached() == Reached::No => return error,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    assert!(error.kind() == ErrorKind::Disconnected && error.is_retryable(), "{error:?}");
    drop(alice);
}

#[tokio::test]
async fn other_calls_and_reading_go_on_over_the_same_socket_too() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let bob = world.attach("bob").await;
        let alice = session(&world).await;
        let alice_there = world.attach("carol").await;
        world.server.faults().on("GET /v1/agents/carol", HttpFault::lose_answer());
        let found = within(alice.discover(&Query::name("carol"))).await.expect("found");
        assert_eq!(found.agents.len(), 1, "{profile:?}");
        let to = agentchat_core::Outbound::new(alice.address().clone(), Body::text("waits"));
        within(bob.send(&to)).await.expect("accepted");
        world.server.faults().repeat("GET /v1/messages/sync", 2, HttpFault::lose_answer());
        let mut events = alice.subscribe(SubscribeOptions::own()).await.expect("read").events;
        assert_eq!(words(&backlog(&mut events).await), ["waits"], "{profile:?}");
        assert!(ws_support::is_quiet(&mut events).await, "{profile:?}");
        assert_eq!((hellos(&world, "alice"), alice.stats().connects), (1, 1), "{profile:?}");
        drop(alice_there);
    }
}

#[tokio::test]
async fn a_call_that_reaches_nobody_has_the_socket_asked_at_once() {
    let world = World::new().await;
    // Nothing but the failed call would have it asked in this test's time.
    let config = world.config("alice").with_keepalive(Duration::from_secs(60), SOON);
    let alice = agentchat_core::Connector::connect(&connector(config)).await.expect("attached");
    let mut events = read(&alice).await;
    assert_eq!(backlog(&mut events).await.len(), 0);
    world.server.faults().on(SENDS, HttpFault::lose_answer());
    within(alice.send(&to_bob("one"))).await.expect_err("no answer");
    assert!(
        tokio::time::timeout(2 * SOON, next(&mut events)).await.is_err(),
        "the server answers: it stands"
    );
    world.server.faults().refuse(true);
    world.server.faults().stall_reads();
    let begun = Instant::now();
    within(alice.send(&to_bob("two"))).await.expect_err("nobody is reached");
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
