//! Whom an agent does not want to be woken by.

use serde_json::{Value, json};

use super::model::{AgentIx, ConvIx, Mute, MuteTarget};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema;
use super::time::Moment;
use super::{Engine, plain_handle};

impl Engine {
    pub(super) fn route_mutes(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        match (request.method, segments) {
            ("POST", []) => self.mute(request),
            ("GET", []) => self.list_mutes(request),
            (method @ ("GET" | "DELETE"), [kind @ ("agent" | "conversation"), target]) => {
                let agent = self.authenticated(request)?;
                if method == "DELETE" {
                    self.within_mute_rate(agent)?;
                }
                self.one_mute(agent, method, kind, target)
            }
            _ => Err(Reply::unknown_route()),
        }
    }

    /// Whether a direct message of that sender, in that conversation, is not pushed.
    pub(super) fn is_muted(&self, agent: AgentIx, sender: AgentIx, conversation: ConvIx) -> bool {
        self.active_mute(agent, MuteTarget::Agent(sender)).is_some()
            || self.is_conversation_muted(agent, conversation)
    }

    pub(super) fn is_conversation_muted(&self, agent: AgentIx, conversation: ConvIx) -> bool {
        self.active_mute(agent, MuteTarget::Conversation(conversation)).is_some()
    }

    fn active_mute(&self, agent: AgentIx, target: MuteTarget) -> Option<&Mute> {
        let mutes = self.agents[agent].mutes.iter();
        mutes
            .filter(|mute| mute.until.is_none_or(|until| until > self.now))
            .find(|mute| mute.target == target)
    }

    fn mute(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        self.within_mute_rate(agent)?;
        let body = schema::parse(request.body)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let target = match text("target_kind") {
            Some("agent") => {
                MuteTarget::Agent(self.muted_agent(agent, text("target_handle"), text("target_id"))?)
            }
            Some("conversation") => {
                MuteTarget::Conversation(self.muted_conversation(agent, text("target_id"))?)
            }
            other => {
                let got = other.map_or_else(|| "undefined".to_owned(), str::to_owned);
                let message = format!("target_kind must be 'agent' or 'conversation', got '{got}'");
                return Err(Reply::invalid(message));
            }
        };
        let until = match body.get("muted_until") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let until = value.as_str().and_then(Moment::parse);
                let until =
                    until.ok_or_else(|| Reply::invalid("muted_until must be an ISO-8601 timestamp"))?;
                if until <= self.now {
                    return Err(Reply::invalid("muted_until must be in the future"));
                }
                Some(until)
            }
        };
        let now = self.now;
        let mutes = &mut self.agents[agent].mutes;
        match mutes.iter_mut().find(|mute| mute.target == target) {
            Some(mute) => mute.until = until,
            None => mutes.push(Mute { target, until, created_at: now }),
        }
        let row = self.active_mute(agent, target).map(|mute| self.mute_row(agent, mute));
        Ok(Reply::created(row.unwrap_or_default()))
    }

    fn list_mutes(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let kind = request.query("kind");
        let mut listed: Vec<&Mute> = self.agents[agent].mutes.iter().collect();
        listed.retain(|mute| {
            let alive = mute.until.is_none_or(|until| until > self.now);
            alive && kind.as_deref().is_none_or(|kind| kind == mute.target.kind())
        });
        listed.reverse();
        let rows: Vec<Value> = listed.into_iter().map(|mute| self.mute_row(agent, mute)).collect();
        Ok(Reply::ok(json!({ "mutes": rows })))
    }

    fn one_mute(&mut self, agent: AgentIx, method: &str, kind: &str, target: &str) -> Answer {
        let target = if kind == "agent" {
            self.agent_of(&plain_handle(target)).map(MuteTarget::Agent)
        } else {
            self.conversation_ids.get(target).copied().map(MuteTarget::Conversation)
        };
        let mute = target.and_then(|target| self.active_mute(agent, target));
        match (method, mute) {
            ("GET", Some(mute)) => Ok(Reply::ok(self.mute_row(agent, mute))),
            ("GET", None) => Err(Reply::error(404, "NOT_FOUND", format!("No active mute for that {kind}"))),
            (_, Some(mute)) => {
                let target = mute.target;
                self.agents[agent].mutes.retain(|mute| mute.target != target);
                Ok(Reply::ok(json!({ "ok": true })))
            }
            (_, None) => Err(Reply::error(404, "NOT_FOUND", "No active mute found for that target")),
        }
    }

    fn muted_agent(&self, agent: AgentIx, handle: Option<&str>, id: Option<&str>) -> Answer<AgentIx> {
        let target = match (handle, id) {
            (Some(handle), _) => self.found_or_404(handle)?,
            (None, Some(id)) => {
                let found = self.agents.iter().position(|agent| agent.id == id);
                found.ok_or_else(|| Reply::error(404, "AGENT_NOT_FOUND", "Account not found"))?
            }
            (None, None) => return Err(Reply::invalid("target_handle or target_id is required")),
        };
        if target == agent {
            return Err(Reply::error(400, "SELF_MUTE", "Cannot mute yourself"));
        }
        Ok(target)
    }

    fn muted_conversation(&self, agent: AgentIx, id: Option<&str>) -> Answer<ConvIx> {
        let id = id.ok_or_else(|| Reply::invalid("target_id is required"))?;
        let ix = self.conversation_ids.get(id).copied();
        let ix = ix.ok_or_else(|| Reply::error(404, "CONVERSATION_NOT_FOUND", "Conversation not found"))?;
        if !self.conversations[ix].has(agent) {
            let message = "You must be a participant of the conversation to mute it";
            return Err(Reply::error(403, "NOT_PARTICIPANT", message));
        }
        Ok(ix)
    }

    fn within_mute_rate(&mut self, agent: AgentIx) -> Answer<()> {
        let second = self.now.second();
        if self.agents[agent].mute_writes.hit(second) > WRITES_PER_SECOND {
            let wait = 1000 - self.now.0 / 1000 % 1000;
            let reply = Reply::error(429, "RATE_LIMITED", "Too many mute operations per second");
            return Err(reply.member("retry_after_ms", json!(wait)));
        }
        Ok(())
    }

    fn mute_row(&self, agent: AgentIx, mute: &Mute) -> Value {
        let target = match mute.target {
            MuteTarget::Agent(target) => &self.agents[target].id,
            MuteTarget::Conversation(target) => &self.conversations[target].id,
        };
        json!({
            "muter_agent_id": self.agents[agent].id,
            "target_kind": mute.target.kind(),
            "target_id": target,
            "muted_until": mute.until.map(|until| until.database()),
            "created_at": mute.created_at.database(),
        })
    }
}

impl MuteTarget {
    fn kind(self) -> &'static str {
        match self {
            MuteTarget::Agent(_) => "agent",
            MuteTarget::Conversation(_) => "conversation",
        }
    }
}

const WRITES_PER_SECOND: u64 = 10;
