//! `/v1/reply`: several processes of one agent agree on who answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use super::model::AgentIx;
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema;

impl Engine {
    pub(super) fn route_replies(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        let agent = self.authenticated(request)?;
        let body = if request.body.is_empty() { json!({}) } else { schema::parse(request.body)? };
        let session = body.get("session_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        match (request.method, segments) {
            ("PUT", ["active"]) => {
                let ttl = body.get("ttl_seconds").and_then(Value::as_u64).unwrap_or(DEFAULT_TTL);
                let until = self.now.plus(Duration::from_secs(ttl));
                self.agents[agent].foreground.insert(session, until);
                Ok(Reply::ok(json!({ "active": true })))
            }
            ("DELETE", ["active"]) => {
                self.agents[agent].foreground.remove(&session);
                Ok(Reply::ok(json!({ "active": self.in_foreground(agent) })))
            }
            ("GET", ["active"]) => Ok(Reply::ok(json!({ "active": self.in_foreground(agent) }))),
            ("POST", ["claim"]) => {
                let id = body.get("message_id").and_then(Value::as_str);
                let id = id.ok_or_else(|| Reply::invalid("message_id is required"))?;
                Ok(Reply::ok(match self.claim_all(agent, &[id], &body)? {
                    Some(count) => json!({ "claimed": count == 1 }),
                    None => json!({ "claimed": false, "deferred": true }),
                }))
            }
            ("POST", ["claim-batch"]) => {
                let ids = body.get("message_ids").and_then(Value::as_array);
                let ids = ids.ok_or_else(|| Reply::invalid("message_ids is required"))?;
                let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
                Ok(Reply::ok(match self.claim_all(agent, &ids, &body)? {
                    Some(count) => json!({ "claimed_count": count }),
                    None => json!({ "claimed_count": 0, "deferred": true }),
                }))
            }
            _ => Err(Reply::unknown_route()),
        }
    }

    /// How many of these the holder has now, up to the first that somebody else holds; nothing if it
    /// stands back for a process in the foreground.
    fn claim_all(&mut self, agent: AgentIx, ids: &[&str], body: &Value) -> Answer<Option<usize>> {
        let holder = body.get("holder").and_then(Value::as_str);
        let holder = holder.ok_or_else(|| Reply::invalid("holder is required"))?;
        let defers = body.get("defer_if_active").and_then(Value::as_bool).unwrap_or(false);
        if defers && self.in_foreground(agent) {
            return Ok(None);
        }
        let until = self.now.plus(self.switches.claim_lease);
        let now = self.now;
        let mut claimed = 0;
        for id in ids {
            let name = format!("{} {id}", self.agents[agent].id);
            let held = self.claims.get(&name);
            if held.is_some_and(|(by, until)| by != holder && *until > now) {
                break;
            }
            self.claims.insert(name, (holder.to_owned(), until));
            claimed += 1;
        }
        Ok(Some(claimed))
    }

    fn in_foreground(&self, agent: AgentIx) -> bool {
        self.agents[agent].foreground.values().any(|until| *until > self.now)
    }
}

const DEFAULT_TTL: u64 = 600;
