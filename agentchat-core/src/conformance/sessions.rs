//! A network whose agents are sessions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Harness, Skip};
use crate::resilient::{ResilientConnector, ResilientOptions};
use crate::session::BackoffPolicy;
use crate::transport::Connector;

/// A [`Harness`] around another one: the same network and the same faults, with a
/// [`Resilient`](crate::Resilient) session for every agent. A transport that passes the suite bare must
/// pass it within sessions too, and most users run it so.
///
/// Sessions connect again after 20 ms, and every call of theirs may take the network's
/// [`patience`](Harness::patience). They skip what the network skips, but for what a session adds: it
/// survives lost connections ([`Skip::Reconnects`] in place of [`Skip::EndsWithConnection`]) and
/// acknowledges in the order that the network wants (no [`Skip::AckInOrder`]).
///
/// ```
/// # use std::sync::Arc;
/// use agentchat_core::conformance::{Harness, InSessions, Skip};
/// # use agentchat_core::{Connector, Loopback};
/// # use async_trait::async_trait;
/// # struct InProcess(Loopback);
/// # #[async_trait]
/// # impl Harness for InProcess {
/// #     async fn connector(&self, name: &str) -> Arc<dyn Connector> {
/// #         Arc::new(self.0.connector(name).expect("a valid name"))
/// #     }
/// #     fn expected_skips(&self) -> Vec<Skip> {
/// #         vec![Skip::EndsWithConnection, Skip::Numbered]
/// #     }
/// # }
/// // `InProcess` is a harness of its own; this is the same within sessions.
/// let sessions = InSessions::new(InProcess(Loopback::new()));
/// assert_eq!(sessions.expected_skips(), [Skip::Numbered, Skip::Reconnects]);
///
/// // In a file under tests/:
/// mod in_sessions {
///     # use super::*;
///     agentchat_core::conformance_tests!("in-sessions", InSessions::new(InProcess(Loopback::new())));
/// }
/// # fn main() {}
/// ```
pub struct InSessions<H> {
    network: H,
    options: Option<ResilientOptions>,
}

impl<H: Harness> InSessions<H> {
    /// The agents of `network`, each as a session.
    pub fn new(network: H) -> Self {
        Self { network, options: None }
    }

    /// Sets the options of every session. No call may take longer with them than three times the network's
    /// patience.
    pub fn with_options(mut self, options: ResilientOptions) -> Self {
        self.options = Some(options);
        self
    }

    /// The network.
    pub fn network(&self) -> &H {
        &self.network
    }

    fn options(&self) -> ResilientOptions {
        let patience = self.network.patience();
        let soon = BackoffPolicy::new().with_base(SOON);
        self.options.clone().unwrap_or_else(|| {
            ResilientOptions::new()
                .with_reconnect(soon)
                .with_retry(soon)
                .with_connect_timeout(patience)
                .with_call_timeout(patience)
                .with_send_timeout(patience)
                .with_drain_timeout(patience / 8)
        })
    }
}

#[async_trait]
impl<H: Harness> Harness for InSessions<H> {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(ResilientConnector::new(self.network.connector(name).await, self.options()))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        let of_network = self.network.expected_skips().into_iter();
        let kept = of_network.filter(|skip| !matches!(skip, Skip::EndsWithConnection | Skip::AckInOrder));
        kept.chain([Skip::Reconnects]).collect()
    }

    /// A session's call, and what the network's own may take under it.
    fn patience(&self) -> Duration {
        self.network.patience() * 3
    }

    async fn cut(&self) -> bool {
        self.network.cut().await
    }

    async fn outage(&self) -> bool {
        self.network.outage().await
    }

    async fn restart(&self) -> bool {
        self.network.restart().await
    }

    async fn stall(&self) -> bool {
        self.network.stall().await
    }

    async fn expire(&self) -> bool {
        self.network.expire().await
    }

    async fn heal(&self) {
        self.network.heal().await;
    }
}

impl<H> fmt::Debug for InSessions<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InSessions").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How soon a session connects again: a case would wait for the usual half second many times.
const SOON: Duration = Duration::from_millis(20);
