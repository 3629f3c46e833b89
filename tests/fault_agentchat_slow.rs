//! A handler that stalls while ten thousand messages come in over AgentChat: the session takes in no more
//! than its bound, the server keeps the rest, and when the handler wakes everything comes, once and in order.

#[path = "support/fault/agentchat.rs"]
mod agentchat;
#[path = "support/fault/mod.rs"]
mod fault;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agentchat::{Kind, Place, within};
use agentchat_core::{Agent, Request, Resilient, ServeOptions, SubscribeOptions};
use fault::{MS, SECOND, Seed, seeds, session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How many messages are handed out unsettled at most.
const MOST: usize = 64;
/// How much further an agent reads, for answers to its calls come in the same inbox. One more may be read to
/// see the end of a backlog.
const BOUND: usize = MOST + 1_024 + 1;
const WRITERS: usize = 20;

/// Has `WRITERS` agents write `each` messages to bob, without a client in between: many requests go out in
/// one write.
async fn flood(place: &Place, each: usize) {
    let mut lines = Vec::new();
    for writer in 0..WRITERS {
        let key = place.server.lock().await.agent(&format!("writer-{writer}"));
        let line = TcpStream::connect(("127.0.0.1", place.port)).await.expect("connects");
        lines.push((key, line));
    }
    for begin in (0..each).step_by(BATCH) {
        let end = each.min(begin + BATCH);
        for (writer, (key, line)) in lines.iter_mut().enumerate() {
            let request = |number: usize| {
                let body = format!(
                    r#"{{"to":"bob","client_msg_id":"{writer}-{number}","content":{{"text":"{writer} {number}"}}}}"#
                );
                format!(
                    "POST /v1/messages HTTP/1.1\r\nhost: double\r\nauthorization: Bearer {key}\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            let requests: String = (begin..end).map(request).collect();
            line.write_all(requests.as_bytes()).await.expect("written");
        }
        for (_, line) in &mut lines {
            let (mut answers, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
            while count(&answers, b"HTTP/1.1 201") < end - begin {
                let read = within(30, "the answers", line.read(&mut buffer)).await.expect("answered");
                assert!(read > 0, "the server went away");
                answers.extend_from_slice(&buffer[..read]);
                assert_eq!(count(&answers, b"HTTP/1.1 4"), 0, "{}", String::from_utf8_lossy(&answers));
            }
        }
        // Into the next second, which has room for the next batch.
        place.server.lock().await.advance(SECOND);
    }
}

fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).filter(|window| *window == what).count()
}

#[derive(Default)]
struct Log {
    next: HashMap<usize, usize>,
    handled: usize,
    started: usize,
}

/// Takes each writer's messages in their order, once there is leave to.
fn handler(log: &Arc<Mutex<Log>>, gate: watch::Receiver<bool>) -> impl agentchat_core::Handler {
    let log = Arc::clone(log);
    move |request: Request| {
        let (log, mut gate) = (Arc::clone(&log), gate.clone());
        async move {
            log.lock().expect("no panic").started += 1;
            gate.wait_for(|open| *open).await?;
            let text = request.body().as_str().expect("text").to_owned();
            let (writer, number) = text.split_once(' ').expect("two numbers");
            let (writer, number): (usize, usize) = (writer.parse()?, number.parse()?);
            let mut log = log.lock().expect("no panic");
            let due = log.next.entry(writer).or_default();
            let is_due = *due == number;
            *due += 1;
            log.handled += 1;
            drop(log);
            assert!(is_due, "{text} is out of order");
            Ok(())
        }
    }
}

/// What the session says it holds, which is never more than its bound.
fn check_bound(session: &Resilient) -> usize {
    let stats = session.stats();
    assert!(stats.unsettled <= BOUND, "{stats:?}");
    stats.unsettled
}

async fn stall(kind: Kind, total: usize, seed: u64) {
    let place = Place::new(kind).await;
    let bob = session(place.connector("bob").await, seed).await;
    let agent = within(20, "starting", Agent::builder(bob.clone()).start()).await.expect("started");
    let (open, gate) = watch::channel(false);
    let log = Arc::new(Mutex::new(Log::default()));
    let serve = ServeOptions::default().with_subscribe(SubscribeOptions::own().with_max_unsettled(MOST));
    let serving = agent.serve(handler(&log, gate), serve);
    let serving = within(20, "serving", serving).await.expect("served");
    within(60, "the flood", flood(&place, total / WRITERS)).await;
    let full = async {
        while check_bound(&bob) < BOUND - 1 {
            tokio::time::sleep(MS).await;
        }
    };
    within(20, "as much as is allowed", full).await;
    // A second is enough for all the rest to come, if nothing held it back.
    for _ in 0..100 {
        tokio::time::sleep(10 * MS).await;
        check_bound(&bob);
    }
    let stats = bob.stats();
    assert!(stats.received - stats.duplicates <= BOUND as u64, "{stats:?}");
    if kind != Kind::Legacy {
        assert_eq!(place.stored("bob").await, total, "the server keeps what is not settled");
    }
    assert!(log.lock().expect("no panic").started <= MOST);
    open.send(true).expect("the handlers live");
    let all = async {
        while log.lock().expect("no panic").handled < total || bob.stats().unsettled > 0 {
            check_bound(&bob);
            tokio::time::sleep(MS).await;
        }
    };
    within(100, "everything", all).await;
    let empty = async {
        while place.stored("bob").await > 0 {
            tokio::time::sleep(10 * MS).await;
        }
    };
    within(20, "the acknowledgements", empty).await;
    tokio::time::sleep(300 * MS).await;
    assert_eq!(log.lock().expect("no panic").handled, total, "each once");
    assert_eq!(bob.stats().delivered, total as u64);
    assert_eq!(within(20, "stopping", serving.stop(SECOND)).await.unsettled, 0);
}

#[tokio::test]
async fn ten_thousand_messages_wait_on_the_server_for_a_stalled_handler() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        stall(Kind::Current, 10_000, seed).await;
    }
}

#[tokio::test]
async fn a_server_without_acknowledgements_is_left_unread() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        stall(Kind::Legacy, 4_000, seed).await;
    }
}

#[tokio::test]
async fn without_a_socket_nobody_looks_further_than_the_bound() {
    for seed in seeds(0..1) {
        let _seed = Seed(seed);
        stall(Kind::Poll, 2_000, seed).await;
    }
}

/// Fewer than a sender may send in a second.
const BATCH: usize = 50;
