//! The conformance suite over the AgentChat double in both of its profiles, bare and within sessions.
#![cfg(feature = "test-server")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentchat_core::conformance::{Harness, Skip};
use agentchat_core::{BackoffPolicy, Connector, ResilientConnector, ResilientOptions};
use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;
use transport_ws::testing::{AgentChatServer, Faults, Profile};
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

/// Agents on a double, each with its key and its connector.
struct Double {
    profile: Profile,
    base_url: String,
    faults: Faults,
    agents: Mutex<HashMap<String, AgentChatConnector>>,
    server: AsyncMutex<AgentChatServer>,
}

impl Double {
    async fn start(profile: Profile) -> Self {
        // A first message that is not answered holds up the next one: the cases would wait for nobody.
        let builder = AgentChatServer::builder().profile(profile).switches(|it| it.awaiting_reply = false);
        let server = builder.start().await.expect("a free port");
        Self {
            profile,
            base_url: server.base_url(),
            faults: server.faults(),
            agents: Mutex::default(),
            server: AsyncMutex::new(server),
        }
    }

    fn connect_as(&self, key: String) -> AgentChatConnector {
        let key = ApiKey::new(key).expect("a key");
        let config = AgentChatConfig::builder(key)
            .with_base_url(&self.base_url)
            .with_attempt_timeout(DEADLINE)
            .with_connect_timeout(DEADLINE)
            .with_hello_timeout(DEADLINE)
            .build();
        AgentChatConnector::new(config.expect("a valid configuration")).expect("a connector")
    }

    async fn agent(&self, name: &str) -> AgentChatConnector {
        let server = self.server.lock().await;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.entry(name.to_owned()).or_insert_with(|| self.connect_as(server.agent(name))).clone()
    }
}

#[async_trait]
impl Harness for Double {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(self.agent(name).await)
    }

    fn expected_skips(&self) -> Vec<Skip> {
        let mut skips =
            // Accounts instead of cards; a presence that the server itself sets, without a count of tasks.
            vec![Skip::Cards, Skip::ReadableStatus, Skip::Numbered, Skip::Priority, Skip::Ttl];
        skips.extend([Skip::Delay, Skip::KeyedState, Skip::ExtraInbox, Skip::EndsWithConnection]);
        if self.profile == Profile::Legacy {
            skips.push(Skip::Ack);
        }
        skips
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
        let mut server = self.server.lock().await;
        server.down().await.expect("it goes down");
        server.up().await.expect("the port is still its own");
        true
    }

    async fn stall(&self) -> bool {
        self.faults.stall();
        true
    }

    async fn expire(&self) -> bool {
        let server = self.server.lock().await;
        let names: Vec<_> =
            self.agents.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        names.iter().for_each(|name| drop(server.rotate_key(name)));
        true
    }

    async fn heal(&self) {
        self.faults.clear();
        // Agents whose keys were rotated have new ones; to the others this is no change.
        let server = self.server.lock().await;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, connector) in agents.iter_mut() {
            *connector = self.connect_as(server.agent(name));
        }
    }
}

/// The same within sessions that survive lost connections.
struct InSession(Double);

#[async_trait]
impl Harness for InSession {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        let soon = BackoffPolicy::new().with_base(Duration::from_millis(20));
        let options = ResilientOptions::new()
            .with_reconnect(soon)
            .with_retry(soon)
            .with_connect_timeout(2 * DEADLINE)
            .with_call_timeout(2 * DEADLINE)
            .with_send_timeout(4 * DEADLINE)
            .with_drain_timeout(DEADLINE / 4);
        Arc::new(ResilientConnector::new(self.0.agent(name).await, options))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        let mut skips = self.0.expected_skips();
        skips.retain(|skip| *skip != Skip::EndsWithConnection);
        skips.push(Skip::Reconnects);
        skips
    }

    fn patience(&self) -> Duration {
        8 * DEADLINE
    }

    async fn cut(&self) -> bool {
        self.0.cut().await
    }

    async fn outage(&self) -> bool {
        self.0.outage().await
    }

    async fn restart(&self) -> bool {
        self.0.restart().await
    }

    async fn stall(&self) -> bool {
        self.0.stall().await
    }

    async fn expire(&self) -> bool {
        self.0.expire().await
    }

    async fn heal(&self) {
        self.0.heal().await;
    }
}

mod current {
    use super::*;
    agentchat_core::conformance_tests!("agentchat-current", Double::start(Profile::Current).await);
}

mod current_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-current-session",
        InSession(Double::start(Profile::Current).await)
    );
}

mod legacy {
    use super::*;
    agentchat_core::conformance_tests!("agentchat-legacy", Double::start(Profile::Legacy).await);
}

mod legacy_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-legacy-session",
        InSession(Double::start(Profile::Legacy).await)
    );
}

/// Of every single call.
const DEADLINE: Duration = Duration::from_secs(1);
