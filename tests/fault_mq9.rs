//! The same over the mq9 broker double: connections break between frames and inside of them, and the broker
//! goes away and comes back with sends under way.

#[path = "support/fault/mod.rs"]
mod fault;
mod support;

use std::time::Duration;

use agentchat_core::{Body, CloseMode, Resilient, SubscribeOptions, Transport};
use fault::chopper::{Chopper, Cut};
use fault::script::{self, Order};
use fault::{MS, SECOND, Seed, message, options, seeds, text};
use mq9_client::testing::Broker;
use support::{Scratch, broker, impatient, within};
use transport_mq9::Mq9Connector;

fn connector(url: String, name: &str) -> Mq9Connector {
    let builder = Mq9Connector::builder(url).generated_inbox(name);
    builder.connect_options(impatient(5 * SECOND)).build().expect("a valid connector")
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_frame_or_byte_loses_and_repeats_nothing() {
    for seed in seeds(0..6) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let broker = broker().await;
        let chopper = Chopper::before(broker.port()).await.expect("a port");
        // The handshakes are the first frames; some forty messages take a few hundred.
        for _ in 0..6 {
            let through = *dice.choice(&[0, 1, 128, 255, 256]).expect("not empty");
            chopper.cut(Cut { frame: dice.u64(30..300), through, all: dice.bool() });
        }
        let (alice, bob) = (connector(chopper.url(), "alice"), connector(chopper.url(), "bob"));
        within(50, "the script", script::run(alice, bob, 60, seed, SECOND / 2)).await;
        assert!(chopper.done() > 0, "seed {seed} cut nothing in {} frames", chopper.frames());
    }
}

/// Sends and reads on while the broker goes down and comes up `times`.
async fn over_restarts(mut broker: Broker, times: usize, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let open = async |name| {
        let connected = Resilient::connect(connector(broker.url(), name), options(seed));
        within(10, "connecting", connected).await.expect("connects")
    };
    let (writer, reader) = (open("alice").await, open("bob").await);
    let to = reader.address().clone();
    let opened = within(10, "subscribing", reader.subscribe(SubscribeOptions::own())).await;
    let mut events = opened.expect("subscribed").events;
    let sender = tokio::spawn(async move {
        for number in 0..200 {
            // Mostly one after the other, so that some are under way whenever the broker goes.
            writer.try_send(script::outbound(&to, number)).expect("there is room").detach();
            tokio::time::sleep(5 * MS).await;
        }
        writer
    });
    let mut order = Order::default();
    let mut downs: Vec<usize> = (0..times).map(|_| dice.usize(5..190)).collect();
    downs.sort_unstable();
    let mut pauses = downs.iter().map(|_| MS * dice.u32(0..300)).collect::<Vec<Duration>>();
    while order.len() < 200 {
        let delivery = within(30, "a message", message(&mut events, 25 * SECOND)).await;
        let delivery = delivery.unwrap_or_else(|| panic!("only {} messages came", order.len()));
        order.add(&text(&delivery));
        reader.ack(&[delivery.tag]).await.expect("settled");
        if downs.first().is_some_and(|at| *at <= order.len()) {
            downs.remove(0);
            broker.down().await.expect("down");
            tokio::time::sleep(pauses.pop().expect("one for each")).await;
            broker.restart().await.expect("up");
        }
    }
    order.check(200);
    assert!(message(&mut events, SECOND / 2).await.is_none(), "something came again");
    let writer = within(20, "the sender", sender).await.expect("no panic");
    assert_eq!((writer.stats().queued_messages, writer.stats().parked), (0, 0));
    assert!(writer.stats().connects > times as u64 / 2, "{}", writer.stats().connects);
    drop(events);
    within(20, "closing", reader.close(CloseMode::Detach)).await.expect("closed");
}

#[tokio::test]
async fn a_broker_that_is_restarted_under_accepted_sends_keeps_them() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        over_restarts(broker().await, 4, seed).await;
        // From disk, where only what was accepted survives.
        let scratch = Scratch::new("restart");
        let broker = Broker::builder().data_dir(scratch.path()).start().await.expect("a broker");
        over_restarts(broker, 4, seed).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_away_for_long_gets_what_waited_when_it_is_back() {
    let mut broker = broker().await;
    let session = Resilient::connect(connector(broker.url(), "self"), options(0));
    let session = within(10, "connecting", session).await.expect("connects");
    broker.down().await.expect("down");
    let waiting: Vec<_> = (0..50)
        .map(|number| session.try_send(script::outbound(session.address(), number)).expect("there is room"))
        .collect();
    tokio::time::sleep(SECOND).await;
    assert_eq!(session.stats().queued_messages, 50);
    broker.up().await.expect("up");
    for sending in waiting {
        within(20, "sending", sending).await.expect("accepted");
    }
    let last = agentchat_core::Outbound::new(session.address().clone(), Body::text("50"));
    within(20, "sending", session.send(&last)).await.expect("accepted");
    let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let mut order = Order::default();
    while let Some(delivery) = message(&mut events, SECOND).await {
        order.add(&text(&delivery));
    }
    order.check(51);
}
