//! Who answers, where several processes act for one agent.
//!
//! Asking fails open: when the server cannot be asked, or does not know the route, the answer is that one may.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AgentChat, ApiResult};
use crate::http::{Call, RetryPolicy, Verb, path};
use crate::wire::lenient;

/// Whether a message is one's own to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Whether it is.
    pub claimed: bool,
    /// It is not, since another process of the agent is active.
    pub deferred: bool,
}

/// How many of several messages are one's own to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchClaim {
    /// The first so many.
    pub count: usize,
    /// It is not all, since another process of the agent is active.
    pub deferred: bool,
}

impl AgentChat {
    /// Claims the answer to a message for `holder`, a name that this process keeps. Claiming again under the
    /// same name succeeds. With `defer_if_active` it steps back while another process is active.
    ///
    /// Asks `POST /v1/reply/claim`.
    ///
    /// # Errors
    /// None is told: what is not answered counts as claimed, so that a message is rather answered twice than
    /// never.
    pub async fn claim_reply(&self, message: &str, holder: &str, defer_if_active: bool) -> Claim {
        #[derive(Serialize)]
        struct Body<'a> {
            message_id: &'a str,
            holder: &'a str,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            defer_if_active: bool,
        }
        let body = Body { message_id: message, holder, defer_if_active };
        let answer: ApiResult<Claimed> =
            self.ask("claim_reply", Verb::Post, &["reply", "claim"], &body).await;
        answer.map_or(OPEN, |it| Claim { claimed: it.claimed.unwrap_or(true), deferred: it.deferred })
    }

    /// Claims the answers to messages, the oldest first; of those obtained none is behind one that was not.
    /// Where the server has no such route they are claimed one by one.
    ///
    /// Asks `POST /v1/reply/claim-batch`.
    ///
    /// # Errors
    /// None is told, as in [`AgentChat::claim_reply`]: what is not answered counts as claimed.
    pub async fn claim_replies(&self, messages: &[&str], holder: &str, defer_if_active: bool) -> BatchClaim {
        #[derive(Serialize)]
        struct Body<'a> {
            message_ids: &'a [&'a str],
            holder: &'a str,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            defer_if_active: bool,
        }
        let all = BatchClaim { count: messages.len(), deferred: false };
        if messages.is_empty() {
            return all;
        }
        let body = Body { message_ids: messages, holder, defer_if_active };
        let answer: ApiResult<Claimed> =
            self.ask("claim_replies", Verb::Post, &["reply", "claim-batch"], &body).await;
        match answer {
            Ok(Claimed { claimed_count: Some(count), deferred, .. }) => match usize::try_from(count) {
                Ok(count) if count <= messages.len() => BatchClaim { count, deferred },
                _ => all,
            },
            Ok(_) => all,
            Err(error) if matches!(error.status(), Some(404 | 405)) => {
                for (count, message) in messages.iter().enumerate() {
                    let claim = self.claim_reply(message, holder, defer_if_active).await;
                    if !claim.claimed {
                        return BatchClaim { count, deferred: claim.deferred };
                    }
                }
                all
            }
            Err(_) => all,
        }
    }

    /// Says that this process is active, for `ttl` at most. Lost reports do no harm.
    ///
    /// Asks `PUT /v1/reply/active`.
    ///
    /// # Errors
    /// None is told: who asks meanwhile hears that nobody is active.
    pub async fn set_reply_active(&self, session: Option<&str>, ttl: Duration) {
        let body = Session { session_id: session, ttl_seconds: Some(ttl.as_secs()) };
        let _: ApiResult<Claimed> = self.ask("reply_active", Verb::Put, &["reply", "active"], &body).await;
    }

    /// Says that this process is active no more.
    ///
    /// Asks `DELETE /v1/reply/active`.
    ///
    /// # Errors
    /// None is told: it ends by itself after its time.
    pub async fn clear_reply_active(&self, session: Option<&str>) {
        let body = Session { session_id: session, ttl_seconds: None };
        let _: ApiResult<Claimed> = self.ask("reply_active", Verb::Delete, &["reply", "active"], &body).await;
    }

    /// Whether a process of the agent is active.
    ///
    /// Asks `GET /v1/reply/active`.
    ///
    /// # Errors
    /// None is told: where there is no answer nobody is.
    pub async fn is_reply_active(&self) -> bool {
        let Ok(path) = path("reply_active", &["reply", "active"]) else { return false };
        let asked = self.brief().fetch::<Claimed>(Call::new("reply_active", Verb::Get, path)).await;
        asked.is_ok_and(|it| it.active)
    }

    async fn ask(
        &self,
        operation: &'static str,
        verb: Verb,
        route: &[&str],
        body: &(impl Serialize + Sync),
    ) -> ApiResult<Claimed> {
        self.brief().fetch(Call::new(operation, verb, path(operation, route)?).with_json(body)?).await
    }

    /// An answer that is late is worth no more than none.
    fn brief(&self) -> Self {
        let within = self.manner.within.map_or(PATIENCE, |within| within.min(PATIENCE));
        self.clone().with_retry(RetryPolicy::none()).with_call_timeout(within)
    }
}

#[derive(Default, Deserialize)]
struct Claimed {
    #[serde(default, deserialize_with = "yes_or_no")]
    claimed: Option<bool>,
    #[serde(default, deserialize_with = "lenient::number")]
    claimed_count: Option<u64>,
    #[serde(default, deserialize_with = "lenient::truth")]
    deferred: bool,
    #[serde(default, deserialize_with = "lenient::truth")]
    active: bool,
}

#[derive(Serialize)]
struct Session<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
}

fn yes_or_no<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_bool())
}

const OPEN: Claim = Claim { claimed: true, deferred: false };
const PATIENCE: Duration = Duration::from_secs(5);
