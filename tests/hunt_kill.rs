//! Two processes with stores talk over every network and are killed at random moments, under load, while the
//! network has its own troubles. What was kept goes out under its id and is handled; what was settled is not
//! handed out again; what was in hand comes again and says so; each conversation keeps its order.
//!
//! A few kills by default; `HUNT_ROUNDS=100` makes a hundred on each network.
#![cfg(unix)]

#[path = "support/hunt/mod.rs"]
mod hunt;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use agentchat_core::store::{DurableStore, MemoryStore, OutboxStore};
use agentchat_core::{
    Address, Body, ClientMsgId, CloseMode, ConversationId, Delivery, Event, Outbound, Resilient,
    SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use hunt::{Kind, MS, Net, SECOND, Trail, Way, options, rounds, within};
use support::Scratch;
use tokio::sync::mpsc;

const LANES: u64 = 3;
/// How many messages a process sends in each conversation before it only waits for its end.
const EACH: u64 = 5;
/// Tell a process of this test program what it is: its part, its way, its store, its round.
const PART: &str = "HUNT_KILL_PART";
const WAY: &str = "HUNT_KILL_WAY";
const PEER: &str = "HUNT_KILL_PEER";
const STORE: &str = "HUNT_KILL_STORE";
const ROUND: &str = "HUNT_KILL_ROUND";
/// Set for processes that are let finish.
const LAST: &str = "HUNT_KILL_LAST";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_nothing_and_repeat_nothing_that_was_settled() {
    let first = hunt::seeds(1).next().expect("one");
    hunt::on_each(|kind| async move {
        let _trail = Trail(kind, first);
        hunt_one(kind, first, rounds(4)).await;
    })
    .await;
}

async fn hunt_one(kind: Kind, seed: u64, rounds: u64) {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let (net, scratch) = (Net::start(kind).await, Scratch::new("hunt-kill"));
    let mut writer = Part::new("writer", net.way("writer").await, scratch.path());
    let mut reader = Part::new("reader", net.way("reader").await, scratch.path());
    let to = reader.address().await;
    let mut log = Log::default();
    for round in 0..rounds {
        for part in [&mut writer, &mut reader] {
            part.start_if_dead(round, &to, false);
        }
        let troubles = if dice.u8(0..3) == 0 { dice.u8(1..4) } else { 0 };
        for _ in 0..troubles {
            tokio::time::sleep(MS * dice.u32(0..60)).await;
            net.trouble(&mut dice).await;
        }
        let most = if dice.bool() { 120 } else { 600 };
        tokio::time::sleep(MS * dice.u32(0..most)).await;
        let who = dice.u8(0..4);
        if who != 0 {
            reader.kill(&mut log).await;
        }
        if who <= 1 {
            writer.kill(&mut log).await;
        }
        writer.listen(&mut log);
        reader.listen(&mut log);
    }
    net.calm().await;
    for part in [&mut writer, &mut reader] {
        part.kill(&mut log).await;
        part.start_if_dead(rounds, &to, true);
    }
    let ended = Instant::now() + 60 * SECOND;
    while !log.is_complete() {
        assert!(Instant::now() < ended, "{}", log.missing());
        writer.listen(&mut log);
        reader.listen(&mut log);
        tokio::time::sleep(10 * MS).await;
    }
    tokio::time::sleep(SECOND / 2).await;
    for part in [&mut writer, &mut reader] {
        part.finish(&mut log).await;
        let left = part.left().await;
        assert_eq!(left, (0, 0), "{}: in the outbox, parked", part.name);
    }
    let unknown: Vec<_> = log.handed.keys().filter(|id| !log.tried.contains(*id)).collect();
    assert!(unknown.is_empty(), "nobody sent {unknown:?}");
    println!(
        "{kind:?}, seed {seed}: {rounds} rounds in {:?}, {} kept, {} handed out, {} again and flagged, {} settled",
        begun.elapsed(),
        log.kept.len(),
        log.handed.len(),
        log.flagged,
        log.settled.len()
    );
}

/// Not a test of its own: a process that is killed. In an ordinary run it does nothing.
#[test]
fn killed_process() {
    let Ok(part) = std::env::var(PART) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(live(&part));
}

async fn live(part: &str) {
    let of = |name: &str| std::env::var(name).expect("it was told");
    let store = Arc::new(DurableStore::open(of(STORE)).await.expect("the file opens again"));
    let round: u64 = of(ROUND).parse().expect("a number");
    let connector = Way::heard(&of(WAY)).connector(Arc::clone(&store));
    let last = std::env::var(LAST).is_ok();
    let options = options(round).with_store(store).with_connect_timeout(60 * SECOND);
    // Nobody may answer on the server at that moment, which a first attachment is told at once.
    let session = loop {
        match Resilient::connect(Arc::clone(&connector), options.clone()).await {
            Ok(session) => break session,
            Err(_) => tokio::time::sleep(20 * MS).await,
        }
    };
    if last {
        let (told, session) = (tokio::task::spawn_blocking(until_told), session.clone());
        tokio::spawn(async move {
            told.await.expect("no panic");
            session.close(CloseMode::Detach).await.expect("nothing is left");
            say("closed");
            std::process::exit(0);
        });
    }
    match part {
        "writer" => write(&session, Address::parse(of(PEER)).expect("an address"), round, last).await,
        _ => read(&session, round, last).await,
    }
    std::future::pending::<()>().await;
}

async fn write(session: &Resilient, to: Address, round: u64, last: bool) {
    let mut dice = fastrand::Rng::with_seed(round);
    for number in 0..if last { 0 } else { EACH } {
        for lane in 0..LANES {
            let id = ClientMsgId::new(format!("m.{lane}.{round:05}.{number}")).expect("valid");
            let body = Body::text(format!("{id} {}", "x".repeat(dice.usize(0..2_000))));
            let lane = ConversationId::new(format!("lane-{lane}")).expect("valid");
            let message = Outbound::new(to.clone(), body).with_id(id.clone()).with_conversation(lane);
            say(&format!("tried {id}"));
            let mut sending = session.try_send(message).expect("there is room");
            tokio::spawn(async move {
                if sending.kept().await.is_ok() {
                    say(&format!("kept {id}"));
                }
                match sending.await {
                    Ok(_) => say(&format!("accepted {id}")),
                    Err(error) => say(&format!("refused {id} {error}")),
                }
            });
            if dice.bool() {
                tokio::time::sleep(MS * dice.u32(0..8)).await;
            }
        }
    }
}

async fn read(session: &Resilient, round: u64, last: bool) {
    let mut dice = fastrand::Rng::with_seed(round);
    let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let mut later = Vec::new();
    while let Some(event) = events.next().await {
        let delivery = match event {
            Ok(Event::Message(delivery)) => delivery,
            Ok(_) => continue,
            Err(error) => return say(&format!("ended {error}")),
        };
        let id = delivery.client_msg_id.as_ref().map_or("none", ClientMsgId::as_str);
        let same = delivery.body.as_str().is_some_and(|text| text.split(' ').next() == Some(id));
        say(&format!("handed {id} {} {same}", delivery.redelivered));
        match if last { 9 } else { dice.u8(0..10) } {
            // Left in hand until the end.
            0..2 => {}
            2..5 => later.push(delivery),
            _ => settle(session, vec![delivery]).await,
        }
        if later.len() == 3 {
            let (session, mut batch) = (session.clone(), std::mem::take(&mut later));
            dice.shuffle(&mut batch);
            tokio::spawn(async move { settle(&session, batch).await });
        }
    }
}

async fn settle(session: &Resilient, batch: Vec<Delivery>) {
    let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag.clone()).collect();
    let ids =
        batch.iter().map(|delivery| delivery.client_msg_id.as_ref().map_or("none", ClientMsgId::as_str));
    let ids = ids.collect::<Vec<_>>().join(" ");
    say(&format!("settling {ids}"));
    if session.ack(&tags).await.is_ok() {
        say(&format!("settled {ids}"));
    }
}

