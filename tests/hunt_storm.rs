//! Agents write to each other and call each other in both directions over every network, with bodies of all
//! kinds, while connections break at random bytes, the network has its troubles, and handlers fail, panic and
//! take their time. Everything arrives unchanged, is done once and in order, and every call is answered.
//!
//! A round on each network by default; `HUNT_ROUNDS=50` makes fifty.

#[path = "support/hunt/mod.rs"]
mod hunt;
#[path = "support/fault/severed.rs"]
mod severed;
mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    Address, Agent, Body, CallRequest, CloseMode, ConversationId, Outbound, Request, ResilientConnector,
    ServeOptions, Serving,
};
use futures_util::future::join_all;
use hunt::{Kind, MS, Net, SECOND, Trail, options, seeds, within};
use severed::Severed;

const MAILS: usize = 40;
const CALLS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_in_a_storm_lose_double_and_change_nothing() {
    // Handlers panic on purpose.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.to_string().contains("as it was planned") {
            eprintln!("{panic}");
        }
    }));
    hunt::on_each(|kind| async move {
        for seed in seeds(1) {
            let _trail = Trail(kind, seed);
            within(120, "the storm", storm(kind, seed)).await;
        }
    })
    .await;
}

async fn storm(kind: Kind, seed: u64) {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let net = Net::start(kind).await;
    let cuts: Vec<usize> = (0..dice.usize(0..16)).map(|_| dice.usize(2_000..400_000)).collect();
    let severed = Severed::before(net.port().await, cuts).await.expect("a port");
    let (mut sides, log) = (Vec::new(), Log::default());
    for name in ["ann", "ben"] {
        let store = Arc::new(MemoryStore::new());
        let connector = net.way(name).await.through(severed.port()).connector(Arc::clone(&store));
        let mut options = options(dice.u64(..));
        if dice.bool() {
            options = options.with_store(store);
        }
        let agent = Agent::builder(ResilientConnector::new(connector, options)).start();
        let agent = within(30, "starting", agent).await.expect("started");
        let serve = ServeOptions::default()
            .with_concurrency(dice.usize(1..32))
            .with_retry(dice.u32(1..20) * MS, 50 * MS);
        let serving = agent.serve(handler(&log, dice.u64(..)), serve);
        let serving = within(30, "serving", serving).await.expect("served");
        sides.push((agent, serving));
    }
    let troubles = dice.u32(0..12);
    let mut luck = dice.fork();
    let trouble = async {
        for _ in 0..troubles {
            tokio::time::sleep(MS * luck.u32(0..150)).await;
            net.trouble(&mut luck).await;
        }
        net.calm().await;
    };
    let [(ann, _), (ben, _)] = &sides[..] else { unreachable!() };
    let talking = async {
        tokio::join!(
            talk("a", ann, ben.address(), dice.fork(), &log),
            talk("b", ben, ann.address(), dice.fork(), &log)
        );
    };
    tokio::join!(talking, trouble);
    let done = async {
        while log.missing() > 0 {
            tokio::time::sleep(10 * MS).await;
        }
    };
    if tokio::time::timeout(30 * SECOND, done).await.is_err() {
        panic!("{} were accepted and are not done: {:?}", log.missing(), log.names());
    }
    tokio::time::sleep(200 * MS).await;
    log.check();
    for (agent, serving) in sides {
        close(agent, serving).await;
    }
    let (cuts, bytes) = severed.done();
    println!(
        "{kind:?}, seed {seed}: {cuts} cuts in {bytes} bytes, {troubles} troubles, {:?}",
        begun.elapsed()
    );
}

async fn close(agent: Agent, serving: Serving) {
    let report = within(30, "closing", agent.close(CloseMode::Detach, 10 * SECOND)).await;
    if let Ok(report) = report {
        assert_eq!(report.unsettled, 0, "{report}");
    }
    within(30, "the end of serving", serving.wait()).await;
}

