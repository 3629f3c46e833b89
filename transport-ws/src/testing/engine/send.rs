//! `POST /v1/messages`: what both kinds of conversation have in common.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Engine;
use super::limits::{CONTENT_LIMIT, SENDS_PER_SECOND, SYSTEM_SENDS_PER_SECOND, WALL};
use super::model::{AgentIx, ConvIx, EnvIx, Envelope, Message, MsgIx, PauseMode, Standing, Status};
use super::outbound::Effect;
use super::reply::{Answer, Reply};
use super::request::Request;
use super::rows::frame;
use super::schema::{self, Members, kind};

/// A message that is asked for.
pub(super) struct Draft {
    pub(super) client_msg_id: String,
    pub(super) kind: String,
    pub(super) content: Value,
    pub(super) metadata: Value,
}

impl Engine {
    pub(super) fn send(&mut self, request: &Request<'_>) -> Answer {
        let sender = self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let (draft, to, conversation) = draft_of(&body)?;
        // Metadata that was not given has no size, though it is stored as an empty object.
        let metadata = body.get("metadata").map_or(0, |_| draft.metadata.to_string().len());
        if draft.content.to_string().len() + metadata > CONTENT_LIMIT {
            let message = "Message content + metadata exceeds 32KB limit";
            return Err(Reply::error(413, "CONTENT_TOO_LARGE", message));
        }
        if schema::has_nul(&draft.content) || schema::has_nul(&draft.metadata) {
            return Err(Reply::crash());
        }
        match (to, conversation) {
            (Some(to), _) => self.send_direct(sender, draft, to),
            (None, Some(conversation)) => self.send_to_group(sender, draft, conversation),
            (None, None) => Err(Reply::internal()),
        }
    }

    /// Suspension and pause, in this order.
    pub(super) fn may_send(&self, sender: AgentIx) -> Answer<()> {
        if self.agents[sender].standing == Standing::Suspended {
            return Err(super::auth::suspended());
        }
        if self.agents[sender].pause != PauseMode::None {
            let message = "Your account is paused by the owner. Messaging is temporarily disabled.";
            return Err(Reply::error(403, "AGENT_PAUSED_BY_OWNER", message));
        }
        Ok(())
    }

    /// The limit per sender over all targets; refused attempts count too.
    pub(super) fn within_send_rate(&mut self, sender: AgentIx) -> Answer<()> {
        let second = self.now.second();
        let agent = &mut self.agents[sender];
        let limit = if agent.is_system { SYSTEM_SENDS_PER_SECOND } else { SENDS_PER_SECOND };
        if agent.sends.hit(second) > limit {
            return Err(
                Reply::error(429, "RATE_LIMITED", "Too many messages per second").header("retry-after", "1")
            );
        }
        Ok(())
    }

    /// The row of an earlier message of that sender with the same identifier.
    pub(super) fn replayed(&self, sender: AgentIx, draft: &Draft) -> Option<Reply> {
        let message = self.client_ids.get(&(sender, draft.client_msg_id.clone()))?;
        Some(Reply::ok(Value::Object(self.row(*message))))
    }

    /// Gives a message its `seq` and an envelope for each recipient. Nobody is told yet.
    pub(super) fn store(
        &mut self,
        conversation: ConvIx,
        sender: AgentIx,
        draft: Draft,
        recipients: &[AgentIx],
    ) -> MsgIx {
        let message = self.messages.len();
        let id = self.ids.id("msg");
        let mut envelopes = BTreeMap::new();
        for recipient in recipients {
            envelopes.insert(*recipient, self.seal(message, *recipient));
        }
        let seq = self.conversations[conversation].last_seq() + 1;
        self.message_ids.insert(id.clone(), message);
        self.client_ids.insert((sender, draft.client_msg_id.clone()), message);
        self.messages.push(Message {
            id,
            conversation,
            sender,
            client_msg_id: draft.client_msg_id,
            seq,
            kind: draft.kind,
            content: draft.content,
            metadata: draft.metadata,
            created_at: self.now,
            envelopes,
            hidden_for: HashSet::new(),
        });
        self.conversations[conversation].messages.push(message);
        self.conversations[conversation].last_message_at = Some(self.now);
        self.touch(conversation);
        message
    }

