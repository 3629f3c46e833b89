//! Invitations to groups.

use serde_json::{Value, json};

use super::Engine;
use super::limits::GROUP_SIZE;
use super::members::about;
use super::model::{AgentIx, ConvIx, Invite};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::rows::frame;

impl Engine {
    /// Invites, and tells the invited one if it is there.
    pub(super) fn invite(&mut self, group: ConvIx, inviter: AgentIx, invitee: AgentIx) -> String {
        let id = self.ids.id("gri");
        let invite = Invite { id: id.clone(), group, invitee, inviter, created_at: self.now };
        let row = self.invite_row(&invite);
        self.invites.push(invite);
        self.call_webhooks(invitee, "group.invite.received", row.clone());
        self.push(invitee, &frame("group.invite.received", row));
        id
    }

    pub(super) fn list_invites(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let own = self.invites.iter().filter(|invite| invite.invitee == agent);
        Ok(Reply::ok(own.map(|invite| self.invite_row(invite)).collect::<Vec<_>>().into()))
    }

    pub(super) fn accept_invite(&mut self, agent: AgentIx, id: &str) -> Answer {
        let position = self.own_invite(agent, id)?;
        let group = self.invites[position].group;
        if self.conversations[group].participants().len() >= GROUP_SIZE {
            let full = || Reply::error(409, "GROUP_FULL", "This group has reached its member limit");
            return Err(if self.is_current() { full() } else { Reply::internal() });
        }
        let invite = self.invites.remove(position);
        self.join(group, agent, false);
        self.announce(group, invite.inviter, "member_joined", about(self.handle_of(agent), None));
        Ok(Reply::ok(self.group_detail(agent, group)))
    }

    pub(super) fn reject_invite(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let position = self.own_invite(agent, id)?;
        self.invites.remove(position);
        Ok(Reply::ok(json!({ "message": "Invite rejected" })))
    }

    fn own_invite(&self, agent: AgentIx, id: &str) -> Answer<usize> {
        let position = self.invites.iter().position(|invite| invite.id == id && invite.invitee == agent);
        position.ok_or_else(|| Reply::error(404, "INVITE_NOT_FOUND", "Invite not found"))
    }

    fn invite_row(&self, invite: &Invite) -> Value {
        let conversation = &self.conversations[invite.group];
        let group = conversation.group();
        json!({
            "id": invite.id,
            "group_id": conversation.id,
            "group_name": group.map(|group| &group.name),
            "group_description": group.and_then(|group| group.description.as_ref()),
            "group_avatar_url": group.and_then(|group| group.avatar_url.as_ref()),
            "group_member_count": conversation.participants().len(),
            "inviter_handle": self.handle_of(invite.inviter),
            "created_at": invite.created_at.database(),
        })
    }
}
