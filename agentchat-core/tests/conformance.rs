//! The suite over the in-process network, which is its reference.
#![cfg(feature = "conformance")]

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::conformance::{Harness, Skip};
use agentchat_core::{BackoffPolicy, Connector, Loopback, ResilientConnector, ResilientOptions};
use async_trait::async_trait;

struct InProcess(Loopback);

#[async_trait]
impl Harness for InProcess {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(self.0.connector(name).expect("a valid name"))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        vec![Skip::EndsWithConnection, Skip::Replay]
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn cut(&self) -> bool {
        self.0.cut();
        true
    }

    async fn outage(&self) -> bool {
        self.0.outage();
        true
    }

    async fn restart(&self) -> bool {
        self.0.restart();
        true
    }

    async fn stall(&self) -> bool {
        self.0.stall(Duration::from_secs(1));
        true
    }

    async fn expire(&self) -> bool {
        self.0.expire();
        true
    }

    async fn heal(&self) {
        self.0.heal();
    }
}

mod bare {
    use super::*;
    agentchat_core::conformance_tests!("loopback", InProcess(Loopback::new()));
}

mod resilient {
    use super::*;

    /// Every agent is a session over the same network.
    struct Sessions(InProcess);

    #[async_trait]
    impl Harness for Sessions {
        async fn connector(&self, name: &str) -> Arc<dyn Connector> {
            let inner = self.0.connector(name).await;
            let soon = BackoffPolicy::new().with_base(Duration::from_millis(20));
            let options = ResilientOptions::new()
                .with_reconnect(soon)
                .with_connect_timeout(Duration::from_secs(2))
                .with_call_timeout(Duration::from_secs(2))
                .with_send_timeout(Duration::from_secs(2))
                .with_drain_timeout(Duration::from_millis(500));
            Arc::new(ResilientConnector::new(inner, options))
        }

        fn expected_skips(&self) -> Vec<Skip> {
            vec![Skip::Reconnects, Skip::Replay]
        }

        fn patience(&self) -> Duration {
            Duration::from_secs(4)
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

    agentchat_core::conformance_tests!("resilient-loopback", Sessions(InProcess(Loopback::new())));
}
