//! Mutes: what is muted waits without a push.

use serde::{Deserialize, Serialize};

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult};
use crate::http::{ApiError, Call, Verb, path};
use crate::wire::{Extra, lenient, moments};

/// A mute. The pushes of a muted agent or conversation stay away; its messages wait like others, and come
/// with the next connect.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Mute {
    /// `agent` or `conversation`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub target_kind: Option<String>,
    /// The conversation, or the agent by an id of the server's own.
    #[serde(default, deserialize_with = "lenient::text")]
    pub target_id: Option<String>,
    /// Until when, as written; for ever without one.
    #[serde(default, deserialize_with = "lenient::text")]
    pub muted_until: Option<String>,
    /// Since when, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MuteKind<'a> {
    /// An agent, by its handle.
    Agent(&'a str),
    /// A conversation, by its id.
    Conversation(&'a str),
}

/// Which mutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Muted {
    /// Those of agents.
    Agents,
    /// Those of conversations.
    Conversations,
}

moments! { Mute: muted_until, created_at }

impl AgentChat {
    /// Mutes; `until` is a time of the future as ISO 8601. A second mute replaces the first.
    ///
    /// Asks `POST /v1/mutes`.
    ///
    /// # Errors
    /// Locally for what is no handle or no time. `SELF_MUTE`; `AGENT_NOT_FOUND`, `CONVERSATION_NOT_FOUND`; `NOT_PARTICIPANT`; `RATE_LIMITED` with a time
    /// to wait.
    pub async fn mute(&self, target: MuteKind<'_>, until: Option<&str>) -> ApiResult<Mute> {
        #[derive(Serialize)]
        struct Body<'a> {
            target_kind: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            target_handle: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            target_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            muted_until: Option<&'a str>,
        }
        let (target_handle, target_id) = match target {
            MuteKind::Agent(agent) => (Some(checked_handle("mute", agent)?), None),
            MuteKind::Conversation(id) => {
                check::present("mute", "conversation's id", id)?;
                (None, Some(id))
            }
        };
        if until.is_some_and(|until| crate::wire::parse_time(until).is_none()) {
            return Err(ApiError::invalid("mute", "the end of the mute is no time as ISO 8601"));
        }
        let body = Body { target_kind: target.word(), target_handle, target_id, muted_until: until };
        self.fetch(Call::new("mute", Verb::Post, path("mute", &["mutes"])?).with_json(&body)?).await
    }

    /// The mutes in force.
    ///
    /// Asks `GET /v1/mutes`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn mutes(&self) -> ApiResult<Vec<Mute>> {
        self.listed(None).await
    }

    /// The mutes in force of agents, or of conversations.
    ///
    /// Asks `GET /v1/mutes`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn mutes_of(&self, muted: Muted) -> ApiResult<Vec<Mute>> {
        self.listed(Some(muted)).await
    }

    /// The mute in force, if there is one.
    ///
    /// Asks `GET /v1/mutes/agent/:handle` or `GET /v1/mutes/conversation/:id`.
    ///
    /// # Errors
    /// Locally for what is no handle; those of every call, but for `NOT_FOUND`.
    pub async fn mute_of(&self, target: MuteKind<'_>) -> ApiResult<Option<Mute>> {
        match self.fetch(Call::new("mute_of", Verb::Get, target.path("mute_of")?)).await {
            Err(error) if error.code() == Some("NOT_FOUND") => Ok(None),
            other => other.map(Some),
        }
    }

    /// Takes a mute away.
    ///
    /// Asks `DELETE /v1/mutes/agent/:handle` or `DELETE /v1/mutes/conversation/:id`.
    ///
    /// # Errors
    /// Locally for what is no handle. `NOT_FOUND` when there is none, also when an earlier attempt has taken it
    /// away.
    pub async fn unmute(&self, target: MuteKind<'_>) -> ApiResult<()> {
        self.done(Call::new("unmute", Verb::Delete, target.path("unmute")?)).await
    }

    async fn listed(&self, muted: Option<Muted>) -> ApiResult<Vec<Mute>> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default, deserialize_with = "lenient::list")]
            mutes: Vec<Mute>,
        }
        let call = Call::new("mutes", Verb::Get, path("mutes", &["mutes"])?);
        let call = match muted {
            Some(Muted::Agents) => call.with_query("kind", "agent"),
            Some(Muted::Conversations) => call.with_query("kind", "conversation"),
            None => call,
        };
        Ok(self.fetch::<Found>(call).await?.mutes)
    }
}

impl MuteKind<'_> {
    fn word(self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Conversation(_) => "conversation",
        }
    }

    fn path(self, operation: &'static str) -> ApiResult<String> {
        let name = match self {
            Self::Agent(agent) => checked_handle(operation, agent)?,
            Self::Conversation(id) => id.to_owned(),
        };
        path(operation, &["mutes", self.word(), &name])
    }
}
