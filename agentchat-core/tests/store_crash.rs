//! A process that saves is killed at random moments. Whatever it was told is saved must be there.
#![cfg(all(unix, feature = "store-redb"))]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use agentchat_core::store::{DedupStore, DurableStore, OutboxStore, StoredSend};
use agentchat_core::{Address, Advice, Body, ClientMsgId, ErrorKind, Outbound};

const PATH: &str = "STORE_CRASH_PATH";
const ROUND: &str = "STORE_CRASH_ROUND";
const ROUNDS: u64 = 10;
const TASKS: u64 = 8;

#[test]
fn a_killed_process_loses_nothing_that_was_saved() {
    if let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) {
        save_until_killed(path.into(), &round);
        return;
    }
    let place = Place::new();
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let (mut saved, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let mut child = start("a_killed_process_loses_nothing_that_was_saved", &place.0, round);
        let lines = lines(&mut child);
        // Some calls first, then any moment of the ones that follow.
        let calls = random.usize(1..60);
        let mut said: Vec<String> = (0..calls).map(|_| next(&lines)).collect();
        std::thread::sleep(Duration::from_micros(random.u64(0..20_000)));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        said.extend(lines.iter());
        for line in said {
            match line.split_once(' ') {
                Some(("saved", id)) => saved.insert(id.to_owned()),
                Some(("removed", id)) => removed.insert(id.to_owned()),
                _ => panic!("the child said {line:?}"),
            };
        }
        let held = held(&place.0);
        let lost: Vec<_> = saved.difference(&removed).filter(|id| !held.contains(*id)).collect();
        // A removal may have begun that was not confirmed before the end: at most one for each task.
        let expected = format!("r{round}-");
        let (now, before): (Vec<_>, Vec<_>) = lost.into_iter().partition(|id| id.starts_with(&expected));
        assert_eq!(before, Vec::<&String>::new(), "round {round}: lost from earlier rounds");
        let unexplained: Vec<_> = now.into_iter().filter(|id| !id.ends_with("-brief")).collect();
        assert_eq!(unexplained, Vec::<&String>::new(), "round {round}: lost");
        let back: Vec<_> = removed.intersection(&held).collect();
        assert_eq!(back, Vec::<&String>::new(), "round {round}: removed and there again");
        // What was cut short counts as removed for the next rounds if it is gone.
        removed.extend(saved.difference(&held).cloned());
    }
    assert!(saved.len() > 100, "only {} messages were saved in all rounds", saved.len());
}

#[test]
fn a_process_killed_while_it_creates_the_file_leaves_one_that_opens() {
    if let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) {
        save_until_killed(path.into(), &round);
        return;
    }
    let mut random = fastrand::Rng::with_seed(0xc0de);
    for round in 0..ROUNDS {
        let place = Place::new();
        let mut child =
            start("a_process_killed_while_it_creates_the_file_leaves_one_that_opens", &place.0, round);
        while !place.0.exists() {
            assert!(child.try_wait().expect("asked").is_none(), "the child ended by itself");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..4_000)));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        held(&place.0);
    }
}

#[test]
fn a_file_of_another_process_is_refused_until_that_process_ends() {
    if let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) {
        save_until_killed(path.into(), &round);
        return;
    }
    let place = Place::new();
    let mut child = start("a_file_of_another_process_is_refused_until_that_process_ends", &place.0, 0);
    let lines = lines(&mut child);
    // One that is not removed again, so that something is left.
    while next(&lines).ends_with("-brief") {}
    let error = runtime().block_on(DurableStore::open(&place.0)).expect_err("taken");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::Conflict, Advice::Backoff));
    assert!(error.to_string().contains("already open, in another process"), "{error}");
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    assert!(!held(&place.0).is_empty());
}

/// The child: several tasks save, some remove again, and each prints what the store confirmed.
fn save_until_killed(path: PathBuf, round: &str) {
    runtime().block_on(async {
        let store = Arc::new(DurableStore::open(path).await.expect("opened"));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (store, round) = (Arc::clone(&store), round.to_owned());
                tokio::spawn(async move {
                    for n in 0..100 {
                        let brief = if n % 3 == 0 { "-brief" } else { "" };
                        let send = message(&format!("r{round}-{task}-{n}{brief}"), n);
                        store.save(&send).await.expect("saved");
                        say("saved", send.id());
                        store.insert(send.id().as_str(), SystemTime::now()).await.expect("kept");
                        if n % 3 == 0 {
                            store.remove(send.id()).await.expect("removed");
                            say("removed", send.id());
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        // Whoever is killed now was killed after everything.
        std::future::pending::<()>().await;
    });
}

fn say(what: &str, id: &ClientMsgId) {
    let mut out = std::io::stderr().lock();
    // One call, so that a kill never cuts a line in two.
    let _ = out.write_all(format!("{what} {id}\n").as_bytes());
}

fn held(path: &Path) -> BTreeSet<String> {
    runtime().block_on(async {
        let store = DurableStore::open(path).await.expect("the file opens again");
        let sends = store.load().await.expect("everything can be read");
        store.close().await.expect("closed");
        sends.iter().map(|send| send.id().to_string()).collect()
    })
}

fn start(test: &str, path: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args([test, "--exact", "--nocapture"])
        .env(PATH, path)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

/// What the child says, until it ends.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let out = BufReader::new(child.stderr.take().expect("piped"));
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn next(lines: &mpsc::Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(30)).expect("the child goes on")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn message(id: &str, position: u64) -> StoredSend {
    let to = Address::parse("loopback://somebody").expect("valid");
    let body = Body::binary(vec![0xa5; 300]);
    StoredSend::new(position, Outbound::new(to, body).with_id(ClientMsgId::new(id).expect("valid")))
}

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}.store", ClientMsgId::random())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
