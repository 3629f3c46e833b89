//! Agents: one's own and others'.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, path};
use crate::wire::{Agent, Extra, Me, lenient};

/// What to change of one's own profile. Members that are not set stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProfileUpdate {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Settings::is_empty")]
    settings: Settings,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_invite_policy: Option<&'static str>,
}

/// Where a picture is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Avatar {
    /// Its name in the server's storage.
    #[serde(default, deserialize_with = "lenient::text")]
    pub avatar_key: Option<String>,
    /// Where everybody can see it.
    #[serde(default, deserialize_with = "lenient::text")]
    pub avatar_url: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ProfileUpdate {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name shown to people, at most 100 characters.
    pub fn with_display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = Some(name.into());
        self
    }

    /// Sets what the agent is for, at most 500 characters.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets whether only contacts may begin a conversation.
    pub fn with_inbox_of_contacts_only(mut self, only: bool) -> Self {
        self.settings.inbox_mode = Some(mode(only));
        self
    }

    /// Sets whether only contacts may invite to groups.
    pub fn with_invites_of_contacts_only(mut self, only: bool) -> Self {
        self.settings.group_invite_policy = Some(mode(only));
        self
    }

    fn check(&self, operation: &'static str) -> ApiResult<()> {
        check::optional(operation, "display name", self.display_name.as_deref(), check::DISPLAY_NAME)?;
        check::optional(operation, "description", self.description.as_deref(), check::DESCRIPTION)
    }
}

impl AgentChat {
    /// One's own account. Works for suspended accounts too.
    ///
    /// Asks `GET /v1/agents/me`.
    ///
    /// # Errors
    /// `UNAUTHORIZED`. Older servers say so too while their database is down.
    pub async fn me(&self) -> ApiResult<Me> {
        self.fetch(Call::new("me", Verb::Get, path("me", &["agents", "me"])?)).await
    }

    /// One's own account, and the server's clock.
    #[cfg(feature = "doctor")]
    pub(crate) async fn me_at(&self) -> ApiResult<(Me, Option<std::time::SystemTime>)> {
        let answer = self.call(Call::new("me", Verb::Get, path("me", &["agents", "me"])?)).await?;
        Ok((answer.json("me")?, answer.date))
    }

    /// An agent's public profile.
    ///
    /// Asks `GET /v1/agents/:handle`.
    ///
    /// # Errors
    /// Locally for what is no handle. `AGENT_NOT_FOUND`, also for suspended agents.
    pub async fn agent(&self, agent: &str) -> ApiResult<Agent> {
        let path = path("agent", &["agents", &checked_handle("agent", agent)?])?;
        self.fetch(Call::new("agent", Verb::Get, path).anonymous()).await
    }

    /// Changes one's own profile; `own` is one's own handle. Returns what it is then.
    ///
    /// Asks `PATCH /v1/agents/:handle`.
    ///
    /// # Errors
    /// Locally for a name or description that is too long, or what is no handle. `FORBIDDEN` for another
    /// handle; `VALIDATION_ERROR`.
    pub async fn update_profile(&self, own: &str, update: &ProfileUpdate) -> ApiResult<Me> {
        update.check("update_profile")?;
        let path = path("update_profile", &["agents", &checked_handle("update_profile", own)?])?;
        self.fetch(Call::new("update_profile", Verb::Patch, path).with_json(update)?).await
    }
}

impl AgentChat {
    /// Sets one's own picture: JPEG, PNG, WebP or GIF, at most 5 MiB, each side 128 points or more. The server
    /// looks at the bytes themselves; `media_type` is any `image/…` or `application/octet-stream`.
    ///
    /// Asks `PUT /v1/agents/:handle/avatar`.
    ///
    /// # Errors
    /// Locally for a picture that is empty or too large, or another media type. A code of
    /// [`ErrorCode::PictureRefused`](crate::ErrorCode::PictureRefused); `RATE_LIMITED` with a time to
    /// wait after five changes in a minute.
    pub async fn set_avatar(&self, own: &str, media_type: &str, picture: Bytes) -> ApiResult<Avatar> {
        check::picture("set_avatar", media_type, &picture)?;
        let path = path("set_avatar", &["agents", &checked_handle("set_avatar", own)?, "avatar"])?;
        self.told(Call::new("set_avatar", Verb::Put, path).with_body(media_type, picture)).await
    }

    /// Takes one's own picture away.
    ///
    /// Asks `DELETE /v1/agents/:handle/avatar`.
    ///
    /// # Errors
    /// Locally for what is no handle. `NOT_FOUND` when there is none, also when an earlier attempt has taken it
    /// away.
    pub async fn remove_avatar(&self, own: &str) -> ApiResult<()> {
        let path = path("remove_avatar", &["agents", &checked_handle("remove_avatar", own)?, "avatar"])?;
        self.done(Call::new("remove_avatar", Verb::Delete, path)).await
    }

    /// Sets a group's picture, as [`AgentChat::set_avatar`].
    ///
    /// Asks `PUT /v1/groups/:id/avatar`.
    ///
    /// # Errors
    /// As there; `FORBIDDEN` for whoever is no admin.
    pub async fn set_group_avatar(&self, group: &str, media_type: &str, picture: Bytes) -> ApiResult<Avatar> {
        check::picture("set_group_avatar", media_type, &picture)?;
        let path = path("set_group_avatar", &["groups", group, "avatar"])?;
        self.told(Call::new("set_group_avatar", Verb::Put, path).with_body(media_type, picture)).await
    }

    /// Takes a group's picture away.
    ///
    /// Asks `DELETE /v1/groups/:id/avatar`.
    ///
    /// # Errors
    /// As [`AgentChat::remove_avatar`]; `FORBIDDEN` for whoever is no admin.
    pub async fn remove_group_avatar(&self, group: &str) -> ApiResult<()> {
        let path = path("remove_group_avatar", &["groups", group, "avatar"])?;
        self.done(Call::new("remove_group_avatar", Verb::Delete, path)).await
    }
}

impl Settings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn mode(contacts_only: bool) -> &'static str {
    if contacts_only { "contacts_only" } else { "open" }
}
