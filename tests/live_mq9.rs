//! The same promises against a real mq9 broker: the one that `MQ9_URL` names, as
//! `MQ9_URL=mq9://user:password@host:4222 cargo test --test live_mq9`. Without it each test says so and
//! passes.
//!
//! The broker must keep mailboxes in one partition. What a run leaves there are mailboxes with unguessable
//! names, since mq9 has no command to remove one; registry entries are taken back.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::Connector;
use agentchat_core::conformance::{Harness, Skip, print_skipped};
use async_trait::async_trait;
use mq9_client::{
    AgentStatus, Client, ConsumerOptions, CreateMailbox, DiscoverQuery, Ensured, ErrorKind, FetchOptions,
    Group, Lifetime, MailAddress, Message, Priority, QueryOptions, Registration,
};
use support::{SECOND, within};
use transport_mq9::Mq9Connector;

/// The broker, and the inbox of each agent that has attached.
struct Live {
    url: String,
    agents: Mutex<HashMap<String, Mq9Connector>>,
}

#[async_trait]
impl Harness for Live {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        let mut agents = self.agents.lock().expect("no panic while held");
        let connector = agents.entry(name.to_owned()).or_insert_with(|| {
            Mq9Connector::builder(&self.url).generated_inbox(name).build().expect("a usable MQ9_URL")
        });
        Arc::new(connector.clone())
    }

    /// Nothing is done to a broker that others may use.
    fn expected_skips(&self) -> Vec<Skip> {
        let lacks = [Skip::ServerDedup, Skip::Replay, Skip::Numbered, Skip::EndsWithConnection];
        lacks.into_iter().chain([Skip::Cut, Skip::Outage, Skip::Restart, Skip::Stall, Skip::Expire]).collect()
    }
}

fn url() -> Option<String> {
    std::env::var("MQ9_URL").ok().filter(|url| !url.is_empty())
}

fn live() -> Option<Live> {
    Some(Live { url: url()?, agents: Mutex::default() })
}

mod conformance {
    use super::*;
    agentchat_core::conformance_tests!("mq9-live", optional live());
}

/// The client for a broker that is there, or a word why not.
async fn client(test: &str) -> Option<Client> {
    let Some(url) = url() else {
        print_skipped(test, "MQ9_URL names no broker");
        return None;
    };
    Some(within(15, "connecting", Client::connect(&url)).await.expect("the broker takes connections"))
}

async fn fresh_mailbox(client: &Client) -> MailAddress {
    let name = MailAddress::generate("live").expect("random bits");
    let create = CreateMailbox::named(name).with_lifetime(Lifetime::For(Duration::from_secs(600)));
    client.create_mailbox(create).await.expect("created")
}

#[tokio::test]
async fn a_tour_of_the_mailbox_commands() {
    let Some(client) = client("a_tour_of_the_mailbox_commands").await else { return };
    let inbox = fresh_mailbox(&client).await;
    assert!(client.mailbox_exists(&inbox).await.expect("asked"));
    let again = client.ensure_mailbox(CreateMailbox::named(inbox.clone())).await.expect("there");
    assert_eq!(again, Ensured::Existed(inbox.clone()));
    let taken = client.create_mailbox(CreateMailbox::named(inbox.clone())).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::MailboxExists);
    let nobody = MailAddress::generate("nobody").expect("random bits");
    let missing = client.send(&nobody, &Message::new("x")).await.expect_err("nobody is there");
    assert_eq!(missing.kind(), ErrorKind::MailboxNotFound);

    let every_byte: Vec<u8> = (0..=255).collect();
    for message in [
        Message::new("normal").with_header("traceparent", "00-x"),
        Message::new(every_byte.clone()).with_priority(Priority::Critical),
        Message::new("old").with_key("k"),
        Message::new("new").with_key("k").with_tag("t"),
    ] {
        client.send(&inbox, &message).await.expect("stored");
    }
    let read = client.fetch(&inbox, &FetchOptions::stateless()).await.expect("fetched");
    let payloads: Vec<&[u8]> = read.iter().map(|message| message.payload.as_ref()).collect();
    assert_eq!(payloads, [every_byte.as_slice(), b"normal", b"new"]);
    assert_eq!(read[1].headers.get("traceparent"), Some("00-x"));
    let newest = client.query(&inbox, &QueryOptions::key("k")).await.expect("queried");
    assert_eq!(newest.len(), 1);
    assert_eq!(client.query(&inbox, &QueryOptions::tags(["t"])).await.expect("queried").len(), 1);

    let group = Group::for_mailbox(&inbox, "tour").expect("valid");
    let last = read.iter().map(|message| message.id).max().expect("messages");
    client.ack(&inbox, &group, last).await.expect("acknowledged");
    assert!(client.fetch(&inbox, &FetchOptions::group(group)).await.expect("fetched").is_empty());
    client.delete(&inbox, last).await.expect("deleted");
    assert_eq!(client.fetch(&inbox, &FetchOptions::stateless()).await.expect("fetched").len(), 2);
    client.close().await;
}

#[tokio::test]
async fn a_consumer_gets_each_message_once_and_a_second_one_none_of_them_again() {
    let Some(client) = client("a_consumer_gets_each_message_once").await else { return };
    let inbox = fresh_mailbox(&client).await;
    for number in 0..100 {
        let priority = [Priority::Normal, Priority::Urgent, Priority::Critical][number % 3];
        let message = Message::new(number.to_string()).with_priority(priority);
        client.send(&inbox, &message).await.expect("stored");
    }
    let mut consumer = client.consume(&inbox, ConsumerOptions::new("live")).await.expect("consumed");
    let acker = consumer.acker();
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let delivered = within(30, "the next message", consumer.next()).await.expect("goes on");
        let delivered = delivered.expect("no error");
        acker.settle(delivered.id());
        seen.push(delivered.id());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100);
    let closed = within(30, "closing", consumer.close(20 * SECOND)).await;
    assert!(closed.acknowledged && closed.unsettled.is_empty(), "{closed:?}");
    client.send(&inbox, &Message::new("new")).await.expect("stored");
    let mut second = client.consume(&inbox, ConsumerOptions::new("live")).await.expect("consumed");
    let first = within(30, "the next message", second.next()).await.expect("goes on").expect("no error");
    assert_eq!(first.message.payload, "new");
}

#[tokio::test]
async fn a_tour_of_the_registry() {
    let Some(client) = client("a_tour_of_the_registry").await else { return };
    let inbox = fresh_mailbox(&client).await;
    let name = format!("tourist-{:016x}", fastrand::u64(..));
    let card =
        format!(r#"{{ "name":"{name}","description":"Looks around","mailbox":"mq9://broker/{inbox}" }}"#);
    let registration = Registration::card(&name, card.clone()).expect("a card");
    for _ in 0..2 {
        client.register(&registration).await.expect("registered");
    }
    let found = client.discover(&DiscoverQuery::name(&name)).await.expect("an answer").agents;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].info, card.as_bytes());
    let status = AgentStatus::new(&name, "online", 0).with_interval(60 * SECOND);
    client.publish_status(&status).await.expect("published");
    let read = client.agent_status(&name).await.expect("read").expect("a status");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!(read.is_alive(now.as_secs()), "by the broker's clock: {read:?}");
    client.unregister(&name).await.expect("unregistered");
    assert!(client.discover(&DiscoverQuery::name(&name)).await.expect("an answer").agents.is_empty());
}
