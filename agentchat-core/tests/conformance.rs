//! The suite over the in-process network, which is its reference: as it is, and as a network that numbers
//! conversations and acknowledges by a cursor; bare, and under sessions.
#![cfg(feature = "conformance")]

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::conformance::{Harness, Skip};
use agentchat_core::{
    BackoffPolicy, Connector, Loopback, LoopbackFaults, ResilientConnector, ResilientOptions,
};
use async_trait::async_trait;

struct InProcess {
    network: Loopback,
    /// What the network does not do.
    lacks: Vec<Skip>,
}

impl InProcess {
    fn plain() -> Self {
        Self { network: Loopback::new(), lacks: vec![Skip::Numbered] }
    }

    /// Both sides see the numbers of a conversation, and acknowledging moves a cursor.
    fn numbered() -> Self {
        let network = Loopback::with_faults(LoopbackFaults::default().with_numbers().with_cursor());
        let lacks = vec![Skip::Priority, Skip::Ttl, Skip::Delay, Skip::KeyedState, Skip::AckInOrder];
        Self { network, lacks }
    }

    /// Agents have one inbox, in which calls are answered as well.
    fn one_inbox() -> Self {
        let network = Loopback::with_faults(LoopbackFaults::default().with_one_inbox());
        Self { network, lacks: vec![Skip::Numbered, Skip::ExtraInbox] }
    }
}

#[async_trait]
impl Harness for InProcess {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(self.network.connector(name).expect("a valid name"))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        self.lacks.iter().copied().chain([Skip::EndsWithConnection]).collect()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
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

    async fn stall(&self) -> bool {
        self.network.stall(Duration::from_secs(1));
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

/// Every agent is a session.
struct Sessions(InProcess);

#[async_trait]
impl Harness for Sessions {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        let soon = BackoffPolicy::new().with_base(Duration::from_millis(20));
        let options = ResilientOptions::new()
            .with_reconnect(soon)
            .with_connect_timeout(Duration::from_secs(2))
            .with_call_timeout(Duration::from_secs(2))
            .with_send_timeout(Duration::from_secs(2))
            .with_drain_timeout(Duration::from_millis(500));
        Arc::new(ResilientConnector::new(self.0.connector(name).await, options))
    }

    /// A session acknowledges in the order the network wants.
    fn expected_skips(&self) -> Vec<Skip> {
        let lacks = self.0.lacks.iter().copied().filter(|skip| *skip != Skip::AckInOrder);
        lacks.chain([Skip::Reconnects]).collect()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
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

mod bare {
    use super::*;
    agentchat_core::conformance_tests!("loopback", InProcess::plain());
}

mod bare_numbered {
    use super::*;
    agentchat_core::conformance_tests!("loopback-numbered", InProcess::numbered());
}

mod resilient {
    use super::*;
    agentchat_core::conformance_tests!("resilient-loopback", Sessions(InProcess::plain()));
}

mod resilient_numbered {
    use super::*;
    agentchat_core::conformance_tests!("resilient-loopback-numbered", Sessions(InProcess::numbered()));
}

mod one_inbox {
    use super::*;
    agentchat_core::conformance_tests!("loopback-one-inbox", InProcess::one_inbox());
}

mod one_inbox_in_session {
    use super::*;
    agentchat_core::conformance_tests!("loopback-one-inbox-session", Sessions(InProcess::one_inbox()));
}
