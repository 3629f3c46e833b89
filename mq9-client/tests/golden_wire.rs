//! The recordings of RobustMQ's connection layer, replayed over TCP against the double.

#![cfg(feature = "test-broker")]

mod raw;

use std::path::Path;

use mq9_client::testing::{Broker, WireProfile};
use raw::{CONNECT, Heard, QUIET, Raw, errors, messages};
use serde_json::{Value, json};

/// The cases of a recording, without its `_meta` line.
fn recording(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/p1").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    cases.into_iter().filter(|case| case["case"] != "_meta").collect()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} is text in {case}"))
}

async fn robustmq() -> Broker {
    Broker::builder().wire(WireProfile::RobustMq).start().await.unwrap()
}

/// `reply` without what depends on the time of day.
fn timeless(mut reply: Value) -> Value {
    for message in reply["messages"].as_array_mut().into_iter().flatten() {
        message.as_object_mut().unwrap().remove("create_time");
    }
    reply
}

/// Sends the recorded request and compares the reply.
async fn replay(raw: &mut Raw, case: &Value) {
    let reply = raw.request(text(case, "subject"), text(case, "request")).await;
    let expected: Value = serde_json::from_str(text(case, "reply")).unwrap();
    assert_eq!(timeless(reply.json()), timeless(expected), "{case}");
    assert_eq!((reply.sid.as_str(), reply.header), (text(case, "reply_sid"), None), "{case}");
}

#[tokio::test]
async fn info_is_as_recorded_and_a_ping_follows_at_once() {
    let broker = robustmq().await;
    let mut raw = Raw::open(broker.port()).await;
    let Heard::Line(line) = raw.hear().await else { panic!("no INFO") };
    let mut info: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!(raw.hear().await, Heard::Line("PING".into()));

    let mut recorded = recording("connect.jsonl").remove(0)["info"].take();
    assert_eq!(info["nonce"].as_str().map(str::len), recorded["nonce"].as_str().map(str::len));
    assert_eq!(info["port"], broker.port());
    assert_eq!(info["connect_urls"], json!([format!("127.0.0.1:{}", broker.port())]));
    assert!(info["client_id"].is_u64());
    for unequal in ["nonce", "port", "connect_urls", "client_id"] {
        info[unequal].take();
        recorded[unequal].take();
    }
    assert_eq!(info, recorded);
}

#[tokio::test]
async fn every_connect_variant_ends_as_recorded() {
    let broker = robustmq().await;
    let cases = recording("connect.jsonl");
    let variants: Vec<&Value> = cases.iter().filter(|case| case["connect"].is_object()).collect();
    assert_eq!(variants.len(), 13);
    for case in variants {
        let result: Value = serde_json::from_str(text(case, "result")).unwrap();
        let mut raw = Raw::open(broker.port()).await;
        raw.say(format!("CONNECT {}\r\nPING\r\nSUB _INBOX.raw.* 0\r\n", case["connect"])).await;
        raw.ask("$mq9.AI.MAILBOX.CREATE", json!({ "name": result["mail_address"] }).to_string().as_bytes())
            .await;
        let mut heard = Vec::new();
        let reply = loop {
            match raw.hear_within(QUIET).await {
                Some(Heard::Message(message)) => break message,
                Some(other) => heard.push(other),
                // Behind a line it threw away the broker looks no further before more bytes come.
                None => raw.say("\r\n").await,
            }
        };
        assert_eq!(reply.json(), result, "{case}");
        let count = |wanted: &str| heard.iter().filter(|h| **h == Heard::Line(wanted.into())).count();
        assert_eq!(json!(count("PONG")), case["pongs"], "{case}");
        assert_eq!(count("+OK"), case["extra"].as_array().unwrap().len(), "{case}");
        assert_eq!(json!(errors(&heard)), case["server_err"], "{case}");
        assert_eq!(raw.fence().await, [], "still open: {case}");
    }
}

#[tokio::test]
async fn raw_bytes_are_answered_as_recorded() {
    let broker = robustmq().await;
    let cases = recording("connect.jsonl");
    let raws: Vec<&Value> = cases.iter().filter(|case| case["sent"].is_string()).collect();
    assert_eq!(raws.len(), 7);
    for case in raws {
        let mut raw = Raw::open(broker.port()).await;
        raw.say(text(case, "sent")).await;
        let (_, expected) = text(case, "got").split_once("}\r\n").unwrap();
        let got = raw.bytes(|bytes| bytes.ends_with(format!("}}\r\n{expected}").as_bytes())).await;
        let got = String::from_utf8(got).unwrap();
        assert_eq!(got.split_once("}\r\n").unwrap().1, expected, "{case}");
    }
}

