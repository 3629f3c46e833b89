//! Agents over AgentChat, each with one inbox for its mail and its answers: closed in the middle of calls,
//! and with thousands of conversations at once.

#[path = "support/fault/agentchat.rs"]
mod agentchat;
#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat::{KINDS, Kind, Place, within};
use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, Connector, ConversationId, ErrorKind, Outbound, Request,
    ResilientConnector, ServeOptions, SubscribeOptions,
};
use fault::{MS, SECOND, Seed, options, seeds};
use futures_util::future::join_all;
use tokio::sync::watch;

/// How often each request was begun, and how often it was done.
type Log = Arc<Mutex<BTreeMap<String, (u32, u32)>>>;

fn handler(log: &Log) -> impl agentchat_core::Handler {
    let log = Arc::clone(log);
    move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            let text = request.body().as_str().expect("text").to_owned();
            log.lock().expect("no panic").entry(text.clone()).or_default().0 += 1;
            tokio::time::sleep(10 * MS).await;
            // Nobody may be there any more to hear it.
            let _ = request.progress(Body::text("half")).await;
            tokio::time::sleep(10 * MS).await;
            log.lock().expect("no panic").entry(text).or_default().1 += 1;
            let _ = request.reply(request.body().clone()).await;
            Ok(())
        }
    }
}

/// Who closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Caller,
    Callee,
    Both,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Kind,
    who: Who,
    mode: CloseMode,
    at: Duration,
    deadline: Duration,
}

async fn start(connector: impl Connector, seed: u64) -> Agent {
    let sessions = ResilientConnector::new(connector, options(seed));
    within(20, "starting", Agent::builder(sessions).start()).await.expect("started")
}

