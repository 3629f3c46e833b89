//! What is handed out, acknowledged and deleted, in paused time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorKind;
use crate::message::MsgId;
use crate::options::DeliverPolicy;

use super::memory_broker::{Broker, MS, is_silent, options, take};
use super::options::AckMode;

#[tokio::test(start_paused = true)]
async fn messages_come_once_and_a_settled_one_never_again() {
    let broker = Broker::default();
    broker.send("box", 3);
    let mut consumer = broker.consume("box", options());
    assert_eq!(take(&mut consumer, 3).await, [0, 1, 2]);
    assert!(is_silent(&mut consumer, Duration::from_secs(5)).await, "unsettled rows are not polled again");
    consumer.acker().settle_all((0..3).map(MsgId::new));
    consumer.acker().flush().await.expect("flushed");
    assert_eq!(broker.acks(), [2]);
    drop(consumer);
    broker.send("box", 1);
    assert_eq!(take(&mut broker.consume("box", options()), 1).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn reading_a_backlog_in_one_go_leaves_the_thread_to_others_now_and_then() {
    let broker = Broker::default();
    broker.send("box", 1000);
    let mut consumer = broker.consume("box", options().with_max_outstanding(2000));
    consumer.acker().caught_up().await.expect("caught up");
    let mut all = pin!(take(&mut consumer, 1000));
    let mut turns = 0;
    while poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx).is_pending())).await {
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert!((3..100).contains(&turns), "{turns} times, though everything was in hand");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_settled_comes_to_the_next_consumer() {
    let broker = Broker::default();
    broker.send("box", 4);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 4).await;
    for id in [0, 3, 1] {
        consumer.acker().settle(MsgId::new(id));
    }
    let closed = consumer.close(MS * 100).await;
    assert_eq!(closed.unsettled, [MsgId::new(2)]);
    assert!(!closed.acknowledged, "3 lies behind 2");
    assert_eq!(broker.acks(), [1]);
    assert_eq!(take(&mut broker.consume("box", options()), 2).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_retried_message_holds_the_acknowledgement_but_not_other_messages() {
    let broker = Broker::default();
    broker.send("box", 2);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 2).await;
    let acker = consumer.acker();
    acker.retry(MsgId::new(0), MS * 500);
    acker.settle(MsgId::new(1));
    broker.send("box", 1);
    assert_eq!(take(&mut consumer, 1).await, [2]);
    acker.settle(MsgId::new(2));
    let start = Instant::now();
    let again = consumer.next().await.expect("open").expect("message");
    assert_eq!((again.id().get(), again.attempt, again.redelivered()), (0, 2, true));
    assert!(start.elapsed() >= MS * 400);
    assert_eq!(broker.acks(), [0_u64; 0]);
    acker.settle(again.id());
    acker.flush().await.expect("flushed");
    assert_eq!(broker.acks(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_deep_backlog_takes_few_fetches_and_fewer_acknowledgements() {
    let broker = Broker::default();
    broker.send("box", 20_000);
    let mut consumer = broker.consume("box", options());
    let acker = consumer.acker();
    for _ in 0..20_000 {
        let message = consumer.next().await.expect("open").expect("message");
        acker.settle(message.id());
    }
    acker.flush().await.expect("flushed");
    assert_eq!(broker.acks().last(), Some(&19_999));
    assert!(broker.acks().is_sorted());
    assert!(broker.acks().len() <= 22, "{} acknowledgements", broker.acks().len());
    assert!(broker.fetches() <= 60, "{} fetches", broker.fetches());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_beyond_the_budget() {
    let broker = Broker::default();
    broker.send("box", 100);
    let mut consumer = broker.consume("box", options().with_max_outstanding(10));
    let first = take(&mut consumer, 10).await;
    assert!(is_silent(&mut consumer, Duration::from_secs(5)).await);
    let before = broker.fetches();
    assert!(is_silent(&mut consumer, Duration::from_secs(5)).await);
    assert_eq!(broker.fetches(), before, "no FETCH while nothing can be taken");
    consumer.acker().settle(MsgId::new(first[0]));
    assert_eq!(take(&mut consumer, 1).await, [10]);
}

#[tokio::test(start_paused = true)]
async fn the_byte_budget_holds_too_and_lets_one_large_message_through() {
    let broker = Broker::default();
    broker.send("box", 3);
    broker.with("box", |mailbox| {
        for row in mailbox.rows.values_mut() {
            row.payload = vec![b'x'; 1000].into();
        }
    });
    let mut consumer = broker.consume("box", options().with_max_outstanding_bytes(500));
    for id in 0..3 {
        assert_eq!(take(&mut consumer, 1).await, [id]);
        assert!(is_silent(&mut consumer, Duration::from_secs(1)).await);
        consumer.acker().settle(MsgId::new(id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_large_to_come_is_asked_for_in_parts() {
    for (each, largest) in [(1_000, 8_000), (6_000, 13_000), (7_000, 8_000)] {
        let broker = Broker::default();
        broker.send("box", 100);
        broker.with("box", |mailbox| {
            for row in mailbox.rows.values_mut() {
                row.payload = vec![b'x'; each].into();
            }
        });
        *broker.0.largest.lock().expect("largest") = Some(largest);
        let mut consumer = broker.consume("box", options());
        for id in 0..100 {
            assert_eq!(take(&mut consumer, 1).await, [id]);
            consumer.acker().settle(MsgId::new(id));
        }
        consumer.acker().flush().await.expect("flushed");
        assert_eq!(broker.acks().last(), Some(&99));
    }
}

#[tokio::test(start_paused = true)]
async fn delete_mode_removes_exactly_what_is_settled() {
    let broker = Broker::default();
    broker.send("box", 4);
    let mut consumer = broker.consume("box", options().with_ack_mode(AckMode::Delete));
    take(&mut consumer, 4).await;
    consumer.acker().settle_all([3, 1].map(MsgId::new));
    consumer.acker().flush().await.expect("flushed");
    assert!(broker.with("box", |mailbox| mailbox.rows.keys().copied().eq([0, 2])));
    assert_eq!(broker.acks(), [0_u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn latest_begins_with_the_last_message_and_misses_none_after_it() {
    let broker = Broker::default();
    broker.send("box", 5);
    let mut consumer = broker.consume("box", options().with_deliver(DeliverPolicy::Latest));
    assert_eq!(take(&mut consumer, 1).await, [4]);
    let mut empty = broker.consume("empty", options().with_deliver(DeliverPolicy::Latest));
    assert!(is_silent(&mut empty, MS * 100).await);
    broker.send("empty", 3);
    assert_eq!(take(&mut empty, 3).await, [0, 1, 2], "not only the newest of those sent between two polls");
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_offset_the_broker_lost_is_told_again_and_nothing_repeats() {
    let broker = Broker::default();
    broker.send("box", 5);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 5).await;
    consumer.acker().settle_all((0..5).map(MsgId::new));
    consumer.acker().flush().await.expect("flushed");
    broker.with("box", |mailbox| mailbox.offsets.clear());
    assert!(is_silent(&mut consumer, Duration::from_secs(5)).await);
    assert_eq!(broker.acks(), [4, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_whose_data_was_replaced_is_read_anew() {
    let broker = Broker::default();
    broker.send("box", 5);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 5).await;
    consumer.acker().settle_all((0..5).map(MsgId::new));
    consumer.acker().flush().await.expect("flushed");
    // The group's offset outlives the data and hides the new messages from a group read.
    broker.with("box", |mailbox| {
        mailbox.rows.clear();
        mailbox.next = 0;
        mailbox.send_many(2);
        mailbox.rows.values_mut().for_each(|row| row.create_time += 1000);
    });
    assert_eq!(take(&mut consumer, 2).await, [0, 1]);
    consumer.acker().settle_all([0, 1].map(MsgId::new));
    consumer.acker().flush().await.expect("flushed");
    assert_eq!(broker.acks(), [4, 1]);
    assert_eq!(consumer.stats().resets, 1);
}

#[tokio::test(start_paused = true)]
async fn repeated_ids_end_the_stream_and_are_never_acknowledged() {
    let broker = Broker::default();
    broker.send("box", 3);
    let mut consumer = broker.consume("box", options());
    take(&mut consumer, 3).await;
    // The last record, which a read beyond the end shows again, is another one now.
    broker.with("box", |mailbox| {
        if let Some(row) = mailbox.rows.get_mut(&2) {
            row.payload = "another".into();
        }
    });
    let end = consumer.next().await.expect("an item").expect_err("an error");
    assert_eq!(end.kind(), ErrorKind::Partitioned);
    consumer.acker().settle_all((0..3).map(MsgId::new));
    assert_eq!(consumer.acker().flush().await.expect_err("ended").kind(), ErrorKind::Partitioned);
    assert_eq!(broker.acks(), [0_u64; 0]);
}
