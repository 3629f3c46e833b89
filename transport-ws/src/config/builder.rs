//! Settings on their way to being checked.

use std::path::PathBuf;
use std::time::Duration;

use agentchat_core::{Error, ErrorKind, Result};

use super::{
    AgentChatConfig, BaseUrl, ClientIdentity, DEFAULT_BASE_URL, Handshake, InvitationPolicy, Settings,
};
use crate::key::ApiKey;

/// Builds an [`AgentChatConfig`]. Every setting has a default; only
/// [`build`](AgentChatConfigBuilder::build) fails.
///
/// ```
/// use std::time::Duration;
/// use transport_ws::{AgentChatConfig, ApiKey};
///
/// # fn main() -> agentchat_core::Result<()> {
/// let key = ApiKey::new("ac_0123456789abcdefghijklmnopqrstuvwxyz")?;
/// let config = AgentChatConfig::builder(key)
///     .with_base_url("https://chat.example/api/")
///     .with_attempt_timeout(Duration::from_secs(5))
///     .build()?;
/// assert_eq!(config.websocket_url(), "wss://chat.example/api/v1/ws");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct AgentChatConfigBuilder {
    base: String,
    key: Option<ApiKey>,
    handle: Option<String>,
    settings: Settings,
}

impl AgentChatConfigBuilder {
    pub(super) fn new(key: Option<ApiKey>) -> Self {
        Self { base: DEFAULT_BASE_URL.to_owned(), key, handle: None, settings: Settings::default() }
    }

