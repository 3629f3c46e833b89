//! The client: attempts with retries above them, and what watches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{Reached, Result as CoreResult};
use tokio::time::Instant;

use super::answer::Answer;
use super::call::Call;
use super::connections::Connections;
use super::error::ApiError;
use super::hooks::{HttpHooks, ResponseSeen, contained};
use super::retry::RetryPolicy;
use crate::config::{AgentChatConfig, ClientIdentity};
use crate::key::ApiKey;

/// Connections to the server, and who we are there.
pub(crate) struct HttpClient {
    pub(super) connections: Connections,
    pub(super) base: String,
    pub(super) identity: Option<ClientIdentity>,
    pub(super) user_agent: Option<String>,
    attempt_timeout: Duration,
}

/// How one call is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    pub(crate) policy: RetryPolicy,
    /// How long the call may take, all attempts and waits together.
    pub(crate) within: Option<Duration>,
    pub(crate) hooks: Option<Arc<dyn HttpHooks>>,
    /// Who calls; nobody registers with one.
    pub(crate) key: Option<ApiKey>,
}

impl HttpClient {
    /// A client without connections yet.
    ///
    /// # Errors
    /// `Config` when the TLS roots cannot be used.
    pub(crate) fn new(config: &AgentChatConfig) -> CoreResult<Self> {
        Ok(Self {
            connections: Connections::new(config)?,
            base: config.base_url().to_owned(),
            identity: config.client_identity().cloned(),
            user_agent: config.user_agent().map(str::to_owned),
            attempt_timeout: config.attempt_timeout(),
        })
    }

    /// How many attempts were begun until now.
    pub(crate) fn begun(&self) -> u64 {
        self.connections.begun()
    }

    /// Gives back connections that no call uses, unless another attempt was begun since there were `begun`.
    pub(crate) fn give_back(&self, begun: u64) {
        self.connections.give_back(begun);
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// Makes the call: one attempt, and more where the policy says so. Dropping the future ends it; what was
    /// sent may have taken effect.
    pub(crate) async fn call(&self, call: &Call, manner: &Manner) -> Result<Answer, ApiError> {
        let end = manner.within.and_then(|within| Instant::now().checked_add(within));
        let (mut attempt, mut ambiguous) = (1, false);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let limit = left.map_or(self.attempt_timeout, |left| left.min(self.attempt_timeout));
            let error = match self.watched(call, attempt, limit, manner).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error.after_attempts(attempt, ambiguous),
            };
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let Some(wait) = manner.policy.next(&error, call.repeatable, attempt, left, fastrand::f64())
            else {
                return Err(error);
            };
            if let Some(hooks) = &manner.hooks {
                let seen = self.seen(call, attempt, manner);
                contained(|| hooks.on_retry(&seen, &error, wait));
            }
            tracing::debug!(target: "transport_ws", operation = call.operation, attempt, ?wait, code = error.code(), "trying again");
            ambiguous |= error.reached() == Reached::Unknown;
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn watched(
        &self,
        call: &Call,
        attempt: u32,
        limit: Duration,
        manner: &Manner,
    ) -> Result<Answer, ApiError> {
        let Some(hooks) = &manner.hooks else { return self.attempt(call, limit, manner).await };
        let seen = self.seen(call, attempt, manner);
        contained(|| hooks.on_request(&seen));
        let begun = Instant::now();
        let result = self.attempt(call, limit, manner).await;
        let (status, request_id) = match &result {
            Ok(answer) => (Some(answer.status), answer.request_id.clone()),
            Err(error) => (error.status(), error.request_id().map(str::to_owned)),
        };
        if let Some(status) = status {
            let response = ResponseSeen { status, request_id, took: begun.elapsed() };
            contained(|| hooks.on_response(&seen, &response));
        }
        if let Err(error) = &result {
            contained(|| hooks.on_error(&seen, error));
        }
        result
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("base", &self.base).finish_non_exhaustive()
    }
}
