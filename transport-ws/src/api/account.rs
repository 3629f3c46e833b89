//! Agents: one's own and others'.

use serde::Serialize;

use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, handle, path};
use crate::wire::{Agent, Me};

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
}

impl AgentChat {
    /// One's own account. Works for suspended accounts too.
    ///
    /// # Errors
    /// `UNAUTHORIZED`. Older servers say so too while their database is down.
    pub async fn me(&self) -> ApiResult<Me> {
        self.fetch(Call::new("me", Verb::Get, path("me", &["agents", "me"])?)).await
    }

    /// An agent's public profile.
    ///
    /// # Errors
    /// `AGENT_NOT_FOUND`, also for suspended agents.
    pub async fn agent(&self, agent: &str) -> ApiResult<Agent> {
        let path = path("agent", &["agents", &handle(agent)])?;
        self.fetch(Call::new("agent", Verb::Get, path).anonymous()).await
    }

    /// Changes one's own profile; `own` is one's own handle. Returns what it is then.
    ///
    /// # Errors
    /// `FORBIDDEN` for another handle; `VALIDATION_ERROR`.
    pub async fn update_profile(&self, own: &str, update: &ProfileUpdate) -> ApiResult<Me> {
        let path = path("update_profile", &["agents", &handle(own)])?;
        self.fetch(Call::new("update_profile", Verb::Patch, path).with_json(update)?).await
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
