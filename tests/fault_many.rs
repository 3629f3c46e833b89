//! Ten thousand conversations at once: each in its order, all of them overlapping.

#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use agentchat_core::{
    Agent, Body, ConversationId, Loopback, Outbound, Request, ResilientConnector, ServeOptions,
    SubscribeOptions,
};
use fault::frames::{Fate, Wire};
use fault::{MS, SECOND, Seed, options, seeds, soon};

const CONVERSATIONS: usize = 10_000;
const EACH: usize = 3;

#[derive(Default)]
struct Log {
    next: HashMap<String, usize>,
    handled: usize,
    running: usize,
    most_running: usize,
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_conversations_keep_their_order_and_overlap() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        let begun = Instant::now();
        let network = Loopback::new();
        let mut dice = fastrand::Rng::with_seed(seed);
        // What comes again after a cut is everything that is unsettled, so there are only some.
        let mut cuts: Vec<u64> = (0..8).map(|_| dice.u64(100..40_000)).collect();
        let wire = Wire::new(move |frame| match cuts.iter().position(|cut| *cut == frame.number) {
            Some(at) => {
                cuts.swap_remove(at);
                Fate::Cut
            }
            None => Fate::Pass,
        });
        let framed = wire.connector("bob", network.connector("bob").expect("a name"));
        let bob = Agent::builder(ResilientConnector::new(framed, options(seed)));
        let bob = soon("starting", bob.start()).await.expect("started");
        let alice = network.connector("alice").expect("a name");
        let alice = soon("starting", Agent::builder(alice).start()).await.expect("started");
        let mut dice = fastrand::Rng::with_seed(seed);
        for number in 0..EACH {
            let mut all: Vec<usize> = (0..CONVERSATIONS).collect();
            dice.shuffle(&mut all);
            for conversation in all {
                let id = ConversationId::new(format!("c{conversation}")).expect("id");
                let note = Outbound::new(bob.address().clone(), Body::text(number.to_string()));
                alice.send(&note.with_conversation(id)).await.expect("accepted");
            }
        }
        let sent = begun.elapsed();

        let log = Arc::new(Mutex::new(Log::default()));
        let handling = Arc::clone(&log);
        let handler = move |request: Request| {
            let handling = Arc::clone(&handling);
            async move {
                {
                    let mut log = handling.lock().expect("no panic");
                    log.running += 1;
                    log.most_running = log.most_running.max(log.running);
                }
                tokio::time::sleep(60 * SECOND).await;
                let mut log = handling.lock().expect("no panic");
                let id = request.delivery().conversation.as_ref().expect("a conversation").to_string();
                let due = log.next.entry(id.clone()).or_default();
                if *due != request.body().as_str().expect("text").parse::<usize>().expect("a number") {
                    drop(log);
                    panic!("{id} is out of order");
                }
                *due += 1;
                log.running -= 1;
                log.handled += 1;
                Ok(())
            }
        };
        let bounds = SubscribeOptions::own().with_max_unsettled(CONVERSATIONS * EACH);
        let options = ServeOptions::default().with_concurrency(CONVERSATIONS).with_subscribe(bounds);
        let serving = soon("serving", bob.serve(handler, options)).await.expect("served");
        let all = async {
            while log.lock().expect("no panic").handled < CONVERSATIONS * EACH {
                tokio::time::sleep(100 * MS).await;
            }
        };
        soon("handling", all).await;
        tokio::time::sleep(60 * SECOND).await;
        {
            let log = log.lock().expect("no panic");
            assert_eq!((log.handled, log.next.len()), (CONVERSATIONS * EACH, CONVERSATIONS));
            assert!(log.most_running == CONVERSATIONS, "only {} overlapped", log.most_running);
            println!(
                "{} messages of {CONVERSATIONS} conversations: sent in {sent:?}, handled in {:?}, {} at once, \
                 {} cuts, {} KiB resident at most",
                log.handled,
                begun.elapsed() - sent,
                log.most_running,
                wire.cuts(),
                peak_kib(),
            );
        }
        assert_eq!(wire.held("bob").messages(), 0, "everything is acknowledged");
        assert_eq!(soon("stopping", serving.stop(SECOND)).await.unsettled, 0);
    }
}

/// The most memory this process had resident, where the system says it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
