//! What an older server brought over sockets that nobody read: kept within bounds, and what finds no room there is
//! found in history.
#![cfg(feature = "test-server")]

mod scripted;
mod ws_support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{Connector, Delivery, Event, SubscribeOptions};
use scripted::{Scripted, json, quiet};
use ws_support::{ending, message, next, read, within};

const LONG: Duration = Duration::from_secs(30);

fn row(conversation: usize, seq: usize, text: &str) -> String {
    format!(
        r#"{{"id":"m{conversation}-{seq}","conversation_id":"conv_{conversation}","seq":{seq},"sender":"alice","content":{{"text":"{text}"}}}}"#
    )
}

fn pushed(row: &str) -> String {
    format!(r#"{{"type":"message.new","payload":{row}}}"#)
}

/// Of a request for a page of history: the conversation, and the number behind which it begins.
fn asked(path: &str) -> Option<(usize, usize)> {
    let rest = path.strip_prefix("/v1/messages/conv_")?;
    let after = rest.split("after_seq=").nth(1)?.split('&').next()?;
    Some((rest.split('?').next()?.parse().ok()?, after.parse().ok()?))
}

/// At most 200 rows of those that are there.
fn page(rows: impl Iterator<Item = String>) -> Vec<u8> {
    json(&format!("[{}]", rows.take(200).collect::<Vec<_>>().join(",")))
}

/// The numbers that came, by conversations.
fn seqs(deliveries: &[Delivery]) -> BTreeMap<String, Vec<u64>> {
    let mut seqs = BTreeMap::<_, Vec<u64>>::new();
    for delivery in deliveries {
        let id = delivery.id.as_str();
        let (conversation, _) = id.split_once('-').expect("of two parts");
        seqs.entry(conversation.to_owned()).or_default().extend(delivery.seq);
    }
    seqs
}

#[tokio::test]
async fn rows_of_sockets_that_were_never_live_are_found_in_history_once_there_is_no_room_for_them() {
    // More than a socket is left open for before its greeting is answered.
    const MANY: usize = 10_001;
    let rest = |method: &str, path: &str| match asked(path) {
        Some((0, after)) => page((after + 1..=2 * MANY).map(|seq| row(0, seq, "x"))),
        Some((1, after)) => page((after + 1..=5).map(|seq| row(1, seq, "x"))),
        _ => quiet(method, path),
    };
    let server = Scripted::start(
        Arc::new(rest),
        Arc::new(move |number, mut line| {
            Box::pin(async move {
                let early: Vec<_> = match number {
                    0 | 1 => (1..=MANY).map(|seq| row(0, number * MANY + seq, "x")).collect(),
                    2 => (1..=5).map(|seq| row(1, seq, "x")).collect(),
                    _ => Vec::new(),
                };
                for row in &early {
                    line.text(pushed(row)).await;
                }
                if !early.is_empty() {
                    return line.close().await;
                }
                line.greet("[]").await;
                line.listen(LONG).await;
            })
        }),
    )
    .await;
    let connector = server.connector();
    for _ in 0..3 {
        let error = within(connector.connect()).await.expect_err("no socket is live");
        assert!(error.is_retryable(), "{error:?}");
    }
    let bob = within(connector.connect()).await.expect("attached");
    let options = SubscribeOptions::own().with_max_unsettled(100_000).with_max_unsettled_bytes(1 << 30);
    let mut events = bob.subscribe(options).await.expect("read").events;
    let mut found = Vec::new();
    while let Event::Message(delivery) = next(&mut events).await {
        if found.len() % 1_000 == 999 {
            let tags: Vec<_> =
                found[found.len() - 999..].iter().map(|it: &Delivery| it.tag.clone()).collect();
            bob.ack(&tags).await.expect("settled");
        }
        found.push(delivery);
    }
    let seqs = seqs(&found);
    let expected = |most: usize| (1..=most as u64).collect::<Vec<_>>();
    assert!(seqs["m0"] == expected(2 * MANY), "{} of {} came in order", seqs["m0"].len(), 2 * MANY);
    assert_eq!(seqs.get("m1"), Some(&expected(5)), "of a conversation that was not known before");
    assert_eq!(connector.receive_stats().unkept_rows, 0);
}

#[tokio::test]
async fn what_was_lost_in_many_conversations_is_looked_for_in_pieces_and_comes_in_order() {
    const CONVERSATIONS: usize = 40;
    /// Of 32 KiB each, but for the first one and the last.
    const ROWS: usize = 22;
    let looked = Arc::new(Mutex::new(BTreeSet::new()));
    let looking = Arc::clone(&looked);
    let large = "x".repeat(32 * 1024);
    let rest = move |method: &str, path: &str| match asked(path) {
        Some((conversation, after)) => {
            looking.lock().expect("no panic").insert(conversation);
            page((after + 1..=ROWS).map(|seq| row(conversation, seq, &large)))
        }
        None => quiet(method, path),
    };
    // The rows between are lost with the first socket.
    let server = Scripted::start(
        Arc::new(rest),
        Arc::new(move |number, mut line| {
            Box::pin(async move {
                line.greet("[]").await;
                let seq = if number == 0 { 1 } else { ROWS };
                for conversation in 0..CONVERSATIONS {
                    line.text(pushed(&row(conversation, seq, "x"))).await;
                }
                if number > 0 {
                    line.listen(LONG).await;
                }
            })
        }),
    )
    .await;
    let connector = server.connector();
    let bob = within(connector.connect()).await.expect("attached");
    let mut events = read(&bob).await;
    assert!(ending(&mut events).await.is_retryable());
    drop((events, bob));
    let bob = within(connector.connect()).await.expect("attached again");
    let mut events = bob.subscribe(SubscribeOptions::own().with_max_unsettled(1)).await.expect("read").events;
    let mut found = vec![message(&mut events).await];
    let first = looked.lock().expect("no panic").len();
    assert!(first < CONVERSATIONS / 2, "{first} conversations were read before anything was handed out");
    loop {
        bob.ack(&[found.last().expect("one").tag.clone()]).await.expect("settled");
        match next(&mut events).await {
            Event::Message(delivery) => found.push(delivery),
            Event::CaughtUp => break,
            other => panic!("{other:?}"),
        }
    }
    let seqs = seqs(&found);
    assert_eq!(seqs.len(), CONVERSATIONS);
    let expected: Vec<_> = (1..=ROWS as u64).collect();
    for (conversation, seqs) in seqs {
        // What was handed out over the first socket and not settled comes again.
        assert_eq!(seqs, expected, "{conversation}");
    }
    assert!(found.iter().all(|delivery| !delivery.late), "each in its place");
    assert_eq!(looked.lock().expect("no panic").len(), CONVERSATIONS);
}
