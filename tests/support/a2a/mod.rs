//! The networks that the A2A scenarios run over, and handlers they share.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

pub mod bodies;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_envelope::agent::{
    A2aClient, A2aHandler, A2aObserver, A2aServer, A2aServerOptions, A2aServing, Note, TurnHandle,
    TurnResult, Wrapped,
};
use a2a_envelope::idempotency::{MemoryRequestStore, RequestStore};
use a2a_envelope::stream::{Coalesce, WriterOptions};
use a2a_envelope::task::{MemoryTaskStore, TaskStore};
use agentchat_core::{Agent, Loopback, LoopbackConnector};
use bodies::Bodies;
use mq9_client::testing::Broker;
use transport_mq9::Mq9Connector;
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

/// A network in memory, and the agents' places on it.
pub enum Net {
    Loopback(Loopback, Mutex<HashMap<String, LoopbackConnector>>),
    Mq9(Broker, Mutex<HashMap<String, Mq9Connector>>),
    AgentChat(AgentChatServer, Mutex<HashMap<String, AgentChatConnector>>),
    /// One without headers.
    Bodies(Loopback, Mutex<HashMap<String, Wrapped<Bodies>>>),
}

impl Net {
    pub fn loopback() -> Self {
        Self::Loopback(Loopback::new(), Mutex::default())
    }

    /// Nothing but bodies travel.
    pub fn bodies() -> Self {
        Self::Bodies(Loopback::new(), Mutex::default())
    }

    pub async fn mq9() -> Self {
        Self::Mq9(Broker::builder().start().await.expect("a free port"), Mutex::default())
    }

    /// Without the rule that a first message must be answered before the second one.
    pub async fn agentchat() -> Self {
        let server = AgentChatServer::builder().switches(|it| it.awaiting_reply = false).start().await;
        Self::AgentChat(server.expect("a free port"), Mutex::default())
    }

    /// The agent of this name: the same inbox each time.
    pub async fn agent(&self, name: &str) -> Agent {
        match self {
            Self::Loopback(network, known) => {
                let connector = {
                    let mut known = known.lock().expect("not poisoned");
                    known
                        .entry(name.into())
                        .or_insert_with(|| network.connector(name).expect("a name"))
                        .clone()
                };
                Agent::builder(connector).start().await.expect("starts")
            }
            Self::Bodies(network, known) => {
                let connector = {
                    let mut known = known.lock().expect("not poisoned");
                    let make = || Wrapped::new(Bodies::of(network.connector(name).expect("a name")));
                    known.entry(name.into()).or_insert_with(make).clone()
                };
                Agent::builder(connector).start().await.expect("starts")
            }
            Self::Mq9(broker, known) => {
                let connector = {
                    let mut known = known.lock().expect("not poisoned");
                    let make = || {
                        Mq9Connector::builder(broker.url())
                            .generated_inbox(name)
                            .build()
                            .expect("a connector")
                    };
                    known.entry(name.into()).or_insert_with(make).clone()
                };
                Agent::builder(connector).start().await.expect("starts")
            }
            Self::AgentChat(server, known) => {
                let connector = {
                    let mut known = known.lock().expect("not poisoned");
                    let make = || {
                        let key = ApiKey::new(server.agent(name)).expect("a key");
                        let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).build();
                        AgentChatConnector::new(config.expect("a configuration")).expect("a connector")
                    };
                    known.entry(name.into()).or_insert_with(make).clone()
                };
                Agent::builder(connector).start().await.expect("starts")
            }
        }
    }
}

/// The stores of a server, which outlive it.
#[derive(Clone)]
pub struct Kept {
    pub tasks: Arc<MemoryTaskStore>,
    pub requests: Arc<MemoryRequestStore>,
}

impl Kept {
    pub fn new() -> Self {
        Self { tasks: Arc::new(MemoryTaskStore::new()), requests: Arc::new(MemoryRequestStore::new(10_000)) }
    }

    pub fn server(&self, handler: impl A2aHandler) -> A2aServer {
        let tasks: Arc<dyn TaskStore> = self.tasks.clone();
        let requests: Arc<dyn RequestStore> = self.requests.clone();
        A2aServer::new(handler).with_stores(tasks, requests)
    }
}

/// Serves `handler` in memory.
pub async fn serve(agent: &Agent, handler: impl A2aHandler) -> A2aServing {
    A2aServer::new(handler).serve(agent).await.expect("serves")
}

/// Every text is an event of its own.
pub fn uncoalesced() -> A2aServerOptions {
    A2aServerOptions::default().with_writer(WriterOptions::default().with_coalesce(Coalesce::OFF))
}

/// Answers with the text it was asked, and counts how often it ran.
pub fn echo(runs: Arc<AtomicUsize>) -> impl A2aHandler {
    move |turn: TurnHandle| {
        let runs = Arc::clone(&runs);
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            turn.text("answer", &format!("heard: {}", turn.request_text())).await?;
            Ok(())
        }
    }
}

/// Asks for a city first, and answers with it.
pub async fn asks_for_a_city(turn: TurnHandle) -> TurnResult {
    if !turn.is_follow_up() {
        return turn.ask("which city?").await;
    }
    let asked = turn.task().turns()[0].request.message.as_str().contains("weather");
    turn.text("answer", &format!("rain in {} (asked: {asked})", turn.request_text())).await?;
    Ok(())
}

/// Keeps the names of what it hears.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub fn has(&self, name: &str) -> bool {
        self.0.lock().expect("not poisoned").iter().any(|known| known == name)
    }
}

impl A2aObserver for Heard {
    fn note(&self, note: &Note<'_>) {
        self.0.lock().expect("not poisoned").push(note.name.to_owned());
    }
}

/// Fails instead of hanging.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not end"),
    }
}

pub fn client(agent: &Agent) -> A2aClient {
    A2aClient::new(agent)
}
