//! One request, from its bytes to its answer's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::host::Host;
use super::io::Writing;
use super::socket::{self, Greeting};
use crate::testing::engine::{self, Body, Engine, Reply};
use crate::testing::faults::HttpFault;
use crate::testing::journal::JournalEntry;

/// Where a request came in.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) host: Arc<Host>,
    pub(crate) writing: Arc<Writing>,
    pub(crate) peer: IpAddr,
}

/// A request that was read whole.
struct Received {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Connection {
    /// Answers, under whatever fault is scripted for the request.
    pub(crate) async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let fault = self.host.script.take(request.method().as_str(), request.uri().path());
        self.writing.drip(fault.drip);
        let upgrade = is_upgrade(request.headers());
        let pending = upgrade.then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Lost)?.to_bytes();
        let received = Received {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
        };
        if fault.hang {
            self.note(&received, 0);
            return std::future::pending().await;
        }
        if fault.unseen {
            self.writing.cut_after(0);
            self.note(&received, 0);
            return Err(Lost);
        }
        if let Some(pending) = pending
            && fault.canned.is_none()
        {
            return self.upgrade(&received, pending, &fault).await;
        }
        let response = match &fault.canned {
            Some(canned) => {
                let response = Response::new(Full::new(Bytes::from(canned.body.clone())));
                self.finish(response, canned.status, &canned.content_type, &received, true)
            }
            None => self.think(&received, &fault).await,
        };
        let mut response = response;
        for (name, value) in &fault.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        pause(fault.delay).await;
        if let Some(bytes) = fault.cut_after {
            self.writing.cut_after(bytes);
        }
        let lost = fault.cut_after == Some(0);
        self.note(&received, if lost { 0 } else { response.status().as_u16() });
        if lost { Err(Lost) } else { Ok(response) }
    }

    async fn think(&self, received: &Received, fault: &HttpFault) -> Response<Full<Bytes>> {
        let address = self.address(received);
        if !fault.work.is_zero() {
            self.host.with(|engine, now| engine.lock_key(now, &received.to_engine(&address)));
            pause(fault.work).await;
            self.host.with(|engine, _| engine.unlock_key(&received.to_engine(&address)));
        }
        if received.headers.contains_key("authorization") {
            pause(self.host.script.outage()).await;
        }
        let (reply, unknown) = self.host.with(|engine, now| {
            (engine.handle(now, &received.to_engine(&address)), engine.switches.unknown_members)
        });
        self.respond(reply, received, unknown)
    }

    async fn upgrade(
        &self,
        received: &Received,
        pending: hyper::upgrade::OnUpgrade,
        fault: &HttpFault,
    ) -> Result<Response<Full<Bytes>>, Lost> {
        let key = received.headers.get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
        let (Some(accept), "/v1/ws") = (key, received.path.as_str()) else {
            self.note(received, 404);
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        };
        let bearer = received.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if bearer.is_some() {
            pause(self.host.script.outage()).await;
        }
        let rejection = self.host.look(|engine| {
            let bad = bearer.is_some_and(|key| engine.holder(key).is_none());
            engine.switches.reject_upgrade.filter(|_| bad && !engine.database_down)
        });
        if let Some(status) = rejection {
            self.note(received, status);
            let reply = Reply::error(status, "UNAUTHORIZED", "Invalid API key");
            return Ok(self.respond(reply, received, false));
        }
        let greeting = Greeting {
            key: bearer.map(str::to_owned),
            ack: received.header("x-agentchat-capabilities").is_some_and(|value| value.contains("ack")),
            headers: received.header_list(),
        };
        let host = Arc::clone(&self.host);
        let delay = fault.delay;
        self.host.spawn_socket(async move {
            if let Ok(upgraded) = pending.await {
                pause(delay).await;
                Box::pin(socket::serve(host, TokioIo::new(upgraded), greeting)).await;
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("upgrade", HeaderValue::from_static("websocket"));
        headers.insert("connection", HeaderValue::from_static("Upgrade"));
        headers.insert("sec-websocket-accept", HeaderValue::try_from(accept).map_err(|_| Lost)?);
        self.note(received, 101);
        Ok(response)
    }

    fn respond(&self, reply: Reply, received: &Received, unknown_members: bool) -> Response<Full<Bytes>> {
        let (content_type, body) = match reply.body {
            Body::Json(mut body) => {
                if unknown_members {
                    Engine::with_unknown_members(&mut body);
                }
                ("application/json", body.to_string())
            }
            Body::Text(body) => (PLAIN, body),
            Body::Crash => (PLAIN, String::new()),
        };
        let named = !(body.is_empty() && reply.status == 500);
        let response = Response::new(Full::new(Bytes::from(body)));
        let mut response = self.finish(response, reply.status, content_type, received, named);
        for (name, value) in reply.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    /// Status, type, and the name of the request.
    fn finish(
        &self,
        mut response: Response<Full<Bytes>>,
        status: u16,
        content_type: &str,
        received: &Received,
        named: bool,
    ) -> Response<Full<Bytes>> {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Ok(content_type) = HeaderValue::try_from(content_type) {
            headers.insert("content-type", content_type);
        }
        if named {
            let given = received.header("x-request-id").filter(|id| !id.is_empty() && id.len() <= 128);
            let name = given.map_or_else(|| self.host.request_id(), str::to_owned);
            if let Ok(name) = HeaderValue::try_from(name) {
                headers.insert("x-request-id", name);
            }
        }
        response
    }

    /// Whom the limits for unknown callers count: what the edge says, else the peer.
    fn address(&self, received: &Received) -> String {
        received.header("fly-client-ip").map_or_else(|| self.peer.to_string(), str::to_owned)
    }

    fn note(&self, received: &Received, status: u16) {
        let key = received.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let handle =
            key.and_then(|key| self.host.look(|engine| engine.handle_of_key(key).map(str::to_owned)));
        let path = match received.query.as_str() {
            "" => received.path.clone(),
            query => format!("{}?{query}", received.path),
        };
        self.host.journal.note(JournalEntry::Request {
            method: received.method.clone(),
            path,
            handle,
            headers: received.header_list(),
            body: received.body.to_vec(),
            status,
        });
    }
}

impl Received {
    fn to_engine<'a>(&'a self, address: &'a str) -> engine::Request<'a> {
        engine::Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            authorization: self.header("authorization"),
            idempotency_key: self.header("idempotency-key"),
            address,
            body: &self.body,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn header_list(&self) -> Vec<(String, String)> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect()
    }
}

/// The connection ends here, on purpose or because the client broke off.
#[derive(Debug)]
pub(crate) struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Lost {}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get("upgrade").and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

const PLAIN: &str = "text/plain; charset=UTF-8";
/// More than the largest body the server has a use for.
const MAX_BODY: usize = 16 * 1024 * 1024;
