//! A server that lies to both sides of a talk. Nothing panics, nothing waits for ever, nothing grows without
//! bound; and when it tells the truth again, what is sent from then on is handled once and calls are answered.
//!
//! Twenty lies by default; `HUNT_ROUNDS=2000` makes two thousand.

#[path = "support/fault/mod.rs"]
mod fault;
#[path = "support/hunt/liar.rs"]
mod liar;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, Connector, ConversationId, Loopback, LoopbackFaults, Outbound,
    Request, ResilientConnector, ServeOptions, Serving, SubscribeOptions,
};
use fault::{MS, SECOND, options, soon};
use futures_util::future::join_all;
use liar::Liar;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number("HUNT_SEED").unwrap_or(0);
    first..first + number("HUNT_ROUNDS").unwrap_or(20)
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this run again: HUNT_SEED={} HUNT_ROUNDS=1", self.0);
        }
    }
}

type Log = Arc<Mutex<BTreeMap<String, u32>>>;

#[tokio::test(start_paused = true)]
async fn whoever_was_lied_to_goes_on_when_the_truth_is_told() {
    for seed in seeds() {
        let told = Told(seed);
        round(seed).await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(fault::tasks(), 0, "tasks are left");
        drop(told);
    }
}

async fn round(seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut faults = LoopbackFaults::seeded(seed);
    if dice.bool() {
        faults = faults.with_one_inbox();
    }
    if dice.bool() {
        faults = faults.with_numbers();
    }
    if dice.u8(0..3) == 0 {
        faults = faults.with_cursor();
    }
    // Only a session passes over what comes back to whoever sent it.
    let echo = dice.u8(0..3) == 0;
    if echo {
        faults = faults.with_echo();
    }
    let network = Loopback::with_faults(faults);
    let log = Log::default();
    let mut sides = Vec::new();
    for name in ["ann", "ben"] {
        let liar = Liar::new(network.connector(name).expect("a name"), dice.u64(..));
        // An agent needs no session to be lied to.
        let mut session = options(seed).with_skip_own(true);
        if dice.bool() {
            session = session.with_store(Arc::new(MemoryStore::new()));
        }
        let connector: Arc<dyn Connector> = match dice.u8(0..4) {
            0 if !echo => Arc::new(liar.clone()),
            _ => Arc::new(ResilientConnector::new(liar.clone(), session)),
        };
        let agent = soon("starting", Agent::builder(connector).start()).await.expect("started");
        let bounds = SubscribeOptions::own().with_max_unsettled(dice.usize(4..64));
        let serve = ServeOptions::default().with_subscribe(bounds).with_concurrency(dice.usize(1..8));
        let serving = soon("serving", agent.serve(handler(&log), serve)).await.expect("served");
        sides.push((liar, agent, serving));
    }
    for turn in 0..dice.u8(1..4) {
        let calls =
            sides.iter().zip(sides.iter().rev()).map(|(from, to)| lied_to(&from.1, &to.1, turn, dice.fork()));
        soon("what is said to liars", join_all(calls.collect::<Vec<_>>())).await;
        if dice.u8(0..3) == 0 {
            network.cut();
        }
    }
    for (liar, ..) in &sides {
        liar.repent();
    }
    // What was told wrongly on this connection cannot be taken back on it.
    network.cut();
    tokio::time::sleep(400 * SECOND).await;
    honest(&mut sides, &log).await;
    for (_, agent, serving) in sides {
        let _ = soon("closing", agent.close(CloseMode::Detach, 5 * SECOND)).await;
        soon("the end of serving", serving.wait()).await;
    }
}

/// Mail and calls, of which nobody knows what becomes; but each ends.
async fn lied_to(from: &Agent, to: &Agent, turn: u8, mut dice: fastrand::Rng) {
    for number in 0..dice.u64(1..12) {
        let line = ConversationId::new(format!("c{}", dice.u8(0..3))).expect("an id");
        let note = Outbound::new(to.address().clone(), Body::text(format!("lied {turn} {number}")));
        let _ = soon("sending", from.send(&note.with_conversation(line))).await;
    }
    let calls = (0..dice.u64(1..5)).map(|number| {
        let request = CallRequest::new(Body::text(format!("asked {number}"))).with_timeout(20 * SECOND);
        async move {
            let Ok(mut call) = from.call(to.address(), request).await else { return };
            let mut replies = 0;
            while call.next().await.is_some() {
                replies += 1;
                assert!(replies < 1_000, "a call that never ends");
            }
        }
    });
    join_all(calls).await;
}

/// What is sent over a network that tells the truth.
async fn honest(sides: &mut [(Liar, Agent, Serving)], log: &Log) {
    // A bare attachment ended with its connection, as it says: such an agent is made anew.
    for at in 0..sides.len() {
        let (liar, agent, _) = &sides[at];
        let probe = Outbound::new(sides[1 - at].1.address().clone(), Body::text("probe"));
        if soon("a probe", agent.send(&probe)).await.is_err() {
            let again = soon("starting", Agent::builder(liar.clone()).start()).await.expect("started");
            let serving = soon("serving", again.serve(handler(log), ServeOptions::default())).await;
            sides[at] = (liar.clone(), again, serving.expect("served"));
        }
    }
    for at in 0..2 {
        let (from, to) = (&sides[at].1, &sides[1 - at].1);
        for number in 0..6 {
            let text = format!("true {at} {number}");
            let line = ConversationId::new(format!("c{}", number % 3)).expect("an id");
            let note = Outbound::new(to.address().clone(), Body::text(text)).with_conversation(line);
            soon("sending", from.send(&note)).await.expect("accepted");
        }
        let request = CallRequest::new(Body::text("what is true")).with_timeout(600 * SECOND);
        let call = soon("asking", from.call(to.address(), request)).await.expect("sent");
        let reply = soon("the reply", call.response()).await.expect("answered");
        assert_eq!(reply.body().as_str(), Some("what is true"));
    }
    tokio::time::sleep(600 * SECOND).await;
    let log = log.lock().expect("no panic");
    for (at, number) in (0..2).flat_map(|at| (0..6).map(move |number| (at, number))) {
        let text = format!("true {at} {number}");
        assert_eq!(log.get(&text), Some(&1), "{text}");
    }
}

fn handler(log: &Log) -> impl agentchat_core::Handler {
    let log = Arc::clone(log);
    move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            let text = request.body().as_str().expect("text").to_owned();
            tokio::time::sleep(MS).await;
            if request.wants_reply() {
                let _ = request.progress(Body::text("half")).await;
                // Where a lie leads may not be there.
                let _ = request.reply(request.body().clone()).await;
            }
            *log.lock().expect("no panic").entry(text).or_default() += 1;
            Ok(())
        }
    }
}
