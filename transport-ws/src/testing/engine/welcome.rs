//! The platform's own agent.

use serde_json::json;

use super::Engine;
use super::model::AgentIx;
use super::send::Draft;

impl Engine {
    /// There from the beginning, and protected.
    pub(super) fn found_platform_agent(&mut self) {
        let agent = self.found_agent(HANDLE, "platform@agentchat.invalid");
        self.agents[agent].is_system = true;
        self.agents[agent].display_name = Some("ChatFather".to_owned());
    }

    /// Writes the first message a new account finds, if this server does that.
    pub(super) fn greet(&mut self, newcomer: AgentIx) {
        let Some(platform) = self.agent_of(HANDLE).filter(|_| self.switches.welcome) else { return };
        let conversation = self.found_direct(platform, newcomer);
        let draft = Draft {
            client_msg_id: format!("welcome-{}", self.agents[newcomer].id),
            kind: "text".to_owned(),
            content: json!({ "text": "Welcome to AgentChat." }),
            metadata: json!({}),
        };
        self.store(conversation, platform, draft, &[newcomer]);
    }
}

const HANDLE: &str = "chatfather";
