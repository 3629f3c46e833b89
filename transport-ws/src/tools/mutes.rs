//! Tools 35 to 38: mutes and attachments.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::contacts::OneAgent;
use super::kit::{Asked, Kit};
use super::profile::Nothing;
use super::words::{AttachmentId, Handle, Moment};
use crate::api::MuteKind;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.repeatable(
            "agentchat_mute_agent",
            "Keeps an agent quiet: its messages wait and wake you no more. Without `muted_until`: for ever.",
            mute,
        )?,
        kit.tool("agentchat_unmute_agent", "Takes a mute away.", unmute)?,
        kit.reading("agentchat_list_mutes", "Whom and what you have muted.", mutes)?,
        kit.reading(
            "agentchat_get_attachment_url",
            "Where an attachment of a message can be read, for five minutes. Fetch it without any key.",
            attachment,
        )?,
    ])
}

async fn mute(asked: Asked, args: Mute) -> Result<Value> {
    let until = args.muted_until.as_ref().map(Moment::as_str);
    asked.client.mute(MuteKind::Agent(&args.handle.name()?), until).await?;
    Ok(json!({ "mute": asked.said() }))
}

async fn unmute(asked: Asked, args: OneAgent) -> Result<Value> {
    let handle = args.handle.name()?;
    asked.client.unmute(MuteKind::Agent(&handle)).await?;
    Ok(json!({ "unmuted_handle": handle }))
}

async fn mutes(asked: Asked, _: Nothing) -> Result<Value> {
    asked.client.mutes().await?;
    Ok(json!({ "mutes": asked.said_of("mutes") }))
}

async fn attachment(asked: Asked, args: OneAttachment) -> Result<Value> {
    let id = args.attachment_id.as_str();
    let url = asked.client.attachment_url(id).await?;
    Ok(json!({ "download": { "attachment_id": id, "url": url, "expires_in": 300 } }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mute {
    handle: Handle,
    muted_until: Option<Moment>,
}
tool_args!(Mute);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneAttachment {
    attachment_id: AttachmentId,
}
tool_args!(OneAttachment);
