//! Every future of a bare attachment is dropped at every point where it waits, over mq9 and over AgentChat
//! with a socket and without. The attachment goes on, nothing that was accepted is lost, nothing stays open.

#[path = "support/fault/agentchat.rs"]
mod agentchat;
#[path = "support/fault/mod.rs"]
mod fault;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use agentchat::{KINDS, Place, within};
use agentchat_core::{
    AgentCard, Body, CloseMode, Connector, ConversationId, Event, EventStream, Heartbeat, Outbound, Query,
    SubscribeOptions, Transport,
};
use fault::drops::{pending_at_most, told_once};
use fault::{MS, SECOND, message, text};
use futures_util::StreamExt;
use mq9_client::testing::Broker;

/// A network, and which.
enum Net {
    Mq9(Broker),
    AgentChat(Place),
}

impl Net {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        match self {
            Self::Mq9(broker) => Arc::new(support::connector(broker, name)),
            Self::AgentChat(place) => Arc::new(place.connector(name).await),
        }
    }

    async fn attach(&self, name: &str) -> Arc<dyn Transport> {
        attach(&self.connector(name).await).await
    }

    /// How many connections are open that an attachment of `name` alone could hold open.
    async fn open(&self, name: &str) -> usize {
        match self {
            Self::Mq9(broker) => broker.connections(),
            Self::AgentChat(place) => place.server.lock().await.sockets(name),
        }
    }
}

/// Runs `scene` over each network.
async fn over_each(scene: impl AsyncFn(Net)) {
    scene(Net::Mq9(support::broker().await)).await;
    for kind in KINDS {
        println!("over AgentChat, {kind:?}");
        scene(Net::AgentChat(Place::new(kind).await)).await;
    }
}

/// Runs `round` with ever more polls until it says that everything in it came to its end.
async fn ever_later(mut round: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..MOST {
        if within(60, "a round", round(polls)).await {
            return polls;
        }
    }
    panic!("it does not come to its end");
}

async fn attach(connector: &Arc<dyn Connector>) -> Arc<dyn Transport> {
    within(20, "connecting", connector.connect()).await.expect("attached")
}

async fn read(transport: &Arc<dyn Transport>) -> EventStream {
    let opened = within(20, "subscribing", transport.subscribe(SubscribeOptions::own())).await;
    opened.expect("subscribed").events
}

/// In a conversation of its own, so that none waits for another.
fn note(to: &Arc<dyn Transport>, words: usize) -> Outbound {
    let conversation = ConversationId::new(format!("c{words}")).expect("an id");
    Outbound::new(to.address().clone(), Body::text(words.to_string())).with_conversation(conversation)
}

async fn send(from: &Arc<dyn Transport>, note: &Outbound) {
    within(20, "sending", from.send(note)).await.expect("accepted");
}

async fn next(events: &mut EventStream) -> agentchat_core::Delivery {
    message(events, 15 * SECOND).await.expect("a message comes")
}

#[tokio::test]
async fn sending() {
    over_each(async |net| {
        let (alice, bob) = (net.attach("alice").await, net.attach("bob").await);
        let mut events = read(&bob).await;
        let last = ever_later(async |polls| {
            let note = note(&bob, polls);
            let sent = pending_at_most(polls, alice.send(&note)).await;
            send(&alice, &note).await;
            sent.is_some()
        })
        .await;
        let mut came = BTreeMap::new();
        while came.len() <= last {
            let delivery = next(&mut events).await;
            bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
            *came.entry(delivery.client_msg_id.clone().expect("an id")).or_insert(0) += 1;
        }
        let known = bob.capabilities().server_dedup;
        assert!(came.values().all(|times| *times <= if known { 1 } else { 2 }), "{came:?}");
    })
    .await;
}

