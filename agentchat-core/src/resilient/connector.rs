//! Sessions for whoever connects by a [`Connector`].

use std::sync::Arc;

use async_trait::async_trait;

use super::{Resilient, ResilientOptions};
use crate::agent::Role;
use crate::error::Result;
use crate::transport::{Connector, Transport};

/// Makes each attachment a session that survives lost connections. What takes a [`Connector`], such as
/// [`Agent::builder`](crate::Agent::builder), works unchanged. With stores in its options, have one session of
/// it at a time.
#[derive(Debug, Clone)]
pub struct ResilientConnector {
    connector: Arc<dyn Connector>,
    options: ResilientOptions,
}

impl ResilientConnector {
    /// Sessions over the connections of `connector`.
    pub fn new(connector: impl Connector, options: ResilientOptions) -> Self {
        Self { connector: Arc::new(connector), options }
    }
}

#[async_trait]
impl Connector for ResilientConnector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        self.connect_for(Role::Leader).await
    }

    /// The session attaches in that role, and in the one that its agent has by then when it connects again.
    async fn connect_for(&self, role: Role) -> Result<Arc<dyn Transport>> {
        let session = Resilient::begin(Arc::clone(&self.connector), self.options.clone(), role).await?;
        Ok(Arc::new(session))
    }
}

/// A session is its own connector: each time it gives out a handle of itself, so that its state can be
/// watched beside the agent that uses it. Closing one handle closes them all. It is connected already, so a
/// follower's role comes too late to change how.
#[async_trait]
impl Connector for Resilient {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(self.clone()))
    }
}
