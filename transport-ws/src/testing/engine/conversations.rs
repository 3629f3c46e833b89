//! The list of conversations, and what belongs to one.

use serde_json::{Map, Value, json};

use super::Engine;
use super::model::{AgentIx, ConvIx, Kind, Status};
use super::reply::{Answer, Reply};
use super::request::Request;

impl Engine {
    pub(super) fn list_conversations(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let (limit, offset) = if self.is_current() {
            (request.page("limit", 50, 1, 100), request.page("offset", 0, 0, u64::MAX))
        } else {
            (50, 0)
        };
        let mut listed: Vec<ConvIx> = self.agents[agent].conversations.iter().copied().collect();
        listed.retain(|ix| self.is_listed(agent, *ix));
        listed.sort_by_key(|ix| std::cmp::Reverse(self.conversations[*ix].activity));
        let page = listed.into_iter().skip(offset as usize).take(limit as usize);
        Ok(Reply::ok(page.map(|ix| self.conversation_row(agent, ix)).collect::<Vec<_>>().into()))
    }

    pub(super) fn participants(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let listed = if self.is_current() {
            let ix = self.readable(agent, id)?;
            match self.conversations[ix].counterparty(agent) {
                Some(other) => vec![other],
                None => self.conversations[ix].participants(),
            }
        } else {
            // The recorded server shows them to anyone.
            let ix = self.conversation_ids.get(id).copied();
            ix.map(|ix| self.conversations[ix].participants()).unwrap_or_default()
        };
        Ok(Reply::ok(listed.into_iter().map(|agent| self.agents[agent].brief()).collect::<Vec<_>>().into()))
    }

    pub(super) fn conversation_context(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let ix = self.readable(agent, id)?;
        let (count, oldest, newest) = self.unread(agent, ix);
        let conversation = &self.conversations[ix];
        let mut body = json!({
            "conversation_id": conversation.id,
            "type": "direct",
            "group": null,
            "counterparty": null,
            "relationship": null,
            "unread": { "count": count, "oldest_seq": oldest, "newest_seq": newest },
        });
        match &conversation.kind {
            Kind::Group(group) => {
                let admin = group.member(agent).is_some_and(|member| member.admin);
                body["type"] = json!("group");
                body["group"] = json!({
                    "name": group.name,
                    "description": group.description,
                    "member_count": group.active().count(),
                    "your_role": if admin { "admin" } else { "member" },
                });
            }
            Kind::Direct { .. } => {
                let other = conversation.counterparty(agent).unwrap_or(agent);
                let contact = self.agents[agent].contacts.get(&other);
                body["counterparty"] = self.agents[other].brief();
                body["relationship"] = json!({
                    "is_contact": contact.is_some(),
                    "added_at": contact.map(|contact| contact.added_at.database()),
                    "note": contact.and_then(|contact| contact.notes.clone()),
                });
            }
        }
        Ok(Reply::ok(body))
    }

    pub(super) fn hide_conversation(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let ix = self.conversation_ids.get(id).copied();
        let ix = ix.filter(|ix| self.conversations[*ix].has(agent));
        let ix = ix.ok_or_else(|| Reply::error(404, "NOT_FOUND", "Conversation not found"))?;
        let through = self.conversations[ix].last_seq();
        self.conversations[ix].hidden.insert(agent, through);
        Ok(Reply::ok(if self.is_current() { json!({ "ok": true }) } else { json!({ "hidden": true }) }))
    }

    /// Hidden conversations come back with their next message.
    fn is_listed(&self, agent: AgentIx, ix: ConvIx) -> bool {
        let conversation = &self.conversations[ix];
        let hidden = conversation.hidden.get(&agent);
        conversation.has(agent) && hidden.is_none_or(|through| conversation.last_seq() > *through)
    }

    fn conversation_row(&self, agent: AgentIx, ix: ConvIx) -> Value {
        let conversation = &self.conversations[ix];
        let group = conversation.group();
        let other = conversation.counterparty(agent);
        let others: Vec<Value> = other.iter().map(|other| self.agents[*other].brief()).collect();
        let last = conversation.messages.last().map(|message| &self.messages[*message]);
        let last_at = conversation.last_message_at;
        let mut row = Map::new();
        row.insert("id".into(), json!(conversation.id));
        row.insert("type".into(), json!(if group.is_some() { "group" } else { "direct" }));
        row.insert("participants".into(), others.into());
        row.insert("group_name".into(), json!(group.map(|group| &group.name)));
        row.insert("group_avatar_url".into(), json!(group.and_then(|group| group.avatar_url.as_ref())));
        row.insert("group_member_count".into(), json!(group.map(|group| group.active().count())));
        row.insert("last_message_at".into(), json!(last_at.map(|at| at.database())));
        let preview = last.map(|message| preview(&message.kind, &message.content));
        row.insert("last_message_preview".into(), json!(preview));
        row.insert("last_message_is_own".into(), json!(last.is_some_and(|message| message.sender == agent)));
        row.insert("last_message_type".into(), json!(last.map(|message| &message.kind)));
        row.insert("updated_at".into(), json!(last_at.unwrap_or(conversation.created_at).database()));
        let muted = match other {
            Some(other) => self.is_muted(agent, other, ix),
            None => self.is_conversation_muted(agent, ix),
        };
        row.insert("is_muted".into(), json!(muted));
        if self.is_current() {
            let (count, oldest, newest) = self.unread(agent, ix);
            row.insert("unread_count".into(), json!(count));
            row.insert("oldest_unread_seq".into(), json!(oldest));
            row.insert("newest_unread_seq".into(), json!(newest));
        }
        row.into()
    }

    fn unread(&self, agent: AgentIx, ix: ConvIx) -> (usize, Option<u64>, Option<u64>) {
        let unread = self.visible(agent, ix).into_iter().map(|message| &self.messages[message]);
        let unread = unread.filter(|message| {
            let envelope = message.envelopes.get(&agent).map(|envelope| &self.envelopes[*envelope]);
            envelope.is_some_and(|envelope| envelope.status != Status::Read)
        });
        let seqs: Vec<u64> = unread.map(|message| message.seq).collect();
        (seqs.len(), seqs.first().copied(), seqs.last().copied())
    }
}

fn preview(kind: &str, content: &Value) -> String {
    match kind {
        "file" => "Attachment".to_owned(),
        "system" => "System update".to_owned(),
        "structured" => "[structured]".to_owned(),
        _ => {
            let text = content.get("text").and_then(Value::as_str).unwrap_or_default();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if text.chars().count() <= PREVIEW {
                return text;
            }
            let kept: String = text.chars().take(PREVIEW - 1).collect();
            format!("{kept}…")
        }
    }
}

const PREVIEW: usize = 140;
