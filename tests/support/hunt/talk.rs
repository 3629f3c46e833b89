//! What a process does that is killed: it sends in several conversations, or reads and settles, now and then
//! late and now and then not at all, and tells each step.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentchat_core::store::{DurableStore, OutboxStore};
use agentchat_core::{
    Address, Advice, Body, ClientMsgId, CloseMode, Connector, ConversationId, Delivery, ErrorKind, Event,
    Outbound, Resilient, ResilientOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;

use crate::hunt::MS;
use crate::processes::{ATTACHED, is_last, say, until_told};

pub const LANES: u64 = 3;
/// How many messages a process sends in each conversation before it only waits for its end.
pub const EACH: u64 = 5;

/// The store at `path`. The owner before may not be quite dead yet.
pub async fn store_at(path: &str) -> Arc<DurableStore> {
    for _ in 0..2_000 {
        match DurableStore::open(path).await {
            Ok(store) => return Arc::new(store),
            Err(error) => {
                assert_eq!((error.kind(), error.advice()), (ErrorKind::Conflict, Advice::Backoff), "{error}");
            }
        }
        tokio::time::sleep(5 * MS).await;
    }
    panic!("the store at {path} has an owner for ever");
}

/// How many messages are in the store at `path`, and how many of them parked.
pub async fn left(path: &str) -> (usize, usize) {
    let store = store_at(path).await;
    (store.load().await.expect("readable").len(), store.parked().await.expect("readable").len())
}

/// A session, however long it takes: nobody may answer on the server at that moment, which a first attachment is
/// told at once. One that is let finish closes when it is told to.
pub async fn session(connector: Arc<dyn Connector>, options: ResilientOptions) -> Resilient {
    let session = loop {
        match Resilient::connect(Arc::clone(&connector), options.clone()).await {
            Ok(session) => break session,
            Err(_) => tokio::time::sleep(20 * MS).await,
        }
    };
    say(ATTACHED);
    if is_last() {
        let session = session.clone();
        tokio::spawn(async move {
            until_told().await;
            session.close(CloseMode::Detach).await.expect("nothing is left");
            say("closed");
            std::process::exit(0);
        });
    }
    session
}

/// Sends the messages of one life, in `round`, each with a moment to be settled by if there is a `span`.
pub async fn write(session: &Resilient, to: Address, round: u64, span: Option<Duration>) {
    let mut dice = fastrand::Rng::with_seed(round);
    for number in 0..if is_last() { 0 } else { EACH } {
        for lane in 0..LANES {
            let id = ClientMsgId::new(format!("m.{lane}.{round:05}.{number}")).expect("valid");
            let body = Body::text(format!("{id} {}", "x".repeat(dice.usize(0..2_000))));
            let lane = ConversationId::new(format!("lane-{lane}")).expect("valid");
            let mut message = Outbound::new(to.clone(), body).with_id(id.clone()).with_conversation(lane);
            message.deadline = span.map(|span| SystemTime::now() + span);
            message.ttl = span.filter(|_| session.capabilities().ttl);
            say(&format!("tried {id}"));
            let mut sending = session.try_send(message).expect("there is room");
            tokio::spawn(async move {
                if sending.kept().await.is_ok() {
                    say(&format!("kept {id}"));
                }
                match sending.await {
                    Ok(_) => say(&format!("accepted {id}")),
                    Err(error) if span.is_some() && error.kind() == ErrorKind::Timeout => {
                        say(&format!("given {id}"));
                    }
                    Err(error) => say(&format!("refused {id} {error}")),
                }
            });
            if dice.bool() {
                tokio::time::sleep(MS * dice.u32(0..8)).await;
            }
        }
    }
}

/// Reads and settles until its end.
pub async fn read(session: &Resilient, round: u64) {
    let mut dice = fastrand::Rng::with_seed(round);
    let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let mut later = Vec::new();
    while let Some(event) = events.next().await {
        let delivery = match event {
            Ok(Event::Message(delivery)) => delivery,
            Ok(_) => continue,
            // Closed itself, as it was told to.
            Err(error) if is_last() && error.kind() == ErrorKind::Closed => return,
            Err(error) => return say(&format!("ended {error}")),
        };
        let id = delivery.client_msg_id.as_ref().map_or("none", ClientMsgId::as_str);
        let same = delivery.body.as_str().is_some_and(|text| text.split(' ').next() == Some(id));
        say(&format!("handed {id} {} {same}", delivery.redelivered));
        match if is_last() { 9 } else { dice.u8(0..10) } {
            // Left in hand until the end.
            0..2 => {}
            2..5 => later.push(delivery),
            _ => settle(session, vec![delivery]).await,
        }
        if later.len() == 3 {
            let (session, mut batch) = (session.clone(), std::mem::take(&mut later));
            dice.shuffle(&mut batch);
            tokio::spawn(async move { settle(&session, batch).await });
        }
    }
}

async fn settle(session: &Resilient, batch: Vec<Delivery>) {
    let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag.clone()).collect();
    let ids =
        batch.iter().map(|delivery| delivery.client_msg_id.as_ref().map_or("none", ClientMsgId::as_str));
    let ids = ids.collect::<Vec<_>>().join(" ");
    say(&format!("settling {ids}"));
    if session.ack(&tags).await.is_ok() {
        say(&format!("settled {ids}"));
    }
}
