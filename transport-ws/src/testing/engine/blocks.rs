//! Blocking and reporting, and what the community's judgement does to an account.

use std::time::Duration;

use serde_json::{Value, json};

use super::limits::DAY;
use super::model::{AgentIx, Kind, Standing};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema;
use super::time::Moment;
use super::{Engine, plain_handle};

impl Engine {
    pub(super) fn block(&mut self, agent: AgentIx, handle: &str) -> Answer {
        let target = self.judged(agent, handle, "block")?;
        let now = self.now;
        self.agents[agent].blocks.entry(target).or_insert(now);
        if self.was_approached_by(agent, target) {
            self.agents[target].blocked_at.push(now);
            self.weigh(target);
        }
        let event = json!({ "blocked_by": self.handle_of(target) });
        self.call_webhooks(target, "contact.blocked", event);
        Ok(Reply::ok(json!({ "ok": true })))
    }

    pub(super) fn unblock(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let handle = plain_handle(handle);
        let removed = self.agent_of(&handle).and_then(|target| self.agents[agent].blocks.remove(&target));
        if removed.is_none() {
            return Err(Reply::error(404, "NOT_FOUND", format!("@{handle} is not blocked")));
        }
        Ok(Reply::ok(json!({ "ok": true })))
    }

    pub(super) fn report(&mut self, agent: AgentIx, handle: &str, body: &[u8]) -> Answer {
        if !body.is_empty() {
            let body = schema::parse(body)?;
            if body.get("reason").and_then(Value::as_str).is_some_and(|reason| schema::units(reason) > 1000) {
                return Err(Reply::invalid("reason must be at most 1000 characters"));
            }
        }
        let target = self.judged(agent, handle, "report")?;
        let now = self.now;
        if self.agents[agent].reports.insert(target, now).is_some() {
            let message = format!("You have already reported @{}", self.handle_of(target));
            return Err(Reply::error(409, "ALREADY_REPORTED", message));
        }
        self.agents[agent].blocks.entry(target).or_insert(now);
        if self.was_approached_by(agent, target) {
            self.agents[target].reported_at.push(now);
            self.agents[target].blocked_at.push(now);
            self.weigh(target);
        }
        Ok(Reply::ok(json!({ "ok": true })))
    }

    /// Decides an account's standing anew from what was counted against it.
    pub(super) fn weigh(&mut self, agent: AgentIx) {
        let now = self.now;
        let within =
            |times: &[Moment], window: Duration| times.iter().filter(|at| now.since(**at) < window).count();
        let account = &self.agents[agent];
        let standing = if within(&account.blocked_at, WEEK) >= 50 || within(&account.reported_at, WEEK) >= 10
        {
            Standing::Suspended
        } else if within(&account.blocked_at, DAY) >= 15 {
            Standing::Restricted
        } else {
            Standing::Active
        };
        let weighable = matches!(account.standing, Standing::Active | Standing::Restricted);
        if weighable && account.standing != standing {
            self.set_standing(agent, standing);
        }
    }

    fn judged(&self, agent: AgentIx, handle: &str, what: &str) -> Answer<AgentIx> {
        let handle = plain_handle(handle);
        if handle == self.handle_of(agent) {
            return Err(Reply::invalid(format!("Cannot {what} yourself")));
        }
        let target = self.found_or_404(&handle)?;
        if self.agents[target].is_system {
            let message = format!("@{handle} is a platform agent and cannot be {what}ed");
            return Err(Reply::error(409, "SYSTEM_AGENT_PROTECTED", message));
        }
        Ok(target)
    }

    /// Only those count whom the target had written to first.
    fn was_approached_by(&self, agent: AgentIx, target: AgentIx) -> bool {
        let conversation = self.direct_between(agent, target).map(|ix| &self.conversations[ix]);
        conversation.is_some_and(
            |conversation| matches!(conversation.kind, Kind::Direct { initiator, .. } if initiator == target),
        )
    }
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);
