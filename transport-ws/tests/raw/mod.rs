//! A server of raw bytes: it answers request after request with what it was told to, and keeps what it saw.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use transport_ws::http::RetryPolicy;
use transport_ws::{AgentChat, AgentChatConfig, ApiKey};

pub(crate) const KEY: &str = "ac_0123456789abcdefghijklmnopqrstuvwxyz";

/// What a request is answered with.
#[derive(Clone)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    /// The bytes, and then the connection is cut.
    ThenCut(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The head of an answer without end, then a few bytes again and again.
    Drip,
    /// A chunked answer without end, as fast as it is read.
    Flood(u16),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

pub(crate) struct Server {
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with `lines` of headers and a body.
pub(crate) fn reply_with(status: u16, lines: &[(&str, &str)], body: &str) -> Reply {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} Whatever\r\n{lines}content-length: {}\r\n\r\n", body.len());
    Reply::Bytes(format!("{head}{body}").into_bytes())
}

pub(crate) fn reply(status: u16, body: &str) -> Reply {
    reply_with(status, &[("content-type", "application/json")], body)
}

/// A refusal with a code.
pub(crate) fn refusal(status: u16, code: &str) -> Reply {
    reply(status, &format!(r#"{{"code":"{code}","message":"no"}}"#))
}

impl Server {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<std::collections::VecDeque<_>>()));
        let all = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, all.clone(), replies.clone()));
            }
        });
        Self { base, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panicked here").clone()
    }

    /// The only request there was.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub(crate) fn config(&self) -> transport_ws::AgentChatConfigBuilder {
        let key = ApiKey::new(KEY).expect("valid");
        AgentChatConfig::builder(key).with_base_url(&self.base)
    }

    /// A client that tries again quickly.
    pub(crate) fn client(&self) -> AgentChat {
        let policy = RetryPolicy::default().with_waits(Duration::from_millis(2), Duration::from_secs(8));
        AgentChat::new(&self.config().build().expect("usable")).expect("a client").with_retry(policy)
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Seen>>>,
    replies: Arc<Mutex<std::collections::VecDeque<Reply>>>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = request(&mut stream, &mut buffer).await {
        seen.lock().expect("no panic").push(request);
        let reply = replies.lock().expect("no panic").pop_front();
        let reply = reply.unwrap_or_else(|| refusal(418, "SCRIPT_OVER"));
        let sent = match reply {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await,
            Reply::ThenCut(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Drip => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n[").await;
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return;
            }
            Reply::Flood(status) => {
                let head = format!("HTTP/1.1 {status} OK\r\ntransfer-encoding: chunked\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
                while stream.write_all(&chunk).await.is_ok() {}
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).ok()?;
            let mut lines = head.split("\r\n");
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
            let headers: Vec<_> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
            buffer.drain(..end + 4 + length);
            return Some(Seen { method, path, headers, body });
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
