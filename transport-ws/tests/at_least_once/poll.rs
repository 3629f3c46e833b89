//! Without a socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentchat_core::{AckGuarantee, CloseMode, Connector, ErrorKind};
use transport_ws::AgentChatPollConnector;
use transport_ws::testing::{HttpFault, Profile};

use crate::ws_support::{
    Attached, World, backlog, ending, is_quiet, message, numbers, read, say, within, word, words,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
const SYNC: &str = "/v1/messages/sync";

pub(crate) fn connector(
    world: &World,
    name: &str,
    fastest: Duration,
    slowest: Duration,
) -> AgentChatPollConnector {
    let config = world.config(name).with_poll_interval(fastest, slowest).with_sync_page(3);
    AgentChatPollConnector::new(config.build().expect("a valid configuration")).expect("a connector")
}

pub(crate) async fn attach(world: &World, name: &str) -> Attached {
    connector(world, name, 5 * MS, 50 * MS).connect().await.expect("attached")
}

#[tokio::test]
async fn c72_a_page_is_acknowledged_only_as_far_as_it_is_settled() {
    for profile in [Profile::Legacy, Profile::Current] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, attach(&world, "bob").await);
        assert_eq!(bob.capabilities().ack, AckGuarantee::Redelivers);
        for number in 0..8 {
            say(&alice, &bob, number.to_string()).await;
        }
        let mut events = read(&bob).await;
        let found = backlog(&mut events).await;
        assert_eq!(words(&found), numbers(0..8));
        let settle = |places: &[usize]| places.iter().map(|at| found[*at].tag.clone()).collect::<Vec<_>>();
        bob.ack(&settle(&[0, 1, 3, 4, 5, 6])).await.expect("settled");
        within(world.server.until_stored("bob", 6)).await;
        assert!(is_quiet(&mut events).await);
        assert_eq!(world.server.stored("bob"), 6, "nothing past the unsettled one");
        bob.ack(&settle(&[2, 2])).await.expect("settled");
        within(world.server.until_stored("bob", 1)).await;
        drop(events);
        bob.close(CloseMode::Detach).await.expect("closed");
        let bob = attach(&world, "bob").await;
        assert_eq!(words(&backlog(&mut read(&bob).await).await), ["7"], "once, and only what is not settled");
    }
}

#[tokio::test]
async fn an_acknowledgement_whose_answer_is_lost_is_repeated_and_changes_nothing_more() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, attach(&world, "bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().on("POST /v1/messages/sync/ack", HttpFault::lose_answer());
    say(&alice, &bob, "a").await;
    bob.ack(&[message(&mut events).await.tag]).await.expect("settled");
    within(world.server.until_stored("bob", 0)).await;
    say(&alice, &bob, "b").await;
    assert_eq!(word(&message(&mut events).await), "b", "and the attachment stands");
}

#[tokio::test]
async fn a_message_of_ones_own_makes_it_look_at_once() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let hour = Duration::from_secs(3600);
    let bob = connector(&world, "bob", hour, hour).connect().await.expect("attached");
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    assert!(is_quiet(&mut events).await);
    say(&alice, &bob, "waiting").await;
    assert!(is_quiet(&mut events).await, "nobody looks");
    say(&bob, &alice, "anything new?").await;
    assert_eq!(word(&message(&mut events).await), "waiting");
}

#[tokio::test]
async fn an_idle_inbox_is_looked_into_ever_more_rarely() {
    let world = World::new().await;
    let bob = connector(&world, "bob", 5 * MS, Duration::from_secs(3600)).connect().await.expect("attached");
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    assert!(is_quiet(&mut events).await);
    // 5 ms doubled seven times are more than the 300 ms that it was quiet.
    let looks = world.requests("GET", SYNC);
    assert!((3..=12).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn nobody_looks_while_nobody_reads() {
    let world = World::new().await;
    let bob = connector(&world, "bob", 5 * MS, 20 * MS).connect().await.expect("attached");
    tokio::time::sleep(100 * MS).await;
    assert_eq!(world.requests("GET", SYNC), 0);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    assert!(is_quiet(&mut events).await);
    drop(events);
    until_nobody_looks(&world).await;
    assert!(bob.ack(&[]).await.is_ok(), "the attachment stands");
}

/// Whoever looks does so at least every 50 ms.
async fn until_nobody_looks(world: &World) {
    within(async {
        let mut before = 0;
        while std::mem::replace(&mut before, world.requests("GET", SYNC)) != world.requests("GET", SYNC) {
            tokio::time::sleep(300 * MS).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_servers_word_to_wait_is_kept_and_ends_nothing() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, attach(&world, "bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let wait = HttpFault::error(429, "RATE_LIMITED", "Too many requests").retry_after("1");
    let asked = Instant::now();
    world.server.faults().on("GET /v1/messages/sync", wait);
    within(async {
        while world.server.faults().pending() > 0 {
            tokio::time::sleep(MS).await;
        }
    })
    .await;
    say(&alice, &bob, "a").await;
    // This would make it look at once.
    say(&bob, &alice, "b").await;
    assert_eq!(word(&message(&mut events).await), "a");
    assert!(asked.elapsed() > 900 * MS, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_server_that_keeps_refusing_ends_the_attachment() {
    let world = World::new().await;
    let bob = attach(&world, "bob").await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().repeat("GET /v1/messages/sync", 100, HttpFault::status(500));
    let error = ending(&mut events).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Disconnected, true));
    assert_eq!(bob.ack(&[]).await.expect_err("it has ended").kind(), ErrorKind::Disconnected);
}

#[tokio::test]
async fn a_hole_is_waited_for_and_looked_for_like_over_a_socket() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, attach(&world, "bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    say(&alice, &bob, "1").await;
    assert_eq!(word(&message(&mut events).await), "1");
    // From another place under the same key: a number that this attachment does not know of.
    let elsewhere = world.attach("bob").await;
    say(&elsewhere, &alice, "2").await;
    let begun = Instant::now();
    say(&alice, &bob, "3").await;
    assert_eq!(word(&message(&mut events).await), "3");
    assert!(begun.elapsed() < 1_900 * MS, "long before the 2 s are over: {:?}", begun.elapsed());
    assert!(world.requests("GET", "/v1/messages/conv_") > 0, "history was asked");
}

#[tokio::test]
async fn dropping_everything_ends_the_looking() {
    let world = World::new().await;
    let bob: Arc<_> = attach(&world, "bob").await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    drop(bob);
    drop(events);
    until_nobody_looks(&world).await;
}
