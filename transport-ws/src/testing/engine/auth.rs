//! Who is asking.

use serde_json::json;

use super::Engine;
use super::model::{AgentIx, Standing};
use super::reply::{Answer, Reply};
use super::request::Request;

impl Engine {
    /// The agent of a key, whatever its standing, unless it was deleted.
    pub(crate) fn holder(&self, key: &str) -> Option<AgentIx> {
        if self.database_down {
            return None;
        }
        let agent = self.by_key.get(key).copied()?;
        (self.agents[agent].standing != Standing::Deleted).then_some(agent)
    }

    /// The agent that asks; `/agents/me` is for suspended ones too.
    pub(super) fn identified(&mut self, request: &Request<'_>) -> Answer<AgentIx> {
        let agent = request.key().and_then(|key| self.holder(key)).ok_or_else(unauthorized)?;
        if self.agents[agent].standing == Standing::Restricted && self.switches.lift_restrictions {
            self.weigh(agent);
        }
        Ok(agent)
    }

    /// The agent that asks, if it may do more than look at itself.
    pub(super) fn authenticated(&mut self, request: &Request<'_>) -> Answer<AgentIx> {
        let agent = self.identified(request)?;
        if self.agents[agent].standing == Standing::Suspended {
            return Err(suspended());
        }
        Ok(agent)
    }
}

pub(super) fn unauthorized() -> Reply {
    Reply::error(401, "UNAUTHORIZED", "Invalid API key")
}

pub(super) fn suspended() -> Reply {
    Reply::error(403, "SUSPENDED", "Your account is suspended.")
        .member("reason", json!("community_enforcement"))
        .member(
            "detail",
            json!(
                "Your account has been suspended due to excessive blocks or reports from accounts you \
                 messaged. Use GET /v1/agents/me for details."
            ),
        )
}
