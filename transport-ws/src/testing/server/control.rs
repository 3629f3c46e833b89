//! What a test may do with a server that no client can.

use std::time::Duration;

use serde::Serialize;

use super::AgentChatServer;
use crate::testing::engine::{AgentIx, Engine, Moment, PauseMode, Standing};
use crate::testing::faults::HttpFault;
use crate::testing::journal::JournalEntry;

impl AgentChatServer {
    /// The key of the agent with that handle. It comes into being if there is none, past all limits and
    /// rules, with `<handle>@test.local` as its address.
    pub fn agent(&self, handle: &str) -> String {
        self.host.with(|engine, now| engine.agent_key(now, handle))
    }

    /// Sets what others see of an agent.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn set_profile(&self, handle: &str, display_name: Option<&str>, description: Option<&str>) {
        let name = display_name.map(str::to_owned);
        let description = description.map(str::to_owned);
        self.with_agent(handle, |engine, _, agent| engine.set_profile(agent, name, description));
    }

    /// The newest code that was sent to an address.
    #[must_use]
    pub fn otp_for(&self, email: &str) -> Option<String> {
        self.host.look(|engine| engine.otp_for(email))
    }

    /// Sets what the platform thinks of an agent, with what follows for its sockets. A restriction that
    /// nothing speaks for is lifted with the agent's next request, unless the server is told otherwise
    /// by [`lift_restrictions`](crate::testing::Switches::lift_restrictions).
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn set_status(&self, handle: &str, standing: Standing) {
        self.with_agent(handle, |engine, now, agent| engine.force_standing(now, agent, standing));
    }

    /// Pauses an agent as its owner would.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn set_pause(&self, handle: &str, mode: PauseMode) {
        self.with_agent(handle, |engine, now, agent| engine.set_pause(now, agent, mode));
    }

    /// Sets the count of undelivered messages that warnings and refusals go by. The messages themselves
    /// stay as they are.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn set_undelivered(&self, handle: &str, count: u64) {
        self.with_agent(handle, |engine, _, agent| engine.set_undelivered(agent, count));
    }

    /// Replaces an agent's key without further ado: its sockets are closed with 1008.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn rotate_key(&self, handle: &str) -> String {
        self.with_agent(handle, |engine, now, agent| engine.rotate(now, agent))
    }

    /// Closes each socket of an agent, and tells how many there were.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn kick(&self, handle: &str, code: u16, reason: &str) -> usize {
        self.with_agent(handle, |engine, now, agent| engine.kick(now, agent, code, reason))
    }

    /// Writes anything to each socket of an agent as a text frame, and tells how many there were.
    ///
    /// # Panics
    ///
    /// If there is no such agent, or the frame cannot be written as JSON.
    pub fn push_raw(&self, handle: &str, frame: &impl Serialize) -> usize {
        let text = serde_json::to_string(frame).expect("a frame is JSON");
        self.push_text(handle, &text)
    }

    /// As [`AgentChatServer::push_raw`], for what need not be JSON.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub fn push_text(&self, handle: &str, text: &str) -> usize {
        self.with_agent(handle, |engine, _, agent| engine.push_raw(agent, text))
    }

    /// Ends the next request's connection without an answer: after it was carried out, or before.
    pub fn drop_next_response(&self, after_commit: bool) {
        let fault = if after_commit { HttpFault::lose_answer() } else { HttpFault::lose_request() };
        self.faults().on("*", fault);
    }

    /// What went over the wire, in order; the newest 16 384 entries.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.host.journal.all()
    }

    /// Forgets what the journal holds.
    pub fn clear_journal(&self) {
        self.host.journal.clear();
    }

    /// How many authenticated sockets an agent has.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    #[must_use]
    pub fn sockets(&self, handle: &str) -> usize {
        self.look_at(handle, Engine::socket_count)
    }

    /// How many messages are stored for an agent and not delivered.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    #[must_use]
    pub fn stored(&self, handle: &str) -> usize {
        self.look_at(handle, Engine::stored_count)
    }

    /// Returns once an agent has so many authenticated sockets. Cancel-safe.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub async fn until_sockets(&self, handle: &str, count: usize) {
        let agent = self.look_at(handle, |_, agent| agent);
        self.host.until(|engine| engine.socket_count(agent) == count).await;
    }

    /// Returns once so many messages are stored for an agent and not delivered. Cancel-safe.
    ///
    /// # Panics
    ///
    /// If there is no such agent.
    pub async fn until_stored(&self, handle: &str, count: usize) {
        let agent = self.look_at(handle, |_, agent| agent);
        self.host.until(|engine| engine.stored_count(agent) == count).await;
    }

    /// Moves the manual clock on and does what is due by then.
    ///
    /// # Panics
    ///
    /// If the server runs on real time.
    pub fn advance(&self, duration: Duration) {
        assert!(self.host.clock.advance(duration), "the server runs on real time");
        self.host.with(Engine::tick);
    }

    /// The server's time, since 1970.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.host.clock.now().since(Moment::default())
    }

    fn with_agent<R>(&self, handle: &str, work: impl FnOnce(&mut Engine, Moment, AgentIx) -> R) -> R {
        let agent = self.look_at(handle, |_, agent| agent);
        self.host.with(|engine, now| work(engine, now, agent))
    }

    fn look_at<R>(&self, handle: &str, look: impl FnOnce(&Engine, AgentIx) -> R) -> R {
        self.host.look(|engine| {
            let agent = engine.agent_named(handle);
            look(engine, agent.unwrap_or_else(|| panic!("there is no agent named {handle:?}")))
        })
    }
}
