//! A duplicate storm: every request is made three times, every message is stored twice and every event
//! delivered three times. Each message is handled once, each reply is seen once.

#[path = "support/fault/mod.rs"]
mod fault;

use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, Body, CallRequest, Connector, Loopback, LoopbackFaults, Request, ResilientConnector, ServeOptions,
};
use fault::frames::{Fate, Wire};
use fault::script::{self, Order};
use fault::{MS, SECOND, Seed, options, seeds, soon};

fn stormy(seed: u64) -> (Loopback, Wire) {
    let network = Loopback::with_faults(LoopbackFaults::seeded(seed).with_duplicates(1.0));
    (network, Wire::clear().repeating(3).with_latency(MS))
}

#[tokio::test(start_paused = true)]
async fn sessions_hand_each_message_out_once() {
    for seed in seeds(0..4) {
        let _seed = Seed(seed);
        let (network, wire) = stormy(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        if seed % 2 == 1 {
            wire.judge(move |_| if dice.u32(0..200) == 0 { Fate::Cut } else { Fate::Pass });
        }
        let behind = |name| wire.connector(name, network.connector(name).expect("a name"));
        script::run(behind("alice"), behind("bob"), 300, seed, 60 * SECOND).await;
        assert!(seed % 2 == 0 || wire.cuts() > 0, "seed {seed} cut nothing");
    }
}

/// 100 messages and 10 calls between agents over these connectors.
async fn agents(alice: impl Connector, bob: impl Connector) {
    let alice = soon("starting", Agent::builder(alice).start()).await.expect("started");
    let bob = soon("starting", Agent::builder(bob).start()).await.expect("started");
    let order = Arc::new(Mutex::new(Order::default()));
    let handled = Arc::clone(&order);
    let handler = move |request: Request| {
        let handled = Arc::clone(&handled);
        async move {
            handled.lock().expect("no panic").add(request.body().as_str().expect("text"));
            tokio::time::sleep(MS).await;
            if request.wants_reply() {
                request.progress(Body::text("half")).await?;
                request.reply(request.body().clone()).await?;
            }
            Ok(())
        }
    };
    let serving = soon("serving", bob.serve(handler, ServeOptions::default())).await.expect("served");
    for number in 0..100 {
        let message = script::outbound(bob.address(), number);
        soon("sending", alice.send(&message)).await.expect("accepted");
    }
    for number in 100..110 {
        let request = CallRequest::new(Body::text(number.to_string()));
        let mut call = soon("asking", alice.call(bob.address(), request)).await.expect("sent");
        let mut replies = Vec::new();
        while let Some(reply) = soon("a reply", call.next()).await {
            replies.push(reply.expect("a reply").body().as_str().expect("text").to_owned());
        }
        assert_eq!(replies, ["half".to_owned(), number.to_string()]);
    }
    script::rest().await;
    order.lock().expect("no panic").check(110);
    let served = soon("stopping", serving.stop(60 * SECOND)).await;
    assert_eq!((served.unsettled, served.unacknowledged, served.error.is_none()), (0, 0, true), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn agents_handle_each_message_once_over_sessions_and_over_bare_attachments() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        let (network, wire) = stormy(seed);
        let behind = |name| wire.connector(name, network.connector(name).expect("a name"));
        agents(behind("alice"), behind("bob")).await;
        let (network, wire) = stormy(seed);
        let behind = |name| {
            let framed = wire.connector(name, network.connector(name).expect("a name"));
            ResilientConnector::new(framed, options(seed))
        };
        agents(behind("alice"), behind("bob")).await;
    }
}
