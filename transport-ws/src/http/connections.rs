//! The connections of a client: shared by all agents of a runtime that connect alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use agentchat_core::{Error, ErrorKind, Result as CoreResult};
use rustls::ClientConfig;
use tokio::runtime::{Handle, Id};

use crate::config::AgentChatConfig;

/// Connections to servers, made as they are needed and kept for a while. An agent that only waits for
/// messages needs none, and a thousand that start need a few.
///
/// Clients with the system's TLS roots share them, as long as one of them is there. Each runtime has its own: a
/// connection is driven by the runtime that made it, which may stand still while another one runs.
pub(super) struct Connections {
    how: How,
    tls: Arc<ClientConfig>,
    /// Nobody else trusts just the same roots: a file may hold other ones the next time it is read.
    own_roots: bool,
    made: OnceLock<Arc<reqwest::Client>>,
}

/// What two clients that share connections have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct How {
    connect_timeout: Duration,
    env_proxy: bool,
}

impl Connections {
    /// No connection yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the TLS roots cannot be used.
    pub(super) fn new(config: &AgentChatConfig) -> CoreResult<Self> {
        let how = How { connect_timeout: config.connect_timeout(), env_proxy: config.settings.env_proxy };
        let own_roots = config.tls_roots().is_some() || config.extra_tls_roots().is_some();
        Ok(Self { how, tls: crate::tls::config(config)?, own_roots, made: OnceLock::new() })
    }

    /// The HTTP client. The first to ask decides on which runtime its connections are.
    pub(super) fn client(&self) -> CoreResult<&reqwest::Client> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let client = match self.own_roots {
            true => Arc::new(self.how.client(&self.tls)?),
            false => self.how.shared(&self.tls)?,
        };
        Ok(self.made.get_or_init(|| client))
    }
}

impl How {
    fn shared(self, tls: &ClientConfig) -> CoreResult<Arc<reqwest::Client>> {
        type Shared = Mutex<HashMap<(How, Option<Id>), Weak<reqwest::Client>>>;
        static SHARED: OnceLock<Shared> = OnceLock::new();
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut shared = SHARED.get_or_init(Shared::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = shared.get(&(self, runtime)).and_then(Weak::upgrade) {
            return Ok(client);
        }
        let client = Arc::new(self.client(tls)?);
        shared.retain(|_, client| client.strong_count() > 0);
        shared.insert((self, runtime), Arc::downgrade(&client));
        Ok(client)
    }

    fn client(self, tls: &ClientConfig) -> CoreResult<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true);
        if !self.env_proxy {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| {
            Error::new(ErrorKind::Config, "config", "the HTTP client cannot be made").with_source(error)
        })
    }
}

/// Below the idle time after which servers close, so that a connection that is taken up is mostly good.
const POOL_IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentChatConfigBuilder;
    use crate::key::ApiKey;

    fn builder() -> AgentChatConfigBuilder {
        let key = ApiKey::new("ac_0123456789abcdefghij").expect("valid");
        AgentChatConfig::builder(key).with_base_url("http://127.0.0.1:1")
    }

    fn connections(builder: AgentChatConfigBuilder) -> Connections {
        Connections::new(&builder.build().expect("valid")).expect("usable roots")
    }

    fn are_shared(one: &Connections, other: &Connections) -> bool {
        std::ptr::eq(one.client().expect("a client"), other.client().expect("a client"))
    }

    #[tokio::test]
    async fn agents_that_connect_alike_share_their_connections() {
        let (one, other) = (connections(builder()), connections(builder()));
        assert!(are_shared(&one, &other));
        let hasty = connections(builder().with_connect_timeout(Duration::from_millis(123)));
        assert!(!are_shared(&one, &hasty));
    }

    #[test]
    fn each_runtime_has_its_own_connections() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (here, there) = (runtime(), runtime());
        let (one, other) = (connections(builder()), connections(builder()));
        here.block_on(async { one.client().map(drop) }).expect("a client");
        there.block_on(async { other.client().map(drop) }).expect("a client");
        assert!(!are_shared(&one, &other));
    }

    #[tokio::test]
    async fn roots_of_ones_own_are_not_shared() {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let file = std::env::temp_dir().join(format!("agentchat-roots-{}.pem", uuid::Uuid::new_v4()));
        std::fs::write(&file, certified.cert.pem()).expect("written");
        let own = || connections(builder().with_tls_roots(&file));
        let (one, other, system) = (own(), own(), connections(builder()));
        assert!(!are_shared(&one, &other) && !are_shared(&one, &system));
        std::fs::remove_file(file).expect("removed");
    }

    #[tokio::test]
    async fn connections_end_with_the_last_client_that_shares_them() {
        let timeout = builder().with_connect_timeout(Duration::from_millis(321));
        let one = connections(timeout.clone());
        let kept = Arc::downgrade(one.made.get_or_init(|| one.how.shared(&one.tls).expect("a client")));
        drop(one);
        assert!(kept.upgrade().is_none());
    }
}
