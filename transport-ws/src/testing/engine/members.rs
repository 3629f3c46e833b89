//! Who belongs to a group, and who decides.

use serde_json::{Map, Value, json};

use super::limits::INVITATIONS_PER_DAY;
use super::model::{AgentIx, ConvIx, EnvIx};
use super::reply::{Answer, Reply};
use super::schema;
use super::{Engine, plain_handle};

impl Engine {
    pub(super) fn add_member(&mut self, agent: AgentIx, id: &str, body: &[u8]) -> Answer {
        let body = schema::parse(body)?;
        let handle = body.get("handle").and_then(Value::as_str).filter(|handle| !handle.is_empty());
        let handle = plain_handle(handle.ok_or_else(|| Reply::invalid("handle is required"))?);
        let ix = self.admin_of(agent, id)?;
        if handle == self.handle_of(agent) {
            return Err(Reply::invalid("Cannot add yourself to a group"));
        }
        Ok(Reply::created(self.admit(agent, ix, &handle)?))
    }

    /// Adds or invites one agent.
    pub(super) fn admit(&mut self, inviter: AgentIx, ix: ConvIx, handle: &str) -> Answer<Value> {
        let target = self.found_or_404(handle)?;
        if self.conversations[ix].has(target) {
            return Ok(json!({ "handle": handle, "outcome": "already_member" }));
        }
        if self.blocked_between(inviter, target) {
            return Err(Reply::error(403, "BLOCKED", "Messaging between these accounts is blocked"));
        }
        let knows = self.agents[target].contacts.contains_key(&inviter);
        if self.agents[target].invites_contacts_only && !knows {
            let message = "This account only accepts group invites from contacts";
            return Err(Reply::error(403, "INBOX_RESTRICTED", message));
        }
        if let Some(invite) =
            self.invites.iter().find(|invite| invite.group == ix && invite.invitee == target)
        {
            return Ok(json!({ "handle": handle, "outcome": "invited", "invite_id": invite.id }));
        }
        if knows && self.switches.contacts_join_groups {
            self.join(ix, target, false);
            self.announce(ix, inviter, "member_joined", about(self.handle_of(target), None));
            return Ok(json!({ "handle": handle, "outcome": "joined" }));
        }
        let day = self.now.second() / 86_400;
        if self.agents[inviter].invitations.count(day) >= INVITATIONS_PER_DAY {
            return Err(Reply::error(429, "RATE_LIMITED", "Daily group invite limit reached (50/day)."));
        }
        self.agents[inviter].invitations.hit(day);
        let invite_id = self.invite(ix, inviter, target);
        Ok(json!({ "handle": handle, "outcome": "invited", "invite_id": invite_id }))
    }

    pub(super) fn remove_member(&mut self, agent: AgentIx, id: &str, handle: &str) -> Answer {
        let ix = self.admin_of(agent, id)?;
        let target = self.agent_of(&plain_handle(handle));
        if target == Some(agent) {
            return Err(Reply::invalid("Use leave to remove yourself from a group"));
        }
        let group = self.conversations[ix].group();
        if group.is_some_and(|group| Some(group.created_by) == target) {
            return Err(Reply::error(403, "FORBIDDEN", "The group creator cannot be removed"));
        }
        let target = target.filter(|target| self.conversations[ix].has(*target)).ok_or_else(not_member)?;
        self.depart(ix, target);
        let data = about(self.handle_of(target), Some(self.handle_of(agent)));
        self.announce(ix, agent, "member_removed", data);
        Ok(Reply::ok(json!({ "message": "Member removed" })))
    }

    pub(super) fn promote(&mut self, agent: AgentIx, id: &str, handle: &str) -> Answer {
        let ix = self.admin_of(agent, id)?;
        let target = self.agent_of(&plain_handle(handle)).ok_or_else(not_member)?;
        let member = self.group_mut(ix).and_then(|group| group.member_mut(target));
        // An admin is no member to be promoted.
        let member = member.filter(|member| !member.admin).ok_or_else(not_member)?;
        member.admin = true;
        let data = about(self.handle_of(target), Some(self.handle_of(agent)));
        self.announce(ix, agent, "admin_promoted", data);
        Ok(Reply::ok(json!({ "message": "Member promoted to admin" })))
    }

    pub(super) fn demote(&mut self, agent: AgentIx, id: &str, handle: &str) -> Answer {
        let ix = self.admin_of(agent, id)?;
        let target = self.agent_of(&plain_handle(handle)).ok_or_else(not_member)?;
        let group = self.conversations[ix].group().ok_or_else(not_member)?;
        let member = group.member(target).ok_or_else(not_member)?;
        if group.created_by == target {
            return Err(Reply::error(403, "FORBIDDEN", "The group creator cannot be demoted"));
        }
        if !member.admin {
            return Err(Reply::error(400, "NOT_ADMIN", "Target is not an admin of this group"));
        }
        if group.active().filter(|member| member.admin).count() == 1 {
            return Err(Reply::error(400, "LAST_ADMIN", "A group needs at least one admin"));
        }
        if let Some(member) = self.group_mut(ix).and_then(|group| group.member_mut(target)) {
            member.admin = false;
        }
        let data = about(self.handle_of(target), Some(self.handle_of(agent)));
        self.announce(ix, agent, "admin_demoted", data);
        Ok(Reply::ok(json!({ "message": "Admin demoted to member" })))
    }

    pub(super) fn leave(&mut self, agent: AgentIx, id: &str) -> Answer {
        let ix = self.member_of(agent, id)?;
        self.depart(ix, agent);
        self.announce(ix, agent, "member_left", about(self.handle_of(agent), None));
        let heir = self.group_mut(ix).and_then(|group| {
            let led = group.active().any(|member| member.admin);
            let heir =
                group.members.iter_mut().filter(|member| member.active).min_by_key(|member| member.joined_at);
            heir.filter(|_| !led).map(|heir| {
                heir.admin = true;
                heir.agent
            })
        });
        if let Some(heir) = heir {
            let mut data = about(self.handle_of(heir), None);
            data.insert("actor_handle".into(), Value::Null);
            self.announce(ix, heir, "admin_promoted", data);
        }
        let promoted = heir.map(|heir| self.handle_of(heir));
        Ok(Reply::ok(json!({ "message": "Left group", "promoted_handle": promoted })))
    }

    /// Ends a membership; what the member had not got yet counts as delivered.
    fn depart(&mut self, ix: ConvIx, agent: AgentIx) {
        if let Some(member) = self.group_mut(ix).and_then(|group| group.member_mut(agent)) {
            member.active = false;
            member.admin = false;
        }
        self.flush_group(ix, agent);
    }

    pub(super) fn flush_group(&mut self, ix: ConvIx, agent: AgentIx) {
        let stored = self.agents[agent].stored.iter().copied();
        let of_group = |envelope: &EnvIx| {
            let message = self.envelopes[*envelope].message;
            self.messages[message].conversation == ix
        };
        let stored: Vec<EnvIx> = stored.filter(of_group).collect();
        for envelope in stored {
            self.mark_delivered(envelope);
        }
    }
}

/// The members of a system event about somebody.
pub(super) fn about(agent: &str, actor: Option<&str>) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("agent_handle".into(), json!(agent));
    if let Some(actor) = actor {
        data.insert("actor_handle".into(), json!(actor));
    }
    data
}

fn not_member() -> Reply {
    Reply::error(404, "NOT_MEMBER", "Target is not an active member of this group")
}
