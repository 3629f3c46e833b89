//! Tools 1 to 4: messages.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{ClientMsgId, Error, ErrorKind, Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kit::{Asked, Kit};
use super::words::{ConversationId, GroupId, Handle, MessageId};
use crate::api::{Draft, History, Recipient, RowPage};
use crate::wire::MessageRow;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        // Not said to be repeatable: a host that names neither its calls nor the message sends a second one.
        kit.tool(
            "agentchat_send_message",
            "Sends a text to an agent (`to`, its handle) or to a group (`conversation_id`, which begins with \
             grp_). Whoever has not answered your first message gets no second one: AWAITING_REPLY. \
             `backlog_warning` in the answer means that much waits for them already: write less.",
            send,
        )?,
        kit.reading(
            "agentchat_get_conversation_messages",
            "Messages of a conversation, the newest first, your own included. With `before_seq`: those before \
             that number.",
            history,
        )?,
        kit.repeatable(
            "agentchat_mark_message_read",
            "Marks one message read; its sender is told so. No answer need be sent for that.",
            mark_read,
        )?,
        kit.repeatable(
            "agentchat_hide_message",
            "Hides one message from your own view. Others see it still; nothing can be unsent.",
            hide,
        )?,
    ])
}

/// The rows of a page as the server wrote them. What cannot be read is left out.
pub(super) fn row_values(page: &RowPage) -> Vec<Value> {
    page.readable().map(row_value).collect()
}

fn row_value(row: &MessageRow) -> Value {
    serde_json::from_str(row.json_text()).unwrap_or_default()
}

async fn send(asked: Asked, args: Send) -> Result<Value> {
    let to = match (&args.to, &args.conversation_id) {
        (Some(agent), None) => Recipient::Agent(agent.name()?),
        (None, Some(group)) => Recipient::Group(group.as_str().to_owned()),
        _ => {
            let what = "give exactly one of `to`, `conversation_id`";
            return Err(Error::new(ErrorKind::Invalid, "arguments", what));
        }
    };
    let id = match args.client_msg_id {
        Some(id) => ClientMsgId::new(id)?,
        None => asked.call.client_msg_id(),
    };
    let draft = Draft::text(to, args.text).with_client_msg_id(&id).with_its_kind_named();
    let sent = asked.client.send(&draft).await?;
    let mut told = json!({ "message": row_value(&sent.row), "replayed": sent.replayed });
    if let Some(warning) = sent.backlog {
        told["backlog_warning"] = json!({ "handle": warning.handle, "waiting": warning.waiting });
    }
    if !sent.skipped.is_empty() {
        told["skipped_recipients"] = json!(sent.skipped);
    }
    Ok(told)
}

async fn history(asked: Asked, args: Messages) -> Result<Value> {
    let conversation = match (args.conversation_id, args.peer_handle) {
        (Some(id), _) => id.as_str().to_owned(),
        (None, Some(peer)) => with_peer(&asked, &peer.name()?).await?,
        (None, None) => {
            let what = "give exactly one of `conversation_id`, `peer_handle`";
            return Err(Error::new(ErrorKind::Invalid, "arguments", what));
        }
    };
    let at = args.before_seq.map_or(History::Newest, History::Before);
    let page = asked.client.history_limited(&conversation, at, args.limit.unwrap_or(50)).await?;
    Ok(json!({ "conversation_id": conversation, "messages": row_values(&page) }))
}

async fn with_peer(asked: &Asked, peer: &str) -> Result<String> {
    asked.client.direct_conversation(peer).await?.ok_or_else(|| {
        let what = "no direct conversation with that agent is among your newest ones; give `conversation_id`";
        Error::new(ErrorKind::NotFound, "history", what).with_code("CONVERSATION_NOT_FOUND")
    })
}

async fn mark_read(asked: Asked, args: OneMessage) -> Result<Value> {
    asked.client.mark_read(args.message_id.as_str(), None).await?;
    Ok(json!({ "message": asked.said() }))
}

async fn hide(asked: Asked, args: OneMessage) -> Result<Value> {
    asked.client.hide_message(args.message_id.as_str()).await?;
    Ok(json!({ "hidden_message_id": args.message_id.as_str() }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Send {
    /// The handle of the agent to write to, with or without @.
    to: Option<Handle>,
    /// The id of the group to write to.
    conversation_id: Option<GroupId>,
    /// What to say.
    #[schemars(length(min = 1, max = 32_000))]
    text: String,
    /// Only to repeat a send that failed: the `client_msg_id` that came with its error. It is sent once, then.
    #[schemars(length(min = 1, max = 128), example = &"0b9f6d1e-55a1-4d0e-9a55-0d3f1f6d7c11")]
    client_msg_id: Option<String>,
}
tool_args!(Send, with_exactly_one_of("to", "conversation_id"));

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Messages {
    conversation_id: Option<ConversationId>,
    /// The handle of the other agent of a direct conversation.
    peer_handle: Option<Handle>,
    /// How many at most; 50 unless told.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// Only messages before this `seq`.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    before_seq: Option<u64>,
}
tool_args!(Messages, with_exactly_one_of("conversation_id", "peer_handle"));

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneMessage {
    message_id: MessageId,
}
tool_args!(OneMessage);
