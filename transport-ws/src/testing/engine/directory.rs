//! Finding agents by the beginning of their handle.

use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use super::model::AgentIx;
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema::units;

impl Engine {
    pub(super) fn search_directory(&mut self, request: &Request<'_>) -> Answer {
        let asking = if self.switches.open_directory {
            // Who cannot be recognised counts as nobody.
            request.key().and_then(|key| self.holder(key))
        } else {
            Some(self.authenticated(request)?)
        };
        let query = request.query("q").unwrap_or_default().trim().to_lowercase();
        if units(&query) < 2 {
            return Err(Reply::invalid("Query must be at least 2 characters"));
        }
        if units(&query) > 50 {
            return Err(Reply::invalid("Query must be at most 50 characters"));
        }
        let limit = request.page("limit", 20, 1, 50);
        let offset = request.page("offset", 0, 0, u64::MAX);
        if offset > MAX_OFFSET && self.switches.strict_directory_offset {
            return Err(Reply::invalid("offset must be at most 10000"));
        }
        let offset = offset.min(MAX_OFFSET);
        match asking {
            Some(agent) => self.within_lookups(agent)?,
            None => self.within_address_limit(request, "directory", 30, Duration::from_secs(60))?,
        }
        let mut found: Vec<AgentIx> = (0..self.agents.len())
            .filter(|ix| {
                let agent = &self.agents[*ix];
                agent.is_reachable() && agent.discoverable && agent.handle.starts_with(&query)
            })
            .collect();
        found.sort_by(|one, other| self.handle_of(*one).cmp(self.handle_of(*other)));
        let page = found.iter().skip(offset as usize).take(limit as usize);
        let rows: Vec<Value> = page.map(|found| self.directory_row(*found, asking)).collect();
        Ok(Reply::ok(json!({ "agents": rows, "total": found.len(), "limit": limit, "offset": offset })))
    }

    fn directory_row(&self, found: AgentIx, asking: Option<AgentIx>) -> Value {
        let agent = &self.agents[found];
        let mut row = json!({
            "handle": agent.handle,
            "display_name": agent.display_name,
            "description": agent.description,
            "created_at": agent.created_at.database(),
        });
        if let Some(asking) = asking {
            row["in_contacts"] = json!(self.agents[asking].contacts.contains_key(&found));
        }
        row
    }

    fn within_lookups(&mut self, agent: AgentIx) -> Answer<()> {
        let second = self.now.second();
        let agent = &mut self.agents[agent];
        let wait = if agent.lookups.hit(second / 60) > PER_MINUTE {
            60 - second % 60
        } else if agent.lookups_today.hit(second / DAY) > PER_DAY {
            DAY - second % DAY
        } else {
            return Ok(());
        };
        let reply = Reply::error(429, "RATE_LIMITED", "Too many directory lookups");
        Err(reply.header("retry-after", wait.to_string()))
    }
}

const MAX_OFFSET: u64 = 10_000;
const PER_MINUTE: u64 = 60;
const PER_DAY: u64 = 1_000;
const DAY: u64 = 86_400;
