//! An agent that answers is killed in the middle of its handlers, over every network, while others wait for its
//! answers. Each request ends with one last reply or an error that tells whether it may have been handled; what
//! was answered before it was killed is not answered otherwise; and once the agent is left alone, everybody is
//! answered. Its handlers answer in parts, another number of them each time.
//!
//! A few kills by default; `HUNT_ROUNDS=100` makes a hundred on each network.
#![cfg(unix)]

#[path = "support/hunt/mod.rs"]
mod hunt;
#[path = "support/hunt/processes.rs"]
mod processes;
mod support;
#[path = "support/hunt/talk.rs"]
mod talk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    Address, Agent, Body, CallRequest, ClientMsgId, CloseMode, ConversationId, HandlerResult, Reached,
    Request, ResilientConnector, ServeOptions,
};
use hunt::{Kind, MS, Net, SECOND, Trail, Way, options, rounds, within};
use processes::{ATTACHED, Part, say, told};
use support::Scratch;

/// Tell a process by which way it attaches, with which store, in which round.
const WAY: &str = "HUNT_AGENTS_WAY";
const STORE: &str = "HUNT_AGENTS_STORE";
const ROUND: &str = "HUNT_AGENTS_ROUND";
/// How many calls are under way at once.
const CALLERS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_to_an_agent_that_is_killed_again_and_again_ends_with_one_last_reply() {
    let first = hunt::seeds(1).next().expect("one");
    hunt::on_each(move |kind| async move {
        let _trail = Trail(kind, first);
        hunt_one(kind, first, rounds(3)).await;
    })
    .await;
}

async fn hunt_one(kind: Kind, seed: u64, rounds: u64) {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let (net, scratch) = (Net::start(kind).await, Scratch::new("hunt-agents"));
    let (way, calling) = (net.way("server").await, net.way("caller").await);
    let mut server = Part::new("server", "killed_process");
    server.tell(WAY, way.told());
    server.tell(STORE, scratch.path().join("server").to_str().expect("text"));
    let to = way.address().await;
    let session = ResilientConnector::new(
        calling.connector(Arc::new(MemoryStore::new())),
        options(seed).with_skip_own(true),
    );
    let caller = within(60, "starting", Agent::builder(session).start()).await.expect("started");
    let (log, over) = (Arc::new(Log::default()), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|lane| {
            let (caller, to) = (caller.clone(), to.clone());
            let (log, over) = (Arc::clone(&log), Arc::clone(&over));
            tokio::spawn(async move {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    call(&caller, &to, lane, number, &log).await;
                    number += 1;
                }
            })
        })
        .collect();
    let mut ends = Ends::default();
    for round in 0..rounds {
        server.tell(ROUND, round.to_string());
        server.start();
        if dice.u8(0..4) != 0 {
            server.speaks().await;
        }
        if dice.u8(0..3) == 0 {
            net.trouble(&mut dice).await;
        }
        tokio::time::sleep(MS * dice.u32(0..300)).await;
        ends.take(server.life, server.kill().await);
    }
    net.calm().await;
    server.tell(ROUND, rounds.to_string());
    server.start();
    tokio::time::sleep(SECOND / 2).await;
    over.store(true, Ordering::Relaxed);
    // Left alone, it answers all that wait; what is left then is told by the end of its caller.
    let calls = async {
        for calling in callers {
            calling.await.expect("no panic");
        }
    };
    tokio::pin!(calls);
    if tokio::time::timeout(60 * SECOND, &mut calls).await.is_err() {
        caller.close(CloseMode::Detach, SECOND).await.expect("closed");
        within(20, "ending the calls", calls).await;
    }
    ends.take(server.life, server.kill().await);
    let (answered, unsent) = (log.answered.load(Ordering::Relaxed), log.unsent.lock().expect("no panic"));
    let unanswered: Vec<_> = log.unanswered.lock().expect("no panic").drain(..).collect();
    let told = unanswered.iter().map(|(id, why)| {
        format!(
            "{id}: {why}; its handler began in {:?} and ended in {:?}",
            ends.begun.get(id),
            ends.ended.get(id)
        )
    });
    assert!(unanswered.is_empty(), "{}", told.collect::<Vec<_>>().join("\n"));
    for id in &*unsent {
        assert!(!ends.begun.contains_key(id), "{id} was handled, and is told not to have reached anybody");
    }
    assert!(answered >= CALLERS, "{answered} calls were answered");
    println!(
        "{kind:?}, seed {seed}: {rounds} rounds in {:?}, {answered} answered, {} refused here, {} handled, {} of \
         them again",
        begun.elapsed(),
        unsent.len(),
        ends.begun.len(),
        ends.begun.values().filter(|lives| lives.len() > 1).count(),
    );
}