/// Writes and calls, all at once or one after the other.
async fn talk(who: &str, agent: &Agent, to: &Address, mut dice: fastrand::Rng, log: &Log) {
    let together = dice.bool();
    let mut mails = Vec::new();
    for number in 0..MAILS {
        let lane = dice.usize(0..5);
        let (name, body) = (format!("{who}.{lane}.{number:03}"), any_body(&mut dice));
        log.expect(&name, &body);
        let mut note = Outbound::new(to.clone(), body).with_header("name", &name);
        if lane < 4 {
            note = note.with_conversation(ConversationId::new(format!("{who}-{lane}")).expect("an id"));
        }
        let agent = agent.clone();
        let sending = async move {
            let sent = within(100, "sending", agent.send(&note)).await;
            assert!(sent.is_ok(), "{name}: {sent:?}");
        };
        if together && lane == 4 {
            mails.push(sending);
        } else {
            sending.await;
        }
    }
    let calls = (0..CALLS).map(|number| {
        let (name, body) = (format!("{who}.call.{number:03}"), any_body(&mut dice));
        log.expect(&name, &body);
        let request = CallRequest::new(body.clone()).with_timeout(90 * SECOND).with_header("name", &name);
        let request =
            request.with_conversation(ConversationId::new(format!("{who}-call-{number}")).expect("an id"));
        async move {
            let mut call = within(100, "asking", agent.call(to, request)).await.expect("sent");
            let mut replies = Vec::new();
            while let Some(reply) = within(100, "a reply", call.next()).await {
                let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(reply.error.is_none(), "{name}: {:?}", reply.error);
                replies.push(reply.body().clone());
            }
            assert!(!replies.is_empty(), "{name}");
            assert_eq!(replies.pop(), Some(body), "{name}");
            assert!(replies.iter().all(|reply| reply.as_str() == Some("half")), "{name}: {replies:?}");
        }
    });
    tokio::join!(join_all(calls), join_all(mails));
}

/// What an application may hand over.
fn any_body(dice: &mut fastrand::Rng) -> Body {
    let size = match dice.u8(0..8) {
        0 => 0,
        1 => dice.usize(8_000..20_000),
        _ => dice.usize(1..400),
    };
    match dice.u8(0..4) {
        0 => Body::binary((0..size).map(|_| dice.u8(..)).collect::<Vec<_>>()),
        1 => Body::text((0..size / 4).map(|_| dice.char(..)).collect::<String>()),
        2 => {
            Body::json(format!(r#"{{"b":1e400,"a":[{}],"b":"\u0000","é":null }}"#, dice.u64(..)).into_bytes())
        }
        _ => Body::new("application/x-odd;q=\"a b\"", (0..size).map(|_| dice.u8(..)).collect::<Vec<_>>()),
    }
}

/// Fails, panics or dawdles at first; at last it is done.
fn handler(log: &Log, seed: u64) -> impl agentchat_core::Handler {
    let (log, dice) = (log.clone(), Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))));
    move |request: Request| {
        let (log, mut dice) = (log.clone(), dice.lock().expect("no panic").fork());
        async move {
            let name = request.delivery().headers.get("name").expect("a name").to_owned();
            tokio::time::sleep(MS * dice.u32(0..6)).await;
            if request.attempt() < 3 {
                match dice.u8(0..12) {
                    0 => return Err("as it was planned".into()),
                    1 => panic!("as it was planned"),
                    _ => {}
                }
            }
            if request.wants_reply() {
                if dice.bool() {
                    request.progress(Body::text("half")).await?;
                }
                request.reply(request.body().clone()).await?;
            }
            log.done(&name, request.body());
            Ok(())
        }
    }
}

/// What must be done, and what was.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    expected: BTreeMap<String, Body>,
    done: HashMap<String, u32>,
    newest: HashMap<String, String>,
    faults: Vec<String>,
}

impl Log {
    fn expect(&self, name: &str, body: &Body) {
        self.lock().expected.insert(name.to_owned(), body.clone());
    }

    fn done(&self, name: &str, body: &Body) {
        let mut state = self.lock();
        let times = state.done.entry(name.to_owned()).or_default();
        *times += 1;
        if *times > 1 {
            state.faults.push(format!("{name} was done again"));
        }
        if state.expected.get(name) != Some(body) {
            state.faults.push(format!("{name} came as another: {}", body.media_type));
        }
        let (line, number) = name.rsplit_once('.').expect("a number");
        if !line.ends_with("call") && !line.ends_with('4') {
            let before = state.newest.insert(line.to_owned(), number.to_owned());
            if before.as_deref().is_some_and(|before| before >= number) {
                state.faults.push(format!("{name} came after {before:?}"));
            }
        }
    }

    fn missing(&self) -> usize {
        let state = self.lock();
        state.expected.len() - state.done.len().min(state.expected.len())
    }

    fn names(&self) -> Vec<String> {
        let state = self.lock();
        state.expected.keys().filter(|name| !state.done.contains_key(*name)).cloned().collect()
    }

    fn check(&self) {
        let state = self.lock();
        assert!(state.faults.is_empty(), "{:?}", state.faults);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }
}
