//! A WebSocket client that does only what it is told: it answers no ping and no close by itself.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Json(Value),
    Ping,
    Pong(String),
    Close(u16, String),
    Ended,
}

pub(crate) struct RawSocket {
    write: OwnedWriteHalf,
    got: mpsc::UnboundedReceiver<Got>,
    reader: JoinHandle<()>,
}

impl RawSocket {
    /// The status instead, if there is no upgrade.
    pub(crate) async fn connect(port: u16, path: &str, key: Option<&str>) -> Result<RawSocket, u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a listener");
        let mut head =
            format!("GET {path} HTTP/1.1\r\nhost: double\r\nupgrade: websocket\r\nconnection: Upgrade\r\n");
        head.push_str("sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
        if let Some(key) = key {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8(answer).expect("text");
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        if status != 101 {
            return Err(status);
        }
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the key is answered");
        let (read, write) = stream.into_split();
        let (out, got) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_all(read, out));
        Ok(RawSocket { write, got, reader })
    }

    pub(crate) async fn text(&mut self, text: &[u8]) {
        self.frame(0x1, text).await;
    }

    pub(crate) async fn binary(&mut self, bytes: &[u8]) {
        self.frame(0x2, bytes).await;
    }

    pub(crate) async fn ping(&mut self, payload: &str) {
        self.frame(0x9, payload.as_bytes()).await;
    }

    pub(crate) async fn pong(&mut self) {
        self.frame(0xa, b"").await;
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.frame(0x8, &payload).await;
    }

    pub(crate) async fn close_without_code(&mut self) {
        self.frame(0x8, b"").await;
    }

    pub(crate) async fn next(&mut self) -> Got {
        let next = tokio::time::timeout(Duration::from_secs(10), self.got.recv()).await;
        next.expect("something in time").unwrap_or(Got::Ended)
    }

    /// What came and was not asked for.
    pub(crate) fn rest(&mut self) -> Vec<Got> {
        let mut rest = Vec::new();
        while let Ok(got) = self.got.try_recv() {
            rest.push(got);
        }
        rest
    }

    async fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=65_535 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.write.write_all(&frame).await.expect("written");
    }
}

impl Drop for RawSocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_all(mut read: OwnedReadHalf, out: mpsc::UnboundedSender<Got>) {
    loop {
        let got = read_one(&mut read).await.unwrap_or(Got::Ended);
        let over = got == Got::Ended;
        if out.send(got).is_err() || over {
            return;
        }
    }
}

async fn read_one(read: &mut OwnedReadHalf) -> std::io::Result<Got> {
    let opcode = read.read_u8().await? & 0xf;
    let length = match read.read_u8().await? {
        126 => usize::from(read.read_u16().await?),
        127 => usize::try_from(read.read_u64().await?).expect("a length"),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    read.read_exact(&mut payload).await?;
    Ok(match opcode {
        0x1 => Got::Json(serde_json::from_slice(&payload).expect("JSON")),
        0x8 if payload.is_empty() => Got::Close(1005, String::new()),
        0x8 => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            Got::Close(code, String::from_utf8(payload[2..].to_vec()).expect("a reason"))
        }
        0x9 => Got::Ping,
        0xa => Got::Pong(String::from_utf8(payload).expect("text")),
        other => panic!("no frame of a server: {other}"),
    })
}
