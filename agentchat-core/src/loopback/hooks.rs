//! What a test can do to a loopback network while agents are on it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Loopback;
use super::attachment::{Life, Ticket};
use crate::error::{Error, ErrorKind, Result};

/// Faults that a test switches on and off. Nothing of them is random; for that there is
/// [`LoopbackFaults`](super::LoopbackFaults).
impl Loopback {
    /// From now on nothing is answered and nothing delivered, as by a server that hangs: a call waits, and
    /// fails as timed out after `patience`, without effect. [`Loopback::heal`] ends it, and calls that
    /// still wait go on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
    /// use agentchat_core::{Body, Connector, ErrorKind, Loopback, Outbound};
    /// use std::time::Duration;
    ///
    /// let network = Loopback::new();
    /// let agent = network.connector("agent")?.connect().await?;
    /// let note = Outbound::new(agent.address().clone(), Body::text("to myself"));
    /// network.stall(Duration::from_millis(10));
    /// assert_eq!(agent.send(&note).await.unwrap_err().kind(), ErrorKind::Timeout);
    /// network.heal();
    /// agent.send(&note).await?;
    /// # Ok(()) }
    /// ```
    pub fn stall(&self, patience: Duration) {
        let mut hub = self.lock();
        hub.gate.set(Trouble::Stalled(patience));
        hub.take_back_all();
    }

    /// Cuts every attachment, and lets nobody attach before [`Loopback::heal`]: connecting fails as
    /// disconnected.
    pub fn outage(&self) {
        let mut hub = self.lock();
        hub.gate.set(Trouble::Away);
        hub.end_all(Life::Cut);
    }

    /// Cuts every attachment, as a server does that is started again. Inboxes, cards, keyed state and what
    /// repetitions are recognised by are kept; reported statuses are not.
    pub fn restart(&self) {
        let mut hub = self.lock();
        hub.registry.forget_statuses();
        hub.end_all(Life::Cut);
    }

    /// Ends every attachment as unauthorized, and refuses new ones the same way before
    /// [`Loopback::heal`], as a server does once credentials have expired. A session ends by it for good.
    pub fn expire(&self) {
        let mut hub = self.lock();
        hub.gate.set(Trouble::Expired);
        hub.end_all(Life::Expired);
    }

    /// Ends a stall, an outage and an expiry. Attachments that have ended stay ended.
    pub fn heal(&self) {
        self.lock().gate.set(Trouble::None);
    }
}

/// What stands between the agents and the network.
#[derive(Debug)]
pub(crate) struct Gate {
    trouble: watch::Sender<Trouble>,
    /// What every call and every reader asks first.
    stalled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Stalled(Duration),
    Away,
    Expired,
}

impl Default for Gate {
    fn default() -> Self {
        Self { trouble: watch::Sender::new(Trouble::None), stalled: false }
    }
}

impl Gate {
    fn set(&mut self, trouble: Trouble) {
        self.stalled = matches!(trouble, Trouble::Stalled(_));
        self.trouble.send_replace(trouble);
    }

    pub(crate) fn watch(&self) -> Passage {
        Passage(self.trouble.subscribe())
    }

    /// Whether nothing is answered and nothing delivered now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }
}

/// One attachment's, or one caller's, view of the gate.
#[derive(Debug, Clone)]
pub(crate) struct Passage(watch::Receiver<Trouble>);

impl Passage {
    /// Returns once nothing is stalled. Cancel-safe.
    pub(crate) async fn open(&mut self) {
        // The sender goes with the network, which whoever waits here keeps alive.
        let _ = self.0.wait_for(|trouble| !matches!(trouble, Trouble::Stalled(_))).await;
    }

    /// Lets a connection be made, or says why it cannot.
    pub(crate) async fn connect(mut self) -> Result<()> {
        let trouble = *self.0.borrow();
        match trouble {
            Trouble::None => Ok(()),
            Trouble::Away => Err(super::disconnected("connect").with_reached(crate::error::Reached::No)),
            Trouble::Expired => Err(expired("connect")),
            Trouble::Stalled(patience) => match tokio::time::timeout(patience, self.open()).await {
                Ok(()) => Ok(()),
                Err(_) => Err(silent("connect").with_reached(crate::error::Reached::No)),
            },
        }
    }
}

impl Ticket {
    /// Waits while the network is stalled, for a call's patience at most, and no longer than the
    /// attachment lives.
    pub(crate) async fn pass(&self, operation: &'static str) -> Result<()> {
        self.check(operation)?;
        let until = match *self.gate.0.borrow() {
            Trouble::Stalled(patience) => crate::clock::after(Instant::now(), patience),
            _ => return Ok(()),
        };
        let mut gate = self.gate.clone();
        let mut life = self.life.clone();
        let ended = async { drop(life.wait_for(|life| *life != Life::Live).await) };
        tokio::select! {
            () = gate.open() => self.check(operation),
            () = ended => self.check(operation),
            () = tokio::time::sleep_until(until) => Err(silent(operation)),
        }
    }
}

pub(crate) fn expired(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unauthorized, operation, "the credentials have expired")
}

fn silent(operation: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, operation, "no answer came")
}
