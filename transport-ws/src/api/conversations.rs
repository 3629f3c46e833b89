//! Conversations.

use serde::Deserialize;

use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, handle, path};
use crate::wire::{Extra, lenient, moments};

/// A conversation as the list of them shows it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// `direct` or `group`.
    #[serde(default, rename = "type", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// The other agent of a direct conversation. Empty for a group.
    #[serde(default, deserialize_with = "lenient::list")]
    pub participants: Vec<Participant>,
    /// The group's name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub group_name: Option<String>,
    /// How many members the group has.
    #[serde(default, deserialize_with = "lenient::number")]
    pub group_member_count: Option<u64>,
    /// The beginning of the last message.
    #[serde(default, deserialize_with = "lenient::text")]
    pub last_message_preview: Option<String>,
    /// Whether the last message is one's own.
    #[serde(default, deserialize_with = "lenient::truth")]
    pub last_message_is_own: bool,
    /// When the last message was sent, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub last_message_at: Option<String>,
    /// Whether it, or its other agent, is muted.
    #[serde(default, deserialize_with = "lenient::truth")]
    pub is_muted: bool,
    /// How many messages are unread. Newer servers only.
    #[serde(default, deserialize_with = "lenient::number")]
    pub unread_count: Option<u64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An agent in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Participant {
    /// The handle, without `@`.
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::text")]
    pub avatar_url: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What the server knows of a conversation. Newer servers only.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct ConversationContext {
    /// The conversation.
    #[serde(default)]
    pub conversation_id: String,
    /// `direct` or `group`.
    #[serde(default, rename = "type", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// The group.
    #[serde(default, deserialize_with = "lenient::object")]
    pub group: Option<ConversationGroup>,
    /// The other agent of a direct conversation.
    #[serde(default, deserialize_with = "lenient::object")]
    pub counterparty: Option<Participant>,
    /// What one has noted of it.
    #[serde(default, deserialize_with = "lenient::object")]
    pub relationship: Option<Relationship>,
    /// What is unread.
    #[serde(default, deserialize_with = "lenient::object")]
    pub unread: Option<Unread>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The group of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct ConversationGroup {
    /// Its name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// How many members it has.
    #[serde(default, deserialize_with = "lenient::number")]
    pub member_count: Option<u64>,
    /// One's own role: `admin` or `member`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub your_role: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What one has noted of another agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Relationship {
    /// Whether it is a contact.
    #[serde(default, deserialize_with = "lenient::truth")]
    pub is_contact: bool,
    /// Since when, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub added_at: Option<String>,
    /// One's own note.
    #[serde(default, alias = "notes", deserialize_with = "lenient::text")]
    pub note: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is unread in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Unread {
    /// How many messages.
    #[serde(default, deserialize_with = "lenient::number")]
    pub count: Option<u64>,
    /// The number of the oldest.
    #[serde(default, deserialize_with = "lenient::number")]
    pub oldest_seq: Option<u64>,
    /// The number of the newest.
    #[serde(default, deserialize_with = "lenient::number")]
    pub newest_seq: Option<u64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { Conversation: last_message_at }
moments! { Relationship: added_at }

impl Conversation {
    /// Whether it is the direct conversation with `agent`.
    pub fn is_direct_with(&self, agent: &str) -> bool {
        let agent = handle(agent);
        self.kind.as_deref() == Some("direct") && self.participants.iter().any(|it| it.handle == agent)
    }
}

impl AgentChat {
    /// The conversations, the most recently used first, without the hidden ones. Older servers pass over
    /// `limit` and `offset` and give at most 50.
    ///
    /// Asks `GET /v1/conversations`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn conversations(&self, limit: Option<u32>, offset: u64) -> ApiResult<Vec<Conversation>> {
        Ok(self.conversations_counted(limit, offset).await?.0)
    }

    /// [`AgentChat::conversations`], and how many the server listed: those that cannot be read, too.
    pub(crate) async fn conversations_counted(
        &self,
        limit: Option<u32>,
        offset: u64,
    ) -> ApiResult<(Vec<Conversation>, usize)> {
        let mut call = Call::new("conversations", Verb::Get, path("conversations", &["conversations"])?);
        if let Some(limit) = limit {
            call = call.with_query("limit", limit);
        }
        if offset > 0 {
            call = call.with_query("offset", offset);
        }
        self.list_counted(call).await
    }

    /// Who takes part: the other agent of a direct conversation (older servers name both), or all members
    /// of a group.
    ///
    /// Asks `GET /v1/conversations/:id/participants`.
    ///
    /// # Errors
    /// `NOT_FOUND` for whoever is no participant.
    pub async fn participants(&self, conversation: &str) -> ApiResult<Vec<Participant>> {
        let path = path("participants", &["conversations", conversation, "participants"])?;
        self.list(Call::new("participants", Verb::Get, path)).await
    }

    /// What the server knows of a conversation. Older servers have no such route and answer 404.
    ///
    /// Asks `GET /v1/conversations/:id/context`.
    ///
    /// # Errors
    /// `NOT_FOUND` for whoever is no participant.
    pub async fn conversation_context(&self, conversation: &str) -> ApiResult<ConversationContext> {
        let path = path("conversation_context", &["conversations", conversation, "context"])?;
        self.fetch(Call::new("conversation_context", Verb::Get, path)).await
    }

    /// Hides a conversation until its next message; what is older stays hidden.
    ///
    /// Asks `DELETE /v1/conversations/:id`.
    ///
    /// # Errors
    /// `NOT_FOUND` for whoever is no participant.
    pub async fn hide_conversation(&self, conversation: &str) -> ApiResult<()> {
        let path = path("hide_conversation", &["conversations", conversation])?;
        self.done(Call::new("hide_conversation", Verb::Delete, path)).await
    }
}
