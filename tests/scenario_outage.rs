//! The broker is down at the start, goes away in the middle, and comes back.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use agentchat_core::{
    Advice, Body, CallRequest, CloseMode, Connector, ConversationId, ErrorKind, Reached, Request,
    ServeOptions,
};
use mq9_client::testing::Broker;
use mq9_client::{Client, ConsumerOptions, Message};
use support::{
    MS, SECOND, Scratch, broker, connector, connector_with, create, impatient, next, notes, start, text,
    until, within,
};
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_broker_that_is_down_at_the_start_is_said_at_once_and_the_connector_works_later() {
    let mut broker = broker().await;
    let connector = connector(&broker, "early");
    broker.down().await.expect("down");
    let begun = Instant::now();
    let error = within(5, "connecting", connector.connect()).await.expect_err("nothing listens");
    assert!(begun.elapsed() < 2 * SECOND, "only after {:?}", begun.elapsed());
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::No));
    assert_eq!((error.advice(), error.is_fatal()), (Advice::Reconnect, false));
    assert_eq!(error.to_string(), format!("connect: {} cannot be reached", broker.url()));
    broker.up().await.expect("up");
    start(&connector).await;
}

#[tokio::test]
async fn a_broker_that_hangs_at_the_start_is_a_timeout_that_names_itself() {
    let broker = broker().await;
    broker.faults().stall_until_released();
    let connector = connector_with(&broker, "early", impatient(200 * MS));
    let error = within(5, "connecting", connector.connect()).await.expect_err("no answer");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::No));
    assert!(error.to_string().contains("did not answer"), "{error}");
    broker.faults().release();
    start(&connector).await;
}

#[tokio::test]
async fn a_broker_gone_in_the_middle_of_a_call_ends_it_at_once_and_the_request_is_kept() {
    let mut broker = broker().await;
    let (asking, working) = (connector(&broker, "asker"), connector(&broker, "worker"));
    let (asker, worker) = (start(&asking).await, start(&working).await);
    let (told, mut begun) = tokio::sync::mpsc::channel(4);
    let stuck = move |_request: Request| {
        let told = told.clone();
        async move {
            told.send(()).await?;
            std::future::pending().await
        }
    };
    let serving = worker.serve(stuck, ServeOptions::default()).await.expect("served");
    let request = CallRequest::new(Body::text("think")).with_timeout(60 * SECOND);
    let call = asker.call(worker.address(), request).await.expect("the request is stored");
    next(&mut begun).await;

    let cut = Instant::now();
    broker.down().await.expect("down");
    let error = within(5, "the call", call.response()).await.expect_err("the broker is gone");
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
    assert!(error.to_string().contains("the reply inbox can no longer be read"), "{error}");
    assert!(cut.elapsed() < 3 * SECOND, "only after {:?}", cut.elapsed());
    let error = asker.send(&text(worker.address(), "x")).await.expect_err("the broker is gone");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::No));
    // The handler that hangs is dropped with the serving; its message is not settled.
    let served = within(10, "serving", serving.stop(200 * MS)).await;
    assert!(served.error.is_some(), "serving ends with the reason");

    broker.up().await.expect("up");
    drop((asker, worker));
    let worker = start(&working).await;
    let (handler, mut heard) = notes();
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(next(&mut heard).await, "think");
}

#[tokio::test]
async fn a_send_that_meets_the_cut_says_whether_it_may_have_arrived() {
    let mut broker = broker().await;
    let (sending, reading) = (connector(&broker, "sender"), connector(&broker, "reader"));
    let (sender, reader) = (start(&sending).await, start(&reading).await);
    broker.faults().slow(150 * MS);
    let message = text(reader.address(), "in flight");
    let sends = broker.host().counts().sends;
    let (sent, ()) = tokio::join!(sender.send(&message), async {
        // The command is on its way or being carried out.
        tokio::time::sleep(50 * MS).await;
        broker.faults().cut_all();
    });
    let error = sent.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
    assert!(matches!(error.reached(), Reached::Unknown | Reached::No));
    if error.reached() == Reached::No {
        assert_eq!(broker.host().counts().sends, sends, "it had reached the broker");
    }
    broker.faults().clear();
    broker.restart().await.expect("restarted");
    // Repeated as the same value, it is handled once whatever happened.
    let (sender, reader) = (start(&sending).await, start(&reading).await);
    sender.send(&message).await.expect("sent");
    sender.send(&text(reader.address(), "end")).await.expect("sent");
    let (handler, mut heard) = notes();
    let one = ServeOptions::default().with_concurrency(1);
    let _serving = reader.serve(handler, one).await.expect("served");
    assert_eq!(support::up_to(&mut heard, "end").await, ["in flight", "end"]);
}

