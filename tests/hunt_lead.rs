//! Two processes of one account, or three, share a lock, and another one writes to them over every network. Whoever leads is
//! killed at random moments, and so are those that follow and the one that writes. At most one leads, another
//! takes over, nothing that was kept is lost, and what was settled is not handled again by anybody.
//!
//! Once they share a store as well, which the one that leads opens; once each is an agent with a store of its own,
//! which is closed now and then instead.
//! A few kills by default; `HUNT_ROUNDS=100` makes a hundred on each network.
#![cfg(unix)]

#[path = "support/hunt/mod.rs"]
mod hunt;
#[path = "support/hunt/ledger.rs"]
mod ledger;
#[path = "support/hunt/processes.rs"]
mod processes;
mod support;
#[path = "support/hunt/talk.rs"]
mod talk;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use agentchat_core::store::{Cursor, CursorStore, DurableStore};
use agentchat_core::{
    Address, Agent, ClientMsgId, CloseMode, ErrorKind, HandlerResult, LeaderLock, Request,
    ResilientConnector, ResilientOptions, Result, ServeOptions,
};
use async_trait::async_trait;
use hunt::{Kind, MS, Net, SECOND, Trail, Way, options, rounds};
use ledger::Ledger;
use processes::{ATTACHED, Part, is_last, say, told};
use support::Scratch;
use tokio::sync::OnceCell;

/// Tell a process what it is, by which way, with which lock and stores, in which round, and to whom it writes.
const PART: &str = "HUNT_LEAD_PART";
const WAY: &str = "HUNT_LEAD_WAY";
const LOCK: &str = "HUNT_LEAD_LOCK";
const STORE: &str = "HUNT_LEAD_STORE";
const CURSORS: &str = "HUNT_LEAD_CURSORS";
const ROUND: &str = "HUNT_LEAD_ROUND";
const PEER: &str = "HUNT_LEAD_PEER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_with_one_lock_and_one_store_take_over_and_repeat_nothing_that_was_settled() {
    on_each("reader").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_with_one_lock_take_over_and_repeat_nothing_of_one_that_was_closed() {
    on_each("agent").await;
}

async fn on_each(part: &'static str) {
    let first = hunt::seeds(1).next().expect("one");
    hunt::on_each(move |kind| async move {
        let _trail = Trail(kind, first);
        hunt_one(kind, part, first, rounds(2)).await;
    })
    .await;
}

async fn hunt_one(kind: Kind, part: &'static str, seed: u64, rounds: u64) {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let (net, scratch) = (Net::start(kind).await, Scratch::new("hunt-lead"));
    let mut house = House::new(&net, part, scratch.path()).await;
    for round in 0..rounds {
        house.start(round, false);
        house.until("somebody leads", |house| house.leader.is_some()).await;
        if round == 0 {
            house.until("a message comes", |house| !house.ledger.handed.is_empty()).await;
        }
        if part == "reader" && dice.u8(0..3) == 0 {
            for _ in 0..dice.u8(1..4) {
                tokio::time::sleep(MS * dice.u32(0..60)).await;
                net.trouble(&mut dice).await;
            }
        }
        let most = if dice.bool() { 60 } else { 400 };
        tokio::time::sleep(MS * dice.u32(0..most)).await;
        house.listen();
        if part == "agent" && dice.bool() {
            house.close_leader().await;
        }
        for number in 0..house.candidates.len() {
            let most = if house.leader == Some(number) { 4 } else { 1 };
            if dice.u8(0..5) < most {
                house.kill(number).await;
            }
        }
        if dice.bool() {
            house.kill_writer().await;
        }
    }
    net.calm().await;
    for number in 0..house.candidates.len() {
        house.kill(number).await;
    }
    house.kill_writer().await;
    house.start(rounds, true);
    house.until("everything is settled", |house| house.ledger.is_complete()).await;
    tokio::time::sleep(SECOND / 2).await;
    house.finish().await;
    println!(
        "{kind:?}, {part}, seed {seed}: {rounds} rounds in {:?}, {} led, {} were closed, {}",
        begun.elapsed(),
        house.led,
        house.closed,
        house.ledger.check()
    );
}

