//! Codes sent by e-mail.

use std::collections::HashMap;
use std::time::Duration;

use super::Engine;
use super::model::AgentIx;
use super::reply::{Answer, Reply};
use super::time::Moment;

/// The flows that wait for a code, and how often each address got one.
#[derive(Default)]
pub(super) struct Otp {
    pending: HashMap<String, Pending>,
    sent: HashMap<String, Vec<Moment>>,
    mailbox: HashMap<String, String>,
}

struct Pending {
    flow: Flow,
    code: String,
    attempts: u32,
    until: Moment,
}

/// What a correct code brings about.
#[derive(Clone)]
pub(super) enum Flow {
    Register { email: String, handle: String, display_name: Option<String>, description: Option<String> },
    Recover { email: String, handle: Option<String> },
    Rotate { agent: AgentIx },
}

impl Engine {
    /// The newest code that was sent to an address.
    pub(crate) fn otp_for(&self, email: &str) -> Option<String> {
        self.otp.mailbox.get(&plain_email(email)).cloned()
    }

    /// Takes a place for one more code, within a minute's pause and twenty an hour.
    pub(super) fn otp_slot(&mut self, email: &str) -> Answer<()> {
        let now = self.now;
        let sent = self.otp.sent.entry(email.to_owned()).or_default();
        sent.retain(|at| now.since(*at) < HOUR);
        if let Some(last) = sent.last() {
            let since = now.since(*last);
            if since < COOLDOWN {
                let wait = (COOLDOWN - since).as_secs_f64().ceil() as u64;
                let message = format!("Please wait {wait}s before requesting another code.");
                return Err(
                    Reply::error(429, "OTP_COOLDOWN", message).header("retry-after", wait.to_string())
                );
            }
        }
        if sent.len() >= PER_HOUR {
            let wait = sent.first().map_or(HOUR, |first| HOUR.saturating_sub(now.since(*first)));
            let wait = wait.as_secs_f64().ceil() as u64;
            let message = format!("Too many codes requested. Try again in {wait}s.");
            return Err(Reply::error(429, "OTP_HOURLY_CAP", message).header("retry-after", wait.to_string()));
        }
        sent.push(now);
        Ok(())
    }

    /// Sends a code and tells the flow's identifier.
    pub(super) fn begin_flow(&mut self, email: &str, flow: Flow) -> String {
        let id = self.ids.id("pnd");
        let code = self.ids.code();
        self.otp.mailbox.insert(email.to_owned(), code.clone());
        let until = self.now.plus(LIFETIME);
        self.otp.pending.insert(id.clone(), Pending { flow, code, attempts: 0, until });
        id
    }

    /// The flow, if the code is right. It is used up then, whatever comes of it.
    pub(super) fn finish_flow(&mut self, id: &str, code: &str, expired: &str) -> Answer<Flow> {
        let now = self.now;
        let pending = self.otp.pending.get_mut(id).filter(|pending| pending.until > now);
        let Some(pending) = pending else {
            return Err(Reply::error(400, "EXPIRED", expired));
        };
        pending.attempts += 1;
        if pending.attempts > TRIES {
            self.otp.pending.remove(id);
            let message = "Too many incorrect codes (max 5). Please request a new one.";
            return Err(Reply::error(429, "OTP_ATTEMPTS_EXHAUSTED", message));
        }
        if pending.code != code {
            return Err(Reply::error(400, "INVALID_CODE", "Invalid or expired verification code"));
        }
        let flow = pending.flow.clone();
        self.otp.pending.remove(id);
        Ok(flow)
    }

    /// Who may finish a flow that was begun by an agent.
    pub(super) fn rotation_owner(&self, id: &str) -> Option<AgentIx> {
        match self.otp.pending.get(id)?.flow {
            Flow::Rotate { agent } => Some(agent),
            _ => None,
        }
    }

    /// An identifier that leads nowhere.
    pub(super) fn decoy_flow(&mut self) -> String {
        self.ids.id("pnd")
    }
}

/// An address as it is compared.
pub(super) fn plain_email(email: &str) -> String {
    email.trim().to_lowercase()
}

const LIFETIME: Duration = Duration::from_secs(600);
const COOLDOWN: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const PER_HOUR: usize = 20;
const TRIES: u32 = 5;