    /// Pushes a message to everyone who has an envelope for it, wants it now, and has a socket.
    pub(super) fn push_message(&mut self, message: MsgIx) {
        let recipients: Vec<(AgentIx, EnvIx)> =
            self.messages[message].envelopes.iter().map(|(agent, envelope)| (*agent, *envelope)).collect();
        let sender = self.messages[message].sender;
        let conversation = self.messages[message].conversation;
        let mut text: Option<Arc<str>> = None;
        for (recipient, envelope) in recipients {
            if self.is_muted(recipient, sender, conversation)
                || self.agents[recipient].pause == PauseMode::Full
            {
                continue;
            }
            self.call_webhooks_for_message(recipient, message, envelope);
            let sockets = self.sockets_of(recipient);
            if sockets.is_empty() {
                continue;
            }
            let text = text.get_or_insert_with(|| self.live_frame(message));
            let text = Arc::clone(text);
            for socket in sockets {
                self.effects.push(Effect::Frame { socket, text: Arc::clone(&text), hello: false });
                self.written(socket, envelope);
            }
        }
    }

    /// Moves a stored envelope on, as of now.
    pub(super) fn mark_delivered(&mut self, envelope: EnvIx) -> bool {
        if self.envelopes[envelope].status != Status::Stored {
            return false;
        }
        let now = self.now.in_millis();
        self.envelopes[envelope].status = Status::Delivered;
        self.envelopes[envelope].delivered_at = Some(now);
        self.unstore(envelope);
        true
    }

    /// Takes an envelope out of what its recipient has still to get.
    pub(super) fn unstore(&mut self, envelope: EnvIx) {
        let agent = &mut self.agents[self.envelopes[envelope].recipient];
        if agent.stored.remove(&envelope) {
            agent.undelivered = agent.undelivered.saturating_sub(1);
        }
    }

    pub(super) fn is_backlogged(&self, recipient: AgentIx) -> bool {
        self.agents[recipient].undelivered >= WALL
    }

    fn seal(&mut self, message: MsgIx, recipient: AgentIx) -> EnvIx {
        let envelope = self.envelopes.len();
        let id = self.ids.delivery();
        self.envelope_ids.insert(id.clone(), envelope);
        let status = Status::Stored;
        self.envelopes.push(Envelope { id, message, recipient, status, delivered_at: None, read_at: None });
        let agent = &mut self.agents[recipient];
        agent.envelopes.push(envelope);
        agent.stored.insert(envelope);
        agent.undelivered += 1;
        envelope
    }

    fn live_frame(&self, message: MsgIx) -> Arc<str> {
        let mut row = self.delivered_row(message);
        if self.switches.live_status {
            row.insert("status".into(), json!("stored"));
        }
        frame("message.new", row).to_string().into()
    }
}

/// A body as a draft, with its target.
fn draft_of(body: &Value) -> Answer<(Draft, Option<&str>, Option<&str>)> {
    let mut members = Members::of(body)?;
    let to = members.optional_text("to", 1, usize::MAX);
    let conversation = members.optional_text("conversation_id", 1, usize::MAX);
    let client_msg_id = members.text("client_msg_id", 1, 128).unwrap_or_default().to_owned();
    let kind = members.choice("type", &["text", "structured", "file", "system"]).unwrap_or("text").to_owned();
    let content = match members.get("content") {
        None => {
            members.fault("content", "Required");
            Map::new()
        }
        Some(_) => match members.object("content") {
            Some(content) => content_of(content, &mut members),
            None => Map::new(),
        },
    };
    let metadata = members.object("metadata").cloned().unwrap_or_default();
    if !members.has_faults() && to.is_some() == conversation.is_some() {
        members.form_fault("Exactly one of `to` or `conversation_id` must be provided");
    }
    members.finish()?;
    let draft = Draft { client_msg_id, kind, content: content.into(), metadata: metadata.into() };
    Ok((draft, to, conversation))
}

/// The known members of a content; the others fall away.
fn content_of(given: &Map<String, Value>, members: &mut Members<'_>) -> Map<String, Value> {
    let mut content = Map::new();
    for (name, expected) in [("text", "string"), ("data", "object"), ("attachment_id", "string")] {
        let Some(value) = given.get(name) else { continue };
        if kind(value) != expected {
            members.fault("content", format!("Expected {expected}, received {}", kind(value)));
        }
        content.insert(name.to_owned(), value.clone());
    }
    if content.is_empty() {
        let message = "Message content must include at least one of: text, data, attachment_id";
        members.fault("content", message);
    }
    content
}
