//! The end of an attachment: what is refused after it, what may be repeated, what it leaves behind.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use agentchat_core::{
    Address, AgentCard, Body, CloseMode, Connector, ErrorKind, Event, Outbound, Query, SubscribeOptions,
    Transport,
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
async fn retiring_twice_is_the_same_as_once() {
    let (_broker, transport) = attached().await;
    transport
        .register(&AgentCard::new("coder", "Writes programs").expect("valid"))
        .await
        .expect("registered");
    within(transport.close(CloseMode::Retire)).await.expect("retired");
    within(transport.close(CloseMode::Retire)).await.expect("nothing is left to do");
}

#[tokio::test]
async fn retiring_again_after_a_drop_at_any_poll_is_fine_and_the_agent_is_gone() {
    for polls in 1..100 {
        let (broker, transport) = attached().await;
        let card = AgentCard::new("coder", "Writes programs").expect("valid");
        transport.register(&card).await.expect("registered");
        let ended = {
            let mut closing = transport.close(CloseMode::Retire);
            let mut pending = 0;
            within(std::future::poll_fn(|cx| match closing.as_mut().poll(cx) {
                Poll::Ready(closed) => Poll::Ready(Some(closed)),
                Poll::Pending => {
                    pending += 1;
                    if pending >= polls { Poll::Ready(None) } else { Poll::Pending }
                }
            }))
            .await
        };
        let again = within(transport.close(CloseMode::Retire)).await;
        again.unwrap_or_else(|error| panic!("dropped after {polls} polls: {error:?}"));
        let connector = Mq9Connector::builder(broker.url()).build().expect("valid");
        let other = connector.connect().await.expect("attached");
        let found = within(other.discover(&Query::name("coder"))).await.expect("found").agents;
        assert!(found.is_empty(), "dropped after {polls} polls: {found:?}");
        if ended.is_some() {
            return;
        }
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
