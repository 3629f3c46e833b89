//! The raw limits: a `tokio-tungstenite` loop that parses and counts, and one that reads pages.

use std::hint::black_box;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::row::{Pushed, Row};

/// A socket that has greeted.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn connect(url: &str, config: Option<WebSocketConfig>) -> Self {
        let url = format!("{}/v1/ws", url.replacen("http", "ws", 1));
        let (mut socket, _) = connect_async_with_config(url, config, true).await.expect("connected");
        let hello = r#"{"type":"hello","api_key":"raw","capabilities":["ack"]}"#;
        socket.send(Message::text(hello)).await.expect("greeted");
        let answer = socket.next().await.expect("an answer").expect("no error");
        assert!(answer.to_text().expect("text").contains("hello.ok"));
        Self(socket)
    }

    /// Reads and parses `count` rows; acknowledges each, with one flush where no frame is ready.
    pub async fn read(&mut self, count: usize, acks: bool) {
        for left in (0..count).rev() {
            let message = match self.0.next().now_or_never() {
                Some(message) => message,
                None => {
                    if acks {
                        self.0.flush().await.expect("written");
                    }
                    self.0.next().await
                }
            };
            let message = message.expect("the socket stands").expect("no error");
            let pushed: Pushed =
                serde_json::from_str(message.to_text().expect("text")).expect("a pushed row");
            assert_eq!(pushed.kind, "message.new");
            if acks {
                let ack = format!(r#"{{"type":"ack","message_id":"{}"}}"#, pushed.payload.id);
                self.0.feed(Message::text(ack)).await.expect("taken");
            }
            black_box(pushed.payload);
            if acks && left == 0 {
                self.0.flush().await.expect("written");
            }
        }
    }

    /// Waits until the socket ends.
    pub async fn idle(mut self) {
        while self.0.next().await.is_some() {}
    }
}

/// Reads pages over one connection that is kept, and acknowledges each by its cursor.
pub struct Pages {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Pages {
    pub async fn connect(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("connected");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, read: Vec::new() }
    }

    /// Reads all that waits; returns how many rows that was.
    pub async fn read(&mut self, page: usize) -> usize {
        let (mut cursor, mut count) = (String::new(), 0);
        loop {
            let after = if cursor.is_empty() { String::new() } else { format!("&after={cursor}") };
            let get = format!("GET /v1/messages/sync?limit={page}{after} HTTP/1.1\r\nhost: raw\r\n\r\n");
            let rows: Vec<Row> = serde_json::from_slice(&self.ask(&get).await).expect("a page");
            count += rows.len();
            let Some(last) = rows.last() else { return count };
            cursor = last.delivery_id.clone().expect("a cursor");
            let ack = format!(r#"{{"last_delivery_id":"{cursor}"}}"#);
            let head = "POST /v1/messages/sync/ack HTTP/1.1\r\nhost: raw\r\ncontent-type: application/json";
            black_box(self.ask(&format!("{head}\r\ncontent-length: {}\r\n\r\n{ack}", ack.len())).await);
            if black_box(rows).len() < page {
                return count;
            }
        }
    }

    /// How long a request takes on the connection that there is.
    pub async fn trip(&mut self) -> Duration {
        let began = Instant::now();
        black_box(self.ask("GET /v1/messages/sync?limit=1&after=none HTTP/1.1\r\nhost: raw\r\n\r\n").await);
        began.elapsed()
    }

    async fn ask(&mut self, request: &str) -> Vec<u8> {
        self.stream.write_all(request.as_bytes()).await.expect("written");
        self.read.clear();
        let (begin, length) = loop {
            self.stream.read_buf(&mut self.read).await.expect("read");
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.read[..at]).expect("text");
                let length = head.split("content-length: ").nth(1).expect("a length");
                let length = length.lines().next().expect("a line").parse::<usize>().expect("a number");
                break (at + 4, length);
            }
        };
        while self.read.len() < begin + length {
            self.stream.read_buf(&mut self.read).await.expect("read");
        }
        self.read[begin..begin + length].to_vec()
    }
}
