//! Starting an agent.

use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use super::heartbeat;
use super::tasks::{AgentShared, Tasks};
use crate::card::AgentCard;
use crate::error::{Error, ErrorKind, Result};
use crate::options::CloseMode;
use crate::telemetry::{observed, verb_span};
use crate::transport::Connector;

/// What an agent is started with.
#[derive(Debug)]
#[must_use]
pub struct AgentBuilder<C> {
    connector: C,
    card: Option<AgentCard>,
    heartbeat: Option<Duration>,
    traces: bool,
}

impl<C: Connector> AgentBuilder<C> {
    pub(crate) fn new(connector: C) -> Self {
        Self { connector, card: None, heartbeat: None, traces: true }
    }

    /// Registers the agent with this card. Without one it is not in the directory.
    pub fn card(mut self, card: AgentCard) -> Self {
        self.card = Some(card);
        self
    }

    /// Reports each `interval` that the agent is alive (default 60 s, when it has a card).
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// Whether messages that carry no [trace context](crate::TraceContext) get one (default true): that of
    /// the message being handled, else a fresh one. A repeated message carries the same line again, and a
    /// line of the caller's own is never touched.
    pub fn trace_context(mut self, add: bool) -> Self {
        self.traces = add;
        self
    }

    /// Connects, then registers. If registering fails the attachment is closed again; whether the
    /// directory took the card all the same is in the error's [`reached`](Error::reached).
    ///
    /// Dropping the future drops the attachment; a registration that was under way may have been made.
    ///
    /// # Errors
    /// Whatever connecting or registering answered; [`Invalid`](ErrorKind::Invalid) for a heartbeat of
    /// zero; [`Unsupported`](ErrorKind::Unsupported) for a card on a network without a directory.
    pub async fn start(self) -> Result<Agent> {
        if self.heartbeat.is_some_and(|interval| interval.is_zero()) {
            return Err(Error::new(ErrorKind::Invalid, "start", "the heartbeat interval is zero"));
        }
        let transport = self.connector.connect().await?;
        if let Some(card) = &self.card {
            let registered = match transport.capabilities().directory {
                true => observed(verb_span!(INFO, "agent.register"), transport.register(card)).await,
                false => Err(Error::unsupported("register", "this network has no directory")),
            };
            if let Err(error) = registered {
                let _ = tokio::time::timeout(CLOSING, transport.close(CloseMode::Detach)).await;
                return Err(error);
            }
        }
        let mut shared = AgentShared::new(transport);
        shared.traces = self.traces;
        let shared = Arc::new(shared);
        let owner = Arc::new(Tasks::new(Arc::clone(&shared)));
        if self.card.is_some() {
            let interval = self.heartbeat.unwrap_or(HEARTBEAT);
            owner.set_heartbeat(tokio::spawn(heartbeat::beat(Arc::clone(&shared), interval)));
        }
        Ok(Agent { shared, owner })
    }
}

/// How often an agent reports when it is not told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// What an attachment that is given up gets for closing.
const CLOSING: Duration = Duration::from_secs(5);
