//! Closing in the middle of calls: by the caller, by the callee, by both, at every millisecond of them. Every
//! call ends, the report says what is left, and a later incarnation finishes the work.

#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, ConversationId, ErrorKind, Loopback, Outbound, Query,
    Request, ResilientConnector, ServeOptions, SubscribeOptions, Transport,
};
use fault::frames::{Fate, Wire};
use fault::script::rest;
use fault::{MS, SECOND, Seed, message, options, seeds, session, soon, tasks};

/// Who closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Caller,
    Callee,
    Both,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    who: Who,
    mode: CloseMode,
    at: u64,
    deadline: Duration,
    sessions: bool,
}

/// How often each request was begun, and how often it was done.
type Log = Arc<Mutex<BTreeMap<String, (u32, u32)>>>;

fn handler(log: &Log) -> impl agentchat_core::Handler {
    let log = Arc::clone(log);
    move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            let text = request.body().as_str().expect("text").to_owned();
            log.lock().expect("no panic").entry(text.clone()).or_default().0 += 1;
            tokio::time::sleep(7 * MS).await;
            // Nobody may be there any more to hear it.
            let _ = request.progress(Body::text("half")).await;
            tokio::time::sleep(7 * MS).await;
            let _ = request.reply(request.body().clone()).await;
            log.lock().expect("no panic").entry(text).or_default().1 += 1;
            Ok(())
        }
    }
}

async fn start(network: &Loopback, wire: &Wire, name: &str, sessions: bool) -> Agent {
    let framed = wire.connector(name, network.connector(name).expect("a name"));
    let card = AgentCard::new(name, "closes").expect("a card");
    let started = async {
        match sessions {
            true => Agent::builder(ResilientConnector::new(framed, options(1))).card(card).start().await,
            false => Agent::builder(framed).card(card).start().await,
        }
    };
    soon("starting", started).await.expect("started")
}

async fn close_in_the_middle(case: Case) {
    let network = Loopback::new();
    let wire = Wire::clear().with_latency(MS);
    let asker = start(&network, &wire, "asker", case.sessions).await;
    let worker = start(&network, &wire, "worker", case.sessions).await;
    let log = Log::default();
    let two = ServeOptions::default().with_concurrency(2);
    let serving = soon("serving", worker.serve(handler(&log), two)).await.expect("served");
    let calls = (0..4).map(|number| {
        let (asker, to) = (asker.clone(), worker.address().clone());
        tokio::spawn(async move {
            // Two conversations, so that some wait behind others.
            let id = ConversationId::new(format!("c{}", number % 2)).expect("id");
            let request = CallRequest::new(Body::text(number.to_string())).with_conversation(id);
            let request = request.with_timeout(120 * SECOND);
            let mut call = match asker.call(&to, request).await {
                Ok(call) => call,
                Err(error) => return (false, Some(error.kind())),
            };
            let mut last = None;
            while let Some(reply) = call.next().await {
                last = reply.err();
            }
            (true, last.map(|error| error.kind()))
        })
    });
    let calls: Vec<_> = calls.collect();
    tokio::time::sleep(MS * u32::try_from(case.at).expect("small")).await;
    let close = async |agent: &Agent| soon("closing", agent.close(case.mode, case.deadline)).await;
    let (by_caller, by_callee) = match case.who {
        Who::Caller => (Some(close(&asker).await), None),
        Who::Callee => (None, Some(close(&worker).await)),
        Who::Both => {
            let (asker, worker) = tokio::join!(close(&asker), close(&worker));
            (Some(asker), Some(worker))
        }
    };
    for report in [&by_caller, &by_callee].into_iter().flatten() {
        assert!(report.is_ok(), "{report:?}");
    }
    let mut accepted = 0;
    for (number, call) in calls.into_iter().enumerate() {
        let (sent, error) = soon("a call", call).await.expect("no panic");
        accepted += usize::from(sent);
        // An answered call has none; one that was given up says so; one that nobody answers times out.
        let fair = match case.who {
            Who::Caller | Who::Both => matches!(error, None | Some(ErrorKind::Closed)),
            Who::Callee => matches!(error, None | Some(ErrorKind::Timeout)),
        };
        assert!(fair, "call {number} ended with {error:?}");
    }
    if let Some(Ok(report)) = &by_callee {
        let log = log.lock().expect("no panic");
        let (begun, done) = log.values().fold((0, 0), |sum, (begun, done)| (sum.0 + begun, sum.1 + done));
        assert!(report.unsettled as u32 <= 4 - done, "{report:?} with {done} done");
        assert!(!report.drained || begun == done, "{report:?} with {done} of {begun} done");
        assert!(report.drained || case.deadline.is_zero(), "{report:?} though there was time");
    }
    let found = network.connector("watcher").expect("a name");
    let watcher = soon("starting", Agent::builder(found).start()).await.expect("started");
    let found =
        soon("asking", watcher.discover(&Query::name("worker"))).await.expect("an answer").agents.len();
    let retired = case.who != Who::Caller && case.mode == CloseMode::Retire;
    assert_eq!(found, usize::from(!retired));
    if by_callee.is_some() {
        let served = soon("serving", serving.wait()).await;
        assert_eq!(served.unacknowledged, 0, "{served:?}");
    } else {
        rest().await;
        assert_eq!(soon("stopping", serving.stop(SECOND)).await.unsettled, 0);
    }
    drop((asker, worker));
    let again = start(&network, &wire, "worker", case.sessions).await;
    let serving = soon("serving", again.serve(handler(&log), ServeOptions::default())).await.expect("served");
    rest().await;
    {
        let log = log.lock().expect("no panic");
        assert!(log.values().all(|(_, done)| *done == 1), "each is done once: {log:?}");
        assert!(log.len() >= accepted, "{accepted} were accepted, {log:?} were done");
    }
    assert_eq!(soon("stopping", serving.stop(SECOND)).await.unsettled, 0);
    drop((again, watcher));
    rest().await;
    assert_eq!(tasks(), 0, "a task is left");
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_and_a_later_incarnation_finishes_the_work() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        for who in [Who::Caller, Who::Callee, Who::Both] {
            for mode in [CloseMode::Detach, CloseMode::Retire] {
                for (deadline, sessions) in
                    [(5 * SECOND, false), (5 * SECOND, true), (Duration::ZERO, false), (Duration::ZERO, true)]
                {
                    for at in 0..50 {
                        let case = Case { who, mode, at, deadline, sessions };
                        let told = Told(case);
                        close_in_the_middle(case).await;
                        drop(told);
                    }
                }
            }
        }
    }
}