/// What callers were told.
#[derive(Default)]
struct Log {
    answered: AtomicU64,
    /// Requests that certainly reached nobody.
    unsent: Mutex<Vec<String>>,
    /// Requests that somebody got, without a last answer; and what came instead.
    unanswered: Mutex<Vec<(String, String)>>,
}

async fn call(caller: &Agent, to: &Address, lane: u64, number: u64, log: &Log) {
    let id = format!("q.{lane}.{number:05}");
    let request = CallRequest::new(Body::text(id.clone()))
        .with_id(ClientMsgId::new(id.clone()).expect("valid"))
        .with_conversation(ConversationId::new(format!("lane-{lane}")).expect("valid"))
        .with_timeout(3_600 * SECOND);
    let mut replies = match caller.call(to, request).await {
        Ok(replies) => replies,
        Err(error) => {
            if error.reached() == Reached::No {
                log.unsent.lock().expect("no panic").push(id);
            }
            return tokio::time::sleep(10 * MS).await;
        }
    };
    let (mut came, mut last) = (Vec::new(), false);
    while let Some(reply) = replies.next().await {
        assert!(!last, "{id}: something came after the last reply");
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let why = format!("{error} after {came:?}");
                return log.unanswered.lock().expect("no panic").push((id, why));
            }
        };
        let body = reply.body().as_str().expect("text").to_owned();
        assert_eq!(body.split(' ').next(), Some(id.as_str()), "an answer to another call");
        assert_eq!((reply.last, reply.error.as_deref()), (body.ends_with("done"), None), "{id}: {body}");
        last = reply.last;
        came.push(body);
    }
    assert!(last, "{id} ended without a last reply: {came:?}");
    log.answered.fetch_add(1, Ordering::Relaxed);
}

/// What the processes said that answer.
#[derive(Default)]
struct Ends {
    /// By request: the lives in which its handler began.
    begun: BTreeMap<String, BTreeSet<u64>>,
    ended: BTreeMap<String, BTreeSet<u64>>,
}

impl Ends {
    fn take(&mut self, life: u64, lines: Vec<String>) {
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["begin", id] => drop(self.begun.entry(id.to_owned()).or_default().insert(life)),
                ["end", id] => drop(self.ended.entry(id.to_owned()).or_default().insert(life)),
                _ => panic!("life {life}: the process said {line:?}"),
            }
        }
    }
}

/// Not a test of its own: a process that is killed. In an ordinary run it does nothing.
#[test]
fn killed_process() {
    let Some(way) = told(WAY) else { return };
    let of = |name: &str| told(name).expect("it was told");
    processes::live(async move {
        let store = talk::store_at(&of(STORE)).await;
        let round: u64 = of(ROUND).parse().expect("a number");
        let options = options(round).with_connect_timeout(60 * SECOND).with_skip_own(true);
        let connector = Way::heard(&way).connector(Arc::clone(&store));
        let connector = ResilientConnector::new(connector, options.with_store(store));
        let serving = || ServeOptions::default().with_retry(5 * MS, 50 * MS);
        let _agent = loop {
            match Agent::builder(connector.clone()).serve(handle, serving()).start().await {
                Ok(agent) => break agent,
                Err(_) => tokio::time::sleep(20 * MS).await,
            }
        };
        say(ATTACHED);
        std::future::pending::<()>().await;
    });
}

async fn handle(request: Request) -> HandlerResult {
    let id = request.body().as_str().expect("text").to_owned();
    say(&format!("begin {id}"));
    for part in 0..fastrand::u8(0..4) {
        tokio::time::sleep(MS * fastrand::u32(0..8)).await;
        request.progress(Body::text(format!("{id} part {part}"))).await?;
    }
    if fastrand::u8(0..8) == 0 {
        return Err(std::io::Error::other("once more").into());
    }
    tokio::time::sleep(MS * fastrand::u32(0..8)).await;
    request.reply(Body::text(format!("{id} done"))).await?;
    say(&format!("end {id}"));
    Ok(())
}
