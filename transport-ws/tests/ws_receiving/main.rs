//! What arrives: each message once, in order, acknowledged when it is settled.
#![cfg(feature = "test-server")]

mod order;
mod slow_readers;
#[path = "../ws_support/mod.rs"]
mod ws_support;

use std::time::Duration;

use agentchat_core::{Connector, ConversationId, ErrorKind, ReplayRange, SubscribeOptions};
use transport_ws::testing::{HttpFault, Profile, PushFault};
use ws_support::{
    World, backlog, connector, ending, is_quiet, message, numbers, read, say, within, word, words,
};

#[tokio::test]
async fn c59_ack_after_settling_and_c61_none_where_it_is_not_negotiated() {
    for (profile, acks) in [(Profile::Current, 1), (Profile::Legacy, 0)] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        let mut events = read(&bob).await;
        say(&alice, &bob, "a").await;
        let delivery = message(&mut events).await;
        assert!(is_quiet(&mut events).await);
        assert_eq!(world.acks(), 0, "it is not settled yet");
        bob.ack(&[delivery.tag]).await.expect("settled");
        bob.close(agentchat_core::CloseMode::Detach).await.expect("closed");
        assert_eq!(world.acks(), acks, "{profile:?}");
        assert_eq!(world.server.stored("bob"), 0);
    }
}

#[tokio::test]
async fn c60_no_ack_offers_it_again_and_c77_so_does_a_crash() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    say(&alice, &bob, "a").await;
    let first = message(&mut events).await;
    drop((events, bob));
    let bob = world.attach("bob").await;
    let again = message(&mut read(&bob).await).await;
    assert_eq!((again.id, again.body), (first.id, first.body));
}

#[tokio::test]
async fn c63_duplicate_skips_but_acks() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let faults = world.server.faults();
    faults.swallow_acks(1);
    faults.pushes([PushFault::Pass]);
    say(&alice, &bob, "a").await;
    let delivery = message(&mut events).await;
    bob.ack(&[delivery.tag]).await.expect("settled");
    assert!(is_quiet(&mut events).await);
    assert_eq!(world.server.stored("bob"), 1, "the acknowledgement was lost");
    // It is read again from the server, recognised, and acknowledged again.
    drop(events);
    let mut events = read(&bob).await;
    assert!(backlog(&mut events).await.is_empty());
    within(world.server.until_stored("bob", 0)).await;
}

#[tokio::test]
async fn c68_drain_pages_are_chained() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    bob.close(agentchat_core::CloseMode::Detach).await.expect("closed");
    for number in 0..25 {
        say(&alice, &bob, number.to_string()).await;
    }
    let bob = connector(world.config("bob").with_sync_page(10)).connect().await.expect("attached");
    let mut events = read(&bob).await;
    assert_eq!(words(&backlog(&mut events).await), numbers(0..25));
    // The third page is not full; a fourth is read for what was pushed meanwhile.
    assert!((3..=4).contains(&world.requests("GET", "/v1/messages/sync")));
    assert!(is_quiet(&mut events).await, "what the server drains as well comes once");
}

#[tokio::test]
async fn c71_a_row_that_cannot_be_read_costs_only_itself() {
    let world = World::new().await;
    let connector = world.connector("bob");
    let (alice, bob) = (world.attach("alice").await, connector.connect().await.expect("attached"));
    let body = r#"[{"id":"m1","conversation_id":"conv_9","seq":1,"sender":"alice","delivery_id":"del_1",
        "content":{"text":"one"}}, 7, {"id":5}, {"id":"m4","conversation_id":"conv_9","seq":4,"sender":"alice",
        "delivery_id":"del_4","content":{"text":"four"}}]"#;
    world.server.faults().on("GET /v1/messages/sync", HttpFault::answer(200, "application/json", body));
    let mut events = read(&bob).await;
    let found = backlog(&mut events).await;
    assert_eq!(words(&found), ["one", "four"]);
    // The number is no object, and the object has no id, so that nobody could settle it.
    assert_eq!(connector.receive_stats().unreadable_rows, 1, "it is told");
    bob.ack(&[found[0].tag.clone()]).await.expect("settled");
    say(&alice, &bob, "live").await;
    let live = message(&mut events).await;
    assert_eq!(word(&live), "live");
    bob.ack(std::slice::from_ref(&live.tag)).await.expect("settled");
    bob.close(agentchat_core::CloseMode::Detach).await.expect("closed");
    let acks: Vec<_> = world.received().into_iter().filter(|text| text.contains(r#""type":"ack""#)).collect();
    assert_eq!(acks.len(), 2, "{acks:?}");
    for (ack, id) in acks.iter().zip(["m1", live.id.as_str()]) {
        assert!(ack.contains(&format!("\"{id}\"")), "what is handled, and nothing else: {ack}");
    }
}

#[tokio::test]
async fn c73_no_progress_page_ends_the_backlog_and_not_the_socket() {
    let row = |id: &str| {
        format!(
            r#"{{"id":"{id}","conversation_id":"c","sender":"x","delivery_id":null,"content":{{"text":"{id}"}}}}"#
        )
    };
    let body = format!("[{},{}]", row("a"), row("b"));
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let connector = connector(world.config("bob").with_sync_page(2));
    let bob = connector.connect().await.expect("attached");
    let fault = HttpFault::answer(200, "application/json", &body);
    world.server.faults().repeat("GET /v1/messages/sync", 5, fault);
    let mut events = read(&bob).await;
    assert_eq!(words(&backlog(&mut events).await), ["a", "b"]);
    assert!(world.requests("GET", "/v1/messages/sync") <= 2);
    assert!(connector.receive_stats().stuck_pages >= 1, "it is told");
    say(&alice, &bob, "live").await;
    assert_eq!(word(&message(&mut events).await), "live");
}

#[tokio::test]
async fn c75_a_row_that_is_pushed_and_read_comes_once() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    world.server.faults().on("GET /v1/messages/sync", HttpFault::passing().delay(Duration::from_millis(200)));
    let mut events = read(&bob).await;
    let sending = async {
        for number in 0..10 {
            say(&alice, &bob, number.to_string()).await;
        }
    };
    let (found, ()) = tokio::join!(backlog(&mut events), sending);
    let mut found = words(&found);
    while found.len() < 10 {
        found.push(word(&message(&mut events).await));
    }
    assert_eq!(found, numbers(0..10));
    assert!(is_quiet(&mut events).await);
}

