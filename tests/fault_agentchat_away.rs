//! AgentChat goes away and comes back under traffic in both directions, loses its database, and
//! contradicts itself about a key. What was accepted arrives once and in order.

#[path = "support/fault/agentchat.rs"]
mod agentchat;
#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentchat::{KINDS, Kind, Place, within};
use agentchat_core::store::MemoryStore;
use agentchat_core::{
    CloseMode, CloseReason, ErrorKind, EventStream, Resilient, SessionState, SubscribeOptions, Transport,
};
use fault::script::{self, Order};
use fault::{MS, SECOND, Seed, message, options, seeds, session, text};
use futures_util::StreamExt;
use transport_ws::testing::HttpFault;

/// How many messages go in each direction.
const COUNT: u64 = 120;

struct Side {
    session: Resilient,
    events: EventStream,
}

async fn side(place: &Place, handle: &str, seed: u64) -> Side {
    let session = session(place.connector(handle).await, seed).await;
    let events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    Side { session, events }
}

/// Sends `COUNT` messages, one each `pause`, and takes in as many.
async fn talk(side: &mut Side, to: &agentchat_core::Address, pause: Duration) {
    let Side { session, events } = side;
    let sending = async {
        let mut under_way = Vec::new();
        for number in 0..COUNT {
            under_way.push(session.try_send(script::outbound(to, number)).expect("there is room"));
            tokio::time::sleep(pause).await;
        }
        for sending in under_way {
            sending.await.expect("accepted");
        }
    };
    let reading = async {
        let mut order = Order::default();
        while (order.len() as u64) < COUNT {
            let delivery = message(events, 60 * SECOND).await;
            let delivery = delivery.unwrap_or_else(|| panic!("only {} messages came", order.len()));
            order.add(&text(&delivery));
            session.ack(&[delivery.tag]).await.expect("settled");
        }
        order.check(COUNT);
    };
    tokio::join!(sending, reading);
}

/// Both talk while `trouble` goes on; afterwards nothing is left, and nothing comes again.
async fn both_talk(place: &Place, seed: u64, trouble: impl Future<Output = ()>) {
    let (mut alice, mut bob) = (side(place, "alice", seed).await, side(place, "bob", seed + 1).await);
    let (to_alice, to_bob) = (alice.session.address().clone(), bob.session.address().clone());
    let talking = async {
        tokio::join!(talk(&mut alice, &to_bob, 5 * MS), talk(&mut bob, &to_alice, 7 * MS));
    };
    within(90, "the talk", async { tokio::join!(talking, trouble) }).await;
    for (side, handle) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        assert!(message(&mut side.events, SECOND / 2).await.is_none(), "something came again");
        let stats = side.session.stats();
        assert_eq!((stats.queued_messages, stats.parked, stats.delivered), (0, 0, COUNT), "{stats:?}");
        let empty = async {
            while place.stored(handle).await > 0 {
                tokio::time::sleep(5 * MS).await;
            }
        };
        within(20, "the acknowledgements", empty).await;
    }
    for side in [alice, bob] {
        drop(side.events);
        within(20, "closing", side.session.close(CloseMode::Detach)).await.expect("closed");
    }
}

async fn over_restarts(kill: bool) {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        let trouble = async {
            for _ in 0..2 {
                tokio::time::sleep(MS * dice.u32(20..250)).await;
                place.restart(kill, MS * dice.u32(0..250)).await;
            }
        };
        both_talk(&place, seed, trouble).await;
    }
}

#[tokio::test]
async fn a_server_that_is_shut_down_under_traffic_keeps_what_it_accepted() {
    over_restarts(false).await;
}

#[tokio::test]
async fn a_server_that_is_killed_under_traffic_keeps_what_it_accepted() {
    over_restarts(true).await;
}

