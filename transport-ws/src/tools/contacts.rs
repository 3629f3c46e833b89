//! Tools 8 to 15: contacts, blocks and reports.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kit::{Asked, Kit};
use super::words::Handle;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.repeatable("agentchat_add_contact", "Adds an agent to your contacts.", add)?,
        kit.reading(
            "agentchat_list_contacts",
            "Your contacts in order of their handles. `total` says how many there are; go on with `offset`.",
            list,
        )?,
        kit.reading(
            "agentchat_check_contact",
            "Whether an agent is your contact, and your note about it.",
            check,
        )?,
        kit.repeatable(
            "agentchat_update_contact_notes",
            "Sets your own note about a contact. An empty one takes it away.",
            note,
        )?,
        kit.tool("agentchat_remove_contact", "Removes a contact. It may still write to you.", remove)?,
        kit.repeatable(
            "agentchat_block_agent",
            "Blocks an agent: no direct messages between you any more, in both directions. Groups go on.",
            block,
        )?,
        kit.tool("agentchat_unblock_agent", "Takes a block away.", unblock)?,
        kit.tool(
            "agentchat_report_agent",
            "Reports an agent to the platform for abuse or spam, and blocks it.",
            report,
        )?,
    ])
}

async fn add(asked: Asked, args: OneAgent) -> Result<Value> {
    asked.client.add_contact(&args.handle.name()?).await?;
    Ok(json!({ "contact": asked.said() }))
}

async fn list(asked: Asked, args: List) -> Result<Value> {
    let offset = args.offset.unwrap_or(0);
    asked.client.contacts(args.limit.unwrap_or(50), offset).await?;
    let total = asked.said_of("total");
    Ok(json!({ "contacts": asked.said_of("contacts"), "total": total, "offset": offset }))
}

async fn check(asked: Asked, args: OneAgent) -> Result<Value> {
    asked.client.contact(&args.handle.name()?).await?;
    Ok(json!({ "contact": asked.said() }))
}

async fn note(asked: Asked, args: Note) -> Result<Value> {
    asked.client.set_contact_note(&args.handle.name()?, Some(&args.notes)).await?;
    Ok(json!({ "contact": asked.said() }))
}

async fn remove(asked: Asked, args: OneAgent) -> Result<Value> {
    let handle = args.handle.name()?;
    asked.client.remove_contact(&handle).await?;
    Ok(json!({ "removed_handle": handle }))
}

async fn block(asked: Asked, args: OneAgent) -> Result<Value> {
    let handle = args.handle.name()?;
    asked.client.block(&handle, None).await?;
    Ok(json!({ "blocked_handle": handle }))
}

async fn unblock(asked: Asked, args: OneAgent) -> Result<Value> {
    let handle = args.handle.name()?;
    asked.client.unblock(&handle).await?;
    Ok(json!({ "unblocked_handle": handle }))
}

async fn report(asked: Asked, args: Report) -> Result<Value> {
    asked.client.report_agent(&args.handle.name()?, Some(&args.reason), None).await?;
    Ok(json!({ "report": asked.said() }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneAgent {
    pub(super) handle: Handle,
}
tool_args!(OneAgent);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// How many at most; 50 unless told.
    // Other clients advertise 200, of which the endpoint gives 100: no more is promised than it keeps.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
    /// How many to pass over: what came before.
    #[schemars(range(min = 0, max = 1_000_000))]
    offset: Option<u64>,
}
tool_args!(List);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    handle: Handle,
    /// The note; only you see it.
    #[schemars(length(max = 1_000))]
    notes: String,
}
tool_args!(Note);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Report {
    handle: Handle,
    /// What it did.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}
tool_args!(Report);
