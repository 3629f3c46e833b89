//! How to reach AgentChat: the settings, their defaults, and what makes them usable.

mod base_url;
mod builder;
mod env;
mod handle;
mod section;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use base_url::BaseUrl;
pub use builder::AgentChatConfigBuilder;
#[cfg(feature = "tools")]
pub(crate) use handle::own;
pub(crate) use handle::{HANDLE_RULE, handle_of};
pub use section::AgentChatSection;

use crate::key::ApiKey;

/// How to reach AgentChat, checked. Made by [`AgentChatConfig::builder`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentChatConfig {
    pub(crate) base: BaseUrl,
    pub(crate) key: Option<ApiKey>,
    pub(crate) handle: Option<String>,
    pub(crate) settings: Settings,
}

/// Everything that has a default.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) handshake: Handshake,
    pub(crate) identity: Option<ClientIdentity>,
    pub(crate) user_agent: Option<String>,
    pub(crate) attempt_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) hello_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) sync_page: u32,
    pub(crate) history_page: u32,
    pub(crate) poll_interval: (Duration, Duration),
    pub(crate) tls_roots: Option<PathBuf>,
    pub(crate) extra_tls_roots: Option<PathBuf>,
    pub(crate) env_proxy: bool,
    pub(crate) invitations: InvitationPolicy,
}

/// How a WebSocket proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Handshake {
    /// By a first frame that holds the key. The server always answers it, so a good key is known from a
    /// bad one.
    #[default]
    Hello,
    /// By an `Authorization` header of the upgrade. Older servers answer nothing to a good key.
    Header,
}

/// What an attached agent does with invitations to groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum InvitationPolicy {
    /// Nothing: they wait on the server, to be seen and answered.
    #[default]
    Leave,
    /// Accepts each one as soon as it is seen. Whoever may invite the agent then decides what groups it is
    /// in, and every member of those can write to it.
    AcceptAll,
}

/// What the client says it is, for the platform's statistics. What the server does with a name it does not
/// know is not known, so none is sent by default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientIdentity {
    /// A name of the platform's list.
    pub name: String,
    /// The version, when there is one to tell.
    pub version: Option<String>,
}

impl ClientIdentity {
    /// The client `name`, in `version`.
    pub fn new(name: impl Into<String>, version: Option<String>) -> Self {
        Self { name: name.into(), version }
    }
}

impl AgentChatConfig {
    /// Settings for the agent that `key` belongs to.
    pub fn builder(key: ApiKey) -> AgentChatConfigBuilder {
        AgentChatConfigBuilder::new(Some(key))
    }

    /// Settings for who has no key yet: to register, or to recover one.
    pub fn builder_without_key() -> AgentChatConfigBuilder {
        AgentChatConfigBuilder::new(None)
    }

    /// The REST base, without a `/` at its end.
    pub fn base_url(&self) -> &str {
        self.base.as_str()
    }

    /// Where the WebSocket is.
    pub fn websocket_url(&self) -> String {
        self.base.websocket()
    }

    /// How a WebSocket proves who it is.
    pub fn handshake(&self) -> Handshake {
        self.settings.handshake
    }

    /// What the client says it is.
    pub fn client_identity(&self) -> Option<&ClientIdentity> {
        self.settings.identity.as_ref()
    }

    /// The `User-Agent` line.
    pub fn user_agent(&self) -> Option<&str> {
        self.settings.user_agent.as_deref()
    }

    /// How long one HTTP attempt may take, from connecting to the last byte of the answer.
    pub fn attempt_timeout(&self) -> Duration {
        self.settings.attempt_timeout
    }

    /// How long connecting may take.
    pub fn connect_timeout(&self) -> Duration {
        self.settings.connect_timeout
    }

    /// How long the answer to the first frame may take.
    pub fn hello_timeout(&self) -> Duration {
        self.settings.hello_timeout
    }

    /// How often the client pings.
    pub fn ping_interval(&self) -> Duration {
        self.settings.ping_interval
    }

    /// How long a pong may take.
    pub fn pong_timeout(&self) -> Duration {
        self.settings.pong_timeout
    }

    /// After how long without any frame a socket counts as dead.
    pub fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// Rows asked for per page of waiting messages.
    pub fn sync_page(&self) -> u32 {
        self.settings.sync_page
    }

    /// Rows asked for per page of history.
    pub fn history_page(&self) -> u32 {
        self.settings.history_page
    }

    /// How often an inbox is looked into by REST: while messages come, and while none do.
    pub fn poll_interval(&self) -> (Duration, Duration) {
        self.settings.poll_interval
    }

    /// What is done with invitations to groups.
    pub fn invitations(&self) -> InvitationPolicy {
        self.settings.invitations
    }

    /// The PEM file of trusted roots, when not the system's.
    pub fn tls_roots(&self) -> Option<&Path> {
        self.settings.tls_roots.as_deref()
    }

    /// The PEM file of roots that are trusted besides the others.
    pub fn extra_tls_roots(&self) -> Option<&Path> {
        self.settings.extra_tls_roots.as_deref()
    }

    /// Whose key it should be, where that was said.
    pub fn handle(&self) -> Option<&str> {
        self.handle.as_deref()
    }

    /// The agent's key, if it has one yet.
    pub fn key(&self) -> Option<&ApiKey> {
        self.key.as_ref()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handshake: Handshake::Hello,
            identity: None,
            user_agent: Some(USER_AGENT.to_owned()),
            attempt_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(4),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(100),
            sync_page: 200,
            history_page: 200,
            poll_interval: crate::transport::POLL_INTERVAL,
            tls_roots: None,
            extra_tls_roots: None,
            env_proxy: false,
            invitations: InvitationPolicy::Leave,
        }
    }
}

/// Where AgentChat is when nothing else is said.
pub const DEFAULT_BASE_URL: &str = "https://api.agentchat.me";
pub(crate) const USER_AGENT: &str = concat!("agentchat-rs/", env!("CARGO_PKG_VERSION"), " rust");
