//! Heartbeats that others can read.
//!
//! The broker keeps AGENT.REPORT where no client can read it. So an agent's status is also a message in
//! the mailbox [`STATUS_MAILBOX`], with the agent's name (in hexadecimal) as compaction key: the mailbox
//! holds the newest status of each agent and nothing else. Anyone may write there, as with everything on
//! mq9; a status is a claim, not a proof.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::address::MailAddress;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Received};
use crate::options::{CreateMailbox, Lifetime, QueryOptions};
use crate::protocol::replies::place;

/// The mailbox that holds every agent's newest status.
pub const STATUS_MAILBOX: &str = "agents.status";

/// What an agent says about itself from time to time.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentStatus {
    /// The agent's name in the registry.
    pub name: String,
    /// Where it takes messages, as a name or an mq9 URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// A word such as `running`.
    pub status: String,
    /// How many tasks it works on.
    #[serde(default)]
    pub active_tasks: u32,
    /// How busy it is, from 0.0 to 1.0 by custom.
    #[serde(default)]
    pub load: f64,
    /// How many seconds pass until it speaks again; 0 when it does not say.
    #[serde(default)]
    pub interval: u64,
    /// The same text that AGENT.REPORT carries.
    #[serde(default)]
    pub report_info: String,
    /// When it was said, in seconds since 1970: by the agent's clock when written; as read from the
    /// broker, by the broker's.
    pub at: u64,
    /// The exact text of the agent's card, for brokers that write registered cards anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
}

impl AgentStatus {
    /// A status without load, mailbox and card.
    pub fn new(name: impl Into<String>, status: impl Into<String>, at: u64) -> Self {
        Self {
            name: name.into(),
            mailbox: None,
            status: status.into(),
            active_tasks: 0,
            load: 0.0,
            interval: 0,
            report_info: String::new(),
            at,
            card: None,
        }
    }

    /// Sets where the agent takes messages.
    pub fn with_mailbox(mut self, mailbox: impl Into<String>) -> Self {
        self.mailbox = Some(mailbox.into());
        self
    }

    /// Sets how busy the agent is.
    pub fn with_work(mut self, active_tasks: u32, load: f64) -> Self {
        (self.active_tasks, self.load) = (active_tasks, load);
        self
    }

    /// Sets how long it is until the agent speaks again, in whole seconds rounded up.
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.as_secs().saturating_add(u64::from(interval.subsec_nanos() > 0));
        self
    }

    /// Sets the text that AGENT.REPORT carries too.
    pub fn with_report_info(mut self, info: impl Into<String>) -> Self {
        self.report_info = info.into();
        self
    }

    /// Adds the exact text of the card.
    pub fn with_card(mut self, card_json: impl Into<String>) -> Self {
        self.card = Some(card_json.into());
        self
    }

    /// Whether the agent spoke within the last three of its intervals, `now` being in seconds since 1970. A
    /// time ahead of `now` counts as just said; an agent that tells no interval is not known to be alive.
    pub fn is_alive(&self, now: u64) -> bool {
        now.saturating_sub(self.at) < self.interval.saturating_mul(3)
    }

    fn read(message: &Received) -> Result<Self> {
        let mut status: Self = serde_json::from_slice(&message.payload).map_err(|error| {
            Error::new(ErrorKind::Protocol, READING, "the agent's status is not in the form agreed")
                .with_message_id(message.id)
                .with_source(place(&error))
        })?;
        status.at = message.create_time;
        Ok(status)
    }
}

impl fmt::Debug for AgentStatus {
    /// Leaves out the mailbox, which is the only guard of what is in it, and the card, which names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentStatus")
            .field("name", &self.name)
            .field("status", &self.status)
            .field("active_tasks", &self.active_tasks)
            .field("load", &self.load)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Publishes an agent's status: replaces its message in [`STATUS_MAILBOX`] (made on first use, never
    /// expiring) and reports `report_info` to the broker. The broker drops messages after 7 days, so
    /// publish at least that often.
    ///
    /// Cancel safety: dropped half-way, the status may be published and the report missing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty name or a load that is no number; otherwise as
    /// [`Client::send`] and [`Client::report`].
    pub async fn publish_status(&self, status: &AgentStatus) -> Result<()> {
        let key = key(&status.name, PUBLISHING)?;
        if !status.load.is_finite() {
            return Err(Error::new(ErrorKind::Invalid, PUBLISHING, "the load is not a number"));
        }
        let body = serde_json::to_vec(status).map_err(|error| {
            Error::new(ErrorKind::Invalid, PUBLISHING, "the status cannot be written as JSON")
                .with_source(error)
        })?;
        let mailbox = status_mailbox()?;
        let message = Message::new(Bytes::from(body)).with_key(key);
        match self.send(&mailbox, &message).await {
            Err(error) if error.kind() == ErrorKind::MailboxNotFound => {
                self.ensure_mailbox(CreateMailbox::named(mailbox.clone()).with_lifetime(Lifetime::Forever))
                    .await?;
                self.send(&mailbox, &message).await?;
            }
            sent => {
                sent?;
            }
        }
        self.report(&status.name, &status.report_info).await
    }

