//! What the suite needs of a network under test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Skip;
use crate::transport::Connector;

/// A network under test: who can attach to it, and what can be made to go wrong.
///
/// Only [`Harness::connector`] has to be there. The other methods let more cases run: each fault takes
/// effect before its future ends, and answers whether it could be made at all. A case that needs one that
/// cannot is skipped, and fails if the harness does not list it among its
/// [`expected_skips`](Harness::expected_skips).
#[async_trait]
pub trait Harness: Send + Sync {
    /// A connector for the agent `name` of this harness: a word of lower-case letters. The same name must
    /// lead to the same inbox, and a name used in two harnesses to two inboxes.
    async fn connector(&self, name: &str) -> Arc<dyn Connector>;

    /// Every reason for which cases may be skipped here: neither more nor less, or the case
    /// `declare_names_every_skip` fails.
    fn expected_skips(&self) -> Vec<Skip> {
        Vec::new()
    }

    /// How long one call may take here while nothing answers (default 5 s). Configure the transport with
    /// short deadlines and say so: two cases wait for them.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Cuts every connection. Connecting again works at once.
    async fn cut(&self) -> bool {
        false
    }

    /// Cuts every connection and refuses new ones until [`Harness::heal`].
    async fn outage(&self) -> bool {
        false
    }

    /// Starts the server again: connections are lost, what the server keeps durably is not. Connecting
    /// works once this returns.
    async fn restart(&self) -> bool {
        false
    }

    /// Lets the server hang until [`Harness::heal`]: connections stay, nothing is answered or delivered.
    async fn stall(&self) -> bool {
        false
    }

    /// Lets the credentials of every agent expire, or its session be revoked: open attachments end, and
    /// connecting is refused until [`Harness::heal`].
    async fn expire(&self) -> bool {
        false
    }

    /// Ends an outage, a stall and an expiry.
    async fn heal(&self) {}
}
