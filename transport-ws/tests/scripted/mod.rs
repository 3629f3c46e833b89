//! A server that does what a test says and nothing else: REST as bytes, sockets as frames.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message;
use transport_ws::{AgentChatConfig, AgentChatConfigBuilder, AgentChatConnector, ApiKey};

pub(crate) const KEY: &str = "ac_scripted-0123456789-abcdefghijklmnopqrstu";

/// What a request is answered with: by its method and path, the whole answer as bytes.
pub(crate) type Rest = Arc<dyn Fn(&str, &str) -> Vec<u8> + Send + Sync>;
/// What happens on a socket: by its number, beginning with 0.
pub(crate) type Live = Arc<dyn Fn(usize, Line) -> BoxFuture<'static, ()> + Send + Sync>;

pub(crate) struct Scripted {
    pub(crate) base: String,
    heard: Arc<Mutex<Vec<(usize, String)>>>,
    load: Arc<Load>,
    task: JoinHandle<()>,
}

/// Requests under way.
#[derive(Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
    /// How many there were.
    all: AtomicUsize,
    /// Each takes a moment.
    slow: AtomicBool,
}

/// One socket of the server.
pub(crate) struct Line {
    socket: WebSocketStream<TcpStream>,
    number: usize,
    heard: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Scripted {
    /// REST that knows one agent, `bob`, for whom nothing waits.
    pub(crate) async fn live<F>(script: impl Fn(usize, Line) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(Arc::new(quiet), Arc::new(move |number, line| Box::pin(script(number, line)))).await
    }

    pub(crate) async fn start(rest: Rest, live: Live) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let (all, sockets) = (Arc::clone(&heard), Arc::new(AtomicUsize::new(0)));
        let load = Arc::<Load>::default();
        let loaded = Arc::clone(&load);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (rest, live) = (Arc::clone(&rest), Arc::clone(&live));
                let (sockets, heard) = (Arc::clone(&sockets), Arc::clone(&all));
                let load = Arc::clone(&loaded);
                while connections.try_join_next().is_some() {}
                connections.spawn(async move { serve(stream, rest, live, sockets, heard, &load).await });
            }
        });
        Self { base, heard, load, task }
    }

    pub(crate) fn config(&self) -> AgentChatConfigBuilder {
        AgentChatConfig::builder(ApiKey::new(KEY).expect("a key")).with_base_url(&self.base)
    }

    pub(crate) fn connector(&self) -> AgentChatConnector {
        AgentChatConnector::new(self.config().build().expect("valid")).expect("a connector")
    }

    /// Lets each request take a moment, so that those that are made at once are seen to be.
    pub(crate) fn answer_slowly(&self) {
        self.load.slow.store(true, Ordering::Relaxed);
    }

    /// How many requests by REST there were.
    pub(crate) fn asked(&self) -> usize {
        self.load.all.load(Ordering::Relaxed)
    }

    /// How many requests by REST were under way at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.load.most.load(Ordering::Relaxed)
    }

    /// The frames that came after the greeting, each with the number of its socket.
    pub(crate) fn heard(&self) -> Vec<(usize, String)> {
        self.heard.lock().expect("no panic").clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    /// Takes the greeting and answers it.
    pub(crate) async fn greet(&mut self, capabilities: &str) {
        while let Some(Ok(message)) = self.socket.next().await {
            if message.is_text() {
                break;
            }
        }
        self.text(format!(r#"{{"type":"hello.ok","capabilities":{capabilities}}}"#)).await;
    }

    pub(crate) async fn text(&mut self, text: impl Into<String>) {
        self.message(Message::text(text.into())).await;
    }

    /// A client that has gone away already is no failure of the server.
    pub(crate) async fn message(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// Bytes that are no frame of this library's making.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.socket.get_mut().write_all(bytes).await;
        let _ = self.socket.get_mut().flush().await;
    }

    /// Keeps what the client says until it goes or the time is over.
    pub(crate) async fn listen(&mut self, time: Duration) {
        let listening = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Text(text) = message {
                    self.heard.lock().expect("no panic").push((self.number, text.to_string()));
                }
            }
        };
        let _ = tokio::time::timeout(time, listening).await;
    }

    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

/// A pushed message.
pub(crate) fn pushed(id: &str, seq: u64, text: &str) -> String {
    let payload = serde_json::json!({"id": id, "conversation_id": "conv_1", "client_msg_id": format!("c-{id}"),
        "seq": seq, "type": "text", "content": {"text": text}, "metadata": {}, "sender": "alice"});
    format!(r#"{{"type":"message.new","payload":{payload}}}"#)
}

/// An answer of JSON.
pub(crate) fn json(body: &str) -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\n", body)
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// Nothing waits for `bob`.
pub(crate) fn quiet(method: &str, path: &str) -> Vec<u8> {
    match (method, path) {
        ("GET", "/v1/agents/me") => json(r#"{"handle":"bob","status":"active"}"#),
        ("GET", path) if path.starts_with("/v1/messages") => json("[]"),
        _ => answer("404 Not Found", "", ""),
    }
}

async fn serve(
    mut stream: TcpStream,
    rest: Rest,
    live: Live,
    sockets: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<(usize, String)>>>,
    load: &Load,
) {
    let mut head = vec![0; 16 * 1024];
    let whole = loop {
        let Ok(length @ 1..) = stream.peek(&mut head).await else { return };
        let text = String::from_utf8_lossy(&head[..length]).into_owned();
        if text.contains("\r\n\r\n") {
            break text;
        }
        tokio::task::yield_now().await;
    };
    if whole.to_ascii_lowercase().contains("upgrade: websocket") {
        let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let number = sockets.fetch_add(1, Ordering::Relaxed);
        return live(number, Line { socket, number, heard }).await;
    }
    let mut words = whole.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    load.all.fetch_add(1, Ordering::Relaxed);
    load.most.fetch_max(load.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    if load.slow.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    load.now.fetch_sub(1, Ordering::Relaxed);
    let _ = stream.write_all(&rest(method, path)).await;
    // What came in is read, or the answer could be cut off by a reset.
    let _ = stream.shutdown().await;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut head)).await;
}
