//! AgentChat refuses, fails and loses answers in bursts: a send waits as long as it is told to, is repeated
//! under its own id, and is seen once.

#[path = "support/fault/agentchat.rs"]
mod agentchat;
#[path = "support/fault/mod.rs"]
mod fault;

use std::time::Instant;

use agentchat::{KINDS, Kind, Place, within};
use agentchat_core::{Resilient, SendOutcome, SubscribeOptions, Transport};
use fault::script::{self, Order};
use fault::{MS, SECOND, Seed, message, seeds, session, text};
use futures_util::future::join_all;
use transport_ws::testing::{HttpFault, JournalEntry};

const SEND: &str = "POST /v1/messages";
const COUNT: u64 = 150;

/// How many sends the server was asked for.
async fn asked(place: &Place) -> usize {
    let is_send = |entry: &JournalEntry| matches!(entry, JournalEntry::Request { method, path, .. } if method == "POST" && path == "/v1/messages");
    place.server.lock().await.journal().iter().filter(|entry| is_send(entry)).count()
}

/// `COUNT` messages arrive at the session, each once, and the server had each of them once.
async fn all_come_once(bob: &Resilient, reading: agentchat_core::Subscription) {
    let (mut events, mut order) = (reading.events, Order::default());
    while (order.len() as u64) < COUNT {
        let delivery = message(&mut events, 30 * SECOND).await;
        let delivery = delivery.unwrap_or_else(|| panic!("only {} came", order.len()));
        order.add(&text(&delivery));
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
    assert!(message(&mut events, SECOND / 2).await.is_none(), "something came again");
    order.check(COUNT);
    let stats = bob.stats();
    assert_eq!((stats.delivered, stats.received), (COUNT, COUNT + stats.duplicates), "{stats:?}");
}

#[tokio::test]
async fn nothing_is_tried_before_the_server_allows_it() {
    let refusals = [
        HttpFault::error(429, "RATE_LIMITED", "Too many messages per second"),
        HttpFault::status(503),
        HttpFault::html(502),
    ];
    let rounds = refusals.into_iter().zip([Kind::Current, Kind::Poll, Kind::Legacy]);
    let rounds = rounds.map(|(refusal, kind)| async move {
        let place = Place::new(kind).await;
        let alice = session(place.connector("alice").await, 1).await;
        let bob = session(place.connector("bob").await, 2).await;
        place.faults.repeat(SEND, 2, refusal.retry_after("1"));
        let begun = Instant::now();
        let note = script::outbound(bob.address(), 0);
        within(20, "sending", alice.send(&note)).await.expect("accepted");
        assert!(begun.elapsed() >= 1_950 * MS, "{:?}", begun.elapsed());
        assert_eq!(asked(&place).await, 3, "each wait was waited out");
    });
    join_all(rounds).await;
}

#[tokio::test]
async fn bursts_of_refusals_and_failures_cost_and_double_nothing() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        let alice = session(place.connector("alice").await, seed).await;
        let bob = session(place.connector("bob").await, seed).await;
        let reading = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed");
        for _ in 0..25 {
            place.faults.repeat(SEND, dice.u64(1..8), HttpFault::passing());
            let fault = match dice.u8(0..7) {
                0 => HttpFault::status(429).retry_after("0"),
                1 => HttpFault::status(500),
                2 => HttpFault::html(502),
                3 => HttpFault::status(503),
                4 => HttpFault::lose_answer(),
                5 => HttpFault::passing().cut_after(dice.u64(1..400)),
                _ => HttpFault::lose_request(),
            };
            place.faults.repeat(SEND, dice.u64(1..5), fault);
        }
        let to = bob.address();
        let sending = (0..COUNT).map(|number| alice.try_send(script::outbound(to, number)).expect("room"));
        let sending: Vec<_> = sending.collect();
        for sent in within(60, "sending", join_all(sending)).await {
            sent.expect("accepted");
        }
        within(60, "reading", all_come_once(&bob, reading)).await;
        // Nothing befell the reader, so a repetition would be the server's.
        assert_eq!((bob.stats().connects, bob.stats().duplicates), (1, 0));
        assert_eq!((alice.stats().queued_messages, alice.stats().parked), (0, 0));
        assert!(asked(&place).await as u64 > COUNT, "nothing was tried again");
    }
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_known_by_its_id() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        let alice = session(place.connector("alice").await, seed).await;
        let bob = session(place.connector("bob").await, seed).await;
        let reading = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed");
        let (mut lost, mut known) = (0, 0);
        for number in 0..COUNT {
            let after_commit = dice.bool();
            if number % 12 == 0 {
                place.server.lock().await.drop_next_response(after_commit);
                lost += u64::from(after_commit);
            }
            let note = script::outbound(bob.address(), number);
            let receipt = within(20, "sending", alice.send(&note)).await.expect("accepted");
            known += u64::from(matches!(receipt.outcome, SendOutcome::Duplicate(_)));
        }
        // Now and then another request of theirs is hit instead.
        assert!(known > 0 && known <= lost, "{known} of {lost}");
        within(60, "reading", all_come_once(&bob, reading)).await;
    }
}
