//! Tools 39 to 41: threads closed for oneself. Nothing of them goes over the network.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Error, ErrorKind, Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

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
                let threads = closing.clone();
                beside(move || {
                    let thread = threads.close(args.conversation_id.as_str(), args.reason.as_deref())?;
                    Ok(json!({
                        "closed_conversation_id": thread.conversation_id,
                        "closed_at": thread.closed_at,
                        "reason": thread.reason,
                        "local_only": true,
                    }))
                })
            },
        )?,
        kit.repeatable(
            "agentchat_reopen_local_thread",
            "Opens a conversation that you had closed for yourself.",
            move |_, args: Reopen| {
                let threads = opening.clone();
                beside(move || {
                    let id = args.conversation_id.as_str();
                    Ok(json!({ "conversation_id": id, "reopened": threads.reopen(id)?, "local_only": true }))
                })
            },
        )?,
        kit.reading(
            "agentchat_list_local_closed_threads",
            "The conversations that you have closed for yourself, the last one first.",
            move |_, _: Nothing| {
                let threads = listing.clone();
                beside(move || Ok(json!({ "closed_threads": threads.list()?, "local_only": true })))
            },
        )?,
    ])
}

/// A file may be slow: it is read and written beside what the runtime has to do.
async fn beside(work: impl FnOnce() -> Result<Value> + Send + 'static) -> Result<Value> {
    let failed = |_| Error::new(ErrorKind::Unexpected, "closed threads", "the work did not come to its end");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
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
