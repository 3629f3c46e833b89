//! Every command on mailboxes and messages, with the broker's traps, over both forms of the wire.
#![cfg(feature = "test-broker")]

mod connection;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use bytes::Bytes;
use mq9_client::testing::{Broker, EngineProfile, WireProfile};
use mq9_client::{
    Client, CreateMailbox, DeliverPolicy, Ensured, ErrorKind, FetchOptions, Group, Headers, Lifetime,
    MailAddress, Message, MsgId, Priority, QueryOptions, Reached, Received, Sent,
};
use support::{address, within};

const MINUTE: Duration = Duration::from_secs(60);

struct Rig {
    broker: Broker,
    client: Client,
    inbox: MailAddress,
}

impl Rig {
    async fn of(engine: EngineProfile, wire: WireProfile) -> Self {
        let broker = Broker::builder().engine(engine).wire(wire).start().await.expect("a broker");
        let client = Client::connect(&broker.url()).await.expect("connects");
        let inbox = address("agent.inbox");
        let create = CreateMailbox::named(inbox.clone()).with_lifetime(Lifetime::Forever);
        client.create_mailbox(create).await.expect("created");
        Self { broker, client, inbox }
    }

    async fn both() -> [Self; 2] {
        let robustmq = EngineProfile::robustmq;
        [Self::of(robustmq(), WireProfile::Standard).await, Self::of(robustmq(), WireProfile::RobustMq).await]
    }

    async fn send(&self, message: Message) -> Sent {
        self.client.send(&self.inbox, &message).await.expect("sent")
    }

    async fn fetch(&self, options: FetchOptions) -> Vec<Received> {
        self.client.fetch(&self.inbox, &options).await.expect("fetched")
    }

    async fn query(&self, options: QueryOptions) -> Vec<Received> {
        self.client.query(&self.inbox, &options).await.expect("queried")
    }

    fn group(&self, name: &str) -> Group {
        Group::for_mailbox(&self.inbox, name).expect("valid")
    }

    async fn ack(&self, group: &Group, id: u64) {
        self.client.ack(&self.inbox, group, MsgId::new(id)).await.expect("acknowledged");
    }
}

fn ids(messages: &[Received]) -> Vec<u64> {
    messages.iter().map(|message| message.id.get()).collect()
}

