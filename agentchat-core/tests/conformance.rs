//! The suite over the in-process network, which is its reference: as it is, and as a network that numbers
//! conversations and acknowledges by a cursor; bare, and under sessions.
#![cfg(feature = "conformance")]

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::conformance::{Harness, InSessions, Skip};
use agentchat_core::{Connector, Loopback, LoopbackFaults};
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
    agentchat_core::conformance_tests!("resilient-loopback", InSessions::new(InProcess::plain()));
}

mod resilient_numbered {
    use super::*;
    agentchat_core::conformance_tests!("resilient-loopback-numbered", InSessions::new(InProcess::numbered()));
}

mod one_inbox {
    use super::*;
    agentchat_core::conformance_tests!("loopback-one-inbox", InProcess::one_inbox());
}

mod one_inbox_in_session {
    use super::*;
    agentchat_core::conformance_tests!("loopback-one-inbox-session", InSessions::new(InProcess::one_inbox()));
}
