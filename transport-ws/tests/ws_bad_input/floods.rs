//! More at once than a reader takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentchat_core::{Connector, SubscribeOptions};

use crate::key_log::no_key_is_told;
use crate::scripted::{Scripted, json, pushed, quiet};
use crate::ws_support::{message, within, word};
use crate::{GRANTS, LONG, MILLI};

#[tokio::test]
async fn ten_thousand_frames_at_once_lose_no_message() {
    for granted in GRANTS {
        let rest = Arc::new(|method: &str, path: &str| match path {
            // What is not taken from the socket is on the server still.
            path if path.starts_with("/v1/messages/sync") => {
                let after = path.split("after=del_").nth(1).and_then(|it| it.parse::<u64>().ok());
                let after = after.unwrap_or(0);
                let rows: Vec<String> =
                    (after + 1..=(after + 200).min(STORED)).map(|n| row(n, true)).collect();
                json(&format!("[{}]", rows.join(",")))
            }
            path => quiet(method, path),
        });
        let server = Scripted::start(
            rest,
            Arc::new(move |_, mut line| {
                Box::pin(async move {
                    line.greet(granted).await;
                    for number in 1..=10_000 {
                        let frame = match number <= STORED {
                            true => format!(r#"{{"type":"message.new","payload":{}}}"#, row(number, false)),
                            false => format!(r#"{{"type":"zebra.{number}","payload":[]}}"#),
                        };
                        line.text(frame).await;
                    }
                    line.listen(LONG).await;
                })
            }),
        )
        .await;
        let bob = within(server.connector().connect()).await.expect("attached");
        let options = SubscribeOptions::own().with_max_unsettled(50);
        let mut events = bob.subscribe(options).await.expect("read").events;
        for number in 1..=STORED {
            let delivery = message(&mut events).await;
            assert_eq!(word(&delivery), number.to_string(), "{granted}");
            bob.ack(&[delivery.tag]).await.expect("settled");
        }
        no_key_is_told();
    }
}

/// More than are kept for a reader.
const STORED: u64 = 2_500;

fn row(number: u64, stored: bool) -> String {
    let delivery =
        if stored { format!(r#","delivery_id":"del_{number}","status":"stored""#) } else { String::new() };
    format!(
        r#"{{"id":"m{number}","conversation_id":"conv_1","seq":{number},"sender":"alice","content":{{"text":"{number}"}}{delivery}}}"#
    )
}

#[tokio::test]
async fn a_flood_that_nobody_reads_is_held_back_and_not_kept() {
    let written = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&written);
    let server = Scripted::live(move |_, mut line| {
        let written = Arc::clone(&counting);
        async move {
            line.greet("[]").await;
            let large = "x".repeat(32 * 1024);
            for number in 1..=1_500 {
                line.text(pushed(&format!("m{number}"), number, &large)).await;
                written.fetch_add(1, Ordering::Relaxed);
            }
            line.listen(LONG).await;
        }
    })
    .await;
    let bob = within(server.connector().connect()).await.expect("attached");
    // It is still when nothing more is written for a while. No event tells that a writer will not go on, so this
    // is a quiet window; on a busy machine it may end too early, which only asks less.
    within(async {
        let mut before = 0;
        loop {
            tokio::time::sleep(300 * MILLI).await;
            let now = written.load(Ordering::Relaxed);
            if now == before && now > 0 {
                return;
            }
            before = now;
        }
    })
    .await;
    let kept = written.load(Ordering::Relaxed);
    assert!(kept < 1_000, "{kept} messages of 32 KiB are taken in, though nobody reads");
    let options = SubscribeOptions::own().with_max_unsettled(10_000).with_max_unsettled_bytes(1 << 30);
    let mut events = bob.subscribe(options).await.expect("read").events;
    for number in 1..=1_500 {
        assert_eq!(message(&mut events).await.id.as_str(), format!("m{number}"));
    }
}