async fn close_in_the_middle(case: Case, seed: u64) {
    let place = Place::new(case.kind).await;
    let (ann, ben) = (place.connector("ann").await, place.connector("ben").await);
    let (asker, worker) = (start(ann.clone(), seed).await, start(ben.clone(), seed).await);
    let log = Log::default();
    let two = ServeOptions::default().with_concurrency(2);
    let serving = within(20, "serving", worker.serve(handler(&log), two)).await.expect("served");
    let calls = (0..4).map(|number| {
        let (asker, to) = (asker.clone(), worker.address().clone());
        tokio::spawn(async move {
            // Two conversations, so that some wait behind others.
            let id = ConversationId::new(format!("c{}", number % 2)).expect("id");
            let request = CallRequest::new(Body::text(number.to_string())).with_conversation(id);
            let mut call = match asker.call(&to, request.with_timeout(20 * SECOND)).await {
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
    tokio::time::sleep(case.at).await;
    let close = async |agent: &Agent| within(20, "closing", agent.close(case.mode, case.deadline)).await;
    let mut comes_again = 0;
    let mut closed = Vec::new();
    match case.who {
        Who::Caller => closed.push(close(&asker).await),
        Who::Callee => closed.push(close(&worker).await),
        Who::Both => closed.extend(<[_; 2]>::from(tokio::join!(close(&asker), close(&worker)))),
    }
    for report in closed {
        let report = report.expect("closed");
        assert!(report.drained || case.deadline.is_zero(), "{report} though there was time");
        comes_again += report.unsettled + report.unacknowledged;
    }
    // The work goes on with the next incarnation, which answers the calls that are still open.
    let next = if case.who == Who::Caller {
        None
    } else {
        within(20, "the end of serving", serving.wait()).await;
        drop(worker);
        let again = start(ben, seed + 1).await;
        let serving = again.serve(handler(&log), ServeOptions::default());
        let serving = within(20, "serving", serving).await.expect("served");
        Some((again, serving))
    };
    let mut accepted = Vec::new();
    for (number, call) in calls.into_iter().enumerate() {
        let (sent, error) = within(30, "a call", call).await.expect("no panic");
        let fair = match case.who {
            Who::Caller | Who::Both => matches!(error, None | Some(ErrorKind::Closed)),
            Who::Callee => error.is_none(),
        };
        assert!(fair, "call {number} ended with {error:?}");
        accepted.extend(sent.then(|| number.to_string()));
    }
    let done = async {
        loop {
            let all = {
                let log = log.lock().expect("no panic");
                accepted.iter().all(|text| log.get(text).is_some_and(|(_, done)| *done > 0))
            };
            if all {
                return;
            }
            tokio::time::sleep(5 * MS).await;
        }
    };
    within(20, "the work that was accepted", done).await;
    tokio::time::sleep(150 * MS).await;
    let again: u32 = log.lock().expect("no panic").values().map(|(_, done)| done.saturating_sub(1)).sum();
    // Only what closing said comes again may have; behind it, where the server keeps one cursor for all, what
    // was settled does so with it.
    let most = if case.kind == Kind::Poll && comes_again > 0 { accepted.len() } else { comes_again };
    assert!(again as usize <= most, "{again} were done again, {comes_again} were told: {log:?}");
    drop(next);
}

async fn close_all_ways(kind: Kind) {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        for who in [Who::Caller, Who::Callee, Who::Both] {
            for mode in [CloseMode::Detach, CloseMode::Retire] {
                for deadline in [5 * SECOND, Duration::ZERO] {
                    let case = Case { kind, who, mode, at: MS * dice.u32(0..90), deadline };
                    let told = Told(case);
                    close_in_the_middle(case, seed).await;
                    drop(told);
                }
            }
        }
    }
}

#[tokio::test]
async fn calls_end_and_work_is_finished_when_agents_close_in_the_middle() {
    close_all_ways(Kind::Current).await;
}

#[tokio::test]
async fn so_they_do_on_a_server_without_acknowledgements() {
    close_all_ways(Kind::Legacy).await;
}

#[tokio::test]
async fn so_they_do_without_a_socket() {
    close_all_ways(Kind::Poll).await;
}

#[derive(Default)]
struct Running {
    next: HashMap<String, usize>,
    handled: usize,
    running: usize,
    most: usize,
}

/// `writers` agents write to each of `names` conversations twice; all conversations are in their handlers at
/// once before any goes on.
async fn many(kind: Kind, writers: usize, names: usize, seed: u64) {
    const EACH: usize = 2;
    let conversations = writers * names;
    let mut dice = fastrand::Rng::with_seed(seed);
    let place = Place::new(kind).await;
    let bob = start(place.connector("bob").await, seed).await;
    let to = bob.address().clone();
    let (open, gate) = watch::channel(false);
    let log = Arc::new(Mutex::new(Running::default()));
    let handling = Arc::clone(&log);
    let handler = move |request: Request| {
        let (handling, mut gate) = (Arc::clone(&handling), gate.clone());
        async move {
            {
                let mut log = handling.lock().expect("no panic");
                log.running += 1;
                log.most = log.most.max(log.running);
            }
            gate.wait_for(|open| *open).await?;
            let mut log = handling.lock().expect("no panic");
            let id = request.delivery().conversation.as_ref().expect("a conversation").to_string();
            let due = log.next.entry(id.clone()).or_default();
            let is_due = *due == request.body().as_str().expect("text").parse::<usize>().expect("a number");
            *due += 1;
            log.running -= 1;
            log.handled += 1;
            drop(log);
            assert!(is_due, "{id} is out of order");
            Ok(())
        }
    };
    let bounds = SubscribeOptions::own().with_max_unsettled(conversations * EACH);
    let serve = ServeOptions::default().with_concurrency(conversations).with_subscribe(bounds);
    let serving = within(20, "serving", bob.serve(handler, serve)).await.expect("served");
    let mut writing = Vec::new();
    for writer in 0..writers {
        let connected = place.connector(&format!("writer-{writer}")).await;
        let session = within(20, "attaching", connected.connect()).await.expect("attached");
        let (to, seed) = (to.clone(), dice.u64(..));
        writing.push(async move {
            let mut dice = fastrand::Rng::with_seed(seed);
            for number in 0..EACH {
                let mut all: Vec<usize> = (0..names).collect();
                dice.shuffle(&mut all);
                for name in all {
                    let id = ConversationId::new(format!("c{writer}-{name}")).expect("id");
                    let note = Outbound::new(to.clone(), Body::text(number.to_string()));
                    session.send(&note.with_conversation(id)).await.expect("accepted");
                }
            }
        });
    }
    // Once in a while the socket is lost, with all that is unsettled on it.
    let cutting = async {
        for _ in 0..2 {
            tokio::time::sleep(MS * dice.u32(100..600)).await;
            place.server.lock().await.kick("bob", 1001, "Server shutting down");
        }
    };
    within(80, "writing", async { tokio::join!(join_all(writing), cutting) }).await;
    let reaches = async |what: &str, holds: &dyn Fn(&Running) -> bool| {
        let reached = async {
            while !holds(&log.lock().expect("no panic")) {
                tokio::time::sleep(10 * MS).await;
            }
        };
        within(60, what, reached).await;
    };
    reaches("the overlap", &|log| log.running == conversations).await;
    open.send(true).expect("the handlers live");
    reaches("the work", &|log| log.handled >= conversations * EACH).await;
    let empty = async {
        while place.stored("bob").await > 0 {
            tokio::time::sleep(10 * MS).await;
        }
    };
    within(60, "the acknowledgements", empty).await;
    {
        let log = log.lock().expect("no panic");
        assert_eq!((log.handled, log.next.len()), (conversations * EACH, conversations));
        assert_eq!(log.most, conversations, "one handler for each at a time");
    }
    assert_eq!(within(20, "stopping", serving.stop(SECOND)).await.unsettled, 0);
}

#[tokio::test]
async fn two_thousand_conversations_keep_their_order_and_overlap() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        many(Kind::Current, 20, 100, seed).await;
    }
}

#[tokio::test]
async fn hundreds_of_conversations_do_so_on_the_others() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        for kind in [KINDS[1], KINDS[2]] {
            many(kind, 20, 15, seed).await;
        }
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
