//! The connection is cut at every frame of a script: before a request arrives, between its arrival and its
//! answer, between two deliveries, around every acknowledgement. Whatever was accepted arrives once and in
//! order, and nothing else does.

#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, Loopback, Request, ResilientConnector, ServeOptions,
};
use fault::frames::{Fate, Frame, Point, Wire};
use fault::{MS, SECOND, Seed, options, script, seeds, soon};

/// A boundary: what crosses, where it is, for which message. A batch of acknowledgements has one for each.
type Boundary = (String, &'static str, Point, String);

fn boundaries(frame: &Frame<'_>) -> Vec<Boundary> {
    let of = |text: &str| (frame.side.to_owned(), frame.verb, frame.point, text.to_owned());
    match frame.texts {
        [] => vec![of("")],
        texts => texts.iter().map(|text| of(text)).collect(),
    }
}

/// Runs the script over a fresh network behind `wire`.
async fn run(wire: &Wire, count: u64, seed: u64) {
    let network = Loopback::new();
    let behind = |name| wire.connector(name, network.connector(name).expect("a name"));
    script::run(behind("alice"), behind("bob"), count, seed, 60 * SECOND).await;
}

/// Every boundary of the script when nothing is cut.
async fn all_boundaries(count: u64, seed: u64) -> Vec<Boundary> {
    let all = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&all);
    let wire = Wire::new(move |frame| {
        seen.lock().expect("no panic").extend(boundaries(frame));
        Fate::Pass
    });
    run(&wire.with_latency(MS), count, seed).await;
    let all = std::mem::take(&mut *all.lock().expect("no panic"));
    all.into_iter().collect()
}

/// What the sides are told of a cut: each call that was under way, or only that the connection is gone.
#[derive(Debug, Clone, Copy)]
enum Told {
    All,
    Little,
}

/// Cuts each boundary of `at` the first time it is met; what is left in it was not met.
async fn run_with_cuts(at: BTreeSet<Boundary>, count: u64, seed: u64, told: Told) -> BTreeSet<Boundary> {
    let left = Arc::new(Mutex::new(at));
    let plan = Arc::clone(&left);
    let wire = Wire::new(move |frame| {
        let mut left = plan.lock().expect("no panic");
        let met = boundaries(frame).iter().filter(|boundary| left.remove(*boundary)).count();
        if met > 0 { Fate::Cut } else { Fate::Pass }
    });
    let wire = match told {
        Told::All => wire,
        Told::Little => wire.silent(),
    };
    run(&wire.with_latency(MS), count, seed).await;
    std::mem::take(&mut *left.lock().expect("no panic"))
}

#[tokio::test(start_paused = true)]
async fn one_cut_at_any_frame_of_a_script_loses_and_repeats_nothing() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        let all = all_boundaries(40, seed).await;
        assert!(all.len() > 5 * 40, "{}", all.len());
        for (boundary, told) in all.iter().flat_map(|at| [(at, Told::All), (at, Told::Little)]) {
            let left = run_with_cuts(BTreeSet::from([boundary.clone()]), 40, seed, told).await;
            assert!(left.is_empty(), "{left:?} was not met");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cuts_at_every_frame_of_a_thousand_messages_lose_and_repeat_nothing() {
    const RUNS: usize = 32;
    for seed in seeds(1..2) {
        let _seed = Seed(seed);
        let all = all_boundaries(1_000, seed).await;
        assert!(all.len() > 5_000, "{}", all.len());
        let mut plans: BTreeMap<usize, BTreeSet<Boundary>> = BTreeMap::new();
        for (number, boundary) in all.into_iter().enumerate() {
            plans.entry(number % RUNS).or_default().insert(boundary);
        }
        let mut unmet = BTreeSet::new();
        for plan in plans.into_values() {
            unmet.extend(run_with_cuts(plan, 1_000, seed, Told::All).await);
        }
        assert!(unmet.len() < 50, "{unmet:?}");
        // An answer is lost in another frame's cut now and then; then it gets one of its own.
        for boundary in unmet {
            let left = run_with_cuts(BTreeSet::from([boundary]), 1_000, seed, Told::All).await;
            assert!(left.is_empty(), "{left:?} was not met");
        }
    }
}

/// Three calls from an agent to another, both over sessions.
async fn calls(wire: &Wire, seed: u64) {
    let network = Loopback::new();
    let start = async |name: &str| {
        let framed = wire.connector(name, network.connector(name).expect("a name"));
        let sessions = ResilientConnector::new(framed, options(seed));
        soon("starting", Agent::builder(sessions).start()).await.expect("started")
    };
    let (asker, worker) = (start("asker").await, start("worker").await);
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&handled);
    let handler = move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            log.lock().expect("no panic").push(request.body().as_str().expect("text").to_owned());
            request.progress(Body::text("half")).await?;
            request.reply(request.body().clone()).await?;
            Ok(())
        }
    };
    let serving = soon("serving", worker.serve(handler, ServeOptions::default())).await.expect("served");
    for number in 0..3 {
        let request = CallRequest::new(Body::text(number.to_string())).with_timeout(600 * SECOND);
        let mut call = soon("asking", asker.call(worker.address(), request)).await.expect("sent");
        let mut replies = Vec::new();
        while let Some(reply) = soon("a reply", call.next()).await {
            replies.push(reply.expect("a reply").body().as_str().expect("text").to_owned());
        }
        assert_eq!(replies, ["half".to_owned(), number.to_string()]);
    }
    // What came again would be handled by now.
    script::rest().await;
    assert_eq!(*handled.lock().expect("no panic"), ["0", "1", "2"]);
    let served = soon("stopping", serving.stop(60 * SECOND)).await;
    assert_eq!((served.unsettled, served.error.is_none()), (0, true), "{served:?}");
    for agent in [asker, worker] {
        // Closing itself may be cut; it ends all the same.
        let _ = soon("closing", agent.close(CloseMode::Detach, SECOND)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_survive_a_cut_at_each_of_their_frames() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        for fate in [Fate::Cut, Fate::CutAll] {
            let mut frames = 0;
            for number in 0.. {
                let wire = Wire::at(number, fate).with_latency(MS);
                calls(&wire, seed).await;
                if wire.cuts() == 0 {
                    break;
                }
                frames = number;
            }
            assert!(frames > 40, "{frames}");
        }
    }
}
