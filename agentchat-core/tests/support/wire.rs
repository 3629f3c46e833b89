//! A small network over a local socket, so that one side of it can be killed: lines of JSON to a server in
//! another process. The server keeps what is not acknowledged and gives it out again, without saying so.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use agentchat_core::*;
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// The server, and what it knows.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
pub(crate) struct Known {
    /// What waits or waited in the inbox: id, conversation, number.
    pub(crate) rows: Vec<(String, String, u64)>,
    pub(crate) acked: HashSet<String>,
    /// What was sent and taken: id and conversation, each time anew.
    pub(crate) taken: Vec<(String, String)>,
    /// The ids of all sends that came, also of those that failed.
    pub(crate) tried: HashSet<String>,
    /// How many rows were given out.
    pub(crate) given: usize,
    down: bool,
    open: Vec<TcpStream>,
    dice: fastrand::Rng,
}

impl Server {
    pub(crate) fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let known = Known {
            rows: Vec::new(),
            acked: HashSet::new(),
            taken: Vec::new(),
            tried: HashSet::new(),
            given: 0,
            down: false,
            open: Vec::new(),
            dice: fastrand::Rng::with_seed(seed),
        };
        let known = Arc::new(Mutex::new(known));
        let shared = Arc::clone(&known);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::io::Result::ok) {
                let known = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &known));
            }
        });
        Self { at, known }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while held")
    }

    /// Cuts every connection; none is made until it is up again.
    pub(crate) fn set_down(&self, down: bool) {
        let mut known = self.known();
        known.down = down;
        for stream in known.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Answers one connection until it is cut, by either side or by the dice.
fn serve(stream: &TcpStream, known: &Mutex<Known>) {
    let Ok(mut out) = stream.try_clone() else { return };
    let _ = out.set_nodelay(true);
    for line in BufReader::new(stream).lines().map_while(std::io::Result::ok) {
        let Ok(asked) = serde_json::from_str::<Value>(&line) else { break };
        let Some(answers) = known.lock().expect("no panic while held").answer(&asked, stream) else { break };
        let text: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        if out.write_all(text.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

impl Known {
    /// `None` cuts the connection.
    fn answer(&mut self, asked: &Value, stream: &TcpStream) -> Option<Vec<Value>> {
        if self.down {
            return None;
        }
        let (number, text) = (&asked["n"], |name: &str| asked[name].as_str().unwrap_or_default().to_owned());
        let done = vec![json!({ "n": number, "ok": true })];
        match asked["op"].as_str()? {
            "hello" => {
                self.open.push(stream.try_clone().ok()?);
                Some(done)
            }
            "send" => {
                let (id, conversation) = (text("id"), text("conversation"));
                self.tried.insert(id.clone());
                if id.contains("bad") {
                    return Some(vec![json!({ "n": number, "refused": true })]);
                }
                match self.dice.u8(0..20) {
                    0 => return None,
                    1 => {
                        self.taken.push((id, conversation));
                        return None;
                    }
                    _ => self.taken.push((id, conversation)),
                }
                Some(done)
            }
            "ack" => {
                if self.dice.u8(0..8) == 0 {
                    return None;
                }
                let tags = asked["tags"].as_array()?.iter().filter_map(Value::as_str);
                self.acked.extend(tags.map(str::to_owned));
                Some(done)
            }
            "subscribe" => {
                let mut answers = done;
                let waiting: Vec<_> = self.rows.iter().filter(|row| !self.acked.contains(&row.0)).collect();
                self.given += waiting.len();
                answers.extend(waiting.into_iter().map(|row| json!({ "row": row })));
                answers.push(json!({ "end": true }));
                Some(answers)
            }
            "replay" => {
                let from = asked["from"].as_u64()?;
                let limit = usize::try_from(asked["limit"].as_u64()?).ok()?;
                let of = text("conversation");
                let rows = self.rows.iter().filter(|(_, at, seq)| *at == of && *seq >= from).take(limit);
                Some(vec![json!({ "n": number, "rows": rows.collect::<Vec<_>>() })])
            }
            _ => None,
        }
    }
}

/// Connects to the server at an address.
#[derive(Debug, Clone)]
pub(crate) struct WireConnector(pub(crate) SocketAddr);

#[derive(Debug)]
struct Wire {
    address: Address,
    able: Capabilities,
    out: Mutex<TcpStream>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    events: Option<mpsc::UnboundedSender<Result<Event>>>,
    over: bool,
}

#[async_trait]
impl Connector for WireConnector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let stream = TcpStream::connect(self.0).map_err(|_| lost("connect").with_reached(Reached::No))?;
        let _ = stream.set_nodelay(true);
        let reading = BufReader::new(stream.try_clone().map_err(|_| lost("connect"))?);
        let mut able = Capabilities::none(&["wire"]);
        (able.ack, able.order) = (AckGuarantee::Redelivers, OrderGuarantee::Conversation);
        (able.durable_inbox, able.replay, able.numbered) = (true, true, true);
        let calls = Arc::new(Mutex::new(Calls::default()));
        let shared = Arc::clone(&calls);
        std::thread::spawn(move || read(reading, &shared));
        let wire = Wire { address: Address::of("wire", "worker")?, able, out: Mutex::new(stream), calls };
        wire.call("connect", json!({ "op": "hello" })).await?;
        Ok(Arc::new(wire))
    }
}

impl Wire {
    async fn call(&self, operation: &'static str, mut asked: Value) -> Result<Value> {
        let answer = {
            let mut calls = self.calls.lock().expect("no panic while held");
            if calls.over {
                return Err(lost(operation).with_reached(Reached::No));
            }
            calls.next += 1;
            asked["n"] = calls.next.into();
            let (reply, answer) = oneshot::channel();
            let number = calls.next;
            calls.waiting.insert(number, reply);
            answer
        };
        let sent = self.out.lock().expect("no panic while held").write_all(format!("{asked}\n").as_bytes());
        sent.map_err(|_| lost(operation))?;
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        answer
            .map_err(|_| Error::new(ErrorKind::Timeout, operation, "no answer"))?
            .map_err(|_| lost(operation))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.out.lock().expect("no panic while held").shutdown(Shutdown::Both);
    }
}

#[async_trait]
#[rustfmt::skip]
impl Transport for Wire {
    fn capabilities(&self) -> &Capabilities { &self.able }
    fn address(&self) -> &Address { &self.address }
    async fn register(&self, _: &AgentCard) -> Result<()> { Err(Error::unsupported("register", "no directory")) }
    async fn unregister(&self) -> Result<()> { Err(Error::unsupported("unregister", "no directory")) }
    async fn report(&self, _: &Heartbeat) -> Result<()> { Err(Error::unsupported("report", "no directory")) }
    async fn discover(&self, _: &Query) -> Result<Discovered> { Err(Error::unsupported("discover", "no directory")) }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let id = message.client_msg_id.as_str();
        let conversation = message.conversation.as_ref().map(ConversationId::as_str);
        let asked = json!({ "op": "send", "id": id, "conversation": conversation });
        match self.call("send", asked).await?["ok"] {
            Value::Bool(true) => Ok(Receipt::new(SendOutcome::Accepted(MessageId::new(id)?))),
            _ => Err(Error::new(ErrorKind::Forbidden, "send", "it is refused")),
        }
    }

    async fn subscribe(&self, _: SubscribeOptions) -> Result<Subscription> {
        let (events, mut reader) = mpsc::unbounded_channel();
        self.calls.lock().expect("no panic while held").events = Some(events);
        self.call("subscribe", json!({ "op": "subscribe" })).await?;
        let events = futures_util::stream::poll_fn(move |cx| reader.poll_recv(cx));
        Ok(Subscription::new(self.address.clone(), Box::pin(events)))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        let tags: Vec<_> = tags.iter().map(AckTag::as_str).collect();
        self.call("ack", json!({ "op": "ack", "tags": tags })).await.map(drop)
    }

    async fn close(&self, _: CloseMode) -> Result<()> { Ok(()) }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let (of, from, limit) = (conversation.as_str(), range.from, range.limit);
        let asked = json!({ "op": "replay", "conversation": of, "from": from, "limit": limit });
        let answer = self.call("replay", asked).await?;
        answer["rows"].as_array().into_iter().flatten().map(delivery).collect()
    }
}

