//! An agent's own account, and what others see of it.

use serde_json::{Map, Value, json};

use super::model::{AgentIx, Standing};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema::{self, Members};
use super::{Engine, plain_handle};

impl Engine {
    pub(super) fn me(&mut self, request: &Request<'_>) -> Answer {
        let ix = self.identified(request)?;
        let agent = &self.agents[ix];
        let mut row = self.profile_row(ix);
        row.insert("paused_by_owner".into(), json!(agent.pause.name()));
        row.insert("settings".into(), self.settings(ix));
        row.insert("email_masked".into(), json!(masked(&agent.email)));
        Ok(Reply::ok(row.into()))
    }

    pub(super) fn public_profile(&mut self, handle: &str) -> Answer {
        let agent = self.found_or_404(handle)?;
        if self.database_down {
            // Nobody knows what a server says then; this helps a client least.
            return Err(Reply::error(404, "AGENT_NOT_FOUND", "Agent not found"));
        }
        Ok(Reply::ok(self.profile_row(agent).into()))
    }

    pub(super) fn update_profile(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let ix = self.own_account(request, handle, "update")?;
        let body = schema::parse(request.body)?;
        let mut members = Members::of(&body)?;
        let display_name = members.optional_text("display_name", 0, 100).map(str::to_owned);
        let description = members.optional_text("description", 0, 500).map(str::to_owned);
        let mut switched = [None, None];
        if let Some(settings) = members.object("settings") {
            for (position, name) in ["inbox_mode", "group_invite_policy"].into_iter().enumerate() {
                let Some(value) = settings.get(name) else { continue };
                match schema::choice(value, &["open", "contacts_only"]) {
                    Ok(mode) => switched[position] = Some(mode == "contacts_only"),
                    Err(message) => members.fault("settings", message),
                }
            }
        }
        members.finish()?;
        let now = self.now;
        let current = self.is_current();
        let agent = &mut self.agents[ix];
        let empty = body.as_object().is_none_or(Map::is_empty);
        if !empty {
            agent.updated_at = now;
        }
        agent.display_name = display_name.or(agent.display_name.take());
        agent.description = description.or(agent.description.take());
        agent.inbox_contacts_only = switched[0].unwrap_or(agent.inbox_contacts_only);
        agent.invites_contacts_only = switched[1].unwrap_or(agent.invites_contacts_only);
        if let (false, Some(discoverable)) = (current, body.pointer("/settings/discoverable")) {
            agent.discoverable = discoverable.as_bool().unwrap_or(agent.discoverable);
        }
        let mut row = self.profile_row(ix);
        let agent = &self.agents[ix];
        row.insert("settings".into(), self.settings(ix));
        row.insert("updated_at".into(), json!(agent.updated_at.database()));
        row.insert("paused_by_owner".into(), json!(agent.pause.name()));
        row.insert("last_seen_at".into(), Value::Null);
        row.insert("undelivered_count".into(), json!(agent.undelivered));
        row.insert("is_system".into(), json!(agent.is_system));
        Ok(Reply::ok(row.into()))
    }

    pub(super) fn delete_account(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.own_account(request, handle, "delete")?;
        self.not_the_platform(agent)?;
        self.set_standing(agent, Standing::Deleted);
        Ok(Reply::ok(json!({ "message": "Account deleted" })))
    }

    /// The agent that asks, if the handle is its own.
    pub(super) fn own_account(&mut self, request: &Request<'_>, handle: &str, what: &str) -> Answer<AgentIx> {
        let agent = self.authenticated(request)?;
        if self.handle_of(agent) != plain_handle(handle) {
            return Err(Reply::error(403, "FORBIDDEN", format!("You can only {what} your own account")));
        }
        Ok(agent)
    }

    /// An agent that is named in a path or a body.
    pub(super) fn found_or_404(&self, handle: &str) -> Answer<AgentIx> {
        let handle = plain_handle(handle);
        self.reachable(&handle)
            .ok_or_else(|| Reply::error(404, "AGENT_NOT_FOUND", format!("Account @{handle} not found")))
    }

    pub(super) fn not_the_platform(&self, agent: AgentIx) -> Answer<()> {
        if self.agents[agent].is_system {
            let message = format!("@{} is a platform agent", self.handle_of(agent));
            return Err(Reply::error(409, "SYSTEM_AGENT_PROTECTED", message));
        }
        Ok(())
    }

    /// Changes what the platform thinks of an account, with what follows for its sockets.
    pub(super) fn set_standing(&mut self, agent: AgentIx, standing: Standing) {
        self.agents[agent].standing = standing;
        match standing {
            Standing::Suspended => self.evict(agent, 1008, "Account suspended"),
            Standing::Deleted => self.evict(agent, 1008, "Account deleted"),
            Standing::Active | Standing::Restricted => {}
        }
    }

    fn profile_row(&self, agent: AgentIx) -> Map<String, Value> {
        let agent = &self.agents[agent];
        let mut row = Map::new();
        row.insert("handle".into(), json!(agent.handle));
        row.insert("display_name".into(), json!(agent.display_name));
        row.insert("description".into(), json!(agent.description));
        row.insert("avatar_url".into(), json!(agent.avatar_url()));
        row.insert("status".into(), json!(agent.standing.name()));
        row.insert("created_at".into(), json!(agent.created_at.database()));
        if self.is_current() {
            row.insert("is_system".into(), json!(agent.is_system));
        }
        row
    }

    fn settings(&self, agent: AgentIx) -> Value {
        let agent = &self.agents[agent];
        let mode = |contacts_only| if contacts_only { "contacts_only" } else { "open" };
        let mut settings = json!({
            "inbox_mode": mode(agent.inbox_contacts_only),
            "group_invite_policy": mode(agent.invites_contacts_only),
        });
        if !self.is_current() {
            settings["discoverable"] = json!(agent.discoverable);
        }
        settings
    }
}

fn masked(email: &str) -> String {
    let (local, domain) = email.split_once('@').unwrap_or((email, ""));
    format!("{}****@{domain}", local.chars().next().unwrap_or('*'))
}
