//! How a connection is made: the options, and what stands behind them.

mod backoff;
mod dial;
mod link;
mod probe;
mod secret;
mod session;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "interop")]
pub(crate) use link::Alarm;
pub(crate) use link::Link;
pub(crate) use secret::{Credentials, Secret};
pub use session::ConnectionState;
pub(crate) use session::Session;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::uri::Mq9Uri;

/// How to connect. Every setting has a default; only [`ConnectOptions::connect`] fails.
///
/// ```no_run
/// # async fn doc() -> mq9_client::Result<()> {
/// use mq9_client::ConnectOptions;
/// use std::time::Duration;
///
/// let client = ConnectOptions::new()
///     .with_name("weather-agent")
///     .with_user("ada", "secret")
///     .with_request_timeout(Duration::from_secs(2))
///     .connect("mq9://broker.example:4222")
///     .await?;
/// # Ok(()) }
/// ```
///
/// `Debug` shows no password, token or seed. The NATS library underneath logs on its own target
/// `async_nats`; at `info` and below that log can hold mailbox names, so keep it at `warn`. For each lost
/// connection it writes one line about "max reconnection attempts": the client replaces connections itself.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub(crate) name: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls_roots: Option<PathBuf>,
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) require_tls: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) queue_capacity: usize,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) probe: bool,
    pub(crate) reconnect: Reconnect,
}

