//! What is to be written to whom.

use std::sync::Arc;

use serde_json::Value;

use super::Engine;
use super::model::{AgentIx, PauseMode};

/// Numbers a socket for as long as the server lives.
pub(crate) type SocketId = u64;

/// Something the listener has to do.
pub(crate) enum Effect {
    /// A text frame. `Hello` is the answer to authentication, which faults treat differently.
    Frame {
        socket: SocketId,
        text: Arc<str>,
        hello: bool,
    },
    Ping(SocketId),
    Close {
        socket: SocketId,
        code: u16,
        reason: String,
    },
    /// The connection ends without a close frame.
    Cut(SocketId),
    Webhook(WebhookCall),
}

/// One attempt to hand an event to a webhook.
pub(crate) struct WebhookCall {
    pub(crate) delivery: String,
    pub(crate) url: String,
    pub(crate) event: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Engine {
    /// The authenticated sockets of an agent, oldest first.
    pub(super) fn sockets_of(&self, agent: AgentIx) -> Vec<SocketId> {
        self.agents[agent].sockets.iter().copied().collect()
    }

    /// Writes an event to each socket of an agent, unless it is paused. Tells whether there was one.
    pub(super) fn push(&mut self, agent: AgentIx, frame: &Value) -> bool {
        if self.agents[agent].pause == PauseMode::Full {
            return false;
        }
        let sockets = self.sockets_of(agent);
        if sockets.is_empty() {
            return false;
        }
        let text: Arc<str> = frame.to_string().into();
        for socket in sockets {
            self.effects.push(Effect::Frame { socket, text: Arc::clone(&text), hello: false });
        }
        true
    }

    /// Closes each socket of an agent.
    pub(super) fn evict(&mut self, agent: AgentIx, code: u16, reason: &str) {
        for socket in self.sockets_of(agent) {
            self.close(socket, code, reason);
        }
    }
}
