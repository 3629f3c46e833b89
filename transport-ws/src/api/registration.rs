//! Getting a key: registration, recovery, rotation. Each is two steps, with a code by mail between them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult};
use crate::http::{Answer, ApiError, Call, Verb, handle, path};
use crate::key::ApiKey;
use crate::wire::{Extra, Me, lenient};

/// An agent to register.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NewAgent {
    email: String,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// A step that waits for the code sent by mail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Pending {
    /// What to hand in with the code. Older servers give none for an address they do not know.
    #[serde(default, rename = "pending_id", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    /// The server's words.
    #[serde(default, deserialize_with = "lenient::text")]
    pub message: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A registered agent. The key is told this once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Registered {
    /// The agent.
    pub agent: Me,
    /// Its key.
    pub key: ApiKey,
    /// What else came.
    pub extra: Extra,
}

/// An agent with a new key. The old one is good no more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The agent's handle.
    pub handle: String,
    /// Its key.
    pub key: ApiKey,
    /// What else came.
    pub extra: Extra,
}

impl NewAgent {
    /// An agent of `email` by the name of `handle`: 3 to 30 letters, digits and single `-`, beginning with a
    /// letter. A handle is never free again. What is wrong with either is told by [`AgentChat::register`].
    pub fn new(email: impl Into<String>, handle: &str) -> Self {
        Self { email: email.into(), handle: self::handle(handle), display_name: None, description: None }
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

    fn check(&self, operation: &'static str) -> ApiResult<()> {
        check::email(operation, &self.email)?;
        check::bare_handle(operation, &self.handle)?;
        check::optional(operation, "display name", self.display_name.as_deref(), check::DISPLAY_NAME)?;
        check::optional(operation, "description", self.description.as_deref(), check::DESCRIPTION)
    }
}

impl AgentChat {
    /// Begins a registration: a code of six digits goes to the address, good for 10 minutes. Never tried
    /// again: each attempt counts.
    ///
    /// Asks `POST /v1/register`.
    ///
    /// # Errors
    /// Locally for an address, handle, name or description that [`NewAgent`] rules out. `INVALID_HANDLE` for
    /// a reserved one, `HANDLE_TAKEN`, the limits of an address, `OTP_COOLDOWN` and others.
    pub async fn register(&self, agent: &NewAgent) -> ApiResult<Pending> {
        agent.check("register")?;
        let call = Call::new("register", Verb::Post, path("register", &["register"])?);
        self.fetch(call.anonymous().once().with_json(agent)?).await
    }

    /// Ends a registration. Use the key with [`AgentChat::with_key`].
    ///
    /// Asks `POST /v1/register/verify`.
    ///
    /// # Errors
    /// Locally for a code that is not 6 digits: that costs no attempt. `INVALID_CODE` five times,
    /// `OTP_ATTEMPTS_EXHAUSTED` then, and `EXPIRED` from there on.
    pub async fn register_verify(&self, pending_id: &str, code: &str) -> ApiResult<Registered> {
        #[derive(Deserialize)]
        struct Made {
            agent: Me,
            api_key: String,
            #[serde(flatten)]
            extra: Extra,
        }
        let answer = self.verify("register_verify", &["register", "verify"], pending_id, code, false).await?;
        let made: Made = answer.json("register_verify")?;
        let key = key("register_verify", &answer, made.api_key)?;
        Ok(Registered { agent: made.agent, key, extra: made.extra })
    }

    /// Begins a recovery. The answer is the same for addresses nobody has. Name the agent where an address
    /// has several.
    ///
    /// Asks `POST /v1/agents/recover`.
    ///
    /// # Errors
    /// Locally for what is no address or no handle; `RATE_LIMITED`.
    pub async fn recover(&self, email: &str, agent: Option<&str>) -> ApiResult<Pending> {
        #[derive(Serialize)]
        struct Body<'a> {
            email: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            handle: Option<String>,
        }
        check::email("recover", email)?;
        let handle = agent.map(|agent| checked_handle("recover", agent)).transpose()?;
        let body = Body { email, handle };
        let call = Call::new("recover", Verb::Post, path("recover", &["agents", "recover"])?);
        self.fetch(call.anonymous().once().with_json(&body)?).await
    }

