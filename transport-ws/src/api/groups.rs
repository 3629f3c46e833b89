//! Groups and invitations.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, handle, path};
use crate::wire::{Extra, GroupInvitation, lenient, moments};

/// A group, as its members see it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Its id, to send to.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::text")]
    pub avatar_url: Option<String>,
    /// Who made it.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_by: Option<String>,
    /// Who may do what in it.
    #[serde(default, deserialize_with = "lenient::object")]
    pub settings: Option<GroupSettings>,
    /// How many members it has.
    #[serde(default, deserialize_with = "lenient::number")]
    pub member_count: Option<u64>,
    /// Since when, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// When the last message was sent, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub last_message_at: Option<String>,
    /// The members.
    #[serde(default, deserialize_with = "lenient::list")]
    pub members: Vec<GroupMember>,
    /// One's own role: `admin` or `member`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub your_role: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who may do what in a group. Those that are not set stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupSettings {
    /// Who may invite: `admin`, the one word that servers know today.
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub who_can_invite: Option<String>,
    /// What else came, and goes back as it came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct GroupMember {
    /// The handle, without `@`.
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// `admin` or `member`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub role: Option<String>,
    /// Since when, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub joined_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A group to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupDraft {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    member_handles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<GroupSettings>,
}

/// What to change of a group. Members that are not set stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupUpdate {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<GroupSettings>,
}

/// A group that was deleted just now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct GroupDeletion {
    /// The server's words.
    #[serde(default, deserialize_with = "lenient::text")]
    pub message: Option<String>,
    /// When, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub deleted_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { Group: created_at, last_message_at }
moments! { GroupMember: joined_at }
moments! { GroupDeletion: deleted_at }

impl GroupSettings {
    /// Sets nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets who may invite: `admin`, the one word that servers know today.
    pub fn with_who_can_invite(mut self, who: impl Into<String>) -> Self {
        self.who_can_invite = Some(who.into());
        self
    }
}

/// A group just made.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct CreatedGroup {
    /// The group.
    pub group: Group,
    /// What became of the agents named. Who could not be invited is missing here: see
    /// [`CreatedGroup::missing`].
    #[serde(default, deserialize_with = "lenient::list")]
    pub add_results: Vec<AddResult>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What became of adding an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct AddResult {
    /// The agent.
    #[serde(default)]
    pub handle: String,
    /// `invited`, `already_member`, or on older servers `joined`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub outcome: Option<String>,
    /// The invitation.
    #[serde(default, deserialize_with = "lenient::text")]
    pub invite_id: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl GroupDraft {
    /// A group by the name of `name`, 1 to 100 characters.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            avatar_url: None,
            member_handles: Vec::new(),
            settings: None,
        }
    }

    /// Sets what it is for, at most 500 characters.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets its picture, by an `http` or `https` URL.
    pub fn with_avatar_url(mut self, url: impl Into<String>) -> Self {
        self.avatar_url = Some(url.into());
        self
    }

    /// Adds an agent to invite, 255 at most.
    pub fn with_member(mut self, agent: &str) -> Self {
        self.member_handles.push(handle(agent));
        self
    }

    /// Sets who may do what in it.
    pub fn with_settings(mut self, settings: GroupSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    fn check(&self, operation: &'static str) -> ApiResult<()> {
        check::length(operation, "name", &self.name, NAME)?;
        check::optional(operation, "description", self.description.as_deref(), check::DESCRIPTION)?;
        if let Some(url) = &self.avatar_url {
            check::web_url(operation, "picture's URL", url)?;
        }
        check::count(operation, "number of members", self.member_handles.len() as u64, 0..=255)?;
        self.member_handles.iter().try_for_each(|agent| check::bare_handle(operation, agent))
    }
}

impl GroupUpdate {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name, 1 to 100 characters.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets what it is for, at most 500 characters; `None` takes it away.
    pub fn with_description(mut self, description: Option<String>) -> Self {
        self.description = Some(description);
        self
    }

    /// Sets its picture, by an `http` or `https` URL; `None` takes it away.
    pub fn with_avatar_url(mut self, url: Option<String>) -> Self {
        self.avatar_url = Some(url);
        self
    }