#[tokio::test]
async fn a_request_without_any_connect_is_answered() {
    let broker = robustmq().await;
    let mut raw = Raw::open(broker.port()).await;
    raw.publish("$mq9.AI.MAILBOX.CREATE", Some("_INBOX.zz.1"), b"{}").await;
    let reply = messages(raw.fence().await).remove(0);
    assert_eq!((reply.subject.as_str(), reply.sid.as_str(), reply.body.len()), ("_INBOX.zz.1", "0", 50));
    assert_eq!(reply.json()["error"], "");
}

#[tokio::test]
async fn replies_find_their_inbox_as_recorded() {
    let broker = robustmq().await;
    let mut setup = Raw::connect(broker.port()).await;
    let mut seen = 0;
    for case in recording("inbox_reply.jsonl") {
        match text(&case, "case") {
            "setup" => replay(&mut setup, &case).await,
            "send_without_reply_to" => {
                setup.publish("$mq9.AI.MSG.SEND.inbox.r1.14", None, b"fire-and-forget").await;
                replay(&mut setup, &case).await;
            }
            "send_without_reply_to_bad_mailbox" => {
                setup.publish("$mq9.AI.MSG.SEND.no.such.box", None, b"x").await;
                assert_eq!(setup.fence().await, []);
            }
            "cross_connection_unsub_same_sid" => {
                let (mut a, mut b) = (Raw::connect(broker.port()).await, Raw::connect(broker.port()).await);
                a.say("SUB _INBOX.gg 33\r\n").await;
                a.fence().await;
                b.say("SUB _INBOX.hh 33\r\nUNSUB 33\r\n").await;
                b.fence().await;
                a.publish("$mq9.AI.MSG.QUERY.inbox.r1.14", Some("_INBOX.gg"), b"{}").await;
                let replies = messages(a.fence().await);
                let got: Vec<String> = replies.iter().map(|r| format!("unmatched sid {}", r.sid)).collect();
                assert_eq!(json!(got), case["got"]);
            }
            name => {
                let mut raw = Raw::open(broker.port()).await;
                raw.say(CONNECT).await;
                for sub in case["subs"].as_array().unwrap() {
                    raw.say(format!("SUB {} {}\r\n", sub[0].as_str().unwrap(), sub[1].as_str().unwrap()))
                        .await;
                }
                if name == "old_style_unsub_max1" {
                    raw.say("UNSUB 9 1\r\n").await;
                }
                raw.fence().await;
                let reply_to = text(&case, "reply_to");
                raw.publish("$mq9.AI.MSG.QUERY.inbox.r1.14", Some(reply_to), b"{}").await;
                let heard = raw.fence().await;
                assert_eq!(errors(&heard), [""; 0], "{case}");
                let got: Vec<(String, String)> =
                    messages(heard).into_iter().map(|message| (message.subject, message.sid)).collect();
                let recorded = case["got"].as_array().unwrap().iter();
                let recorded: Vec<(String, String)> = recorded
                    .map(|got| (text(got, "subject").to_owned(), text(got, "sid").to_owned()))
                    .collect();
                assert_eq!(got, recorded, "{case}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8);
}

#[tokio::test]
async fn subjects_nobody_knows_are_answered_as_recorded() {
    let broker = robustmq().await;
    let mut raw = Raw::connect(broker.port()).await;
    let mut unknown = 0;
    for case in recording("errors.jsonl") {
        if case["case"] == "still_alive" {
            replay(&mut raw, &case).await;
            continue;
        }
        raw.ask(text(&case, "subject"), text(&case, "request").as_bytes()).await;
        let heard = raw.fence().await;
        let expected = case.get("server_err").cloned().unwrap_or(json!([]));
        assert_eq!(json!(errors(&heard)), expected, "{case}");
        assert_eq!(messages(heard), [], "{case}");
        unknown += 1;
    }
    assert!(unknown > 10);
}

#[tokio::test]
async fn credentials_are_handled_as_recorded() {
    let broker = Broker::builder().wire(WireProfile::RobustMq).credentials("admin", "robustmq");
    let broker = broker.start().await.unwrap();
    for case in recording("auth_required.jsonl") {
        let mut connect = json!({
            "verbose": false, "pedantic": false, "tls_required": false,
            "name": "rec", "lang": "py", "version": "0",
        });
        if case["case"] == "good_credentials_but_connect_without_name" {
            connect = json!({
                "verbose": false, "pedantic": false, "tls_required": false, "lang": "py", "version": "0",
                "user": "admin", "pass": "robustmq",
            });
        }
        for (field, value) in case["connect"].as_object().into_iter().flatten() {
            connect[field] = value.clone();
        }
        let mut raw = Raw::open(broker.port()).await;
        let Heard::Line(info) = raw.hear().await else { panic!("no INFO") };
        assert!(info.contains("\"auth_required\":true"), "{info}");
        assert_eq!(raw.hear().await, Heard::Line("PING".into()));

        raw.say(format!("CONNECT {connect}\r\n")).await;
        let mut errs = errors(&raw.fence().await);
        if let Some(recorded) = case.get("errs_after_connect") {
            assert_eq!(&json!(errs), recorded, "{case}");
        }
        raw.say("SUB _INBOX.raw.* 0\r\n").await;
        raw.ask("$mq9.AI.AGENT.DISCOVER", b"{}").await;
        let heard = raw.fence().await;
        errs.extend(errors(&heard));
        assert_eq!(json!(errs), case["errs"], "{case}");
        let result =
            messages(heard).pop().map_or("TimeoutError()".to_owned(), |reply| reply.json().to_string());
        match serde_json::from_str::<Value>(text(&case, "result")) {
            Ok(expected) => assert_eq!(result, expected.to_string(), "{case}"),
            Err(_) => assert_eq!(result, text(&case, "result"), "{case}"),
        }
    }
}

#[tokio::test]
async fn a_payload_over_8_mib_ends_all_understanding_as_recorded() {
    let broker = robustmq().await;
    let mut other = Raw::connect(broker.port()).await;
    let mut raw = Raw::connect(broker.port()).await;
    for case in recording("oversize_desync.jsonl") {
        match text(&case, "case") {
            "setup" | "query_after" => replay(&mut other, &case).await,
            "send_over_8MiB_with_embedded_PUB" => {
                let mut payload = b"x\r\nPUB $mq9.AI.MSG.SEND.inj.r4.5 1\r\ny\r\n".to_vec();
                payload.resize(8_388_663, b'x');
                raw.ask(text(&case, "subject"), &payload).await;
            }
            "same_connection_after_oversize" => {
                raw.ask(text(&case, "subject"), b"{}").await;
                assert_eq!(raw.hear_within(QUIET).await, None, "neither reply, error nor end");
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn payloads_up_to_8_mib_are_taken_whatever_info_says() {
    let broker = robustmq().await;
    let mut raw = Raw::connect(broker.port()).await;
    raw.request("$mq9.AI.MAILBOX.CREATE", r#"{"name":"big.r2.2","ttl":0}"#).await;
    for (id, size) in [1_048_577, 8_388_608].into_iter().enumerate() {
        let reply = raw.request("$mq9.AI.MSG.SEND.big.r2.2", &"x".repeat(size)).await;
        assert_eq!(reply.json(), json!({ "error": "", "msg_id": id }), "{size}");
    }
}

#[tokio::test]
async fn plain_nats_and_mailboxes_meet_as_recorded() {
    let broker = robustmq().await;
    let mut raw = Raw::connect(broker.port()).await;
    let mut spy = Raw::connect(broker.port()).await;
    for case in recording("core_nats.jsonl") {
        match text(&case, "case") {
            "core_pubsub" => {
                spy.say("SUB core.x 41\r\n").await;
                spy.fence().await;
                raw.say("HPUB core.x 20 25\r\nNATS/1.0\r\nh1: v1\r\n\r\nhello\r\n").await;
                raw.fence().await;
                let got = messages(spy.fence().await).remove(0);
                let header = got.header.clone().unwrap();
                let data = String::from_utf8(got.body).unwrap();
                let got = json!([{"subject": got.subject, "sid": got.sid, "data": data, "headers": header}]);
                assert_eq!(got, case["got"]);
            }
            "sub_to_mq9_subject" => {
                spy.say("SUB $mq9.AI.MSG.SEND.* 42\r\nSUB $mq9.AI.> 43\r\n").await;
                spy.fence().await;
                raw.request("$mq9.AI.MSG.SEND.spy.r3.6", "spy?").await;
                assert_eq!(json!(spy.fence().await.len()), case["got"]);
            }
            "sub_to_mailbox_name" => {
                spy.say("SUB spy.r3.6 44\r\n").await;
                spy.fence().await;
                raw.request("$mq9.AI.MSG.SEND.spy.r3.6", "spy2").await;
                assert_eq!(spy.fence().await, []);
            }
            "pub_to_mailbox_name_then_query" => {
                raw.publish("spy.r3.6", None, b"injected-by-core-pub").await;
                replay(&mut raw, &case).await;
            }
            _ => replay(&mut raw, &case).await,
        }
    }
}

#[tokio::test]
async fn a_plain_publish_before_create_stays_in_the_mailbox_as_recorded() {
    let broker = robustmq().await;
    let mut raw = Raw::connect(broker.port()).await;
    raw.publish("corefirst.r4.6", None, b"core-before-create").await;
    for case in recording("core_topic_first.jsonl").iter().filter(|case| case["subject"].is_string()) {
        replay(&mut raw, case).await;
    }
}
