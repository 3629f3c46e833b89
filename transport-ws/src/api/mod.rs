//! The AgentChat API, typed.

mod account;
mod attachments;
mod check;
mod contacts;
mod conversations;
mod directory;
mod groups;
mod inbox;
mod listing;
mod mutes;
mod presence;
mod registration;
mod replies;
mod send;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::Result as CoreResult;
use serde::de::DeserializeOwned;

pub use account::{Avatar, ProfileUpdate};
pub use attachments::{CONTENT_TYPES, Upload, UploadTicket};
pub use contacts::{AddedContact, Contact, ContactPage};
pub use conversations::{
    Conversation, ConversationContext, ConversationGroup, Participant, Relationship, Unread,
};
pub use groups::{
    AddResult, CreatedGroup, Group, GroupDeletion, GroupDraft, GroupMember, GroupSettings, GroupUpdate,
};
pub use inbox::{History, RowPage};
pub use listing::Listing;
pub use mutes::{Mute, MuteKind, Muted};
pub use registration::{NewAgent, Pending, Recovered, Registered};
pub use replies::{BatchClaim, Claim};
pub use send::{BacklogWarning, Draft, MAX_CONTENT, Recipient, Sent};
pub use webhook::{Webhook, WebhookEvent, WebhookFault, verify_webhook};

use crate::config::AgentChatConfig;
use crate::http::{Answer, ApiError, Call, HttpClient, HttpHooks, Manner, RetryPolicy};
use crate::key::ApiKey;
use crate::transport::Sends;

/// The result of a call of the AgentChat API.
pub type ApiResult<T> = Result<T, ApiError>;

/// A client of the AgentChat API: each route a method. Clones are cheap and share their connections.
///
/// Every call ends by its deadlines. Dropping a call's future ends it; what was sent by then may have taken
/// effect. Calls have no order among themselves. Calls that cannot be done twice by it are tried again as
/// [`RetryPolicy`] says; [`AgentChat::with_retry`] makes a client that does otherwise.
///
/// What an answer has that this version does not know is kept in the `extra` of what it gives. Where that is no more
/// than a list, a number, a name or nothing, as of [`mutes`](AgentChat::mutes), [`webhooks`](AgentChat::webhooks),
/// [`presences`](AgentChat::presences), [`leave_group`](AgentChat::leave_group) and
/// [`sync_ack`](AgentChat::sync_ack), each item of a list keeps its own, and unknown members beside it are not kept.
#[derive(Debug, Clone)]
pub struct AgentChat {
    http: Arc<HttpClient>,
    manner: Manner,
    sync_page: u32,
    history_page: u32,
    /// Who is to know the numbers of one's own messages.
    sends: Option<Sends>,
    #[cfg(feature = "tools")]
    heard: Option<crate::tools::Heard>,
}

impl AgentChat {
    /// A client. It connects with its first call.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](agentchat_core::ErrorKind::Config) when the TLS roots cannot be used.
    pub fn new(config: &AgentChatConfig) -> CoreResult<Self> {
        Ok(Self {
            http: Arc::new(HttpClient::new(config)?),
            manner: Manner { key: config.key().cloned(), ..Manner::default() },
            sync_page: config.sync_page(),
            history_page: config.history_page(),
            sends: None,
            #[cfg(feature = "tools")]
            heard: None,
        })
    }

    /// The same client with another key: the one that a registration, recovery or rotation gave.
    pub fn with_key(mut self, key: ApiKey) -> Self {
        self.manner.key = Some(key);
        // It may be of another account.
        self.sends = None;
        self
    }

    /// The same client, trying again as `policy` says.
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.manner.policy = policy;
        self
    }

    /// The same client, each of whose calls takes at most this long, all its attempts together. Default: no
    /// limit but that of each attempt.
    pub fn with_call_timeout(mut self, within: Duration) -> Self {
        self.manner.within = Some(within);
        self
    }

    /// The same client, watched.
    pub fn with_hooks(mut self, hooks: Arc<dyn HttpHooks>) -> Self {
        self.manner.hooks = Some(hooks);
        self
    }

    /// The same client, which tells the numbers of what it sends.
    pub(crate) fn with_sends(mut self, sends: Sends) -> Self {
        self.sends = Some(sends);
        self
    }

    /// The same client, which leaves what the server said in `heard`.
    #[cfg(feature = "tools")]
    pub(crate) fn heard_by(mut self, heard: crate::tools::Heard) -> Self {
        self.heard = Some(heard);
        self
    }

    /// How many attempts of calls were begun until now, by all clones.
    pub(crate) fn begun(&self) -> u64 {
        self.http.begun()
    }

    /// Closes connections that no call uses, unless another attempt was begun since there were `begun`.
    pub(crate) fn give_back(&self, begun: u64) {
        self.http.give_back(begun);
    }

    async fn call(&self, call: Call) -> ApiResult<Answer> {
        let answer = self.http.call(&call, &self.manner).await?;
        #[cfg(feature = "tools")]
        if let Some(heard) = &self.heard {
            heard.keep(&answer.body);
        }
        Ok(answer)
    }

    async fn fetch<T: DeserializeOwned>(&self, call: Call) -> ApiResult<T> {
        let operation = call.operation();
        self.call(call).await?.json(operation)
    }

    /// For answers whose members may all be missing: an empty one says as much.
    async fn told<T: DeserializeOwned + Default>(&self, call: Call) -> ApiResult<T> {
        let operation = call.operation();
        let answer = self.call(call).await?;
        if answer.body.is_empty() { Ok(T::default()) } else { answer.json(operation) }
    }

    /// For calls whose answer says nothing beyond its status.
    async fn done(&self, call: Call) -> ApiResult<()> {
        self.call(call).await.map(drop)
    }
}
