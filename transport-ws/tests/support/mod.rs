//! A tiny client that hides nothing: one connection a request, and bare frames.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use transport_ws::testing::{AgentChatServer, AgentChatServerBuilder, Profile};

pub(crate) const BOTH: [Profile; 2] = [Profile::Legacy, Profile::Current];
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a clock that stands still.
pub(crate) async fn frozen(profile: Profile) -> AgentChatServer {
    start(AgentChatServer::builder().profile(profile).manual_clock()).await
}

pub(crate) async fn start(builder: AgentChatServerBuilder) -> AgentChatServer {
    builder.start().await.expect("a free port")
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("JSON, not {:?}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The status and the error code, as they are compared most.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }
}

/// One request: build it, then `send` it.
pub(crate) struct Call<'a> {
    server: &'a AgentChatServer,
    method: &'a str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub(crate) fn call<'a>(server: &'a AgentChatServer, method: &'a str, path: impl Into<String>) -> Call<'a> {
    Call { server, method, path: path.into(), headers: Vec::new(), body: Vec::new() }
}

impl Call<'_> {
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: Value) -> Self {
        self.raw(body.to_string())
    }

    pub(crate) fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    /// The answer, or nothing if the connection ended before it did.
    pub(crate) async fn try_send(self) -> Option<Answer> {
        parse(&self.bytes().await)
    }

    /// Every byte that came back.
    pub(crate) async fn bytes(self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: double\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port())).await.expect("a listener");
        let mut bytes = Vec::new();
        let talk = async {
            // A server that cuts the connection may do so before all is written.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&self.body).await;
            let _ = stream.read_to_end(&mut bytes).await;
        };
        tokio::time::timeout(PATIENCE, talk).await.expect("an end of the connection");
        bytes
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &bytes[end + 4..];
    let answer = Answer { status, headers, text: String::from_utf8_lossy(body).into_owned() };
    let length: usize = answer.header("content-length").unwrap_or("0").parse().ok()?;
    (body.len() == length).then_some(answer)
}

pub(crate) async fn get(server: &AgentChatServer, key: &str, path: &str) -> Answer {
    call(server, "GET", path).key(key).send().await
}

pub(crate) async fn delete(server: &AgentChatServer, key: &str, path: &str) -> Answer {
    call(server, "DELETE", path).key(key).send().await
}

pub(crate) async fn post(server: &AgentChatServer, key: &str, path: &str, body: Value) -> Answer {
    call(server, "POST", path).key(key).body(body).send().await
}

/// A direct message.
pub(crate) async fn say(server: &AgentChatServer, key: &str, to: &str, id: &str, text: &str) -> Answer {
    let body = json!({ "to": to, "client_msg_id": id, "content": { "text": text } });
    post(server, key, "/v1/messages", body).await
}

/// A message to a group.
pub(crate) async fn tell(server: &AgentChatServer, key: &str, group: &str, id: &str, text: &str) -> Answer {
    let body = json!({ "conversation_id": group, "client_msg_id": id, "content": { "text": text } });
    post(server, key, "/v1/messages", body).await
}

/// Two agents that have answered each other: the keys and the conversation.
pub(crate) async fn friends(server: &AgentChatServer, one: &str, other: &str) -> (String, String, String) {
    let (first, second) = (server.agent(one), server.agent(other));
    let row = say(server, &first, other, &format!("open-{one}-{other}"), "hello").await.ok();
    say(server, &second, one, &format!("answer-{one}-{other}"), "hello yourself").await.ok();
    ack_all(server, &first).await;
    ack_all(server, &second).await;
    (first, second, row["conversation_id"].as_str().expect("an id").to_owned())
}

/// A group of which all are members; the first is its creator. What was announced is acknowledged.
pub(crate) async fn group(server: &AgentChatServer, handles: &[&str]) -> String {
    let creator = server.agent(handles[0]);
    let keys: Vec<String> = handles.iter().map(|handle| server.agent(handle)).collect();
    let body = json!({ "name": "Night shift", "member_handles": handles[1..] });
    let made = post(server, &creator, "/v1/groups", body).await.ok();
    let id = made["group"]["id"].as_str().expect("an id").to_owned();
    for key in &keys {
        for invite in get(server, key, "/v1/groups/invites").await.ok().as_array().expect("a list") {
            let path = format!("/v1/groups/invites/{}/accept", invite["id"].as_str().expect("an id"));
            call(server, "POST", path).key(key).send().await.ok();
        }
    }
    for key in &keys {
        ack_all(server, key).await;
    }
    id
}

