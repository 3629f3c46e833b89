//! A network in this process behind a wire.

use agentchat_core::{Agent, Loopback, Resilient, ResilientConnector};

use super::frames::{Framed, Wire};
use super::{MS, options, session, soon};

pub struct World {
    pub network: Loopback,
    pub wire: Wire,
}

impl World {
    pub fn new() -> Self {
        Self { network: Loopback::new(), wire: Wire::clear().with_latency(2 * MS) }
    }

    pub fn connector(&self, name: &str) -> Framed {
        self.wire.connector(name, self.network.connector(name).expect("a name"))
    }

    pub async fn session(&self, name: &str) -> Resilient {
        session(self.connector(name), 7).await
    }

    pub async fn agent(&self, name: &str) -> Agent {
        let sessions = ResilientConnector::new(self.connector(name), options(7));
        soon("starting", Agent::builder(sessions).start()).await.expect("started")
    }
}
