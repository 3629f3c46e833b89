//! The same over AgentChat's double: sockets and requests break between frames and inside of them,
//! acknowledgements are lost, and frames come again and again in any order.

#[path = "support/fault/agentchat.rs"]
mod agentchat;
#[path = "support/fault/mod.rs"]
mod fault;
#[path = "support/fault/severed.rs"]
mod severed;

use agentchat::{KINDS, Kind, Place, within};
use agentchat_core::{SubscribeOptions, Transport};
use fault::script::{self, Order};
use fault::{MS, SECOND, Seed, message, seeds, session, text};
use severed::Severed;
use transport_ws::testing::{HttpFault, JournalEntry, PushFault};

/// How many messages one run has; four of them make a thousand.
const COUNT: u64 = 250;

/// Ends that a socket may have, and which all mean that it is to be opened again. The last brings the key
/// into question, which REST then finds good.
const CODES: [(u16, &str); 6] = [
    (1001, "Server shutting down"),
    (1006, ""),
    (1011, "internal"),
    (1012, ""),
    (1013, "overload"),
    (1008, "Invalid token"),
];

async fn run(place: &Place, count: u64, seed: u64) {
    let (alice, bob) = (place.connector("alice").await, place.connector("bob").await);
    within(100, "the script", script::run(alice, bob, count, seed, SECOND / 2)).await;
}

#[tokio::test]
async fn a_socket_that_ends_after_any_frame_with_any_code_loses_and_repeats_nothing() {
    for seed in seeds(0..4) {
        let _seed = Seed(seed);
        let kind = if seed % 2 == 0 { Kind::Current } else { Kind::Legacy };
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(kind).await;
        for (code, reason) in CODES {
            // What was said on the last of them needs another socket to be said again.
            place.faults.close_after_pushes(dice.u64(1..COUNT - 40), code, reason);
        }
        run(&place, COUNT, seed).await;
        assert_eq!(place.faults.pending(), 0, "every socket that was to end did");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_byte_loses_and_repeats_nothing() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        // A message takes some two thousand bytes.
        let at: Vec<usize> = (0..12).map(|_| dice.usize(6_000..COUNT as usize / 2 * 1_500)).collect();
        let severed = Severed::before(place.port, at).await.expect("a port");
        let alice = place.connector_at("alice", severed.port()).await;
        let bob = place.connector_at("bob", severed.port()).await;
        within(100, "the script", script::run(alice, bob, COUNT / 2, seed, SECOND / 2)).await;
        let (done, bytes) = severed.done();
        assert_eq!(done, 12, "seed {seed} made {done} cuts in {bytes} bytes");
    }
}

#[tokio::test]
async fn requests_that_lose_their_answer_or_never_arrive_lose_and_repeat_nothing() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        for route in ["POST /v1/messages", "GET /v1/messages/sync", "POST /v1/messages/sync/ack"] {
            for _ in 0..20 {
                place.faults.repeat(route, dice.u64(0..8), HttpFault::passing());
                place.faults.on(
                    route,
                    match dice.u8(0..4) {
                        0 => HttpFault::lose_answer(),
                        1 => HttpFault::lose_request(),
                        2 => HttpFault::passing().cut_after(dice.u64(1..600)),
                        _ => HttpFault::html(502),
                    },
                );
            }
        }
        run(&place, COUNT, seed).await;
    }
}

#[tokio::test]
async fn acknowledgements_that_are_lost_with_their_socket_are_repeated_and_nothing_is_handled_again() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(Kind::Current).await;
        let alice = session(place.connector("alice").await, seed).await;
        let bob = session(place.connector("bob").await, seed).await;
        let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let (mut order, mut sent) = (Order::default(), 0);
        for _ in 0..6 {
            place.faults.swallow_acks(dice.u64(1..100));
            for _ in 0..dice.u64(1..25) {
                let note = script::outbound(bob.address(), sent);
                within(20, "sending", alice.send(&note)).await.expect("accepted");
                sent += 1;
            }
            while (order.len() as u64) < sent {
                let delivery = within(20, "a message", message(&mut events, 15 * SECOND)).await;
                let delivery = delivery.expect("it comes");
                order.add(&text(&delivery));
                bob.ack(&[delivery.tag]).await.expect("settled");
            }
            place.faults.cut_all();
            place.faults.swallow_acks(0);
        }
        let empty = async {
            while place.stored("bob").await > 0 {
                tokio::time::sleep(5 * MS).await;
            }
        };
        within(20, "the repeated acknowledgements", empty).await;
        assert!(message(&mut events, SECOND / 2).await.is_none(), "something came again");
        order.check(sent);
        assert!(bob.stats().duplicates > 0, "nothing was repeated: {:?}", bob.stats());
    }
}

#[tokio::test]
async fn connections_that_are_cut_all_at_once_lose_and_repeat_nothing() {
    for seed in seeds(0..3) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(KINDS[seed as usize % 3]).await;
        let faults = place.faults.clone();
        let cutting = async move {
            let mut cuts = 0;
            loop {
                tokio::time::sleep(MS * dice.u32(5..60)).await;
                faults.cut_all();
                cuts += 1;
                // Well before the end: an acknowledgement that was cut is repeated by the next connection.
                if cuts == 8 {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = run(&place, COUNT, seed) => {}
            () = cutting => {}
        }
    }
}

#[tokio::test]
async fn frames_that_come_thrice_and_shuffled_are_handed_out_once_and_in_order() {
    for seed in seeds(0..4) {
        let _seed = Seed(seed);
        let kind = if seed % 2 == 0 { Kind::Current } else { Kind::Legacy };
        let mut dice = fastrand::Rng::with_seed(seed);
        let place = Place::new(kind).await;
        // Twice by the server, or late, or in another order.
        let plan = (0..COUNT).map(|_| match dice.u8(0..8) {
            0 => PushFault::Late(dice.usize(1..5)),
            _ => PushFault::Duplicate,
        });
        place.faults.pushes(plan.collect::<Vec<_>>());
        place.faults.shuffle_pushes(seed);
        let (server, faults) = (std::sync::Arc::clone(&place.server), place.faults.clone());
        // And each once more, some time later.
        let storm = async move {
            let mut seen = 0;
            loop {
                tokio::time::sleep(MS * dice.u32(1..40)).await;
                let server = server.lock().await;
                let pushed = |entry| match entry {
                    JournalEntry::Sent { text, .. } if text.contains("message.new") => Some(text),
                    _ => None,
                };
                let all: Vec<String> = server.journal().into_iter().filter_map(pushed).collect();
                let mut fresh: Vec<&String> = all[seen..].iter().collect();
                dice.shuffle(&mut fresh);
                for text in fresh {
                    server.push_text("bob", text);
                }
                // Those were noted, too.
                seen = server.journal().into_iter().filter_map(pushed).count();
                faults.release_pushes();
            }
        };
        tokio::select! {
            () = run(&place, COUNT, seed) => {}
            () = storm => {}
        }
        let journal = place.server.lock().await.journal();
        let is_pushed = |entry: &&JournalEntry| matches!(entry, JournalEntry::Sent { text, .. } if text.contains("message.new"));
        let pushed = journal.iter().filter(is_pushed).count() as u64;
        assert!(pushed >= 2 * COUNT, "only {pushed} were pushed");
    }
}
