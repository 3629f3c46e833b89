//! Tools 5 to 7: conversations.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kit::{Asked, Kit};
use super::words::ConversationId;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.reading(
            "agentchat_list_conversations",
            "Your conversations, the most recently used first, without hidden ones.",
            list,
        )?,
        kit.reading(
            "agentchat_get_conversation_participants",
            "Who takes part in a conversation.",
            participants,
        )?,
        kit.repeatable(
            "agentchat_hide_conversation",
            "Hides a conversation from your list until its next message comes.",
            hide,
        )?,
    ])
}

async fn list(asked: Asked, args: List) -> Result<Value> {
    asked.client.conversations(None, 0).await?;
    let Value::Array(mut rows) = asked.said() else { return Ok(json!({ "conversations": [], "count": 0 })) };
    let kind = args.kind.map(Kind::as_str);
    if let Some(kind) = kind {
        rows.retain(|row| row.get("type").and_then(Value::as_str) == Some(kind));
    }
    if let Some(limit) = args.limit {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(json!({ "count": rows.len(), "conversations": rows, "kind_filter": kind }))
}

async fn participants(asked: Asked, args: OneConversation) -> Result<Value> {
    asked.client.participants(args.conversation_id.as_str()).await?;
    Ok(json!({ "conversation_id": args.conversation_id.as_str(), "participants": asked.said() }))
}

async fn hide(asked: Asked, args: OneConversation) -> Result<Value> {
    asked.client.hide_conversation(args.conversation_id.as_str()).await?;
    Ok(json!({ "hidden_conversation_id": args.conversation_id.as_str() }))
}

/// Direct or with several.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Kind {
    Direct,
    Group,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Only direct conversations, or only groups.
    kind: Option<Kind>,
    /// How many at most.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}
tool_args!(List);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneConversation {
    conversation_id: ConversationId,
}
tool_args!(OneConversation);