/// Settled in time, but the connection went away before the network knew. Closing waits for it to come back; if
/// it does not, closing says so, and a later incarnation gets it again.
#[tokio::test(start_paused = true)]
async fn what_was_settled_and_not_acknowledged_is_told_at_the_close() {
    // Who learns of the cut first is left to chance: once in a few rounds it is the reader, before anything
    // was handed to the attachment.
    for comes_back in [false, true].repeat(40) {
        let network = Loopback::new();
        let wire = Wire::clear().with_latency(MS);
        let bob = session(wire.connector("bob", network.connector("bob").expect("a name")), 1).await;
        let opened = soon("subscribing", bob.subscribe(SubscribeOptions::own())).await.expect("subscribed");
        let mut events = opened.events;
        let note = Outbound::new(bob.address().clone(), Body::text("x"));
        soon("sending", bob.send(&note)).await.expect("accepted");
        let delivery = message(&mut events, SECOND).await.expect("it came");
        if !comes_back {
            wire.judge(|_| Fate::Cut);
        }
        wire.cut_all();
        bob.ack(&[delivery.tag]).await.expect("settled");
        // It notices the cut at once, and tries again after some milliseconds, also while it is being closed.
        tokio::time::sleep(MS).await;
        let closed = soon("closing", bob.close(CloseMode::Detach)).await;
        assert_eq!(closed.is_ok(), comes_back, "{closed:?}");
        if let Err(error) = closed {
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(error.to_string().contains("settled messages could not be acknowledged"), "{error}");
        }
        wire.judge(|_| Fate::Pass);
        let again = session(wire.connector("bob", network.connector("bob").expect("a name")), 2).await;
        let opened = soon("subscribing", again.subscribe(SubscribeOptions::own())).await.expect("subscribed");
        let mut events = opened.events;
        assert_eq!(message(&mut events, SECOND).await.is_none(), comes_back);
    }
}

/// Says which case failed.
struct Told(Case);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.0);
        }
    }
}
