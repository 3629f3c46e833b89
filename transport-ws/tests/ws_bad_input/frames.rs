//! Frames and bytes on a socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentchat_core::{Connector, ErrorKind, Event};
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::key_log::no_key_is_told;
use crate::scripted::{Line, Scripted, pushed};
use crate::ws_support::{message, next, read, within, word};
use crate::{GRANTS, LONG, attached, keeps_the_key};

/// Pushes a message, then what is bad, then another message, and stays. Both come, whatever is granted.
async fn around<F>(bad: impl Fn(Line) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Line> + Send + 'static,
{
    for granted in GRANTS {
        let (bad, go) = (bad.clone(), Arc::new(Notify::new()));
        let wait = Arc::clone(&go);
        let server = Scripted::live(move |_, mut line| {
            let (bad, wait) = (bad.clone(), Arc::clone(&wait));
            async move {
                line.greet(granted).await;
                // Behind the backlog, or it would be a part of it.
                wait.notified().await;
                line.text(pushed("before", 1, "before")).await;
                line = bad(line).await;
                line.text(pushed("after", 2, "after")).await;
                line.listen(LONG).await;
            }
        })
        .await;
        let (_bob, mut events) = attached(&server).await;
        assert_eq!(next(&mut events).await, Event::CaughtUp, "{granted}");
        go.notify_one();
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
        let go = Arc::new(Notify::new());
        let wait = Arc::clone(&go);
        let rows = move |_, mut line: Line| {
            let wait = Arc::clone(&wait);
            async move {
                line.greet(granted).await;
                wait.notified().await;
                for row in [
                    r#"{"id":"m1","conversation_id":"conv_1","seq":"1","sender":"alice","content":{"text":"one"}}"#,
                    r#"{"id":"m2","conversation_id":"conv_1","seq":"2","sender":"alice","content":null}"#,
                    r#"{"conversation_id":"conv_1","seq":3,"sender":"alice","content":{"text":"nobody"}}"#,
                    r#"{"id":"m4","conversation_id":"conv_1","seq":3,"sender":"alice","content":{"text":"three"}}"#,
                ] {
                    line.text(format!(r#"{{"type":"message.new","payload":{row}}}"#)).await;
                }
                line.listen(LONG).await;
            }
        };
        let server = Scripted::live(rows).await;
        let (_bob, mut events) = attached(&server).await;
        assert_eq!(next(&mut events).await, Event::CaughtUp, "{granted}");
        go.notify_one();
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
        let (bad, go) = (bad.clone(), Arc::new(Notify::new()));
        let wait = Arc::clone(&go);
        let server = Scripted::live(move |number, mut line| {
            let (bad, wait) = (bad.clone(), Arc::clone(&wait));
            async move {
                line.greet(granted).await;
                wait.notified().await;
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
        let (mut found, mut begun) = (Vec::new(), Instant::now());
        let error = loop {
            match within(events.next()).await.expect("it ends with an error") {
                Ok(Event::Message(delivery)) => found.push(word(&delivery)),
                Ok(_) => {
                    go.notify_one();
                    begun = Instant::now();
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "at once, and not by a timeout");
        keeps_the_key(&error);
        let bob = within(connector.connect()).await.expect("the next one");
        let mut events = read(&bob).await;
        while found.last().is_none_or(|word| word != "second") {
            match next(&mut events).await {
                Event::Message(delivery) => found.push(word(&delivery)),
                _ => go.notify_one(),
            }
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

/// Nothing but messages is handed out of a stream that meets all of it.
#[tokio::test]
async fn what_is_no_message_is_no_event() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let frames = move |_, mut line: Line| {
        let wait = Arc::clone(&wait);
        async move {
            line.greet("[\"ack\"]").await;
            for kind in
                ["message.read", "presence.update", "group.deleted", "typing.start", "error", "hello.ok"]
            {
                line.text(format!(r#"{{"type":"{kind}","payload":{{"reason":"x","handle":5}}}}"#)).await;
            }
            wait.notified().await;
            line.text(pushed("m", 1, "m")).await;
            line.listen(LONG).await;
        }
    };
    let server = Scripted::live(frames).await;
    let (_bob, mut events) = attached(&server).await;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    go.notify_one();
    match next(&mut events).await {
        Event::Message(delivery) => assert_eq!(word(&delivery), "m"),
        other => panic!("{other:?}"),
    }
}
