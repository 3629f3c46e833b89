//! Going through a recording line by line.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, JournalEntry, Profile};

use crate::frames::{Got, RawSocket};
use crate::matching::Matching;
use crate::support::{Answer, call, start};
use crate::{scenes, sdk_sockets};

pub(crate) struct Replay {
    pub(crate) server: AgentChatServer,
    pub(crate) matching: Matching,
    /// Keys as they were when an agent was first met.
    keys: HashMap<String, String>,
    /// Keys the server handed out since.
    renewed: HashMap<String, String>,
    sockets: HashMap<String, Open>,
    /// Where the code of a flow is sent.
    mailboxes: HashMap<String, String>,
}

struct Open {
    socket: RawSocket,
    begin: Duration,
    /// What was recorded and is not compared yet: frames may come before the answer that caused them.
    expected: Vec<(String, Value)>,
    pongs: bool,
}

impl Replay {
    pub(crate) async fn start() -> Self {
        let server = start(AgentChatServer::builder().profile(Profile::Legacy).manual_clock().seed(4)).await;
        Replay {
            server,
            matching: Matching::default(),
            keys: HashMap::new(),
            renewed: HashMap::new(),
            sockets: HashMap::new(),
            mailboxes: HashMap::new(),
        }
    }

    /// Replays one recording, and tells how many lines were replayed and how many were not.
    pub(crate) async fn file(&mut self, name: &str) -> (usize, usize) {
        let path = format!("{}/tests/transcripts/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a recording");
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        if sdk_sockets::is(name) {
            lines = sdk_sockets::arranged(lines);
        }
        self.server.clear_journal();
        let (mut replayed, mut skipped) = (0, 0);
        for (at, line) in lines.iter().enumerate() {
            let place = format!("{name}:{} {}", at + 1, line["case"].as_str().expect("a case"));
            scenes::before(self, name, line, &lines).await;
            if scenes::skips(name, line) {
                skipped += 1;
                continue;
            }
            replayed += 1;
            if line.get("method").is_some() {
                self.exchange(&place, line).await;
            } else {
                self.frame(&place, line).await;
            }
        }
        let open: Vec<String> = self.sockets.keys().cloned().collect();
        for name in open {
            self.settle(&name).await;
            self.nothing_more(&name);
        }
        self.sockets.clear();
        (replayed, skipped)
    }

    pub(crate) fn key(&mut self, handle: &str) -> String {
        let server = &self.server;
        self.keys.entry(handle.to_owned()).or_insert_with(|| server.agent(handle)).clone()
    }

    /// A request that was made and not recorded.
    pub(crate) async fn unrecorded(&mut self, handle: &str, method: &str, path: &str, body: Value) -> Answer {
        self.server.advance(STEP);
        let key = self.key(handle);
        call(&self.server, method, path).key(&key).body(body).send().await
    }

    pub(crate) async fn say(&mut self, handle: &str, to: &str, id: &str, text: &str) -> Answer {
        let body = json!({ "to": to, "client_msg_id": id, "content": { "text": text } });
        self.unrecorded(handle, "POST", "/v1/messages", body).await
    }

    async fn exchange(&mut self, place: &str, line: &Value) {
        self.server.advance(STEP);
        let method = line["method"].as_str().expect("a method");
        let recorded_path = line["path"].as_str().expect("a path");
        let path = self.matching.translate(recorded_path);
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in line["req_headers"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("text");
            if name != "connection" {
                headers.push((name.clone(), value.to_owned()));
            }
        }
        for (_, value) in &mut headers {
            *value = self.authorization(line, value);
        }
        let body = self.body(line);
        let mut request = call(&self.server, method, path);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let answer = request.raw(body).send().await;
        assert_eq!(
            answer.status,
            line["status"].as_u64().expect("a status") as u16,
            "{place}: {}",
            answer.text
        );
        for name in ["content-type", "retry-after", "x-backlog-warning", "idempotent-replay"] {
            let wanted = line["resp_headers"].get(name).and_then(Value::as_str);
            assert_eq!(answer.header(name), wanted, "{place}: {name}");
        }
        for name in ["location", "x-request-id"] {
            let wanted = line["resp_headers"].get(name).is_some();
            assert_eq!(answer.header(name).is_some(), wanted, "{place}: {name}");
        }
        match &line["resp_body"] {
            // Long answers were cut; what is left is compared in other lines.
            Value::String(text) if text.contains('…') => {}
            Value::String(text) => assert_eq!(&answer.text, text, "{place}"),
            recorded => self.matching.check(place, recorded, &answer.json()),
        }
        self.remember(line, &answer);
    }

