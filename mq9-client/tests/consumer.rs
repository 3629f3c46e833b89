//! The consumer over real sockets, against the broker double.

#![cfg(feature = "test-broker")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use mq9_client::testing::{Broker, EngineProfile};
use mq9_client::{
    AckMode, Client, ConnectOptions, Consumer, ConsumerOptions, CreateMailbox, DeliverPolicy, ErrorKind,
    FetchOptions, Lifetime, MailAddress, Message, MsgId, Partition, PartitionBy, Poller, PollerOptions,
    Priority, Reconnect,
};
use support::{address, within};

const SECOND: Duration = Duration::from_secs(1);

async fn rig(engine: EngineProfile) -> (Broker, Client, MailAddress) {
    let broker = Broker::builder().engine(engine).start().await.expect("a broker");
    let reconnect = Reconnect::backoff(Duration::from_millis(5), SECOND / 10);
    let options = ConnectOptions::new().with_reconnect(reconnect);
    let client = options.connect(&broker.url()).await.expect("connects");
    let inbox = address("agent.inbox");
    let create = CreateMailbox::named(inbox.clone()).with_lifetime(Lifetime::Forever);
    client.create_mailbox(create).await.expect("created");
    (broker, client, inbox)
}

async fn send(client: &Client, inbox: &MailAddress, numbers: std::ops::Range<usize>) {
    let mut rng = fastrand::Rng::with_seed(numbers.start as u64);
    for number in numbers {
        let priority = *rng.choice(&[Priority::Normal, Priority::Urgent, Priority::Critical]).expect("one");
        let message = Message::new(number.to_string()).with_priority(priority);
        client
            .send(inbox, &message.with_header("conversation", (number % 7).to_string()))
            .await
            .expect("sent");
    }
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<(MsgId, String)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = within(20, "the next message", consumer.next()).await;
        let message = next.expect("open").expect("no error").message;
        taken.push((message.id, String::from_utf8(message.payload.to_vec()).expect("text")));
    }
    taken
}

#[tokio::test]
async fn everyone_who_finishes_a_consumer_learns_the_same_end() {
    let (_broker, client, inbox) = rig(EngineProfile::robustmq()).await;
    send(&client, &inbox, 0..10).await;
    let mut consumer = client.consume(&inbox, ConsumerOptions::new("work")).await.expect("consumes");
    let acker = consumer.acker();
    for (id, _) in take(&mut consumer, 10).await {
        acker.settle(id);
    }
    let (first, second) = tokio::join!(acker.finish(SECOND * 5), acker.finish(SECOND * 5));
    assert!(first.acknowledged && first.unsettled.is_empty(), "{first:?}");
    assert_eq!(second, first);
    assert_eq!(acker.finish(SECOND).await, first, "after the end as well");
}

#[tokio::test]
async fn consumers_that_come_and_go_hand_out_every_message_of_every_priority() {
    let (_broker, client, inbox) = rig(EngineProfile::robustmq()).await;
    send(&client, &inbox, 0..400).await;
    let mut settled = BTreeSet::new();
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..6 {
        let options = ConsumerOptions::new("work").with_max_outstanding(40).with_ack_every(25, SECOND / 10);
        let mut consumer = client.consume(&inbox, options).await.expect("consumer");
        let acker = consumer.acker();
        send(&client, &inbox, 400 + round * 20..420 + round * 20).await;
        for _ in 0..60 {
            let (id, text) = take(&mut consumer, 1).await.remove(0);
            // Some are left in hand: the next consumer gets them, and all behind them, again.
            if rng.u8(..) > 3 || round == 5 {
                acker.settle(id);
                settled.insert(text);
            }
        }
        let _ = consumer.close(SECOND / 5).await;
    }
    let mut last = client.consume(&inbox, ConsumerOptions::new("work")).await.expect("consumer");
    let acker = last.acker();
    while settled.len() < 520 {
        let (id, text) = take(&mut last, 1).await.remove(0);
        acker.settle(id);
        settled.insert(text);
    }
    within(10, "the flush", acker.flush()).await.expect("flushed");
    let group = ConsumerOptions::new("work").group_for(&inbox).expect("group");
    let rest = client.fetch(&inbox, &FetchOptions::group(group)).await.expect("fetched");
    assert!(rest.is_empty(), "everything is acknowledged: {rest:?}");
}

#[tokio::test]
async fn a_cut_connection_is_outlived_without_loss_or_repetition() {
    let (broker, client, inbox) = rig(EngineProfile::robustmq()).await;
    send(&client, &inbox, 0..100).await;
    let mut consumer = client
        .consume(&inbox, ConsumerOptions::new("work").with_max_outstanding(16))
        .await
        .expect("consumer");
    let acker = consumer.acker();
    let mut seen = Vec::new();
    for turn in 0..100 {
        if turn % 30 == 10 {
            broker.faults().cut_all();
        }
        let (id, text) = take(&mut consumer, 1).await.remove(0);
        acker.settle(id);
        seen.push(text);
    }
    within(20, "the flush", acker.flush()).await.expect("flushed");
    let each: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((each.len(), seen.len()), (100, 100));
}

