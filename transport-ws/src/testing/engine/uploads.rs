//! Attachments: who may point at one, and who may fetch it. The bytes go to a storage that is not here.

use serde_json::{Value, json};

use super::groups::group_not_found;
use super::model::{AgentIx, ConvIx};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema::{self, Members};
use super::{Engine, plain_handle};
use crate::api::CONTENT_TYPES;

/// Something that was announced to be uploaded.
pub(super) struct Attachment {
    owner: AgentIx,
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Agent(AgentIx),
    Group(ConvIx),
}

impl Engine {
    pub(super) fn create_upload(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let mut members = Members::of(&body)?;
        let to = members.optional_text("to", 1, usize::MAX);
        let group = members.optional_text("conversation_id", 1, usize::MAX);
        members.text("filename", 1, 255);
        if members.get("content_type").is_none() {
            members.fault("content_type", "Required");
        }
        // One list, of the contract: the server names all of it when it refuses another, as its recordings show.
        members.choice("content_type", &CONTENT_TYPES);
        size(&mut members);
        let hash = members.text("sha256", 0, usize::MAX);
        if hash
            .is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|b| b"0123456789abcdef".contains(&b)))
        {
            members.fault("sha256", "Invalid");
        }
        if !members.has_faults() && to.is_some() == group.is_some() {
            members.form_fault("Exactly one of `to` or `conversation_id` must be provided");
        }
        members.finish()?;
        let target = match (to, group) {
            (Some(to), _) => {
                let recipient = self.found_or_404(to)?;
                if recipient == agent {
                    return Err(Reply::invalid("Cannot send an attachment to yourself"));
                }
                if self.blocked_between(agent, recipient) {
                    return Err(Reply::error(403, "BLOCKED", "Messaging between these accounts is blocked"));
                }
                Target::Agent(recipient)
            }
            (None, Some(group)) => Target::Group(self.member_of(agent, group)?),
            (None, None) => return Err(group_not_found()),
        };
        let id = self.ids.id("att");
        let token = self.ids.secret();
        self.attachments.insert(id.clone(), Attachment { owner: agent, target });
        let url = format!("http://storage.invalid/upload/sign/attachments/{id}?token={token}");
        Ok(Reply::created(json!({ "attachment_id": id, "upload_url": url, "expires_in": 7200 })))
    }

    pub(super) fn download(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let not_found = || Reply::error(404, "NOT_FOUND", "Attachment not found");
        let attachment = self.attachments.get(id).ok_or_else(not_found)?;
        let allowed = attachment.owner == agent
            || match attachment.target {
                Target::Agent(recipient) => recipient == agent,
                Target::Group(ix) => match self.conversations[ix].group() {
                    Some(group) if group.deleted.is_some() && group.was_member(agent) => {
                        return Err(self.group_gone(ix));
                    }
                    Some(group) => group.member(agent).is_some(),
                    None => false,
                },
            };
        if !allowed {
            return Err(not_found());
        }
        let token = self.ids.secret();
        let url = format!("http://storage.invalid/sign/attachments/{id}?token={token}");
        Ok(Reply::text(302, "").header("location", url))
    }

    /// Whether a message may point at what it points at.
    pub(super) fn attachment_fits(
        &self,
        sender: AgentIx,
        content: &Value,
        recipient: Option<AgentIx>,
        group: Option<ConvIx>,
    ) -> Answer<()> {
        let Some(id) = content.get("attachment_id").and_then(Value::as_str) else { return Ok(()) };
        let attachment = self.attachments.get(id).filter(|attachment| attachment.owner == sender);
        let attachment = attachment.ok_or_else(|| {
            let message = "Referenced attachment does not exist or was not uploaded by you";
            Reply::error(404, "ATTACHMENT_NOT_FOUND", message)
        })?;
        let target = recipient.map(Target::Agent).or(group.map(Target::Group));
        if target != Some(attachment.target) {
            let whom = if recipient.is_some() { "recipient" } else { "group" };
            let message = format!("Attachment is not addressed to this {whom}");
            return Err(Reply::error(400, "ATTACHMENT_WRONG_SCOPE", message));
        }
        Ok(())
    }

    /// The agent a handle of a body names, for tests of limits.
    pub(crate) fn agent_named(&self, handle: &str) -> Option<AgentIx> {
        self.agent_of(&plain_handle(handle))
    }
}

fn size(members: &mut Members<'_>) {
    match members.get("size") {
        None => members.fault("size", "Required"),
        Some(value) => match value.as_i64() {
            Some(size) if size < 1 => members.fault("size", "Number must be greater than 0"),
            Some(size) if size > MAX_SIZE => {
                members.fault("size", format!("Number must be less than or equal to {MAX_SIZE}"));
            }
            Some(_) => {}
            None => members.fault("size", format!("Expected number, received {}", schema::kind(value))),
        },
    }
}

const MAX_SIZE: i64 = 25 * 1024 * 1024;
