//! The polling task's life, in paused time: what keeps it going, what ends it, and how it shares itself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::message::MsgId;

use super::memory_broker::{Broker, MS, address, is_silent, options, take};
use super::options::PollerOptions;
use super::pacing::Pacing;
use super::poller::Poller;
use super::stream::Consumer;

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_in_hand_and_leaves_what_was_not_handed_out() {
    let broker = Broker::default();
    broker.send("box", 5);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 2).await;
    let acker = consumer.acker();
    let settling = async {
        tokio::time::sleep(MS * 700).await;
        acker.settle_all([MsgId::new(0), MsgId::new(1)]);
    };
    let start = Instant::now();
    let (closed, ()) = tokio::join!(consumer.close(Duration::from_secs(60)), settling);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(closed.unsettled, [2, 3, 4].map(MsgId::new));
    assert!(closed.acknowledged);
    assert_eq!(broker.acks().last(), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_consumer_stops_its_fetches_at_once() {
    let broker = Broker::default();
    let poller = broker.poller();
    let mut consumer = poller.add(address("box"), options()).expect("consumer");
    assert!(is_silent(&mut consumer, MS * 50).await);
    let before = broker.fetches();
    assert!(before > 5, "it polls: {before}");
    drop(consumer);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(broker.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_consumer_acknowledges_what_was_settled() {
    let broker = Broker::default();
    broker.send("box", 2);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 2).await;
    consumer.acker().settle(MsgId::new(0));
    drop(consumer);
    tokio::time::sleep(MS * 10).await;
    assert_eq!(broker.acks(), [0]);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let broker = Broker::default();
    let poller = broker.poller();
    let mut consumer = poller.add(address("box"), options()).expect("consumer");
    drop(poller);
    broker.send("box", 1);
    assert_eq!(take(&mut consumer, 1).await, [0], "a consumer keeps the task alive");
    assert_eq!(Arc::strong_count(&broker.0), 2);
    drop(consumer);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(Arc::strong_count(&broker.0), 1, "the task has let go of the connection");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_task_ends_every_consumer_with_an_error() {
    let broker = Broker::default();
    let poller = broker.poller();
    let mut consumers = ["a", "b"].map(|name| poller.add(address(name), options()).expect("consumer"));
    assert!(is_silent(&mut consumers[0], MS * 20).await);
    broker.0.panics.store(true, Ordering::SeqCst);
    for consumer in &mut consumers {
        let end = consumer.next().await.expect("an item").expect_err("an error");
        assert_eq!(end.kind(), ErrorKind::Closed);
        assert!(consumer.next().await.is_none());
        assert!(consumer.acker().flush().await.is_err());
    }
    assert_eq!(poller.add(address("c"), options()).expect_err("gone").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn temporary_errors_are_counted_and_outlived_and_permanent_ones_end_the_stream() {
    let broker = Broker::default();
    broker.send("box", 1);
    broker.fail_with(Some(ErrorKind::Disconnected));
    let mut consumer = broker.consume("box", options());
    assert!(is_silent(&mut consumer, Duration::from_secs(30)).await);
    let tries = broker.fetches();
    assert!((6..40).contains(&tries), "backoff, not a loop: {tries}");
    broker.fail_with(None);
    assert_eq!(take(&mut consumer, 1).await, [0]);
    assert!(consumer.stats().temporary_errors >= 6);
    broker.fail_with(Some(ErrorKind::MailboxNotFound));
    let end = consumer.next().await.expect("an item").expect_err("an error");
    assert_eq!(end.kind(), ErrorKind::MailboxNotFound);
    assert!(consumer.next().await.is_none());
    let before = broker.fetches();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(broker.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn an_expired_mailbox_ends_the_stream_when_probing_is_on() {
    let broker = Broker::default();
    let mut consumer = broker.consume("box", options().with_expiry_probe(Duration::from_secs(10)));
    assert!(is_silent(&mut consumer, Duration::from_secs(60)).await);
    broker.0.gone.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let end = consumer.next().await.expect("an item").expect_err("an error");
    assert_eq!(end.kind(), ErrorKind::MailboxNotFound);
    assert!(start.elapsed() <= Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn for_each_retries_errors_and_panics_and_settles_the_rest() {
    let broker = Broker::default();
    broker.send("box", 6);
    let consumer = broker.consume("box", options());
    let (acker, seen) = (consumer.acker(), Mutex::new(Vec::new()));
    let work = consumer.for_each(3, |message| {
        let (id, attempt) = (message.id().get(), message.attempt);
        seen.lock().expect("seen").push((id, attempt));
        let acker = acker.clone();
        async move {
            assert!(id != 2 || attempt > 2, "message 2 panics twice");
            if id == 4 && attempt == 1 {
                return Err("message 4 fails once");
            }
            if id == 2 {
                acker.stop();
            }
            Ok(())
        }
    });
    work.await.expect("stopped on purpose");
    let mut seen = seen.into_inner().expect("seen");
    seen.sort_unstable();
    assert_eq!(seen, [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1), (4, 2), (5, 1)]);
    assert_eq!(broker.acks().last(), Some(&5), "all is acknowledged when it ends");
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_keeps_the_order() {
    let broker = Broker::default();
    broker.send("box", 50);
    let consumer = broker.consume("box", options().with_max_outstanding(7));
    let (acker, seen) = (consumer.acker(), Mutex::new(Vec::new()));
    let work = consumer.for_each(1, |message| {
        let (acker, id) = (acker.clone(), message.id().get());
        seen.lock().expect("seen").push(id);
        async move {
            tokio::time::sleep(MS * (id % 3) as u32).await;
            if id == 49 {
                acker.stop();
            }
            Ok::<_, Error>(())
        }
    });
    work.await.expect("stopped");
    assert!(seen.into_inner().expect("seen").into_iter().eq(0..50));
    assert_eq!(broker.acks().last(), Some(&49));
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_the_handler_within_ten_milliseconds_of_a_mailbox_in_use() {
    let broker = Broker::default();
    let mut consumer = broker.consume("box", options());
    let acker = consumer.acker();
    let mut rng = fastrand::Rng::with_seed(3);
    let mut late = Vec::new();
    for _ in 0..100 {
        let pause = rng.u32(100..2000) * MS;
        assert!(is_silent(&mut consumer, pause).await);
        broker.send("box", 1);
        let start = Instant::now();
        let message = consumer.next().await.expect("open").expect("message");
        late.push(start.elapsed());
        acker.settle(message.id());
    }
    late.sort_unstable();
    assert!(late[50] <= MS * 5 && late[99] <= MS * 12, "p50 {:?}, worst {:?}", late[50], late[99]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_mailboxes_share_the_budget_and_a_busy_one_is_not_starved() {
    let broker = Broker::default();
    let poller = broker.poller();
    let _idle: Vec<Consumer> =
        (0..1000).map(|n| poller.add(address(&format!("idle{n}")), options()).expect("consumer")).collect();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let before = broker.fetches();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let polls = broker.fetches() - before;
    assert!((4000..=5500).contains(&polls), "{polls} polls in 10 s of a budget of 10000");
    let mut busy = poller.add(address("busy"), options()).expect("consumer");
    for id in 0..20 {
        tokio::time::sleep(MS * 300).await;
        broker.send("busy", 1);
        let start = Instant::now();
        assert_eq!(take(&mut busy, 1).await, [id]);
        assert!(start.elapsed() <= MS * 10, "{:?}", start.elapsed());
        busy.acker().settle(MsgId::new(id));
    }
}

#[tokio::test(start_paused = true)]
async fn fetches_under_way_are_bounded() {
    let broker = Broker::default();
    *broker.0.latency.lock().expect("latency") = MS * 5;
    let poller = broker.poller();
    let _all: Vec<Consumer> =
        (0..50).map(|n| poller.add(address(&format!("m{n}")), options()).expect("consumer")).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(broker.0.most_concurrent.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn the_budget_and_the_fetches_under_way_can_be_set() {
    let broker = Broker::default();
    *broker.0.latency.lock().expect("latency") = MS * 5;
    let settings = PollerOptions::default().with_concurrent_fetches(2).with_polls_per_second(50);
    let poller = Poller::spawn(broker.clone(), settings.with_seed(1)).expect("runtime");
    let _all: Vec<Consumer> =
        (0..50).map(|n| poller.add(address(&format!("m{n}")), options()).expect("consumer")).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = broker.fetches();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let polls = broker.fetches() - before;
    assert!((400..=550).contains(&polls), "{polls} polls in 10 s of a budget of 500");
    assert!(broker.0.most_concurrent.load(Ordering::SeqCst) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_flush_outlives_failing_acknowledgements() {
    let broker = Broker::default();
    broker.send("box", 1);
    let mut consumer = broker.consume("box", options().with_pacing(Pacing::default().with_hot(MS * 50)));
    take(&mut consumer, 1).await;
    broker.fail_with(Some(ErrorKind::Timeout));
    consumer.acker().settle(MsgId::new(0));
    let acker = consumer.acker();
    let flush = acker.flush();
    tokio::pin!(flush);
    assert!(tokio::time::timeout(Duration::from_secs(3), &mut flush).await.is_err());
    broker.fail_with(None);
    tokio::time::timeout(Duration::from_secs(10), flush).await.expect("in time").expect("flushed");
}

#[tokio::test(start_paused = true)]
async fn caught_up_comes_after_the_backlog_and_before_what_is_new() {
    let broker = Broker::default();
    broker.send("box", 30);
    let mut consumer = broker.consume("box", options().with_max_outstanding(8));
    let acker = consumer.acker();
    let mut before = Vec::new();
    loop {
        tokio::select! {
            biased;
            next = consumer.next() => {
                let id = next.expect("open").expect("message").id();
                before.push(id.get());
                acker.settle(id);
            }
            caught_up = acker.caught_up() => break caught_up.expect("open"),
        }
    }
    assert!(before.into_iter().eq(0..30));
    broker.send("box", 1);
    assert_eq!(take(&mut consumer, 1).await, [30]);
    drop(consumer);
    tokio::time::sleep(MS).await;
    acker.caught_up().await.expect("it had");
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_backlog_is_read_ends_the_wait_for_it() {
    let broker = Broker::default();
    broker.fail_with(Some(ErrorKind::MailboxNotFound));
    let consumer = broker.consume("box", options());
    assert_eq!(consumer.acker().caught_up().await.expect_err("ended").kind(), ErrorKind::MailboxNotFound);
}
