//! What arrives: each message once, in order, acknowledged when it is settled.
#![cfg(feature = "test-server")]

mod ws_support;

use std::time::{Duration, Instant};

use agentchat_core::{Connector, ConversationId, ErrorKind, Event, ReplayRange, SubscribeOptions};
use transport_ws::testing::{AgentChatServer, HttpFault, Profile, PushFault};
use ws_support::{
    World, backlog, connector, ending, is_quiet, message, next, numbers, read, say, within, word, words,
};

/// A backlog, and a live message that is pushed before the server drains.
async fn live_before_the_drain(profile: Profile) {
    let world = World::of(profile).await;
    let (alice, away) = (world.attach("alice").await, world.attach("bob").await);
    let faults = world.server.faults();
    away.close(agentchat_core::CloseMode::Detach).await.expect("closed");
    world.server.until_sockets("bob", 0).await;
    for number in 0..125 {
        say(&alice, &away, number.to_string()).await;
    }
    faults.pushes(vec![PushFault::Hold; 125]);
    let bob = world.attach("bob").await;
    let mut events = read(&bob).await;
    say(&alice, &bob, "125").await;
    faults.release_pushes();
    let mut found = Vec::new();
    while found.len() < 126 {
        let delivery = message(&mut events).await;
        bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
        found.push(word(&delivery));
    }
    assert_eq!(found, numbers(0..126));
    assert!(is_quiet(&mut events).await, "each once");
}

#[tokio::test]
async fn a_live_message_before_125_stored_ones_comes_behind_them() {
    live_before_the_drain(Profile::Current).await;
}

#[tokio::test]
async fn a_live_message_before_125_drained_ones_comes_behind_them() {
    live_before_the_drain(Profile::Legacy).await;
}

#[tokio::test]
async fn a_backlog_of_40_out_of_order_is_put_in_order() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let alice = world.attach("alice").await;
        let to = world.attach("bob").await;
        to.close(agentchat_core::CloseMode::Detach).await.expect("closed");
        world.server.until_sockets("bob", 0).await;
        for number in 0..40 {
            say(&alice, &to, number.to_string()).await;
        }
        world.server.faults().shuffle_pushes(7);
        let bob = world.attach("bob").await;
        let mut events = read(&bob).await;
        assert_eq!(words(&backlog(&mut events).await), numbers(0..40), "{profile:?}");
    }
}

#[tokio::test]
async fn c79_live_messages_out_of_order_are_put_in_order_without_history() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Late(1), PushFault::Pass]);
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    for expected in numbers(0..3) {
        assert_eq!(word(&message(&mut events).await), expected);
    }
    assert_eq!(world.requests("GET", "/v1/messages/conv"), 0);
}

#[tokio::test]
async fn c80_gap_filled_from_history() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Drop, PushFault::Pass]);
    for number in 0..4 {
        say(&alice, &bob, number.to_string()).await;
    }
    let begun = Instant::now();
    let mut tags = Vec::new();
    for expected in numbers(0..4) {
        let delivery = message(&mut events).await;
        assert_eq!(word(&delivery), expected);
        tags.push(delivery.tag);
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "what is late may still come: 2 s");
    assert_eq!(world.requests("GET", "/v1/messages/conv"), 1);
    bob.ack(&tags).await.expect("settled");
    within(world.server.until_stored("bob", 0)).await;
}

#[tokio::test]
async fn c82_gap_http_error_goes_on_without() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Drop]);
    faults.on("GET /v1/messages/*", HttpFault::status(500));
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(word(&message(&mut events).await), "0");
    assert_eq!(word(&message(&mut events).await), "2");
    say(&alice, &bob, "3").await;
    assert_eq!(word(&message(&mut events).await), "3", "the same hole is not waited for again");
}

#[tokio::test]
async fn c87_own_send_no_gap() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        let mut events = read(&bob).await;
        backlog(&mut events).await;
        let begun = Instant::now();
        for round in 0..5 {
            say(&alice, &bob, round.to_string()).await;
            assert_eq!(word(&message(&mut events).await), round.to_string());
            say(&bob, &alice, "yes").await;
        }
        assert!(begun.elapsed() < Duration::from_millis(1_900), "no reply makes the next message wait");
        assert_eq!(world.requests("GET", "/v1/messages/conv"), 0);
    }
}

#[tokio::test]
async fn c88_a_gap_holds_up_its_own_conversation_only() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let carol = world.attach("carol").await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Pass]);
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(word(&message(&mut events).await), "0");
    let begun = Instant::now();
    say(&carol, &bob, "hers").await;
    assert_eq!(word(&message(&mut events).await), "hers");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(word(&message(&mut events).await), "1");
}

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
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let body = r#"[{"id":"m1","conversation_id":"conv_9","seq":1,"sender":"alice","delivery_id":"del_1",
        "content":{"text":"one"}}, 7, {"id":5}, {"id":"m4","conversation_id":"conv_9","seq":4,"sender":"alice",
        "delivery_id":"del_4","content":{"text":"four"}}]"#;
    world.server.faults().on("GET /v1/messages/sync", HttpFault::answer(200, "application/json", body));
    let mut events = read(&bob).await;
    assert_eq!(words(&backlog(&mut events).await), ["one", "four"]);
    say(&alice, &bob, "live").await;
    assert_eq!(word(&message(&mut events).await), "live");
}

