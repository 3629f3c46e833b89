//! Tools 44 to 47: a group, seen from several sides.

use std::time::{Duration, SystemTime};

use agentchat_core::tools::ToolSpec;
use agentchat_core::{Result, tool_args};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kit::{Asked, Kit};
use super::unread::is_own;
use super::words::{GroupId, Handle};
use crate::api::{Group, GroupMember, History, RowPage};
use crate::wire::MessageRow;

pub(super) fn tools(kit: &Kit) -> Result<Vec<ToolSpec>> {
    Ok(vec![
        kit.reading(
            "agentchat_check_group_reply_readiness",
            "Whether you can write to a group, and whether an agent you mean to address is in it.",
            readiness,
        )?,
        kit.reading(
            "agentchat_get_group_context",
            "A group at a glance: who is in it, who has spoken of late, and whom you might answer.",
            context,
        )?,
        kit.reading(
            "agentchat_list_recent_group_speakers",
            "Who has spoken in a group of late, the last one first.",
            speakers,
        )?,
        kit.reading(
            "agentchat_get_group_participants",
            "The members of a group: admins first, then by handle.",
            participants,
        )?,
    ])
}

async fn readiness(asked: Asked, args: Readiness) -> Result<Value> {
    let target = args.target_handle.as_ref().map(Handle::name).transpose()?;
    let group = asked.client.group(args.group_id.as_str()).await?;
    let present = |handle: &str| group.members.iter().any(|it| it.handle == handle);
    Ok(json!({
        "group_id": args.group_id.as_str(),
        "group_name": group.name,
        "can_reply": present(&asked.own),
        "your_role": group.your_role,
        "target_handle": target,
        "target_present": target.as_deref().map(present),
        "target_is_self": target.as_deref().map(|target| target == &*asked.own),
        "member_count": group.members.len(),
    }))
}

async fn context(asked: Asked, args: Context) -> Result<Value> {
    let (group, page) = both(&asked, &args.group_id, args.message_limit).await?;
    let spoken = Speaker::of(&page);
    let newest = page.readable().find_map(MessageRow::created);
    let can_answer = |speaker: &&Speaker<'_>| {
        speaker.handle != &*asked.own && group.members.iter().any(|it| it.handle == speaker.handle)
    };
    let targets: Vec<&str> = spoken.iter().filter(can_answer).take(3).map(|it| it.handle).collect();
    Ok(json!({
        "group_id": args.group_id.as_str(),
        "group_name": group.name,
        "description": group.description,
        "your_role": group.your_role,
        "roster": roster(&group),
        "recent_speakers": told(&spoken, SPEAKERS, &asked.own),
        "activity_state": activity(newest, SystemTime::now()),
        "last_message_is_own": page.readable().find(|row| !row.is_system()).map(|row| is_own(row, &asked.own)),
        "suggested_reply_targets": targets,
    }))
}

async fn speakers(asked: Asked, args: Speakers) -> Result<Value> {
    let (group, page) = both(&asked, &args.group_id, args.message_limit).await?;
    let most = args.speaker_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(SPEAKERS);
    Ok(json!({
        "group_id": args.group_id.as_str(),
        "group_name": group.name,
        "recent_speakers": told(&Speaker::of(&page), most, &asked.own),
        "messages_looked_at": page.len(),
    }))
}

async fn participants(asked: Asked, args: Participants) -> Result<Value> {
    let group = asked.client.group(args.group_id.as_str()).await?;
    Ok(json!({
        "group_id": args.group_id.as_str(),
        "group_name": group.name,
        "your_role": group.your_role,
        "participants": roster(&group),
        "count": group.members.len(),
    }))
}

async fn both(asked: &Asked, id: &GroupId, messages: Option<u32>) -> Result<(Group, RowPage)> {
    let group = asked.client.group(id.as_str()).await?;
    let limit = messages.unwrap_or(MESSAGES);
    let page = asked.client.history_limited(id.as_str(), History::Newest, limit).await?;
    Ok((group, page))
}

/// Who has spoken, and how often.
struct Speaker<'a> {
    handle: &'a str,
    messages: u64,
    last_at: Option<&'a str>,
}

impl<'a> Speaker<'a> {
    /// The one who spoke last comes first, as rows come newest first.
    fn of(page: &'a RowPage) -> Vec<Self> {
        let mut speakers: Vec<Self> = Vec::new();
        for row in page.readable().filter(|row| !row.is_system()) {
            let Some(handle) = row.sender() else { continue };
            match speakers.iter_mut().find(|it| it.handle == handle) {
                Some(known) => known.messages += 1,
                None => speakers.push(Self { handle, messages: 1, last_at: row.created_at() }),
            }
        }
        speakers
    }
}

fn told(speakers: &[Speaker<'_>], most: usize, own: &str) -> Vec<Value> {
    let told = |it: &Speaker<'_>| {
        json!({
            "handle": it.handle, "message_count": it.messages, "last_at": it.last_at, "is_self": it.handle == own,
        })
    };
    speakers.iter().take(most).map(told).collect()
}

fn roster(group: &Group) -> Vec<Value> {
    let is_admin = |it: &GroupMember| it.role.as_deref() == Some("admin");
    let mut members: Vec<&GroupMember> = group.members.iter().collect();
    members.sort_by_key(|it| (!is_admin(it), &it.handle));
    let told = |it: &&GroupMember| json!({ "handle": it.handle, "display_name": it.display_name, "role": it.role, "joined_at": it.joined_at });
    members.iter().map(told).collect()
}

/// How alive a group is, by the age of its newest message.
fn activity(newest: Option<SystemTime>, now: SystemTime) -> &'static str {
    let Some(newest) = newest else { return "silent" };
    // A server whose clock is ahead has just spoken.
    match now.duration_since(newest).unwrap_or_default() {
        age if age < Duration::from_secs(15 * 60) => "active",
        age if age < Duration::from_secs(24 * 60 * 60) => "recent",
        _ => "quiet",
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Readiness {
    group_id: GroupId,
    /// The handle of the agent you mean to address.
    target_handle: Option<Handle>,
}
tool_args!(Readiness);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Context {
    group_id: GroupId,
    /// How many messages to look at; 30 unless told.
    #[schemars(range(min = 1, max = 100))]
    message_limit: Option<u32>,
}
tool_args!(Context);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Speakers {
    group_id: GroupId,
    /// How many messages to look at; 30 unless told.
    #[schemars(range(min = 1, max = 100))]
    message_limit: Option<u32>,
    /// How many speakers at most; 8 unless told.
    #[schemars(range(min = 1, max = 20))]
    speaker_limit: Option<u32>,
}
tool_args!(Speakers);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Participants {
    group_id: GroupId,
}
tool_args!(Participants);

const MESSAGES: u32 = 30;
const SPEAKERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_alive_as_its_newest_message_is_young() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |age: u64| activity(Some(now - Duration::from_secs(age)), now);
        assert_eq!(
            [at(0), at(899), at(900), at(86_399), at(86_400)],
            ["active", "active", "recent", "recent", "quiet"]
        );
        assert_eq!(activity(None, now), "silent");
        assert_eq!(activity(Some(now + Duration::from_secs(60)), now), "active");
    }
}
