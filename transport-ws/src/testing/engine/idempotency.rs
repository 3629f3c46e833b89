//! `Idempotency-Key`: the first answer is given again.

use std::time::Duration;

use super::Engine;
use super::model::AgentIx;
use super::reply::{Answer, Body, Reply};
use super::request::Request;
use super::time::Moment;

/// What is known of a key.
pub(super) struct Remembered {
    fingerprint: Vec<u8>,
    until: Moment,
    /// Nothing yet while the first request is being worked on.
    answer: Option<Reply>,
}

impl Engine {
    /// Authenticates and carries out, unless this key's answer is known.
    pub(super) fn once(
        &mut self,
        request: &Request<'_>,
        work: impl FnOnce(&mut Engine, AgentIx) -> Answer,
    ) -> Answer {
        let agent = self.authenticated(request)?;
        let Some(key) = request.idempotency_key else { return work(self, agent) };
        if !(8..=128).contains(&key.len())
            || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        {
            let message =
                "Idempotency-Key must be 8-128 characters of [A-Za-z0-9_-]. Use a UUID or random hex string.";
            return Err(Reply::error(400, "IDEMPOTENCY_KEY_INVALID", message));
        }
        let name = (agent, key.to_owned());
        let fingerprint = fingerprint(request);
        let now = self.now;
        self.remembered.retain(|_, remembered| remembered.until > now);
        match self.remembered.get(&name) {
            Some(known) if known.fingerprint != fingerprint => {
                let message = "Idempotency-Key was reused with a different request body. Use a fresh key for a new request.";
                return Err(Reply::error(422, "IDEMPOTENCY_KEY_CONFLICT", message));
            }
            Some(Remembered { answer: Some(answer), .. }) => {
                return Ok(answer.clone().header("idempotent-replay", "true"));
            }
            Some(Remembered { answer: None, .. }) => {
                let message = "A request with this Idempotency-Key is still in progress.";
                return Err(Reply::error(409, "IDEMPOTENT_IN_PROGRESS", message));
            }
            None => {}
        }
        let answer = work(self, agent).unwrap_or_else(|refusal| refusal);
        let small = match &answer.body {
            Body::Json(body) => body.to_string().len() <= MAX_BODY,
            Body::Text(_) | Body::Crash => true,
        };
        if answer.status < 500 && small {
            let until = self.now.plus(LIFETIME);
            self.remembered.insert(name, Remembered { fingerprint, until, answer: Some(answer.clone()) });
        }
        Ok(answer)
    }

    /// A request with a key begins, and takes its time: meanwhile the key is locked.
    pub(crate) fn lock_key(&mut self, now: Moment, request: &Request<'_>) {
        self.advance(now);
        let agent = request.key().and_then(|key| self.holder(key));
        if let (Some(agent), Some(key)) = (agent, request.idempotency_key) {
            let until = self.now.plus(LOCK);
            let locked = Remembered { fingerprint: fingerprint(request), until, answer: None };
            self.remembered.entry((agent, key.to_owned())).or_insert(locked);
        }
    }

    /// The request that locked its key goes on.
    pub(crate) fn unlock_key(&mut self, request: &Request<'_>) {
        let agent = request.key().and_then(|key| self.holder(key));
        if let (Some(agent), Some(key)) = (agent, request.idempotency_key) {
            let name = (agent, key.to_owned());
            if self.remembered.get(&name).is_some_and(|remembered| remembered.answer.is_none()) {
                self.remembered.remove(&name);
            }
        }
    }
}

fn fingerprint(request: &Request<'_>) -> Vec<u8> {
    let mut fingerprint = format!("{} {}?{}\n", request.method, request.path, request.query).into_bytes();
    fingerprint.extend_from_slice(request.body);
    fingerprint
}

const LIFETIME: Duration = Duration::from_secs(86_400);
const LOCK: Duration = Duration::from_secs(60);
const MAX_BODY: usize = 64 * 1024;