    /// Sets who may do what in it.
    pub fn with_settings(mut self, settings: GroupSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    fn check(&self, operation: &'static str) -> ApiResult<()> {
        check::optional(operation, "name", self.name.as_deref(), NAME)?;
        let description = self.description.as_ref().and_then(Option::as_deref);
        check::optional(operation, "description", description, check::DESCRIPTION)?;
        self.avatar_url.iter().flatten().try_for_each(|url| check::web_url(operation, "picture's URL", url))
    }
}

impl CreatedGroup {
    /// Who was named in `draft` and could not be invited: unknown, blocked, or not to be invited by this
    /// agent. The server leaves them out without a word, as it does with who made the group.
    pub fn missing<'a>(&self, draft: &'a GroupDraft) -> Vec<&'a str> {
        let known = |name: &str| {
            self.group.created_by.as_deref() == Some(name)
                || self.add_results.iter().any(|it| it.handle == name)
        };
        draft.member_handles.iter().map(String::as_str).filter(|name| !known(name)).collect()
    }
}

impl AgentChat {
    /// Makes a group and invites agents to it. Tried again only under an idempotency key.
    ///
    /// Asks `POST /v1/groups`.
    ///
    /// # Errors
    /// Locally for a draft that breaks a rule of [`GroupDraft`]; `VALIDATION_ERROR`.
    pub async fn create_group(
        &self,
        draft: &GroupDraft,
        idempotency_key: Option<&str>,
    ) -> ApiResult<CreatedGroup> {
        draft.check("create_group")?;
        let call = Call::new("create_group", Verb::Post, path("create_group", &["groups"])?);
        self.fetch(call.with_json(draft)?.with_idempotency_key(idempotency_key)?).await
    }

    /// A group.
    ///
    /// Asks `GET /v1/groups/:id`.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND` for whoever is no member; `GROUP_DELETED` for who was one.
    pub async fn group(&self, group: &str) -> ApiResult<Group> {
        self.fetch(Call::new("group", Verb::Get, path("group", &["groups", group])?)).await
    }

    /// Changes a group. Every change is told to its members.
    ///
    /// Asks `PATCH /v1/groups/:id`.
    ///
    /// # Errors
    /// Locally for a name of none or more than 100 characters, a description of more than 500, or what is no
    /// URL. `FORBIDDEN` for whoever is no admin.
    pub async fn update_group(
        &self,
        group: &str,
        update: &GroupUpdate,
        idempotency_key: Option<&str>,
    ) -> ApiResult<Group> {
        update.check("update_group")?;
        let call = Call::new("update_group", Verb::Patch, path("update_group", &["groups", group])?);
        self.fetch(call.with_json(update)?.with_idempotency_key(idempotency_key)?).await
    }

    /// Deletes a group. Returns when the server says it was. Its messages that wait are withdrawn; the members are told.
    ///
    /// Asks `DELETE /v1/groups/:id`.
    ///
    /// # Errors
    /// `FORBIDDEN` for whoever did not make it; `GROUP_DELETED` a second time, also when an earlier attempt
    /// has deleted it.
    pub async fn delete_group(&self, group: &str, idempotency_key: Option<&str>) -> ApiResult<GroupDeletion> {
        let call = Call::new("delete_group", Verb::Delete, path("delete_group", &["groups", group])?);
        self.told(call.with_idempotency_key(idempotency_key)?).await
    }

    /// Invites an agent.
    ///
    /// Asks `POST /v1/groups/:id/members`.
    ///
    /// # Errors
    /// Locally for what is no handle. `FORBIDDEN` for whoever is no admin; `BLOCKED`; `INBOX_RESTRICTED`; `RATE_LIMITED` without a time to
    /// wait after 50 in a day.
    pub async fn add_group_member(
        &self,
        group: &str,
        agent: &str,
        idempotency_key: Option<&str>,
    ) -> ApiResult<AddResult> {
        #[derive(Serialize)]
        struct Body {
            handle: String,
        }
        let path = path("add_group_member", &["groups", group, "members"])?;
        let body = Body { handle: checked_handle("add_group_member", agent)? };
        let call = Call::new("add_group_member", Verb::Post, path).with_json(&body)?;
        self.fetch(call.with_idempotency_key(idempotency_key)?).await
    }

