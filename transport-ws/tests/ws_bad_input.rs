//! What a server may send that it should not: each costs itself, no message around it, and tells no key.
#![cfg(feature = "test-server")]

mod key_log;
mod scripted;
mod ws_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agentchat_core::{Connector, Delivery, Error, ErrorKind, Event, EventStream, SubscribeOptions};
use futures_util::StreamExt;
use key_log::no_key_is_told;
use scripted::{KEY, Line, Scripted, answer, json, pushed, quiet};
use tokio_tungstenite::tungstenite::protocol::Message;
use transport_ws::testing::{HttpFault, Profile};
use ws_support::{Attached, World, backlog, ending, message, read, say, within, word};

const GRANTS: [&str; 2] = ["[\"ack\"]", "[]"];
const MILLI: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

/// Pushes a message, then what is bad, then another message, and stays. Both come, whatever is granted.
async fn around<F>(bad: impl Fn(Line) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Line> + Send + 'static,
{
    for granted in GRANTS {
        let bad = bad.clone();
        let server = Scripted::live(move |_, mut line| {
            let bad = bad.clone();
            async move {
                line.greet(granted).await;
                // Behind the backlog, or it would be a part of it.
                tokio::time::sleep(500 * MILLI).await;
                line.text(pushed("before", 1, "before")).await;
                line = bad(line).await;
                line.text(pushed("after", 2, "after")).await;
                line.listen(LONG).await;
            }
        })
        .await;
        let (_bob, mut events) = attached(&server).await;
        assert_eq!(word(&message(&mut events).await), "before", "{granted}");
        let mut between = Vec::new();
        loop {
            let delivery = message(&mut events).await;
            if word(&delivery) == "after" {
                break;
            }
            between.push(delivery);
        }
        assert!(between.iter().all(|it| it.id.as_str().starts_with("odd")), "{between:?}");
        no_key_is_told();
    }
}

async fn attached(server: &Scripted) -> (Attached, EventStream) {
    no_key_is_told();
    let bob = within(server.connector().connect()).await.expect("attached");
    let options = SubscribeOptions::own().with_max_unsettled(100_000).with_max_unsettled_bytes(1 << 30);
    let events = bob.subscribe(options).await.expect("read").events;
    (bob, events)
}

fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    told
}

fn keeps_the_key(error: &Error) {
    assert!(!told(error).contains(KEY), "{}", told(error));
    no_key_is_told();
}

#[tokio::test]
async fn garbage_frames_are_passed_over() {
    around(|mut line| async move {
        for text in ["", " ", "no json", "\u{0}\u{1f600}", "null", "[]", "7", "{}", r#"{"type":7}"#] {
            line.text(text).await;
        }
        line.message(Message::binary(vec![0xff; 100])).await;
        line.message(Message::Ping(vec![0xff; 125].into())).await;
        line.message(Message::Pong(Vec::new().into())).await;
        line
    })
    .await;
}

#[tokio::test]
async fn truncated_frames_are_passed_over() {
    around(|mut line| async move {
        let whole = pushed("cut", 2, "cut");
        for at in (1..whole.len()).step_by(7) {
            line.text(&whole[..at]).await;
        }
        line
    })
    .await;
}

