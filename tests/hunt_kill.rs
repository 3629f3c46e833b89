//! Two processes with stores talk over every network and are killed at random moments, under load, while the
//! network has its own troubles. What was kept goes out under its id and is handled; what was settled is not
//! handed out again; what was in hand comes again and says so; each conversation keeps its order.
//!
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

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use agentchat_core::Address;
use hunt::{Kind, MS, Net, SECOND, Trail, Way, options, rounds};
use ledger::Ledger;
use processes::{Part, told};
use support::Scratch;

/// Tell a process what it does, by which way, with whom, with which store, in which round.
const VERBS: &str = "HUNT_KILL_VERBS";
const WAY: &str = "HUNT_KILL_WAY";
const PEER: &str = "HUNT_KILL_PEER";
const STORE: &str = "HUNT_KILL_STORE";
const ROUND: &str = "HUNT_KILL_ROUND";

/// What each of two processes does.
type Verbs = [&'static str; 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_nothing_and_repeat_nothing_that_was_settled() {
    on_each(["write", "read"], 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_where_both_send_and_read_in_the_same_conversations_under_the_same_ids() {
    on_each(["write read", "write read"], 3).await;
}

async fn on_each(verbs: Verbs, usual: u64) {
    let first = hunt::seeds(1).next().expect("one");
    hunt::on_each(move |kind| async move {
        let _trail = Trail(kind, first);
        hunt_one(kind, verbs, first, rounds(usual)).await;
    })
    .await;
}

async fn hunt_one(kind: Kind, verbs: Verbs, seed: u64, rounds: u64) {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let (net, scratch) = (Net::start(kind).await, Scratch::new("hunt-kill"));
    let mut pair = Pair::new(&net, verbs, scratch.path()).await;
    for round in 0..rounds {
        for part in &mut pair.parts {
            part.tell(ROUND, round.to_string());
            part.start();
        }
        // Now and then one is killed while it begins.
        if dice.u8(0..4) != 0 {
            let [left, right] = &mut pair.parts;
            tokio::join!(left.speaks(), right.speaks());
        }
        let begins = Instant::now();
        while round == 0 && pair.ledgers.iter().all(|ledger| ledger.handed.is_empty()) {
            assert!(begins.elapsed() < 30 * SECOND, "nothing comes");
            pair.listen();
            tokio::time::sleep(5 * MS).await;
        }
        let troubles = if dice.u8(0..3) == 0 { dice.u8(1..4) } else { 0 };
        for _ in 0..troubles {
            tokio::time::sleep(MS * dice.u32(0..60)).await;
            net.trouble(&mut dice).await;
        }
        let most = if dice.bool() { 120 } else { 600 };
        tokio::time::sleep(MS * dice.u32(0..most)).await;
        // The second of them, the first, or both.
        let who = dice.u8(0..4);
        if who != 0 {
            pair.kill(1).await;
        }
        if who <= 1 {
            pair.kill(0).await;
        }
        pair.listen();
    }
    net.calm().await;
    for number in 0..2 {
        pair.kill(number).await;
        pair.parts[number].tell(ROUND, rounds.to_string());
        pair.parts[number].start_last();
    }
    let ended = Instant::now() + 60 * SECOND;
    while !pair.ledgers.iter().all(Ledger::is_complete) {
        assert!(Instant::now() < ended, "{}", pair.missing());
        pair.listen();
        tokio::time::sleep(10 * MS).await;
    }
    tokio::time::sleep(SECOND / 2).await;
    pair.finish().await;
    println!("{kind:?}, seed {seed}: {rounds} rounds in {:?}", begun.elapsed());
    for (ledger, verbs) in pair.ledgers.iter().zip(verbs).filter(|(_, verbs)| verbs.contains("write")) {
        println!("  {verbs}: {}", ledger.check());
    }
}

/// Not a test of its own: a process that is killed. In an ordinary run it does nothing.
#[test]
fn killed_process() {
    let Some(verbs) = told(VERBS) else { return };
    let of = |name: &str| told(name).expect("it was told");
    processes::live(async move {
        let store = talk::store_at(&of(STORE)).await;
        let round: u64 = of(ROUND).parse().expect("a number");
        let connector = Way::heard(&of(WAY)).connector(Arc::clone(&store));
        let options = options(round).with_store(store).with_connect_timeout(60 * SECOND);
        let session = talk::session(connector, options).await;
        let to = Address::parse(of(PEER)).expect("an address");
        let (writes, reads) = (verbs.contains("write"), verbs.contains("read"));
        tokio::join!(
            async {
                if writes {
                    talk::write(&session, to, round, None).await
                }
            },
            async {
                if reads {
                    talk::read(&session, round).await
                }
            },
        );
        std::future::pending::<()>().await;
    });
}

/// Two that talk, and what was said of the messages from the one and of those from the other.
struct Pair {
    parts: [Part; 2],
    stores: [PathBuf; 2],
    ledgers: [Ledger; 2],
}

impl Pair {
    async fn new(net: &Net, verbs: Verbs, folder: &Path) -> Self {
        let names = ["left", "right"];
        let stores = names.map(|name| folder.join(name));
        let ways = [net.way(names[0]).await, net.way(names[1]).await];
        let peers = [ways[1].address().await, ways[0].address().await];
        let parts = [0, 1].map(|number| {
            let mut part = Part::new(names[number], "killed_process");
            part.tell(VERBS, verbs[number]);
            part.tell(WAY, ways[number].told());
            part.tell(PEER, peers[number].as_str());
            part.tell(STORE, stores[number].to_str().expect("text"));
            part
        });
        Self { parts, stores, ledgers: Default::default() }
    }

    fn listen(&mut self) {
        for number in 0..2 {
            let heard = self.parts[number].heard();
            self.note(number, heard);
        }
    }

    async fn kill(&mut self, number: usize) {
        let heard = self.parts[number].kill().await;
        self.note(number, heard);
        self.ledgers[1 - number].buried();
    }

    async fn finish(&mut self) {
        for number in 0..2 {
            let mut heard = self.parts[number].finish().await;
            heard.pop();
            self.note(number, heard);
            let left = talk::left(self.stores[number].to_str().expect("text")).await;
            assert_eq!(left, (0, 0), "{}: in the outbox, parked", self.parts[number].name);
        }
    }

    fn note(&mut self, number: usize, lines: Vec<String>) {
        let life = self.parts[number].life;
        for line in lines {
            match line.split(' ').next() {
                Some("handed" | "settling" | "settled") => self.ledgers[1 - number].read(life, &line),
                _ => self.ledgers[number].sent(&line),
            }
        }
    }

    fn missing(&self) -> String {
        self.ledgers.iter().map(Ledger::missing).collect::<Vec<_>>().join("; the other way: ")
    }
}
