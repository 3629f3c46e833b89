//! The messages of a conversation.

use serde_json::Value;

use super::Engine;
use super::model::{AgentIx, ConvIx, Kind, MsgIx};
use super::reply::{Answer, Reply};
use super::request::Request;

impl Engine {
    pub(super) fn history(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let before = request.cursor("before_seq")?;
        let after = request.cursor("after_seq")?;
        let around = if self.is_current() { request.query("around_message_id") } else { None };
        if before.is_some() && after.is_some() {
            return Err(Reply::invalid("before_seq and after_seq are mutually exclusive"));
        }
        if around.is_some() && (before.is_some() || after.is_some()) {
            return Err(Reply::invalid("around_message_id cannot be combined with before_seq or after_seq"));
        }
        let limit = request.page("limit", 50, 1, 200) as usize;
        let conversation = self.readable(agent, id)?;
        let visible = self.visible(agent, conversation);
        let seq = |message: &MsgIx| self.messages[*message].seq;
        let page: Vec<MsgIx> = match (after, before, around) {
            (Some(after), ..) => {
                visible.into_iter().filter(|message| seq(message) > after).take(limit).collect()
            }
            (None, before, around) => {
                let end = match around {
                    Some(id) => Some(self.anchor(conversation, &id)? + 1),
                    None => before,
                };
                let wanted = visible.into_iter().rev();
                wanted.filter(|message| end.is_none_or(|end| seq(message) < end)).take(limit).collect()
            }
        };
        let rows =
            page.into_iter().map(|message| self.history_row(message, self.delivery_view(agent, message)));
        Ok(Reply::ok(Value::Array(rows.collect())))
    }

    /// The conversation, if the agent may read it.
    pub(super) fn readable(&self, agent: AgentIx, id: &str) -> Answer<ConvIx> {
        let Some(ix) = self.conversation_ids.get(id).copied() else { return Err(self.no_participant()) };
        let conversation = &self.conversations[ix];
        if let Some(group) = conversation.group()
            && group.deleted.is_some()
            && group.was_member(agent)
        {
            return Err(self.group_gone(ix));
        }
        if conversation.has(agent) { Ok(ix) } else { Err(self.no_participant()) }
    }

    /// What an agent may see of a conversation, oldest first.
    pub(super) fn visible(&self, agent: AgentIx, conversation: ConvIx) -> Vec<MsgIx> {
        let conversation = &self.conversations[conversation];
        let joined = match &conversation.kind {
            Kind::Direct { .. } => 1,
            Kind::Group(group) => group.member(agent).map_or(u64::MAX, |member| member.joined_seq),
        };
        let hidden = conversation.hidden.get(&agent).copied().unwrap_or(0);
        let from = joined.max(hidden + 1);
        let messages = conversation.messages.iter().copied();
        let messages = messages.skip(usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX));
        messages.filter(|message| !self.messages[*message].hidden_for.contains(&agent)).collect()
    }

    /// Direct: the one envelope there is. Group: the reader's own.
    fn delivery_view(&self, agent: AgentIx, message: MsgIx) -> Option<usize> {
        let message = &self.messages[message];
        match self.conversations[message.conversation].kind {
            Kind::Direct { .. } => message.envelopes.values().next().copied(),
            Kind::Group(_) => message.envelopes.get(&agent).copied(),
        }
    }

    fn anchor(&self, conversation: ConvIx, id: &str) -> Answer<u64> {
        let message = self.message_ids.get(id).map(|message| &self.messages[*message]);
        let message = message.filter(|message| message.conversation == conversation);
        message
            .map(|message| message.seq)
            .ok_or_else(|| Reply::error(404, "MESSAGE_NOT_FOUND", "Message not found"))
    }

    pub(super) fn no_participant(&self) -> Reply {
        if self.is_current() {
            Reply::error(404, "CONVERSATION_NOT_FOUND", "Conversation not found")
        } else {
            Reply::error(403, "FORBIDDEN", "You are not a participant in this conversation")
        }
    }
}
