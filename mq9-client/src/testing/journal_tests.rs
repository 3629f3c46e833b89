//! What survives a restart, a torn line, and a file that is not ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::engine::model::{Step, seeded, steps};
use super::engine::rig::{START_MS, block, rows};
use super::engine::{Command, Engine, EngineProfile, Outcome};
use super::host::EngineHost;
use super::journal::Journal;

/// A directory of the test's own, removed with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("mq9-double-{}-{number}", std::process::id())))
    }

    fn file(&self) -> PathBuf {
        self.0.join("mq9-double.journal")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A broker with a journal and a clock of its own, as a host has, but in virtual time.
struct Broker {
    journal: Journal,
    engine: Engine,
    now_ms: u64,
}

impl Broker {
    fn open(dir: &Path, profile: EngineProfile, now_ms: u64) -> io::Result<Self> {
        Journal::open(dir, profile, now_ms).map(|(journal, engine)| Self { journal, engine, now_ms })
    }

    fn robustmq(dir: &Dir) -> Self {
        Self::open(&dir.0, EngineProfile::robustmq(), START_MS).expect("a journal")
    }

    fn publish(&mut self, subject: &str, headers: &[&str], payload: &[u8]) -> Outcome {
        let header = block(headers);
        let command = Command { subject, header: header.as_deref(), payload };
        let (outcome, change) = self.engine.apply(self.now_ms, command);
        self.journal.append(self.engine.now_ms(), command, &change).expect("a line");
        outcome
    }

    fn ask(&mut self, command: &str, headers: &[&str], body: &str) -> Value {
        match self.publish(&format!("$mq9.AI.{command}"), headers, body.as_bytes()) {
            Outcome::Reply(body) => serde_json::from_slice(&body).expect("a reply is JSON"),
            other => panic!("{command}: {other:?}"),
        }
    }

    fn send(&mut self, address: &str, headers: &[&str], payload: &str) -> Value {
        self.ask(&format!("MSG.SEND.{address}"), headers, payload)["msg_id"].take()
    }

    fn all(&mut self, address: &str) -> Vec<String> {
        rows(&self.ask(
            &format!("MSG.FETCH.{address}"),
            &[],
            r#"{"deliver":"earliest","config":{"max_wait_ms":0}}"#,
        ))
    }

    fn next(&mut self, address: &str) -> Vec<String> {
        let body = r#"{"group_name":"g","deliver":"earliest","config":{"max_wait_ms":0}}"#;
        rows(&self.ask(&format!("MSG.FETCH.{address}"), &[], body))
    }

    fn ack(&mut self, address: &str, id: u64) {
        let body = format!(r#"{{"group_name":"g","mail_address":"{address}","msg_id":{id}}}"#);
        assert_eq!(self.ask("MSG.ACK.x", &[], &body)["error"], "");
    }
}

const FOREVER: &str = r#"{"name":"a","ttl":0}"#;

#[test]
fn a_restart_keeps_mailboxes_messages_offsets_agents_and_what_is_delayed() {
    let dir = Dir::new();
    let mut broker = Broker::robustmq(&dir);
    broker.ask("MAILBOX.CREATE", &[], FOREVER);
    let made_up = broker.ask("MAILBOX.CREATE", &[], "")["mail_address"].clone();
    for number in 0..4 {
        broker.send(
            "a",
            &["mq9-key: k", "mq9-tags: t", "x: y"][usize::from(number > 1)..],
            &number.to_string(),
        );
    }
    broker.ask("MSG.DELETE.a.3", &[], "");
    broker.ack("a", 1);
    broker.ask("AGENT.REGISTER", &[], r#"{"name":"n","payload":"p"}"#);
    broker.ask("AGENT.REGISTER", &[], r#"{"name":"gone","payload":"p"}"#);
    broker.ask("AGENT.UNREGISTER", &[], r#"{"name":"gone"}"#);
    broker.send("a", &["mq9-delay: 5"], "later");
    let before = broker.ask("MSG.QUERY.a", &[], "");
    drop(broker);

    let mut broker = Broker::robustmq(&dir);
    assert_eq!(broker.ask("MSG.QUERY.a", &[], ""), before, "headers and times are part of it");
    assert_eq!(broker.next("a"), ["2:2"]);
    let address = made_up.as_str().expect("a name");
    assert_eq!(broker.send(address, &[], "x"), 0);
    assert_eq!(broker.ask("MAILBOX.CREATE", &[], FOREVER)["error"], "mailbox a already exists");
    let agents = broker.ask("AGENT.DISCOVER", &[], "")["agents"].take();
    assert_eq!(agents, serde_json::json!([{"name": "n", "agent_info": "p"}]));
    assert_eq!(broker.send("a", &[], "after"), 4, "ids go on after the deleted last one");
    broker.now_ms += 6_000;
    assert_eq!(broker.all("a").last().map(String::as_str), Some("5:later"));
    assert_ne!(broker.ask("MAILBOX.CREATE", &[], "")["mail_address"], made_up);
}

#[test]
fn a_mailbox_expires_over_a_restart_and_its_name_can_be_taken_again() {
    let dir = Dir::new();
    let mut broker = Broker::robustmq(&dir);
    broker.ask("MAILBOX.CREATE", &[], r#"{"name":"a","ttl":70}"#);
    broker.send("a", &[], "old");
    drop(broker);
    let mut broker = Broker::robustmq(&dir);
    broker.now_ms += 119_000;
    assert_eq!(broker.send("a", &[], "still there"), 1);
    broker.now_ms += 1_000;
    assert_eq!(broker.ask("MSG.SEND.a", &[], "x")["error"], "mailbox a does not exist");
    broker.ask("MAILBOX.CREATE", &[], FOREVER);
    broker.send("a", &[], "new");
    drop(broker);
    assert_eq!(Broker::robustmq(&dir).all("a"), ["0:old", "1:still there", "2:new"]);
}

#[test]
fn a_journal_cut_at_any_byte_keeps_everything_before_the_torn_line() {
    let dir = Dir::new();
    let mut broker = Broker::robustmq(&dir);
    broker.ask("MAILBOX.CREATE", &[], FOREVER);
    let lengths: Vec<u64> = (0..3)
        .map(|number| {
            broker.send("a", &["mq9-tags: t"], &number.to_string());
            fs::metadata(dir.file()).expect("the journal").len()
        })
        .collect();
    drop(broker);
    let whole = fs::read(dir.file()).expect("the journal");
    for length in lengths[0]..=lengths[2] {
        fs::write(dir.file(), &whole[..length as usize]).expect("the cut journal");
        let kept = lengths.iter().filter(|end| **end <= length).count();
        let mut broker = Broker::robustmq(&dir);
        assert_eq!(broker.all("a").len(), kept, "cut at {length}");
        assert_eq!(broker.send("a", &[], "again"), kept, "cut at {length}");
        drop(broker);
        assert_eq!(Broker::robustmq(&dir).all("a").len(), kept + 1, "cut at {length}");
    }
    for length in 0..whole.iter().position(|byte| *byte == b'\n').expect("a first line") {
        fs::write(dir.file(), &whole[..length]).expect("the cut journal");
        Broker::robustmq(&dir).ask("MAILBOX.CREATE", &[], FOREVER);
        assert!(Broker::robustmq(&dir).all("a").is_empty(), "first line cut at {length}");
    }
}

#[test]
fn damage_an_unknown_version_and_foreign_files_are_refused_and_left_alone() {
    let dir = Dir::new();
    let mut broker = Broker::robustmq(&dir);
    broker.ask("MAILBOX.CREATE", &[], FOREVER);
    broker.send("a", &[], "m");
    drop(broker);
    let whole = fs::read_to_string(dir.file()).expect("the journal");
    let robustmq = EngineProfile::robustmq();
    for (text, profile, reason) in [
        (
            whole.replace("\"version\":1", "\"version\":2"),
            &robustmq,
            "line 1: version 2 is unknown here; 1 is read",
        ),
        (whole.replacen("\"t\":", "\"t\"!", 1), &robustmq, "line 2: "),
        (whole.replacen("\"payload\":\"", "\"payload\":\"*", 1), &robustmq, "line 2: "),
        (whole.replace("mq9-double", "other"), &robustmq, "line 1: the file is a journal of \"other\""),
        ("my diary, in one line".into(), &robustmq, "the file is no journal"),
        (whole.clone(), &EngineProfile::documented(), "rules \"robustmq\" with 1 partitions"),
        (whole.clone(), &robustmq.clone().with_partitions(3), "rules \"robustmq\" with 1 partitions"),
    ] {
        fs::write(dir.file(), &text).expect("the journal");
        let error = Broker::open(&dir.0, profile.clone(), START_MS).err().expect(reason);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains(reason), "{error} / {reason}");
        assert_eq!(fs::read_to_string(dir.file()).expect("the journal"), text);
    }
}

#[test]
fn two_brokers_never_share_a_directory() {
    let dir = Dir::new();
    let first = Broker::robustmq(&dir);
    let error = Broker::open(&dir.0, EngineProfile::robustmq(), START_MS).err().expect("a second broker");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    Broker::robustmq(&dir);
}

#[test]
fn what_lay_in_a_topic_of_plain_publishes_is_gone_and_its_ids_go_on() {
    let dir = Dir::new();
    let mut broker = Broker::robustmq(&dir);
    broker.publish("loose", &[], b"in no journal");
    broker.publish("a", &[], b"before the mailbox");
    broker.ask("MAILBOX.CREATE", &[], FOREVER);
    assert_eq!(broker.send("a", &[], "kept in memory"), 1);
    broker.ask("MAILBOX.CREATE", &[], r#"{"name":"b","ttl":0}"#);
    broker.publish("b", &[], b"into a durable mailbox");
    drop(broker);
    for id in 2..4 {
        let mut broker = Broker::robustmq(&dir);
        assert!(rows(&broker.ask("MSG.QUERY.a", &[], "")).is_empty());
        assert_eq!(broker.send("a", &[], "again"), id);
        assert_eq!(rows(&broker.ask("MSG.QUERY.b", &[], "")), ["0:into a durable mailbox"]);
        assert_ne!(broker.ask("MSG.QUERY.loose", &[], "")["error"], "");
    }
}

#[test]
fn a_killed_delay_worker_is_killed_again_by_a_restart() {
    let dir = Dir::new();
    let mut broker = Broker::robustmq(&dir);
    broker.ask("MAILBOX.CREATE", &[], FOREVER);
    broker.send("a", &["mq9-delay: 99999999"], "poison");
    drop(broker);
    let mut broker = Broker::robustmq(&dir);
    let failed = (0..250).filter(|_| broker.send("a", &["mq9-delay: 1"], "x").is_null()).count();
    assert_eq!(failed, 50);
}

#[test]
fn a_reopened_host_is_never_behind_its_journal() {
    let dir = Dir::new();
    let host = EngineHost::with_data_dir(EngineProfile::robustmq(), &dir.0).expect("a host");
    host.advance(Duration::from_secs(86_400));
    let create = Command { subject: "$mq9.AI.MAILBOX.CREATE", header: None, payload: FOREVER.as_bytes() };
    assert!(matches!(host.submit(create), Outcome::Reply(_)));
    let last = host.now_ms();
    drop(host);
    let host = EngineHost::with_data_dir(EngineProfile::robustmq(), &dir.0).expect("a host");
    assert!(host.now_ms() + 10_000 >= last, "a day would be missing");
    let Outcome::Reply(reply) = host.submit(create) else { panic!("a reply") };
    assert_eq!(reply, br#"{"error":"mailbox a already exists"}"#[..]);
}

#[test]
fn a_host_that_cannot_write_its_journal_says_so_and_stays_down() {
    let dir = Dir::new();
    drop(Broker::robustmq(&dir));
    let journal = Journal::read_only(&dir.file()).expect("a file");
    let host = EngineHost::new(Engine::new(EngineProfile::robustmq()), Some(journal));
    let publish = |subject| host.submit(Command { subject, header: None, payload: b"" });
    assert!(matches!(publish("$mq9.AI.AGENT.DISCOVER"), Outcome::Reply(_)));
    assert!(matches!(publish("$mq9.AI.MAILBOX.CREATE"), Outcome::ServerError(_)));
    assert!(matches!(publish("$mq9.AI.AGENT.DISCOVER"), Outcome::ServerError(_)));
    assert!(publish("plain") == Outcome::NotMq9);
}

proptest! {
    #![proptest_config(seeded(96, 0x6a6f_7572))]

    /// One broker runs on, the other is restarted in the middle: nobody can tell them apart.
    #[test]
    fn a_restart_changes_nothing(steps in steps(), cut in 0..60_usize, partitions in 1..3_u32) {
        let profile = EngineProfile::robustmq().with_partitions(partitions);
        let (kept, restarted) = (Dir::new(), Dir::new());
        let mut brokers = [&kept, &restarted]
            .map(|dir| Broker::open(&dir.0, profile.clone(), START_MS).expect("a journal"));
        for (number, step) in steps.iter().enumerate() {
            if number == cut {
                let now_ms = brokers[1].now_ms;
                let [first, second] = brokers;
                drop(second);
                let second = Broker::open(&restarted.0, profile.clone(), now_ms).expect("a journal");
                brokers = [first, second];
            }
            if let Step::Wait { seconds } = step {
                brokers.iter_mut().for_each(|broker| broker.now_ms += seconds * 1000);
            } else if let Some((command, headers, body)) = step.published(number) {
                let mut headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                if number % 4 == 0 {
                    headers.push("mq9-delay: 7");
                }
                let subject = format!("$mq9.AI.{command}");
                let [first, second] = &mut brokers;
                let outcomes = [first, second].map(|broker| broker.publish(&subject, &headers, body.as_bytes()));
                prop_assert!(outcomes[0] == outcomes[1], "step {}: {:?}", number, step);
            }
        }
    }
}