/// Not a test of its own: a process that is killed. In an ordinary run it does nothing.
#[test]
fn killed_process() {
    let Some(part) = told(PART) else { return };
    let of = |name: &str| told(name).expect("it was told");
    processes::live(async move {
        let round: u64 = of(ROUND).parse().expect("a number");
        let options = options(round).with_connect_timeout(60 * SECOND);
        let to = || Address::parse(of(PEER)).expect("an address");
        match part.as_str() {
            "writer" => {
                let store = talk::store_at(&of(STORE)).await;
                let connector = Way::heard(&of(WAY)).connector(Arc::clone(&store));
                let session = talk::session(connector, options.with_store(store)).await;
                talk::write(&session, to(), round, None).await;
                std::future::pending::<()>().await;
            }
            "reader" => reader(&of(LOCK), &of(STORE), &Way::heard(&of(WAY)), options, round).await,
            _ => agent(&of(LOCK), &of(STORE), &Way::heard(&of(WAY)), options, round).await,
        }
    });
}

/// Waits for the lock, and only then opens the store, which has one owner at a time.
async fn reader(lock: &str, store: &str, way: &Way, options: ResilientOptions, round: u64) {
    say(ATTACHED);
    let leads = LeaderLock::acquire(lock);
    let lock = tokio::select! {
        lock = leads => lock.expect("usable"),
        () = processes::until_told(), if is_last() => {
            say("closed");
            std::process::exit(0);
        }
    };
    say("leads");
    let store = talk::store_at(store).await;
    let session = talk::session(way.connector(Arc::clone(&store)), options.with_store(store)).await;
    talk::read(&session, round).await;
    std::future::pending::<()>().await;
    drop(lock);
}

/// An agent with a store of its own, which follows until it leads.
async fn agent(lock: &str, store: &str, way: &Way, options: ResilientOptions, round: u64) {
    let cursors = Late { path: told(CURSORS).expect("it was told"), store: OnceCell::new() };
    let store = talk::store_at(store).await;
    let options = options.with_store(store).with_skip_own(true);
    let connector = ResilientConnector::new(way.connector(Arc::new(cursors)), options);
    let agent = loop {
        let builder = Agent::builder(connector.clone()).leader_lock(lock).seed(round);
        match builder.serve(handle, ServeOptions::default()).start().await {
            Ok(agent) => break agent,
            Err(_) => tokio::time::sleep(20 * MS).await,
        }
    };
    say(ATTACHED);
    let mut told = tokio::spawn(processes::until_told());
    tokio::select! {
        led = agent.lead() => {
            led.expect("it leads");
            say("leads");
            told.await.expect("no panic");
        }
        _ = &mut told => {}
    }
    // Where the network keeps one position, what is handled behind something that is not comes again.
    match agent.close(CloseMode::Detach, 20 * SECOND).await {
        Ok(report) if report.is_clean() => say("clean"),
        Ok(report) => assert!(report.drained, "{report:?}"),
        // On a busy machine there may not be time enough to tell the network, which is said.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error}"),
    }
    say("closed");
    std::process::exit(0);
}

/// A store that is opened when it is used first, which an agent that follows does not do: so all of them can have
/// the same one, for what a server forgets that counts a message as delivered when it is written.
#[derive(Debug)]
struct Late {
    path: String,
    store: OnceCell<Arc<DurableStore>>,
}

impl Late {
    async fn opened(&self) -> &DurableStore {
        self.store.get_or_init(|| talk::store_at(&self.path)).await
    }
}

#[async_trait]
#[rustfmt::skip]
impl CursorStore for Late {
    async fn get(&self, key: &str) -> Result<Option<Cursor>> { self.opened().await.get(key).await }
    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()> { self.opened().await.set(key, cursor).await }
    async fn clear(&self, key: &str) -> Result<()> { self.opened().await.clear(key).await }
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>> { self.opened().await.list(prefix).await }
}

async fn handle(request: Request) -> HandlerResult {
    let delivery = request.delivery();
    let id = delivery.client_msg_id.as_ref().map_or("none", ClientMsgId::as_str);
    let same = delivery.body.as_str().is_some_and(|text| text.split(' ').next() == Some(id));
    say(&format!("handed {id} {} {same}", delivery.redelivered));
    if fastrand::u8(0..3) == 0 {
        tokio::time::sleep(MS * fastrand::u32(0..20)).await;
    }
    say(&format!("settling {id}"));
    Ok(())
}

