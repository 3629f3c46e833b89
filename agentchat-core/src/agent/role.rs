//! Which of several processes of one account reads the inbox.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::{Agent, AgentShared};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Inbox, SubscribeOptions};
use crate::telemetry::{observed, verb_span};
use crate::transport::{EventStream, Transport};

/// What an agent is among those that share its
#[cfg_attr(feature = "leader-lock", doc = "[lock](crate::agent::AgentBuilder::leader_lock).")]
#[cfg_attr(not(feature = "leader-lock"), doc = "lock.")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// It reads the inbox, is in the directory, and reports that it is alive. So does an agent without a lock.
    Leader,
    /// It sends, calls where answers do not come into the own inbox, and does the rest once it leads.
    Follower,
}

/// How an agent stands, and what it leads by.
#[derive(Debug)]
pub(crate) struct Seat {
    standing: watch::Sender<Standing>,
    /// Gives the lead to another when it is dropped.
    lock: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether the inbox has begun to be read since the agent leads, or could not be.
    read: watch::Sender<bool>,
    /// Whether nobody waits for the lock any more on the agent's behalf.
    given_up: watch::Sender<bool>,
}

#[derive(Debug, Clone)]
enum Standing {
    Is(Role),
    /// It follows, and will not lead any more.
    Failed(Arc<Error>),
}

impl Agent {
    /// Whether the agent leads now. One without a lock always does.
    pub fn role(&self) -> Role {
        self.shared.seat.role()
    }

    /// Waits until the agent leads: at once for one that does, or has no lock. Dropping the future changes
    /// nothing, and many may wait.
    ///
    /// # Errors
    /// The error for which the agent will not lead any more: its lock cannot be used, or the network refuses
    /// its card. [`Closed`](ErrorKind::Closed) for one that was closed as a follower, if only by half.
    pub async fn lead(&self) -> Result<()> {
        self.shared.seat.leads().await
    }
}

impl AgentShared {
    /// Opens an inbox. A follower's own one opens once the agent leads.
    pub(crate) async fn open(&self, options: SubscribeOptions) -> Result<EventStream> {
        self.seat.open(&self.transport, options).await
    }
}

impl Role {
    /// Its name, as in events: `leader` or `follower`. Names never change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Seat {
    fn default() -> Self {
        Self::new(Role::Leader)
    }
}

impl Seat {
    pub(crate) fn new(role: Role) -> Self {
        let standing = watch::Sender::new(Standing::Is(role));
        let (read, given_up) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { standing, lock: Mutex::default(), read, given_up }
    }

    pub(crate) fn role(&self) -> Role {
        match &*self.standing.borrow() {
            Standing::Is(role) => *role,
            Standing::Failed(_) => Role::Follower,
        }
    }

    /// Keeps what the agent leads by, or is about to lead by.
    #[cfg_attr(not(feature = "leader-lock"), allow(dead_code, reason = "there is no lock"))]
    pub(crate) fn hold(&self, lock: impl Any + Send) {
        *self.lock() = Some(Box::new(lock));
    }

    /// Lets another lead.
    pub(crate) fn release(&self) {
        *self.lock() = None;
    }

    /// Whether what is in the directory under the agent's name may be its own.
    pub(crate) fn may_be_registered(&self) -> bool {
        self.role() == Role::Leader || self.lock().is_some()
    }

    #[cfg_attr(not(feature = "leader-lock"), allow(dead_code, reason = "there is no lock"))]
    pub(crate) fn take_lead(&self) {
        self.standing.send_replace(Standing::Is(Role::Leader));
    }

    /// The agent will not lead any more.
    pub(crate) fn fail(&self, error: Error) {
        self.standing.send_if_modified(|standing| match standing {
            Standing::Is(Role::Follower) => {
                *standing = Standing::Failed(Arc::new(error));
                true
            }
            _ => false,
        });
    }

    pub(crate) async fn leads(&self) -> Result<()> {
        let mut given_up = self.given_up.subscribe();
        tokio::select! {
            biased;
            led = led(self.standing.subscribe()) => led,
            _ = given_up.wait_for(|given_up| *given_up) => {
                Err(Error::new(ErrorKind::Closed, "lead", "the agent was closed"))
            }
        }
    }

    /// Nobody waits for the lock any more on the agent's behalf: one that does not lead by now never will.
    #[cfg_attr(not(feature = "leader-lock"), allow(dead_code, reason = "there is no lock"))]
    pub(crate) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// Waits until somebody who waited for the lead reads the inbox, or could not.
    #[cfg_attr(not(feature = "leader-lock"), allow(dead_code, reason = "there is no lock"))]
    pub(crate) async fn is_read(&self) {
        let _ = self.read.subscribe().wait_for(|read| *read).await;
    }

    /// Opens an inbox. A follower's own one opens once the agent leads.
    pub(crate) async fn open(
        &self,
        transport: &Arc<dyn Transport>,
        options: SubscribeOptions,
    ) -> Result<EventStream> {
        if options.inbox == Inbox::Own && self.role() == Role::Follower {
            return Ok(self.inbox(transport, options));
        }
        let opened = transport.subscribe(options);
        Ok(observed(verb_span!(INFO, "agent.subscribe"), opened).await?.events)
    }

    /// The inbox of a follower: nothing until the agent leads, then what a subscription brings.
    pub(crate) fn inbox(&self, transport: &Arc<dyn Transport>, options: SubscribeOptions) -> EventStream {
        let (standing, read) = (self.standing.subscribe(), self.read.clone());
        let transport = Arc::clone(transport);
        let opened = async move {
            led(standing).await?;
            let opened = observed(verb_span!(INFO, "agent.subscribe"), transport.subscribe(options)).await;
            read.send_replace(true);
            Ok(opened?.events)
        };
        stream::once(opened).try_flatten().boxed()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn led(mut standing: watch::Receiver<Standing>) -> Result<()> {
    let gone = || Error::new(ErrorKind::Closed, "lead", "the agent is gone");
    let follows = |standing: &Standing| matches!(standing, Standing::Is(Role::Follower));
    match &*standing.wait_for(|standing| !follows(standing)).await.map_err(|_| gone())? {
        Standing::Failed(error) => Err(error.copy()),
        Standing::Is(_) => Ok(()),
    }
}