/// Each incarnation of the reader settles some of what it is handed and is then dropped, as a process that
/// is killed: nothing is left of it but its store.
#[tokio::test]
async fn a_reader_that_dies_again_and_again_is_handed_all_that_it_did_not_settle_and_nothing_else() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        let store = Arc::new(MemoryStore::default());
        let alice = session(place.connector("alice").await, seed).await;
        let mut settled = BTreeSet::new();
        let (mut lines, mut to, mut under_way) = (BTreeMap::new(), None, Vec::new());
        let mut incarnations = 0;
        while (settled.len() as u64) < COUNT {
            incarnations += 1;
            let connector = place.connector_with("bob", place.port, Arc::clone(&store)).await;
            let options = options(seed + incarnations).with_store(Arc::clone(&store));
            let bob =
                within(20, "connecting", Resilient::connect(connector, options)).await.expect("connects");
            let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
            if to.replace(bob.address().clone()).is_none() {
                let outbound = |number| script::outbound(bob.address(), number);
                under_way.extend((0..COUNT).map(|number| alice.try_send(outbound(number)).expect("room")));
            }
            let left = (COUNT as usize - settled.len()).min(dice.usize(1..40));
            let kept = dice.usize(0..=left);
            for read in 0..left {
                let delivery = within(30, "a message", message(&mut events, 25 * SECOND)).await;
                let delivery = delivery.unwrap_or_else(|| panic!("only {} were settled", settled.len()));
                let number: u64 = text(&delivery).parse().expect("a number");
                assert!(!settled.contains(&number), "message {number} came after it was settled");
                // What is read further is not handled any more.
                if read < kept {
                    if let Some(line) = script::line(number) {
                        let before = lines.insert(line, number);
                        assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
                    }
                    bob.ack(&[delivery.tag]).await.expect("settled");
                    settled.insert(number);
                }
            }
        }
        assert!(incarnations > 3, "{incarnations}");
        for sending in under_way {
            within(20, "sending", sending).await.expect("accepted");
        }
        let connector = place.connector_with("bob", place.port, Arc::clone(&store)).await;
        let options = options(seed).with_store(Arc::clone(&store));
        let bob = within(20, "connecting", Resilient::connect(connector, options)).await.expect("connects");
        let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        assert!(message(&mut events, SECOND / 2).await.is_none(), "something came again");
    }
}

#[tokio::test]
async fn a_spell_without_a_database_ends_no_session_and_loses_nothing() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        let trouble = async {
            tokio::time::sleep(MS * dice.u32(50..200)).await;
            // Every key is unknown meanwhile, those of good agents as well.
            place.faults.database_down(Some(MS * dice.u32(50..300)));
            // Sockets that are open stay; new ones are not answered.
            if seed % 2 == 0 {
                place.faults.cut_all();
            }
            tokio::time::sleep(MS * dice.u32(300..900)).await;
            place.faults.database_down(None);
        };
        both_talk(&place, seed, trouble).await;
    }
}

#[tokio::test]
async fn a_key_that_one_door_refuses_and_the_other_takes_ends_no_session() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let kind = if seed % 2 == 0 { Kind::Current } else { Kind::Legacy };
        let place = Place::new(kind).await;
        let trouble = async {
            for number in 0..6 {
                tokio::time::sleep(MS * dice.u32(20..120)).await;
                match number % 2 {
                    0 => {
                        // The socket says no twice, to sockets that are open and to new ones.
                        place.faults.close_next_socket(1008, "Invalid token");
                        place.server.lock().await.kick("bob", 1008, "Invalid token");
                    }
                    _ => {
                        let refused = HttpFault::status(401);
                        place.faults.repeat("POST /v1/messages", dice.u64(1..4), refused);
                    }
                }
            }
        };
        both_talk(&place, seed, trouble).await;
    }
}

#[tokio::test]
async fn a_key_that_is_bad_indeed_ends_the_session_with_one_error() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        let Side { session, mut events } = side(&place, "bob", 1).await;
        place.server.lock().await.rotate_key("bob");
        let errors = async {
            let mut errors = Vec::new();
            while let Some(event) = events.next().await {
                errors.extend(event.err().map(|error| error.kind()));
            }
            errors
        };
        assert_eq!(within(20, "the end", errors).await.len(), 1);
        let reason = session.state();
        let is_told = matches!(
            &reason,
            SessionState::Closed(CloseReason::Failed { kind: ErrorKind::Unauthorized, .. })
        );
        assert!(is_told, "{reason:?}");
    }
}
