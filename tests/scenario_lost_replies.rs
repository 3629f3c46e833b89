//! Replies that get lost, are cut in the middle, or do not come: what the broker accepted is delivered, what
//! it did not is reported, and repeating the same message is always safe.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, ErrorKind, Outbound, Query, Reached, ServeOptions,
};
use mq9_client::testing::{Broker, WireProfile};
use mq9_client::{ConsumerOptions, FetchOptions, Message, Pacing};
use support::{
    MS, SECOND, broker, connector, connector_with, create, fast_client, impatient, next, notes, start, text,
    until, up_to, within,
};

#[tokio::test]
async fn a_send_whose_answer_was_lost_may_be_repeated_and_is_handled_once() {
    for broker in support::both_wires().await {
        let sender = start(&connector_with(&broker, "sender", impatient(250 * MS))).await;
        let reader = start(&connector(&broker, "reader")).await;
        let message = text(reader.address(), "once");
        broker.faults().drop_replies("MSG.SEND", 1);
        let begun = Instant::now();
        let error = sender.send(&message).await.expect_err("no answer");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::Unknown));
        assert_eq!(error.to_string(), "send: MSG.SEND: no reply within 250ms");
        assert!(error.is_retryable() && begun.elapsed() < 2 * SECOND);
        sender.send(&message).await.expect("accepted");
        sender.send(&text(reader.address(), "end")).await.expect("accepted");
        assert_eq!(broker.host().counts().sends, 3, "the broker itself stored it twice");
        let (handler, mut heard) = notes();
        let one = ServeOptions::default().with_concurrency(1);
        let _serving = reader.serve(handler, one).await.expect("served");
        assert_eq!(up_to(&mut heard, "end").await, ["once", "end"]);
    }
}

#[tokio::test]
async fn a_reply_cut_at_any_byte_loses_nothing_and_repeats_nothing() {
    let broker = broker().await;
    let sending = connector(&broker, "sender");
    let reader = start(&connector(&broker, "reader")).await;
    let (handler, mut heard) = notes();
    let _serving = reader.serve(handler, ServeOptions::default()).await.expect("served");
    let (mut at, mut cuts) = (0, BTreeMap::new());
    // Further and further into an exchange of connecting and two sends, until the cut falls behind it.
    loop {
        assert!(at < 2_000, "the exchange never got through");
        broker.faults().cut_after_bytes(at);
        let attempt = within(10, "an attempt", exchange(&sending, &reader, at)).await;
        broker.faults().clear();
        let Err(error) = attempt else { break };
        assert_eq!(error.kind(), ErrorKind::Disconnected, "at byte {at}: {error}");
        assert!(error.is_retryable());
        *cuts.entry((error.operation(), error.reached() == Reached::No)).or_insert(0) += 1;
        within(10, "the repetition", exchange(&sending, &reader, at)).await.expect("not cut any more");
        at += 1;
    }
    assert!(cuts.contains_key(&("connect", true)) && cuts.contains_key(&("send", false)), "{cuts:?}");
    let mut seen = Vec::new();
    while seen.len() < 2 * (at as usize + 1) {
        seen.push(next(&mut heard).await);
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "handled twice");
    assert!(heard.try_recv().is_err(), "handled more than was sent");
}

/// Connects and sends the two messages that belong to `at`, always under the same ids.
async fn exchange(
    sending: &transport_mq9::Mq9Connector,
    reader: &Agent,
    at: u64,
) -> agentchat_core::Result<()> {
    let sender = Agent::builder(sending.clone()).start().await?;
    for part in ["a", "b"] {
        let name = format!("{at}.{part}");
        let id = agentchat_core::ClientMsgId::derived("exchange", &name);
        sender.send(&Outbound::new(reader.address().clone(), Body::text(name)).with_id(id)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_consumer_cut_at_any_byte_hands_out_every_message_once() {
    let broker = broker().await;
    let steady = fast_client(&broker.url()).await;
    let inbox = create(&steady, "inbox").await;
    let reading = fast_client(&broker.url()).await;
    let pacing = Pacing::default().with_backoff(MS, 5 * MS);
    let options = ConsumerOptions::new("workers").with_pacing(pacing).with_ack_every(2, 5 * MS);
    let mut consumer = reading.consume(&inbox, options.clone()).await.expect("consumed");
    let acker = consumer.acker();
    let mut seen = Vec::new();
    for at in 0..250_u64 {
        broker.faults().cut_open_after_bytes(at);
        let message = Message::new(at.to_string());
        until("the broker's yes", async || steady.send(&inbox, &message).await.is_ok()).await;
        // A repeated send may have stored it twice: each is a message of its own here.
        loop {
            let delivered = within(10, "the next message", consumer.next()).await.expect("goes on");
            let delivered = delivered.expect("cuts are outlived");
            acker.settle(delivered.id());
            seen.push(delivered.id());
            if delivered.message.payload == at.to_string() {
                break;
            }
        }
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "handed out twice");
    assert!(consumer.stats().temporary_errors > 50, "few cuts met it: {:?}", consumer.stats());
    let closed = within(15, "closing", consumer.close(10 * SECOND)).await;
    assert!(closed.acknowledged, "{closed:?}");
    let all = FetchOptions::stateless().with_num_msgs(1_000);
    let all = fast_client(&broker.url()).await.fetch(&inbox, &all).await.expect("fetched");
    // Only a second copy of the last message may have come too late to be handed out.
    let last = seen.iter().max().expect("messages");
    let lost: Vec<_> =
        all.iter().map(|row| row.id).filter(|id| id < last && !distinct.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_broker_that_stalls_ends_each_call_by_its_timeout_and_serving_goes_on_afterwards() {
    let broker = Broker::builder().wire(WireProfile::RobustMq).start().await.expect("a broker");
    let sender = start(&connector_with(&broker, "sender", impatient(200 * MS))).await;
    let reader = start(&connector_with(&broker, "reader", impatient(200 * MS))).await;
    let (handler, mut heard) = notes();
    let one = ServeOptions::default().with_concurrency(1);
    let _serving = reader.serve(handler, one).await.expect("served");
    sender.send(&text(reader.address(), "before")).await.expect("accepted");
    assert_eq!(next(&mut heard).await, "before");

    broker.faults().stall_until_released();
    let begun = Instant::now();
    let message = text(reader.address(), "during");
    let error = sender.send(&message).await.expect_err("no answer");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::Unknown));
    let error = sender.discover(&Query::all()).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let asked = CallRequest::new(Body::text("anyone?")).with_timeout(30 * SECOND);
    let error = sender.call(reader.address(), asked).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() < 4 * SECOND, "only after {:?}", begun.elapsed());

    broker.faults().release();
    until("the broker's yes", async || sender.send(&message).await.is_ok()).await;
    sender.send(&text(reader.address(), "after")).await.expect("accepted");
    assert_eq!(up_to(&mut heard, "after").await, ["during", "after"], "serving went on by itself");
    let closed = within(10, "closing", reader.close(CloseMode::Detach, SECOND)).await;
    assert!(closed.expect("closed").drained);
}