#[tokio::test]
async fn a_later_subscription_takes_the_inbox_over() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut first = read(&bob).await;
    backlog(&mut first).await;
    let mut second = read(&bob).await;
    assert_eq!(ending(&mut first).await.kind(), ErrorKind::Conflict);
    say(&alice, &bob, "a").await;
    assert_eq!(word(&message(&mut second).await), "a");
}

#[tokio::test]
async fn replay_reads_the_servers_conversations_own_messages_included() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    say(&alice, &bob, "one").await;
    let delivery = message(&mut events).await;
    let receipt = say(&bob, &alice, "two").await;
    assert_eq!((delivery.seq, receipt.seq), (Some(1), Some(2)));
    let conversation: ConversationId = delivery.conversation.expect("the server's");
    let found = bob.replay(&conversation, ReplayRange::new(1, 10)).await.expect("read");
    assert_eq!(words(&found), ["one", "two"]);
}

#[tokio::test]
async fn what_is_lost_between_two_sockets_of_an_older_server_is_found_in_history() {
    let world = World::of(Profile::Legacy).await;
    let alice = world.attach("alice").await;
    let connector = world.connector("bob");
    let bob = connector.connect().await.expect("attached");
    let mut events = read(&bob).await;
    say(&alice, &bob, "0").await;
    assert_eq!(word(&message(&mut events).await), "0");
    // The server believes that these were written.
    world.server.faults().pushes([PushFault::Drop, PushFault::Drop]);
    say(&alice, &bob, "1").await;
    say(&alice, &bob, "2").await;
    world.server.kick("bob", 1001, "Server shutting down");
    ending(&mut events).await;
    say(&alice, &bob, "3").await;
    let bob = connector.connect().await.expect("attached");
    let mut events = read(&bob).await;
    assert_eq!(words(&backlog(&mut events).await), ["1", "2", "3"]);
    assert!(is_quiet(&mut events).await, "each once");
}

#[tokio::test]
async fn what_nobody_read_on_an_older_server_waits_for_the_next_attachment() {
    let world = World::of(Profile::Legacy).await;
    let alice = world.attach("alice").await;
    let connector = world.connector("bob");
    let bob = connector.connect().await.expect("attached");
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    let options = SubscribeOptions::own().with_max_unsettled(1);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(word(&message(&mut events).await), "0");
    world.server.faults().cut_all();
    ending(&mut events).await;
    let bob = connector.connect().await.expect("attached");
    assert_eq!(words(&backlog(&mut read(&bob).await).await), ["1", "2"]);
}

#[tokio::test]
async fn c64_a_lost_acknowledgement_is_repaired_over_a_reconnect_and_handled_once() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let session = agentchat_core::ResilientConnector::new(
        world.connector("bob"),
        agentchat_core::ResilientOptions::new()
            .with_reconnect(agentchat_core::BackoffPolicy::new().with_base(Duration::from_millis(20))),
    );
    let bob = session.connect().await.expect("attached");
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let faults = world.server.faults();
    faults.swallow_acks(1);
    say(&alice, &bob, "a").await;
    let delivery = message(&mut events).await;
    bob.ack(&[delivery.tag]).await.expect("settled");
    within(async {
        while world.acks() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(world.server.stored("bob"), 1, "it was lost");
    world.server.kick("bob", 1001, "Server shutting down");
    within(world.server.until_stored("bob", 0)).await;
    say(&alice, &bob, "b").await;
    assert_eq!(word(&message(&mut events).await), "b", "the first one is not handled again");
}

#[tokio::test]
async fn c90_system_event_row_is_delivered() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let body = r#"[{"id":"msg_s","conversation_id":"grp_1","seq":3,"sender":"carol","client_msg_id":"sys_msg_s",
        "type":"system","delivery_id":"del_1","content":{"data":{"schema_version":1,"event":"of_tomorrow"}}}]"#;
    world.server.faults().on("GET /v1/messages/sync", HttpFault::answer(200, "application/json", body));
    let found = backlog(&mut read(&bob).await).await;
    assert_eq!(found[0].body.media_type, "application/vnd.agentchat.system+json");
    assert_eq!(found[0].conversation.as_ref().map(|it| it.as_str()), Some("grp_1"));
}