#[tokio::test]
async fn reading_and_acknowledging() {
    over_each(async |net| {
        let (alice, connector) = (net.attach("alice").await, net.connector("bob").await);
        let bob = attach(&connector).await;
        let mut events = read(&bob).await;
        ever_later(async |polls| {
            send(&alice, &note(&bob, polls)).await;
            let read = pending_at_most(polls, events.next()).await.map(|item| item.expect("goes on"));
            let came = match read.map(|event| event.expect("no error")) {
                Some(Event::Message(delivery)) => Some(delivery),
                _ => None,
            };
            let ended = came.is_some();
            let delivery = match came {
                Some(delivery) => delivery,
                None => next(&mut events).await,
            };
            assert_eq!(text(&delivery), polls.to_string(), "given once, and the next one after it");
            let tags = [delivery.tag];
            let settled = pending_at_most(polls, bob.ack(&tags)).await.is_some();
            within(20, "acknowledging", bob.ack(&tags)).await.expect("settled");
            ended && settled
        })
        .await;
        drop(events);
        within(20, "closing", bob.close(CloseMode::Detach)).await.expect("closed");
        let again = attach(&connector).await;
        let left = message(&mut read(&again).await, SECOND / 2).await;
        assert!(left.is_none(), "it was settled: {left:?}");
    })
    .await;
}

#[tokio::test]
async fn subscribing() {
    over_each(async |net| {
        let (alice, bob) = (net.attach("alice").await, net.attach("bob").await);
        send(&alice, &note(&bob, 7)).await;
        ever_later(async |polls| {
            let opened = pending_at_most(polls, bob.subscribe(SubscribeOptions::own())).await;
            let ended = opened.is_some();
            let mut events = match opened {
                Some(opened) => opened.expect("subscribed").events,
                None => read(&bob).await,
            };
            assert_eq!(text(&next(&mut events).await), "7", "nobody has settled it");
            ended
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn connecting_and_closing() {
    over_each(async |net| {
        let (alice, connector) = (net.attach("alice").await, net.connector("bob").await);
        let bob = attach(&connector).await;
        send(&alice, &note(&bob, 7)).await;
        within(20, "closing", bob.close(CloseMode::Detach)).await.expect("closed");
        drop(bob);
        // Of alice alone, where they are counted together.
        let others = if matches!(net, Net::Mq9(_)) { settled(&net).await } else { 0 };
        ever_later(async |polls| {
            let connected = pending_at_most(polls, connector.connect()).await;
            let ended = connected.is_some();
            let bob = match connected {
                Some(connected) => connected.expect("attached"),
                None => attach(&connector).await,
            };
            let events = read(&bob).await;
            let closed = pending_at_most(polls, bob.close(CloseMode::Detach)).await;
            let again = within(20, "closing again", bob.close(CloseMode::Detach)).await;
            told_once(closed.as_ref(), &again);
            closed.as_ref().unwrap_or(&again).as_ref().expect("closed");
            drop((bob, events));
            let gone = async {
                while net.open("bob").await > others {
                    tokio::time::sleep(MS).await;
                }
            };
            within(20, "the end of every connection", gone).await;
            ended && closed.is_some()
        })
        .await;
        let bob = attach(&connector).await;
        assert_eq!(text(&next(&mut read(&bob).await).await), "7", "nobody has settled it");
    })
    .await;
}

#[tokio::test]
async fn the_directory() {
    over_each(async |net| {
        let (alice, bob) = (net.attach("alice").await, net.attach("bob").await);
        let card = AgentCard::new("bob", "Is dropped").expect("a card");
        let (heartbeat, query) = (Heartbeat::new("online", 60 * SECOND), Query::name("bob"));
        ever_later(async |polls| {
            let mut ended = pending_at_most(polls, bob.register(&card)).await.is_some();
            ended &= pending_at_most(polls, bob.report(&heartbeat)).await.is_some();
            ended &= pending_at_most(polls, alice.discover(&query)).await.is_some();
            ended &= pending_at_most(polls, bob.unregister()).await.is_some();
            within(20, "registering", bob.register(&card)).await.expect("registered");
            let found = within(20, "asking", alice.discover(&query)).await.expect("an answer").agents;
            assert_eq!(found.len(), 1, "after {polls} polls");
            assert_eq!(found[0].address.as_ref(), Some(bob.address()));
            ended
        })
        .await;
    })
    .await;
}

/// How many connections are open once none closes any more.
async fn settled(net: &Net) -> usize {
    let mut before = net.open("bob").await;
    loop {
        tokio::time::sleep(100 * MS).await;
        let now = net.open("bob").await;
        if now == before {
            return now;
        }
        before = now;
    }
}

/// More await points than anything here has.
const MOST: usize = 1_000;
