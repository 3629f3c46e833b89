//! A NATS client that shows every byte: it does nothing by itself, and forgives nothing.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A CONNECT both profiles take.
pub(crate) const CONNECT: &str = concat!(
    r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"name":"raw","lang":"rust","#,
    r#""version":"0","protocol":1,"echo":true,"headers":true,"no_responders":true}"#,
    "\r\n"
);

/// How long an expected answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long silence must last to count as no answer, where nothing better can prove it.
pub(crate) const QUIET: Duration = Duration::from_millis(60);

/// One thing the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Line(String),
    Message(Message),
    Closed,
}

/// A `MSG` or `HMSG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) sid: String,
    pub(crate) reply: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a reply is JSON")
    }
}

/// A raw connection.
pub(crate) struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    inboxes: u32,
}

impl Raw {
    /// Connects and does nothing else.
    pub(crate) async fn open(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the broker listens");
        stream.set_nodelay(true).expect("a TCP option");
        Raw { stream, buffer: Vec::new(), inboxes: 0 }
    }

    /// Connects, says CONNECT, and has a multiplexer on sid 0 as async-nats has.
    pub(crate) async fn connect(port: u16) -> Raw {
        let mut raw = Raw::open(port).await;
        raw.say(CONNECT).await;
        raw.say("SUB _INBOX.raw.* 0\r\n").await;
        raw.fence().await;
        raw
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the connection is open");
    }

    /// The next thing the server says; fails the test when nothing comes.
    pub(crate) async fn hear(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.next()).await.expect("the server says something")
    }

    /// As [`Raw::hear`], but silence is an answer.
    pub(crate) async fn hear_within(&mut self, limit: Duration) -> Option<Heard> {
        tokio::time::timeout(limit, self.next()).await.ok()
    }

    /// Everything said until the answer to a PING sent now.
    pub(crate) async fn fence(&mut self) -> Vec<Heard> {
        self.say("PING\r\n").await;
        let mut heard = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.hear_within(QUIET).await {
                Some(Heard::Line(line)) if line == "PONG" => return heard,
                Some(Heard::Closed) => panic!("closed after {heard:?}"),
                Some(other) => heard.push(other),
                None if Instant::now() > deadline => panic!("no PONG after {heard:?}"),
                // RobustMQ may hold the PING back behind a line it threw away, until more bytes come.
                None => self.say("\r\n").await,
            }
        }
    }

    /// Everything said until the connection ends.
    pub(crate) async fn until_closed(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            match self.hear().await {
                Heard::Closed => return heard,
                other => heard.push(other),
            }
        }
    }

    pub(crate) async fn publish(&mut self, subject: &str, reply: Option<&str>, body: &[u8]) {
        let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
        let mut frame = format!("PUB {subject} {reply}{}\r\n", body.len()).into_bytes();
        frame.extend_from_slice(body);
        frame.extend_from_slice(b"\r\n");
        self.say(frame).await;
    }

    /// Publishes with a fresh reply subject under the multiplexer, and returns that subject.
    pub(crate) async fn ask(&mut self, subject: &str, body: &[u8]) -> String {
        self.inboxes += 1;
        let inbox = format!("_INBOX.raw.{}", self.inboxes);
        self.publish(subject, Some(&inbox), body).await;
        inbox
    }

    /// Asks and returns the reply, passing over everything else.
    pub(crate) async fn request(&mut self, subject: &str, body: &str) -> Message {
        let inbox = self.ask(subject, body.as_bytes()).await;
        loop {
            match self.hear().await {
                Heard::Message(message) if message.subject == inbox => return message,
                Heard::Closed => panic!("closed instead of answering {subject}"),
                _ => {}
            }
        }
    }

    /// Raw bytes until they are `enough`, and what follows within [`QUIET`].
    pub(crate) async fn bytes(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        loop {
            let limit = if enough(&all) { QUIET } else { PATIENCE };
            match tokio::time::timeout(limit, self.stream.read_buf(&mut all)).await {
                Ok(Ok(1..)) => {}
                _ => return all,
            }
        }
    }

    async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.take() {
                return heard;
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Heard::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Heard::Closed,
                Err(error) => panic!("reading failed: {error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Heard> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8(self.buffer[..end].to_vec()).expect("a line is text");
        let start = end + 2;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let with_header = match verb {
            "MSG" => false,
            "HMSG" => true,
            _ => {
                self.buffer.drain(..start);
                return Some(Heard::Line(line));
            }
        };
        let mut fields: Vec<&str> = rest.split(' ').collect();
        let mut number = || fields.pop().and_then(|field| field.parse::<usize>().ok()).expect("a length");
        let total = number();
        let header_length = if with_header { number() } else { 0 };
        if self.buffer.len() < start + total + 2 {
            return None;
        }
        let header = String::from_utf8(self.buffer[start..start + header_length].to_vec()).expect("text");
        let message = Message {
            subject: fields[0].to_owned(),
            sid: fields[1].to_owned(),
            reply: fields.get(2).map(|reply| (*reply).to_owned()),
            header: with_header.then_some(header),
            body: self.buffer[start + header_length..start + total].to_vec(),
        };
        assert_eq!(&self.buffer[start + total..start + total + 2], b"\r\n", "a message ends with CR LF");
        self.buffer.drain(..start + total + 2);
        Some(Heard::Message(message))
    }
}

/// The `-ERR` lines among what was heard.
pub(crate) fn errors(heard: &[Heard]) -> Vec<String> {
    heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Line(line) if line.starts_with("-ERR") => Some(line.clone()),
            _ => None,
        })
        .collect()
}

/// The messages among what was heard.
pub(crate) fn messages(heard: Vec<Heard>) -> Vec<Message> {
    heard
        .into_iter()
        .filter_map(|heard| match heard {
            Heard::Message(message) => Some(message),
            _ => None,
        })
        .collect()
}
