//! The in-process network means what the contract says.

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{
    AgentCard, Body, CloseMode, Connector, ConversationId, Delivery, ErrorKind, Event, EventStream, Loopback,
    LoopbackFaults, Outbound, Priority, Query, SubscribeOptions, Transport,
};
use futures_util::{FutureExt, StreamExt};

const SECOND: Duration = Duration::from_secs(1);

async fn attach(network: &Loopback, name: &str) -> Arc<dyn Transport> {
    network.connector(name).expect("a valid name").connect().await.expect("attached")
}

async fn read(transport: &Arc<dyn Transport>, options: SubscribeOptions) -> EventStream {
    transport.subscribe(options).await.expect("subscribed").events
}

fn text(to: &Arc<dyn Transport>, text: &str) -> Outbound {
    Outbound::new(to.address().clone(), Body::text(text))
}

/// What can be had of `events` without waiting; `|` stands for being caught up.
fn now(events: &mut EventStream) -> Vec<String> {
    let mut had = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        had.push(match event {
            Ok(Event::Message(delivery)) => delivery.body.as_str().expect("text").to_owned(),
            Ok(Event::CaughtUp) => "|".to_owned(),
            other => format!("{other:?}"),
        });
    }
    had
}

async fn next(events: &mut EventStream) -> Delivery {
    loop {
        match events.next().await {
            Some(Ok(Event::Message(delivery))) => return delivery,
            Some(Ok(_)) => {}
            other => panic!("no message: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn caught_up_comes_once_after_the_backlog_and_before_what_arrived_since() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for number in ["1", "2", "3"] {
        bob.send(&text(&bob, number)).await.expect("sent");
    }
    let mut events = read(&bob, SubscribeOptions::own()).await;
    bob.send(&text(&bob, "live")).await.expect("sent");
    assert_eq!(now(&mut events), ["1", "2", "3", "|", "live"]);
    bob.send(&text(&bob, "more")).await.expect("sent");
    assert_eq!(now(&mut events), ["more"]);
}

#[tokio::test]
async fn a_reader_that_is_awake_leaves_a_sender_on_another_thread_some_time_and_then_has_what_came() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    let mut events = read(&bob, SubscribeOptions::own()).await;
    assert_eq!(now(&mut events), ["|"]);
    let mut left = 0;
    for number in (0..100).map(|number| number.to_string()) {
        let message = text(&bob, &number);
        let sent = std::thread::scope(|threads| threads.spawn(|| bob.send(&message).now_or_never()).join());
        sent.expect("no panic").expect("at once").expect("sent");
        let mut had = now(&mut events);
        if had.is_empty() {
            left += 1;
            had.extend(next(&mut events).await.body.as_str().map(str::to_owned));
        }
        assert_eq!(had, [number]);
    }
    // A test that is interrupted between two looks finds the time over.
    assert!(left > 50, "{left} of 100 were left");
}

#[tokio::test(start_paused = true)]
async fn a_full_bound_hides_no_backlog_behind_caught_up_and_does_not_withhold_it() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for number in ["11111", "22222", "33333"] {
        bob.send(&text(&bob, number).with_header("h", "12345")).await.expect("sent");
    }
    let bytes = SubscribeOptions::own().with_max_unsettled_bytes(21);
    assert_eq!(now(&mut read(&bob, bytes).await), ["11111", "22222"], "headers count, and two remain");
    let count = SubscribeOptions::own().with_max_unsettled(3);
    assert_eq!(now(&mut read(&bob, count).await), ["11111", "22222", "33333", "|"]);
}