    async fn frame(&mut self, place: &str, line: &Value) {
        let case = line["case"].as_str().expect("a case");
        let name = line["sock"].as_str().unwrap_or(case).to_owned();
        let frame = &line["frame"];
        match (line["dir"].as_str(), frame["event"].as_str()) {
            (Some("meta"), Some("connect")) => self.connect(line, &name).await,
            (Some("meta"), Some("open")) => assert!(self.sockets.contains_key(&name), "{place}"),
            (Some("meta"), Some("http_response")) => {
                assert!(!self.sockets.contains_key(&name), "{place}");
                assert_eq!(frame["status"], 404, "{place}");
            }
            (Some("meta"), Some("error")) => {
                let refused = tokio::net::TcpStream::connect(("127.0.0.1", self.server.port())).await;
                assert!(refused.is_err(), "{place}");
            }
            (Some("c2s"), _) => self.sent(place, line, &name).await,
            (Some("s2c"), _) => self.received(place, line, &name).await,
            other => panic!("{place}: {other:?}"),
        }
    }

    async fn connect(&mut self, line: &Value, name: &str) {
        self.sockets.remove(name);
        if scenes::is_down(line) {
            return;
        }
        let key = line["frame"]["req_headers"]["authorization"]
            .as_str()
            .map(|value| self.authorization(line, value));
        let key = key.as_deref().and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        let path = self.authorization(line, line["frame"]["path"].as_str().expect("a path"));
        let before = self.noted(is_opening);
        if let Ok(socket) = RawSocket::connect(self.server.port(), &path, key.as_deref()).await {
            // The timeout for a greeting begins when the server knows of the socket.
            while self.noted(is_opening) == before {
                tokio::task::yield_now().await;
            }
            let open =
                Open { socket, begin: self.server.now(), expected: Vec::new(), pongs: scenes::pongs(line) };
            self.sockets.insert(name.to_owned(), open);
        }
    }

