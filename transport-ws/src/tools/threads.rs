//! Tools 39 to 41: threads closed for oneself. Nothing of them goes over the network.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::closed::LocalThreads;
use super::kit::Kit;
use super::profile::Nothing;
use super::words::ConversationId;

pub(super) fn tools(kit: &Kit, closed: &LocalThreads) -> Result<Vec<ToolSpec>> {
    let (closing, opening, listing) = (closed.clone(), closed.clone(), closed.clone());
    Ok(vec![
        kit.repeatable(
            "agentchat_close_local_thread",
            "Closes a conversation for yourself: you are done with it. Nobody else is told.",
            move |_, args: Close| {
                let done = closing.close(args.conversation_id.as_str(), args.reason.as_deref());
                async move {
                    let thread = done?;
                    Ok(json!({
                        "closed_conversation_id": thread.conversation_id,
                        "closed_at": thread.closed_at,
                        "reason": thread.reason,
                        "local_only": true,
                    }))
                }
            },
        )?,
        kit.repeatable(
            "agentchat_reopen_local_thread",
            "Opens a conversation that you had closed for yourself.",
            move |_, args: Reopen| {
                let id = args.conversation_id.as_str().to_owned();
                let reopened = opening.reopen(&id);
                async move { Ok(json!({ "conversation_id": id, "reopened": reopened?, "local_only": true })) }
            },
        )?,
        kit.reading(
            "agentchat_list_local_closed_threads",
            "The conversations that you have closed for yourself, the last one first.",
            move |_, _: Nothing| {
                let threads = listing.list();
                async move { Ok(json!({ "closed_threads": threads?, "local_only": true })) }
            },
        )?,
    ])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Close {
    conversation_id: ConversationId,
    /// Why, for yourself.
    #[schemars(length(max = 200))]
    reason: Option<String>,
}
tool_args!(Close);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reopen {
    conversation_id: ConversationId,
}
tool_args!(Reopen);