#[tokio::test]
async fn deeply_nested_frames_are_read_or_passed_over_without_a_deep_stack() {
    around(|mut line| async move {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        line.text(deep.as_str()).await;
        line.text("[".repeat(200_000)).await;
        line.text(format!(r#"{{"type":"zebra","payload":{deep}}}"#)).await;
        line.text(format!(r#"{{"type":{deep}}}"#)).await;
        for (number, member) in ["content", "metadata", "context", "id", "seq", "x"].iter().enumerate() {
            let id = format!("odd{number}");
            line.text(format!(r#"{{"type":"message.new","payload":{{"id":"{id}","{member}":{deep}}}}}"#))
                .await;
        }
        line
    })
    .await;
}

#[tokio::test]
async fn odd_rows_cost_no_row_beside_them() {
    around(|mut line| async move {
        for row in [
            r#"{"conversation_id":"conv_1","seq":2,"content":{"text":"no id"}}"#,
            r#"{"id":"","conversation_id":"conv_1","seq":2,"content":{"text":"empty id"}}"#,
            r#"{"id":"odd1","conversation_id":"conv_2","seq":"1","sender":"alice","content":{"text":"x"}}"#,
            r#"{"id":"odd2","conversation_id":"conv_2","seq":2,"sender":"alice","content":null}"#,
            r#"{"id":"odd3","conversation_id":"conv_2","seq":18446744073709551615,"sender":"alice"}"#,
            r#"{"id":"odd4","conversation_id":"conv_2","seq":9223372036854775807,"sender":"alice"}"#,
            r#"{"id":"odd5","conversation_id":"conv_2","seq":-3,"sender":5,"content":[]}"#,
            r#"{"id":"odd6"}"#,
            r#"{"id":"odd7","conversation_id":"conv_1","seq":1,"sender":"a/b?c","content":{"text":"x"}}"#,
        ] {
            line.text(format!(r#"{{"type":"message.new","payload":{row}}}"#)).await;
        }
        line
    })
    .await;
}

#[tokio::test]
async fn a_row_with_a_seq_as_text_or_without_content_is_a_message() {
    for granted in GRANTS {
        let server = Scripted::live(move |_, mut line| async move {
            line.greet(granted).await;
            tokio::time::sleep(500 * MILLI).await;
            for row in [
                r#"{"id":"m1","conversation_id":"conv_1","seq":"1","sender":"alice","content":{"text":"one"}}"#,
                r#"{"id":"m2","conversation_id":"conv_1","seq":"2","sender":"alice","content":null}"#,
                r#"{"conversation_id":"conv_1","seq":3,"sender":"alice","content":{"text":"nobody"}}"#,
                r#"{"id":"m4","conversation_id":"conv_1","seq":3,"sender":"alice","content":{"text":"three"}}"#,
            ] {
                line.text(format!(r#"{{"type":"message.new","payload":{row}}}"#)).await;
            }
            line.listen(LONG).await;
        })
        .await;
        let (_bob, mut events) = attached(&server).await;
        let (one, two) = (message(&mut events).await, message(&mut events).await);
        assert_eq!((word(&one).as_str(), one.seq), ("one", Some(1)));
        assert_eq!((&two.body.bytes[..], two.seq), (&b"{}"[..], Some(2)));
        assert_eq!(word(&message(&mut events).await), "three");
    }
}

/// A socket that goes wrong behind a message: the message comes, there or on the next socket, which goes on.
async fn ends_and_goes_on<F>(bad: impl Fn(Line) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Line> + Send + 'static,
{
    no_key_is_told();
    for granted in GRANTS {
        let bad = bad.clone();
        let server = Scripted::live(move |number, mut line| {
            let bad = bad.clone();
            async move {
                line.greet(granted).await;
                tokio::time::sleep(500 * MILLI).await;
                // What is not acknowledged comes again; what need not be does not.
                if number == 0 || granted == GRANTS[0] {
                    line.text(pushed("m0", 1, "first")).await;
                }
                match number {
                    0 => line = bad(line).await,
                    _ => line.text(pushed("m1", 2, "second")).await,
                }
                line.listen(LONG).await;
            }
        })
        .await;
        let connector = server.connector();
        let bob = within(connector.connect()).await.expect("attached");
        let mut events = read(&bob).await;
        let (mut found, begun) = (Vec::new(), Instant::now());
        let error = loop {
            match within(events.next()).await.expect("it ends with an error") {
                Ok(Event::Message(delivery)) => found.push(word(&delivery)),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "at once, and not by a timeout");
        keeps_the_key(&error);
        let bob = within(connector.connect()).await.expect("the next one");
        let mut events = read(&bob).await;
        while found.last().is_none_or(|word| word != "second") {
            found.push(word(&message(&mut events).await));
        }
        // Not settled there, so it may come again.
        found.dedup();
        assert_eq!(found, ["first", "second"], "{granted}");
    }
}

#[tokio::test]
async fn invalid_utf8_ends_its_socket_alone() {
    ends_and_goes_on(|mut line| async move {
        line.bytes(b"\x81\x04{\"\xff\xfe").await;
        line
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_announces_a_terabyte_ends_its_socket_alone() {
    ends_and_goes_on(|mut line| async move {
        line.bytes(b"\x81\x7f\x00\x00\x01\x00\x00\x00\x00\x00{\"type\":").await;
        line
    })
    .await;
}

#[tokio::test]
async fn a_message_of_endless_parts_ends_its_socket_alone() {
    ends_and_goes_on(|mut line| async move {
        line.bytes(b"\x01\x00").await;
        let part = [b"\x00\x7e\xff\xff".as_slice(), &[b' '; 0xffff]].concat();
        for _ in 0..64 {
            line.bytes(&part).await;
        }
        line
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_websocket_end_their_socket_alone() {
    ends_and_goes_on(|mut line| async move {
        line.bytes(&b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>".repeat(10)).await;
        line
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_frames_at_once_lose_no_message() {
    for granted in GRANTS {
        let rest = Arc::new(|method: &str, path: &str| match path {
            // What is not taken from the socket is on the server still.
            path if path.starts_with("/v1/messages/sync") => {
                let after = path.split("after=del_").nth(1).and_then(|it| it.parse::<u64>().ok());
                let after = after.unwrap_or(0);
                let rows: Vec<String> =
                    (after + 1..=(after + 200).min(STORED)).map(|n| row(n, true)).collect();
                json(&format!("[{}]", rows.join(",")))
            }
            path => quiet(method, path),
        });
        let server = Scripted::start(
            rest,
            Arc::new(move |_, mut line| {
                Box::pin(async move {
                    line.greet(granted).await;
                    for number in 1..=10_000 {
                        let frame = match number <= STORED {
                            true => format!(r#"{{"type":"message.new","payload":{}}}"#, row(number, false)),
                            false => format!(r#"{{"type":"zebra.{number}","payload":[]}}"#),
                        };
                        line.text(frame).await;
                    }
                    line.listen(LONG).await;
                })
            }),
        )
        .await;
        let bob = within(server.connector().connect()).await.expect("attached");
        let options = SubscribeOptions::own().with_max_unsettled(50);
        let mut events = bob.subscribe(options).await.expect("read").events;
        for number in 1..=STORED {
            let delivery = message(&mut events).await;
            assert_eq!(word(&delivery), number.to_string(), "{granted}");
            bob.ack(&[delivery.tag]).await.expect("settled");
        }
        no_key_is_told();
    }
}

/// More than are kept for a reader.
const STORED: u64 = 2_500;

fn row(number: u64, stored: bool) -> String {
    let delivery =
        if stored { format!(r#","delivery_id":"del_{number}","status":"stored""#) } else { String::new() };
    format!(
        r#"{{"id":"m{number}","conversation_id":"conv_1","seq":{number},"sender":"alice","content":{{"text":"{number}"}}{delivery}}}"#
    )
}

#[tokio::test]
async fn a_flood_that_nobody_reads_is_held_back_and_not_kept() {
    let written = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&written);
    let server = Scripted::live(move |_, mut line| {
        let written = Arc::clone(&counting);
        async move {
            line.greet("[]").await;
            let large = "x".repeat(32 * 1024);
            for number in 1..=1_500 {
                line.text(pushed(&format!("m{number}"), number, &large)).await;
                written.fetch_add(1, Ordering::Relaxed);
            }
            line.listen(LONG).await;
        }
    })
    .await;
    let bob = within(server.connector().connect()).await.expect("attached");
    // It is still when nothing more is written for a while.
    within(async {
        let mut before = 0;
        loop {
            tokio::time::sleep(300 * MILLI).await;
            let now = written.load(Ordering::Relaxed);
            if now == before && now > 0 {
                return;
            }
            before = now;
        }
    })
    .await;
    let kept = written.load(Ordering::Relaxed);
    assert!(kept < 1_000, "{kept} messages of 32 KiB are taken in, though nobody reads");
    let options = SubscribeOptions::own().with_max_unsettled(10_000).with_max_unsettled_bytes(1 << 30);
    let mut events = bob.subscribe(options).await.expect("read").events;
    for number in 1..=1_500 {
        assert_eq!(message(&mut events).await.id.as_str(), format!("m{number}"));
    }
}

#[tokio::test]
async fn a_page_for_people_in_place_of_a_list_ends_the_backlog_and_nothing_else() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        world.server.faults().on("GET /v1/messages/sync", HttpFault::html(200));
        let mut events = read(&bob).await;
        assert!(backlog(&mut events).await.is_empty(), "{profile:?}");
        say(&alice, &bob, "live").await;
        assert_eq!(word(&message(&mut events).await), "live", "{profile:?}");
    }
}

/// Connecting fails with an error that is worth trying again, in time, and without the key.
async fn connecting_fails(
    rest: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static,
    within_time: Duration,
) -> Error {
    no_key_is_told();
    let live = |_, line: Line| -> futures_util::future::BoxFuture<'static, ()> { Box::pin(line.close()) };
    let server = Scripted::start(Arc::new(rest), Arc::new(live)).await;
    let config = server.config().with_attempt_timeout(500 * MILLI).with_connect_timeout(500 * MILLI);
    let config = config.with_hello_timeout(500 * MILLI).build().expect("valid");
    let connector = transport_ws::AgentChatConnector::new(config).expect("a connector");
    let begun = Instant::now();
    let error = within(connector.connect()).await.expect_err("no attachment");
    assert!(begun.elapsed() < within_time, "{:?}", begun.elapsed());
    assert!(!error.is_fatal() && error.is_retryable(), "{error:?}");
    keeps_the_key(&error);
    error
}

#[tokio::test]
async fn a_page_for_people_in_place_of_the_account_is_worth_another_attempt() {
    for status in ["200 OK", "502 Bad Gateway", "503 Service Unavailable"] {
        let html = move |_: &str, _: &str| answer(status, "content-type: text/html\r\n", "<html>no</html>");
        connecting_fails(html, LONG).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_worth_another_attempt() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 2",
        b"\xff\xfe\x00",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"handle\":",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
    ] {
        connecting_fails(move |_, _| bytes.to_vec(), LONG).await;
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed_and_leaks_no_key() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = format!("location: http://{}/v1/agents/me\r\n", other.local_addr().expect("an address"));
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let there = there.clone();
        connecting_fails(move |_, _| answer(status, &there, ""), LONG).await;
    }
    assert!(tokio::time::timeout(100 * MILLI, other.accept()).await.is_err(), "nobody called");
}

#[tokio::test]
async fn a_server_that_never_answers_or_drips_is_given_up_in_time() {
    for drips in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let _ = stream.read(&mut [0; 4096]).await;
                    let mut bytes = b"HTTP/1.1 200 OK\r\nx: ".iter().copied().chain(std::iter::repeat(b'y'));
                    while drips && stream.write_all(&[bytes.next().unwrap_or(b'y')]).await.is_ok() {
                        tokio::time::sleep(20 * MILLI).await;
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        let key = transport_ws::ApiKey::new(KEY).expect("a key");
        let config = transport_ws::AgentChatConfig::builder(key).with_base_url(base);
        let config = config.with_attempt_timeout(400 * MILLI).with_hello_timeout(400 * MILLI);
        let connector = transport_ws::AgentChatConnector::new(config.build().expect("valid")).expect("made");
        let begun = Instant::now();
        let error = within(connector.connect()).await.expect_err("no answer");
        assert!(error.kind() == ErrorKind::Timeout && error.is_retryable(), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        keeps_the_key(&error);
        server.abort();
    }
}

#[tokio::test]
async fn an_upgrade_that_is_answered_with_something_else_is_worth_another_attempt() {
    for (name, fault) in [
        ("html", HttpFault::html(200)),
        ("a redirect", HttpFault::redirect("http://127.0.0.1:1/v1/ws")),
        ("a refusal", HttpFault::status(503)),
    ] {
        let world = World::new().await;
        let connector = world.connector("bob");
        within(connector.connect()).await.expect("attached");
        world.server.faults().on("GET /v1/ws", fault);
        let error = within(connector.connect()).await.expect_err("no socket");
        assert!(error.is_retryable() && !error.is_fatal(), "{name}: {error:?}");
        assert!(!told(&error).contains(&world.server.agent("bob")), "{name}");
        within(connector.connect()).await.expect("the next one is a socket");
    }
}

#[tokio::test]
async fn a_socket_that_is_never_greeted_is_given_up_in_time() {
    let server = Scripted::live(|number, mut line| async move {
        if number == 0 {
            // A frame that never comes to its end.
            line.bytes(b"\x81\x7e\xff\xff").await;
            loop {
                line.bytes(b" ").await;
                tokio::time::sleep(10 * MILLI).await;
            }
        }
        line.text("{\"type\":").await;
        line.listen(LONG).await;
    })
    .await;
    let config = server.config().with_hello_timeout(300 * MILLI).build().expect("valid");
    let connector = transport_ws::AgentChatConnector::new(config).expect("made");
    for _ in 0..2 {
        let begun = Instant::now();
        let error = within(connector.connect()).await.expect_err("no word");
        assert!(error.kind() == ErrorKind::Timeout && error.is_retryable(), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        keeps_the_key(&error);
    }
}

#[tokio::test]
async fn a_server_that_says_the_key_back_does_not_make_it_print() {
    let echo =
        format!(r#"{{"code":"NO_{KEY}","message":"the key {KEY} is bad","details":{{"key":"{KEY}"}}}}"#);
    let headers = format!("content-type: application/json\r\nx-request-id: {KEY}\r\n");
    for status in ["400 Bad Request", "401 Unauthorized", "500 Internal Server Error"] {
        let (echo, headers) = (echo.clone(), headers.clone());
        let rest = Arc::new(move |_: &str, _: &str| answer(status, &headers, &echo));
        let live = |_, line: Line| -> futures_util::future::BoxFuture<'static, ()> { Box::pin(line.close()) };
        let server = Scripted::start(rest, Arc::new(live)).await;
        let error = within(server.connector().connect()).await.expect_err("refused");
        keeps_the_key(&error);
        assert!(error.to_string().contains("***"), "the rest of it is there: {error}");
        assert!(!error.context().any(|(_, value)| value.contains(KEY)), "{error:?}");
        assert!(error.request_id().is_none_or(|id| !id.contains(KEY)));
    }
}

#[tokio::test]
async fn a_close_that_says_the_key_back_does_not_make_it_print() {
    let server = Scripted::live(|_, mut line| async move {
        line.greet("[\"ack\"]").await;
        let reason = format!("bad {KEY}");
        let length = u8::try_from(reason.len() + 2).expect("short");
        line.bytes(&[&[0x88, length, 0x0f, 0xa0][..], reason.as_bytes()].concat()).await;
        line.listen(LONG).await;
    })
    .await;
    let (_bob, mut events) = attached(&server).await;
    let error = ending(&mut events).await;
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    keeps_the_key(&error);
    // The end of a socket is logged, so something is listened to.
    within(async {
        while !key_log::has_heard("ending") {
            tokio::time::sleep(5 * MILLI).await;
        }
    })
    .await;
}

/// Nothing but messages is handed out of a stream that meets all of it.
#[tokio::test]
async fn what_is_no_message_is_no_event() {
    let server = Scripted::live(|_, mut line| async move {
        line.greet("[\"ack\"]").await;
        for kind in ["message.read", "presence.update", "group.deleted", "typing.start", "error", "hello.ok"]
        {
            line.text(format!(r#"{{"type":"{kind}","payload":{{"reason":"x","handle":5}}}}"#)).await;
        }
        tokio::time::sleep(500 * MILLI).await;
        line.text(pushed("m", 1, "m")).await;
        line.listen(LONG).await;
    })
    .await;
    let (_bob, mut events) = attached(&server).await;
    let mut found: Vec<Delivery> = Vec::new();
    while found.is_empty() {
        match within(events.next()).await.expect("it goes on").expect("no error") {
            Event::Message(delivery) => found.push(delivery),
            Event::CaughtUp => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(word(&found[0]), "m");
}