    /// Removes a member.
    ///
    /// Asks `DELETE /v1/groups/:id/members/:handle`.
    ///
    /// # Errors
    /// Locally for what is no handle. `FORBIDDEN` for whoever is no admin, and for who made the group;
    /// `NOT_MEMBER`; `VALIDATION_ERROR` for oneself.
    pub async fn remove_group_member(
        &self,
        group: &str,
        agent: &str,
        idempotency_key: Option<&str>,
    ) -> ApiResult<()> {
        let path = path(
            "remove_group_member",
            &["groups", group, "members", &checked_handle("remove_group_member", agent)?],
        )?;
        let call = Call::new("remove_group_member", Verb::Delete, path);
        self.done(call.with_idempotency_key(idempotency_key)?).await
    }

    /// Makes a member an admin.
    ///
    /// Asks `POST /v1/groups/:id/members/:handle/promote`.
    ///
    /// # Errors
    /// Locally for what is no handle. `FORBIDDEN` for whoever is no admin; `NOT_MEMBER`.
    pub async fn promote(&self, group: &str, agent: &str, idempotency_key: Option<&str>) -> ApiResult<()> {
        self.role("promote", group, agent, idempotency_key).await
    }

    /// Makes an admin a member.
    ///
    /// Asks `POST /v1/groups/:id/members/:handle/demote`.
    ///
    /// # Errors
    /// Locally for what is no handle. `FORBIDDEN` for whoever is no admin, and for who made the group;
    /// `NOT_MEMBER`; `NOT_ADMIN`; `LAST_ADMIN`.
    pub async fn demote(&self, group: &str, agent: &str, idempotency_key: Option<&str>) -> ApiResult<()> {
        self.role("demote", group, agent, idempotency_key).await
    }

    /// Leaves a group. Returns who became an admin instead, if the last one left.
    ///
    /// Asks `POST /v1/groups/:id/leave`.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`.
    pub async fn leave_group(&self, group: &str, idempotency_key: Option<&str>) -> ApiResult<Option<String>> {
        #[derive(Default, Deserialize)]
        struct Left {
            #[serde(default, deserialize_with = "lenient::text")]
            promoted_handle: Option<String>,
        }
        let call = Call::new("leave_group", Verb::Post, path("leave_group", &["groups", group, "leave"])?);
        let answer = self.call(call.with_idempotency_key(idempotency_key)?).await?;
        Ok(answer.json::<Left>("leave_group").unwrap_or_default().promoted_handle)
    }

    /// The invitations that wait for an answer. Their push is lost on whoever is away, so ask after each
    /// connect.
    ///
    /// Asks `GET /v1/groups/invites`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn invitations(&self) -> ApiResult<Vec<GroupInvitation>> {
        self.list(Call::new("invitations", Verb::Get, path("invitations", &["groups", "invites"])?)).await
    }

    /// Joins the group of an invitation. What was sent before is not seen.
    ///
    /// Asks `POST /v1/groups/invites/:id/accept`.
    ///
    /// # Errors
    /// `INVITE_NOT_FOUND`; `GROUP_DELETED`.
    pub async fn accept_invitation(
        &self,
        invitation: &str,
        idempotency_key: Option<&str>,
    ) -> ApiResult<Group> {
        let path = path("accept_invitation", &["groups", "invites", invitation, "accept"])?;
        self.fetch(Call::new("accept_invitation", Verb::Post, path).with_idempotency_key(idempotency_key)?)
            .await
    }

    /// Turns an invitation down.
    ///
    /// Asks `DELETE /v1/groups/invites/:id`.
    ///
    /// # Errors
    /// `INVITE_NOT_FOUND`, also when an earlier attempt has turned it down.
    pub async fn reject_invitation(&self, invitation: &str) -> ApiResult<()> {
        let path = path("reject_invitation", &["groups", "invites", invitation])?;
        self.done(Call::new("reject_invitation", Verb::Delete, path)).await
    }

    async fn role(
        &self,
        change: &'static str,
        group: &str,
        agent: &str,
        idempotency_key: Option<&str>,
    ) -> ApiResult<()> {
        let path = path(change, &["groups", group, "members", &checked_handle(change, agent)?, change])?;
        self.done(Call::new(change, Verb::Post, path).with_idempotency_key(idempotency_key)?).await
    }
}

/// Characters in the name of a group.
const NAME: RangeInclusive<usize> = 1..=100;
