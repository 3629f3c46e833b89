//! The in-process broker as its clients see it: NATS clients, faults, restarts.

#![cfg(feature = "test-broker")]

mod raw;

use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, HeaderMap, RequestErrorKind};
use futures_util::StreamExt;
use mq9_client::testing::{Broker, EngineHost, EngineProfile, WireProfile};
use raw::{CONNECT, Heard, PATIENCE, QUIET, Raw, errors, messages};
use serde_json::{Value, json};

const PROFILES: [WireProfile; 2] = [WireProfile::Standard, WireProfile::RobustMq];
const CREATE: &str = "$mq9.AI.MAILBOX.CREATE";
const SEND: &str = "$mq9.AI.MSG.SEND.box";
const FETCH: &str = "$mq9.AI.MSG.FETCH.box";
const ALL_NOW: &str = r#"{"deliver":"earliest","config":{"max_wait_ms":0}}"#;

async fn broker(wire: WireProfile) -> Broker {
    Broker::builder().wire(wire).start().await.unwrap()
}

async fn with_mailbox(broker: &Broker) -> Raw {
    let mut raw = Raw::connect(broker.port()).await;
    assert_eq!(raw.request(CREATE, r#"{"name":"box","ttl":0}"#).await.json()["error"], "");
    raw
}

async fn nats(broker: &Broker) -> Client {
    let options = ConnectOptions::new().request_timeout(Some(PATIENCE));
    options.connect(broker.nats_url()).await.unwrap()
}

async fn json_request(client: &Client, subject: &'static str, body: &str) -> Value {
    let reply = client.request(subject, body.to_owned().into()).await.unwrap();
    assert_eq!(reply.headers, None, "mq9 replies carry no headers");
    serde_json::from_slice(&reply.payload).unwrap()
}

fn payloads(reply: &Value) -> Vec<String> {
    let messages = reply["messages"].as_array().unwrap().iter();
    messages.map(|message| message["payload"].as_str().unwrap().to_owned()).collect()
}

/// Waits for what another task is about to do.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_ordinary_nats_client_sends_and_fetches() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let client = nats(&broker).await;
        let created = json_request(&client, CREATE, r#"{"name":"box"}"#).await;
        assert_eq!(created, json!({ "error": "", "mail_address": "box" }));
        let mut headers = HeaderMap::new();
        headers.insert("mq9-priority", "urgent");
        headers.insert("x", "1");
        let sent = client.request_with_headers(SEND, headers, "hello".into()).await.unwrap();
        assert_eq!(&sent.payload[..], br#"{"error":"","msg_id":0}"#);
        let fetched = json_request(&client, FETCH, ALL_NOW).await;
        let message = &fetched["messages"][0];
        assert_eq!((&message["payload"], &message["priority"]), (&json!("hello"), &json!("urgent")));
        let header = message["header"].as_array().unwrap().iter();
        let header: Vec<u8> = header.map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect();
        let header = String::from_utf8(header).unwrap();
        assert!(header.starts_with("NATS/1.0\r\n") && header.contains("x: 1\r\n"), "{header:?}");
    }
}

#[tokio::test]
async fn standard_tells_a_requester_that_nobody_serves_and_robustmq_does_not() {
    for subject in ["$mq9.AI.MSG.NOSUCH.box", "$mq9.AI.MAILBOX", "plain.subject"] {
        let broker = broker(WireProfile::Standard).await;
        let error = nats(&broker).await.request(subject, "".into()).await.unwrap_err();
        assert_eq!(error.kind(), RequestErrorKind::NoResponders, "{subject}");

        let broker = self::broker(WireProfile::RobustMq).await;
        let options = ConnectOptions::new().request_timeout(Some(QUIET));
        let client = options.connect(broker.nats_url()).await.unwrap();
        let error = client.request(subject, "".into()).await.unwrap_err();
        assert_eq!(error.kind(), RequestErrorKind::TimedOut, "{subject}");
    }
}

#[tokio::test]
async fn no_responders_only_goes_to_clients_that_asked_for_it() {
    let broker = broker(WireProfile::Standard).await;
    let mut raw = Raw::connect(broker.port()).await;
    raw.publish("nobody", Some("_INBOX.raw.1"), b"").await;
    let heard = messages(raw.fence().await);
    assert_eq!(heard[0].header.as_deref(), Some("NATS/1.0 503\r\n\r\n"));
    assert_eq!((heard.len(), heard[0].sid.as_str(), heard[0].body.len()), (1, "0", 0));

    let mut raw = Raw::open(broker.port()).await;
    raw.say("CONNECT {\"verbose\":false}\r\nSUB _INBOX.raw.* 0\r\n").await;
    raw.publish("nobody", Some("_INBOX.raw.1"), b"").await;
    assert_eq!(messages(raw.fence().await), []);
}

#[tokio::test]
async fn replies_are_routed_to_whichever_connection_subscribed() {
    let broker = broker(WireProfile::Standard).await;
    let mut asker = Raw::connect(broker.port()).await;
    let mut listener = Raw::open(broker.port()).await;
    listener.say(format!("{CONNECT}SUB replies.> 17\r\n")).await;
    listener.fence().await;
    asker.publish(CREATE, Some("replies.1"), br#"{"name":"box"}"#).await;
    assert_eq!(asker.fence().await, []);
    let replies = messages(listener.fence().await);
    assert_eq!((replies[0].subject.as_str(), replies[0].sid.as_str()), ("replies.1", "17"));
    assert_eq!(replies[0].json()["mail_address"], "box");
}

#[tokio::test]
async fn plain_messages_reach_wildcards_and_one_of_each_queue_group() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let (publisher, worker_a, worker_b) = (nats(&broker).await, nats(&broker).await, nats(&broker).await);
        let mut a = worker_a.queue_subscribe("jobs.*", "workers".into()).await.unwrap();
        let mut b = worker_b.queue_subscribe("jobs.*", "workers".into()).await.unwrap();
        let mut all = worker_a.subscribe("jobs.>").await.unwrap();
        let mut ready = Raw::connect(broker.port()).await;
        for worker in [&worker_a, &worker_b] {
            worker.flush().await.unwrap();
        }
        // Behind the subscriptions of both: each worker is heard by a subscriber of its own readiness.
        ready.say("SUB ready 5\r\n").await;
        ready.fence().await;
        worker_a.publish("ready", "".into()).await.unwrap();
        worker_b.publish("ready", "".into()).await.unwrap();
        for _ in 0..2 {
            assert!(matches!(ready.hear().await, Heard::Message(_)));
        }
        for number in 0..20 {
            publisher.publish(format!("jobs.{number}"), number.to_string().into()).await.unwrap();
        }
        let mut shared = [0, 0];
        for number in 0..20 {
            assert_eq!(all.next().await.unwrap().payload, number.to_string(), "in order");
            tokio::select! {
                _ = a.next() => shared[0] += 1,
                _ = b.next() => shared[1] += 1,
            }
        }
        assert!(shared[0] > 0 && shared[1] > 0, "{shared:?}");
    }
}

#[tokio::test]
async fn standard_refuses_bad_credentials_and_closes() {
    let broker = Broker::builder().credentials("user", "secret").start().await.unwrap();
    let right = ConnectOptions::with_user_and_password("user".into(), "secret".into());
    let client = right.connect(broker.nats_url()).await.unwrap();
    assert_eq!(json_request(&client, CREATE, r#"{"name":"box"}"#).await["error"], "");
    let wrong = ConnectOptions::with_user_and_password("user".into(), "guess".into());
    let error = wrong.connect(broker.nats_url()).await.unwrap_err();
    assert_eq!(error.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);

    let mut raw = Raw::open(broker.port()).await;
    raw.say(CONNECT).await;
    assert_eq!(errors(&raw.until_closed().await), ["-ERR 'Authorization Violation'"]);
    let shown = format!("{broker:?} {:?}", Broker::builder().credentials("user", "secret"));
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn on_robustmq_a_client_with_bad_credentials_connects_and_is_never_answered() {
    let broker = Broker::builder().wire(WireProfile::RobustMq).credentials("user", "secret");
    let broker = broker.start().await.unwrap();
    let login = |password: &str| ConnectOptions::with_user_and_password("user".into(), password.to_owned());
    // Unnamed, the client sends `"name":null`, and the broker throws the whole CONNECT away.
    for refused in [login("guess").name("n"), login("secret")] {
        let client = refused.request_timeout(Some(QUIET)).connect(broker.nats_url()).await.unwrap();
        let error = client.request(CREATE, "{}".into()).await.unwrap_err();
        assert_eq!(error.kind(), RequestErrorKind::TimedOut);
    }
    assert_eq!(broker.host().counts().creates, 0);
    let client = login("secret").name("n").connect(broker.nats_url()).await.unwrap();
    assert_eq!(json_request(&client, CREATE, r#"{"name":"box"}"#).await["error"], "");
}

#[tokio::test]
async fn standard_enforces_max_payload_and_closes() {
    let broker = Broker::builder().max_payload(1024).start().await.unwrap();
    let mut raw = with_mailbox(&broker).await;
    assert_eq!(raw.request(SEND, &"x".repeat(1024)).await.json()["msg_id"], 0);
    raw.say(format!("PUB {SEND} 1025\r\n")).await;
    assert_eq!(errors(&raw.until_closed().await), ["-ERR 'Maximum Payload Violation'"]);
}

#[tokio::test]
async fn a_waiting_fetch_blocks_its_connection_on_robustmq_only() {
    let wait = r#"{"config":{"max_wait_ms":150}}"#;
    for (wire, blocks) in [(WireProfile::Standard, false), (WireProfile::RobustMq, true)] {
        let broker = broker(wire).await;
        let mut raw = with_mailbox(&broker).await;
        let begin = Instant::now();
        raw.say(format!("PUB {FETCH} _INBOX.raw.wait {}\r\n{wait}\r\nPING\r\n", wait.len())).await;
        let order = [raw.hear().await, raw.hear().await];
        // The engine's clock counts whole milliseconds.
        assert!(begin.elapsed() >= Duration::from_millis(149), "{wire:?} answers too early");
        let pong_at = order.iter().position(|heard| *heard == Heard::Line("PONG".into()));
        assert_eq!(pong_at, Some(usize::from(blocks)), "{wire:?}");
        let reply = messages(order.to_vec()).remove(0);
        assert_eq!(
            (&reply.subject[..], &reply.body[..]),
            ("_INBOX.raw.wait", &br#"{"error":"","messages":[]}"#[..])
        );
    }
}

#[tokio::test]
async fn a_waiting_fetch_on_robustmq_blocks_every_64th_connection_and_no_other() {
    let broker = broker(WireProfile::RobustMq).await;
    let mut first = with_mailbox(&broker).await;
    let mut others = Vec::new();
    for _ in 0..64 {
        others.push(Raw::connect(broker.port()).await);
    }
    let fetch = first.ask(FETCH, br#"{"config":{"max_wait_ms":20000}}"#).await;
    eventually("the FETCH is at work", || broker.host().counts().fetches == 1).await;
    for other in &mut others[..63] {
        assert_eq!(other.fence().await, []);
    }
    others[63].say("PING\r\n").await;
    assert_eq!(others[63].hear_within(QUIET).await, None);
    broker.host().advance(Duration::from_secs(20));
    assert_eq!(others[63].hear().await, Heard::Line("PONG".into()));
    assert_eq!(messages(first.fence().await)[0].subject, fetch);
}

#[tokio::test]
async fn moving_the_engines_clock_ends_a_wait() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let mut raw = with_mailbox(&broker).await;
        let fetch = raw.ask(FETCH, br#"{"config":{"max_wait_ms":25000}}"#).await;
        eventually("the FETCH is at work", || broker.host().counts().fetches == 1).await;
        assert_eq!(raw.hear_within(QUIET).await, None);
        broker.host().advance(Duration::from_secs(25));
        let Heard::Message(reply) = raw.hear().await else { panic!("no reply") };
        assert_eq!(reply.subject, fetch);
    }
}

#[tokio::test]
async fn commands_of_a_connection_are_carried_out_and_answered_in_order() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let mut raw = with_mailbox(&broker).await;
        let mut burst = Vec::new();
        for number in 0..500 {
            burst.extend(format!("PUB {SEND} _INBOX.raw.s{number} 3\r\n{number:03}\r\n").into_bytes());
        }
        raw.say(burst).await;
        for number in 0..500 {
            let Heard::Message(reply) = raw.hear().await else { panic!("no reply") };
            assert_eq!(reply.subject, format!("_INBOX.raw.s{number}"));
            assert_eq!(reply.json()["msg_id"], number);
        }
    }
}

#[tokio::test]
async fn a_reader_too_slow_is_cut_and_nobody_else_notices() {
    let broker = Broker::builder().max_pending(256 * 1024).start().await.unwrap();
    let mut slow = Raw::connect(broker.port()).await;
    slow.say("SUB flood 1\r\n").await;
    slow.fence().await;
    let mut publisher = Raw::connect(broker.port()).await;
    let body = vec![b'x'; 512 * 1024];
    let mut sent = 0;
    while broker.connections() == 2 {
        publisher.publish("flood", None, &body).await;
        assert_eq!(publisher.fence().await, []);
        sent += 1;
        assert!(sent < 1000, "half a gigabyte and still not cut");
    }
    let heard = messages(slow.until_closed().await);
    assert!(heard.len() < sent);
}

#[tokio::test]
async fn cut_all_ends_every_connection_and_keeps_what_was_accepted() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let (mut a, mut b) = (with_mailbox(&broker).await, Raw::connect(broker.port()).await);
        a.request(SEND, "kept").await;
        broker.faults().cut_all();
        a.until_closed().await;
        b.until_closed().await;
        let mut again = Raw::connect(broker.port()).await;
        assert_eq!(payloads(&again.request(FETCH, ALL_NOW).await.json()), ["kept"]);
    }
}

#[tokio::test]
async fn a_cut_after_bytes_falls_exactly_there_and_on_one_connection_only() {
    let broker = broker(WireProfile::Standard).await;
    drop(with_mailbox(&broker).await);
    let whole = b"MSG _INBOX.raw.1 0 23\r\n{\"error\":\"\",\"msg_id\":0}\r\n";
    for after in [0, 1, 22, 23, 40, 47] {
        broker.faults().cut_after_bytes(after as u64);
        let mut raw = Raw::connect(broker.port()).await;
        raw.ask(SEND, b"x").await;
        let got = raw.bytes(|_| false).await;
        assert_eq!(got.len(), after);
        assert_eq!(got.last(), whole[..after].last());
    }
    let mut raw = Raw::connect(broker.port()).await;
    assert_eq!(raw.request(SEND, "x").await.json()["msg_id"], 6, "each of the six was stored");

    broker.faults().cut_open_after_bytes(10);
    raw.ask(SEND, b"x").await;
    assert_eq!(raw.bytes(|_| false).await.len(), 10);
}

#[tokio::test]
async fn a_stalled_broker_says_nothing_and_loses_nothing() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let mut raw = with_mailbox(&broker).await;
        broker.faults().stall_until_released();
        let inbox = raw.ask(SEND, b"x").await;
        raw.say("PING\r\n").await;
        assert_eq!(raw.hear_within(QUIET).await, None);
        assert_eq!(broker.host().counts().sends, 0);
        broker.faults().release();
        assert!(matches!(raw.hear().await, Heard::Message(reply) if reply.subject == inbox));
        assert_eq!(raw.hear().await, Heard::Line("PONG".into()));

        broker.faults().stall(Duration::from_millis(80));
        let begin = Instant::now();
        raw.fence().await;
        assert!(begin.elapsed() >= Duration::from_millis(80));
    }
}

#[tokio::test]
async fn a_slow_broker_takes_its_time_over_each_command() {
    let broker = broker(WireProfile::Standard).await;
    let mut raw = with_mailbox(&broker).await;
    broker.faults().slow(Duration::from_millis(40));
    let begin = Instant::now();
    raw.request(SEND, "x").await;
    raw.request(SEND, "x").await;
    assert!(begin.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_dropped_reply_leaves_the_command_carried_out() {
    for wire in PROFILES {
        let broker = broker(wire).await;
        let mut raw = with_mailbox(&broker).await;
        broker.faults().drop_replies("MSG.SEND", 2);
        for lost in ["one", "two"] {
            raw.ask(SEND, lost.as_bytes()).await;
            assert_eq!(raw.fence().await, [], "{wire:?}");
        }
        assert_eq!(raw.request(SEND, "three").await.json()["msg_id"], 2);
        assert_eq!(payloads(&raw.request(FETCH, ALL_NOW).await.json()), ["one", "two", "three"]);
    }
}

#[tokio::test]
async fn a_refusing_broker_closes_each_new_connection_before_the_first_byte() {
    let broker = broker(WireProfile::Standard).await;
    let mut before = Raw::connect(broker.port()).await;
    broker.faults().refuse(true);
    assert_eq!(Raw::open(broker.port()).await.until_closed().await, []);
    assert_eq!(before.fence().await, [], "the old ones live on");
    broker.faults().refuse(false);
    Raw::connect(broker.port()).await;
}

#[tokio::test]
async fn a_broker_that_is_down_refuses_and_comes_back_on_its_port() {
    let mut broker = broker(WireProfile::Standard).await;
    let mut raw = with_mailbox(&broker).await;
    raw.request(SEND, "kept").await;
    let port = broker.port();
    for _ in 0..3 {
        broker.down().await.unwrap();
        broker.down().await.unwrap();
        raw.until_closed().await;
        assert_eq!(broker.connections(), 0);
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
        broker.up().await.unwrap();
        broker.up().await.unwrap();
        assert_eq!(broker.port(), port);
        raw = Raw::connect(port).await;
        assert_eq!(payloads(&raw.request(FETCH, ALL_NOW).await.json()), ["kept"]);
    }
}

#[tokio::test]
async fn a_restart_keeps_mailboxes_in_the_data_directory() {
    let dir = std::env::temp_dir().join(format!("mq9-double-{}-{:x}", std::process::id(), fastrand::u64(..)));
    let mut broker = Broker::builder().data_dir(&dir).start().await.unwrap();
    let mut raw = with_mailbox(&broker).await;
    raw.request(SEND, "kept").await;
    let waiting = raw.ask("$mq9.AI.MSG.FETCH.empty", br#"{"config":{"max_wait_ms":20000}}"#).await;
    assert_ne!(waiting, "");
    broker.restart().await.unwrap();
    raw.until_closed().await;
    assert_eq!(broker.host().counts().sends, 0, "another engine");
    let mut raw = Raw::connect(broker.port()).await;
    assert_eq!(payloads(&raw.request(FETCH, ALL_NOW).await.json()), ["kept"]);
    assert_eq!(raw.request(SEND, "next").await.json()["msg_id"], 1);
    broker.stop().await;

    let broker = Broker::builder().data_dir(&dir).start().await.unwrap();
    let mut raw = Raw::connect(broker.port()).await;
    assert_eq!(payloads(&raw.request(FETCH, ALL_NOW).await.json()), ["kept", "next"]);
    drop(broker);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_restart_without_data_directory_only_loses_the_connections() {
    let mut broker = broker(WireProfile::RobustMq).await;
    let mut raw = with_mailbox(&broker).await;
    raw.request(SEND, "kept").await;
    broker.restart().await.unwrap();
    raw.until_closed().await;
    let mut raw = Raw::connect(broker.port()).await;
    assert_eq!(payloads(&raw.request(FETCH, ALL_NOW).await.json()), ["kept"]);
}

#[tokio::test]
async fn a_nats_client_reconnects_by_itself_after_a_restart() {
    for wire in PROFILES {
        let mut broker = broker(wire).await;
        // A request written to the dying connection is lost, so it must not be waited for long.
        let options = ConnectOptions::new().request_timeout(Some(2 * QUIET));
        let client = options.connect(broker.nats_url()).await.unwrap();
        json_request(&client, CREATE, r#"{"name":"box"}"#).await;
        broker.restart().await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let again = loop {
            match client.request(CREATE, r#"{"name":"box"}"#.into()).await {
                Ok(reply) => break reply,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        let again: Value = serde_json::from_slice(&again.payload).unwrap();
        assert_eq!(again["error"], "mailbox box already exists");
    }
}

#[tokio::test]
async fn stopping_or_dropping_a_broker_ends_everything() {
    let broker = broker(WireProfile::Standard).await;
    let mut raw = with_mailbox(&broker).await;
    let port = broker.port();
    broker.stop().await;
    raw.until_closed().await;
    // Another test's broker may be given the port the moment it is free, but not for long.
    eventually("nobody listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err()).await;

    let broker = self::broker(WireProfile::RobustMq).await;
    let mut raw = with_mailbox(&broker).await;
    drop(broker);
    raw.until_closed().await;
}

#[tokio::test]
async fn one_engine_can_serve_two_listeners() {
    let host = EngineHost::in_memory(EngineProfile::robustmq());
    let standard = Broker::builder().host(host.clone()).start().await.unwrap();
    let quirky = Broker::builder().host(host.clone()).wire(WireProfile::RobustMq).start().await.unwrap();
    with_mailbox(&standard).await.request(SEND, "x").await;
    let mut raw = Raw::connect(quirky.port()).await;
    assert_eq!(payloads(&raw.request(FETCH, ALL_NOW).await.json()), ["x"]);
    let both = Broker::builder().host(host).data_dir("/nowhere").start().await;
    assert_eq!(both.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let broker = broker(WireProfile::Standard).await;
    let second = Broker::builder().port(broker.port()).start().await;
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(broker.url(), format!("mq9://127.0.0.1:{}", broker.port()));
}
