//! What reads an agent's own inbox and what serves it are two tasks. Room that the one makes while the other
//! looks is not missed: otherwise messages stay behind although nothing is in their way.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agentchat_core::{Loopback, LoopbackFaults, Request, ServeOptions};
use support::{start, text};
use tokio::sync::Notify;

const ROUNDS: u32 = 200;
const MESSAGES: u32 = 200;

/// Only threads that run at once can meet in the moment between the look and the waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn room_that_a_serving_makes_while_its_intake_looks_leaves_no_message_behind() {
    for round in 0..ROUNDS {
        let network = Loopback::with_faults(LoopbackFaults::seeded(u64::from(round)).with_one_inbox());
        let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
        for number in 0..MESSAGES {
            alice.send(&text(&bob, &number.to_string())).await.expect("accepted");
        }
        let (handled, all) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let (count, done) = (Arc::clone(&handled), Arc::clone(&all));
        let handler = move |_: Request| {
            let (count, done) = (Arc::clone(&count), Arc::clone(&done));
            async move {
                if count.fetch_add(1, Ordering::SeqCst) + 1 == MESSAGES {
                    done.notify_one();
                }
                Ok(())
            }
        };
        let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
        let waited = tokio::time::timeout(Duration::from_secs(20), all.notified()).await;
        let handled = handled.load(Ordering::SeqCst);
        assert!(waited.is_ok(), "round {round}: {handled} of {MESSAGES} were handled");
    }
}
