//! The conformance suite over the AgentChat double in both of its profiles, over a socket and without one,
//! bare and within sessions.
#![cfg(feature = "test-server")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agentchat_core::conformance::{Harness, InSessions, Skip};
use agentchat_core::store::MemoryStore;
use agentchat_core::{Connector, Heartbeat, Result, Transport};
use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;
use transport_ws::testing::{AgentChatServer, Faults, Profile};
use transport_ws::{AgentChatConfig, AgentChatConnector, AgentChatPollConnector, ApiKey};

/// Agents on a double, each with its key and its connector.
struct Double {
    profile: Profile,
    way: Way,
    base_url: String,
    faults: Faults,
    agents: Mutex<HashMap<String, Attaching>>,
    /// Attachments without a socket.
    live: Live,
    stores: Mutex<HashMap<String, Arc<MemoryStore>>>,
    server: AsyncMutex<AgentChatServer>,
}

/// How agents get their messages.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Socket,
    /// A socket, and a store for what is settled.
    Stored,
    Poll,
}

#[derive(Debug, Clone)]
struct Attaching(Arc<dyn Connector>, Live);

type Live = Arc<Mutex<Vec<Weak<dyn Transport>>>>;

#[async_trait]
impl Connector for Attaching {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let transport = self.0.connect().await?;
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&transport));
        Ok(transport)
    }
}

impl Double {
    async fn start(profile: Profile, way: Way) -> Self {
        // A first message that is not answered holds up the next one: the cases would wait for nobody.
        let builder = AgentChatServer::builder().profile(profile).switches(|it| it.awaiting_reply = false);
        let server = builder.start().await.expect("a free port");
        Self {
            profile,
            way,
            live: Live::default(),
            stores: Mutex::default(),
            base_url: server.base_url(),
            faults: server.faults(),
            agents: Mutex::default(),
            server: AsyncMutex::new(server),
        }
    }

    fn connect_as(&self, name: &str, key: String) -> Attaching {
        let key = ApiKey::new(key).expect("a key");
        let config = AgentChatConfig::builder(key)
            .with_base_url(&self.base_url)
            .with_attempt_timeout(DEADLINE)
            .with_connect_timeout(DEADLINE)
            .with_hello_timeout(DEADLINE)
            .with_poll_interval(Duration::from_millis(5), Duration::from_millis(40))
            .build();
        let config = config.expect("a valid configuration");
        let connector: Arc<dyn Connector> = match self.way {
            Way::Socket => Arc::new(AgentChatConnector::new(config).expect("a connector")),
            Way::Stored => {
                let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
                let store = Arc::clone(stores.entry(name.to_owned()).or_default());
                Arc::new(AgentChatConnector::new(config).expect("a connector").with_cursor_store(store))
            }
            Way::Poll => Arc::new(AgentChatPollConnector::new(config).expect("a connector")),
        };
        Attaching(connector, Arc::clone(&self.live))
    }

    /// Without a socket there is nothing to cut: the server is away until every attachment has met it.
    async fn cut_without_sockets(&self) {
        self.faults.refuse(true);
        self.faults.cut_all();
        let live = std::mem::take(&mut *self.live.lock().unwrap_or_else(PoisonError::into_inner));
        let noticed = live.iter().filter_map(Weak::upgrade).map(|transport| async move {
            let heartbeat = Heartbeat::new("online", DEADLINE);
            while transport.ack(&[]).await.is_ok() {
                // A call that finds nobody makes the attachment look.
                let _ = transport.report(&heartbeat).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let noticed = futures_util::future::join_all(noticed);
        let _ = tokio::time::timeout(4 * DEADLINE, noticed).await;
        self.faults.refuse(false);
    }

    async fn agent(&self, name: &str) -> Attaching {
        let server = self.server.lock().await;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.entry(name.to_owned()).or_insert_with(|| self.connect_as(name, server.agent(name))).clone()
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
        if self.profile == Profile::Legacy && self.way == Way::Socket {
            skips.push(Skip::Ack);
        }
        skips
    }

    fn patience(&self) -> Duration {
        4 * DEADLINE
    }

    async fn cut(&self) -> bool {
        match self.way {
            Way::Socket | Way::Stored => self.faults.cut_all(),
            Way::Poll => self.cut_without_sockets().await,
        }
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
            *connector = self.connect_as(name, server.agent(name));
        }
    }
}

mod current {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-current",
        Double::start(Profile::Current, Way::Socket).await
    );
}

mod current_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-current-session",
        InSessions::new(Double::start(Profile::Current, Way::Socket).await)
    );
}

mod legacy {
    use super::*;
    agentchat_core::conformance_tests!("agentchat-legacy", Double::start(Profile::Legacy, Way::Socket).await);
}

mod legacy_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-legacy-session",
        InSessions::new(Double::start(Profile::Legacy, Way::Socket).await)
    );
}

mod legacy_stored {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-legacy-stored",
        Double::start(Profile::Legacy, Way::Stored).await
    );
}

mod legacy_stored_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-legacy-stored-session",
        InSessions::new(Double::start(Profile::Legacy, Way::Stored).await)
    );
}

mod poll_current {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-poll-current",
        Double::start(Profile::Current, Way::Poll).await
    );
}

mod poll_current_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-poll-current-session",
        InSessions::new(Double::start(Profile::Current, Way::Poll).await)
    );
}

mod poll_legacy {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-poll-legacy",
        Double::start(Profile::Legacy, Way::Poll).await
    );
}

mod poll_legacy_in_session {
    use super::*;
    agentchat_core::conformance_tests!(
        "agentchat-poll-legacy-session",
        InSessions::new(Double::start(Profile::Legacy, Way::Poll).await)
    );
}

/// Of every single call.
const DEADLINE: Duration = Duration::from_secs(2);