#[tokio::test]
async fn c73_no_progress_page_and_c74_no_list_end_the_backlog_and_not_the_socket() {
    let row = |id: &str| {
        format!(
            r#"{{"id":"{id}","conversation_id":"c","sender":"x","delivery_id":null,"content":{{"text":"{id}"}}}}"#
        )
    };
    for (body, expected) in
        [(format!("[{},{}]", row("a"), row("b")), vec!["a", "b"]), (r#"{"messages":[]}"#.to_owned(), vec![])]
    {
        let world = World::new().await;
        let alice = world.attach("alice").await;
        let bob = connector(world.config("bob").with_sync_page(2)).connect().await.expect("attached");
        let fault = HttpFault::answer(200, "application/json", &body);
        world.server.faults().repeat("GET /v1/messages/sync", 5, fault);
        let mut events = read(&bob).await;
        assert_eq!(words(&backlog(&mut events).await), expected);
        assert!(world.requests("GET", "/v1/messages/sync") <= 2);
        say(&alice, &bob, "live").await;
        assert_eq!(word(&message(&mut events).await), "live");
    }
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
async fn c89_a_reader_that_stops_keeps_its_socket_and_loses_nothing() {
    let beat = (Duration::from_millis(100), Duration::from_millis(300));
    let builder =
        AgentChatServer::builder().heartbeat(beat.0, beat.1).switches(|it| it.awaiting_reply = false);
    let world = World::with(builder).await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let options = SubscribeOptions::own().with_max_unsettled(2);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    for number in 0..100 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(world.server.sockets("bob"), 1, "pings were answered while nobody read");
    let mut found = Vec::new();
    while found.len() < 100 {
        let delivery = message(&mut events).await;
        found.push(word(&delivery));
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
    assert_eq!(found, numbers(0..100));
}

#[tokio::test]
async fn a_reader_more_than_its_queue_behind_is_given_the_rest_from_the_server() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let writers: Vec<_> = {
        let mut writers = Vec::new();
        for number in 0..20 {
            writers.push(world.attach(&format!("writer{}", char::from(b'a' + number))).await);
        }
        writers
    };
    let options = SubscribeOptions::own().with_max_unsettled(1);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    // More than the 1,024 rows that are kept for a reader.
    let (each, all) = (56, 20 * 56);
    futures_util::future::join_all(writers.iter().map(|writer| {
        let bob = &bob;
        async move {
            for number in 0..each {
                say(writer, bob, number.to_string()).await;
            }
        }
    }))
    .await;
    let mut of = std::collections::HashMap::<_, Vec<usize>>::new();
    for _ in 0..all {
        let delivery = message(&mut events).await;
        of.entry(delivery.conversation.clone()).or_default().push(word(&delivery).parse().expect("a number"));
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
    assert_eq!(of.len(), 20);
    for found in of.values() {
        assert_eq!(*found, (0..each).collect::<Vec<_>>());
    }
    assert!(is_quiet(&mut events).await, "each once");
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
async fn c86_late_lower_seq_is_delivered_and_called_late() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    // History does not have it either at first; it is pushed when nobody waits for it any more.
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Hold, PushFault::Pass]);
    faults.on("GET /v1/messages/*", HttpFault::status(500));
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(word(&message(&mut events).await), "0");
    assert_eq!(word(&message(&mut events).await), "2");
    faults.release_pushes();
    let late = message(&mut events).await;
    assert!(late.late && word(&late) == "1", "{late:?}");
    bob.ack(&[late.tag]).await.expect("settled");
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

#[tokio::test]
async fn a_burst_holds_the_server_back_and_costs_no_request() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let mut events = read(&bob).await;
    assert!(backlog(&mut events).await.is_empty());
    let asked = world.requests("GET", "/v1/messages/sync");
    for number in 0..BURST {
        // On no list of the server's: one that is not taken from the socket never comes.
        let seq = number + 1;
        let ids = format!(r#""id":"msg_{number}","conversation_id":"conv_1","client_msg_id":"c{number}""#);
        let row = format!(r#"{{{ids},"seq":{seq},"sender":"alice","content":{{"text":"{number}"}}}}"#);
        let frame = format!(r#"{{"type":"message.new","payload":{row}}}"#);
        assert_eq!(world.server.push_text("bob", &frame), 1);
    }
    let mut found = Vec::new();
    while found.len() < BURST {
        let delivery = message(&mut events).await;
        bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
        found.push(word(&delivery));
    }
    assert_eq!(found, numbers(0..BURST));
    assert_eq!(world.requests("GET", "/v1/messages/sync"), asked);
}

/// More than an attachment keeps for a reader that is behind.
const BURST: usize = 3_000;
