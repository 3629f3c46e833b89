//! The conformance suite over mq9: the embedded broker in each of its profiles, and the same engine
//! behind a real NATS server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agentchat_core::conformance::Harness;
use agentchat_core::{Connector, ResilientConnector, ResilientOptions};
use async_trait::async_trait;
use mq9_client::testing::{Broker, EngineHost, EngineProfile, NatsServer, Responder, WireProfile};
use transport_mq9::Mq9Connector;

/// A broker, and the inbox of each agent that has attached.
struct Network<B> {
    url: String,
    broker: B,
    agents: Mutex<HashMap<String, Mq9Connector>>,
}

impl<B> Network<B> {
    fn new(url: String, broker: B) -> Self {
        Self { url, broker, agents: Mutex::default() }
    }

    fn agent(&self, name: &str) -> Arc<dyn Connector> {
        let mut agents = self.agents.lock().expect("no panic while held");
        let connector = agents.entry(name.to_owned()).or_insert_with(|| {
            Mq9Connector::builder(&self.url).generated_inbox(name).build().expect("a valid connector")
        });
        Arc::new(connector.clone())
    }
}

#[async_trait]
impl Harness for Network<Broker> {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        self.agent(name)
    }

    async fn cut(&self) -> bool {
        self.broker.faults().cut_all();
        true
    }
}

async fn embedded(engine: EngineProfile, wire: WireProfile) -> Network<Broker> {
    let broker = Broker::builder().engine(engine).wire(wire).start().await.expect("a free port");
    Network::new(broker.url(), broker)
}

mod as_recorded {
    use super::*;
    agentchat_core::conformance_tests!(embedded(EngineProfile::robustmq(), WireProfile::RobustMq).await);
}

mod as_documented {
    use super::*;
    agentchat_core::conformance_tests!(embedded(EngineProfile::documented(), WireProfile::Standard).await);
}

mod with_search {
    use super::*;
    agentchat_core::conformance_tests!(
        embedded(EngineProfile::robustmq_with_search(), WireProfile::Standard).await
    );
}

mod resilient {
    use super::*;

    struct Sessions(Network<Broker>);

    #[async_trait]
    impl Harness for Sessions {
        async fn connector(&self, name: &str) -> Arc<dyn Connector> {
            Arc::new(ResilientConnector::new(self.0.agent(name), ResilientOptions::new()))
        }

        async fn cut(&self) -> bool {
            self.0.cut().await
        }
    }

    agentchat_core::conformance_tests!(Sessions(
        embedded(EngineProfile::robustmq(), WireProfile::RobustMq).await
    ));
}

mod behind_a_nats_server {
    use super::*;

    type Parts = (NatsServer, Responder);

    #[async_trait]
    impl Harness for Network<Parts> {
        async fn connector(&self, name: &str) -> Arc<dyn Connector> {
            self.agent(name)
        }
    }

    async fn responder() -> Option<Network<Parts>> {
        if !NatsServer::available() {
            let required = std::env::var_os("REQUIRE_NATS_SERVER").is_some();
            assert!(!required, "nats-server is required and not installed");
            return None;
        }
        let server = NatsServer::start().await.expect("the server starts");
        let host = EngineHost::in_memory(EngineProfile::robustmq());
        let responder = Responder::start(&server.url(), host).await.expect("the responder connects");
        Some(Network::new(server.mq9_url(), (server, responder)))
    }

    agentchat_core::conformance_tests!(optional responder().await);
}
