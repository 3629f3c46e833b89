//! The suite over sessions that keep everything in a store, which is there again when the agent is.
#![cfg(feature = "conformance")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agentchat_core::conformance::{Harness, Skip};
use agentchat_core::store::MemoryStore;
use agentchat_core::{Connector, Loopback, ResilientConnector, ResilientOptions};
use async_trait::async_trait;

#[derive(Default)]
struct Stored {
    network: Loopback,
    stores: Mutex<HashMap<String, Arc<MemoryStore>>>,
}

#[async_trait]
impl Harness for Stored {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        let inner = self.network.connector(name).expect("a valid name");
        let store = Arc::clone(self.stores.lock().expect("not poisoned").entry(name.to_owned()).or_default());
        Arc::new(ResilientConnector::new(inner, ResilientOptions::new().with_store(store)))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        vec![Skip::Numbered, Skip::Reconnects, Skip::Stall]
    }

    async fn cut(&self) -> bool {
        self.network.cut();
        true
    }

    async fn outage(&self) -> bool {
        self.network.outage();
        true
    }

    async fn restart(&self) -> bool {
        self.network.restart();
        true
    }

    async fn expire(&self) -> bool {
        self.network.expire();
        true
    }

    async fn heal(&self) {
        self.network.heal();
    }
}

agentchat_core::conformance_tests!("stored-loopback", Stored::default());
