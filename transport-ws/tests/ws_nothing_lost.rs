//! What servers of both kinds may do wrong without a message being lost for it.
#![cfg(feature = "test-server")]

mod scripted;
mod ws_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentchat_core::{
    BackoffPolicy, CloseMode, Connector, ErrorKind, Event, ResilientConnector, ResilientOptions,
    SubscribeOptions,
};
use scripted::{Scripted, answer, json, pushed, quiet};
use tokio::sync::Notify;
use transport_ws::testing::{HttpFault, JournalEntry, Profile};
use transport_ws::{AgentChatConnector, Pushed};
use ws_support::{World, backlog, connector, ending, message, next, numbers, read, say, within, word, words};

const LONG: Duration = Duration::from_secs(30);
const SYNC: &str = "GET /v1/messages/sync";

/// `bob` is attached and was brought the three messages that waited, while nobody read.
async fn drained_unread(world: &World, sync_page: u32) -> ws_support::Attached {
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    within(bob.close(CloseMode::Detach)).await.expect("closed");
    world.server.until_sockets("bob", 0).await;
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    let before = world.server.journal().len();
    let connector = connector(world.config("bob").with_sync_page(sync_page));
    let mut frames = connector.frames();
    let bob = connector.connect().await.expect("attached");
    within(async {
        let pushes = |world: &World| {
            let entries = world.server.journal().into_iter().skip(before);
            let is_push = |entry: &JournalEntry| matches!(entry, JournalEntry::Sent { text, .. } if text.contains("message.new"));
            entries.filter(is_push).count()
        };
        while pushes(world) < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // What was written before a frame has been read when that is told.
    assert_eq!(world.server.push_raw("bob", &serde_json::json!({"type": "zebra.event"})), 1);
    assert!(matches!(within(frames.next()).await, Pushed::Frame(_)));
    bob
}

#[tokio::test]
async fn a_page_for_people_in_place_of_the_backlog_is_asked_for_again() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let bob = drained_unread(&world, 100).await;
        world.server.faults().on(SYNC, HttpFault::html(200));
        let found = backlog(&mut read(&bob).await).await;
        assert_eq!(words(&found), numbers(0..3), "{profile:?}: all before the end is told");
    }
}

#[tokio::test]
async fn a_page_for_people_between_two_pages_of_the_backlog_is_asked_for_again() {
    let world = World::new().await;
    let bob = drained_unread(&world, 1).await;
    world.server.faults().on(SYNC, HttpFault::passing());
    world.server.faults().repeat(SYNC, 2, HttpFault::html(200));
    let found = backlog(&mut read(&bob).await).await;
    assert_eq!(words(&found), numbers(0..3));
}

#[tokio::test]
async fn a_list_that_is_none_for_long_is_an_error_and_costs_neither_socket_nor_message() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let bob = drained_unread(&world, 100).await;
        world.server.faults().repeat(SYNC, 1_000, HttpFault::html(200));
        let mut events = read(&bob).await;
        let error = loop {
            match within(futures_util::StreamExt::next(&mut events)).await.expect("it ends with an error") {
                Ok(event) => assert_ne!(event, Event::CaughtUp, "{profile:?}: nobody knows what waits"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
        assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
        assert_eq!(world.server.sockets("bob"), 1, "{profile:?}: the socket stays");
        world.server.faults().clear();
        let found = backlog(&mut read(&bob).await).await;
        assert_eq!(words(&found), numbers(0..3), "{profile:?}");
    }
}

#[tokio::test]
async fn a_session_survives_a_list_that_is_none_for_long() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        drop(drained_unread(&world, 100).await);
        world.server.until_sockets("bob", 0).await;
        let alice = world.attach("alice").await;
        world.server.faults().repeat(SYNC, 9, HttpFault::html(200));
        let backoff = BackoffPolicy::new().with_base(Duration::from_millis(20));
        let session =
            ResilientConnector::new(world.connector("bob"), ResilientOptions::new().with_reconnect(backoff));
        let bob = session.connect().await.expect("attached");
        let mut events = read(&bob).await;
        say(&alice, &bob, "3").await;
        let mut found = Vec::new();
        while found.len() < if profile == Profile::Current { 4 } else { 1 } {
            found.push(word(&message(&mut events).await));
        }
        // What an older server wrote to the attachment before is not its to bring again.
        let expected = if profile == Profile::Current { numbers(0..4) } else { numbers(3..4) };
        assert_eq!(found, expected, "{profile:?}");
    }
}

/// More than are kept for a reader.
const STORED: u64 = 5_000;

