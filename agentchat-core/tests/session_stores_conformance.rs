//! The suite over sessions that keep everything in a store, which is there again when the agent is.
#![cfg(feature = "conformance")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agentchat_core::conformance::Harness;
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

    async fn cut(&self) -> bool {
        self.network.cut();
        true
    }
}

agentchat_core::conformance_tests!(Stored::default());