/// What a lost connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnect {
    /// The client is finished: every later call fails with [`ErrorKind::Disconnected`]. For owners
    /// that make a new client themselves.
    Close,
    /// The client connects again, waiting twice as long after each failure, from `base` up to `cap`,
    /// with up to half of each wait left to chance. The count starts again once a connection has
    /// lasted for `cap`. Refused credentials and unusable TLS material end the attempts.
    #[non_exhaustive]
    Backoff {
        /// The first wait.
        base: Duration,
        /// The longest wait.
        cap: Duration,
    },
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name the broker sees. Default: `mq9-client`. (RobustMQ drops a CONNECT without a name.)
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Logs in with a user and a password, the only form RobustMQ knows. Default: no login. The last
    /// login given counts, and any given here goes before one in the URI.
    pub fn with_user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials =
            Some(Credentials::User { user: user.into(), password: Secret::new(password.into()) });
        self
    }

    /// Logs in with a token.
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Token(Secret::new(token.into())));
        self
    }

    /// Logs in with a credentials file (user JWT and seed), read at each connect.
    pub fn with_credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(Credentials::File(path.into()));
        self
    }

    /// Logs in with an nkey seed (`SU…`).
    pub fn with_nkey_seed(mut self, seed: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::NkeySeed(Secret::new(seed.into())));
        self
    }

    /// Trusts the certificates of this PEM file, and no others. Default: the system's (or those of
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`), read once for the life of the process.
    pub fn with_tls_roots(mut self, pem: impl Into<PathBuf>) -> Self {
        self.tls_roots = Some(pem.into());
        self
    }

    /// Presents this certificate chain with this key (PEM files). Default: none.
    pub fn with_client_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client_certificate = Some((chain.into(), key.into()));
        self
    }

    /// Refuses a connection without TLS. Default: false, which still uses TLS when the server demands
    /// it; the schemes `mq9s` and `tls` set it too.
    pub fn with_require_tls(mut self, require: bool) -> Self {
        self.require_tls = require;
        self
    }

    /// How long connecting may take. Default: 5 s. The probe has its own time, the request timeout.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long each call may take, waiting for a free place included. Default: 5 s.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long the line may be silent before a PING. Default: 20 s. After three without a sign of
    /// life the connection counts as lost. A broker answers a PING after earlier requests of the
    /// same connection, and another client's waiting FETCH can stall it for 30 s, so keep three
    /// intervals above that.
    pub fn with_ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How many commands may wait for the socket; a call beyond that waits, within its deadline.
    /// Default: 2048.
    pub fn with_queue_capacity(mut self, commands: usize) -> Self {
        self.queue_capacity = commands;
        self
    }

    /// How many calls may await their reply at once; a call beyond that waits, within its deadline.
    /// Default: no bound, since each is a future that the caller holds.
    pub fn with_max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = Some(calls);
        self
    }

    /// Whether connecting ends with one cheap mq9 command, which tells refused credentials and a
    /// server without mq9 apart from success. Default: true. Without it, RobustMQ accepts a connection
    /// with bad credentials and the first call fails instead.
    pub fn with_probe(mut self, probe: bool) -> Self {
        self.probe = probe;
        self
    }

    /// What a lost connection leads to. Default: backoff from 100 ms to 10 s.
    pub fn with_reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Connects to `url` (see [`Mq9Uri`]; a mailbox in it is ignored).
    ///
    /// Ends within the connect timeout plus the request timeout. One attempt is made, whatever the
    /// reconnect policy. Dropping the future abandons the connection.
    ///
    /// # Errors
    /// - [`ErrorKind::Config`]: the URI, the options, the credentials or the TLS material cannot be
    ///   used, or the TLS handshake failed.
    /// - [`ErrorKind::Disconnected`]: nothing listens there, or the connection broke off.
    /// - [`ErrorKind::Timeout`]: no answer in time.
    /// - [`ErrorKind::Unauthorized`]: the credentials were refused.
    /// - [`ErrorKind::NotMq9`]: a NATS server answers, but nothing there speaks mq9.
    pub async fn connect(self, url: &str) -> Result<Client> {
        let uri: Mq9Uri = url.parse()?;
        self.check()?;
        if uri.is_connected_one() {
            return Err(Error::new(
                ErrorKind::Config,
                "connect",
                "the host `broker` means the connected one, and nothing is connected yet",
            ));
        }
        let timeout = self.request_timeout;
        // Rare and large, so its place is not in every caller's own future.
        let session = Box::pin(Session::open(uri, self)).await?;
        Ok(Client::over(session, timeout))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let zero = [
            ("connect timeout", self.connect_timeout.is_zero()),
            ("request timeout", self.request_timeout.is_zero()),
            ("ping interval", self.ping_interval.is_zero()),
            ("queue capacity", self.queue_capacity == 0),
            ("number of calls in flight", self.max_in_flight == Some(0)),
        ];
        if let Some((what, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(Error::new(ErrorKind::Config, "connect", format!("the {what} must not be zero")));
        }
        if let Reconnect::Backoff { base, cap } = self.reconnect
            && (base.is_zero() || cap < base)
        {
            return Err(Error::new(
                ErrorKind::Config,
                "connect",
                "the first wait must be above zero and at most the longest wait",
            ));
        }
        Ok(())
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            name: "mq9-client".into(),
            credentials: None,
            tls_roots: None,
            client_certificate: None,
            require_tls: false,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(20),
            queue_capacity: 2048,
            max_in_flight: None,
            probe: true,
            reconnect: Reconnect::default(),
        }
    }
}

impl Reconnect {
    /// Waits from `base` up to `cap`.
    pub const fn backoff(base: Duration, cap: Duration) -> Self {
        Self::Backoff { base, cap }
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::backoff(Duration::from_millis(100), Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = ConnectOptions::new();
        assert_eq!(options.name, "mq9-client");
        assert_eq!(options.credentials, None);
        assert_eq!(options.tls_roots, None);
        assert_eq!(options.client_certificate, None);
        assert!(!options.require_tls);
        assert_eq!(options.connect_timeout, Duration::from_secs(5));
        assert_eq!(options.request_timeout, Duration::from_secs(5));
        assert_eq!(options.ping_interval, Duration::from_secs(20));
        assert_eq!(options.queue_capacity, 2048);
        assert_eq!(options.max_in_flight, None);
        assert!(options.probe);
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(10));
        assert_eq!(options.reconnect, Reconnect::Backoff { base, cap });
        assert!(options.check().is_ok());
    }

    #[test]
    fn no_secret_is_in_the_debug_form() {
        for options in [
            ConnectOptions::new().with_user("ada", "hunter2"),
            ConnectOptions::new().with_token("hunter2"),
            ConnectOptions::new().with_nkey_seed("hunter2"),
        ] {
            let shown = format!("{options:?}");
            assert!(!shown.contains("hunter2") && shown.contains("Secret(…)"), "{shown}");
        }
    }

    #[test]
    fn zeros_and_crossed_waits_are_refused_by_name() {
        let second = Duration::from_secs(1);
        for (options, reason) in [
            (ConnectOptions::new().with_connect_timeout(Duration::ZERO), "connect timeout"),
            (ConnectOptions::new().with_request_timeout(Duration::ZERO), "request timeout"),
            (ConnectOptions::new().with_ping_interval(Duration::ZERO), "ping interval"),
            (ConnectOptions::new().with_queue_capacity(0), "queue capacity"),
            (ConnectOptions::new().with_max_in_flight(0), "in flight"),
            (ConnectOptions::new().with_reconnect(Reconnect::backoff(second, second / 2)), "first wait"),
            (ConnectOptions::new().with_reconnect(Reconnect::backoff(Duration::ZERO, second)), "first wait"),
        ] {
            let error = options.check().expect_err(reason);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
