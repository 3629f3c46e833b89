//! A producer that is faster than its network: nothing is dropped, and memory stays within the bounds.

use std::time::{Duration, Instant};

use agentchat_core::{
    Body, Connector, ConversationId, ErrorKind, Event, Loopback, Outbound, OutboxLimits, Resilient,
    ResilientOptions, SubscribeOptions,
};
use futures_util::StreamExt;

const MESSAGES: usize = 100_000;
const CONVERSATIONS: usize = 100;
/// Of each message: all of them at once would be 100 MiB.
const SIZE: usize = 1_024;
/// In messages: the sender's queue, the network's inbox, the reader's hand.
const QUEUED: usize = 1_000;
const STORED: usize = 1_000;
const UNSETTLED: usize = 200;
/// Far above what the bounds hold, far below what the messages are.
const GROWTH: u64 = 48 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_faster_than_its_network_fills_the_bounds_and_loses_nothing() {
    let network = Loopback::new().with_inbox_limits(STORED, usize::MAX);
    let reader = network.connector("reader").expect("a name").connect().await.expect("attached");
    let options = SubscribeOptions::own().with_max_unsettled(UNSETTLED);
    let mut events = reader.subscribe(options).await.expect("read").events;
    let limits = OutboxLimits::new().with_max_messages(QUEUED);
    let sender = network.connector("sender").expect("a name");
    let sender = Resilient::connect(sender, ResilientOptions::new().with_outbox(limits));
    let sender = sender.await.expect("connected");

    let reading = tokio::spawn(async move {
        let mut due = vec![0; CONVERSATIONS];
        let (mut tags, mut read) = (Vec::new(), 0);
        while read < MESSAGES {
            let Event::Message(delivery) = events.next().await.expect("it goes on").expect("no error") else {
                continue;
            };
            let number: usize = delivery.body.as_str().expect("text")[..6].parse().expect("a number");
            let conversation = number % CONVERSATIONS;
            assert_eq!(number / CONVERSATIONS, due[conversation], "lost or out of order in {conversation}");
            due[conversation] += 1;
            read += 1;
            tags.push(delivery.tag);
            // Slower than who sends: it settles in batches, with a rest before each.
            if tags.len() == UNSETTLED / 2 || read == MESSAGES {
                tokio::time::sleep(Duration::from_millis(1)).await;
                reader.ack(&std::mem::take(&mut tags)).await.expect("settled");
            }
        }
        read
    });

    let before = resident();
    let (mut most, mut refused, mut fullest) = (0, 0, 0);
    for number in 0..MESSAGES {
        let body = Body::text(format!("{number:06}{}", "x".repeat(SIZE - 6)));
        let to = agentchat_core::Address::parse("loopback://reader").expect("an address");
        let conversation = ConversationId::new(format!("c{}", number % CONVERSATIONS)).expect("an id");
        match sender.try_send(Outbound::new(to, body).with_conversation(conversation)) {
            Ok(sending) => sending.detach(),
            Err(back) => {
                refused += 1;
                let (message, error) = *back;
                assert_eq!((error.kind(), message.body.bytes.len()), (ErrorKind::Backpressure, SIZE));
                let begun = Instant::now();
                let room = async {
                    while sender.capacity().0 == 0 {
                        assert!(begun.elapsed() < Duration::from_secs(60), "no room for a minute");
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                };
                room.await;
                sender.try_send(message).expect("there is room").detach();
            }
        }
        if number % 1_000 == 0 {
            fullest = fullest.max(sender.stats().queued_messages);
            most = most.max(resident().saturating_sub(before));
        }
    }
    let read = tokio::time::timeout(Duration::from_secs(120), reading).await.expect("in time");
    assert_eq!(read.expect("no panic"), MESSAGES);
    assert!(refused > 100, "only {refused} refusals: the producer was not the faster one");
    assert!((QUEUED / 2..=QUEUED).contains(&fullest), "{fullest} messages in the queue");
    assert!(most < GROWTH, "memory grew by {most} bytes");
}

/// Bytes of resident memory, where the system tells them; else none.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}