/// Those that may lead, the one that writes to them, and what they said.
struct House {
    candidates: Vec<Part>,
    writer: Part,
    ledger: Ledger,
    leader: Option<usize>,
    /// How many have led.
    led: u64,
    /// How many were closed with nothing left.
    closed: u64,
}

impl House {
    async fn new(net: &Net, part: &'static str, folder: &Path) -> Self {
        let file = |name: &str| folder.join(name).to_str().expect("text").to_owned();
        let way = net.way("house").await;
        let names: &[_] = if hunt::is_alone() { &["first", "second", "third"] } else { &["first", "second"] };
        let candidates = names.iter().map(|name| {
            let mut candidate = Part::new(name, "killed_process");
            candidate.tell(PART, part);
            candidate.tell(WAY, way.told());
            candidate.tell(LOCK, file("lock"));
            candidate.tell(CURSORS, file("cursors"));
            candidate.tell(STORE, file(if part == "reader" { "store" } else { name }));
            candidate
        });
        let mut writer = Part::new("writer", "killed_process");
        writer.tell(PART, "writer");
        writer.tell(WAY, net.way("writer").await.told());
        writer.tell(STORE, file("writer"));
        writer.tell(PEER, way.address().await.as_str());
        let ledger = if part == "reader" { Ledger::default() } else { Ledger::of_agents() };
        Self { candidates: candidates.collect(), writer, ledger, leader: None, led: 0, closed: 0 }
    }

    fn start(&mut self, round: u64, last: bool) {
        for part in self.candidates.iter_mut().chain([&mut self.writer]) {
            part.tell(ROUND, round.to_string());
            if last { part.start_last() } else { part.start() }
        }
    }

    fn listen(&mut self) {
        for number in 0..self.candidates.len() {
            let heard = self.candidates[number].heard();
            self.note(number, heard);
        }
        let heard = self.writer.heard();
        heard.iter().for_each(|line| self.ledger.sent(line));
    }

    fn note(&mut self, number: usize, lines: Vec<String>) {
        for line in lines {
            if line == "clean" {
                continue;
            }
            if line == "leads" {
                assert_eq!(self.leader, None, "{number} leads as well");
                (self.leader, self.led) = (Some(number), self.led + 1);
            } else {
                // An agent is told that it leads when its inbox is read already.
                let leads = self.leader.is_none_or(|leader| leader == number);
                assert!(leads, "{number} said {line:?} and {:?} leads", self.leader);
                self.ledger.read(self.led, &line);
            }
        }
    }

    async fn kill(&mut self, number: usize) {
        let heard = self.candidates[number].kill().await;
        self.note(number, heard);
        if self.leader == Some(number) {
            self.leader = None;
        }
        if self.leader.is_none() {
            self.ledger.buried();
        }
    }

    async fn kill_writer(&mut self) {
        let heard = self.writer.kill().await;
        heard.iter().for_each(|line| self.ledger.sent(line));
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let ended = Instant::now() + 60 * SECOND;
        while !holds(self) {
            assert!(Instant::now() < ended, "not until {what}: {}", self.ledger.missing());
            self.listen();
            tokio::time::sleep(5 * MS).await;
        }
    }

    /// Whoever leads is closed.
    async fn close_leader(&mut self) {
        let Some(number) = self.leader else { return };
        let mut heard = self.candidates[number].finish().await;
        heard.pop();
        let clean = heard.last().is_some_and(|word| word == "clean");
        self.note(number, heard);
        self.leader = None;
        match clean {
            true => self.ledger.closed(self.led),
            false => self.ledger.buried(),
        }
        self.closed += u64::from(clean);
    }

    async fn finish(&mut self) {
        for number in 0..self.candidates.len() {
            let mut heard = self.candidates[number].finish().await;
            heard.pop();
            self.note(number, heard);
            if self.leader == Some(number) {
                self.leader = None;
                self.ledger.buried();
            }
        }
        let mut heard = self.writer.finish().await;
        heard.pop();
        heard.iter().for_each(|line| self.ledger.sent(line));
    }
}