    async fn sent(&mut self, place: &str, line: &Value, name: &str) {
        let frame = &line["frame"];
        if frame.get("ping").is_some() {
            self.catch_up(line, name);
        }
        let text = match frame {
            Value::String(text) => match text.split_once('…') {
                Some((begin, _)) => begin.repeat(2_097_152 / begin.len()),
                None => text.clone(),
            },
            other => self.authorization(line, &other.to_string()),
        };
        let text = self.matching.translate(&text);
        let before = self.noted(is_frame);
        let open = self.sockets.get_mut(name).unwrap_or_else(|| panic!("{place}: no socket"));
        if frame["close"]["code"] == 1005 {
            self.settle(name).await;
            let mut open = self.sockets.remove(name).expect("it is there");
            open.socket.close_without_code().await;
        } else if let Some(close) = frame.get("close") {
            let code = close["code"].as_u64().expect("a code") as u16;
            open.socket.close(code, close["reason"].as_str().expect("a reason")).await;
        } else if let Some(payload) = frame.get("ping").and_then(Value::as_str) {
            open.socket.ping(payload).await;
        } else if frame.get("raw").is_some() {
            open.socket.text(b"\xff\xfe").await;
        } else if let Some(hex) = frame.get("binary_hex").and_then(Value::as_str) {
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hex"))
                .collect();
            open.socket.binary(&bytes).await;
        } else {
            open.socket.text(text.as_bytes()).await;
            // What is done next happens after the server has it.
            while self.noted(is_frame) == before {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn received(&mut self, place: &str, line: &Value, name: &str) {
        let frame = &line["frame"];
        let timed = frame.get("ping").is_some() || frame.get("close").is_some();
        if scenes::is_abort(line) {
            self.settle(name).await;
            self.sockets.remove(name);
            return scenes::until_gone(self, line).await;
        }
        if timed && scenes::waits(line) {
            self.catch_up(line, name);
        }
        let Some(open) = self.sockets.get_mut(name) else {
            assert_eq!(frame["close"]["code"], 1006, "{place}");
            return;
        };
        open.expected.push((place.to_owned(), frame.clone()));
        if timed || frame.get("pong").is_some() || frame["type"] == "hello.ok" {
            self.settle(name).await;
        }
        if frame.get("ping").is_some() {
            self.answer_ping(name).await;
        }
        if frame.get("close").is_some() {
            self.sockets.remove(name);
        }
    }

    /// Compares what came with what was recorded.
    async fn settle(&mut self, name: &str) {
        let Some(open) = self.sockets.get_mut(name) else { return };
        for (place, recorded) in std::mem::take(&mut open.expected) {
            let got = open.socket.next().await;
            let actual = match (&recorded, got) {
                (_, Got::Json(value)) => value,
                (_, Got::Ping) => json!({ "ping": "" }),
                (_, Got::Pong(payload)) => json!({ "pong": payload }),
                (_, Got::Close(code, reason)) => json!({ "close": { "code": code, "reason": reason } }),
                (_, Got::Ended) => json!({ "close": { "code": 1006, "reason": "" } }),
            };
            self.matching.check(&place, &recorded, &actual);
        }
    }

    fn nothing_more(&mut self, name: &str) {
        let Some(open) = self.sockets.get_mut(name) else { return };
        let more = open.socket.rest();
        let more: Vec<&Got> = more.iter().filter(|got| matches!(got, Got::Json(_))).collect();
        assert!(more.is_empty(), "{name}: nothing else was recorded, but {more:?}");
    }

    async fn answer_ping(&mut self, name: &str) {
        let Some(open) = self.sockets.get_mut(name).filter(|open| open.pongs) else { return };
        open.socket.pong().await;
        // Once this is answered the server has read the pong before it.
        open.socket.ping("seen").await;
        assert_eq!(open.socket.next().await, Got::Pong("seen".to_owned()));
    }

    /// How many such entries the journal has.
    fn noted(&self, wanted: fn(&JournalEntry) -> bool) -> usize {
        self.server.journal().iter().filter(|entry| wanted(entry)).count()
    }

    /// Moves the clock on to the time of a line, counted from the opening of its socket.
    fn catch_up(&mut self, line: &Value, name: &str) {
        let Some(open) = self.sockets.get(name) else { return };
        let at = open.begin + Duration::from_millis(line["t_ms"].as_u64().expect("a time"));
        let now = self.server.now();
        if at > now {
            self.server.advance(at - now);
        }
    }

    fn authorization(&mut self, line: &Value, text: &str) -> String {
        let Some((before, rest)) = text.split_once("ac_<REDACTED") else { return text.to_owned() };
        let (handle, after) = rest.split_once('>').expect("a handle");
        let handle = handle.strip_prefix(':').unwrap_or_else(|| scenes::unnamed(line));
        let renewed = scenes::uses_new_key(line).then(|| self.renewed.get(handle).cloned()).flatten();
        let key = renewed.unwrap_or_else(|| self.key(handle));
        format!("{before}{key}{after}")
    }

    fn body(&self, line: &Value) -> Vec<u8> {
        let text = match &line["req_body"] {
            Value::Null => return Vec::new(),
            Value::String(text) => restored(text),
            other => other.to_string(),
        };
        let mut text = self.matching.translate(&text);
        let code = line["req_body"]["code"].as_str();
        let right = matches!(line["status"].as_u64(), Some(200 | 201));
        if let (Some(code), true) = (code, right) {
            let pending = line["req_body"]["pending_id"].as_str().expect("a flow");
            let sent = self.server.otp_for(&self.mailboxes[pending]).expect("a code");
            text = text.replace(code, &sent);
        }
        text.into_bytes()
    }

    fn remember(&mut self, line: &Value, answer: &Answer) {
        if let Some(pending) = line["resp_body"]["pending_id"].as_str() {
            let handle = line["path"].as_str().and_then(|path| path.split('/').nth(3)).unwrap_or_default();
            let email = line["req_body"]["email"].as_str();
            let email = email.map_or_else(|| format!("{handle}@test.local"), str::to_owned);
            self.mailboxes.insert(pending.to_owned(), email);
        }
        if line["resp_body"].get("api_key").is_some() {
            let body = answer.json();
            let handle = body["handle"].as_str().or(body["agent"]["handle"].as_str()).expect("a handle");
            let key = body["api_key"].as_str().expect("a key").to_owned();
            self.renewed.insert(handle.to_owned(), key);
        }
    }
}

fn is_opening(entry: &JournalEntry) -> bool {
    matches!(entry, JournalEntry::Opened { .. })
}

fn is_frame(entry: &JournalEntry) -> bool {
    matches!(entry, JournalEntry::Received { .. })
}

/// A body that was cut, in the length it had: its last character was repeated.
fn restored(text: &str) -> String {
    let Some((begin, rest)) = text.split_once('…') else { return text.to_owned() };
    let length: usize = rest.trim_matches(['<', '>']).trim_end_matches(" bytes").parse().expect("a length");
    let filler = begin.chars().last().expect("something is left").to_string();
    let missing = length - begin.chars().count() - END.len();
    format!("{begin}{}{END}", filler.repeat(missing))
}

const END: &str = "\"}}";
/// The clock between two requests, so that limits per second do not strike by themselves.
const STEP: Duration = Duration::from_millis(60);
