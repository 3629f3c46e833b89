//! Groups: making them, looking at them, sending to them.

use serde_json::{Map, Value, json};

use super::limits::{GROUP_SENDS_PER_SECOND, GROUP_SIZE};
use super::model::{AgentIx, ConvIx, Group, Kind, Member, Window};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema::{self, Members};
use super::send::Draft;
use super::{Engine, plain_handle};

impl Engine {
    pub(super) fn route_groups(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        let body = request.body;
        match (request.method, segments) {
            ("POST", []) => self.once(request, |engine, agent| engine.create_group(agent, body)),
            ("GET", ["invites"]) => self.list_invites(request),
            ("POST", ["invites", id, "accept"]) => {
                self.once(request, |engine, agent| engine.accept_invite(agent, id))
            }
            ("DELETE", ["invites", id]) => self.reject_invite(request, id),
            ("GET", [id]) => self.group(request, id),
            ("PATCH", [id]) => self.once(request, |engine, agent| engine.update_group(agent, id, body)),
            ("DELETE", [id]) => self.once(request, |engine, agent| engine.delete_group(agent, id)),
            ("PUT", [id, "avatar"]) => self.set_group_avatar(request, id),
            ("DELETE", [id, "avatar"]) => self.remove_group_avatar(request, id),
            ("POST", [id, "members"]) => {
                self.once(request, |engine, agent| engine.add_member(agent, id, body))
            }
            ("DELETE", [id, "members", handle]) => {
                self.once(request, |engine, agent| engine.remove_member(agent, id, handle))
            }
            ("POST", [id, "members", handle, "promote"]) => {
                self.once(request, |engine, agent| engine.promote(agent, id, handle))
            }
            ("POST", [id, "members", handle, "demote"]) => {
                self.once(request, |engine, agent| engine.demote(agent, id, handle))
            }
            ("POST", [id, "leave"]) => self.once(request, |engine, agent| engine.leave(agent, id)),
            _ => Err(Reply::unknown_route()),
        }
    }

    /// The pipeline of a message to a group.
    pub(super) fn send_to_group(&mut self, sender: AgentIx, draft: Draft, id: &str) -> Answer {
        let ix = self.conversation_ids.get(id).copied().ok_or_else(group_not_found)?;
        let Some(group) = self.conversations[ix].group() else {
            return Err(Reply::invalid("Use `to` to send to a direct conversation"));
        };
        if group.deleted.is_some() {
            return Err(if group.was_member(sender) { self.group_gone(ix) } else { group_not_found() });
        }
        self.may_send(sender)?;
        self.member_of(sender, id)?;
        self.within_send_rate(sender)?;
        let second = self.now.second();
        if let Kind::Group(group) = &mut self.conversations[ix].kind
            && group.sends.hit(second) > GROUP_SENDS_PER_SECOND
        {
            let message = "This group is receiving too many messages per second";
            return Err(Reply::error(429, "RATE_LIMITED", message).header("retry-after", "1"));
        }
        self.attachment_fits(sender, &draft.content, None, Some(ix))?;
        if let Some(replay) = self.replayed(sender, &draft) {
            return Ok(replay);
        }
        let members = self.conversations[ix].participants();
        let (skipped, recipients): (Vec<AgentIx>, Vec<AgentIx>) = members
            .into_iter()
            .filter(|member| *member != sender)
            .partition(|member| self.is_backlogged(*member));
        let message = self.store(ix, sender, draft, &recipients);
        self.push_message(message);
        let mut row = self.row(message);
        if !skipped.is_empty() {
            let handles: Vec<&str> = skipped.iter().map(|agent| self.handle_of(*agent)).collect();
            row.insert("skipped_recipients".into(), json!(handles));
        }
        Ok(Reply::created(row.into()))
    }

    /// A group the agent belongs to; strangers are told there is none.
    pub(super) fn member_of(&self, agent: AgentIx, id: &str) -> Answer<ConvIx> {
        let ix = self.conversation_ids.get(id).copied().ok_or_else(group_not_found)?;
        let group = self.conversations[ix].group().ok_or_else(group_not_found)?;
        if group.deleted.is_some() && group.was_member(agent) {
            return Err(self.group_gone(ix));
        }
        if group.deleted.is_some() || group.member(agent).is_none() {
            return Err(group_not_found());
        }
        Ok(ix)
    }

    /// A group the agent administers.
    pub(super) fn admin_of(&self, agent: AgentIx, id: &str) -> Answer<ConvIx> {
        let ix = self.member_of(agent, id)?;
        let group = self.conversations[ix].group();
        if !group.and_then(|group| group.member(agent)).is_some_and(|member| member.admin) {
            return Err(Reply::error(403, "FORBIDDEN", "Only group admins can perform this action"));
        }
        Ok(ix)
    }

    pub(super) fn group_gone(&self, ix: ConvIx) -> Reply {
        let conversation = &self.conversations[ix];
        let deleted = conversation.group().and_then(|group| group.deleted);
        Reply::error(410, "GROUP_DELETED", "Group has been deleted").details(json!({
            "group_id": conversation.id,
            "deleted_by_handle": deleted.map(|(by, _)| self.handle_of(by)),
            "deleted_at": deleted.map(|(_, at)| at.database()),
        }))
    }

