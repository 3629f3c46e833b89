//! Faults are scripted and strike as scripted: S70.

use std::time::{Duration, Instant};

use serde_json::json;
use transport_ws::testing::{AgentChatServer, HttpFault, JournalEntry, Profile, PushFault};

use crate::support::{BOTH, Got, Socket, call, friends, frozen, get, say, start, sync, texts};

async fn pair(profile: Profile) -> (AgentChatServer, String, String) {
    let server = start(AgentChatServer::builder().profile(profile)).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    (server, alice, bob)
}

#[tokio::test]
async fn s70_a_response_is_dropped_after_or_before_the_store() {
    for profile in BOTH {
        for after_commit in [true, false] {
            let (server, alice, bob) = pair(profile).await;
            server.drop_next_response(after_commit);
            let body = json!({ "to": "bob", "client_msg_id": "1", "content": { "text": "x" } });
            let lost = call(&server, "POST", "/v1/messages").key(&alice).body(body).try_send().await;
            assert!(lost.is_none());
            assert_eq!(sync(&server, &bob).await.len(), usize::from(after_commit));
            let retried = say(&server, &alice, "bob", "1", "x").await.status;
            assert_eq!(retried, if after_commit { 200 } else { 201 });
            assert_eq!(server.faults().pending(), 0);
        }
    }
}

#[tokio::test]
async fn s70_statuses_come_in_order_and_end() {
    let (server, alice, _) = pair(Profile::Current).await;
    let faults = server.faults();
    faults.repeat("GET /v1/messages/sync", 2, HttpFault::status(503));
    faults.on("GET /v1/messages/sync", HttpFault::status(429).retry_after("7"));
    faults.on("GET /v1/**", HttpFault::html(502));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let answer = get(&server, &alice, "/v1/messages/sync").await;
        seen.push((answer.status, answer.header("retry-after").map(str::to_owned)));
        if answer.status == 502 {
            assert!(answer.header("content-type").expect("a type").starts_with("text/html"));
            assert!(answer.text.starts_with("<!doctype html>"));
        }
    }
    let expected = [(503, None), (503, None), (429, Some("7".to_owned())), (502, None), (200, None)];
    assert_eq!(seen, expected);
    faults.on("GET /v1/attachments/*", HttpFault::redirect("http://elsewhere.invalid/x"));
    let redirected = get(&server, &alice, "/v1/attachments/att_1").await;
    assert_eq!((redirected.status, redirected.header("location")), (302, Some("http://elsewhere.invalid/x")));
}

#[tokio::test]
#[should_panic(expected = "there is no route named")]
async fn s70_a_fault_that_could_never_strike_is_refused() {
    let server = frozen(Profile::Current).await;
    server.faults().on("/v1/messages", HttpFault::hang());
}