fn row(number: u64, stored: bool) -> String {
    let delivery =
        if stored { format!(r#","delivery_id":"del_{number}","status":"stored""#) } else { String::new() };
    format!(
        r#"{{"id":"m{number}","conversation_id":"conv_1","seq":{number},"sender":"alice","content":{{"text":"{number}"}}{delivery}}}"#
    )
}

fn after(path: &str, name: &str) -> u64 {
    let value = path.split(name).nth(1).map(|rest| rest.trim_start_matches("del_"));
    value.and_then(|rest| rest.split('&').next()?.parse().ok()).unwrap_or(0)
}

fn page(after: u64, stored: bool) -> Vec<u8> {
    let rows: Vec<String> = (after + 1..=(after + 200).min(STORED)).map(|n| row(n, stored)).collect();
    json(&format!("[{}]", rows.join(",")))
}

#[tokio::test]
async fn a_page_for_people_costs_a_reader_that_is_behind_nothing() {
    let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let wait = Arc::clone(&go);
    let rest = move |method: &str, path: &str| match path {
        path if path.starts_with("/v1/messages/sync") => {
            // Nothing at first, so that everything comes over the socket, and then every second answer is none.
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => json("[]"),
                number if number % 2 == 1 => answer("200 OK", "content-type: text/html\r\n", "<html>"),
                _ => page(after(path, "after="), true),
            }
        }
        path => quiet(method, path),
    };
    let server = Scripted::start(
        Arc::new(rest),
        Arc::new(move |_, mut line| {
            let wait = Arc::clone(&wait);
            Box::pin(async move {
                line.greet("[\"ack\"]").await;
                wait.notified().await;
                for number in 1..=STORED {
                    line.text(format!(r#"{{"type":"message.new","payload":{}}}"#, row(number, false))).await;
                }
                line.text(r#"{"type":"zebra.event"}"#).await;
                line.listen(LONG).await;
            })
        }),
    )
    .await;
    let connector = server.connector();
    let mut frames = connector.frames();
    let bob = within(connector.connect()).await.expect("attached");
    let mut events =
        bob.subscribe(SubscribeOptions::own().with_max_unsettled(50)).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    go.notify_one();
    // Nobody takes the messages, and what finds no room is left on the server: so what is behind them comes.
    assert!(matches!(within(frames.next()).await, Pushed::Frame(_)));
    for number in 1..=STORED {
        let delivery = message(&mut events).await;
        assert_eq!(word(&delivery), number.to_string());
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
}

#[tokio::test]
async fn a_slow_reader_of_an_older_server_loses_nothing_with_its_socket() {
    let rest = |method: &str, path: &str| match path {
        path if path.starts_with("/v1/messages/conv_1") => page(after(path, "after_seq="), false),
        path => quiet(method, path),
    };
    // Everything is written to the first socket, and counts as delivered.
    let server = Scripted::start(
        Arc::new(rest),
        Arc::new(move |number, mut line| {
            Box::pin(async move {
                line.greet("[]").await;
                for number in (1..=STORED).filter(|_| number == 0) {
                    line.text(format!(r#"{{"type":"message.new","payload":{}}}"#, row(number, false))).await;
                }
                line.listen(LONG).await;
            })
        }),
    )
    .await;
    let config = server.config().with_keepalive(Duration::from_secs(1), Duration::from_secs(1));
    let connector = AgentChatConnector::new(config.build().expect("valid")).expect("made");
    let bob = within(connector.connect()).await.expect("attached");
    let mut events = bob.subscribe(SubscribeOptions::own().with_max_unsettled(1)).await.expect("read").events;
    let first = message(&mut events).await;
    assert_eq!(word(&first), "1");
    bob.ack(&[first.tag]).await.expect("settled");
    assert_eq!(word(&message(&mut events).await), "2");
    // Unread for so long that it is given up.
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected);
    drop((events, bob));
    let bob = within(connector.connect()).await.expect("attached again");
    let mut events = bob.subscribe(SubscribeOptions::own().with_max_unsettled(1)).await.expect("read").events;
    for number in 3..=STORED {
        let delivery = message(&mut events).await;
        assert_eq!(word(&delivery), number.to_string());
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
}

#[tokio::test]
async fn what_an_older_server_writes_before_its_greeting_comes_behind_it() {
    const EARLY: u64 = 1_000;
    let server = Scripted::live(|_, mut line| async move {
        for number in 1..=EARLY {
            line.text(pushed(&format!("m{number}"), number, &number.to_string())).await;
        }
        line.greet("[]").await;
        line.listen(LONG).await;
    })
    .await;
    let bob = within(server.connector().connect()).await.expect("attached");
    let mut events = read(&bob).await;
    for number in 1..=EARLY {
        let delivery = message(&mut events).await;
        assert_eq!(word(&delivery), number.to_string());
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
}

#[tokio::test]
async fn what_an_older_server_writes_before_a_greeting_that_fails_comes_with_the_next_socket() {
    let server = Scripted::live(|number, mut line| async move {
        if number == 0 {
            for number in 1..=30 {
                line.text(pushed(&format!("m{number}"), number, &number.to_string())).await;
            }
            return line.close().await;
        }
        line.greet("[]").await;
        line.listen(LONG).await;
    })
    .await;
    let connector = server.connector();
    let error = within(connector.connect()).await.expect_err("it was closed");
    assert!(error.is_retryable(), "{error:?}");
    let bob = within(connector.connect()).await.expect("attached");
    let expected: Vec<String> = (1..=30).map(|number| number.to_string()).collect();
    assert_eq!(words(&backlog(&mut read(&bob).await).await), expected);
}

#[tokio::test]
async fn holes_in_thousands_of_conversations_ask_history_a_few_at_a_time() {
    const CONVERSATIONS: u64 = 5_000;
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let server = Scripted::live(move |_, mut line| {
        let wait = Arc::clone(&wait);
        async move {
            line.greet("[]").await;
            wait.notified().await;
            for (number, seq) in (0..CONVERSATIONS).flat_map(|number| [(number, 1), (number, 3)]) {
                let row = format!(
                    r#"{{"id":"m{number}-{seq}","conversation_id":"conv_{number}","seq":{seq},"sender":"alice"}}"#
                );
                line.text(format!(r#"{{"type":"message.new","payload":{row}}}"#)).await;
            }
            line.listen(LONG).await;
        }
    })
    .await;
    server.answer_slowly();
    let bob = within(server.connector().connect()).await.expect("attached");
    let options = SubscribeOptions::own().with_max_unsettled(100_000).with_max_unsettled_bytes(1 << 30);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    go.notify_one();
    let mut seqs = std::collections::HashMap::<_, Vec<u64>>::new();
    for _ in 0..2 * CONVERSATIONS {
        let delivery = message(&mut events).await;
        seqs.entry(delivery.conversation).or_default().extend(delivery.seq);
    }
    assert_eq!(seqs.len() as u64, CONVERSATIONS);
    assert!(seqs.values().all(|seqs| *seqs == [1, 3]), "each in order");
    // Questions may still be on their way: what was waited for long enough went on without.
    within(async {
        while server.asked() < 200 {
            let _ =
                tokio::time::timeout(Duration::from_millis(20), futures_util::StreamExt::next(&mut events))
                    .await;
        }
    })
    .await;
    let most = server.most_at_once();
    assert!((2..=8).contains(&most), "{most} questions at once");
}

#[tokio::test]
async fn a_hole_that_is_open_when_an_older_servers_socket_ends_is_looked_for_behind_the_next_one() {
    let go = Arc::new(Notify::new());
    let (wait, asked) = (Arc::clone(&go), Arc::new(AtomicUsize::new(0)));
    let over = Arc::new(Notify::new());
    let end = Arc::clone(&over);
    let rest = move |method: &str, path: &str| match path {
        // The first time it has no time for it.
        path if path.starts_with("/v1/messages/conv_1") && asked.fetch_add(1, Ordering::Relaxed) == 0 => {
            over.notify_one();
            answer("503 Service Unavailable", "", "")
        }
        path if path.starts_with("/v1/messages/conv_1") => {
            let rows: Vec<_> = (after(path, "after_seq=") + 1..=4).map(|number| row(number, false)).collect();
            json(&format!("[{}]", rows.join(",")))
        }
        path => quiet(method, path),
    };
    let server = Scripted::start(
        Arc::new(rest),
        Arc::new(move |number, mut line| {
            let (wait, end) = (Arc::clone(&wait), Arc::clone(&end));
            Box::pin(async move {
                line.greet("[]").await;
                if number == 0 {
                    wait.notified().await;
                    for number in [1, 4] {
                        line.text(format!(r#"{{"type":"message.new","payload":{}}}"#, row(number, false)))
                            .await;
                    }
                    end.notified().await;
                    return line.close().await;
                }
                line.listen(LONG).await;
            })
        }),
    )
    .await;
    let connector = server.connector();
    let bob = within(connector.connect()).await.expect("attached");
    let mut events = read(&bob).await;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    go.notify_one();
    assert_eq!(word(&message(&mut events).await), "1");
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected);
    let bob = within(connector.connect()).await.expect("attached again");
    assert_eq!(words(&backlog(&mut read(&bob).await).await), ["2", "3", "4"]);
}
