//! Every network there is, as a place to hunt in: started fresh, troubled by the dice, and attached to by
//! whoever knows the way, also from another process.
//!
//! `HUNT_SEED=7` begins with that seed instead of the usual ones, `HUNT_ROUNDS=100` makes so many of them, and
//! `HUNT_KIND=Legacy` stays with one network.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

#[path = "../fault/agentchat.rs"]
mod agentchat;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentchat_core::store::{CursorStore, MemoryStore};
use agentchat_core::{Address, BackoffPolicy, CloseMode, Connector, Event, EventStream, ResilientOptions};
use mq9_client::testing::{Broker, EngineHost, EngineProfile, NatsServer, Responder, WireProfile};
use mq9_client::{ConnectOptions, Pacing};
use tokio::sync::Mutex;
use transport_mq9::Mq9Connector;
use transport_ws::testing::{HttpFault, PushFault};
use transport_ws::{AgentChatConfig, AgentChatConnector, AgentChatPollConnector, ApiKey};

use agentchat::Place;
pub use agentchat::within;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mq9,
    /// With the quirks of the recorded broker on the wire.
    Mq9Robust,
    /// Behind a real `nats-server`.
    Mq9Nats,
    Current,
    Legacy,
    Poll,
}

const KINDS: [Kind; 6] = [Kind::Mq9, Kind::Mq9Robust, Kind::Mq9Nats, Kind::Current, Kind::Legacy, Kind::Poll];

/// The networks to hunt in: all that are installed, or the one that `HUNT_KIND` names.
pub fn kinds() -> Vec<Kind> {
    let named = std::env::var("HUNT_KIND").ok();
    let wanted = |kind: &Kind| match &named {
        Some(name) => format!("{kind:?}") == *name,
        None => *kind != Kind::Mq9Nats || NatsServer::available(),
    };
    let kinds: Vec<Kind> = KINDS.into_iter().filter(wanted).collect();
    assert!(!kinds.is_empty(), "HUNT_KIND names no network");
    kinds
}

/// Hunts on every network at once.
pub async fn on_each<F>(hunt: impl Fn(Kind) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let hunts: Vec<_> = kinds().into_iter().map(|kind| tokio::spawn(hunt(kind))).collect();
    for hunt in hunts {
        if let Err(died) = hunt.await {
            std::panic::resume_unwind(died.into_panic());
        }
    }
}

/// Whether one network is hunted in by itself. Servers are restarted only then: while one is down, a connection
/// of another may be given its port.
pub fn is_alone() -> bool {
    std::env::var_os("HUNT_KIND").is_some()
}

/// How many rounds to make: `usual`, or what `HUNT_ROUNDS` says.
pub fn rounds(usual: u64) -> u64 {
    number("HUNT_ROUNDS").unwrap_or(usual)
}

/// The seeds to use: as many as there are rounds.
pub fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let first = number("HUNT_SEED").unwrap_or(0);
    first..first + rounds(usual)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Tells on failure how to run the same again.
pub struct Trail(pub Kind, pub u64);

impl Drop for Trail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this run again: HUNT_KIND={:?} HUNT_SEED={} HUNT_ROUNDS=1", self.0, self.1);
        }
    }
}

/// Sessions that come back fast and wait long.
pub fn options(seed: u64) -> ResilientOptions {
    let quick = BackoffPolicy::new().with_base(10 * MS).with_cap(200 * MS);
    ResilientOptions::new()
        .with_skip_own(false)
        .with_reconnect(quick)
        .with_retry(quick)
        .with_send_timeout(600 * SECOND)
        .with_call_timeout(10 * SECOND)
        .with_seed(seed)
}

/// A network of its own for a test.
pub struct Net {
    pub kind: Kind,
    inner: Inner,
}

enum Inner {
    Broker(Box<Mutex<Broker>>),
    Nats(Box<Mutex<NatsServer>>, Responder),
    AgentChat(Place),
}

