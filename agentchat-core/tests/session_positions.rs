//! Positions in conversations survive a restart: what a network with readable history no longer gives out by
//! itself is asked for.

#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::store::{CursorStore, MemoryStore};
use agentchat_core::{
    BackoffPolicy, Delivery, Event, EventStream, Resilient, ResilientOptions, Stores, SubscribeOptions,
    Transport,
};
use futures_util::StreamExt;
use wire::{Server, WireConnector};

const SOON: Duration = Duration::from_secs(10);

async fn start(server: &Server, stores: Stores) -> (Resilient, EventStream) {
    let quick = BackoffPolicy::new().with_base(Duration::from_millis(5)).with_cap(Duration::from_millis(50));
    let options = ResilientOptions::new().with_reconnect(quick).with_retry(quick).with_stores(stores);
    let session = Resilient::connect(WireConnector(server.at), options).await.expect("connected");
    let events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    (session, events)
}

async fn next(events: &mut EventStream) -> Delivery {
    loop {
        match tokio::time::timeout(SOON, events.next()).await.expect("it comes soon") {
            Some(Ok(Event::Message(delivery))) => return delivery,
            Some(Ok(Event::CaughtUp)) => {}
            other => panic!("no message: {other:?}"),
        }
    }
}

/// Waits until the one position that is kept is `next`.
async fn kept(store: &MemoryStore, next: &str) {
    let wait = async {
        loop {
            let cursors = store.list("").await.expect("read");
            if matches!(&cursors[..], [(_, cursor)] if cursor.bytes() == next.as_bytes()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("it is kept soon");
}

#[tokio::test]
async fn a_gap_over_a_restart_is_filled_from_history_and_only_where_positions_are_kept() {
    for keeps_positions in [true, false] {
        let (server, store) = (Server::start(3), Arc::new(MemoryStore::new()));
        let row = |seq: u64| (format!("row.{seq}"), "c".to_owned(), seq);
        server.known().rows.extend((1..=5).map(row));
        let stores = match keeps_positions {
            true => Stores::all_in(Arc::clone(&store)),
            false => Stores::none().with_dedup(Arc::clone(&store)),
        };
        let (session, mut events) = start(&server, stores.clone()).await;
        for _ in 1..=5 {
            let delivery = next(&mut events).await;
            if delivery.seq != Some(4) {
                session.ack(&[delivery.tag]).await.expect("settled");
            }
        }
        if keeps_positions {
            kept(&store, "4").await;
        }
        drop((session, events));
        // The network takes four and five for read, and has a new one.
        server.known().acked.extend((1..=5).map(|seq| row(seq).0));
        server.known().rows.push(row(6));
        let (session, mut events) = start(&server, stores).await;
        let mut came = vec![next(&mut events).await];
        if keeps_positions {
            came.push(next(&mut events).await);
        }
        let seqs: Vec<_> = came.iter().map(|delivery| (delivery.seq, delivery.redelivered)).collect();
        let expected = [(Some(4), true), (Some(6), false)];
        assert_eq!(seqs, if keeps_positions { &expected[..] } else { &expected[1..] });
        let tags: Vec<_> = came.into_iter().map(|delivery| delivery.tag).collect();
        session.ack(&tags).await.expect("settled");
        if keeps_positions {
            kept(&store, "7").await;
        } else {
            assert!(store.list("").await.expect("read").is_empty());
        }
    }
}
