//! A NATS server that answers as it is told, for replies no real broker gives: it speaks just enough of
//! the protocol over TCP, and leaves every answer to the test's script.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which connection it came on, from 0.
    pub connection: usize,
    pub subject: String,
    pub payload: Vec<u8>,
}

/// What the server does about a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Replies with these bytes.
    Reply(Vec<u8>),
    /// Replies with a NATS status and nothing else: 503 and no body.
    NoResponders,
    /// Says `-ERR '…'` on the connection and sends no reply.
    Error(String),
    /// Nothing at all.
    Silence,
    /// Closes the connection.
    Close,
}

impl Answer {
    pub fn reply(text: impl Into<String>) -> Self {
        Self::Reply(text.into().into_bytes())
    }

    /// What RobustMQ answers to the client's probe.
    pub fn probe() -> Self {
        Self::reply(r#"{"error":"agent name must not be empty"}"#)
    }
}

type Script = dyn Fn(&Asked) -> Answer + Send + Sync;

/// How the server behaves apart from requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// Says `PING` right behind `INFO`, as RobustMQ does, which a client takes for success.
    pub ping_first: bool,
    /// Refuses CONNECT on connections from this one on, as RobustMQ does: an error, and the connection
    /// stays.
    pub refuse_from: Option<usize>,
    /// Accepts connections and says nothing.
    pub mute: bool,
    /// Carries no message between clients, its own echoes included.
    pub no_echo: bool,
}

pub struct Scripted {
    port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    script: Box<Script>,
    manners: Manners,
    asked: Mutex<Vec<Asked>>,
    accepted: AtomicUsize,
    open: watch::Sender<usize>,
}

impl Scripted {
    /// Answers the client's probe, and everything else by `script`.
    pub async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_manners(Manners::default(), move |asked| {
            if asked.payload == br#"{"name":""}"# { Answer::probe() } else { script(asked) }
        })
        .await
    }

    /// Answers everything by `script`.
    pub async fn with_manners(
        manners: Manners,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            manners,
            asked: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: watch::Sender::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self { port, shared, listening }
    }

    pub fn url(&self) -> String {
        format!("mq9://127.0.0.1:{}", self.port)
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("unpoisoned").clone()
    }

    /// The requests so far whose subject holds `part`.
    pub fn asked_for(&self, part: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.subject.contains(part)).collect()
    }

    /// How many connections were ever accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns once so many connections are open.
    pub async fn open_connections(&self, wanted: usize) {
        let mut open = self.shared.open.subscribe();
        let open = open.wait_for(|open| *open == wanted);
        super::within(10, "the number of connections", open).await.expect("the server lives");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.open.send_modify(|open| *open += 1);
            // An error here is the client's end of the connection.
            let _ = serve(stream, number, &shared).await;
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn serve(stream: TcpStream, number: usize, shared: &Shared) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    if shared.manners.mute {
        while reader.read_line(&mut line).await? > 0 {}
        return Ok(());
    }
    let refused = shared.manners.refuse_from.is_some_and(|first| number >= first);
    let mut hello = concat!(
        r#"INFO {"server_id":"s","version":"2.9.0","proto":1,"host":"127.0.0.1","port":4222,"#,
        r#""headers":true,"max_payload":1048576,"nonce":"n"}"#,
        "\r\n"
    )
    .to_owned();
    if shared.manners.ping_first {
        hello.push_str("PING\r\n");
    }
    writer.write_all(hello.as_bytes()).await?;
    let mut subscriptions: HashMap<String, String> = HashMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let out = match words.as_slice() {
            ["CONNECT", ..] if refused => b"-ERR 'Authorization Violation'\r\n".to_vec(),
            ["PING"] => b"PONG\r\n".to_vec(),
            ["SUB", subject, sid] => {
                subscriptions.insert((*subject).to_owned(), (*sid).to_owned());
                Vec::new()
            }
            ["PUB" | "HPUB", subject, rest @ ..] => {
                let sizes = if words[0] == "HPUB" { 2 } else { 1 };
                let number_at = |at: usize| rest[at].parse::<usize>().expect("a size");
                let (reply, first) =
                    if rest.len() > sizes { (Some(rest[0].to_owned()), 1) } else { (None, 0) };
                let total = number_at(rest.len() - 1);
                let head = if sizes == 2 { number_at(first) } else { 0 };
                let subject = (*subject).to_owned();
                let mut body = vec![0; total + 2];
                reader.read_exact(&mut body).await?;
                let payload = body[head..total].to_vec();
                if refused {
                    b"-ERR 'Authorization Violation'\r\n".to_vec()
                } else if subject.starts_with("_INBOX") {
                    let sid = subscriptions.get(&subject).filter(|_| !shared.manners.no_echo);
                    sid.map(|sid| message(&subject, sid, &payload)).unwrap_or_default()
                } else {
                    let asked = Asked { connection: number, subject, payload };
                    let answer = (shared.script)(&asked);
                    shared.asked.lock().expect("unpoisoned").push(asked);
                    match (answer, reply) {
                        (Answer::Close, _) => return Ok(()),
                        (Answer::Error(text), _) => format!("-ERR '{text}'\r\n").into_bytes(),
                        (Answer::Reply(bytes), Some(reply)) => message(&reply, "0", &bytes),
                        (Answer::NoResponders, Some(reply)) => {
                            format!("HMSG {reply} 0 16 16\r\nNATS/1.0 503\r\n\r\n\r\n").into_bytes()
                        }
                        (Answer::Reply(_) | Answer::NoResponders | Answer::Silence, _) => Vec::new(),
                    }
                }
            }
            _ => Vec::new(),
        };
        // One call for each answer, so that none is seen half.
        writer.write_all(&out).await?;
    }
}

fn message(subject: &str, sid: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("MSG {subject} {sid} {}\r\n", payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    bytes
}
