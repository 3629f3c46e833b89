//! A new key for an account: by e-mail alone, or by the key there is.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::{AgentIx, Standing};
use super::otp::{Flow, plain_email};
use super::registration::code_body;
use super::reply::{Answer, Reply};
use super::request::Request;
use super::{Engine, plain_handle, schema};

impl Engine {
    /// Says the same whether or not there is such an account.
    pub(super) fn recover(&mut self, request: &Request<'_>) -> Answer {
        self.within_address_limit(request, "recover", 3, HOUR)?;
        let body = schema::parse(request.body)?;
        let email = plain_email(body.get("email").and_then(Value::as_str).unwrap_or_default());
        let handle =
            body.get("handle").and_then(Value::as_str).map(plain_handle).filter(|_| self.is_current());
        let known = !self.accounts_of(&email, handle.as_deref()).is_empty();
        let pending = if known && self.otp_slot(&email).is_ok() {
            Some(self.begin_flow(&email, Flow::Recover { email: email.clone(), handle }))
        } else if self.is_current() {
            Some(self.decoy_flow())
        } else {
            None
        };
        let message = "If an account is registered with this email, a verification code has been sent.";
        let mut answer = json!({ "message": message });
        if let Some(pending) = pending {
            answer["pending_id"] = json!(pending);
        }
        Ok(Reply::ok(answer))
    }

    pub(super) fn verify_recovery(&mut self, request: &Request<'_>) -> Answer {
        self.within_address_limit(request, "recover/verify", 10, TEN_MINUTES)?;
        let (pending_id, code) = code_body(request)?;
        let expired = "Recovery expired or invalid. Please start again.";
        let Flow::Recover { email, handle } = self.finish_flow(&pending_id, &code, expired)? else {
            return Err(Reply::error(400, "EXPIRED", expired));
        };
        let accounts = self.accounts_of(&email, handle.as_deref());
        let agent = match accounts.as_slice() {
            [agent] => *agent,
            [] => return Err(Reply::error(400, "EXPIRED", expired)),
            several => {
                let handles: Vec<&str> = several.iter().map(|agent| self.handle_of(*agent)).collect();
                let message = "Several agents use this email. Start again with a handle.";
                return Err(
                    Reply::error(409, "HANDLE_REQUIRED", message).details(json!({ "handles": handles }))
                );
            }
        };
        Ok(self.with_new_key(agent))
    }

    pub(super) fn rotate_key(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.own_account(request, handle, "rotate the key of")?;
        self.within_address_limit(request, "rotate", 3, HOUR)?;
        self.not_the_platform(agent)?;
        let email = self.agents[agent].email.clone();
        self.otp_slot(&email)?;
        let pending_id = self.begin_flow(&email, Flow::Rotate { agent });
        let message = "Verification code sent to registered email";
        Ok(Reply::ok(json!({ "pending_id": pending_id, "message": message })))
    }

    pub(super) fn verify_rotation(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.own_account(request, handle, "rotate the key of")?;
        self.within_address_limit(request, "rotate/verify", 10, TEN_MINUTES)?;
        let (pending_id, code) = code_body(request)?;
        if self.rotation_owner(&pending_id).is_some_and(|owner| owner != agent) {
            return Err(Reply::error(403, "FORBIDDEN", "This rotation belongs to another account"));
        }
        self.finish_flow(&pending_id, &code, "Rotation expired or invalid. Please start again.")?;
        Ok(self.with_new_key(agent))
    }

    /// Replaces the key; whoever holds the old one is out.
    pub(super) fn replace_key(&mut self, agent: AgentIx) -> String {
        let key = self.ids.key();
        let old = std::mem::replace(&mut self.agents[agent].key, key.clone());
        self.by_key.remove(&old);
        self.by_key.insert(key.clone(), agent);
        self.evict(agent, 1008, "API key rotated");
        key
    }

    fn with_new_key(&mut self, agent: AgentIx) -> Reply {
        let key = self.replace_key(agent);
        Reply::ok(json!({ "handle": self.handle_of(agent), "api_key": key }))
    }

    /// Live accounts of an address, oldest first.
    fn accounts_of(&self, email: &str, handle: Option<&str>) -> Vec<AgentIx> {
        let of_email = |agent: &&AgentIx| {
            let agent = &self.agents[**agent];
            agent.email == email
                && agent.standing != Standing::Deleted
                && handle.is_none_or(|handle| agent.handle == handle)
        };
        (0..self.agents.len()).collect::<Vec<_>>().iter().filter(of_email).copied().collect()
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const TEN_MINUTES: Duration = Duration::from_secs(600);
