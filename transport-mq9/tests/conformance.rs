//! The conformance suite over mq9: the embedded broker in each of its profiles, sessions over it, and the
//! same engine behind a real NATS server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentchat_core::Connector;
use agentchat_core::conformance::{Harness, InSessions, Skip};
use async_trait::async_trait;
use mq9_client::ConnectOptions;
use mq9_client::testing::{
    Broker, BrokerBuilder, EngineHost, EngineProfile, Faults, NatsServer, Responder, WireProfile,
};
use tokio::sync::Mutex as AsyncMutex;
use transport_mq9::Mq9Connector;

/// The agents of one broker, each with its inbox.
struct Agents {
    url: String,
    connectors: Mutex<HashMap<String, Mq9Connector>>,
}

impl Agents {
    fn new(url: String) -> Self {
        Self { url, connectors: Mutex::default() }
    }

    fn agent(&self, name: &str) -> Arc<dyn Connector> {
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry(name.to_owned()).or_insert_with(|| {
            let options = ConnectOptions::new().with_connect_timeout(DEADLINE).with_request_timeout(DEADLINE);
            let builder = Mq9Connector::builder(&self.url).generated_inbox(name).connect_options(options);
            builder.build().expect("a valid connector")
        });
        Arc::new(connector.clone())
    }
}

/// The embedded broker.
struct Embedded {
    agents: Agents,
    faults: Faults,
    broker: AsyncMutex<Broker>,
    /// Goes last.
    _directory: Option<Scratch>,
}

impl Embedded {
    async fn start(builder: BrokerBuilder, directory: Option<Scratch>) -> Self {
        let broker = builder.start().await.expect("a free port");
        let (agents, faults) = (Agents::new(broker.url()), broker.faults().clone());
        Self { agents, faults, broker: AsyncMutex::new(broker), _directory: directory }
    }

    async fn in_memory(engine: EngineProfile, wire: WireProfile) -> Self {
        Self::start(Broker::builder().engine(engine).wire(wire), None).await
    }

    async fn on_disk(engine: EngineProfile, wire: WireProfile) -> Self {
        let directory = Scratch::new();
        let builder = Broker::builder().engine(engine).wire(wire).data_dir(&directory.0);
        Self::start(builder, Some(directory)).await
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        self.agents.agent(name)
    }

    fn expected_skips(&self) -> Vec<Skip> {
        vec![Skip::ServerDedup, Skip::Replay, Skip::Numbered, Skip::EndsWithConnection]
    }

    fn patience(&self) -> Duration {
        4 * DEADLINE
    }

    async fn cut(&self) -> bool {
        self.faults.cut_all();
        true
    }

    async fn outage(&self) -> bool {
        self.faults.refuse(true);
        self.faults.cut_all();
        true
    }

    async fn restart(&self) -> bool {
        self.broker.lock().await.restart().await.expect("the port is still its own");
        true
    }

    async fn stall(&self) -> bool {
        self.faults.stall_until_released();
        true
    }

    async fn expire(&self) -> bool {
        self.faults.expire_logins(true);
        true
    }

    async fn heal(&self) {
        self.faults.clear();
    }
}

mod as_recorded {
    use super::*;
    agentchat_core::conformance_tests!(
        "mq9-recorded",
        Embedded::in_memory(EngineProfile::robustmq(), WireProfile::RobustMq).await
    );
}

mod over_standard_nats {
    use super::*;
    agentchat_core::conformance_tests!(
        "mq9-standard",
        Embedded::on_disk(EngineProfile::robustmq(), WireProfile::Standard).await
    );
}

mod as_documented {
    use super::*;
    agentchat_core::conformance_tests!(
        "mq9-documented",
        Embedded::in_memory(EngineProfile::documented(), WireProfile::Standard).await
    );
}

mod with_search {
    use super::*;
    agentchat_core::conformance_tests!(
        "mq9-search",
        Embedded::in_memory(EngineProfile::robustmq_with_search(), WireProfile::Standard).await
    );
}

mod resilient {
    use super::*;

    agentchat_core::conformance_tests!(
        "resilient-mq9",
        InSessions::new(Embedded::in_memory(EngineProfile::robustmq(), WireProfile::RobustMq).await)
    );
}

mod behind_a_nats_server {
    use super::*;

    /// The double's engine as a responder on a `nats-server`.
    struct Behind {
        agents: Agents,
        host: EngineHost,
        server: AsyncMutex<(NatsServer, Option<Responder>)>,
    }

    impl Behind {
        async fn start() -> Option<Self> {
            if !NatsServer::available() {
                let required = std::env::var_os("REQUIRE_NATS_SERVER").is_some();
                assert!(!required, "nats-server is required and not installed");
                return None;
            }
            let server = NatsServer::start().await.expect("the server starts");
            let agents = Agents::new(server.mq9_url());
            let host = EngineHost::in_memory(EngineProfile::robustmq());
            let behind = Self { agents, host, server: AsyncMutex::new((server, None)) };
            behind.heal().await;
            Some(behind)
        }
    }

    #[async_trait]
    impl Harness for Behind {
        async fn connector(&self, name: &str) -> Arc<dyn Connector> {
            self.agents.agent(name)
        }

        fn expected_skips(&self) -> Vec<Skip> {
            vec![
                Skip::ServerDedup,
                Skip::Replay,
                Skip::Numbered,
                Skip::EndsWithConnection,
                Skip::Stall,
                Skip::Expire,
            ]
        }

        fn patience(&self) -> Duration {
            4 * DEADLINE
        }

        async fn cut(&self) -> bool {
            self.restart().await
        }

        async fn outage(&self) -> bool {
            let (server, responder) = &mut *self.server.lock().await;
            *responder = None;
            server.down().expect("the port stays its own");
            true
        }

        async fn restart(&self) -> bool {
            self.outage().await;
            self.heal().await;
            true
        }

        async fn heal(&self) {
            let (server, responder) = &mut *self.server.lock().await;
            server.up().await.expect("the server starts");
            if responder.is_none() {
                let started = Responder::start(&server.url(), self.host.clone()).await;
                *responder = Some(started.expect("the responder connects"));
            }
        }
    }

    agentchat_core::conformance_tests!("mq9-nats-server", optional Behind::start().await);
}

/// A directory for the time of a test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("transport-mq9-{}", agentchat_core::ClientMsgId::random());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How long a request may take, and connecting.
const DEADLINE: Duration = Duration::from_secs(1);
