//! What the engine's tests drive it with.

use serde_json::Value;

use super::{Command, Engine, EngineProfile, Outcome};

/// An engine, and a clock that stands still until it is told.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) now_ms: u64,
}

/// A whole second, so that sums of seconds stay readable.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

impl Rig {
    /// An engine that first hears [`START_MS`].
    pub(crate) fn new(profile: EngineProfile) -> Self {
        let mut engine = Engine::new(profile);
        engine.tick(START_MS);
        Self { engine, now_ms: START_MS }
    }

    pub(crate) fn wait_s(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
    }

    /// An mq9 command's outcome. Header lines as `name: value`.
    pub(crate) fn outcome(&mut self, command: &str, headers: &[&str], payload: &[u8]) -> Outcome {
        let block = block(headers);
        let subject = format!("$mq9.AI.{command}");
        self.engine.handle(self.now_ms, Command { subject: &subject, header: block.as_deref(), payload })
    }

    /// The reply to a command that is answered at once.
    pub(crate) fn ask(&mut self, command: &str, body: &str) -> Value {
        self.ask_with(command, &[], body)
    }

    pub(crate) fn ask_with(&mut self, command: &str, headers: &[&str], body: &str) -> Value {
        match self.outcome(command, headers, body.as_bytes()) {
            Outcome::Reply(body) => serde_json::from_slice(&body).expect("a reply is JSON"),
            other => panic!("{command}: {other:?}"),
        }
    }

    /// Makes a mailbox that never expires.
    pub(crate) fn create(&mut self, address: &str) {
        let reply = self.ask("MAILBOX.CREATE", &format!(r#"{{"name":"{address}","ttl":0}}"#));
        assert_eq!(reply["error"], "", "{address}");
    }

    /// Sends, and returns the id.
    pub(crate) fn send(&mut self, address: &str, headers: &[&str], payload: &str) -> i64 {
        let reply = self.ask_with(&format!("MSG.SEND.{address}"), headers, payload);
        reply["msg_id"].as_i64().unwrap_or_else(|| panic!("{address}: {reply}"))
    }

    /// What an addressed command finds, as `id:payload`.
    pub(crate) fn rows(&mut self, command: &str, body: &str) -> Vec<String> {
        rows(&self.ask(command, body))
    }

    /// Everything FETCH finds from the beginning, as `id:payload`.
    pub(crate) fn all(&mut self, address: &str) -> Vec<String> {
        self.rows(&format!("MSG.FETCH.{address}"), r#"{"deliver":"earliest","config":{"max_wait_ms":0}}"#)
    }

    /// What the group gets next, as `id:payload`.
    pub(crate) fn next(&mut self, address: &str, group: &str) -> Vec<String> {
        let body = r#""deliver":"earliest","config":{"max_wait_ms":0}"#;
        self.rows(&format!("MSG.FETCH.{address}"), &format!(r#"{{"group_name":"{group}",{body}}}"#))
    }

    pub(crate) fn ack(&mut self, address: &str, group: &str, id: u64) {
        let body = format!(r#"{{"group_name":"{group}","mail_address":"{address}","msg_id":{id}}}"#);
        assert_eq!(self.ask(&format!("MSG.ACK.{address}"), &body)["error"], "");
    }
}

pub(crate) fn rows(reply: &Value) -> Vec<String> {
    let rows = reply["messages"].as_array().unwrap_or_else(|| panic!("no messages in {reply}"));
    rows.iter().map(|row| format!("{}:{}", row["msg_id"], row["payload"].as_str().expect("a text"))).collect()
}

/// A raw header block of these lines; none for no lines.
pub(crate) fn block(headers: &[&str]) -> Option<Vec<u8>> {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    (!headers.is_empty()).then(|| format!("NATS/1.0\r\n{lines}\r\n").into_bytes())
}