#[tokio::test(start_paused = true)]
async fn settled_and_expired_rows_give_their_credit_back() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    bob.send(&text(&bob, "mortal").with_ttl(5 * SECOND)).await.expect("sent");
    for number in ["1", "2"] {
        bob.send(&text(&bob, number)).await.expect("sent");
    }
    let mut events = read(&bob, SubscribeOptions::own().with_max_unsettled(1)).await;
    assert_eq!(now(&mut events), ["mortal"]);
    let one = tokio::time::timeout(6 * SECOND, next(&mut events)).await.expect("it expires");
    bob.ack(&[one.tag.clone(), one.tag]).await.expect("settled, and twice is fine");
    assert_eq!(now(&mut events), ["2", "|"]);
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_come_when_they_are_due_and_expired_ones_never() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    bob.send(&text(&bob, "late").with_delay(10 * SECOND).with_ttl(5 * SECOND)).await.expect("sent");
    bob.send(&text(&bob, "gone").with_ttl(SECOND)).await.expect("sent");
    tokio::time::sleep(2 * SECOND).await;
    let mut events = read(&bob, SubscribeOptions::own()).await;
    assert_eq!(now(&mut events), ["|"]);
    let begun = tokio::time::Instant::now();
    assert_eq!(next(&mut events).await.body.as_str(), Some("late"));
    assert_eq!(begun.elapsed(), 8 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_key_keeps_its_newest_message() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for (number, key) in [("1", "a"), ("2", "b"), ("3", "a"), ("4", "a")] {
        bob.send(&text(&bob, number).with_key(key)).await.expect("sent");
    }
    assert_eq!(now(&mut read(&bob, SubscribeOptions::own()).await), ["2", "4", "|"]);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_inbox_ends_with_its_ttl_for_senders_and_readers() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    let mut fresh = bob.subscribe(SubscribeOptions::fresh(60 * SECOND)).await.expect("opened");
    let hello = Outbound::new(fresh.address.clone(), Body::text("hello"));
    tokio::time::sleep(59 * SECOND).await;
    bob.send(&hello).await.expect("it lives");
    assert_eq!(next(&mut fresh.events).await.body.as_str(), Some("hello"));
    let ending = loop {
        match fresh.events.next().await.expect("an error ends it") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(ending.kind(), ErrorKind::NotFound);
    let again = Outbound::new(fresh.address.clone(), Body::text("again"));
    assert_eq!(bob.send(&again).await.expect_err("it is gone").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_is_numbered_without_holes_in_each_inbox() {
    let network = Loopback::new();
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    let conversation = ConversationId::new("c").expect("id");
    for _ in 0..3 {
        alice.send(&text(&bob, "x").with_conversation(conversation.clone())).await.expect("sent");
        bob.send(&text(&alice, "y").with_conversation(conversation.clone())).await.expect("sent");
    }
    for transport in [alice, bob] {
        let mut events = read(&transport, SubscribeOptions::own()).await;
        for due in 1..=3 {
            assert_eq!(next(&mut events).await.seq, Some(due));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_by_a_send_hits_its_sender_alone() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(1).with_cuts(1.0));
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    let mut events = read(&alice, SubscribeOptions::own()).await;
    assert_eq!(now(&mut events), ["|"]);
    assert_eq!(alice.send(&text(&bob, "x")).await.expect_err("cut").kind(), ErrorKind::Disconnected);
    let ended = events.next().await.expect("an end").expect_err("an error");
    assert_eq!(ended.kind(), ErrorKind::Disconnected);
    assert!(events.next().await.is_none());
    bob.discover(&Query::all()).await.expect("the others stay attached");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_outlives_the_handle_it_was_made_with() {
    let network = Loopback::new();
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    let hello = text(&bob, "hello");
    let mut events = read(&bob, SubscribeOptions::own()).await;
    drop(bob);
    let reading = tokio::spawn(async move { next(&mut events).await });
    tokio::time::sleep(SECOND).await;
    alice.send(&hello).await.expect("sent");
    assert_eq!(reading.await.expect("no panic").body.as_str(), Some("hello"));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_subscription_that_waits_and_is_done_once() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    let mut events = read(&bob, SubscribeOptions::own()).await;
    assert_eq!(now(&mut events), ["|"]);
    let waiting = tokio::spawn(async move { events.next().await });
    tokio::time::sleep(SECOND).await;
    bob.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(bob.close(CloseMode::Retire).await.expect_err("closed").kind(), ErrorKind::Closed);
    let ended = waiting.await.expect("no panic").expect("an end").expect_err("an error");
    assert_eq!(ended.kind(), ErrorKind::Closed);
    assert_eq!(bob.send(&text(&bob, "x")).await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_closing_that_was_given_up_is_done_by_the_next() {
    let network = Loopback::new();
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    bob.register(&AgentCard::new("bob", "Comes and goes").expect("card")).await.expect("registered");
    network.stall(SECOND);
    let given_up = tokio::time::timeout(SECOND / 2, bob.close(CloseMode::Retire)).await;
    assert!(given_up.is_err(), "the network does not answer");
    network.heal();
    bob.close(CloseMode::Retire).await.expect("nobody was told before");
    assert!(alice.discover(&Query::name("bob")).await.expect("an answer").agents.is_empty());
    assert_eq!(bob.close(CloseMode::Retire).await.expect_err("it is over").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_cannot_retire() {
    let network = Loopback::new();
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    bob.register(&AgentCard::new("bob", "Comes and goes").expect("card")).await.expect("registered");
    network.cut();
    let refused = bob.close(CloseMode::Retire).await.expect_err("nobody heard it");
    assert_eq!(refused.kind(), ErrorKind::Disconnected);
    alice.close(CloseMode::Detach).await.expect("there is nothing left to do");
    for closed in [&alice, &bob] {
        for mode in [CloseMode::Detach, CloseMode::Retire] {
            assert_eq!(closed.close(mode).await.expect_err("it is over").kind(), ErrorKind::Closed);
        }
    }
    drop(alice);
    let alice = attach(&network, "alice").await;
    assert_eq!(alice.discover(&Query::name("bob")).await.expect("an answer").agents.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn faults_depend_on_the_seed_and_not_on_how_often_somebody_looks() {
    let mut orders = Vec::new();
    for looks in [0, 7] {
        let network = Loopback::with_faults(LoopbackFaults::seeded(3).with_reordering(0.5));
        let bob = attach(&network, "bob").await;
        let mut events = read(&bob, SubscribeOptions::own()).await;
        for _ in 0..looks {
            assert!(now(&mut events).len() < 2);
        }
        for number in 0..50 {
            bob.send(&text(&bob, &number.to_string())).await.expect("sent");
        }
        let mut order = now(&mut events);
        order.retain(|text| text != "|");
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0].len(), 50);
    let numbers: Vec<u32> = orders[0].iter().map(|text| text.parse().expect("a number")).collect();
    assert!(!numbers.is_sorted(), "it does reorder");
}

#[tokio::test(start_paused = true)]
async fn urgent_messages_go_first_however_they_arrived() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for (name, priority) in [
        ("n1", Priority::Normal),
        ("c1", Priority::Critical),
        ("u1", Priority::Urgent),
        ("c2", Priority::Critical),
    ] {
        bob.send(&text(&bob, name).with_priority(priority)).await.expect("sent");
    }
    assert_eq!(now(&mut read(&bob, SubscribeOptions::own()).await), ["c1", "c2", "u1", "n1", "|"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_backlog_is_read_in_linear_time() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for number in 0..20_000 {
        bob.send(&text(&bob, &number.to_string())).await.expect("sent");
    }
    let begun = std::time::Instant::now();
    let mut events = read(&bob, SubscribeOptions::own().with_max_unsettled(20_000)).await;
    for number in 0..20_000 {
        assert_eq!(next(&mut events).await.body.as_str(), Some(number.to_string().as_str()));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_send_to_a_full_inbox_waits_for_room_and_not_for_ever() {
    let network = Loopback::new().with_inbox_limits(2, usize::MAX);
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    for number in ["1", "2"] {
        alice.send(&text(&bob, number)).await.expect("there is room");
    }
    let begun = tokio::time::Instant::now();
    let refused = alice.send(&text(&bob, "3")).await.expect_err("it is full");
    assert_eq!((refused.kind(), begun.elapsed()), (ErrorKind::Backpressure, 10 * SECOND));
    let waiting = text(&bob, "4");
    let sending = tokio::spawn(async move { alice.send(&waiting).await });
    tokio::time::sleep(SECOND).await;
    assert!(!sending.is_finished());
    let mut events = read(&bob, SubscribeOptions::own()).await;
    let first = next(&mut events).await;
    bob.ack(&[first.tag]).await.expect("settled");
    sending.await.expect("no panic").expect("there is room now");
    assert_eq!(now(&mut events), ["2", "|", "4"], "what was refused was not stored");
}

#[tokio::test(start_paused = true)]
async fn a_send_goes_on_at_once_when_a_reader_that_is_caught_up_makes_room() {
    let network = Loopback::new().with_inbox_limits(2, usize::MAX);
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    let mut events = read(&bob, SubscribeOptions::own()).await;
    assert_eq!(now(&mut events), ["|"]);
    for number in ["1", "2"] {
        alice.send(&text(&bob, number)).await.expect("there is room");
    }
    let waiting = text(&bob, "3");
    let sending = tokio::spawn(async move { alice.send(&waiting).await });
    tokio::time::sleep(SECOND).await;
    assert!(!sending.is_finished());
    let (begun, first) = (tokio::time::Instant::now(), next(&mut events).await);
    bob.ack(&[first.tag]).await.expect("settled");
    sending.await.expect("no panic").expect("there is room now");
    assert_eq!((begun.elapsed(), now(&mut events)), (Duration::ZERO, vec!["2".into(), "3".into()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_threads_nobody_is_left_asleep() {
    let network = Loopback::new().with_inbox_limits(4, usize::MAX);
    let (alice, bob) = (attach(&network, "alice").await, attach(&network, "bob").await);
    let messages: Vec<_> = (0..3_000).map(|number| text(&bob, &number.to_string())).collect();
    let sending = tokio::spawn(async move {
        for (number, message) in messages.iter().enumerate() {
            alice.send(message).await.expect("there is room in time");
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let reading = tokio::spawn(async move {
        let mut events = read(&bob, SubscribeOptions::own()).await;
        for number in 0..3_000 {
            let delivery = tokio::time::timeout(9 * SECOND, next(&mut events)).await.expect("woken in time");
            assert_eq!(delivery.body.as_str(), Some(number.to_string().as_str()));
            bob.ack(&[delivery.tag]).await.expect("settled");
        }
    });
    sending.await.expect("all were taken");
    reading.await.expect("all came, in order");
}

#[tokio::test(start_paused = true)]
async fn an_inbox_is_full_by_bytes_too_and_an_empty_one_takes_anything() {
    let network = Loopback::new().with_inbox_limits(usize::MAX, 2 * 1_024 + 10);
    let bob = attach(&network, "bob").await;
    for (body, fits) in [("12345", true), ("12345", true), ("", false)] {
        assert_eq!(bob.send(&text(&bob, body)).await.is_ok(), fits);
    }
    let carol = attach(&network, "carol").await;
    carol.send(&text(&carol, &"x".repeat(5_000))).await.expect("it is empty");
}

#[tokio::test(start_paused = true)]
async fn what_is_more_urgent_goes_before_what_was_not_handed_on_yet() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    let mut events = read(&bob, SubscribeOptions::own()).await;
    assert_eq!(now(&mut events), ["|"]);
    for number in ["1", "2", "3"] {
        bob.send(&text(&bob, number)).await.expect("sent");
    }
    assert_eq!(next(&mut events).await.body.as_str(), Some("1"));
    bob.send(&text(&bob, "urgent").with_priority(Priority::Urgent)).await.expect("sent");
    assert_eq!(now(&mut events), ["urgent", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_elsewhere_or_never_handed_on_does_not_come_again() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for number in ["1", "2", "3"] {
        bob.send(&text(&bob, number)).await.expect("sent");
    }
    let mut one = read(&bob, SubscribeOptions::own()).await;
    let mut other = read(&bob, SubscribeOptions::own()).await;
    let (first, second) = (next(&mut one).await, next(&mut one).await);
    assert_eq!(next(&mut other).await.id, first.id);
    bob.ack(&[first.tag, second.tag]).await.expect("settled");
    let third = next(&mut other).await;
    assert_eq!((third.body.as_str(), third.redelivered), (Some("3"), false), "the second was settled");
    drop(one);
    drop(other);
    let mut again = read(&bob, SubscribeOptions::own()).await;
    assert!(next(&mut again).await.redelivered, "it was handed on once");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_no_reader_was_handed_counts_as_never_delivered() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for number in ["1", "2"] {
        bob.send(&text(&bob, number)).await.expect("sent");
    }
    let mut events = read(&bob, SubscribeOptions::own()).await;
    next(&mut events).await;
    drop(events);
    let mut events = read(&bob, SubscribeOptions::own()).await;
    let redelivered = [next(&mut events).await.redelivered, next(&mut events).await.redelivered];
    assert_eq!(redelivered, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_cut_withholds_what_was_not_handed_on_and_a_stall_does_so_while_it_lasts() {
    let network = Loopback::new();
    let bob = attach(&network, "bob").await;
    for number in ["1", "2", "3"] {
        bob.send(&text(&bob, number)).await.expect("sent");
    }
    let mut events = read(&bob, SubscribeOptions::own()).await;
    assert_eq!(next(&mut events).await.body.as_str(), Some("1"));
    network.stall(SECOND);
    assert!(now(&mut events).is_empty());
    network.heal();
    assert_eq!(next(&mut events).await.body.as_str(), Some("2"));
    network.cut();
    assert_eq!(events.next().await.expect("an end").expect_err("cut").kind(), ErrorKind::Disconnected);
}