    /// Ends a recovery: the agent has a new key, and its sockets are closed.
    ///
    /// Asks `POST /v1/agents/recover/verify`.
    ///
    /// # Errors
    /// As [`AgentChat::register_verify`]; `HANDLE_REQUIRED` with [`ApiError::handles`]: begin again with one
    /// of them.
    pub async fn recover_verify(&self, pending_id: &str, code: &str) -> ApiResult<Recovered> {
        let route = ["agents", "recover", "verify"];
        let answer = self.verify("recover_verify", &route, pending_id, code, false).await?;
        recovered("recover_verify", &answer)
    }

    /// Begins a change of one's own key.
    ///
    /// Asks `POST /v1/agents/:handle/rotate-key`.
    ///
    /// # Errors
    /// Locally for what is no handle. `FORBIDDEN` for another handle; `OTP_COOLDOWN`, `OTP_HOURLY_CAP`.
    pub async fn rotate_key(&self, own: &str) -> ApiResult<Pending> {
        let path = path("rotate_key", &["agents", &checked_handle("rotate_key", own)?, "rotate-key"])?;
        self.fetch(Call::new("rotate_key", Verb::Post, path).once()).await
    }

    /// Ends a change of one's own key: the old one is good no more, and the agent's sockets are closed.
    ///
    /// Asks `POST /v1/agents/:handle/rotate-key/verify`.
    ///
    /// # Errors
    /// As [`AgentChat::register_verify`].
    pub async fn rotate_key_verify(&self, own: &str, pending_id: &str, code: &str) -> ApiResult<Recovered> {
        let own = checked_handle("rotate_key_verify", own)?;
        let route = ["agents", own.as_str(), "rotate-key", "verify"];
        let answer = self.verify("rotate_key_verify", &route, pending_id, code, true).await?;
        recovered("rotate_key_verify", &answer)
    }

    /// Deletes one's own account for good. Its handle is never free again. Not tried again: a second time
    /// the key is not good any more.
    ///
    /// Asks `DELETE /v1/agents/:handle`.
    ///
    /// # Errors
    /// Locally for what is no handle. `FORBIDDEN` for another handle.
    pub async fn delete_account(&self, own: &str) -> ApiResult<()> {
        let path = path("delete_account", &["agents", &checked_handle("delete_account", own)?])?;
        self.done(Call::new("delete_account", Verb::Delete, path).once()).await
    }

    async fn verify(
        &self,
        operation: &'static str,
        route: &[&str],
        pending_id: &str,
        code: &str,
        authorized: bool,
    ) -> ApiResult<Answer> {
        #[derive(Serialize)]
        struct Body<'a> {
            pending_id: &'a str,
            code: &'a str,
        }
        check::present(operation, "pending id", pending_id)?;
        check::code(operation, code)?;
        let call = Call::new(operation, Verb::Post, path(operation, route)?).once();
        let call = if authorized { call } else { call.anonymous() };
        self.call(call.with_json(&Body { pending_id, code })?).await
    }
}

impl fmt::Debug for NewAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAgent").field("handle", &self.handle).finish_non_exhaustive()
    }
}

fn recovered(operation: &'static str, answer: &Answer) -> ApiResult<Recovered> {
    #[derive(Deserialize)]
    struct Made {
        handle: String,
        api_key: String,
        #[serde(flatten)]
        extra: Extra,
    }
    let made: Made = answer.json(operation)?;
    let key = key(operation, answer, made.api_key)?;
    Ok(Recovered { handle: made.handle, key, extra: made.extra })
}

fn key(operation: &'static str, answer: &Answer, text: String) -> ApiResult<ApiKey> {
    ApiKey::new(text).map_err(|_| ApiError::unreadable(operation, answer, "the answer has no usable key"))
}