fn texts(messages: &[Received]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

fn stateless() -> FetchOptions {
    FetchOptions::stateless()
}

fn kind<T>(outcome: mq9_client::Result<T>) -> ErrorKind {
    outcome.err().expect("an error").kind()
}

#[tokio::test]
async fn mailboxes_are_created_once_and_ensured_again() {
    for rig in Rig::both().await {
        let client = &rig.client;
        let unnamed = client.create_mailbox(CreateMailbox::unnamed()).await.expect("created");
        assert_ne!(unnamed, client.create_mailbox(CreateMailbox::unnamed()).await.expect("created"));
        let again = client.create_mailbox(CreateMailbox::named(rig.inbox.clone())).await.expect_err("taken");
        assert_eq!((again.kind(), again.reached()), (ErrorKind::MailboxExists, Reached::Yes));
        let fresh = || CreateMailbox::named(address("fresh"));
        assert_eq!(client.ensure_mailbox(fresh()).await.expect("made"), Ensured::Created(address("fresh")));
        let ensured = client.ensure_mailbox(fresh()).await.expect("there");
        assert_eq!(ensured, Ensured::Existed(address("fresh")));
        assert_eq!(ensured.address(), &address("fresh"));
        assert_eq!(ensured.into_address(), address("fresh"));
        assert_eq!(kind(client.ensure_mailbox(CreateMailbox::unnamed()).await), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn asking_whether_a_mailbox_exists_leaves_a_living_one_alone_and_a_missing_one_for_a_minute() {
    for rig in Rig::both().await {
        let ghost = address("ghost");
        assert!(rig.client.mailbox_exists(&rig.inbox).await.expect("asked"));
        assert!(!rig.client.mailbox_exists(&ghost).await.expect("asked"));
        assert!(rig.client.mailbox_exists(&ghost).await.expect("asked"), "the documented trace");
        rig.broker.host().advance(MINUTE * 3);
        rig.send(Message::new("still there")).await;
        let gone = rig.client.send(&ghost, &Message::new("x")).await;
        assert_eq!(kind(gone), ErrorKind::MailboxNotFound);
    }
}

#[tokio::test]
async fn an_expired_mailbox_refuses_sends_but_still_answers_reads() {
    for rig in Rig::both().await {
        let short = address("short");
        let create = CreateMailbox::named(short.clone()).with_lifetime(Lifetime::For(Duration::from_secs(2)));
        rig.client.create_mailbox(create.clone()).await.expect("created");
        rig.client.send(&short, &Message::new("old")).await.expect("sent");
        rig.broker.host().advance(MINUTE * 2);
        assert_eq!(kind(rig.client.send(&short, &Message::new("x")).await), ErrorKind::MailboxNotFound);
        assert!(!rig.client.mailbox_exists(&short).await.expect("asked"));
        let left = rig.client.fetch(&short, &stateless()).await.expect("leftovers");
        assert_eq!(texts(&left), ["old"]);
    }
}

#[tokio::test]
async fn a_mailbox_that_never_was_is_not_found_by_any_command() {
    for rig in Rig::both().await {
        let (client, never) = (&rig.client, address("never.was"));
        let group = Group::new("g").expect("valid");
        assert_eq!(kind(client.send(&never, &Message::new("x")).await), ErrorKind::MailboxNotFound);
        assert_eq!(kind(client.fetch(&never, &stateless()).await), ErrorKind::MailboxNotFound);
        assert_eq!(kind(client.query(&never, &QueryOptions::all()).await), ErrorKind::MailboxNotFound);
        assert_eq!(kind(client.ack(&never, &group, MsgId::new(0)).await), ErrorKind::MailboxNotFound);
        let error = client.delete(&never, MsgId::new(0)).await.expect_err("nothing there");
        assert_eq!(error.kind(), ErrorKind::MailboxNotFound);
        assert!(!format!("{error} {error:?}").contains("never.was"), "{error}");
    }
}

#[tokio::test]
async fn what_is_sent_comes_back_byte_for_byte_with_its_headers() {
    for rig in Rig::both().await {
        let payloads: Vec<Bytes> = vec![
            Bytes::new(),
            Bytes::from_static(b"plain"),
            Bytes::from("grüße\r\n\u{0}\u{fffd}"),
            Bytes::from_static(&[0xff, 0xfe, 0x00, 0x80]),
            (0..=255_u8).collect(),
        ];
        for payload in &payloads {
            let message = Message::new(payload.clone())
                .with_header("traceparent", "00-x")
                .with_header("via", "a")
                .with_header("via", "b")
                .with_header("empty", "");
            rig.send(message).await;
        }
        let read = rig.fetch(stateless()).await;
        assert_eq!(read.iter().map(|message| message.payload.clone()).collect::<Vec<_>>(), payloads);
        for message in &read {
            assert_eq!(message.headers.get("traceparent"), Some("00-x"));
            let via: Vec<&str> =
                message.headers.iter().filter(|(name, _)| *name == "via").map(|(_, value)| value).collect();
            assert_eq!(via, ["a", "b"]);
            assert_eq!(message.headers.get("empty"), Some(""));
            assert_eq!(message.priority, Some(Priority::Normal));
        }
        assert_eq!(ids(&read), [0, 1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn priorities_come_first_and_keep_their_order_within() {
    for rig in Rig::both().await {
        for (text, priority) in [
            ("n1", Priority::Normal),
            ("u1", Priority::Urgent),
            ("c1", Priority::Critical),
            ("n2", Priority::Normal),
            ("c2", Priority::Critical),
        ] {
            rig.send(Message::new(text).with_priority(priority)).await;
        }
        assert_eq!(texts(&rig.fetch(stateless()).await), ["c1", "c2", "u1", "n1", "n2"]);
        assert_eq!(texts(&rig.fetch(stateless().with_num_msgs(2)).await), ["c1", "c2"]);
        assert!(rig.fetch(stateless().with_num_msgs(0)).await.is_empty());
    }
}

#[tokio::test]
async fn only_the_newest_message_of_a_key_is_kept() {
    for rig in Rig::both().await {
        rig.send(Message::new("old").with_key("k")).await;
        rig.send(Message::new("other")).await;
        rig.send(Message::new("new").with_key("k")).await;
        assert_eq!(texts(&rig.fetch(stateless()).await), ["other", "new"]);
        let newest = rig.query(QueryOptions::key("k")).await;
        assert_eq!((texts(&newest), newest[0].key()), (vec!["new".to_owned()], Some("k")));
        assert!(rig.query(QueryOptions::key("none")).await.is_empty());
    }
}

#[tokio::test]
async fn a_message_expires_and_a_delayed_one_has_no_id_until_it_comes() {
    for rig in Rig::both().await {
        rig.send(Message::new("brief").with_ttl(Duration::from_secs(2))).await;
        let delayed = rig.send(Message::new("later").with_delay(Duration::from_secs(30)).with_tag("t")).await;
        assert_eq!((delayed, delayed.id()), (Sent::Delayed, None));
        assert_eq!(texts(&rig.fetch(stateless()).await), ["brief"]);
        rig.broker.host().advance(Duration::from_secs(40));
        let read = rig.fetch(stateless()).await;
        assert_eq!(texts(&read), ["later"]);
        assert_eq!(read[0].tags().collect::<Vec<_>>(), ["t"]);
    }
}

#[tokio::test]
async fn what_would_harm_the_broker_is_refused_before_it_is_sent() {
    for rig in Rig::both().await {
        let year = Duration::from_secs(365 * 86_400);
        for message in [
            Message::new("x").with_delay(year + Duration::from_secs(1)),
            Message::new("x").with_delay(MINUTE).with_key("k"),
            Message::new("x").with_delay(MINUTE).with_ttl(MINUTE),
            Message::new("x").with_header("mq9-delay", "99999999999"),
            Message::new("x").with_header("a", "b\r\nmq9-delay: 99999999999"),
        ] {
            let error = rig.client.send(&rig.inbox, &message).await.expect_err("refused");
            assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
        }
        assert_eq!(rig.broker.host().counts().sends, 0);
    }
}

#[tokio::test]
async fn a_payload_over_the_announced_size_is_refused_here_and_the_connection_lives() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = Broker::builder().wire(wire).max_payload(1_000).start().await.expect("a broker");
        let client = Client::connect(&broker.url()).await.expect("connects");
        assert_eq!(client.max_payload(), 1_000);
        let inbox = client.create_mailbox(CreateMailbox::unnamed()).await.expect("created");
        client.send(&inbox, &Message::new(vec![b'x'; 1_000])).await.expect("fits");
        for message in [
            Message::new(vec![b'x'; 1_001]),
            Message::new(vec![0xff; 750]),
            Message::new(vec![b'x'; 990]).with_header("a", "b"),
        ] {
            let error = client.send(&inbox, &message).await.expect_err("too large");
            assert_eq!((error.kind(), error.reached()), (ErrorKind::TooLarge, Reached::No));
        }
        let long = CreateMailbox::unnamed().with_description("d".repeat(2_000));
        assert_eq!(kind(client.create_mailbox(long).await), ErrorKind::TooLarge);
        assert_eq!(broker.host().counts().sends, 1);
        client.send(&inbox, &Message::new("still alive")).await.expect("sent");
    }
}

#[tokio::test]
async fn a_group_goes_on_after_what_it_acknowledged() {
    for rig in Rig::both().await {
        let group = rig.group("workers");
        for number in 0..5 {
            rig.send(Message::new(number.to_string())).await;
        }
        let options = || FetchOptions::group(rig.group("workers"));
        assert_eq!(ids(&rig.fetch(options()).await), [0, 1, 2, 3, 4]);
        assert_eq!(ids(&rig.fetch(options()).await), [0, 1, 2, 3, 4], "reading acknowledges nothing");
        rig.ack(&group, 2).await;
        assert_eq!(ids(&rig.fetch(options()).await), [3, 4]);
        rig.ack(&group, 4).await;
        assert!(rig.fetch(options()).await.is_empty());
        rig.ack(&group, 0).await;
        assert_eq!(ids(&rig.fetch(options()).await), [1, 2, 3, 4], "a smaller id rewinds, as documented");
        let forced = options().with_deliver(DeliverPolicy::FromId(MsgId::new(3))).with_force_deliver(true);
        assert_eq!(ids(&rig.fetch(forced).await), [3, 4]);
    }
}

#[tokio::test]
async fn a_bound_group_is_refused_for_another_mailbox_before_anything_is_sent() {
    for rig in Rig::both().await {
        let (group, other) = (rig.group("workers"), address("other"));
        assert_eq!(kind(rig.client.ack(&other, &group, MsgId::new(0)).await), ErrorKind::Invalid);
        assert_eq!(kind(rig.client.fetch(&other, &FetchOptions::group(group)).await), ErrorKind::Invalid);
        let highest = rig.client.ack(&rig.inbox, &rig.group("workers"), MsgId::new(u64::MAX)).await;
        assert_eq!(kind(highest), ErrorKind::Invalid);
        let counts = rig.broker.host().counts();
        assert_eq!((counts.acks, counts.fetches), (0, 0));
    }
}

#[tokio::test]
async fn every_deliver_policy_begins_where_it_says() {
    for rig in Rig::both().await {
        for number in 0..3 {
            rig.send(Message::new(number.to_string())).await;
        }
        let from = |policy| stateless().with_deliver(policy);
        assert_eq!(ids(&rig.fetch(from(DeliverPolicy::Earliest)).await), [0, 1, 2]);
        assert_eq!(ids(&rig.fetch(from(DeliverPolicy::Latest)).await), [2], "the last one comes again");
        assert_eq!(ids(&rig.fetch(from(DeliverPolicy::FromId(MsgId::new(1)))).await), [1, 2]);
        assert_eq!(ids(&rig.fetch(from(DeliverPolicy::FromId(MsgId::new(99)))).await), [2], "clamped");
        let future = rig.broker.host().now_ms() / 1_000 + 1_000;
        assert_eq!(ids(&rig.fetch(from(DeliverPolicy::FromTime(future))).await), [0, 1, 2]);
    }
}

#[tokio::test]
async fn query_finds_by_tag_and_limit_and_filters_by_time_here() {
    for rig in Rig::both().await {
        rig.send(Message::new("a").with_tag("red").with_tag("big")).await;
        rig.send(Message::new("b").with_tag("blue")).await;
        rig.broker.host().advance(MINUTE);
        rig.send(Message::new("c").with_tag("red")).await;
        assert_eq!(texts(&rig.query(QueryOptions::all()).await), ["a", "b", "c"]);
        assert_eq!(texts(&rig.query(QueryOptions::all().with_limit(2)).await), ["a", "b"]);
        assert_eq!(texts(&rig.query(QueryOptions::tags(["red"])).await), ["a", "c"]);
        assert_eq!(rig.query(QueryOptions::tags(["red", "blue"])).await.len(), 3);
        let since = rig.query(QueryOptions::all()).await[2].create_time;
        assert_eq!(texts(&rig.query(QueryOptions::all().with_since(since)).await), ["c"]);
        for limit in [0, 101] {
            let outcome = rig.client.query(&rig.inbox, &QueryOptions::all().with_limit(limit)).await;
            assert_eq!(kind(outcome), ErrorKind::Invalid);
        }
    }
}

#[tokio::test]
async fn a_deleted_message_is_gone_and_deleting_again_succeeds() {
    for rig in Rig::both().await {
        for text in ["a", "b"] {
            rig.send(Message::new(text)).await;
        }
        for _ in 0..2 {
            rig.client.delete(&rig.inbox, MsgId::new(0)).await.expect("deleted");
        }
        assert_eq!(texts(&rig.fetch(stateless()).await), ["b"]);
    }
}

#[tokio::test]
async fn sends_side_by_side_keep_their_order_and_get_rising_ids() {
    for rig in Rig::both().await {
        let messages: Vec<Message> = (0..300).map(|number| Message::new(number.to_string())).collect();
        let sends = messages.iter().map(|message| rig.client.send(&rig.inbox, message));
        let sent = within(30, "the sends", futures_util::future::join_all(sends)).await;
        let sent: Vec<u64> =
            sent.into_iter().map(|sent| sent.expect("sent").id().expect("an id").get()).collect();
        assert_eq!(sent, (0..300).collect::<Vec<_>>());
        let read = rig.fetch(stateless().with_num_msgs(300)).await;
        assert_eq!(texts(&read), (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_broker_with_partitions_is_found_out_by_its_repeated_ids() {
    let rig = Rig::of(EngineProfile::robustmq().with_partitions(3), WireProfile::RobustMq).await;
    for number in 0..6 {
        rig.send(Message::new(number.to_string())).await;
    }
    let error = rig.client.fetch(&rig.inbox, &stateless()).await.expect_err("repeated ids");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Partitioned, false));
    assert_eq!(kind(rig.client.query(&rig.inbox, &QueryOptions::all()).await), ErrorKind::Partitioned);
}

#[tokio::test]
async fn a_plain_publish_into_a_mailbox_has_no_priority() {
    let rig = Rig::of(EngineProfile::robustmq(), WireProfile::RobustMq).await;
    let plain = async_nats::connect(rig.broker.nats_url()).await.expect("connects");
    plain.publish(rig.inbox.to_string(), "injected".into()).await.expect("published");
    plain.flush().await.expect("flushed");
    let found = within(5, "the record", async {
        loop {
            let found = rig.query(QueryOptions::all()).await;
            if !found.is_empty() {
                return found;
            }
        }
    })
    .await;
    assert_eq!((found[0].priority, found[0].headers.clone()), (None, Headers::new()));
    assert!(rig.fetch(stateless()).await.is_empty());
}

#[tokio::test]
async fn the_documented_rules_are_understood_as_well() {
    let rig = Rig::of(EngineProfile::documented(), WireProfile::Standard).await;
    let group = rig.group("g");
    for text in ["a", "b"] {
        rig.send(Message::new(text)).await;
    }
    assert_eq!(texts(&rig.fetch(stateless()).await), ["a", "b"]);
    rig.ack(&group, 0).await;
    assert_eq!(texts(&rig.fetch(FetchOptions::group(rig.group("g"))).await), ["b"]);
    let missing = rig.client.fetch(&address("never.was"), &stateless()).await;
    assert_eq!(kind(missing), ErrorKind::MailboxNotFound);
    assert_eq!(kind(rig.client.delete(&rig.inbox, MsgId::new(99)).await), ErrorKind::Rejected);
    assert!(rig.client.mailbox_exists(&rig.inbox).await.expect("asked"));
}
