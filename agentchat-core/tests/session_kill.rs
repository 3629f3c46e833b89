//! A process with a session is killed at random moments, again and again, while its network cuts connections
//! and loses acknowledgements. What it was told is kept goes out, once and in order but for repetitions of
//! what may have arrived; what it was told is settled is not handed out again; what it had in its hands comes
//! again and says so.
//!
//! `SESSION_KILL_SEED=7` tries another seed than the usual one.
#![cfg(all(unix, feature = "store-redb"))]

#[path = "support/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use agentchat_core::store::{DurableStore, OutboxStore};
use agentchat_core::{
    Address, BackoffPolicy, Body, ClientMsgId, CloseMode, ConversationId, Delivery, Event, Outbound,
    Resilient, ResilientOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use wire::{Server, WireConnector};

const ROUNDS: u64 = 20;
const CONVERSATIONS: u64 = 3;
const ROWS: u64 = 12;
const MS: Duration = Duration::from_millis(1);
/// Tell a process of this test program to be the one that is killed: the store, the server, the round.
const STORE: &str = "SESSION_KILL_STORE";
const SERVER: &str = "SESSION_KILL_SERVER";
const ROUND: &str = "SESSION_KILL_ROUND";
/// Set for the last process, which is let finish.
const LAST: &str = "SESSION_KILL_LAST";

#[test]
fn a_session_killed_again_and_again_loses_nothing_and_repeats_nothing_that_was_settled() {
    let seed = std::env::var("SESSION_KILL_SEED").map_or(0x5eed, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    let (place, server) = (Place::new(), Server::start(seed));
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut log = Log::default();
    for round in 0..ROUNDS {
        feed(&server, round);
        log.tried.clone_from(&server.known().tried);
        let mut process = Process::start(&place.0, &server, round, false);
        let (lines, cut_after) = (dice.usize(1..60), dice.usize(0..60));
        let mut said = Vec::new();
        for count in 0..lines {
            if count == cut_after {
                server.set_down(true);
                std::thread::sleep(MS * dice.u32(0..30));
                server.set_down(false);
            }
            said.push(process.line());
        }
        std::thread::sleep(MS / 1_000 * dice.u32(0..8_000));
        process.kill();
        // What it had said before it died counts.
        said.extend(process.lines.iter());
        log.take(round, &said);
    }
    log.tried.clone_from(&server.known().tried);
    let mut process = Process::start(&place.0, &server, ROUNDS, true);
    let began = Instant::now();
    while !log.is_complete(&server) {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", log.missing(&server));
        if let Ok(line) = process.lines.recv_timeout(20 * MS) {
            log.take(ROUNDS, &[line]);
        }
    }
    drop(process.child.stdin.take());
    while process.line() != "closed" {}
    process.child.wait().expect("it ended");
    let (left, parked) = held(&place.0);
    assert_eq!((left, parked), (Vec::<String>::new(), Vec::<String>::new()), "sent, and still in the store");
    log.check(&server);
}

/// Not a test of its own: the process that is killed. In an ordinary run it does nothing.
#[test]
fn killed_process() {
    let (Ok(store), Ok(server), Ok(round)) =
        (std::env::var(STORE), std::env::var(SERVER), std::env::var(ROUND))
    else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime").block_on(live(store.into(), &server, &round, std::env::var(LAST).is_ok()));
}

async fn live(store: PathBuf, server: &str, round: &str, last: bool) {
    let store = Arc::new(DurableStore::open(store).await.expect("the file opens again"));
    for send in store.load().await.expect("readable") {
        say(&format!("loaded {} {}", send.id(), send.attempts));
    }
    let quick = BackoffPolicy::new().with_base(2 * MS).with_cap(20 * MS);
    let options = ResilientOptions::new().with_store(store).with_reconnect(quick).with_retry(quick);
    let connector = WireConnector(server.parse().expect("an address"));
    let session = Resilient::connect(connector, options).await.expect("connected");
    let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    if last {
        let (closing, session) = (tokio::task::spawn_blocking(until_told), session.clone());
        tokio::spawn(async move {
            while !closing.is_finished() {
                for parked in session.parked() {
                    say(&format!("parked {}", parked.message.client_msg_id));
                    session.discard(&parked.message.client_msg_id);
                }
                tokio::time::sleep(MS).await;
            }
            session.close(CloseMode::Detach).await.expect("nothing is left");
            say("closed");
            std::process::exit(0);
        });
    } else {
        for conversation in 0..=CONVERSATIONS {
            tokio::spawn(send(session.clone(), round.to_owned(), conversation));
        }
    }
    let mut dice = fastrand::Rng::with_seed(round.parse().expect("a number"));
    let mut later = Vec::new();
    while let Some(event) = events.next().await {
        let Ok(Event::Message(delivery)) = event else { continue };
        say(&format!("handed {} {}", delivery.id, delivery.redelivered));
        match if last { 9 } else { dice.u8(0..10) } {
            // Left in hand until the end.
            0..3 => {}
            3..6 => later.push(delivery),
            _ => settle(&session, vec![delivery]).await,
        }
        if later.len() == 4 {
            let (session, batch) = (session.clone(), std::mem::take(&mut later));
            tokio::spawn(async move { settle(&session, batch).await });
        }
    }
    // Whoever is killed now was killed after everything.
    std::future::pending::<()>().await;
}

async fn send(session: Resilient, round: String, conversation: u64) {
    let to = Address::of("wire", "boss").expect("valid");
    // The last conversation is one that the network refuses.
    let kind = if conversation == CONVERSATIONS { "bad" } else { "m" };
    for number in 0..30_u64 {
        let round: u64 = round.parse().expect("a number");
        let id = ClientMsgId::new(format!("{kind}.{conversation}.{round:03}.{number:03}")).expect("valid");
        let lane = match kind {
            "bad" => format!("bad{round}"),
            _ => format!("c{conversation}"),
        };
        let lane = ConversationId::new(lane).expect("valid");
        let message = Outbound::new(to.clone(), Body::text("x")).with_id(id.clone()).with_conversation(lane);
        let Ok(mut sending) = session.try_send(message) else { return };
        if sending.kept().await.is_ok() {
            say(&format!("kept {id}"));
        }
        if kind == "bad" {
            // It is told so here, or, when this process is killed before, parked by a later one.
            if sending.await.is_err() {
                say(&format!("parked {id}"));
            }
            return;
        }
        sending.detach();
    }
}

async fn settle(session: &Resilient, batch: Vec<Delivery>) {
    let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag.clone()).collect();
    if session.ack(&tags).await.is_ok() {
        for delivery in batch {
            say(&format!("settled {}", delivery.id));
        }
    }
}

fn until_told() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// One call for each line: a pipe takes it whole or not at all, whenever the kill comes.
fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// What the processes said.
#[derive(Default)]
struct Log {
    kept: BTreeSet<String>,
    /// By row: in which round it was handed out first.
    handed: BTreeMap<String, u64>,
    settled: BTreeMap<String, u64>,
    parked: BTreeSet<String>,
    /// What had been tried before the process began.
    tried: HashSet<String>,
    flagged: usize,
    marked: usize,
}

impl Log {
    fn take(&mut self, round: u64, lines: &[String]) {
        let mut here = BTreeSet::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["kept", id] => drop(self.kept.insert(id.to_owned())),
                ["settled", id] => drop(self.settled.insert(id.to_owned(), round)),
                ["parked", id] => drop(self.parked.insert(id.to_owned())),
                ["loaded", id, attempts] => {
                    let tried = self.tried.contains(id);
                    assert!(!tried || attempts != "0", "round {round}: {id} was tried, and is not marked");
                    self.marked += usize::from(tried);
                }
                ["handed", id, redelivered] => {
                    assert!(here.insert(id), "round {round}: {id} was handed out twice");
                    let settled = self.settled.get(id);
                    assert!(settled.is_none(), "round {round}: {id} was settled in round {settled:?}");
                    let before =
                        self.handed.insert(id.to_owned(), round).is_some_and(|before| before < round);
                    assert!(!before || redelivered == "true", "round {round}: {id} is not flagged");
                    self.flagged += usize::from(before);
                }
                _ => panic!("round {round}: the process said {line:?}"),
            }
        }
    }

    fn is_complete(&self, server: &Server) -> bool {
        let known = server.known();
        let taken: BTreeSet<_> = known.taken.iter().map(|(id, _)| id).collect();
        let out = |id: &String| taken.contains(id) || (id.starts_with("bad") && self.parked.contains(id));
        self.kept.iter().all(out) && known.rows.iter().all(|row| known.acked.contains(&row.0))
    }

    fn missing(&self, server: &Server) -> String {
        let known = server.known();
        let taken: BTreeSet<_> = known.taken.iter().map(|(id, _)| id).collect();
        let lost: Vec<_> =
            self.kept.iter().filter(|id| !taken.contains(id) && !id.starts_with("bad")).collect();
        let unsettled = known.rows.iter().filter(|row| !known.acked.contains(&row.0)).count();
        format!(
            "kept and not sent: {lost:?}; not parked: {:?}; rows not acknowledged: {unsettled}",
            self.unparked()
        )
    }

    fn unparked(&self) -> Vec<&String> {
        self.kept.iter().filter(|id| id.starts_with("bad") && !self.parked.contains(*id)).collect()
    }

    /// Order within conversations, and that everything this test is about has happened.
    fn check(&self, server: &Server) {
        let known = server.known();
        let (mut newest, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for (id, conversation) in &known.taken {
            assert!(!id.starts_with("bad"));
            if seen.insert(id) {
                let before = newest.insert(conversation, id);
                assert!(before.is_none_or(|before| before < id), "{id} came after {before:?}");
            }
        }
        let unseen: Vec<_> = known.acked.iter().filter(|id| !self.handed.contains_key(*id)).collect();
        assert!(unseen.is_empty(), "acknowledged and never handed out: {unseen:?}");
        let repeated = known.taken.len() - seen.len();
        let given_again = known.given - known.rows.len();
        println!(
            "{} kept, {} taken and {repeated} again; {} rows, {given_again} given again, {} of them flagged; {} marked",
            self.kept.len(),
            seen.len(),
            known.rows.len(),
            self.flagged,
            self.marked,
        );
        // How much depends on the seed and the machine; that it happened does not.
        assert!(self.kept.len() > 30 && self.flagged > 0 && self.marked > 0, "hardly anything happened");
        assert!(given_again > 0 && !self.parked.is_empty(), "nothing came again, or nothing was refused");
    }
}

fn feed(server: &Server, round: u64) {
    let mut known = server.known();
    for number in 0..ROWS {
        let conversation = number % CONVERSATIONS;
        let seq = round * (ROWS / CONVERSATIONS) + number / CONVERSATIONS + 1;
        known.rows.push((format!("row.{conversation}.{seq}"), format!("in{conversation}"), seq));
    }
}

fn held(store: &Path) -> (Vec<String>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = DurableStore::open(store).await.expect("the file opens again");
        let (left, parked) = (store.load().await.expect("readable"), store.parked().await.expect("readable"));
        let parked = parked.iter().map(|parked| parked.send.id().to_string());
        (left.iter().map(|send| send.id().to_string()).collect(), parked.collect())
    })
}

struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(store: &Path, server: &Server, round: u64, last: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args(["killed_process", "--exact", "--nocapture"])
            .env(STORE, store)
            .env(SERVER, server.at.to_string())
            .env(ROUND, round.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if last {
            command.env(LAST, "1");
        }
        let mut child = command.spawn().expect("it starts");
        let out = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("the process goes on")
    }

    /// SIGKILL: it gets no chance to say or finish anything.
    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kill-{}.store", ClientMsgId::random())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