fn until_told() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// One call for each line: a pipe takes it whole or not at all, whenever the kill comes.
fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("@{line}\n").as_bytes());
}

/// What the processes said.
#[derive(Default)]
struct Log {
    tried: BTreeSet<String>,
    kept: BTreeSet<String>,
    /// By message: in which life of the reader it was handed out first.
    handed: BTreeMap<String, u64>,
    settled: BTreeMap<String, u64>,
    /// What a reader was about to settle. If it was killed then, it may have done so.
    settling: BTreeSet<String>,
    flagged: usize,
    /// What came in this life of the reader.
    here: BTreeSet<String>,
    newest: BTreeMap<String, String>,
}

impl Log {
    fn take(&mut self, life: u64, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["tried", id] => drop(self.tried.insert(id.to_owned())),
            ["kept" | "accepted", id] => drop(self.kept.insert(id.to_owned())),
            ["settling", ..] => self.settling.extend(words[1..].iter().map(|id| (*id).to_owned())),
            ["settled", ..] => self.settled.extend(words[1..].iter().map(|id| ((*id).to_owned(), life))),
            ["handed", id, redelivered, same] => self.handed(life, id, redelivered == "true", same == "true"),
            // Closed itself, as it was told to.
            ["closed"] | ["ended", "session:", ..] => {}
            _ => panic!("life {life}: the process said {line:?}"),
        }
    }

    fn handed(&mut self, life: u64, id: &str, redelivered: bool, same: bool) {
        assert!(same, "life {life}: {id} has another body");
        assert!(self.here.insert(id.to_owned()), "life {life}: {id} was handed out twice");
        let settled = self.settled.get(id);
        assert!(settled.is_none(), "life {life}: {id} was settled in life {settled:?}");
        let before = self.handed.get(id).copied();
        assert!(before.is_none() || redelivered, "life {life}: {id} came in {before:?} and is not flagged");
        self.handed.entry(id.to_owned()).or_insert(life);
        self.flagged += usize::from(before.is_some());
        let lane = id.split('.').nth(1).expect("a lane").to_owned();
        let newest = self.newest.insert(lane, id.to_owned());
        assert!(
            newest.as_ref().is_none_or(|newest| newest.as_str() < id),
            "life {life}: {id} after {newest:?}"
        );
    }

    /// The reader died.
    fn buried(&mut self) {
        self.here.clear();
        self.newest.clear();
    }

    fn is_complete(&self) -> bool {
        self.kept.iter().chain(self.handed.keys()).all(|id| self.is_settled(id))
    }

    fn is_settled(&self, id: &String) -> bool {
        self.settled.contains_key(id) || (self.settling.contains(id) && !self.here.contains(id))
    }

    fn missing(&self) -> String {
        let unsettled = |id: &&String| !self.is_settled(id);
        let kept: Vec<_> = self.kept.iter().filter(unsettled).collect();
        let handed: Vec<_> = self.handed.keys().filter(unsettled).collect();
        format!("kept and not settled: {kept:?}; handed out and not settled: {handed:?}")
    }
}

