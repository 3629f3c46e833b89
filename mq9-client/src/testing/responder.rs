//! The mq9 double's engine behind a real NATS server.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::broker::surface;
use super::wire::MQ9_PREFIX;
use super::wire::due::{self, DueReply, Reply};
use super::{Command, EngineHost, Outcome};

/// Serves mq9 on a NATS server: subscribes to its subjects over one connection and answers with the
/// double's engine.
///
/// Commands are carried out in the order they arrive, and answered in that order; only a FETCH that waits
/// is answered later, and delays nobody. Replies carry no headers. A subject the engine does not know
/// gets no answer at all. A reply larger than the server carries becomes an `error` reply saying so.
///
/// Dropping it stops it.
pub struct Responder {
    stop: Option<oneshot::Sender<()>>,
    serving: JoinSet<()>,
    server: AbortHandle,
    delivering: JoinSet<()>,
}

/// How a [`Responder`] reaches its server.
#[must_use = "a builder does nothing before it is started"]
pub struct ResponderBuilder {
    url: String,
    host: EngineHost,
    options: ConnectOptions,
}

impl Responder {
    /// Connects and starts answering. When this returns, no request made afterwards goes unheard.
    ///
    /// The URL is `nats://`, `tls://`, `mq9://` or `mq9s://`, and may carry `user:password@` or `token@`,
    /// taken as they stand, without percent-decoding.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, refuses the credentials, or answers nothing for 5 s.
    pub async fn start(nats_url: &str, host: EngineHost) -> io::Result<Self> {
        Self::builder(nats_url, host).start().await
    }

    /// For servers that ask for more than a URL can say.
    pub fn builder(nats_url: &str, host: EngineHost) -> ResponderBuilder {
        ResponderBuilder { url: nats_url.to_owned(), host, options: ConnectOptions::new() }
    }

    /// Stops answering: requests made after this returns find no responder. FETCHes still waiting are
    /// never answered.
    ///
    /// # Panics
    ///
    /// If one of its tasks did.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the task is gone, which is what is wanted.
            let _ = stop.send(());
        }
        while let Some(ended) = self.serving.join_next().await {
            surface(ended);
        }
        self.delivering.abort_all();
        while let Some(ended) = self.delivering.join_next().await {
            surface(ended);
        }
    }

    /// Whether it still answers; `false` after the task died, for instance by a panic in the engine.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.server.is_finished()
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

impl ResponderBuilder {
    /// Logs in with a user name and password.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.options = self.options.user_and_password(user.into(), password.into());
        self
    }

    /// Logs in with a token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options = self.options.token(token.into());
        self
    }

    /// Logs in with an nkey, given as its seed.
    pub fn nkey_seed(mut self, seed: impl Into<String>) -> Self {
        self.options = self.options.nkey(seed.into());
        self
    }

    /// Trusts the certificate authorities in this PEM file.
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.options = self.options.add_root_certificates(path.into()).require_tls(true);
        self
    }

    /// Shows this certificate to the server; both files are PEM.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.options = self.options.add_client_certificate(certificate.into(), key.into());
        self
    }

    /// As [`Responder::start`].
    ///
    /// # Errors
    ///
    /// As [`Responder::start`].
    pub async fn start(self) -> io::Result<Responder> {
        tokio::time::timeout(START_TIMEOUT, self.connect()).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the NATS server does not answer"))
        })
    }

    async fn connect(mut self) -> io::Result<Responder> {
        let url = std::mem::take(&mut self.url);
        let (scheme, rest) = url.split_once("://").unwrap_or(("nats", &url));
        let (login, server) = rest.rsplit_once('@').unwrap_or(("", rest));
        // The client library reads no login from the URL.
        match login.split_once(':') {
            Some((user, password)) => self = self.user(user, password),
            None if !login.is_empty() => self = self.token(login),
            None => {}
        }
        let scheme = match scheme {
            "mq9" => "nats",
            "mq9s" => "tls",
            other => other,
        };
        let url = format!("{scheme}://{server}");
        let client = self.options.name("mq9-double").connect(url).await.map_err(io::Error::other)?;
        let subscriber = client.subscribe(format!("{MQ9_PREFIX}.>")).await.map_err(io::Error::other)?;
        round_trip(&client).await?;

        let (due_sender, due_receiver) = due::channel();
        let mut delivering = JoinSet::new();
        let publisher = client.clone();
        let deliver = move |reply| {
            let client = publisher.clone();
            async move { answer(&client, reply).await }
        };
        delivering.spawn(due::deliver_when_due(self.host.clone(), due_receiver, deliver));
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        let server = serving.spawn(serve(client, subscriber, self.host, due_sender, stopped));
        Ok(Responder { stop: Some(stop), serving, server, delivering })
    }
}