#[tokio::test]
async fn s70_a_response_is_cut_at_a_byte_or_drips() {
    let (server, alice, _) = pair(Profile::Current).await;
    for bytes in [1, 30, 200] {
        server.faults().on("GET /v1/agents/me", HttpFault::passing().cut_after(bytes));
        let got = call(&server, "GET", "/v1/agents/me").key(&alice).bytes().await;
        assert_eq!(got.len() as u64, bytes);
    }
    let whole = get(&server, &alice, "/v1/agents/me").await;
    server.faults().on("GET /v1/agents/me", HttpFault::passing().drip(50, Duration::from_millis(10)));
    let begin = Instant::now();
    let dripped = get(&server, &alice, "/v1/agents/me").await;
    assert_eq!(dripped.text, whole.text);
    assert!(begin.elapsed() >= Duration::from_millis(40), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn s70_an_answer_is_held_back_or_never_comes() {
    let (server, alice, _) = pair(Profile::Current).await;
    server.faults().on("GET /v1/agents/me", HttpFault::passing().delay(Duration::from_millis(80)));
    let begin = Instant::now();
    assert_eq!(get(&server, &alice, "/v1/agents/me").await.status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(80));
    server.faults().on("GET /v1/agents/me", HttpFault::hang());
    let hanging = get(&server, &alice, "/v1/agents/me");
    assert!(tokio::time::timeout(Duration::from_millis(100), hanging).await.is_err());
    assert_eq!(get(&server, &alice, "/v1/agents/me").await.status, 200);
}

#[tokio::test]
async fn s70_pushes_are_repeated_reordered_lost_and_late() {
    for profile in BOTH {
        let (server, alice, bob) = pair(profile).await;
        let mut socket = Socket::hello(&server, &bob).await;
        let faults = server.faults();
        faults.pushes([
            PushFault::Duplicate,
            PushFault::Late(1),
            PushFault::Pass,
            PushFault::Drop,
            PushFault::Hold,
            PushFault::Pass,
        ]);
        for n in 1..=6 {
            say(&server, &alice, "bob", &format!("m{n}"), &format!("{n}")).await.ok();
        }
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(socket.event("message.new").await);
        }
        assert_eq!(texts(&seen), ["1", "1", "3", "2", "6"]);
        faults.release_pushes();
        assert_eq!(socket.event("message.new").await["content"]["text"], "5");
        assert_eq!(faults.pending(), 0);
    }
}

#[tokio::test]
async fn s70_a_seed_decides_how_pushes_are_shuffled() {
    let mut runs: Vec<Vec<String>> = Vec::new();
    for seed in [7, 7, 8] {
        let (server, alice, bob) = pair(Profile::Current).await;
        let mut socket = Socket::hello(&server, &bob).await;
        server.faults().shuffle_pushes(seed);
        for n in 1..=40 {
            say(&server, &alice, "bob", &format!("m{n}"), &format!("{n}")).await.ok();
        }
        server.faults().clear();
        let mut seen = Vec::new();
        server.push_raw("bob", &json!({ "type": "end" }));
        loop {
            let frame = socket.json().await;
            if frame["type"] == "end" {
                break;
            }
            seen.push(frame["payload"]["content"]["text"].as_str().expect("text").to_owned());
        }
        assert!((1..=40).all(|n| seen.contains(&n.to_string())), "seed {seed} loses nothing: {seen:?}");
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert_ne!(runs[0], (1..=40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn s70_sockets_end_at_a_frame_with_any_code() {
    for profile in BOTH {
        for code in [1000, 1001, 1008, 1011, 1012, 1013, 4000, 4401, 4403] {
            let (server, alice, bob) = pair(profile).await;
            let mut socket = Socket::hello(&server, &bob).await;
            server.faults().close_after_pushes(2, code, "scripted");
            for n in 1..=3 {
                say(&server, &alice, "bob", &format!("m{n}"), &format!("{n}")).await.ok();
            }
            for n in 1..=2 {
                assert_eq!(socket.event("message.new").await["content"]["text"], n.to_string());
            }
            assert_eq!(socket.closed().await, (code, "scripted".to_owned()));
            server.until_sockets("bob", 0).await;
        }
        let (server, alice, bob) = pair(profile).await;
        let mut socket = Socket::hello(&server, &bob).await;
        server.faults().close_after_pushes(1, 1006, "");
        say(&server, &alice, "bob", "1", "x").await.ok();
        loop {
            match socket.next().await {
                Got::Json(_) => {}
                other => {
                    assert_eq!(other, Got::Ended);
                    break;
                }
            }
        }
        assert_eq!(server.kick("alice", 4000, "nobody there"), 0);
    }
}

#[tokio::test]
async fn s70_greetings_are_late_missing_or_refused() {
    for profile in BOTH {
        let (server, _, bob) = pair(profile).await;
        let faults = server.faults();
        faults.delay_hellos(Duration::from_millis(60));
        let begin = Instant::now();
        Socket::hello(&server, &bob).await;
        assert!(begin.elapsed() >= Duration::from_millis(60));
        faults.delay_hellos(Duration::ZERO);
        faults.swallow_hellos(1);
        let mut silent = Socket::open(&server, &[]).await;
        silent.send(json!({ "type": "hello", "api_key": bob })).await;
        server.until_sockets("bob", 1).await;
        silent.quiet(&server, "bob").await;
        for (code, reason) in [(1008, "Invalid token"), (1008, "HELLO frame required"), (4401, "scripted")] {
            faults.close_next_socket(code, reason);
            let mut refused = Socket::open(&server, &[]).await;
            refused.send(json!({ "type": "hello", "api_key": bob })).await;
            assert_eq!(refused.closed().await, (code, reason.to_owned()));
        }
        faults.close_next_socket(1008, "Invalid token");
        let bearer = format!("Bearer {bob}");
        let mut refused = Socket::open(&server, &[("authorization", &bearer)]).await;
        assert_eq!(refused.closed().await, (1008, "Invalid token".to_owned()));
        for status in [401, 403, 429, 503] {
            faults.on("GET /v1/ws", HttpFault::status(status));
            assert_eq!(Socket::try_open(&server, &[]).await.err(), Some(status));
        }
    }
}

#[tokio::test]
async fn s70_acknowledgements_can_get_lost() {
    let (server, alice, bob) = pair(Profile::Current).await;
    let mut socket = Socket::acking(&server, &bob).await;
    let row = say(&server, &alice, "bob", "1", "x").await.ok();
    socket.event("message.new").await;
    server.faults().swallow_acks(1);
    socket.ack(&row["id"]).await;
    socket.close().await;
    assert_eq!(server.stored("bob"), 1);
    let mut again = Socket::acking(&server, &bob).await;
    let id = again.event("message.new").await["id"].clone();
    again.ack(&id).await;
    server.until_stored("bob", 0).await;
}

#[tokio::test]
async fn s70_a_server_that_hangs_neither_reads_nor_writes() {
    let (server, alice, bob) = pair(Profile::Current).await;
    let mut socket = Socket::hello(&server, &bob).await;
    server.faults().stall();
    server.push_raw("bob", &json!({ "type": "stalled" }));
    let asking = get(&server, &alice, "/v1/agents/me");
    assert!(tokio::time::timeout(Duration::from_millis(100), asking).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(50), socket.json()).await.is_err());
    server.faults().release();
    assert_eq!(socket.json().await["type"], "stalled");
    assert_eq!(get(&server, &alice, "/v1/agents/me").await.status, 200);
}

#[tokio::test]
async fn s70_every_connection_is_cut_or_refused() {
    let (server, alice, bob) = pair(Profile::Current).await;
    let mut socket = Socket::hello(&server, &bob).await;
    server.faults().cut_all();
    assert_eq!(socket.next().await, Got::Ended);
    server.until_sockets("bob", 0).await;
    server.faults().refuse(true);
    assert!(call(&server, "GET", "/v1/health").try_send().await.is_none());
    server.faults().refuse(false);
    assert_eq!(get(&server, &alice, "/v1/agents/me").await.status, 200);
}

#[tokio::test]
async fn s70_without_its_database_the_server_knows_nobody() {
    let server = frozen(Profile::Legacy).await;
    let bob = server.agent("bob");
    let mut before = Socket::hello(&server, &bob).await;
    let latency = Duration::from_millis(30);
    server.faults().database_down(Some(latency));
    let begin = Instant::now();
    assert_eq!(get(&server, &bob, "/v1/agents/me").await.refusal(), (401, "UNAUTHORIZED".to_owned()));
    assert!(begin.elapsed() >= latency);
    let bearer = format!("Bearer {bob}");
    let mut header = Socket::open(&server, &[("authorization", &bearer)]).await;
    assert_eq!(header.closed().await, (1008, "Invalid token".to_owned()));
    let mut hello = Socket::open(&server, &[]).await;
    hello.send(json!({ "type": "hello", "api_key": bob })).await;
    let arrived = |entry: &JournalEntry| matches!(entry, JournalEntry::Received { socket: 3, .. });
    while !server.journal().iter().any(arrived) {
        tokio::task::yield_now().await;
    }
    server.advance(Duration::from_secs(5));
    assert_eq!(hello.closed().await, (1008, "HELLO frame required".to_owned()));
    before.quiet(&server, "bob").await;
    server.faults().database_down(None);
    assert_eq!(get(&server, &bob, "/v1/agents/me").await.status, 200);
    server.faults().bus_down(true);
    let health = call(&server, "GET", "/v1/health").send().await;
    assert_eq!((health.status, health.json()["status"].clone()), (503, json!("degraded")));
}

#[tokio::test]
async fn s70_the_journal_has_everything_in_order_and_prints_no_secret() {
    let (server, alice, bob) = pair(Profile::Current).await;
    server.clear_journal();
    let mut socket = Socket::hello(&server, &bob).await;
    say(&server, &alice, "bob", "1", "between us").await.ok();
    socket.event("message.new").await;
    socket.close().await;
    server.until_sockets("bob", 0).await;
    let journal = server.journal();
    let names: Vec<&str> = journal
        .iter()
        .map(|entry| match entry {
            JournalEntry::Request { path, .. } => path.as_str(),
            JournalEntry::Opened { .. } => "opened",
            JournalEntry::Received { .. } => "received",
            JournalEntry::Sent { .. } => "sent",
            JournalEntry::Gone { .. } => "gone",
            _ => "else",
        })
        .collect();
    // The push is queued before its sender is answered.
    let begin = ["/v1/ws", "opened", "received", "sent", "sent", "/v1/messages"];
    assert_eq!(names[..6], begin, "{journal:?}");
    let printed = format!("{journal:?}");
    for secret in [alice.as_str(), bob.as_str(), "between us"] {
        assert!(!printed.contains(secret));
    }
    let JournalEntry::Request { handle, status, body, .. } = &journal[5] else { panic!("a request") };
    assert_eq!((handle.as_deref(), *status), (Some("alice"), 201));
    assert!(String::from_utf8_lossy(body).contains("between us"));
}