    /// The REST base: `http://` or `https://`, with a path prefix where the server has one. Default:
    /// [`DEFAULT_BASE_URL`]. The WebSocket's URL follows from it.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.base = url.into();
        self
    }

    /// The handle of the account that the key should belong to, with or without `@`. To attach with a key of
    /// another account is an error then. Default: any account.
    pub fn with_handle(mut self, handle: impl Into<String>) -> Self {
        self.handle = Some(handle.into());
        self
    }

    /// How a WebSocket proves who it is. Default: [`Handshake::Hello`].
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.settings.handshake = handshake;
        self
    }

    /// What the client says it is. Default: nothing is said.
    pub fn with_client_identity(mut self, identity: ClientIdentity) -> Self {
        self.settings.identity = Some(identity);
        self
    }

    /// The `User-Agent` line; `None` sends none. Default: `agentchat-rs/<version> rust`.
    pub fn with_user_agent(mut self, user_agent: Option<String>) -> Self {
        self.settings.user_agent = user_agent;
        self
    }

    /// How long one HTTP attempt may take, from connecting to the last byte of the answer. Default: 30 s.
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.attempt_timeout = timeout;
        self
    }

    /// How long connecting may take, TLS included. Default: 10 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long the server may take to accept the first frame of a socket. Default: 4 s, below the
    /// server's own 5 s.
    pub fn with_hello_timeout(mut self, timeout: Duration) -> Self {
        self.settings.hello_timeout = timeout;
        self
    }

    /// How often a socket is pinged, and how long a pong may take. Default: 20 s and 20 s.
    pub fn with_keepalive(mut self, interval: Duration, pong: Duration) -> Self {
        self.settings.ping_interval = interval;
        self.settings.pong_timeout = pong;
        self
    }

    /// After how long without any frame a socket counts as dead. Default: 100 s.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// Rows per page of waiting messages, 1 to 500. Default: 200.
    pub fn with_sync_page(mut self, rows: u32) -> Self {
        self.settings.sync_page = rows;
        self
    }

    /// How often an inbox is looked into by REST: at most every `fastest` while messages come, slowing to
    /// `slowest` while none do. Only for
    /// [`AgentChatPollConnector`](crate::AgentChatPollConnector). Default: 500 ms and 15 s.
    pub fn with_poll_interval(mut self, fastest: Duration, slowest: Duration) -> Self {
        self.settings.poll_interval = (fastest, slowest);
        self
    }

    /// Rows per page of history, 1 to 200. Default: 200.
    pub fn with_history_page(mut self, rows: u32) -> Self {
        self.settings.history_page = rows;
        self
    }

    /// Trusts the certificates of this PEM file, and no others. Default: the system's (or those of
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`), read once for the life of the process.
    pub fn with_tls_roots(mut self, pem: impl Into<PathBuf>) -> Self {
        self.settings.tls_roots = Some(pem.into());
        self
    }

    /// Trusts the certificates of this PEM file besides the system's, or besides those of
    /// [`with_tls_roots`](Self::with_tls_roots): for networks in which a company's own authority signs for
    /// everybody. Default: none.
    pub fn with_extra_tls_roots(mut self, pem: impl Into<PathBuf>) -> Self {
        self.settings.extra_tls_roots = Some(pem.into());
        self
    }

    /// What is done with invitations to groups. Default: [`InvitationPolicy::Leave`].
    pub fn with_invitations(mut self, policy: InvitationPolicy) -> Self {
        self.settings.invitations = policy;
        self
    }

    /// Whether HTTP goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name. Default:
    /// false, so that nobody who sets a variable reads along.
    pub fn with_env_proxy(mut self, use_it: bool) -> Self {
        self.settings.env_proxy = use_it;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the setting. TLS roots are read later, by whoever connects.
    pub fn build(self) -> Result<AgentChatConfig> {
        let base = BaseUrl::parse(&self.base)?;
        let handle = self.handle.as_deref().map(super::handle::own).transpose()?;
        let set = &self.settings;
        for (name, value) in [
            ("the attempt timeout", set.attempt_timeout),
            ("the connect timeout", set.connect_timeout),
            ("the hello timeout", set.hello_timeout),
            ("the ping interval", set.ping_interval),
            ("the pong timeout", set.pong_timeout),
            ("the idle timeout", set.idle_timeout),
            ("the fastest poll interval", set.poll_interval.0),
            ("the slowest poll interval", set.poll_interval.1),
        ] {
            if value.is_zero() || value > LONGEST {
                return Err(fault(format!("{name} must be more than nothing and at most a day")));
            }
        }
        if set.poll_interval.0 > set.poll_interval.1 {
            return Err(fault("the fastest poll interval is longer than the slowest".to_owned()));
        }
        for (name, value, most) in
            [("the sync page", set.sync_page, 500), ("the history page", set.history_page, 200)]
        {
            if !(1..=most).contains(&value) {
                return Err(fault(format!("{name} has {value} rows; 1 to {most} are allowed")));
            }
        }
        let identity = set.identity.iter();
        let lines = identity
            .flat_map(|it| {
                let version = it.version.as_deref().map(|version| ("the client version", version));
                [("the client identity", it.name.as_str())].into_iter().chain(version)
            })
            .chain(set.user_agent.as_deref().map(|line| ("the user agent", line)));
        for (name, value) in lines {
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
                return Err(fault(format!("{name} must be visible ASCII and not empty")));
            }
        }
        Ok(AgentChatConfig { base, key: self.key, handle, settings: self.settings })
    }
}

fn fault(what: String) -> Error {
    Error::new(ErrorKind::Config, "config", what)
}

/// Longer waits are a wrong unit, not a wish.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> AgentChatConfigBuilder {
        AgentChatConfig::builder(ApiKey::new("ac_0123456789abcdefghij").expect("valid"))
    }

    #[test]
    fn every_default_is_the_documented_one() {
        let config = builder().build().expect("the defaults are usable");
        assert_eq!(config.base_url(), "https://api.agentchat.me");
        assert_eq!(config.websocket_url(), "wss://api.agentchat.me/v1/ws");
        assert_eq!(config.handshake(), Handshake::Hello);
        assert_eq!(config.client_identity(), None);
        let user_agent = format!("agentchat-rs/{} rust", env!("CARGO_PKG_VERSION"));
        assert_eq!(config.user_agent(), Some(user_agent.as_str()));
        assert_eq!(config.attempt_timeout(), Duration::from_secs(30));
        assert_eq!(config.connect_timeout(), Duration::from_secs(10));
        assert_eq!(config.hello_timeout(), Duration::from_secs(4));
        assert_eq!(config.ping_interval(), Duration::from_secs(20));
        assert_eq!(config.pong_timeout(), Duration::from_secs(20));
        assert_eq!(config.idle_timeout(), Duration::from_secs(100));
        assert_eq!((config.sync_page(), config.history_page()), (200, 200));
        assert_eq!(config.poll_interval(), (Duration::from_millis(500), Duration::from_secs(15)));
        assert_eq!((config.tls_roots(), config.extra_tls_roots()), (None, None));
        assert!(!config.settings.env_proxy);
    }

    #[test]
    fn every_setter_sets_its_setting() {
        let second = Duration::from_secs(1);
        let config = builder()
            .with_base_url("http://h/p/")
            .with_handshake(Handshake::Header)
            .with_client_identity(ClientIdentity::new("mine", Some("2".to_owned())))
            .with_user_agent(None)
            .with_attempt_timeout(second)
            .with_connect_timeout(second * 2)
            .with_hello_timeout(second * 3)
            .with_keepalive(second * 4, second * 5)
            .with_idle_timeout(second * 6)
            .with_sync_page(7)
            .with_history_page(8)
            .with_poll_interval(second * 9, second * 10)
            .with_tls_roots("/roots.pem")
            .with_extra_tls_roots("/more.pem")
            .with_env_proxy(true)
            .with_invitations(InvitationPolicy::AcceptAll)
            .build()
            .expect("usable");
        let expected = Settings {
            handshake: Handshake::Header,
            identity: Some(ClientIdentity::new("mine", Some("2".to_owned()))),
            user_agent: None,
            attempt_timeout: second,
            connect_timeout: second * 2,
            hello_timeout: second * 3,
            ping_interval: second * 4,
            pong_timeout: second * 5,
            idle_timeout: second * 6,
            sync_page: 7,
            history_page: 8,
            poll_interval: (second * 9, second * 10),
            tls_roots: Some("/roots.pem".into()),
            extra_tls_roots: Some("/more.pem".into()),
            env_proxy: true,
            invitations: InvitationPolicy::AcceptAll,
        };
        assert_eq!(config.base_url(), "http://h/p");
        assert_eq!(config.settings, expected);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (built, name) in [
            (builder().with_base_url("nonsense"), "base URL"),
            (builder().with_attempt_timeout(Duration::ZERO), "attempt timeout"),
            (builder().with_connect_timeout(Duration::MAX), "connect timeout"),
            (builder().with_hello_timeout(Duration::ZERO), "hello timeout"),
            (builder().with_keepalive(Duration::ZERO, LONGEST), "ping interval"),
            (builder().with_keepalive(LONGEST, Duration::ZERO), "pong timeout"),
            (builder().with_idle_timeout(Duration::ZERO), "idle timeout"),
            (builder().with_handle("a"), "handle"),
            (builder().with_sync_page(0), "sync page"),
            (builder().with_sync_page(501), "sync page"),
            (builder().with_history_page(201), "history page"),
            (builder().with_poll_interval(Duration::ZERO, LONGEST), "fastest poll interval"),
            (builder().with_poll_interval(LONGEST, LONGEST * 2), "slowest poll interval"),
            (builder().with_poll_interval(LONGEST, LONGEST / 2), "poll interval"),
            (builder().with_client_identity(ClientIdentity::new("", None)), "client identity"),
            (
                builder().with_client_identity(ClientIdentity::new("a", Some("1\r\n".to_owned()))),
                "client version",
            ),
            (builder().with_user_agent(Some("a\nb".to_owned())), "user agent"),
        ] {
            let error = built.build().expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn the_settings_print_without_the_key() {
        let shown = format!("{:?}", builder().build().expect("usable"));
        assert!(shown.contains("***") && !shown.contains("0123456789"), "{shown}");
    }
}
