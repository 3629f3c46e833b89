//! Time, limits and rules in virtual time; what the recordings show is tested against them instead.

use std::fmt::Write as _;

use serde_json::json;

use super::rig::{Rig, START_MS};
use super::{Command, Engine, EngineProfile, Outcome};

fn robustmq() -> Rig {
    let mut rig = Rig::new(EngineProfile::robustmq());
    rig.create("a");
    rig
}

fn documented() -> Rig {
    let mut rig = Rig::new(EngineProfile::documented());
    rig.create("a");
    rig
}

#[test]
fn a_delayed_message_arrives_when_due_without_its_key_and_ttl() {
    let mut rig = robustmq();
    let headers = ["mq9-delay: 5", "mq9-key: k", "mq9-ttl: 1", "mq9-tags: t", "mq9-priority: urgent"];
    assert_eq!(rig.send("a", &headers, "later"), -1);
    assert_eq!(rig.engine.next_deadline(), Some(START_MS + 5_002));
    rig.now_ms += 5_001;
    assert!(rig.all("a").is_empty());
    rig.now_ms += 1;
    let reply = rig.ask("MSG.FETCH.a", r#"{"deliver":"earliest","config":{"max_wait_ms":0}}"#);
    let row = &reply["messages"][0];
    assert_eq!((&row["priority"], &row["create_time"]), (&json!("urgent"), &json!(START_MS / 1000 + 5)));
    rig.wait_s(3_600);
    assert_eq!(rig.rows("MSG.QUERY.a", r#"{"tags":["t"]}"#), ["0:later"]);
    assert!(rig.rows("MSG.QUERY.a", r#"{"key":"k"}"#).is_empty());
}

#[test]
fn delayed_messages_take_their_ids_in_the_order_in_which_they_fall_due() {
    let mut rig = robustmq();
    for (delay, payload) in [("3", "third"), ("1", "first"), ("2", "second")] {
        rig.send("a", &[&format!("mq9-delay: {delay}")], payload);
    }
    rig.wait_s(10);
    rig.engine.tick(rig.now_ms);
    assert_eq!(rig.send("a", &[], "now"), 3);
    assert_eq!(rig.all("a"), ["0:first", "1:second", "2:third", "3:now"]);
}

#[test]
fn a_delayed_message_arrives_although_its_mailbox_has_expired() {
    let mut rig = robustmq();
    rig.ask("MAILBOX.CREATE", r#"{"name":"short","ttl":1}"#);
    rig.send("short", &["mq9-delay: 200"], "late");
    rig.wait_s(201);
    assert_eq!(rig.ask("MSG.SEND.short", "x")["error"], "mailbox short does not exist");
    assert_eq!(rig.all("short"), ["0:late"]);
}

#[test]
fn an_overlong_delay_kills_its_worker_with_what_it_held_and_every_fifth_delayed_send_after_it() {
    let mut rig = robustmq();
    for number in 0..5 {
        rig.send("a", &["mq9-delay: 60"], &number.to_string());
    }
    let reply = rig.ask_with("MSG.SEND.a", &["mq9-delay: 68719477"], "poison");
    let text = reply["error"].as_str().expect("a text");
    assert!(text.starts_with("Pop thread dropped before replying with key: unique_id="), "{text}");
    let failed: Vec<u64> =
        (6..16).filter(|_| rig.ask_with("MSG.SEND.a", &["mq9-delay: 60"], "x")["error"] != "").collect();
    assert_eq!(failed, [10, 15]);
    rig.wait_s(61);
    assert_eq!(rig.all("a")[..4], ["0:1", "1:2", "2:3", "3:4"], "the message of worker 0 died with it");
    assert_eq!(rig.send("a", &["mq9-delay: 68719476"], "the longest that is safe"), -1);
}

#[test]
fn a_ttl_counts_whole_seconds_and_includes_the_last() {
    let mut rig = robustmq();
    rig.now_ms += 900;
    rig.send("a", &["mq9-ttl: 1"], "m");
    rig.now_ms += 1_099;
    assert_eq!(rig.all("a"), ["0:m"]);
    rig.now_ms += 1;
    assert!(rig.all("a").is_empty());
    assert!(rig.rows("MSG.QUERY.a", "").is_empty());
}

#[test]
fn a_mailbox_lives_for_its_ttl_and_up_to_the_next_collection() {
    let mut rig = robustmq();
    rig.wait_s(10);
    rig.ask("MAILBOX.CREATE", r#"{"name":"short","ttl":55}"#);
    rig.ask("MAILBOX.CREATE", r#"{"name":"usual"}"#);
    assert_eq!(rig.engine.next_deadline(), Some(START_MS + 120_000));
    rig.ack("short", "g", 0);
    rig.wait_s(109);
    assert_eq!(rig.send("short", &[], "m0"), 0);
    assert_eq!(rig.send("short", &[], "m1"), 1);
    rig.wait_s(1);
    assert_eq!(rig.ask("MSG.SEND.short", "x")["error"], "mailbox short does not exist");
    assert_eq!(rig.all("short"), ["0:m0", "1:m1"], "reading goes on");
    rig.create("short");
    assert_eq!(rig.send("short", &[], "m2"), 2, "ids go on");
    assert_eq!(rig.next("short", "g"), ["1:m1", "2:m2"], "and so do groups");

    rig.now_ms = START_MS + 10_000 + 86_400_000 - 1;
    assert_eq!(rig.send("usual", &[], "x"), 0, "no ttl means a day");
    rig.wait_s(60);
    assert_eq!(rig.ask("MSG.SEND.usual", "x")["error"], "mailbox usual does not exist");
    rig.now_ms += 365 * 86_400_000;
    assert_eq!(rig.send("a", &[], "x"), 0, "a ttl of 0 means for ever");
    assert_eq!(rig.engine.next_deadline(), None);
}

#[test]
fn messages_and_idle_groups_go_after_seven_days() {
    const WEEK_S: u64 = 7 * 86_400;
    let mut rig = robustmq();
    rig.send("a", &[], "old");
    rig.ack("a", "idle", 0);
    rig.wait_s(WEEK_S / 2);
    rig.send("a", &[], "young");
    rig.ack("a", "busy", 0);
    rig.wait_s(WEEK_S / 2);
    assert_eq!(rig.all("a"), ["0:old", "1:young"]);
    rig.wait_s(600);
    assert_eq!(rig.all("a"), ["1:young"]);
    rig.send("a", &[], "new");
    rig.rows("MSG.FETCH.a", r#"{"deliver":"from_id","from_id":9,"config":{"max_wait_ms":0}}"#);
    let latest = |group: &str| format!(r#"{{"group_name":"{group}","config":{{"max_wait_ms":0}}}}"#);
    assert_eq!(rig.rows("MSG.FETCH.a", &latest("idle")), ["2:new"], "its offset is forgotten");
    assert_eq!(rig.rows("MSG.FETCH.a", &latest("busy")), ["1:young", "2:new"]);
}

#[test]
fn time_never_goes_back() {
    let mut rig = robustmq();
    rig.wait_s(100);
    rig.send("a", &["mq9-ttl: 1"], "m");
    rig.now_ms = START_MS;
    let reply = rig.ask("MSG.QUERY.a", "");
    assert_eq!(reply["messages"][0]["create_time"], START_MS / 1000 + 100);
}

#[test]
fn an_empty_fetch_is_held_back_and_one_that_would_wait_thirty_seconds_is_lost() {
    let mut rig = robustmq();
    let body = |wait: u64| format!(r#"{{"config":{{"max_wait_ms":{wait}}}}}"#).into_bytes();
    let empty = br#"{"error":"","messages":[]}"#;
    let at = |ms: u64| Outcome::ReplyAt { at_ms: START_MS + ms, body: empty[..].into() };
    assert!(rig.outcome("MSG.FETCH.a", &[], &body(0)) == Outcome::Reply(empty[..].into()));
    assert!(rig.outcome("MSG.FETCH.a", &[], b"{}") == at(500));
    assert!(rig.outcome("MSG.FETCH.a", &[], &body(29_999)) == at(29_999));
    assert!(rig.outcome("MSG.FETCH.a", &[], &body(30_000)) == Outcome::Silent);
    rig.send("a", &[], "m");
    assert!(matches!(rig.outcome("MSG.FETCH.a", &[], &body(30_000)), Outcome::Reply(_)));
}

#[test]
fn a_read_of_one_class_ends_at_thirty_mebibytes() {
    let mut rig = robustmq();
    let large = "x".repeat(8 << 20);
    for _ in 0..4 {
        rig.send("a", &[], &large);
    }
    rig.send("a", &["mq9-priority: urgent"], "u");
    let reply = rig.ask("MSG.FETCH.a", r#"{"deliver":"earliest"}"#);
    let ids: Vec<u64> =
        reply["messages"].as_array().expect("rows").iter().filter_map(|row| row["msg_id"].as_u64()).collect();
    assert_eq!(ids, [4, 0, 1, 2]);
}

#[test]
fn forcing_a_group_on_an_empty_mailbox_skips_the_first_message_to_come() {
    let mut rig = robustmq();
    rig.create("b");
    rig.ack("b", "g", 0);
    let body = r#"{"group_name":"g","deliver":"earliest","force_deliver":true,"config":{"max_wait_ms":0}}"#;
    assert!(rig.rows("MSG.FETCH.a", body).is_empty());
    rig.send("a", &[], "m0");
    rig.send("a", &[], "m1");
    assert_eq!(rig.next("a", "g"), ["1:m1"]);
}

#[test]
fn plain_publishes_under_names_that_are_no_mailboxes_are_bounded() {
    let mut rig = robustmq();
    let plain = |rig: &mut Rig, subject: &str, payload: &[u8]| {
        let command = Command { subject, header: None, payload };
        assert!(rig.engine.handle(rig.now_ms, command) == Outcome::NotMq9);
    };
    plain(&mut rig, "_INBOX.x", b"no name");
    assert_eq!(rig.engine.topics.len(), 1);
    for _ in 0..20 {
        plain(&mut rig, "loose", &vec![b'x'; 1 << 20]);
    }
    assert_eq!(rig.rows("MSG.QUERY.loose", "").len(), 15, "16 MiB, less what a record costs");
    rig.create("loose");
    for number in 0..2_000 {
        plain(&mut rig, &format!("loose.{number}"), b"x");
    }
    assert_eq!(rig.engine.topics.len(), 2 + 1_024);
    plain(&mut rig, "a", b"into a mailbox");
    assert_eq!(rig.rows("MSG.QUERY.a", ""), ["0:into a mailbox"]);
    assert!(rig.all("a").is_empty());
}

#[test]
fn debug_shows_no_address_and_no_payload() {
    let mut rig = robustmq();
    rig.create("secret.address");
    rig.send("secret.address", &[], "secret payload");
    let command = Command { subject: "$mq9.AI.MSG.SEND.secret.address", header: None, payload: b"secret" };
    let plain = Command { subject: "secret.address", header: None, payload: b"secret" };
    let old = Command { subject: "$mq9.AI.MAILBOX.secret.address", ..plain };
    let mut shown = format!("{:?} {command:?} {plain:?} {old:?}", rig.engine);
    let lost = rig.outcome("MSG.SEND.secret.lost", &[], b"");
    write!(shown, "{:?} {lost:?}", rig.outcome("MSG.QUERY.secret.address", &[], b"")).expect("a String");
    write!(shown, "{:?}", rig.outcome("SECRET.secret.address", &[], b"")).expect("a String");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("MSG.SEND"), "{shown}");
}

#[test]
fn semantic_goes_before_text_and_only_strict_cards_are_found() {
    let mut rig = Rig::new(EngineProfile::robustmq_with_search());
    for body in [
        r#"{"name":"coder","description":"writes Python programs"}"#,
        r#"{"name":"poet","description":"writes poems"}"#,
        r#"{"name":"free","payload":"writes Python programs"}"#,
        r#"{"name":"boxed","payload":"{\"name\":\"x\",\"description\":\"Python\",\"mailbox\":\"m\"}"}"#,
    ] {
        assert_eq!(rig.ask("AGENT.REGISTER", body)["error"], "");
    }
    let reply = rig.ask("AGENT.DISCOVER", r#"{"text":"poems","semantic":"Python"}"#);
    let card = r#"{"name":"coder","description":"writes Python programs"}"#;
    let found = json!([{
        "agent_id": "coder", "name": "coder", "description": "writes Python programs", "agent_info": card,
    }]);
    assert_eq!(reply["agents"], found);
    let names = |rig: &mut Rig, body: &str| -> Vec<String> {
        let reply = rig.ask("AGENT.DISCOVER", body);
        let agents = reply["agents"].as_array().expect("a list");
        agents.iter().map(|agent| agent["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&mut rig, r#"{"text":"writes","limit":1,"page":2}"#), ["poet"]);
    assert!(names(&mut rig, r#"{"text":"writes","page":4294967295,"limit":4294967295}"#).is_empty());
    assert_eq!(
        names(&mut rig, r#"{"limit":1}"#),
        ["boxed", "coder", "free", "poet"],
        "a list knows no pages"
    );
}

#[test]
fn the_document_limits_names_and_shows_an_empty_address() {
    let mut rig = documented();
    for name in ["a..b", &"n".repeat(129)] {
        let reply = rig.ask("MAILBOX.CREATE", &format!(r#"{{"name":"{name}"}}"#));
        assert_eq!(reply["mail_address"], "");
        assert_ne!(reply["error"], "");
    }
    let reply = rig.ask("MAILBOX.CREATE", r#"{"name":"a"}"#);
    assert_eq!(reply, json!({"error": "mailbox a already exists", "mail_address": ""}));
}

#[test]
fn the_document_has_one_text_for_a_missing_mailbox() {
    let mut rig = documented();
    let ack = r#"{"group_name":"g","mail_address":"no.such","msg_id":1}"#;
    let commands = [
        ("MSG.SEND.no.such", ""),
        ("MSG.FETCH.no.such", "{}"),
        ("MSG.QUERY.no.such", ""),
        ("MSG.ACK.no.such", ack),
        ("MSG.DELETE.no.such.1", ""),
    ];
    for (command, body) in commands {
        assert_eq!(rig.ask(command, body), json!({"error": "mailbox no.such does not exist"}), "{command}");
    }
    assert_eq!(rig.ask("MSG.DELETE.a.7", ""), json!({"error": "message not found"}));
}

#[test]
fn the_document_bounds_a_whole_fetch_and_reads_new_messages_only_by_default() {
    let mut rig = documented();
    for priority in ["critical", "urgent", "normal", "normal"] {
        rig.send("a", &[&format!("mq9-priority: {priority}")], priority);
    }
    let body = r#"{"deliver":"earliest","config":{"num_msgs":3,"max_wait_ms":0}}"#;
    assert_eq!(rig.rows("MSG.FETCH.a", body), ["0:critical", "1:urgent", "2:normal"]);
    let latest = r#"{"group_name":"g","config":{"max_wait_ms":0}}"#;
    assert!(rig.rows("MSG.FETCH.a", latest).is_empty());
    rig.send("a", &[], "new");
    assert_eq!(rig.rows("MSG.FETCH.a", latest), ["4:new"]);
    rig.ack("a", "g", 4);
    rig.ack("a", "g", 1);
    assert!(rig.rows("MSG.FETCH.a", latest).is_empty(), "an ACK never rewinds");
    let past = r#"{"deliver":"from_id","from_id":5,"config":{"max_wait_ms":0}}"#;
    assert!(rig.rows("MSG.FETCH.a", past).is_empty());
}

#[test]
fn the_document_queries_the_most_recent_since_a_time() {
    let mut rig = documented();
    for number in 0..4 {
        rig.send("a", &[], &number.to_string());
        rig.wait_s(1);
    }
    assert_eq!(rig.rows("MSG.QUERY.a", r#"{"limit":2}"#), ["2:2", "3:3"]);
    let since = format!(r#"{{"since":{}}}"#, START_MS / 1000 + 1);
    assert_eq!(rig.rows("MSG.QUERY.a", &since), ["1:1", "2:2", "3:3"]);
}

#[test]
fn the_document_cleans_up_with_the_mailbox() {
    let mut rig = documented();
    rig.ask("MAILBOX.CREATE", r#"{"name":"short","ttl":1}"#);
    rig.send("short", &[], "old");
    rig.ack("short", "g", 0);
    rig.wait_s(60);
    assert_eq!(rig.ask("MSG.QUERY.short", "")["error"], "mailbox short does not exist");
    rig.create("short");
    assert_eq!(rig.send("short", &[], "new"), 0);
    assert_eq!(rig.next("short", "g"), ["0:new"]);
}

#[test]
fn the_document_keeps_agents_by_mailbox_and_returns_them_as_they_came() {
    let mut rig = documented();
    let first = r#"{"z":1,"mailbox":"mq9://b/x","name":"n","skills":["first"]}"#;
    let second = r#"{"mailbox":"mq9://b/x","name":"n","skills":[{"name":"second"}]}"#;
    for body in [first, second, r#"{"mailbox":"mq9://b/y"}"#] {
        assert_eq!(rig.ask("AGENT.REGISTER", body)["error"], "");
    }
    let Outcome::Reply(list) = rig.outcome("AGENT.DISCOVER", &[], b"") else { panic!("a list") };
    let expected = format!(r#"{{"error":"","agents":[{{"mailbox":"mq9://b/y"}},{second}]}}"#);
    assert_eq!(list, expected.as_bytes());
    let found = rig.ask("AGENT.DISCOVER", r#"{"semantic":"second"}"#);
    assert_eq!(found["agents"][0]["mailbox"], "mq9://b/x");
    assert_eq!(rig.ask("AGENT.REPORT", r#"{"mailbox":"mq9://b/x","status":"ok"}"#)["error"], "");
    rig.ask("AGENT.UNREGISTER", r#"{"mailbox":"mq9://b/x"}"#);
    assert_eq!(rig.ask("AGENT.DISCOVER", "")["agents"], json!([{"mailbox": "mq9://b/y"}]));
    assert_ne!(rig.ask("AGENT.REGISTER", r#"{"skills":[]}"#)["error"], "");
}

#[test]
fn generated_names_are_new_ones() {
    let mut engine = Engine::new(EngineProfile::default());
    let mut names = std::collections::HashSet::new();
    for _ in 0..100 {
        let command = Command { subject: "$mq9.AI.MAILBOX.CREATE", header: None, payload: b"" };
        let Outcome::Reply(body) = engine.handle(START_MS, command) else { panic!("a reply") };
        assert!(names.insert(body));
    }
}
