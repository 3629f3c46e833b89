//! What is settled is acknowledged, however the network answers.

mod support;

use std::time::Duration;

use agentchat_core::{
    Body, CloseMode, Connector, Delivery, ErrorKind, Event, EventStream, Handler, Loopback, Outbound,
    Request, Resilient, ResilientOptions, ServeOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use support::{SECOND, Scripted, soon, start, text};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A handler that tells the body of each message it settles.
fn teller() -> (impl Handler, mpsc::Receiver<String>) {
    let (handled, log) = mpsc::channel(10_000);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move { Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    (handler, log)
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_fails_is_tried_again_and_the_inbox_goes_on() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let connector = Scripted::new(&network, "bob");
    connector.change(|script| script.acks = [ErrorKind::Timeout; 5].into());
    let bob = connector.start().await;
    for number in 0..20 {
        alice.send(&text(&bob, &number.to_string())).await.expect("sent");
    }
    let (handler, mut log) = teller();
    let options = ServeOptions::default().with_subscribe(SubscribeOptions::own().with_max_unsettled(2));
    let serving = bob.serve(handler, options).await.expect("served");
    for _ in 0..20 {
        soon(log.recv()).await.expect("every message is handled, whatever became of the first batches");
    }
    let served = serving.stop(60 * SECOND).await;
    assert_eq!((served.unsettled, served.unacknowledged), (0, 0));
    bob.close(CloseMode::Detach, SECOND).await.expect("closed");
    let bob = start(&network, "bob").await;
    let mut events = bob.transport().subscribe(SubscribeOptions::own()).await.expect("opened").events;
    assert_eq!(soon(events.next()).await.expect("an event").expect("no error"), Event::CaughtUp);
}

#[tokio::test(start_paused = true)]
async fn what_could_never_be_acknowledged_is_told_and_stopping_still_ends() {
    for (kind, expected) in [(ErrorKind::Disconnected, 1), (ErrorKind::Timeout, 1)] {
        let network = Loopback::new();
        let connector = Scripted::new(&network, "bob");
        connector.change(|script| script.acks = vec![kind; 1_000].into());
        let bob = connector.start().await;
        bob.send(&text(&bob, "x")).await.expect("sent");
        let (handler, mut log) = teller();
        let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
        soon(log.recv()).await.expect("handled");
        let served = soon(serving.stop(3600 * SECOND)).await;
        assert_eq!((served.unsettled, served.unacknowledged), (0, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_acknowledgement_delays_no_handler_and_the_next_ones_go_together() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    connector.change(|script| script.ack_takes = 60 * SECOND);
    let bob = connector.start().await;
    let (handler, mut log) = teller();
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let begun = tokio::time::Instant::now();
    for number in 0..50 {
        bob.send(&text(&bob, &number.to_string())).await.expect("sent");
        soon(log.recv()).await.expect("handled");
    }
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(serving.stop(3600 * SECOND).await.unacknowledged, 0);
    let sizes: Vec<_> = connector.read(|script| script.acked.iter().map(Vec::len).collect());
    assert_eq!(sizes.iter().sum::<usize>(), 50);
    assert!(sizes.len() <= 3, "{sizes:?}");
}

async fn session(connector: impl Connector) -> (Resilient, EventStream) {
    let options = ResilientOptions::new().with_skip_own(false);
    let session = soon(Resilient::connect(connector, options)).await.expect("connected");
    let events = soon(session.subscribe(SubscribeOptions::own())).await.expect("subscribed").events;
    (session, events)
}

async fn next(events: &mut EventStream) -> Delivery {
    loop {
        if let Event::Message(delivery) = soon(events.next()).await.expect("goes on").expect("no error") {
            return delivery;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_while_a_session_closes_is_acknowledged_or_refused() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    connector.change(|script| script.ack_takes = SECOND);
    let (bob, mut events) = session(connector.clone()).await;
    let mut tags = Vec::new();
    for text in ["1", "2", "3", "4"] {
        bob.send(&Outbound::new(bob.address().clone(), Body::text(text))).await.expect("sent");
        tags.push([next(&mut events).await.tag]);
    }
    bob.ack(&tags[0]).await.expect("settled");
    let settling = async {
        tokio::time::sleep(SECOND / 2).await;
        connector.change(|script| script.close_hangs = true);
        bob.ack(&tags[1]).await.expect("the first is on its way");
        tokio::time::sleep(SECOND).await;
        bob.ack(&tags[2]).await.expect("the second is on its way");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(connector.read(|script| script.closes), 1, "everything is acknowledged");
        bob.ack(&tags[3]).await.expect_err("nobody acknowledges it any more")
    };
    let (closed, late) = soon(async { tokio::join!(bob.close(CloseMode::Detach), settling) }).await;
    assert_eq!(closed.expect_err("the attachment does not close").kind(), ErrorKind::Timeout);
    assert_eq!(late.kind(), ErrorKind::Closed);
    connector.change(|script| script.close_hangs = false);
    let (_again, mut events) = session(connector).await;
    let left = next(&mut events).await;
    assert_eq!(left.body.as_str(), Some("4"), "what was told to be settled does not come again");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_is_never_answered_is_tried_again_when_a_call_has_had_its_time() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let options = ResilientOptions::new().with_skip_own(false).with_call_timeout(7 * SECOND);
    let session = Resilient::connect(connector.clone(), options).await.expect("connected");
    for number in 0..4 {
        let note = Outbound::new(session.address().clone(), Body::text(number.to_string()));
        session.send(&note).await.expect("sent");
    }
    let bounds = SubscribeOptions::own().with_max_unsettled(2);
    let mut events = session.subscribe(bounds).await.expect("subscribed").events;
    connector.change(|script| script.ack_takes = FOR_EVER);
    let begun = tokio::time::Instant::now();
    for number in 0..4 {
        let next = timeout(20 * SECOND, events.next()).await.expect("the credit comes back");
        let Some(Ok(Event::Message(delivery))) = next else { panic!("a message, not {next:?}") };
        assert_eq!(delivery.body, Body::text(number.to_string()));
        session.ack(&[delivery.tag]).await.expect("settled");
        tokio::time::sleep(SECOND).await;
        // Only the first batch is without an answer.
        connector.change(|script| script.ack_takes = Duration::ZERO);
    }
    assert!(begun.elapsed() >= 7 * SECOND, "{:?}", begun.elapsed());
    session.close(CloseMode::Detach).await.expect("everything is acknowledged");
    let acked: usize = connector.read(|script| script.acked.iter().map(Vec::len).sum());
    assert_eq!(acked, 4);
}

const FOR_EVER: Duration = Duration::from_secs(1_000_000);
