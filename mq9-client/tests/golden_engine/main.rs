//! The recorded exchanges of a real broker, replayed against fresh engines: same request in, same reply
//! out. Replies are compared as text, so field order and error wording count.
#![cfg(feature = "test-broker")]

mod recording;
mod scripts;

use mq9_client::testing::{Command, Engine, EngineProfile, Outcome};
use recording::{Line, cut, files};
use serde_json::Value;

/// Files that no engine can answer, and why.
const NOT_THE_ENGINES: [(&str, &str); 9] = [
    ("auth_required", "about the connection: logging in"),
    ("connect", "about the connection: INFO, CONNECT, unknown verbs"),
    ("inbox_reply", "about the connection: on which subscription a reply arrives"),
    ("keepalive", "about the connection: a client that answers no PING"),
    ("keepalive_responsive", "about the connection: a client that answers PONG"),
    ("oversize_desync", "about the connection: a payload over 8 MiB is parsed as protocol lines"),
    ("tls", "about the connection: TLS"),
    ("restart_persistence", "about a restart: see the journal's own tests"),
    ("delay_poison_after_restart", "about a restart: see the journal's own tests"),
];

/// Lines of the other files that are not replayed, and why.
const NOT_REPLAYED: [(&str, &str, &str); 17] = [
    ("mailbox_create", "create_race", "two creates at once both succeed; an engine takes one at a time"),
    ("send_payload_size", "send_8388609_bytes", "the NATS decoder drops it; it never reaches an engine"),
    ("send_payload_size", "after_1048575", "state of the connection"),
    ("send_payload_size", "after_1048576", "state of the connection"),
    ("send_payload_size", "after_1048577", "state of the connection"),
    ("send_payload_size", "after_2097152", "state of the connection"),
    ("send_payload_size", "after_4194304", "state of the connection"),
    ("send_payload_size", "after_8388608", "state of the connection"),
    ("send_payload_size", "after_8388609", "state of the connection"),
    ("concurrent_consumers", "four_consumers_fetch_ack_loop", "depends on the timing of four clients"),
    ("fetch_long_poll", "same_connection_ping_while_waiting", "order of a connection"),
    ("fetch_long_poll", "other_connections_while_waiting", "the broker's threads"),
    ("core_nats", "core_pubsub", "plain NATS routing"),
    ("core_nats", "sub_to_mq9_subject", "plain NATS routing; its SEND is made up for"),
    ("core_nats", "sub_to_mailbox_name", "plain NATS routing; its SEND is made up for"),
    ("core_topic_first", "name", "a note for the restart test"),
    ("spot_checks", "admin_list_shows_default_ttl", "HTTP admin interface"),
];

/// Exchanges whose replies differ all the same: file, case, a part of ours, the same part of theirs, and why.
const DIFFERENT: [(&str, &str, &str, &str, &str); 1] = [(
    "mailbox_create",
    "create_invalid_utf8",
    "column 10",
    "column 11",
    "releases of the JSON parser disagree on the column of a byte that is no UTF-8",
)];

#[test]
fn one_partition_answers_as_recorded() {
    let tally = replay("p1", EngineProfile::robustmq());
    assert_eq!(tally, Tally { exchanges: 546, summaries: 28, left_out: 17, in_other_files: 113 });
}

#[test]
fn three_partitions_answer_as_recorded_but_for_the_order_of_partitions() {
    let tally = replay("p3_default", EngineProfile::robustmq().with_partitions(3));
    assert_eq!(tally, Tally { exchanges: 258, summaries: 16, left_out: 1, in_other_files: 0 });
}

/// What became of the lines. Their number is asserted, so that nothing falls out unseen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    exchanges: usize,
    summaries: usize,
    left_out: usize,
    in_other_files: usize,
}

fn replay(configuration: &str, profile: EngineProfile) -> Tally {
    let mut tally = Tally::default();
    for (file, lines) in files(configuration) {
        if NOT_THE_ENGINES.iter().any(|(name, _)| *name == file) {
            tally.in_other_files += lines.len();
            continue;
        }
        let mut replayer = Replayer::new(&file, &profile);
        for line in &lines {
            if NOT_REPLAYED.iter().any(|(name, case, _)| *name == file && *case == line.case) {
                tally.left_out += 1;
            } else if line.subject.is_some() {
                replayer.exchange(line);
                tally.exchanges += 1;
            } else {
                scripts::summary(&mut replayer, line);
                tally.summaries += 1;
            }
        }
    }
    tally
}

/// One file against one engine.
pub(crate) struct Replayer {
    file: String,
    partitions: u32,
    engine: Engine,
    now_ms: u64,
    /// The address of the last mailbox created.
    mailbox: String,
    /// An outcome that a later summary describes.
    kept: Option<Outcome>,
}

impl Replayer {
    fn new(file: &str, profile: &EngineProfile) -> Self {
        let engine = Engine::new(profile.clone());
        let file = file.to_owned();
        Self { file, partitions: profile.partitions, engine, now_ms: 0, mailbox: String::new(), kept: None }
    }

    /// Publishes at the replayer's time.
    pub(crate) fn publish(&mut self, subject: &str, header: Option<&[u8]>, payload: &[u8]) -> Outcome {
        self.engine.handle(self.now_ms, Command { subject, header, payload })
    }