    /// The group with its members, as one of them sees it.
    pub(super) fn group_detail(&self, agent: AgentIx, ix: ConvIx) -> Value {
        let conversation = &self.conversations[ix];
        let Some(group) = conversation.group() else { return Value::Null };
        let role = |admin| if admin { "admin" } else { "member" };
        let members: Vec<Value> = group
            .active()
            .map(|member| {
                json!({
                    "handle": self.handle_of(member.agent),
                    "display_name": self.agents[member.agent].display_name,
                    "role": role(member.admin),
                    "joined_at": member.joined_at.database(),
                })
            })
            .collect();
        json!({
            "id": conversation.id,
            "name": group.name,
            "description": group.description,
            "avatar_url": group.avatar_url,
            "created_by": self.handle_of(group.created_by),
            "settings": { "who_can_invite": "admin" },
            "member_count": members.len(),
            "created_at": conversation.created_at.database(),
            "last_message_at": conversation.last_message_at.map(|at| at.database()),
            "members": members,
            "your_role": role(group.member(agent).is_some_and(|member| member.admin)),
        })
    }

    pub(super) fn group_mut(&mut self, ix: ConvIx) -> Option<&mut Group> {
        match &mut self.conversations[ix].kind {
            Kind::Group(group) => Some(group),
            Kind::Direct { .. } => None,
        }
    }

    /// Takes an agent in. What was said before stays closed to it.
    pub(super) fn join(&mut self, ix: ConvIx, agent: AgentIx, admin: bool) {
        let joined_at = self.now;
        let joined_seq = self.conversations[ix].last_seq() + 1;
        if let Some(group) = self.group_mut(ix) {
            group.members.retain(|member| member.agent != agent);
            group.members.push(Member { agent, admin, active: true, joined_at, joined_seq });
        }
        self.agents[agent].conversations.insert(ix);
    }

    fn group(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let ix = self.member_of(agent, id)?;
        Ok(Reply::ok(self.group_detail(agent, ix)))
    }

    fn create_group(&mut self, creator: AgentIx, body: &[u8]) -> Answer {
        let body = schema::parse(body)?;
        let mut members = Members::of(&body)?;
        let name = members.text("name", 1, 100).unwrap_or_default().to_owned();
        let description = members.optional_text("description", 0, 500).map(str::to_owned);
        let avatar_url = avatar_url_of(&mut members).flatten();
        let handles = members.texts("member_handles", 0, GROUP_SIZE - 1).unwrap_or_default();
        settings_of(&mut members);
        members.finish()?;
        let id = self.ids.id("grp");
        let ix = self.found(
            id,
            Kind::Group(Group {
                name,
                description,
                avatar_url,
                created_by: creator,
                members: Vec::new(),
                deleted: None,
                sends: Window::default(),
            }),
        );
        self.join(ix, creator, true);
        let mut wanted: Vec<String> = Vec::new();
        for handle in handles.into_iter().map(plain_handle) {
            if handle != self.handle_of(creator) && !wanted.contains(&handle) {
                wanted.push(handle);
            }
        }
        // Who cannot be added is left out without a word.
        let results: Vec<Value> =
            wanted.iter().filter_map(|handle| self.admit(creator, ix, handle).ok()).collect();
        Ok(Reply::created(json!({ "group": self.group_detail(creator, ix), "add_results": results })))
    }

    fn update_group(&mut self, agent: AgentIx, id: &str, body: &[u8]) -> Answer {
        let ix = self.admin_of(agent, id)?;
        let body = schema::parse(body)?;
        let mut members = Members::of(&body)?;
        let name = members.optional_text("name", 1, 100).map(str::to_owned);
        let description = members.nullable_text("description", 500).map(|text| text.map(str::to_owned));
        let avatar_url = avatar_url_of(&mut members);
        settings_of(&mut members);
        members.finish()?;
        let actor = json!(self.handle_of(agent));
        let mut events: Vec<(&str, Map<String, Value>)> = Vec::new();
        let mut note = |event, further: &[(&str, Value)]| {
            let further = further.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            events.push((event, further.chain([("actor_handle".to_owned(), actor.clone())]).collect()));
        };
        let Some(group) = self.group_mut(ix) else { return Err(group_not_found()) };
        if let Some(name) = name.filter(|name| *name != group.name) {
            note("name_changed", &[("new_name", json!(name))]);
            group.name = name;
        }
        if let Some(description) = description.filter(|text| *text != group.description) {
            note("description_changed", &[]);
            group.description = description;
        }
        if let Some(avatar_url) = avatar_url.filter(|url| *url != group.avatar_url) {
            note("avatar_changed", &[]);
            group.avatar_url = avatar_url;
        }
        for (event, data) in events {
            self.announce(ix, agent, event, data);
        }
        Ok(Reply::ok(self.group_detail(agent, ix)))
    }
}

pub(super) fn group_not_found() -> Reply {
    Reply::error(404, "GROUP_NOT_FOUND", "Group not found")
}

fn avatar_url_of(members: &mut Members<'_>) -> Option<Option<String>> {
    let url = members.nullable_text("avatar_url", usize::MAX)?.map(str::to_owned);
    if url.as_ref().is_some_and(|url| url::Url::parse(url).is_err()) {
        members.fault("avatar_url", "Invalid url");
    }
    Some(url)
}

fn settings_of(members: &mut Members<'_>) {
    let setting = members.object("settings").and_then(|settings| settings.get("who_can_invite"));
    if let Some(setting) = setting.filter(|setting| setting.as_str() != Some("admin")) {
        let message = format!("Invalid literal value, expected \"admin\", received {setting}");
        members.fault("settings", message);
    }
}