pub(crate) async fn sync(server: &AgentChatServer, key: &str) -> Vec<Value> {
    get(server, key, "/v1/messages/sync?limit=500").await.ok().as_array().expect("a bare array").clone()
}

pub(crate) async fn ack_all(server: &AgentChatServer, key: &str) {
    while let Some(last) = sync(server, key).await.last() {
        post(server, key, "/v1/messages/sync/ack", json!({ "last_delivery_id": last["delivery_id"] }))
            .await
            .ok();
    }
}

pub(crate) fn texts(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["content"]["text"].as_str().unwrap_or("-").to_owned()).collect()
}

pub(crate) fn seqs(rows: &Value) -> Vec<u64> {
    rows.as_array().expect("a list").iter().map(|row| row["seq"].as_u64().expect("a number")).collect()
}

/// Something that came over a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Json(Value),
    Ping,
    Pong,
    Close(u16, String),
    /// The connection ended without a close frame.
    Ended,
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects with headers and says nothing.
    pub(crate) async fn open(server: &AgentChatServer, headers: &[(&'static str, &str)]) -> Socket {
        Self::try_open(server, headers).await.expect("an upgrade")
    }

    /// The status if there is no upgrade.
    pub(crate) async fn try_open(
        server: &AgentChatServer,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, u16> {
        let mut request = server.ws_url().into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        match tokio::time::timeout(PATIENCE, connect_async(request)).await.expect("an answer in time") {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects, says hello without capabilities, and takes in `hello.ok`.
    pub(crate) async fn hello(server: &AgentChatServer, key: &str) -> Socket {
        Self::greet(server, json!({ "type": "hello", "api_key": key })).await
    }

    /// The same, asking for acknowledgements.
    pub(crate) async fn acking(server: &AgentChatServer, key: &str) -> Socket {
        Self::greet(server, json!({ "type": "hello", "api_key": key, "capabilities": ["ack"] })).await
    }

    async fn greet(server: &AgentChatServer, hello: Value) -> Socket {
        let mut socket = Self::open(server, &[]).await;
        socket.send(hello).await;
        assert_eq!(socket.json().await["type"], "hello.ok");
        socket
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("an open socket");
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.expect("an open socket");
    }

    pub(crate) async fn ack(&mut self, id: &Value) {
        self.send(json!({ "type": "ack", "message_id": id })).await;
    }

    /// Whatever comes next, pongs being answered meanwhile.
    pub(crate) async fn next(&mut self) -> Got {
        let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something in time");
        match message {
            Some(Ok(Message::Text(text))) => Got::Json(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Ping(_))) => Got::Ping,
            Some(Ok(Message::Pong(_))) => Got::Pong,
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame
                    .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                Got::Close(code, reason)
            }
            Some(Ok(other)) => panic!("no frame of the server: {other:?}"),
            Some(Err(_)) | None => Got::Ended,
        }
    }

    /// The next JSON frame; pings are passed over.
    pub(crate) async fn json(&mut self) -> Value {
        loop {
            match self.next().await {
                Got::Json(value) => return value,
                Got::Ping | Got::Pong => {}
                other => panic!("a frame, not {other:?}"),
            }
        }
    }

    /// The payload of the next frame, which must be of that type.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        let frame = self.json().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame["payload"].clone()
    }

    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Got::Close(code, reason) => return (code, reason),
                Got::Ping | Got::Pong => {}
                Got::Ended => return (1006, String::new()),
                other => panic!("a close, not {other:?}"),
            }
        }
    }

    /// Proves that nothing else was pushed so far.
    pub(crate) async fn quiet(&mut self, server: &AgentChatServer, handle: &str) {
        server.push_raw(handle, &json!({ "type": "marker" }));
        assert_eq!(self.json().await, json!({ "type": "marker" }));
    }

    /// Ends the connection politely, and waits until the server is done with it.
    pub(crate) async fn close(mut self) {
        let _ = self.0.close(None).await;
        while let Some(Ok(_)) = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an end") {}
    }

    /// The bare connection, for what a client should not do.
    pub(crate) fn raw(&mut self) -> &mut TcpStream {
        match self.0.get_mut() {
            MaybeTlsStream::Plain(stream) => stream,
            _ => unreachable!("no TLS here"),
        }
    }
}