impl Net {
    pub async fn start(kind: Kind) -> Self {
        let broker = |wire| Broker::builder().engine(EngineProfile::robustmq()).wire(wire).start();
        let inner = match kind {
            Kind::Mq9 => {
                Inner::Broker(Box::new(Mutex::new(broker(WireProfile::Standard).await.expect("a port"))))
            }
            Kind::Mq9Robust => {
                Inner::Broker(Box::new(Mutex::new(broker(WireProfile::RobustMq).await.expect("a port"))))
            }
            Kind::Mq9Nats => {
                let server = NatsServer::start().await.expect("nats-server starts");
                let host = EngineHost::in_memory(EngineProfile::robustmq());
                let responder = Responder::start(&server.url(), host).await.expect("it answers");
                Inner::Nats(Box::new(Mutex::new(server)), responder)
            }
            Kind::Current => Inner::AgentChat(Place::new(agentchat::Kind::Current).await),
            Kind::Legacy => Inner::AgentChat(Place::new(agentchat::Kind::Legacy).await),
            Kind::Poll => Inner::AgentChat(Place::new(agentchat::Kind::Poll).await),
        };
        Self { kind, inner }
    }

    /// How the agent of that name attaches.
    pub async fn way(&self, name: &str) -> Way {
        let (url, credential) = match &self.inner {
            Inner::Broker(broker) => (broker.lock().await.url(), name.to_owned()),
            Inner::Nats(server, _) => (server.lock().await.mq9_url(), name.to_owned()),
            Inner::AgentChat(place) => {
                let server = place.server.lock().await;
                (server.base_url(), server.agent(name))
            }
        };
        Way { kind: self.kind, url, credential }
    }

    /// The port, for a proxy before it.
    pub async fn port(&self) -> u16 {
        match &self.inner {
            Inner::Broker(broker) => broker.lock().await.port(),
            Inner::Nats(server, _) => server.lock().await.port(),
            Inner::AgentChat(place) => place.port,
        }
    }

    /// AgentChat's double, where that is what this is.
    pub fn place(&self) -> Option<&Place> {
        match &self.inner {
            Inner::AgentChat(place) => Some(place),
            _ => None,
        }
    }

    /// Does one thing that may happen to a network.
    pub async fn trouble(&self, dice: &mut fastrand::Rng) {
        match &self.inner {
            Inner::Broker(broker) => {
                let mut broker = broker.lock().await;
                match dice.u8(0..6) {
                    0 => broker.faults().cut_all(),
                    1 => broker.faults().cut_open_after_bytes(dice.u64(0..3_000)),
                    2 => broker.faults().drop_replies("SEND", dice.u64(1..4)),
                    3 => broker.faults().drop_replies(dice.choice(["FETCH", "ACK"]).expect("two"), 1),
                    4 => broker.faults().stall(MS * dice.u32(1..200)),
                    _ if !is_alone() => broker.faults().cut_all(),
                    _ => {
                        // In the moment between, a connection that somebody else makes may be given the port.
                        let _ = broker.down().await;
                        tokio::time::sleep(MS * dice.u32(0..150)).await;
                        let up = async {
                            while broker.up().await.is_err() {
                                tokio::time::sleep(20 * MS).await;
                            }
                        };
                        within(60, "getting the port back", up).await;
                    }
                }
            }
            Inner::Nats(..) if !is_alone() => tokio::time::sleep(MS).await,
            Inner::Nats(server, _) => {
                let mut server = server.lock().await;
                server.down().expect("down");
                tokio::time::sleep(MS * dice.u32(0..150)).await;
                server.up().await.expect("up");
            }
            Inner::AgentChat(place) => trouble(place, dice).await,
        }
    }

    /// Cuts all connections and closes new ones before the first byte, or no longer does so. Not behind a real
    /// server.
    pub async fn refuse(&self, on: bool) {
        match &self.inner {
            Inner::Broker(broker) => {
                let broker = broker.lock().await;
                broker.faults().refuse(on);
                broker.faults().cut_all();
            }
            Inner::Nats(..) => panic!("a real server refuses nobody"),
            Inner::AgentChat(place) => {
                place.faults.refuse(on);
                place.faults.cut_all();
            }
        }
    }

    /// Ends what of the troubles goes on.
    pub async fn calm(&self) {
        match &self.inner {
            Inner::Broker(broker) => broker.lock().await.faults().clear(),
            Inner::Nats(..) => {}
            Inner::AgentChat(place) => place.faults.clear(),
        }
    }
}