#[tokio::test]
async fn a_broker_with_several_partitions_ends_the_stream_before_anything_is_acknowledged() {
    let (broker, client, inbox) = rig(EngineProfile::robustmq().with_partitions(3)).await;
    send(&client, &inbox, 0..9).await;
    let mut consumer = client.consume(&inbox, ConsumerOptions::new("work")).await.expect("consumer");
    let end = within(10, "the end", consumer.next()).await.expect("an item").expect_err("an error");
    assert_eq!(end.kind(), ErrorKind::Partitioned);
    assert_eq!(broker.host().counts().acks, 0);
}

#[tokio::test]
async fn several_partitions_are_noticed_even_when_messages_come_one_by_one() {
    let (_broker, client, inbox) = rig(EngineProfile::robustmq().with_partitions(3)).await;
    let mut consumer = client.consume(&inbox, ConsumerOptions::new("work")).await.expect("consumer");
    let acker = consumer.acker();
    for number in 0..40 {
        send(&client, &inbox, number..number + 1).await;
        match tokio::time::timeout(SECOND / 10, consumer.next()).await {
            Ok(Some(Ok(delivered))) => acker.settle(delivered.id()),
            Ok(Some(Err(end))) => {
                assert_eq!(end.kind(), ErrorKind::Partitioned);
                return;
            }
            Ok(None) => panic!("an end without an error"),
            Err(_) => {}
        }
    }
    panic!("never noticed");
}

#[tokio::test]
async fn shares_split_conversations_and_together_get_every_message() {
    let (_broker, client, inbox) = rig(EngineProfile::robustmq()).await;
    send(&client, &inbox, 0..140).await;
    let poller = Poller::connect(&client, PollerOptions::default()).await.expect("poller");
    let mut all = Vec::new();
    for index in 0..3 {
        let share = Partition::new(index, 3).expect("share");
        let share = share.with_by(PartitionBy::Header("Conversation".into()));
        let mut consumer =
            poller.add(inbox.clone(), ConsumerOptions::new("work").with_partition(share)).expect("consumer");
        let acker = consumer.acker();
        let mut conversations = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                next = consumer.next() => {
                    let message = next.expect("open").expect("message").message;
                    conversations.insert(message.headers.get("conversation").expect("set").to_owned());
                    acker.settle(message.id);
                    all.push((message.id, index));
                }
                caught_up = acker.caught_up() => break caught_up.expect("open"),
            }
        }
        assert!(conversations.len() < 7, "a share is a part: {conversations:?}");
        within(10, "the flush", acker.flush()).await.expect("flushed");
    }
    let ids: BTreeSet<MsgId> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!((ids.len(), all.len()), (140, 140));
}

#[tokio::test]
async fn delete_mode_empties_the_mailbox() {
    let (_broker, client, inbox) = rig(EngineProfile::robustmq()).await;
    send(&client, &inbox, 0..30).await;
    let options = ConsumerOptions::new("work").with_ack_mode(AckMode::Delete);
    let mut consumer = client.consume(&inbox, options).await.expect("consumer");
    let taken = take(&mut consumer, 30).await;
    consumer.acker().settle_all(taken.iter().skip(2).map(|(id, _)| *id));
    within(10, "the flush", consumer.acker().flush()).await.expect("flushed");
    let rest = client.fetch(&inbox, &FetchOptions::stateless()).await.expect("fetched");
    let rest: BTreeSet<MsgId> = rest.into_iter().map(|row| row.id).collect();
    assert_eq!(rest, taken[..2].iter().map(|(id, _)| *id).collect());
}

#[tokio::test]
async fn a_mailbox_that_never_existed_ends_the_stream() {
    let (_broker, client, _) = rig(EngineProfile::robustmq()).await;
    let options = ConsumerOptions::new("work").with_deliver(DeliverPolicy::Latest);
    let mut consumer = client.consume(&address("no.such"), options).await.expect("consumer");
    let end = within(10, "the end", consumer.next()).await.expect("an item").expect_err("an error");
    assert_eq!(end.kind(), ErrorKind::MailboxNotFound);
}

#[tokio::test]
async fn reading_stays_off_the_connection_that_sends() {
    let (broker, client, inbox) = rig(EngineProfile::robustmq()).await;
    let before = broker.connections();
    let consumer = client.consume(&inbox, ConsumerOptions::new("work")).await.expect("consumer");
    assert_eq!(broker.connections(), before + 1);
    drop(consumer);
    within(10, "the second connection's end", async {
        while broker.connections() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_reconnect_takes_its_consumers_with_it() {
    let (broker, _, inbox) = rig(EngineProfile::robustmq()).await;
    let options = ConnectOptions::new().with_reconnect(Reconnect::Close);
    let client = options.connect(&broker.url()).await.expect("connects");
    let mut consumer = client.consume(&inbox, ConsumerOptions::new("work")).await.expect("consumer");
    consumer.acker().caught_up().await.expect("reads");
    broker.faults().cut_all();
    let end = within(10, "the end", consumer.next()).await.expect("an item").expect_err("an error");
    assert_eq!(end.kind(), ErrorKind::Disconnected);
}
