//! The whole consumer over an in-memory broker, in paused time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MsgId, Priority, Received};
use crate::options::{DeliverPolicy, FetchOptions, Group};

use super::model::Mailbox;
use super::ops::MailboxOps;
use super::options::{AckMode, ConsumerOptions, PollerOptions};
use super::poller::Poller;
use super::{Consumer, Pacing};

const MS: Duration = Duration::from_millis(1);

/// Mailboxes in memory behind the consumer's trait, counting and failing on demand.
#[derive(Clone, Default)]
struct Broker(Arc<Inner>);

#[derive(Default)]
struct Inner {
    boxes: Mutex<HashMap<String, Mailbox>>,
    fetches: AtomicUsize,
    concurrent: AtomicUsize,
    most_concurrent: AtomicUsize,
    acks: Mutex<Vec<u64>>,
    fail: Mutex<Option<ErrorKind>>,
    gone: AtomicBool,
    panics: AtomicBool,
    latency: Mutex<Duration>,
}

impl Broker {
    fn with<T>(&self, mailbox: &str, look: impl FnOnce(&mut Mailbox) -> T) -> T {
        look(self.0.boxes.lock().expect("boxes").entry(mailbox.to_owned()).or_default())
    }

    fn send(&self, mailbox: &str, count: usize) {
        self.with(mailbox, |mailbox| (0..count).for_each(|_| drop(mailbox.send(Priority::Normal))));
    }

    fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    fn acks(&self) -> Vec<u64> {
        self.0.acks.lock().expect("acks").clone()
    }

    fn fail_with(&self, kind: Option<ErrorKind>) {
        *self.0.fail.lock().expect("fail") = kind;
    }

    async fn delay(&self) {
        let latency = *self.0.latency.lock().expect("latency");
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    fn fault(&self) -> Result<()> {
        match *self.0.fail.lock().expect("fail") {
            Some(kind) => Err(Error::new(kind, "MSG.TEST", "told to fail")),
            None => Ok(()),
        }
    }

    fn poller(&self) -> Poller {
        Poller::spawn(self.clone(), PollerOptions::default().with_seed(1)).expect("runtime")
    }

    fn consume(&self, mailbox: &str, options: ConsumerOptions) -> Consumer {
        self.poller().add(address(mailbox), options).expect("consumer")
    }
}

impl MailboxOps for Broker {
    async fn fetch(&self, mailbox: &MailAddress, options: &FetchOptions) -> Result<Vec<Received>> {
        assert!(!self.0.panics.load(Ordering::SeqCst), "told to panic");
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let now = self.0.concurrent.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_concurrent.fetch_max(now, Ordering::SeqCst);
        self.delay().await;
        self.0.concurrent.fetch_sub(1, Ordering::SeqCst);
        self.fault()?;
        Ok(self.with(mailbox.as_str(), |mailbox| mailbox.fetch(options)))
    }

    async fn ack(&self, mailbox: &MailAddress, group: &Group, up_to: MsgId) -> Result<()> {
        self.delay().await;
        self.fault()?;
        self.0.acks.lock().expect("acks").push(up_to.get());
        self.with(mailbox.as_str(), |mailbox| mailbox.ack(group.as_str(), up_to.get()));
        Ok(())
    }

    async fn delete(&self, mailbox: &MailAddress, id: MsgId) -> Result<()> {
        self.fault()?;
        self.with(mailbox.as_str(), |mailbox| mailbox.rows.remove(&id.get()));
        Ok(())
    }

    async fn exists(&self, _: &MailAddress) -> Result<bool> {
        Ok(!self.0.gone.load(Ordering::SeqCst))
    }
}

fn address(name: &str) -> MailAddress {
    MailAddress::new(name).expect("valid")
}

fn options() -> ConsumerOptions {
    ConsumerOptions::new("g")
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await.expect("in time");
        ids.push(next.expect("open").expect("no error").id().get());
    }
    ids
}

async fn is_silent(consumer: &mut Consumer, time: Duration) -> bool {
    tokio::time::timeout(time, consumer.next()).await.is_err()
}

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
        (0..2).for_each(|_| drop(mailbox.send(Priority::Normal)));
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
