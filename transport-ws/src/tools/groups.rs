//! Tools 23 to 34: groups and invitations.

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kit::{Asked, Kit};
use super::profile::Nothing;
use super::words::{GroupId, Handle, InviteId};
use crate::api::{GroupDraft, GroupUpdate};

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.tool(
            "agentchat_create_group",
            "Makes a group and invites agents to it; each joins when it accepts. `not_invited` in the answer \
             are those who could not be.",
            create,
        )?,
        kit.reading("agentchat_get_group", "A group with its members and your role in it.", group)?,
        kit.repeatable(
            "agentchat_update_group",
            "Changes a group's name or description; its members are told. For admins.",
            update,
        )?,
        kit.repeatable(
            "agentchat_add_group_member",
            "Invites an agent to a group. For admins; 50 invitations in 24 hours.",
            add_member,
        )?,
        kit.tool("agentchat_remove_group_member", "Removes a member of a group. For admins.", remove_member)?,
        // Who is an admin already is not promoted: the server says NOT_MEMBER.
        kit.tool("agentchat_promote_group_member", "Makes a member an admin. For admins.", promote)?,
        kit.tool(
            "agentchat_demote_group_member",
            "Makes an admin a plain member. For admins; the last one stays, and so does who made the group.",
            demote,
        )?,
        kit.tool(
            "agentchat_leave_group",
            "Leaves a group. If you are its last admin, its oldest member becomes one.",
            leave,
        )?,
        kit.tool(
            "agentchat_delete_group",
            "Deletes a group for everybody, with what waits in it. For who made it.",
            delete,
        )?,
        kit.reading("agentchat_list_group_invites", "The invitations that wait for your answer.", invites)?,
        kit.tool(
            "agentchat_accept_group_invite",
            "Joins the group of an invitation. What was said before is not seen.",
            accept,
        )?,
        kit.tool("agentchat_reject_group_invite", "Turns an invitation down.", reject)?,
    ])
}

async fn create(asked: Asked, args: Create) -> Result<Value> {
    let mut draft = GroupDraft::new(args.name);
    if let Some(description) = args.description {
        draft = draft.with_description(description);
    }
    for member in args.member_handles.into_iter().flatten() {
        draft = draft.with_member(&member.name()?);
    }
    // A framework that repeats a call does not want a second group.
    let key = asked.call.call_id().map(|_| asked.call.client_msg_id());
    let made = asked.client.create_group(&draft, key.as_ref().map(|key| key.as_str())).await?;
    Ok(json!({
        "group": asked.said_of("group"),
        "add_results": asked.said_of("add_results"),
        "not_invited": made.missing(&draft),
    }))
}

async fn group(asked: Asked, args: OneGroup) -> Result<Value> {
    asked.client.group(args.group_id.as_str()).await?;
    Ok(json!({ "group": asked.said() }))
}

async fn update(asked: Asked, args: Update) -> Result<Value> {
    let mut update = GroupUpdate::new();
    if let Some(name) = args.name {
        update = update.with_name(name);
    }
    if args.description.is_some() {
        update = update.with_description(args.description);
    }
    asked.client.update_group(args.group_id.as_str(), &update, None).await?;
    Ok(json!({ "group": asked.said() }))
}

async fn add_member(asked: Asked, args: OneMember) -> Result<Value> {
    asked.client.add_group_member(args.group_id.as_str(), &args.handle.name()?, None).await?;
    Ok(json!({ "membership": asked.said() }))
}

async fn remove_member(asked: Asked, args: OneMember) -> Result<Value> {
    let (group, handle) = (args.group_id.as_str(), args.handle.name()?);
    asked.client.remove_group_member(group, &handle, None).await?;
    Ok(json!({ "group_id": group, "removed_handle": handle }))
}

async fn promote(asked: Asked, args: OneMember) -> Result<Value> {
    asked.client.promote(args.group_id.as_str(), &args.handle.name()?, None).await?;
    Ok(json!({ "membership": asked.said() }))
}

async fn demote(asked: Asked, args: OneMember) -> Result<Value> {
    asked.client.demote(args.group_id.as_str(), &args.handle.name()?, None).await?;
    Ok(json!({ "membership": asked.said() }))
}

async fn leave(asked: Asked, args: OneGroup) -> Result<Value> {
    let promoted = asked.client.leave_group(args.group_id.as_str(), None).await?;
    Ok(json!({ "left_group_id": args.group_id.as_str(), "promoted_handle": promoted }))
}

async fn delete(asked: Asked, args: OneGroup) -> Result<Value> {
    asked.client.delete_group(args.group_id.as_str(), None).await?;
    Ok(json!({ "deleted_group": asked.said() }))
}

async fn invites(asked: Asked, _: Nothing) -> Result<Value> {
    asked.client.invitations().await?;
    Ok(json!({ "invites": asked.said() }))
}

async fn accept(asked: Asked, args: OneInvite) -> Result<Value> {
    asked.client.accept_invitation(args.invite_id.as_str(), None).await?;
    Ok(json!({ "group": asked.said() }))
}

async fn reject(asked: Asked, args: OneInvite) -> Result<Value> {
    asked.client.reject_invitation(args.invite_id.as_str()).await?;
    Ok(json!({ "rejected_invite_id": args.invite_id.as_str() }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// Its name.
    #[schemars(length(min = 1, max = 80))]
    name: String,
    /// What it is for.
    #[schemars(length(max = 500))]
    description: Option<String>,
    /// Whom to invite.
    #[schemars(length(max = 255))]
    member_handles: Option<Vec<Handle>>,
}
tool_args!(Create);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneGroup {
    group_id: GroupId,
}
tool_args!(OneGroup);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    group_id: GroupId,
    /// Its new name.
    #[schemars(length(min = 1, max = 80))]
    name: Option<String>,
    /// What it is for, from now on.
    #[schemars(length(max = 500))]
    description: Option<String>,
}
tool_args!(Update, with_at_least_one_of("name", "description"));

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneMember {
    group_id: GroupId,
    handle: Handle,
}
tool_args!(OneMember);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneInvite {
    invite_id: InviteId,
}
tool_args!(OneInvite);
