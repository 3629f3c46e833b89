//! Who leads: at the start, and when the leader is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::role::{Role, Seat};
use super::start::{CardSource, Starting};
use super::{AgentShared, heartbeat};
use crate::card::AgentCard;
use crate::error::{Error, ErrorKind, Result};
use crate::leader_lock::LeaderLock;

/// An agent that follows, and what it will do when it leads.
pub(crate) struct Candidate {
    pub(crate) agent: Arc<AgentShared>,
    pub(crate) lock: PathBuf,
    pub(crate) card: Option<CardSource>,
    /// Somebody waits to read the inbox from the first moment on.
    pub(crate) serves: bool,
    pub(crate) interval: Duration,
    pub(crate) rng: fastrand::Rng,
}

/// A seat for an agent that begins: it leads if nobody else does.
pub(crate) async fn seat(path: &Path) -> Result<Seat> {
    let trying = path.to_owned();
    let tried = tokio::task::spawn_blocking(move || LeaderLock::try_acquire(trying)).await;
    let died = |_| Error::new(ErrorKind::Closed, "start", "the runtime is being shut down");
    Ok(match tried.map_err(died)?? {
        Some(lock) => {
            let seat = Seat::new(Role::Leader);
            seat.hold(lock);
            seat
        }
        None => Seat::new(Role::Follower),
    })
}

/// Tells which role the agent has now.
pub(crate) fn tell(agent: &AgentShared) {
    let role = agent.seat.role();
    agent.transport.set_role(role);
    tracing::info!(name: "agent.role", role = role.as_str(), "the agent has this role now");
}

impl Candidate {
    /// Waits for the lead, does what was left undone at the start, and goes on as the heartbeat.
    pub(crate) async fn run(mut self) {
        let agent = Arc::clone(&self.agent);
        let _waiting = Waiting(Arc::clone(&agent.seat));
        match self.take_over().await {
            Ok(true) => heartbeat::beat(agent, self.interval, self.rng).await,
            Ok(false) => {}
            Err(error) => {
                failed(&error);
                agent.seat.release();
                agent.seat.fail(error);
            }
        }
    }

    /// Whether the agent is in the directory now.
    async fn take_over(&mut self) -> Result<bool> {
        let agent = Arc::clone(&self.agent);
        let seat = &agent.seat;
        seat.hold(LeaderLock::acquire(&self.lock).await?);
        let card = match self.card.take() {
            Some(card) => Some(card.made(&*agent.transport).await?),
            None => None,
        };
        // The order of a start: what keeps nothing for an agent that is away must be read first.
        let durable = agent.capabilities().durable_inbox;
        if durable {
            self.register(card.as_ref()).await?;
        }
        seat.take_lead();
        tell(&agent);
        if !durable {
            if self.serves {
                let _ = timeout(OPENED, seat.is_read()).await;
            }
            // It leads already: what reads the inbox goes on whatever the directory says.
            if let Err(error) = self.register(card.as_ref()).await {
                failed(&error);
                return Ok(false);
            }
        }
        Ok(card.is_some())
    }

    /// Until the network takes the card, or never will. The lead is kept meanwhile: another process would
    /// find the same network.
    async fn register(&mut self, card: Option<&AgentCard>) -> Result<()> {
        let Some(card) = card else { return Ok(()) };
        let mut wait = PAUSE;
        loop {
            let mut starting = Starting::new(Arc::clone(&self.agent.transport));
            let Err(error) = starting.run(Some(CardSource::Given(card.clone())), None).await else {
                return Ok(());
            };
            let dead = match error.kind() {
                ErrorKind::Closed => true,
                ErrorKind::Disconnected => error.ends_attachment() && !self.agent.capabilities().reconnects,
                _ => false,
            };
            if dead || !error.is_retryable() {
                return Err(error);
            }
            failed(&error);
            let pause = wait.mul_f64(0.5 + self.rng.f64() / 2.0);
            sleep(pause.max(error.retry_after().unwrap_or_default())).await;
            wait = (wait * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Somebody waits for the lead on the agent's behalf. Dropped, whoever waits for the agent need not go on: it leads
/// or it never will.
struct Waiting(Arc<Seat>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What makes the card is the application's. Another process may have more luck.
            self.0.release();
            self.0.fail(Error::new(ErrorKind::Unexpected, "lead", "taking the lead over panicked"));
        }
        self.0.give_up();
    }
}

fn failed(error: &Error) {
    tracing::warn!(
        name: "lead.failed", error_kind = error.kind().as_str(), %error, "the agent could not take the lead over"
    );
}

/// Between the attempts to register: doubled each time, half of it left to chance.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What opening the inbox gets before the agent registers all the same.
const OPENED: Duration = Duration::from_secs(5);
