//! A process is killed after the server wrote a message to it and before it was settled.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use agentchat_core::store::DurableStore;
use agentchat_core::{ClientMsgId, Connector, Event, SubscribeOptions};
use futures_util::StreamExt;
use transport_ws::testing::Profile;
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

use crate::ws_support::{World, say, within};

/// Tell a process of this test program to be the one that is killed.
const SERVER: &str = "KILLED_SERVER";
const KEY: &str = "KILLED_KEY";
const STORE: &str = "KILLED_STORE";
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_after_the_frame_was_written_gets_the_message_when_it_is_back() {
    let world = World::of(Profile::Legacy).await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let place = Place::new();
    let (mut sent, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let mut process = Process::start(&world, &place);
        process.until("ready");
        // It settles what begins with "s", and leaves what begins with "l" in its hands.
        for (kind, number) in [("s", 0), ("l", 1), ("s", 2)] {
            let words = format!("{kind}{round}.{number}");
            say(&alice, &bob, words.clone()).await;
            sent.insert(words);
        }
        let last = format!("settled s{round}.2");
        settled.extend(process.until(&last));
        // Written, marked, and perhaps not even read by it.
        let late = format!("l{round}.late");
        say(&alice, &bob, late.clone()).await;
        sent.insert(late);
        within(world.server.until_stored("bob", 0)).await;
        process.kill();
        settled.extend(process.lines.try_iter());
    }
    let mut process = Process::start(&world, &place);
    let back = process.until("ready");
    let back: BTreeSet<_> = back.iter().filter_map(|line| line.strip_prefix("handed ")).collect();
    let left: BTreeSet<_> = sent.iter().filter(|words| words.starts_with('l')).map(String::as_str).collect();
    assert!(back.is_superset(&left), "lost: {:?}", left.difference(&back).collect::<Vec<_>>());
    for round in 0..ROUNDS {
        assert!(settled.contains(&format!("settled s{round}.0")), "{round}: {settled:?}");
    }
    assert!(!back.contains("s0.0"), "what was settled before the first that was not does not come again");
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_its_first_use_gets_what_waited_when_it_is_back() {
    let world = World::of(Profile::Legacy).await;
    let alice = world.attach("alice").await;
    world.server.agent("bob");
    let bob = agentchat_core::Address::of("agentchat", "bob").expect("an address");
    let place = Place::new();
    for words in ["l1", "l2"] {
        let message = agentchat_core::Outbound::new(bob.clone(), agentchat_core::Body::text(words));
        within(alice.send(&message)).await.expect("accepted");
    }
    let mut process = Process::start(&world, &place);
    process.until("ready");
    within(world.server.until_stored("bob", 0)).await;
    process.kill();
    for _ in 0..2 {
        let mut process = Process::start(&world, &place);
        let back = process.until("ready");
        assert!(back.contains(&"handed l1".to_owned()) && back.contains(&"handed l2".to_owned()), "{back:?}");
        process.kill();
    }
}

/// Not a test of its own: the process that is killed. In an ordinary run it does nothing.
#[tokio::test]
async fn killed_process() {
    let (Ok(server), Ok(key), Ok(store)) = (std::env::var(SERVER), std::env::var(KEY), std::env::var(STORE))
    else {
        return;
    };
    let store = Arc::new(DurableStore::open(store).await.expect("the file opens again"));
    let config = AgentChatConfig::builder(ApiKey::new(key).expect("a key")).with_base_url(server);
    let connector = AgentChatConnector::new(config.build().expect("valid")).expect("a connector");
    let bob = connector.with_cursor_store(store).connect().await.expect("attached");
    let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("read").events;
    while let Some(event) = events.next().await {
        match event.expect("no error") {
            Event::CaughtUp => tell("ready"),
            Event::Message(delivery) => {
                let words = delivery.body.as_str().expect("text").to_owned();
                tell(&format!("handed {words}"));
                if words.starts_with('s') {
                    bob.ack(&[delivery.tag]).await.expect("settled");
                    tell(&format!("settled {words}"));
                }
            }
            _ => {}
        }
    }
}

/// One call for each line: a pipe takes it whole or not at all, whenever the kill comes.
fn tell(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(world: &World, place: &Place) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["killed::killed_process", "--exact", "--nocapture"])
            .env(SERVER, world.server.base_url())
            .env(KEY, world.server.agent("bob"))
            .env(STORE, &place.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// What it says up to this line, and that one.
    fn until(&mut self, last: &str) -> Vec<String> {
        let mut said = Vec::new();
        while said.last().is_none_or(|line| line != last) {
            let line = tokio::task::block_in_place(|| self.lines.recv_timeout(Duration::from_secs(20)));
            said.push(line.unwrap_or_else(|_| panic!("it says {last:?} after {said:?}")));
        }
        said
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
        let name = format!("killed-{}.store", ClientMsgId::random());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