impl fmt::Debug for ResponderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("ResponderBuilder").finish_non_exhaustive()
    }
}

async fn serve(
    client: Client,
    mut subscriber: Subscriber,
    host: EngineHost,
    due: mpsc::Sender<DueReply>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let message = tokio::select! {
            biased;
            _ = &mut stopped => break,
            message = subscriber.next() => message,
        };
        let Some(message) = message else { return };
        let header = message.headers.as_ref().map(header_block);
        let outcome = host.submit(Command {
            subject: &message.subject,
            header: header.as_deref(),
            payload: &message.payload,
        });
        let Message { reply: Some(to), .. } = message else { continue };
        let to = to.into_string();
        match outcome {
            Outcome::Reply(body) => answer(&client, Reply { to, body }).await,
            Outcome::ReplyAt { at_ms, body } => {
                // Fails only while stopping.
                let _ = due.send(DueReply { at_ms, reply: Reply { to, body } }).await;
            }
            _ => {}
        }
    }
    // Gone from the server before `stop` returns; a server that is gone itself has forgotten us anyway.
    let farewell = async {
        let _ = subscriber.unsubscribe().await;
        let _ = round_trip(&client).await;
    };
    let _ = tokio::time::timeout(STOP_TIMEOUT, farewell).await;
}

async fn answer(client: &Client, Reply { to, body }: Reply) {
    let limit = client.max_payload();
    let body = if body.len() > limit { too_large(body.len(), limit) } else { body };
    // Fails only once the client is closed, and then nobody can be told.
    let _ = client.publish(to, body).await;
}

fn too_large(size: usize, limit: usize) -> Bytes {
    let text = format!("reply of {size} bytes is larger than the {limit} bytes the NATS server carries");
    Bytes::from(serde_json::json!({ "error": text }).to_string())
}

/// Returns once the server has dealt with everything sent before.
async fn round_trip(client: &Client) -> io::Result<()> {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.map_err(io::Error::other)?;
    client.publish(inbox, Bytes::new()).await.map_err(io::Error::other)?;
    echo.next().await.map(|_| ()).ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
}

/// The raw block the engine reads. The order of names is lost on the way; that of equal names is not.
fn header_block(headers: &HeaderMap) -> Vec<u8> {
    let mut lines: Vec<(String, &str)> = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str())))
        .collect();
    lines.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut block = b"NATS/1.0\r\n".to_vec();
    for (name, value) in lines {
        block.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    block.extend_from_slice(b"\r\n");
    block
}

const START_TIMEOUT: Duration = Duration::from_secs(5);
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_the_block_they_were() {
        let mut headers = HeaderMap::new();
        headers.append("mq9-tags", "b");
        headers.append("mq9-key", "k 1");
        headers.append("mq9-tags", "a");
        let expected = "NATS/1.0\r\nmq9-key: k 1\r\nmq9-tags: b\r\nmq9-tags: a\r\n\r\n";
        assert_eq!(String::from_utf8(header_block(&headers)).unwrap(), expected);
    }

    #[test]
    fn a_reply_too_large_becomes_an_error_reply() {
        let reply: serde_json::Value = serde_json::from_slice(&too_large(9, 8)).unwrap();
        assert!(reply["error"].as_str().unwrap().contains("larger than"));
    }
}