    /// The newest status an agent has published, with the broker's time in [`AgentStatus::at`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty name; [`ErrorKind::Protocol`] when what is stored there is no
    /// status; otherwise as [`Client::query`].
    pub async fn agent_status(&self, name: &str) -> Result<Option<AgentStatus>> {
        let query = QueryOptions::key(key(name, READING)?);
        let messages = match self.query(&status_mailbox()?, &query).await {
            Err(error) if error.kind() == ErrorKind::MailboxNotFound => return Ok(None),
            messages => messages?,
        };
        // A broker with partitions keeps one for each; ids do not order those, times do.
        match messages.iter().max_by_key(|message| (message.create_time, message.id)) {
            None => Ok(None),
            Some(newest) => AgentStatus::read(newest).map(Some),
        }
    }
}

fn status_mailbox() -> Result<MailAddress> {
    MailAddress::new(STATUS_MAILBOX)
}

/// The compaction key of an agent: its name's bytes in hexadecimal, since header values lose blanks and
/// names may be anything.
fn key(name: &str, operation: &'static str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, operation, "an agent's name must not be empty"));
    }
    Ok(name.bytes().map(|byte| format!("{byte:02x}")).collect())
}

const PUBLISHING: &str = "publish status";
const READING: &str = "agent status";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Headers, MsgId, Priority};

    fn stored(payload: &str) -> Received {
        Received {
            id: MsgId::new(7),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            headers: Headers::new(),
            priority: Some(Priority::Normal),
            create_time: 1_000,
        }
    }

    #[test]
    fn an_agent_is_alive_for_three_intervals() {
        let status = AgentStatus::new("a", "running", 1_000).with_interval(Duration::from_millis(59_500));
        assert!(status.is_alive(1_000) && status.is_alive(1_179));
        assert!(!status.is_alive(1_180));
        assert!(status.is_alive(10), "a clock behind is no death");
        assert!(!AgentStatus::new("a", "running", 1_000).is_alive(1_000));
        assert!(AgentStatus::new("a", "running", 1_000).with_interval(Duration::MAX).is_alive(1_001));
    }

    #[test]
    fn a_status_read_back_has_the_brokers_time_and_the_exact_card() {
        let card = "{ \"x\": 1.50 }";
        let said = AgentStatus::new("a", "busy", 3).with_work(2, 0.5).with_mailbox("a.b").with_card(card);
        let body = serde_json::to_string(&said).expect("JSON");
        let read = AgentStatus::read(&stored(&body)).expect("a status");
        assert_eq!(read, AgentStatus { at: 1_000, ..said });
        assert_eq!(read.card.as_deref(), Some(card));
    }

    #[test]
    fn what_is_no_status_is_named_by_its_id() {
        let error = AgentStatus::read(&stored("garbage")).expect_err("no status");
        assert_eq!((error.kind(), error.message_id()), (ErrorKind::Protocol, Some(MsgId::new(7))));
        let misplaced = r#"{"name":"a","status":"x","at":"mq9://broker/s3cret.box"}"#;
        let error = AgentStatus::read(&stored(misplaced)).expect_err("no status");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }

    #[test]
    fn keys_differ_when_names_do() {
        assert_eq!(key(" ü", READING).expect("a key"), "20c3bc");
        assert_eq!(key("", READING).expect_err("no name").operation(), READING);
    }

    #[test]
    fn the_debug_form_shows_no_mailbox() {
        let status = AgentStatus::new("a", "x", 0).with_mailbox("s3cret.box").with_card("s3cret.box");
        assert!(!format!("{status:?}").contains("s3cret"));
    }
}