async fn trouble(place: &Place, dice: &mut fastrand::Rng) {
    let route = dice.choice(["POST /v1/messages", "GET /v1/messages/sync", "POST /v1/messages/sync/ack"]);
    let route = route.expect("three");
    match dice.u8(0..9) {
        0 => place.faults.cut_all(),
        1 if is_alone() => place.restart(dice.bool(), MS * dice.u32(0..150)).await,
        2 => place.faults.repeat(route, dice.u64(1..4), HttpFault::lose_answer()),
        3 => place.faults.repeat(route, dice.u64(1..4), HttpFault::lose_request()),
        4 => place.faults.repeat(route, dice.u64(1..4), HttpFault::passing().cut_after(dice.u64(1..600))),
        5 => place.faults.repeat(route, dice.u64(1..4), HttpFault::status(503).retry_after("0")),
        6 => place.faults.swallow_acks(dice.u64(0..4)),
        7 => place.faults.pushes((0..dice.usize(1..5)).map(|_| PushFault::Duplicate).collect::<Vec<_>>()),
        _ => place.faults.close_after_pushes(dice.u64(0..6), 1012, ""),
    }
}

/// How one agent attaches to a network; it can be told to another process.
#[derive(Clone)]
pub struct Way {
    pub kind: Kind,
    pub url: String,
    pub credential: String,
}

impl Way {
    /// The same through a proxy.
    pub fn through(mut self, port: u16) -> Self {
        let end = self.url.rfind(':').expect("a port");
        self.url = format!("{}:{port}", &self.url[..end]);
        self
    }

    pub fn told(&self) -> String {
        format!("{:?} {} {}", self.kind, self.url, self.credential)
    }

    pub fn heard(told: &str) -> Self {
        let words: Vec<&str> = told.split(' ').collect();
        let [kind, url, credential] = words[..] else { panic!("no way: {told}") };
        let kind = KINDS.into_iter().find(|it| format!("{it:?}") == kind).expect("a network");
        Self { kind, url: url.to_owned(), credential: credential.to_owned() }
    }

    /// The address that its agent has.
    pub async fn address(&self) -> Address {
        let connector = self.connector(Arc::new(MemoryStore::new()));
        let attached = within(60, "attaching", async {
            loop {
                match connector.connect().await {
                    Ok(attached) => break attached,
                    Err(_) => tokio::time::sleep(20 * MS).await,
                }
            }
        })
        .await;
        // Nothing must be written to a socket that nobody reads.
        within(20, "closing", attached.close(CloseMode::Detach)).await.expect("closed");
        attached.address().clone()
    }

    /// Attaches; `store` is used where a network needs one to lose nothing.
    pub fn connector(&self, store: Arc<impl CursorStore>) -> Arc<dyn Connector> {
        if matches!(self.kind, Kind::Mq9 | Kind::Mq9Robust | Kind::Mq9Nats) {
            let patience =
                ConnectOptions::new().with_request_timeout(3 * SECOND).with_connect_timeout(3 * SECOND);
            let builder = Mq9Connector::builder(&self.url).inbox(&self.credential).connect_options(patience);
            return Arc::new(builder.pacing(Pacing::default()).build().expect("a connector"));
        }
        let key = ApiKey::new(self.credential.clone()).expect("a key");
        let config = AgentChatConfig::builder(key)
            .with_base_url(&self.url)
            .with_poll_interval(5 * MS, 50 * MS)
            .build()
            .expect("a valid configuration");
        match self.kind {
            Kind::Poll => Arc::new(AgentChatPollConnector::new(config).expect("a connector")),
            Kind::Legacy => {
                Arc::new(AgentChatConnector::new(config).expect("a connector").with_cursor_store(store))
            }
            _ => Arc::new(AgentChatConnector::new(config).expect("a connector")),
        }
    }
}

/// The next message; `None` when nothing comes for so long.
pub async fn message(events: &mut EventStream, patience: Duration) -> Option<agentchat_core::Delivery> {
    use futures_util::StreamExt;
    let until = tokio::time::Instant::now() + patience;
    loop {
        match tokio::time::timeout_at(until, events.next()).await {
            Ok(Some(Ok(Event::Message(delivery)))) => return Some(delivery),
            Ok(Some(Ok(_))) => {}
            Ok(other) => panic!("the subscription ended: {other:?}"),
            Err(_) => return None,
        }
    }
}
