//! AgentChat's double as a place for faults. Its clock runs far faster than time, so that its limits by the
//! second slow no test down; what its clients wait for is real.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentchat_core::store::MemoryStore;
use agentchat_core::{Connector, Result, Transport};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use transport_ws::testing::{AgentChatServer, AgentChatServerBuilder, Faults, Profile};
use transport_ws::{AgentChatConfig, AgentChatConnector, AgentChatPollConnector, ApiKey};

/// Which server there is, and how agents attach to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It waits for acknowledgements.
    Current,
    /// It takes what it wrote for delivered; a store makes up for it.
    Legacy,
    /// Read by REST alone.
    Poll,
}

pub const KINDS: [Kind; 3] = [Kind::Current, Kind::Legacy, Kind::Poll];

/// A server, and who makes its time go by.
pub struct Place {
    pub server: Arc<Mutex<AgentChatServer>>,
    pub faults: Faults,
    pub kind: Kind,
    pub port: u16,
    ticking: AbortHandle,
}

impl Place {
    pub async fn new(kind: Kind) -> Self {
        Self::with(kind, |builder| builder).await
    }

    pub async fn with(
        kind: Kind,
        change: impl FnOnce(AgentChatServerBuilder) -> AgentChatServerBuilder,
    ) -> Self {
        let profile = if kind == Kind::Legacy { Profile::Legacy } else { Profile::Current };
        let builder = AgentChatServer::builder().profile(profile).manual_clock();
        // A day of the server's is soon over.
        let builder = builder.heartbeat(DAY, DAY).switches(|it| {
            it.awaiting_reply = false;
            it.hello_timeout = DAY;
        });
        let server = change(builder).start().await.expect("a free port");
        let (faults, port) = (server.faults(), server.port());
        let server = Arc::new(Mutex::new(server));
        let ticked = Arc::clone(&server);
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                // Time stands still while the server is away.
                if let Ok(server) = ticked.try_lock() {
                    server.advance(Duration::from_secs(1));
                }
            }
        });
        Self { server, faults, kind, port, ticking: ticking.abort_handle() }
    }

    /// The agent of that handle, with a store of its own.
    pub async fn connector(&self, handle: &str) -> Attaching {
        self.connector_at(handle, self.port).await
    }

    /// The same through a proxy.
    pub async fn connector_at(&self, handle: &str, port: u16) -> Attaching {
        self.connector_with(handle, port, Arc::default()).await
    }

    /// The same with a store that may have been in use before.
    pub async fn connector_with(&self, handle: &str, port: u16, store: Arc<MemoryStore>) -> Attaching {
        let key = ApiKey::new(self.server.lock().await.agent(handle)).expect("a key");
        let config = AgentChatConfig::builder(key)
            .with_base_url(format!("http://127.0.0.1:{port}"))
            .with_poll_interval(Duration::from_millis(5), Duration::from_millis(50))
            .build()
            .expect("a valid configuration");
        match self.kind {
            Kind::Poll => Attaching::Poll(AgentChatPollConnector::new(config).expect("a connector")),
            Kind::Current => Attaching::Socket(AgentChatConnector::new(config).expect("a connector")),
            Kind::Legacy => {
                let connector = AgentChatConnector::new(config).expect("a connector");
                Attaching::Socket(connector.with_cursor_store(store))
            }
        }
    }

    /// The server is away for so long: shut down in order, or killed.
    pub async fn restart(&self, kill: bool, pause: Duration) {
        let mut server = self.server.lock().await;
        // In the moment between, a connection that somebody else makes may be given the port.
        let went = match kill {
            true => server.kill().await,
            false => server.down().await,
        };
        if went.is_err() {
            server.kill().await.expect("its door is closed already");
        }
        tokio::time::sleep(pause).await;
        let up = async {
            while server.up().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(60, "getting the port back", up).await;
    }

    /// How many messages the server keeps for an agent.
    pub async fn stored(&self, handle: &str) -> usize {
        self.server.lock().await.stored(handle)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

/// Attaches by whichever way.
#[derive(Debug, Clone)]
pub enum Attaching {
    Socket(AgentChatConnector),
    Poll(AgentChatPollConnector),
}

#[async_trait]
impl Connector for Attaching {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        match self {
            Self::Socket(connector) => connector.connect().await,
            Self::Poll(connector) => connector.connect().await,
        }
    }
}

/// Fails instead of hanging. On sockets, time is real.
pub async fn within<F: Future>(seconds: u64, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not end within {seconds} s"),
    }
}

const DAY: Duration = Duration::from_secs(86_400);
