//! What a test may do that no client can.

use serde_json::Value;

use super::model::{AgentIx, PauseMode, Standing};
use super::outbound::Effect;
use super::time::Moment;
use super::{Engine, plain_handle};

impl Engine {
    /// The key of that agent, which comes into being if there is none.
    pub(crate) fn agent_key(&mut self, now: Moment, handle: &str) -> String {
        self.advance(now);
        let handle = plain_handle(handle);
        let agent = match self.agent_of(&handle) {
            Some(agent) => agent,
            None => {
                let agent = self.found_agent(&handle, &format!("{handle}@test.local"));
                self.greet(agent);
                agent
            }
        };
        self.agents[agent].key.clone()
    }

    pub(crate) fn set_profile(&mut self, agent: AgentIx, name: Option<String>, description: Option<String>) {
        self.agents[agent].display_name = name;
        self.agents[agent].description = description;
    }

    pub(crate) fn force_standing(&mut self, now: Moment, agent: AgentIx, standing: Standing) {
        self.advance(now);
        self.set_standing(agent, standing);
    }

    pub(crate) fn set_pause(&mut self, now: Moment, agent: AgentIx, mode: PauseMode) {
        self.advance(now);
        let before = std::mem::replace(&mut self.agents[agent].pause, mode);
        if before == PauseMode::Full && mode != PauseMode::Full && self.switches.drain_on_unpause {
            for socket in self.sockets_of(agent) {
                self.start_drain(socket, agent);
            }
        }
    }

    pub(crate) fn set_undelivered(&mut self, agent: AgentIx, count: u64) {
        self.agents[agent].undelivered = count;
    }

    pub(crate) fn kick(&mut self, now: Moment, agent: AgentIx, code: u16, reason: &str) -> usize {
        self.advance(now);
        let sockets = self.sockets_of(agent);
        self.evict(agent, code, reason);
        sockets.len()
    }

    pub(crate) fn rotate(&mut self, now: Moment, agent: AgentIx) -> String {
        self.advance(now);
        self.replace_key(agent)
    }

    /// Writes anything to each socket of an agent, paused or not. Tells how many there were.
    pub(crate) fn push_raw(&mut self, agent: AgentIx, text: &str) -> usize {
        let sockets = self.sockets_of(agent);
        for socket in &sockets {
            self.effects.push(Effect::Frame { socket: *socket, text: text.into(), hello: false });
        }
        sockets.len()
    }

    /// The authenticated sockets of an agent.
    pub(crate) fn socket_count(&self, agent: AgentIx) -> usize {
        self.agents[agent].sockets.len()
    }

    /// How many messages wait for an agent, really.
    pub(crate) fn stored_count(&self, agent: AgentIx) -> usize {
        self.agents[agent].stored.len()
    }

    /// The handle a key belongs to.
    pub(crate) fn handle_of_key(&self, key: &str) -> Option<&str> {
        self.by_key.get(key).map(|agent| self.handle_of(*agent))
    }

    /// Every socket is gone at once, and nobody hears of it, as when the process dies.
    pub(crate) fn crash(&mut self) {
        self.sessions.clear();
        for agent in &mut self.agents {
            agent.sockets.clear();
        }
    }

    /// Adds a member nobody has heard of to every object of an answer.
    pub(crate) fn with_unknown_members(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.values_mut().for_each(Engine::with_unknown_members);
                members.insert("zebra".to_owned(), Value::from("unheard of"));
            }
            Value::Array(items) => items.iter_mut().for_each(Engine::with_unknown_members),
            _ => {}
        }
    }
}