fn read(reading: BufReader<TcpStream>, calls: &Mutex<Calls>) {
    for line in reading.lines().map_while(std::io::Result::ok) {
        let Ok(said) = serde_json::from_str::<Value>(&line) else { break };
        let mut calls = calls.lock().expect("no panic while held");
        if let Some(reply) = said["n"].as_u64().and_then(|number| calls.waiting.remove(&number)) {
            let _ = reply.send(said);
        } else if let Some(events) = &calls.events {
            let event = if said["end"] == true {
                Ok(Event::CaughtUp)
            } else {
                delivery(&said["row"]).map(Event::Message)
            };
            let _ = events.send(event);
        }
    }
    let mut calls = calls.lock().expect("no panic while held");
    calls.over = true;
    calls.waiting.clear();
    if let Some(events) = calls.events.take() {
        let _ = events.send(Err(lost("subscribe")));
    }
}

fn delivery(row: &Value) -> Result<Delivery> {
    let (id, conversation) = (row[0].as_str().unwrap_or_default(), row[1].as_str().unwrap_or_default());
    let mut delivery = Delivery::new(MessageId::new(id)?, AckTag::new(id)?, Body::text(id));
    delivery.client_msg_id = Some(ClientMsgId::new(id)?);
    delivery.sender = Some(Address::of("wire", "boss")?);
    (delivery.conversation, delivery.seq) = (Some(ConversationId::new(conversation)?), row[2].as_u64());
    Ok(delivery)
}

fn lost(operation: &'static str) -> Error {
    Error::new(ErrorKind::Disconnected, operation, "the connection is gone")
}