    /// Runs an mq9 command that is answered at once.
    pub(crate) fn ask(&mut self, command: &str, payload: &str) -> Value {
        match self.publish(&format!("$mq9.AI.{command}"), None, payload.as_bytes()) {
            Outcome::Reply(body) => serde_json::from_slice(&body).expect("a reply is JSON"),
            other => panic!("{command}: {other:?}"),
        }
    }

    fn exchange(&mut self, line: &Line) {
        scripts::before(self, line);
        self.now_ms = line.at_ms();
        let subject = line.subject.as_deref().expect("an exchange");
        if subject == "$mq9.AI.MAILBOX.CREATE"
            && let Some(Value::String(name)) = line
                .reply
                .as_ref()
                .and_then(|reply| serde_json::from_str::<Value>(reply).ok()?.get("mail_address").cloned())
        {
            self.mailbox = name;
        }
        let outcome = self.publish(subject, line.header().as_deref(), &line.body());
        self.check(line, outcome);
    }

    fn check(&self, line: &Line, outcome: Outcome) {
        let at = format!("{} / {} at {}", self.file, line.case, line.at_ms());
        let body = match (outcome, &line.reply) {
            (Outcome::Reply(body), Some(_)) => {
                let fetch = line.subject.as_ref().is_some_and(|subject| subject.contains(".FETCH."));
                assert!(!fetch || line.elapsed_ms() < 250, "{at}: the broker waited");
                body
            }
            (Outcome::ReplyAt { at_ms, body }, Some(_)) => {
                let waited = at_ms - self.now_ms;
                assert!(waited <= line.elapsed_ms() && waited + 50 > line.elapsed_ms(), "{at}: {waited} ms");
                body
            }
            (Outcome::ServerError(text), None) => {
                assert_eq!(line.server_err, [format!("-ERR '{text}'")], "{at}");
                return;
            }
            (Outcome::Silent, None) => return assert!(line.elapsed_ms() > 30_000, "{at}: silent"),
            (Outcome::NotMq9, None) => return assert!(line.server_err.is_empty(), "{at}: not mq9"),
            (other, recorded) => panic!("{at}: {other:?} for {recorded:?}"),
        };
        let mut ours = String::from_utf8(body.to_vec()).expect("a reply is text");
        for (_, _, part, recorded, _) in
            DIFFERENT.iter().filter(|(file, case, ..)| *file == self.file && *case == line.case)
        {
            assert!(ours.contains(part), "{at}: no difference any more: {ours}");
            ours = ours.replace(part, recorded);
        }
        let theirs = line.reply.as_deref().expect("checked above");
        self.compare(line, &at, &ours, theirs);
    }

    fn compare(&self, line: &Line, at: &str, ours: &str, theirs: &str) {
        if let Some((beginning, length)) = cut(theirs) {
            assert_eq!(ours.len(), length, "{at}: length of a cut reply, ours begins {ours:.300}");
            // Which partition comes first is chance, so with several only the length tells.
            assert!(
                self.partitions > 1 || ours.starts_with(beginning),
                "{at}: {ours:.500}\nrecorded {beginning}"
            );
            return;
        }
        if ours == theirs {
            return;
        }
        let is_query = line.subject.as_ref().is_some_and(|subject| subject.contains(".QUERY."));
        let (ours, theirs) = (self.settled(ours, is_query), self.settled(theirs, is_query));
        assert_eq!(ours, theirs, "{at}");
    }

    /// A reply without what chance decided in the recording.
    fn settled(&self, reply: &str, is_query: bool) -> Value {
        let mut value: Value = serde_json::from_str(reply).expect("a reply is JSON");
        let fields = value.as_object_mut().expect("a reply is an object");
        if let Some(Value::String(text)) = fields.get_mut("error")
            && let Some((words, id)) = text.split_once("unique_id=")
        {
            assert_eq!(id.len(), 20, "a made-up id has 20 characters");
            *text = format!("{words}unique_id=");
        }
        if let Some(Value::String(address)) = fields.get_mut("mail_address")
            && address.len() == 20
            && address.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'v').contains(&byte))
        {
            *address = "made up".into();
        }
        if self.partitions == 1 && self.file != "delay" {
            return value;
        }
        if let Some(Value::Array(rows)) = fields.get_mut("messages") {
            if self.file == "delay" {
                forget_the_order_of_workers(rows);
            }
            let mut classes: Vec<Value> = rows.iter().map(|row| row["priority"].clone()).collect();
            classes.dedup();
            if is_query {
                // Read partition by partition, so the same class comes up again and again.
                classes.clear();
            }
            rows.sort_by_key(Value::to_string);
            fields.insert("classes in order".into(), classes.into());
        }
        value
    }
}

/// Three messages were due within one millisecond; which of the last two got which id was a race between
/// the broker's delay workers.
fn forget_the_order_of_workers(rows: &mut [Value]) {
    for row in rows.iter_mut() {
        if ["dk-a", "dk-b", "dttl"].contains(&row["payload"].as_str().unwrap_or_default()) {
            let id = row["msg_id"].as_u64().expect("an id");
            assert!((1..=3).contains(&id), "the three share the ids 1 to 3");
            row["msg_id"] = Value::Null;
        }
    }
}