#[tokio::test]
async fn a_new_agent_on_the_same_connector_gets_everything_unsettled_in_order() {
    let scratch = Scratch::new("outage");
    let mut broker = Broker::builder().data_dir(scratch.path()).start().await.expect("a broker");
    let (sending, reading) = (connector(&broker, "sender"), connector(&broker, "reader"));
    let (sender, reader) = (start(&sending).await, start(&reading).await);
    let talk = ConversationId::new("talk").expect("valid");
    for number in 0..20 {
        let message = text(reader.address(), number.to_string()).with_conversation(talk.clone());
        sender.send(&message).await.expect("sent");
    }
    // The first five are handled, the sixth hangs.
    let gate = Arc::new(Semaphore::new(5));
    let (told, mut heard) = tokio::sync::mpsc::channel(64);
    let handler = move |request: Request| {
        let (gate, told) = (Arc::clone(&gate), told.clone());
        async move {
            gate.acquire().await?.forget();
            Ok(told.send(request.body().as_str().unwrap_or_default().to_owned()).await?)
        }
    };
    let serving = reader.serve(handler, ServeOptions::default()).await.expect("served");
    for number in 0..5 {
        assert_eq!(next(&mut heard).await, number.to_string());
    }
    broker.restart().await.expect("restarted, from disk");
    let served = within(10, "serving", serving.stop(200 * MS)).await;
    assert!(served.error.is_some(), "serving ends with the reason");
    drop((sender, reader));

    let reader = start(&reading).await;
    assert_eq!(reader.address(), reading.address(), "the same inbox");
    let (handler, mut heard) = notes();
    let _serving = reader.serve(handler, ServeOptions::default()).await.expect("served");
    let again = support::up_to(&mut heard, "19").await;
    // Of the five, those whose acknowledgement was lost may come once more; no other may be missing.
    let first: usize = again[0].parse().expect("a number");
    assert!(first <= 5, "lost: {:?}", 5..first);
    assert_eq!(again, (first..20).map(|number| number.to_string()).collect::<Vec<_>>());
    reader.close(CloseMode::Detach, SECOND).await.expect("closed");
}

#[tokio::test]
async fn a_client_and_its_consumer_outlive_outages_by_themselves_and_double_nothing() {
    let scratch = Scratch::new("consumer");
    let mut broker = Broker::builder().data_dir(scratch.path()).start().await.expect("a broker");
    let client = Client::connect(&broker.url()).await.expect("connects");
    let inbox = create(&client, "inbox").await;
    let mut consumer = client.consume(&inbox, ConsumerOptions::new("workers")).await.expect("consumed");
    let acker = consumer.acker();
    let mut seen = Vec::new();
    let mut unsettled = Vec::new();
    for round in 0..4 {
        for number in 0..10 {
            let message = Message::new(format!("{round}.{number}"));
            // A failed send may have been stored; this test counts what the broker said yes to.
            until("sending", async || client.send(&inbox, &message).await.is_ok()).await;
        }
        while seen.len() < (round + 1) * 10 {
            let delivered = within(20, "the next message", consumer.next()).await.expect("goes on");
            let delivered = delivered.expect("no error ends the stream");
            assert_eq!(delivered.attempt, 1);
            // One in five stays in hand over the outage.
            if delivered.id().get() % 5 == 4 {
                unsettled.push(delivered.id());
            } else {
                acker.settle(delivered.id());
            }
            seen.push(delivered.id());
        }
        match round {
            0 => {
                broker.down().await.expect("down");
                client.send(&inbox, &Message::new("lost")).await.expect_err("down");
                broker.up().await.expect("up");
            }
            1 => broker.restart().await.expect("restarted, from disk"),
            2 => broker.faults().cut_all(),
            _ => {}
        }
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (40, 40), "each message once");
    assert!(consumer.stats().temporary_errors > 0, "the consumer met the outages");
    acker.settle_all(unsettled);
    let closed = within(10, "closing", consumer.close(5 * SECOND)).await;
    assert!(closed.acknowledged && closed.unsettled.is_empty(), "{closed:?}");
    let mut rest = client.consume(&inbox, ConsumerOptions::new("workers")).await.expect("consumed");
    client.send(&inbox, &Message::new("new")).await.expect("sent");
    let first = within(10, "the next message", rest.next()).await.expect("goes on").expect("no error");
    assert_eq!(first.message.payload, "new", "nothing settled comes again");
}
