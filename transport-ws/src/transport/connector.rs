//! Attaching an agent to AgentChat.

use std::fmt;
use std::sync::{Arc, OnceLock};

use agentchat_core::{
    AckGuarantee, Capabilities, Connector, Error, ErrorKind, OrderGuarantee, Reached, Result, Transport,
};
use async_trait::async_trait;
use rustls::ClientConfig;

use super::AgentChatTransport;
use super::ending::Ending;
use super::invitations::{Invitations, Invites};
use super::names::Names;
use super::positions::Positions;
use super::shared::{Leftover, Owner, Shared};
use super::verdict::verdict;
use crate::api::AgentChat;
use crate::config::AgentChatConfig;
use crate::http::RetryPolicy;
use crate::mapping::{MAX_ANY_BODY, SCHEME, address_of};
use crate::socket::{CloseMeaning, dial, run};

/// Attaches the agent that an API key belongs to. Cheap to clone; clones share what they know.
///
/// Wrap it in [`ResilientConnector`](agentchat_core::ResilientConnector) for a session that survives lost
/// connections, and give that to [`Agent::builder`](agentchat_core::Agent::builder).
#[derive(Clone)]
pub struct AgentChatConnector(Arc<Inner>);

struct Inner {
    config: AgentChatConfig,
    client: AgentChat,
    tls: Arc<ClientConfig>,
    /// Whose key it is: asked once.
    handle: OnceLock<Arc<str>>,
    names: Names,
    leftover: Leftover,
    positions: Positions,
    invites: Invites,
}

impl AgentChatConnector {
    /// A connector. It connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without a key, or when the TLS roots cannot be used.
    pub fn new(config: AgentChatConfig) -> Result<Self> {
        if config.key().is_none() {
            return Err(Error::new(ErrorKind::Config, "connect", "an agent needs an API key to attach"));
        }
        let client = AgentChat::new(&config)?.with_retry(RetryPolicy::none());
        let tls = Arc::new(crate::tls::config(&config)?);
        let (handle, names) = (OnceLock::new(), Names::default());
        let (leftover, positions) = (Leftover::default(), Positions::default());
        let invites = Invites::new(config.invitations());
        Ok(Self(Arc::new(Inner { config, client, tls, handle, names, leftover, positions, invites })))
    }

    /// The API under the agent's key, for what the transport does not wrap. Calls are tried once.
    pub fn client(&self) -> &AgentChat {
        &self.0.client
    }

    /// Invitations to groups, as this connector's attachments see them: those that wait when one connects or
    /// registers, and what comes then. What has been seen before is told first.
    pub fn invitations(&self) -> Invitations {
        self.0.invites.told()
    }

    async fn handle(&self) -> Result<Arc<str>> {
        if let Some(handle) = self.0.handle.get() {
            return Ok(Arc::clone(handle));
        }
        let client = self.0.client.clone().with_call_timeout(self.0.config.hello_timeout());
        let me = client.me().await?;
        if address_of(&me.handle).is_none() {
            return Err(Error::new(ErrorKind::Protocol, "connect", "the server names no usable handle"));
        }
        Ok(Arc::clone(self.0.handle.get_or_init(|| me.handle.as_str().into())))
    }
}

#[async_trait]
impl Connector for AgentChatConnector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = &self.0;
        let own = self.handle().await?;
        let address = address_of(&own).ok_or_else(unusable)?;
        let greeted = match dial(&inner.config, &inner.tls).await {
            Ok(greeted) => greeted,
            Err(refused) if refused.meaning == CloseMeaning::KeyInQuestion => {
                let ending = verdict(&inner.client, refused.error.to_string()).await;
                return Err(ending.error("connect", Reached::Yes));
            }
            Err(refused) => return Err(refused.error),
        };
        let acks = greeted.acks;
        let shared = Arc::new(Shared::new(acks, Arc::clone(&inner.leftover), inner.positions.clone()));
        let within = inner.config.pong_timeout();
        let (client, task_shared) = (inner.client.clone(), Arc::clone(&shared));
        let invites = inner.invites.clone();
        if invites.are_wanted() {
            shared.invited.notify_one();
        }
        let task = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = run(greeted, Arc::clone(&task_shared), within) => ended,
                never = invites.watch(&client, &task_shared.invited) => match never {},
            };
            let ending = match ended {
                None => Ending::Closed,
                Some(end) if end.meaning == CloseMeaning::KeyInQuestion => verdict(&client, end.how).await,
                Some(end) => Ending::Lost(end.how),
            };
            tracing::debug!(?ending, "an AgentChat socket has ended");
            task_shared.end(ending);
            if task_shared.inner().reading == super::shared::Reads::Nothing {
                task_shared.salvage();
            }
        });
        Ok(Arc::new(AgentChatTransport {
            capabilities: capabilities(acks),
            address,
            own,
            client: inner.client.clone(),
            names: inner.names.clone(),
            invites: inner.invites.clone(),
            shared,
            owner: Arc::new(Owner(task.abort_handle())),
        }))
    }
}

impl fmt::Debug for AgentChatConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChatConnector")
            .field("base_url", &self.0.config.base_url())
            .finish_non_exhaustive()
    }
}

/// What an attachment can do. `acks`: the server grants acknowledgements of single messages.
fn capabilities(acks: bool) -> Capabilities {
    let mut able = Capabilities::none(&[SCHEME]);
    able.directory = true;
    able.durable_inbox = true;
    able.ack = if acks { AckGuarantee::Redelivers } else { AckGuarantee::None };
    able.order = OrderGuarantee::Conversation;
    able.server_dedup = true;
    able.replay = true;
    able.max_body = Some(MAX_ANY_BODY);
    able
}

fn unusable() -> Error {
    Error::new(ErrorKind::Protocol, "connect", "the server names no usable handle")
}
