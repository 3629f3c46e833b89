//! A transport that does as it is told, over the in-process network.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod peer;
pub(crate) mod steps;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{
    AckTag, Address, Agent, AgentCard, Body, Capabilities, CloseMode, Connector, Delivery, Discovered, Error,
    ErrorKind, Event, EventStream, Heartbeat, KeyedValue, Loopback, Outbound, Query, Reached, Receipt,
    Resilient, ResilientOptions, Result, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn start(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).expect("a valid name")).start().await.expect("started")
}

pub(crate) fn text(to: &Agent, text: &str) -> Outbound {
    Outbound::new(to.address().clone(), Body::text(text))
}

/// What is awaited must come soon, in virtual time.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(300 * SECOND, what).await.expect("it comes soon")
}

pub(crate) async fn session(connector: impl Connector, options: ResilientOptions) -> Resilient {
    soon(Resilient::connect(connector, options)).await.expect("connected")
}

pub(crate) async fn read(of: &dyn Transport) -> EventStream {
    soon(of.subscribe(SubscribeOptions::own())).await.expect("subscribed").events
}

/// The next message, whatever else is said before it.
pub(crate) async fn next(events: &mut EventStream) -> Delivery {
    loop {
        match soon(events.next()).await {
            Some(Ok(Event::Message(delivery))) => return delivery,
            Some(Ok(_)) => {}
            other => panic!("no message: {other:?}"),
        }
    }
}

/// What a send does instead of succeeding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// It fails, and nothing was stored.
    Lost(ErrorKind, Reached),
    /// It fails, and the message was stored all the same.
    Unanswered,
    /// It never ends.
    Hangs,
    /// It succeeds.
    Works,
}

/// What happens to the next calls, and what was called.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) acks: VecDeque<ErrorKind>,
    pub(crate) sends: VecDeque<Fate>,
    /// Every message that was tried to be sent.
    pub(crate) sent: Vec<Outbound>,
    pub(crate) subscribe_takes: Duration,
    pub(crate) ack_takes: Duration,
    pub(crate) close_hangs: bool,
    /// Connecting fails.
    pub(crate) unreachable: bool,
    /// It does not say what was delivered before.
    pub(crate) forgetful: bool,
    pub(crate) acked: Vec<Vec<AckTag>>,
    pub(crate) closes: u32,
    pub(crate) opened: Vec<Address>,
}

/// Connects to a network through a script.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    network: Loopback,
    name: String,
    pub(crate) script: Arc<Mutex<Script>>,
}

impl Scripted {
    pub(crate) fn new(network: &Loopback, name: &str) -> Self {
        Self { network: network.clone(), name: name.to_owned(), script: Arc::default() }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().expect("not poisoned"));
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Script) -> T) -> T {
        read(&self.script.lock().expect("not poisoned"))
    }

    pub(crate) async fn start(&self) -> Agent {
        Agent::builder(self.clone()).start().await.expect("started")
    }
}

#[async_trait]
impl Connector for Scripted {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        if self.read(|script| script.unreachable) {
            let error = Error::new(ErrorKind::Disconnected, "connect", "as the script says");
            return Err(error.with_reached(Reached::No));
        }
        let inner = self.network.connector(&self.name)?.connect().await?;
        Ok(Arc::new(ScriptedTransport { inner, script: Arc::clone(&self.script) }))
    }
}

#[derive(Debug)]
struct ScriptedTransport {
    inner: Arc<dyn Transport>,
    script: Arc<Mutex<Script>>,
}

impl ScriptedTransport {
    fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.script.lock().expect("not poisoned"))
    }
}

#[async_trait]
impl Transport for ScriptedTransport {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.inner.register(card).await
    }

    async fn unregister(&self) -> Result<()> {
        self.inner.unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.inner.report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.inner.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let fate = self.with(|script| {
            script.sent.push(message.clone());
            script.sends.pop_front()
        });
        match fate {
            Some(Fate::Lost(kind, reached)) => {
                Err(Error::new(kind, "send", "as the script says").with_reached(reached))
            }
            Some(Fate::Unanswered) => {
                self.inner.send(message).await?;
                Err(Error::new(ErrorKind::Timeout, "send", "as the script says"))
            }
            Some(Fate::Hangs) => std::future::pending().await,
            Some(Fate::Works) | None => self.inner.send(message).await,
        }
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        tokio::time::sleep(self.with(|script| script.subscribe_takes)).await;
        let mut subscription = self.inner.subscribe(options).await?;
        if self.with(|script| script.forgetful) {
            subscription.events = Box::pin(subscription.events.map(|event| match event {
                Ok(Event::Message(mut delivery)) => {
                    delivery.redelivered = false;
                    Ok(Event::Message(delivery))
                }
                other => other,
            }));
        }
        self.with(|script| script.opened.push(subscription.address.clone()));
        Ok(subscription)
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        tokio::time::sleep(self.with(|script| script.ack_takes)).await;
        if let Some(kind) = self.with(|script| script.acks.pop_front()) {
            return Err(Error::new(kind, "ack", "as the script says"));
        }
        self.with(|script| script.acked.push(tags.to_vec()));
        self.inner.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        if self.with(|script| {
            script.closes += 1;
            script.close_hangs
        }) {
            std::future::pending().await
        }
        self.inner.close(mode).await
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.inner.put(at, key, value).await
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.inner.get(at, key).await
    }
}
