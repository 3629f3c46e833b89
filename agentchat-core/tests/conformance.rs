//! The suite over the in-process network, which is its reference.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use agentchat_core::conformance::Harness;
use agentchat_core::{Connector, Loopback, ResilientConnector, ResilientOptions};
use async_trait::async_trait;

struct InProcess(Loopback);

#[async_trait]
impl Harness for InProcess {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(self.0.connector(name).expect("a valid name"))
    }

    async fn cut(&self) -> bool {
        self.0.cut();
        true
    }
}

mod bare {
    use super::*;
    agentchat_core::conformance_tests!(InProcess(Loopback::new()));
}

mod resilient {
    use super::*;

    struct Sessions(InProcess);

    #[async_trait]
    impl Harness for Sessions {
        async fn connector(&self, name: &str) -> Arc<dyn Connector> {
            let inner = self.0.connector(name).await;
            Arc::new(ResilientConnector::new(inner, ResilientOptions::new()))
        }

        async fn cut(&self) -> bool {
            self.0.cut().await
        }
    }

    agentchat_core::conformance_tests!(Sessions(InProcess(Loopback::new())));
}
