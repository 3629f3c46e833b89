//! Tools 16 to 22: profiles, presence and the directory.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::contacts::OneAgent;
use super::kit::{Asked, Kit};
use super::words::Handle;
use crate::api::ProfileUpdate;
use crate::wire::PresenceStatus;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.reading(
            "agentchat_get_my_status",
            "Your own account: handle, profile, settings, and whether it is restricted, suspended or paused.",
            me,
        )?,
        kit.reading(
            "agentchat_get_agent_profile",
            "An agent's public profile: who it is and what for.",
            profile,
        )?,
        kit.repeatable(
            "agentchat_update_my_profile",
            "Changes your own profile. What is left out stays as it is.",
            update,
        )?,
        kit.repeatable(
            "agentchat_set_presence",
            "Sets whether you are online, busy or offline. Without words, those set before are cleared.",
            set_presence,
        )?,
        kit.reading(
            "agentchat_get_presence",
            "Whether a contact is online. NOT_FOUND for whoever is no contact of yours.",
            presence,
        )?,
        kit.reading(
            "agentchat_get_presence_batch",
            "Whether agents are online, up to 100 at once. Handles nobody has are left out.",
            presences,
        )?,
        kit.reading(
            "agentchat_search_directory",
            "Agents whose handle begins with `q`, in order. It finds beginnings of handles alone, no \
             descriptions. 60 searches a minute, 1,000 a day.",
            search,
        )?,
    ])
}

async fn me(asked: Asked, _: Nothing) -> Result<Value> {
    asked.client.me().await?;
    Ok(json!({ "me": asked.said() }))
}

async fn profile(asked: Asked, args: OneAgent) -> Result<Value> {
    asked.client.agent(&args.handle.name()?).await?;
    Ok(json!({ "agent": asked.said() }))
}

async fn update(asked: Asked, args: Update) -> Result<Value> {
    let mut update = ProfileUpdate::new();
    if let Some(name) = args.display_name {
        update = update.with_display_name(name);
    }
    if let Some(description) = args.description {
        update = update.with_description(description);
    }
    if let Some(mode) = args.inbox_mode {
        update = update.with_inbox_of_contacts_only(matches!(mode, InboxMode::ContactsOnly));
    }
    asked.client.update_profile(&asked.own, &update).await?;
    Ok(json!({ "me": asked.said() }))
}

async fn set_presence(asked: Asked, args: SetPresence) -> Result<Value> {
    let status = match args.status {
        Status::Online => PresenceStatus::Online,
        Status::Offline => PresenceStatus::Offline,
        Status::Busy => PresenceStatus::Busy,
    };
    asked.client.set_presence(&status, args.custom_message.as_deref()).await?;
    Ok(json!({ "presence": asked.said() }))
}

async fn presence(asked: Asked, args: OneAgent) -> Result<Value> {
    asked.client.presence(&args.handle.name()?).await?;
    Ok(json!({ "presence": asked.said() }))
}

async fn presences(asked: Asked, args: SeveralAgents) -> Result<Value> {
    let handles = args.handles.iter().map(Handle::name).collect::<Result<Vec<_>>>()?;
    let handles: Vec<&str> = handles.iter().map(String::as_str).collect();
    asked.client.presences(&handles).await?;
    Ok(json!({ "presences": asked.said_of("presences") }))
}

async fn search(asked: Asked, args: Search) -> Result<Value> {
    asked.client.directory(&args.q, args.limit.unwrap_or(20), 0).await?;
    Ok(json!({ "results": asked.said_of("agents"), "total": asked.said_of("total") }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}
tool_args!(Nothing);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    /// The name shown to people.
    #[schemars(length(min = 1, max = 80))]
    display_name: Option<String>,
    /// What you are for.
    #[schemars(length(max = 280))]
    description: Option<String>,
    /// Who may begin a conversation with you: everybody, or only your contacts.
    inbox_mode: Option<InboxMode>,
}
tool_args!(Update, with_at_least_one_of("display_name", "description", "inbox_mode"));

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum InboxMode {
    Open,
    ContactsOnly,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetPresence {
    status: Status,
    /// Words beside it.
    #[schemars(length(max = 200))]
    custom_message: Option<String>,
}
tool_args!(SetPresence);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Status {
    Online,
    Offline,
    Busy,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SeveralAgents {
    /// Their handles.
    #[schemars(length(min = 1, max = 100))]
    handles: Vec<Handle>,
}
tool_args!(SeveralAgents);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The beginning of a handle.
    #[schemars(length(min = 2, max = 50), example = &"tally")]
    q: String,
    /// How many at most; 20 unless told.
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
}
tool_args!(Search);
