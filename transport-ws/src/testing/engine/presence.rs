//! Who is there.

use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use super::model::{AgentIx, Presence};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::rows::frame;
use super::schema::{self, Members};

impl Engine {
    pub(super) fn route_presence(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        match (request.method, segments) {
            ("PUT", []) => self.set_presence(request),
            ("GET", [handle]) => self.presence(request, handle),
            ("POST", ["batch"]) => self.presences(request),
            _ => Err(Reply::unknown_route()),
        }
    }

    /// An agent's first socket.
    pub(super) fn come_online(&mut self, agent: AgentIx) {
        self.note_presence(agent, "online", None);
    }

    /// An agent's last socket is gone.
    pub(super) fn go_offline(&mut self, agent: AgentIx) {
        self.note_presence(agent, "offline", None);
    }

    /// A sign of life: the stored state lives on.
    pub(super) fn renew_presence(&mut self, agent: AgentIx) {
        let now = self.now;
        if let Some(presence) = &mut self.agents[agent].presence {
            presence.last_seen = now;
            presence.until = now.plus(LEASE);
        }
    }

    fn set_presence(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let mut members = Members::of(&body)?;
        if members.get("status").is_none() {
            members.fault("status", "Required");
        }
        let status = members.choice("status", &["online", "offline", "busy"]).unwrap_or_default();
        let message = members.optional_text("custom_message", 0, 200).map(str::to_owned);
        members.finish()?;
        self.note_presence(agent, status, message.clone());
        let handle = self.handle_of(agent);
        Ok(Reply::ok(json!({ "handle": handle, "status": status, "custom_message": message })))
    }

    /// Only contacts can be asked for, under their exact handle.
    fn presence(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let target = self.reachable(handle).filter(|target| self.agents[agent].contacts.contains_key(target));
        let target = target.ok_or_else(|| Reply::error(404, "NOT_FOUND", "Agent not found"))?;
        Ok(Reply::ok(self.presence_row(target)))
    }

    fn presences(&mut self, request: &Request<'_>) -> Answer {
        self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let mut members = Members::of(&body)?;
        if members.get("handles").is_none() {
            members.fault("handles", "Required");
        }
        let handles = members.texts("handles", 1, 100).unwrap_or_default();
        members.finish()?;
        let known = handles.into_iter().filter_map(|handle| self.reachable(handle));
        Ok(Reply::ok(json!({ "presences": known.map(|agent| self.presence_row(agent)).collect::<Vec<_>>() })))
    }

    fn presence_row(&self, agent: AgentIx) -> Value {
        let agent = &self.agents[agent];
        let known = agent.presence.as_ref();
        if self.bus_down {
            // What the state was is kept elsewhere; the database has only when it last changed.
            let last_seen = known.map(|presence| presence.last_seen.in_millis().database());
            return json!({
                "handle": agent.handle, "status": "offline", "custom_message": null, "last_seen": last_seen,
            });
        }
        let alive = known.filter(|presence| presence.until > self.now);
        json!({
            "handle": agent.handle,
            "status": alive.map_or("offline", |presence| &presence.status),
            "custom_message": alive.and_then(|presence| presence.message.as_ref()),
            "last_seen": known.map(|presence| presence.last_seen.javascript()),
        })
    }

    /// Remembers a state and tells those who have the agent among their contacts.
    fn note_presence(&mut self, agent: AgentIx, status: &str, message: Option<String>) {
        let event = json!({ "handle": self.handle_of(agent), "status": status, "custom_message": message });
        self.agents[agent].presence = Some(Presence {
            status: status.to_owned(),
            message,
            last_seen: self.now,
            until: self.now.plus(LEASE),
        });
        let mut watchers = Vec::new();
        for (ix, other) in self.agents.iter().enumerate() {
            let knows = other.contacts.get(&agent);
            if knows.is_some_and(|contact| contact.chosen || self.switches.presence_to_acquaintances) {
                watchers.push(ix);
            }
        }
        for watcher in watchers {
            self.call_webhooks(watcher, "presence.update", event.clone());
            self.push(watcher, &frame("presence.update", event.clone()));
        }
    }
}

const LEASE: Duration = Duration::from_secs(300);
