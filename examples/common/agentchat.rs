//! What the AgentChat examples share: the server of a run, and agents on it.

use agentchat_core::{ResilientConnector, ResilientOptions};
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChatConfig, AgentChatConfigBuilder, AgentChatConnector, ApiKey};

use super::Failure;

/// The embedded double, with agents that need no registration.
pub struct RunServer(pub AgentChatServer);

impl RunServer {
    pub async fn start() -> Result<Self, Failure> {
        let server = AgentChatServer::start().await?;
        println!("server: {} (embedded)", server.base_url());
        Ok(Self(server))
    }

    /// The settings of an agent, which is made if there is none by this handle.
    pub fn config(&self, handle: &str) -> Result<AgentChatConfigBuilder, Failure> {
        let key = ApiKey::new(self.0.agent(handle))?;
        Ok(AgentChatConfig::builder(key).with_base_url(self.0.base_url()))
    }

    pub fn connector(&self, handle: &str) -> Result<AgentChatConnector, Failure> {
        Ok(AgentChatConnector::new(self.config(handle)?.build()?)?)
    }

    /// A session of an agent, which survives lost connections.
    pub fn session(&self, handle: &str) -> Result<ResilientConnector, Failure> {
        Ok(session(self.connector(handle)?))
    }
}

/// Makes lost connections the session's business.
pub fn session(connector: AgentChatConnector) -> ResilientConnector {
    ResilientConnector::new(connector, ResilientOptions::new())
}
