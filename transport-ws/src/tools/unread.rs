//! Tools 42 and 43: what is unread, and what waits for an answer.

use std::collections::BTreeMap;

use agentchat_core::tools::ToolSpec;
use agentchat_core::{ErrorKind, Result, tool_args};
use futures_util::{StreamExt, TryStreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::conversations::Kind;
use super::kit::{Asked, Kit};
use crate::api::{Conversation, History, RowPage};
use crate::wire::MessageRow;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.reading(
            "agentchat_list_unread_by_sender",
            "Who has written what you have not read: for each sender how many messages, and where. It looks \
             at your newest conversations, and counts back from the newest message of each to the first that \
             is read or your own.",
            unread,
        )?,
        kit.reading(
            "agentchat_list_needs_reply_candidates",
            "Conversations whose last message is not yours. Not every one of them needs an answer.",
            needs_reply,
        )?,
    ])
}

/// The newest messages of a conversation, or why they may not be read.
type Looked = (Conversation, Result<RowPage>);

async fn unread(asked: Asked, args: Look) -> Result<Value> {
    let looked = look(&asked, args.kind, args.conversation_limit, args.messages_per_conversation).await?;
    let mut senders: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut messages = 0;
    for (conversation, page) in readable(&looked) {
        let mut here: BTreeMap<&str, (u64, Option<&str>)> = BTreeMap::new();
        for row in unread_run(page, &asked.own) {
            let (count, newest) = here.entry(row.sender().unwrap_or_default()).or_default();
            *count += 1;
            newest.get_or_insert(row.created_at().unwrap_or_default());
            messages += 1;
        }
        for (sender, (count, newest)) in here {
            senders.entry(sender.to_owned()).or_default().push(json!({
                "conversation_id": conversation.id,
                "kind": conversation.kind,
                "group_name": conversation.group_name,
                "unread_count": count,
                "newest_at": newest,
            }));
        }
    }
    let senders: Vec<Value> = senders
        .into_iter()
        .map(|(sender, conversations)| {
            let count: u64 = conversations.iter().filter_map(|it| it["unread_count"].as_u64()).sum();
            json!({ "sender": sender, "unread_count": count, "conversations": conversations })
        })
        .collect();
    Ok(json!({
        "sender_count": senders.len(),
        "senders": senders,
        "unread_count": messages,
        "conversations_looked_at": looked.len(),
        "not_readable": refused(&looked),
    }))
}

async fn needs_reply(asked: Asked, args: LookForReplies) -> Result<Value> {
    let looked = look(&asked, args.kind, args.conversation_limit, args.messages_per_conversation).await?;
    let only_unread = args.only_unread.unwrap_or(false);
    let mut found = Vec::new();
    for (conversation, page) in readable(&looked) {
        let Some(latest) = page.readable().find(|row| !row.is_system()) else { continue };
        let unread = unread_run(page, &asked.own).count();
        if is_own(latest, &asked.own) || (only_unread && unread == 0) {
            continue;
        }
        found.push(json!({
            "conversation_id": conversation.id,
            "kind": conversation.kind,
            "group_name": conversation.group_name,
            "from": latest.sender(),
            "message_id": latest.id(),
            "at": latest.created_at(),
            "preview": conversation.last_message_preview,
            "unread_count": unread,
        }));
    }
    Ok(json!({
        "count": found.len(),
        "conversations": found,
        "only_unread": only_unread,
        "conversations_looked_at": looked.len(),
        "not_readable": refused(&looked),
    }))
}

/// The newest conversations, each with its newest messages, in the order of the list.
async fn look(
    asked: &Asked,
    kind: Option<Kind>,
    conversations: Option<u32>,
    messages: Option<u32>,
) -> Result<Vec<Looked>> {
    let most = usize::try_from(conversations.unwrap_or(USUAL)).unwrap_or(usize::MAX);
    let rows = asked.client.conversations(None, 0).await?.into_iter();
    let wanted = |it: &Conversation| kind.is_none_or(|kind| it.kind.as_deref() == Some(kind.as_str()));
    let each = rows.filter(wanted).take(most).map(|conversation| {
        let client = asked.client.clone();
        async move {
            let limit = messages.unwrap_or(USUAL);
            match client.history_limited(&conversation.id, History::Newest, limit).await {
                // One that was left or deleted in between must not hide all others.
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => {
                    Err(agentchat_core::Error::from(error))
                }
                page => Ok((conversation, page.map_err(Into::into))),
            }
        }
    });
    stream::iter(each).buffered(AT_ONCE).try_collect().await
}

fn readable(looked: &[Looked]) -> impl Iterator<Item = (&Conversation, &RowPage)> {
    looked.iter().filter_map(|(conversation, page)| Some((conversation, page.as_ref().ok()?)))
}

fn refused(looked: &[Looked]) -> Vec<&str> {
    looked
        .iter()
        .filter(|(_, page)| page.is_err())
        .map(|(conversation, _)| conversation.id.as_str())
        .collect()
}

/// From the newest back to the first that is read or one's own. What the platform says counts for nothing.
fn unread_run<'a>(page: &'a RowPage, own: &'a str) -> impl Iterator<Item = &'a MessageRow> {
    let unread =
        move |row: &&MessageRow| !is_own(row, own) && row.status() != Some("read") && row.read_at().is_none();
    page.readable().filter(|row| !row.is_system()).take_while(unread)
}

pub(super) fn is_own(row: &MessageRow, own: &str) -> bool {
    row.sender().is_some_and(|sender| sender.trim_start_matches('@').eq_ignore_ascii_case(own))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Only direct conversations, or only groups.
    kind: Option<Kind>,
    /// How many conversations to look at; 20 unless told.
    #[schemars(range(min = 1, max = 100))]
    conversation_limit: Option<u32>,
    /// How many messages of each to look at; 20 unless told.
    #[schemars(range(min = 1, max = 100))]
    messages_per_conversation: Option<u32>,
}
tool_args!(Look);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LookForReplies {
    /// Only direct conversations, or only groups.
    kind: Option<Kind>,
    /// How many conversations to look at; 20 unless told.
    #[schemars(range(min = 1, max = 100))]
    conversation_limit: Option<u32>,
    /// How many messages of each to look at; 20 unless told.
    #[schemars(range(min = 1, max = 100))]
    messages_per_conversation: Option<u32>,
    /// Only conversations with something unread.
    only_unread: Option<bool>,
}
tool_args!(LookForReplies);

const USUAL: u32 = 20;
/// Requests under way together: below what a server would call many.
const AT_ONCE: usize = 4;
