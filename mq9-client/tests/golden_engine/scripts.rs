//! What the recordings tell only in summaries, done again.

use mq9_client::testing::Outcome;
use serde_json::{Value, json};

use crate::Replayer;
use crate::recording::Line;

const EARLIEST: &str = r#"{"deliver":"earliest","config":{"num_msgs":5000,"max_wait_ms":0}}"#;

/// Does what happened before an exchange without having a line of its own.
pub(crate) fn before(replayer: &mut Replayer, line: &Line) {
    let first = replayer.now_ms == 0;
    let at_ms = line.at_ms();
    match (replayer.file.as_str(), line.case.as_str()) {
        // The collector had run 27 s before the mailbox was made.
        ("mailbox_ttl_expiry", _) if first => replayer.engine.tick(at_ms - 27_000),
        // The agent named "" was left over from an earlier recording.
        ("agent_discover_shape", _) if first => {
            replayer.now_ms = at_ms;
            replayer.ask("AGENT.REGISTER", "{}");
        }
        // An earlier recording had killed one delay worker, and the turn stood three before the next death.
        ("delay_poison", _) if first => {
            replayer.now_ms = at_ms;
            replayer.ask("MAILBOX.CREATE", r#"{"name":"earlier"}"#);
            for delay in ["99999999999", "300", "300"] {
                replayer.publish("$mq9.AI.MSG.SEND.earlier", Some(&delayed(delay)), b"x");
            }
        }
        ("core_topic_first", _) if first => {
            replayer.now_ms = at_ms - 1_000;
            assert_eq!(replayer.publish("corefirst.r4.6", None, b"core-before-create"), Outcome::NotMq9);
        }
        ("core_nats", "pub_to_mailbox_name_then_query") => {
            for (earlier_ms, subject, payload) in [
                (4_000, "$mq9.AI.MSG.SEND.spy.r3.6", "spy?"),
                (2_000, "$mq9.AI.MSG.SEND.spy.r3.6", "spy2"),
                (1_000, "spy.r3.6", "injected-by-core-pub"),
            ] {
                replayer.now_ms = at_ms - earlier_ms;
                replayer.publish(subject, None, payload.as_bytes());
            }
        }
        ("query", "query_cap") => {
            for number in 0..120 {
                send(replayer, &format!("bulk{number}"));
            }
        }
        ("fetch_long_poll", "send_during_wait") => {
            replayer.now_ms = at_ms - 500;
            let body = br#"{"deliver":"earliest","config":{"max_wait_ms":3000}}"#;
            replayer.kept = Some(replayer.publish("$mq9.AI.MSG.FETCH.lp.r3.1", None, body));
        }
        _ => {}
    }
}

/// Does again what a summary tells, and compares.
pub(crate) fn summary(replayer: &mut Replayer, line: &Line) {
    let told = &line.value;
    match (replayer.file.as_str(), line.case.as_str()) {
        ("send", case) => raw_header(replayer, line, case.strip_prefix("rawhdr_").expect("a raw header")),
        ("query", "query_cap_count") => {
            let reply = ask(replayer, "MSG.QUERY", r#"{"limit":1000}"#);
            assert_eq!(json!(ids(&reply).len()), told["n"]);
        }
        ("query", "since_neighbour_check") => {
            fresh_mailboxes(replayer, "leak", 21);
            let reply = ask(replayer, "MSG.QUERY", r#"{"since":0}"#);
            assert_eq!((json!(ids(&reply).len()), &reply["error"]), (told["n"].clone(), &told["error"]));
        }
        ("query", "tags_empty_neighbour_check") => {
            assert_eq!(json!(ids(&ask(replayer, "MSG.QUERY", r#"{"tags":[]}"#)).len()), told["n"]);
        }
        ("query", "query_plain_neighbour_check") => {
            assert_eq!(
                ids(&ask(replayer, "MSG.QUERY", "{}")).len(),
                told["payloads"].as_array().expect("a list").len()
            );
        }
        ("delete", "delete_cross_mailbox") => {
            let names = fresh_mailboxes(replayer, "xdel", 21);
            for _ in &names {
                replayer.ask(&format!("MSG.DELETE.{}.0", names[0]), "");
            }
            let left = |name: &String| ids(&replayer.ask(&format!("MSG.QUERY.{name}"), "")) == [0];
            let victims = names[1..].iter().map(left).filter(|left| !left).count();
            assert_eq!(victims, told["victims"].as_array().expect("a list").len());
        }
        ("mailbox_ttl_expiry", "send_until_expired") => probe_until_expired(replayer, told),
        ("concurrent_consumers", "four_consumers_same_group_concurrent_fetch") => {
            let body = r#"{"group_name":"g","deliver":"earliest","config":{"num_msgs":5,"max_wait_ms":0}}"#;
            let got: Vec<Vec<u64>> = (0..4).map(|_| ids(&ask(replayer, "MSG.FETCH", body))).collect();
            assert_eq!(json!(got), told["ids"]);
        }
        ("group_scope", case) => group_scope(replayer, case, told),
        ("delay_poison", "delayed_sends_after_poison") => delayed_sends(replayer, told),
        ("delay_poison", "delivered_after_poison") => {
            replayer.now_ms += 2_000;
            assert_eq!(json!(ids(&ask(replayer, "MSG.FETCH", EARLIEST)).len()), told["n"]);
        }
        ("fetch_long_poll", "wait_result") => {
            let Some(Outcome::ReplyAt { at_ms, body }) = replayer.kept.take() else { panic!("it must wait") };
            assert_eq!(std::str::from_utf8(&body).ok(), told["reply"].as_str());
            let send_at_ms = 1_795_290_606_786;
            assert_eq!(at_ms, send_at_ms - 500 + 3_000);
        }
        ("spot_checks", "fetch_stateless_plus_delete_as_work_queue") => {
            replayer.mailbox = "work.r20.5".into();
            let mut order = Vec::new();
            let one = r#"{"deliver":"earliest","config":{"num_msgs":1,"max_wait_ms":0}}"#;
            while let Some(row) = ask(replayer, "MSG.FETCH", one)["messages"].get(0) {
                order.push(json!([row["msg_id"], row["payload"]]));
                replayer.ask(&format!("MSG.DELETE.work.r20.5.{}", row["msg_id"]), "");
            }
            assert_eq!(json!(order), told["order"]);
        }
        ("spot_checks", "pipelined_send_then_fetch") => {
            let sent: Vec<Value> = (0..5).map(|_| send(replayer, "x")["msg_id"].clone()).collect();
            assert_eq!(json!(sent), told["ids"]);
            assert_eq!(json!(ids(&ask(replayer, "MSG.FETCH", EARLIEST))), told["fetched"]);
        }
        ("send_payload_size", "fetch_big_sizes") => {
            let reply = ask(replayer, "MSG.FETCH", EARLIEST);
            let rows = reply["messages"].as_array().expect("a list").iter();
            let size = |row: &Value| json!([row["msg_id"], row["payload"].as_str().expect("a text").len()]);
            let sizes: Vec<Value> = rows.map(size).collect();
            assert_eq!(json!(sizes), told["sizes"]);
        }
        ("volume_1000", case) => volume(replayer, case, told),
        (file, case) => panic!("{file} / {case}: no script"),
    }
}

fn raw_header(replayer: &mut Replayer, line: &Line, name: &str) {
    let subject = format!("$mq9.AI.MSG.SEND.{}", replayer.mailbox);
    let block = line.header().expect("a raw header");
    let outcome = replayer.publish(&subject, Some(&block), format!("raw-{name}").as_bytes());
    let reply = line.reply.clone().expect("a reply");
    assert!(outcome == Outcome::Reply(reply.clone().into()), "{name}: not {reply}");
}

fn probe_until_expired(replayer: &mut Replayer, told: &Value) {
    let created_ms = 1_795_290_820_177;
    let last_success = &told["last_success_s"];
    let mut last = 0;
    loop {
        let late = replayer.now_ms - created_ms;
        let reply = replayer.ask("MSG.SEND.mttl.r5.1", "probe");
        if reply["error"] != "" {
            assert_eq!(reply["error"], told["failed_at_s"][1]);
            assert!((34_050..34_150).contains(&late), "failed after {late} ms");
            break;
        }
        last = reply["msg_id"].as_u64().expect("an id");
        replayer.now_ms += 2_000;
    }
    assert_eq!(json!(last), last_success[1]);
}

fn group_scope(replayer: &mut Replayer, case: &str, told: &Value) {
    let body = |group: &str, deliver: &str| {
        json!({"group_name": group, "deliver": deliver, "config": {"max_wait_ms": 0}}).to_string()
    };
    match case {
        "setup_24_mailboxes" => {
            replayer.now_ms = 1;
            for name in told["mailboxes"].as_array().expect("a list") {
                replayer.ask("MAILBOX.CREATE", &json!({"name": name, "ttl": 0}).to_string());
            }
        }
        "first_msg_ids" => {
            for (name, id) in told["ids"].as_object().expect("an object") {
                assert_eq!(replayer.ask(&format!("MSG.SEND.{name}"), "m")["msg_id"], *id);
            }
        }
        "one_group_name_many_mailboxes" => {
            for row in told["rows"].as_array().expect("a list") {
                let name = row[0].as_str().expect("a name");
                let reply = replayer.ask(&format!("MSG.FETCH.{name}"), &body("shared", "earliest"));
                assert_eq!(json!(ids(&reply)), row[2], "{name}");
                let ack = json!({"group_name": "shared", "mail_address": name, "msg_id": row[1]});
                replayer.ask(&format!("MSG.ACK.{name}"), &ack.to_string());
            }
        }
        "group_latest_on_other_mailboxes" => {
            for row in told["rows"].as_array().expect("a list") {
                let command = format!("MSG.FETCH.{}", row[0].as_str().expect("a name"));
                assert_eq!(json!(ids(&replayer.ask(&command, &body("late", "latest")))), row[1]);
            }
        }
        _ => panic!("group_scope / {case}: no script"),
    }
}

fn delayed_sends(replayer: &mut Replayer, told: &Value) {
    let subject = format!("$mq9.AI.MSG.SEND.{}", replayer.mailbox);
    let mut failures = serde_json::Map::new();
    let mut ok = 0;
    for _ in 0..250 {
        let Outcome::Reply(body) = replayer.publish(&subject, Some(&delayed("1")), b"x") else {
            panic!("a SEND is answered")
        };
        let reply: Value = serde_json::from_slice(&body).expect("JSON");
        match reply["error"].as_str().expect("a text") {
            "" => ok += 1,
            text => {
                let count = failures.entry(text).or_insert(json!(0));
                *count = json!(count.as_u64().expect("a count") + 1);
            }
        }
    }
    assert_eq!((json!(ok), &Value::Object(failures)), (told["ok"].clone(), &told["errors"]));
}

fn volume(replayer: &mut Replayer, case: &str, told: &Value) {
    let fetch = |count: &str| format!(r#"{{"deliver":"earliest","config":{{{count}"max_wait_ms":0}}}}"#);
    match case {
        "send_1000_pipelined" => {
            let sent: Vec<u64> = (0..1000)
                .map(|number| send(replayer, &number.to_string())["msg_id"].as_u64().expect("an id"))
                .collect();
            assert_eq!(
                json!([sent[0], sent[999], distinct(&sent)]),
                json!([told["first"], told["last"], told["distinct"]])
            );
            assert_eq!(json!(sent.is_sorted_by(|a, b| a < b)), told["strictly_increasing"]);
        }
        "fetch_1000_at_once" => {
            let got = ids(&ask(replayer, "MSG.FETCH", &fetch(r#""num_msgs":1000,"#)));
            assert_eq!(json!([got.len(), distinct(&got)]), json!([told["n"], told["distinct_ids"]]));
            assert_eq!(json!(got.is_sorted_by(|a, b| a < b)), told["fifo"]);
        }
        "fetch_default_count" => {
            assert_eq!(json!(ids(&ask(replayer, "MSG.FETCH", &fetch(""))).len()), told["n"]);
        }
        "fetch_u32_large" => {
            let reply = ask(replayer, "MSG.FETCH", &fetch(r#""num_msgs":4000000000,"#));
            assert_eq!(json!(ids(&reply).len()), told["n"]);
        }
        "drain_pages_of_100_with_ack" => {
            let mut pages = Vec::new();
            loop {
                let body =
                    r#"{"group_name":"d","deliver":"earliest","config":{"num_msgs":100,"max_wait_ms":0}}"#;
                let page = ids(&ask(replayer, "MSG.FETCH", body));
                let Some(last) = page.last() else { break };
                let ack = json!({"group_name": "d", "mail_address": replayer.mailbox, "msg_id": last});
                ask(replayer, "MSG.ACK", &ack.to_string());
                pages.push(page.len());
            }
            assert_eq!(json!(pages), told["pages"]);
        }
        _ => panic!("volume_1000 / {case}: no script"),
    }
}

/// Mailboxes with one message each; the first becomes the one at hand.
fn fresh_mailboxes(replayer: &mut Replayer, prefix: &str, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("{prefix}.{number}")).collect();
    for name in &names {
        replayer.ask("MAILBOX.CREATE", &json!({"name": name, "ttl": 0}).to_string());
        replayer.ask(&format!("MSG.SEND.{name}"), "m");
    }
    replayer.mailbox.clone_from(&names[0]);
    names
}

/// A command on the mailbox at hand.
fn ask(replayer: &mut Replayer, command: &str, body: &str) -> Value {
    let command = format!("{command}.{}", replayer.mailbox);
    replayer.ask(&command, body)
}

fn send(replayer: &mut Replayer, payload: &str) -> Value {
    ask(replayer, "MSG.SEND", payload)
}

fn delayed(seconds: &str) -> Vec<u8> {
    format!("NATS/1.0\r\nmq9-delay: {seconds}\r\n\r\n").into_bytes()
}

fn ids(reply: &Value) -> Vec<u64> {
    let rows = reply["messages"].as_array().unwrap_or_else(|| panic!("no messages in {reply}"));
    rows.iter().map(|row| row["msg_id"].as_u64().expect("an id")).collect()
}

fn distinct(ids: &[u64]) -> usize {
    ids.iter().collect::<std::collections::BTreeSet<_>>().len()
}
