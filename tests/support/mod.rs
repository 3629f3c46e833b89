//! What several scenarios share: waiting with a limit, agents over a broker, handlers that take notes.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

#[path = "../../mq9-client/tests/support/scripted.rs"]
pub mod scripted;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentchat_core::{Address, Agent, Body, Handler, Outbound, Request};
use mq9_client::testing::{Broker, EngineProfile, WireProfile};
use mq9_client::{Client, ConnectOptions, CreateMailbox, Lifetime, MailAddress, Reconnect};
use tokio::sync::mpsc;
use transport_mq9::Mq9Connector;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// Fails instead of hanging.
pub async fn within<F: Future>(seconds: u64, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not end within {seconds} s"),
    }
}

/// Returns once `holds` says so.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(20, what, async {
        while !holds().await {
            tokio::time::sleep(5 * MS).await;
        }
    })
    .await;
}

/// A broker in memory that answers as recorded, over standard NATS.
pub async fn broker() -> Broker {
    Broker::builder().start().await.expect("a free port")
}

/// A broker for each form of the wire.
pub async fn both_wires() -> [Broker; 2] {
    let of = |wire| Broker::builder().engine(EngineProfile::robustmq()).wire(wire).start();
    [of(WireProfile::Standard).await.expect("a port"), of(WireProfile::RobustMq).await.expect("a port")]
}

/// A connector with an inbox of its own: the same agent again at each connect.
pub fn connector(broker: &Broker, name: &str) -> Mq9Connector {
    connector_with(broker, name, ConnectOptions::new())
}

/// The same with connect options.
pub fn connector_with(broker: &Broker, name: &str, options: ConnectOptions) -> Mq9Connector {
    let builder = Mq9Connector::builder(broker.url()).generated_inbox(name).connect_options(options);
    builder.build().expect("a valid connector")
}

/// Calls that are not answered end after this long.
pub fn impatient(patience: Duration) -> ConnectOptions {
    ConnectOptions::new().with_request_timeout(patience).with_connect_timeout(patience)
}

/// A client that comes back fast.
pub async fn fast_client(url: &str) -> Client {
    let options = ConnectOptions::new().with_reconnect(Reconnect::backoff(MS, 10 * MS));
    within(10, "connecting", options.connect(url)).await.expect("connects")
}

pub async fn start(connector: &Mq9Connector) -> Agent {
    within(10, "starting", Agent::builder(connector.clone()).start()).await.expect("the agent starts")
}

pub fn text(to: &Address, text: impl Into<String>) -> Outbound {
    Outbound::new(to.clone(), Body::text(text))
}

/// A handler that settles every message and tells its text.
pub fn notes() -> (impl Handler, mpsc::Receiver<String>) {
    let (told, heard) = mpsc::channel(10_000);
    let handler = move |request: Request| {
        let told = told.clone();
        async move { Ok(told.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    (handler, heard)
}

/// The next note.
pub async fn next<T>(heard: &mut mpsc::Receiver<T>) -> T {
    within(20, "the next message", heard.recv()).await.expect("the handler lives")
}

/// The notes up to and with the one that reads `end`.
pub async fn up_to(heard: &mut mpsc::Receiver<String>, end: &str) -> Vec<String> {
    let mut notes = Vec::new();
    loop {
        notes.push(next(heard).await);
        if notes.last().is_some_and(|note| note == end) {
            return notes;
        }
    }
}

pub fn mailbox(name: &str) -> MailAddress {
    MailAddress::new(name).expect("a valid name")
}

/// Makes a mailbox that never expires.
pub async fn create(client: &Client, name: &str) -> MailAddress {
    let mailbox = mailbox(name);
    let create = CreateMailbox::named(mailbox.clone()).with_lifetime(Lifetime::Forever);
    client.create_mailbox(create).await.expect("created")
}

/// A directory of this test, removed with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(what: &str) -> Self {
        let name = format!("agentchat-{what}-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is a few kilobytes in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
