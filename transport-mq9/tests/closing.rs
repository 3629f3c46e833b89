//! The end of an attachment: what is refused after it, what may be repeated, what it leaves behind.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use agentchat_core::{
    Address, AgentCard, Body, CloseMode, Connector, ErrorKind, Event, Outbound, Query, Reached, Result,
    SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use mq9_client::testing::Broker;
use transport_mq9::Mq9Connector;

async fn attached() -> (Broker, Arc<dyn Transport>) {
    let broker = Broker::builder().start().await.expect("a broker");
    let connector = Mq9Connector::builder(broker.url()).build().expect("valid");
    let transport = connector.connect().await.expect("attached");
    (broker, transport)
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens within 20 s")
}

async fn send_to_itself(transport: &dyn Transport) {
    let to: Address = transport.address().clone();
    transport.send(&Outbound::new(to, Body::text("hello"))).await.expect("sent");
}

async fn is_found(broker: &Broker) -> bool {
    let connector = Mq9Connector::builder(broker.url()).build().expect("valid");
    let other = connector.connect().await.expect("attached");
    !within(other.discover(&Query::name("coder"))).await.expect("found").agents.is_empty()
}

/// Polls at most so many times: `None` when that is not enough, and the future is dropped.
async fn pending_at_most<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut pending = 0;
    within(std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            pending += 1;
            if pending >= polls { Poll::Ready(None) } else { Poll::Pending }
        }
    }))
    .await
}

fn is_refused(closed: Result<()>, words: &[&str]) {
    let error = closed.expect_err("it was closed before");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"), "{error:?}");
    assert!(!error.is_retryable() && error.reached() == Reached::No, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} lacks {word}");
    }
}

#[tokio::test]
async fn a_closed_attachment_reads_and_settles_nothing_more() {
    let (_broker, transport) = attached().await;
    send_to_itself(&*transport).await;
    let mut reading = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let Some(Ok(Event::Message(delivery))) = within(reading.next()).await else { panic!("no message") };
    within(transport.close(CloseMode::Detach)).await.expect("closed");

    let refused = within(transport.subscribe(SubscribeOptions::own())).await.map(drop);
    assert_eq!(refused.expect_err("closed").kind(), ErrorKind::Closed);
    let refused = within(transport.ack(std::slice::from_ref(&delivery.tag))).await;
    assert_eq!(refused.expect_err("nothing could carry it").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn closing_is_done_once_and_says_what_became_of_the_registration() {
    let (_broker, transport) = attached().await;
    transport
        .register(&AgentCard::new("coder", "Writes programs").expect("valid"))
        .await
        .expect("registered");
    within(transport.close(CloseMode::Retire)).await.expect("retired");
    for mode in [CloseMode::Detach, CloseMode::Retire] {
        is_refused(within(transport.close(mode)).await, &["already closed"]);
    }
    let (_broker, transport) = attached().await;
    within(transport.close(CloseMode::Detach)).await.expect("detached");
    is_refused(within(transport.close(CloseMode::Retire)).await, &["already closed", "still registered"]);
}

#[tokio::test]
async fn closing_by_several_at_once_is_done_for_each_and_retires_for_one() {
    let (broker, transport) = attached().await;
    let card = AgentCard::new("coder", "Writes programs").expect("valid");
    transport.register(&card).await.expect("registered");
    let close = async |mode| within(transport.close(mode)).await;
    let closed = tokio::join!(close(CloseMode::Detach), close(CloseMode::Retire), close(CloseMode::Detach));
    closed.0.and(closed.1).and(closed.2).expect("closed");
    assert!(!is_found(&broker).await);
}

#[tokio::test]
async fn detaching_that_was_dropped_is_finished_by_retiring_or_says_that_the_agent_stays() {
    let mut stayed = 0;
    for polls in 1..100 {
        let (broker, transport) = attached().await;
        let card = AgentCard::new("coder", "Writes programs").expect("valid");
        transport.register(&card).await.expect("registered");
        let ended = pending_at_most(polls, transport.close(CloseMode::Detach)).await.is_some();
        let retired = within(transport.close(CloseMode::Retire)).await;
        assert_eq!(retired.is_err(), is_found(&broker).await, "dropped after {polls} polls: {retired:?}");
        if retired.is_err() {
            is_refused(retired, &["still registered"]);
            stayed += u32::from(!ended);
        }
        if ended {
            assert!(stayed > 0, "it was never dropped while it hung up");
            return;
        }
    }
    panic!("closing does not end");
}

#[tokio::test]
async fn what_could_not_be_acknowledged_is_told_once_wherever_a_closing_was_dropped() {
    for polls in 1..100 {
        let (broker, transport) = attached().await;
        send_to_itself(&*transport).await;
        let mut reading = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let Some(Ok(Event::Message(delivery))) = within(reading.next()).await else { panic!("no message") };
        broker.faults().stall_until_released();
        within(transport.ack(std::slice::from_ref(&delivery.tag))).await.expect("settled");
        broker.faults().cut_all();
        let first = pending_at_most(polls, transport.close(CloseMode::Detach)).await;
        let ended = first.is_some();
        let told = match first {
            Some(first) => first,
            None => within(transport.close(CloseMode::Detach)).await,
        };
        let error = told.expect_err("it could not be acknowledged");
        assert_eq!(error.kind(), ErrorKind::Timeout, "dropped after {polls} polls: {error:?}");
        is_refused(within(transport.close(CloseMode::Detach)).await, &["already closed"]);
        if ended {
            return;
        }
    }
    panic!("closing does not end");
}

#[tokio::test]
async fn retiring_again_after_a_drop_at_any_poll_ends_it_and_the_agent_is_gone() {
    for polls in 1..100 {
        let (broker, transport) = attached().await;
        let card = AgentCard::new("coder", "Writes programs").expect("valid");
        transport.register(&card).await.expect("registered");
        let ended = pending_at_most(polls, transport.close(CloseMode::Retire)).await;
        let again = within(transport.close(CloseMode::Retire)).await;
        assert!(!is_found(&broker).await, "dropped after {polls} polls");
        if let Some(closed) = ended {
            closed.expect("retired");
            is_refused(again, &["already closed"]);
            return;
        }
        again.unwrap_or_else(|error| panic!("dropped after {polls} polls: {error:?}"));
    }
    panic!("closing does not end");
}

#[tokio::test]
async fn a_stream_dropped_on_a_runtime_that_ends_does_not_break_the_close() {
    let (_broker, transport) = attached().await;
    send_to_itself(&*transport).await;
    let mut reading = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    within(reading.next()).await.expect("goes on").expect("a message");
    std::thread::spawn(move || {
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        other.block_on(async { drop(reading) });
    })
    .join()
    .expect("dropped");
    // Whether what was settled reached the broker may be in doubt; that it ends is not.
    let _ = within(transport.close(CloseMode::Detach)).await;
}

#[tokio::test]
async fn no_connection_is_left_though_the_transport_is_still_held() {
    let (broker, transport) = attached().await;
    let mut reading = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    within(transport.close(CloseMode::Detach)).await.expect("closed");
    while within(reading.next()).await.is_some() {}
    within(async {
        while broker.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(transport);
}
