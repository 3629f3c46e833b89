//! The connections of a client: made as they are needed, kept for a while, and given back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentchat_core::{Error, ErrorKind, Result as CoreResult};
use rustls::ClientConfig;

use crate::config::AgentChatConfig;

/// Makes connections for calls. An agent that only waits for messages needs none: it gives them back, and all
/// that makes them, which is more than the rest of it. They come again with the next call.
pub(super) struct Connections {
    tls: Arc<ClientConfig>,
    connect_timeout: Duration,
    env_proxy: bool,
    made: Mutex<Option<reqwest::Client>>,
    /// Calls that were begun.
    begun: AtomicU64,
}

impl Connections {
    /// No connection yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the TLS roots cannot be used.
    pub(super) fn new(config: &AgentChatConfig) -> CoreResult<Self> {
        let connections = Self {
            tls: crate::tls::config(config)?,
            connect_timeout: config.connect_timeout(),
            env_proxy: config.settings.env_proxy,
            made: Mutex::new(None),
            begun: AtomicU64::new(0),
        };
        // What cannot be made is told before the first call.
        *connections.lock() = Some(connections.make()?);
        Ok(connections)
    }

    /// What makes a call. A call that has it is not touched when connections are given back.
    pub(super) fn begin(&self) -> CoreResult<reqwest::Client> {
        let mut made = self.lock();
        self.begun.fetch_add(1, Ordering::Relaxed);
        match &*made {
            Some(client) => Ok(client.clone()),
            None => Ok(made.insert(self.make()?).clone()),
        }
    }

    /// How many calls were begun until now.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Gives back what no call uses, unless another call was begun since there were `begun`: connections that
    /// are in use are kept for the next call.
    pub(super) fn give_back(&self, begun: u64) {
        let mut made = self.lock();
        if self.begun() == begun {
            *made = None;
        }
    }

    fn make(&self) -> CoreResult<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured((*self.tls).clone())
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<reqwest::Client>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Below the idle time after which servers close, so that a connection that is taken up is mostly good.
const POOL_IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ApiKey;

    #[test]
    fn what_no_call_uses_is_given_back_and_made_again() {
        let key = ApiKey::new("ac_0123456789abcdefghij").expect("valid");
        let config = AgentChatConfig::builder(key).build().expect("valid");
        let connections = Connections::new(&config).expect("usable");
        let _call = connections.begin().expect("made");
        let begun = connections.begun();
        connections.begin().expect("made");
        connections.give_back(begun);
        assert!(connections.lock().is_some(), "there was another call");
        connections.give_back(begun + 1);
        assert!(connections.lock().is_none());
        connections.begin().expect("made again");
        assert!(connections.lock().is_some());
    }
}
