//! Reading and hiding single messages.

use serde_json::json;

use super::Engine;
use super::model::{AgentIx, Kind, Status};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::rows::frame;

impl Engine {
    /// Marks one message as read, and tells its sender each time.
    pub(super) fn read(&mut self, agent: AgentIx, id: &str) -> Answer {
        let found = self.message_ids.get(id).copied();
        let envelope = found.and_then(|message| self.messages[message].envelopes.get(&agent).copied());
        let (Some(message), Some(envelope)) = (found, envelope) else {
            // The recorded server lets its own exception escape here.
            return Err(if self.is_current() { message_not_found() } else { Reply::internal() });
        };
        if self.envelopes[envelope].status != Status::Read {
            self.mark_delivered(envelope);
            self.envelopes[envelope].status = Status::Read;
            self.envelopes[envelope].read_at = Some(self.now.in_millis());
        }
        let receipt = json!({
            "message_id": id,
            "read_by": self.handle_of(agent),
            "read_at": self.envelopes[envelope].read_at.map(|at| at.database()),
        });
        let sender = self.messages[message].sender;
        self.call_webhooks(sender, "message.read", receipt.clone());
        self.push(sender, &frame("message.read", receipt));
        Ok(Reply::ok(self.read_row(message, agent)))
    }

    pub(super) fn hide_message(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let message = self.message_ids.get(id).copied().ok_or_else(message_not_found)?;
        let conversation = &self.conversations[self.messages[message].conversation];
        let involved = match &conversation.kind {
            Kind::Direct { .. } => conversation.has(agent),
            Kind::Group(group) => group.was_member(agent),
        };
        if !involved {
            return Err(Reply::error(403, "FORBIDDEN", "You are not a participant in this conversation"));
        }
        self.messages[message].hidden_for.insert(agent);
        if let Some(envelope) = self.messages[message].envelopes.get(&agent).copied() {
            self.mark_delivered(envelope);
        }
        Ok(Reply::ok(json!({ "message": "Message hidden from your view" })))
    }
}

fn message_not_found() -> Reply {
    Reply::error(404, "MESSAGE_NOT_FOUND", "Message not found")
}
