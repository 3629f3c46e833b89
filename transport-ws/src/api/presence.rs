//! Presence.

use serde::{Deserialize, Serialize};

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult};
use crate::http::{ApiError, Call, Verb, path};
use crate::wire::{Presence, PresenceStatus};

impl AgentChat {
    /// Sets one's own presence. Without `words` (at most 200 characters) those set before are cleared. The
    /// server sets `online` by itself with the first socket and `offline` after the last. Returns what it is
    /// then; the handle is empty where the server's answer is.
    ///
    /// Asks `PUT /v1/presence`.
    ///
    /// # Errors
    /// Locally for [`PresenceStatus::Other`] and for words that are too long. `VALIDATION_ERROR`.
    pub async fn set_presence(&self, status: &PresenceStatus, words: Option<&str>) -> ApiResult<Presence> {
        #[derive(Serialize)]
        struct Body<'a> {
            status: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            custom_message: Option<&'a str>,
        }
        if matches!(status, PresenceStatus::Other(_)) {
            let what = "the status is none of online, busy and offline";
            return Err(ApiError::invalid("set_presence", what));
        }
        check::optional("set_presence", "custom message", words, 0..=200)?;
        let call = Call::new("set_presence", Verb::Put, path("set_presence", &["presence"])?);
        let answer =
            self.call(call.with_json(&Body { status: status.as_str(), custom_message: words })?).await?;
        if answer.body.is_empty() {
            let set = Presence {
                status: status.clone(),
                custom_message: words.map(str::to_owned),
                ..Presence::default()
            };
            return Ok(set);
        }
        answer.json("set_presence")
    }

    /// The presence of a contact.
    ///
    /// Asks `GET /v1/presence/:handle`.
    ///
    /// # Errors
    /// Locally for what is no handle. `NOT_FOUND` for whoever is no contact, and for nobody.
    pub async fn presence(&self, agent: &str) -> ApiResult<Presence> {
        // This route takes the text as it is given, unlike the others: it must be the bare handle.
        self.fetch(Call::new(
            "presence",
            Verb::Get,
            path("presence", &["presence", &checked_handle("presence", agent)?])?,
        ))
        .await
    }

    /// The presences of 1 to 100 agents, contacts or not. Handles nobody has are left out.
    ///
    /// Asks `POST /v1/presence/batch`.
    ///
    /// # Errors
    /// Locally for no handle or more than 100, and for one that is none.
    pub async fn presences(&self, agents: &[&str]) -> ApiResult<Vec<Presence>> {
        let handles: ApiResult<Vec<_>> =
            agents.iter().map(|agent| checked_handle("presences", agent)).collect();
        self.presences_of(handles?).await
    }

    /// The presences of 1 to 100 agents by their handles as the server itself wrote them: whatever they look
    /// like, it knows them.
    pub(crate) async fn presences_of(&self, handles: Vec<String>) -> ApiResult<Vec<Presence>> {
        #[derive(Serialize)]
        struct Body {
            handles: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Found {
            #[serde(default, deserialize_with = "crate::wire::lenient::list")]
            presences: Vec<Presence>,
        }
        check::count("presences", "number of handles", handles.len() as u64, 1..=100)?;
        // A question by POST: asking twice changes nothing.
        let call =
            Call::new("presences", Verb::Post, path("presences", &["presence", "batch"])?).repeatable();
        Ok(self.fetch::<Found>(call.with_json(&Body { handles })?).await?.presences)
    }
}
