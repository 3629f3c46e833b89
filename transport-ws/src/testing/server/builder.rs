//! Deciding which server is started.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::AgentChatServer;
use super::host::Host;
use super::listener::{bind, listen};
use crate::testing::clock::Clock;
use crate::testing::engine::Engine;
use crate::testing::profile::{Profile, Switches};

/// What an [`AgentChatServer`] is like.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before it is started"]
pub struct AgentChatServerBuilder {
    profile: Profile,
    switches: Switches,
    seed: u64,
    manual_clock: Option<Duration>,
    port: u16,
}

impl AgentChatServerBuilder {
    pub(super) fn new() -> Self {
        let profile = Profile::default();
        AgentChatServerBuilder {
            profile,
            switches: Switches::of(profile),
            seed: 0,
            manual_clock: None,
            port: 0,
        }
    }

    /// Which server is played; [`Profile::Current`] if this is not called. Sets all switches back.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self.switches = Switches::of(profile);
        self
    }

    /// What identifiers, keys and codes come from; 0 if this is not called.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes single switches of the profile.
    pub fn switches(mut self, change: impl FnOnce(&mut Switches)) -> Self {
        change(&mut self.switches);
        self
    }

    /// How often the server pings, and how long it waits for the pong.
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.switches.ping_interval = interval;
        self.switches.pong_timeout = timeout;
        self
    }

    /// Time stands still but for [`AgentChatServer::advance`], from the 1st of January 2026 on.
    pub fn manual_clock(mut self) -> Self {
        self.manual_clock = Some(Duration::from_secs(NEW_YEAR));
        self
    }

    /// Which port to listen on; a free one if this is not called.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the server in this runtime.
    ///
    /// # Errors
    ///
    /// If the port cannot be taken.
    pub async fn start(self) -> io::Result<AgentChatServer> {
        let clock = self.manual_clock.map_or_else(Clock::real, Clock::manual);
        let engine = Engine::new(self.profile, self.switches, self.seed, clock.now());
        // Request identifiers come from elsewhere, so that faults do not change what the engine makes.
        let host = Host::new(engine, clock, self.seed ^ 0x5eed);
        let listener = listen(bind(self.port)?)?;
        let port = listener.local_addr()?.port();
        Ok(AgentChatServer::running(Arc::clone(&host), listener, port))
    }
}

const NEW_YEAR: u64 = 1_767_225_600;
