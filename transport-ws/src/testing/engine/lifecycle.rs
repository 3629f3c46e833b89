//! System events of groups, and the end of one.

use serde_json::{Map, Value, json};

use super::Engine;
use super::groups::group_not_found;
use super::model::{AgentIx, ConvIx, MsgIx, Standing};
use super::reply::{Answer, Reply};
use super::rows::frame;
use super::send::Draft;

impl Engine {
    /// Writes a system event into a group. It is stored for everybody but the actor, and not pushed
    /// unless this server does so.
    pub(super) fn announce(
        &mut self,
        ix: ConvIx,
        actor: AgentIx,
        event: &str,
        mut data: Map<String, Value>,
    ) -> MsgIx {
        data.insert("schema_version".into(), json!(1));
        data.insert("event".into(), json!(event));
        let recipients: Vec<AgentIx> =
            self.conversations[ix].participants().into_iter().filter(|agent| *agent != actor).collect();
        let draft = Draft {
            client_msg_id: String::new(),
            kind: "system".to_owned(),
            content: json!({ "data": data }),
            metadata: json!({}),
        };
        let message = self.store(ix, actor, draft, &recipients);
        let name = format!("sys_{}", self.messages[message].id);
        self.client_ids.remove(&(actor, String::new()));
        self.client_ids.insert((actor, name.clone()), message);
        self.messages[message].client_msg_id = name;
        if self.switches.push_system_events {
            self.push_message(message);
        }
        message
    }

    pub(super) fn delete_group(&mut self, agent: AgentIx, id: &str) -> Answer {
        let ix = self.member_of(agent, id)?;
        let group = self.conversations[ix].group().ok_or_else(group_not_found)?;
        let orphaned =
            matches!(self.agents[group.created_by].standing, Standing::Suspended | Standing::Deleted);
        let admin = group.member(agent).is_some_and(|member| member.admin);
        if group.created_by != agent && !(orphaned && admin) {
            let message =
                "Only the group creator (or an admin when the creator is suspended) can delete a group";
            return Err(Reply::error(403, "FORBIDDEN", message));
        }
        let members = self.conversations[ix].participants();
        for member in &members {
            self.flush_group(ix, *member);
        }
        let data = Map::from_iter([("actor_handle".to_owned(), json!(self.handle_of(agent)))]);
        let pushes_all = std::mem::replace(&mut self.switches.push_system_events, false);
        let message = self.announce(ix, agent, "group_deleted", data);
        self.switches.push_system_events = pushes_all;
        let at = self.now;
        if let Some(group) = self.group_mut(ix) {
            group.deleted = Some((agent, at));
            for member in &mut group.members {
                member.active = false;
            }
        }
        self.invites.retain(|invite| invite.group != ix);
        self.push_message(message);
        let event = json!({
            "group_id": id,
            "deleted_by_handle": self.handle_of(agent),
            "deleted_at": at.database(),
        });
        for member in members.into_iter().filter(|member| *member != agent) {
            self.call_webhooks(member, "group.deleted", event.clone());
            self.push(member, &frame("group.deleted", event.clone()));
        }
        Ok(Reply::ok(json!({ "message": "Group deleted", "deleted_at": at.database() })))
    }
}