/// A process, and those after it.
struct Part {
    name: &'static str,
    way: Way,
    store: PathBuf,
    process: Option<Process>,
    life: u64,
}

struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Part {
    fn new(name: &'static str, way: Way, folder: &Path) -> Self {
        Self { name, way, store: folder.join(name), process: None, life: 0 }
    }

    async fn address(&self) -> Address {
        let connector = self.way.connector(Arc::new(MemoryStore::new()));
        within(20, "attaching", connector.connect()).await.expect("attached").address().clone()
    }

    fn start_if_dead(&mut self, round: u64, to: &Address, last: bool) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args(["killed_process", "--exact", "--nocapture"])
            .env(PART, self.name)
            .env(WAY, self.way.told())
            .env(PEER, to.as_str())
            .env(STORE, &self.store)
            .env(ROUND, round.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if last {
            command.env(LAST, "1");
        }
        let mut child = command.spawn().expect("it starts");
        let out = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        self.process = Some(Process { child, lines });
    }

    /// Takes in what it has said.
    fn listen(&mut self, log: &mut Log) {
        let next = |part: &mut Self| part.process.as_mut()?.lines.try_recv().ok();
        while let Some(line) = next(self) {
            self.said(&line, log);
        }
    }

    fn said(&self, line: &str, log: &mut Log) {
        match line.strip_prefix('@') {
            Some(said) => log.take(self.life, said),
            None => assert!(!line.contains("panicked"), "{} {}: {line}", self.name, self.life),
        }
    }

    /// SIGKILL: it gets no chance to say or finish anything. What it had said before counts.
    async fn kill(&mut self, log: &mut Log) {
        let Some(mut process) = self.process.take() else { return };
        process.child.kill().expect("it runs");
        process.child.wait().expect("it ended");
        while let Some(line) = within(10, "the last words", process.lines.recv()).await {
            self.said(&line, log);
        }
        if self.name == "reader" {
            log.buried();
        }
    }

    /// Tells it to close, and waits for its end.
    async fn finish(&mut self, log: &mut Log) {
        let mut process = self.process.take().expect("it runs");
        drop(process.child.stdin.take());
        let mut closed = false;
        while let Some(line) = within(30, "the end", process.lines.recv()).await {
            closed |= line == "@closed";
            self.said(&line, log);
        }
        process.child.wait().expect("it ended");
        assert!(closed, "the {} did not close", self.name);
    }

    /// How many messages are in its store, and how many of them parked.
    async fn left(&self) -> (usize, usize) {
        let store = DurableStore::open(&self.store).await.expect("the file opens again");
        (store.load().await.expect("readable").len(), store.parked().await.expect("readable").len())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
