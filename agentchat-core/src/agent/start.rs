//! An agent that is not started yet: its steps, and how they are undone.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::address::Address;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::options::{CloseMode, SubscribeOptions};
use crate::telemetry::{observed, verb_span};
use crate::transport::{EventStream, Transport};

/// What is known of an agent once its network is reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StartContext {
    /// Its inbox.
    pub address: Address,
    /// What the network can do.
    pub capabilities: Capabilities,
}

/// Where the card comes from.
pub(crate) enum CardSource {
    Given(AgentCard),
    Made(MakeCard),
}

impl CardSource {
    /// The card itself.
    pub(crate) async fn made(self, transport: &dyn Transport) -> Result<AgentCard> {
        match self {
            Self::Given(card) => Ok(card),
            Self::Made(make) => {
                let make = make.into_inner().unwrap_or_else(PoisonError::into_inner);
                let address = transport.address().clone();
                make(StartContext { address, capabilities: transport.capabilities().clone() }).await
            }
        }
    }
}

/// Behind a lock that nobody takes, so that a builder can be shared.
pub(crate) type MakeCard =
    Mutex<Box<dyn FnOnce(StartContext) -> BoxFuture<'static, Result<AgentCard>> + Send>>;

/// What has been done so far.
pub(crate) struct Starting {
    pub(crate) transport: Arc<dyn Transport>,
    /// The agent is in the directory, or may be.
    registered: bool,
    /// Its inbox is read.
    events: Option<EventStream>,
}

impl Starting {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, registered: false, events: None }
    }

    /// Registers where there is a card, and opens the inbox where it is to be read.
    pub(crate) async fn run(
        &mut self,
        card: Option<CardSource>,
        read: Option<SubscribeOptions>,
    ) -> Result<()> {
        let capabilities = self.transport.capabilities();
        if capabilities.disabled {
            return Ok(());
        }
        let (before, after) = if capabilities.durable_inbox { (None, read) } else { (read, None) };
        self.subscribe(before).await?;
        self.register(card).await?;
        self.subscribe(after).await
    }

    async fn register(&mut self, card: Option<CardSource>) -> Result<()> {
        let Some(card) = card else { return Ok(()) };
        self.check_directory()?;
        let card = card.made(&*self.transport).await?;
        let registered = observed(verb_span!(INFO, "agent.register"), self.transport.register(&card));
        let registered = registered.await;
        self.registered =
            registered.as_ref().map_or_else(|error| error.reached() == Reached::Unknown, |()| true);
        registered
    }

    /// # Errors
    /// `Unsupported` where nobody can register.
    pub(crate) fn check_directory(&self) -> Result<()> {
        match self.transport.capabilities().directory {
            true => Ok(()),
            false => Err(Error::unsupported("register", "this network has no directory")),
        }
    }

    async fn subscribe(&mut self, read: Option<SubscribeOptions>) -> Result<()> {
        let Some(read) = read else { return Ok(()) };
        let subscribed = observed(verb_span!(INFO, "agent.subscribe"), self.transport.subscribe(read));
        self.events = Some(subscribed.await?.events);
        Ok(())
    }

    /// Undoes what was done, the last step first. What that leaves is added to `error`, the cause.
    pub(crate) async fn undo(self, mut error: Error) -> Error {
        let Self { transport, registered, events } = self;
        drop(events);
        if registered {
            let taken_back = observed(verb_span!(INFO, "agent.unregister"), transport.unregister());
            if let Some(fault) = fault(timeout(STEP, taken_back).await) {
                error = error.with_context("still registered", fault);
            }
        }
        let closed = observed(verb_span!(INFO, "agent.close"), transport.close(CloseMode::Detach));
        let closed = timeout(STEP, closed).await;
        // Closed by somebody else, it is where it should be.
        let is_over = matches!(&closed, Ok(Err(error)) if error.kind() == ErrorKind::Closed);
        if let Some(fault) = fault(closed).filter(|_| !is_over) {
            error = error.with_context("not closed cleanly", fault);
        }
        error
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The attachment, its inbox when it is read, and whether the agent is in the directory.
    pub(crate) fn into_parts(self) -> (Arc<dyn Transport>, Option<EventStream>, bool) {
        (self.transport, self.events, self.registered)
    }
}

impl fmt::Debug for CardSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(card) => card.fmt(f),
            Self::Made(_) => f.write_str("made at the start"),
        }
    }
}

fn fault<E>(undone: std::result::Result<Result<()>, E>) -> Option<String> {
    match undone {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("there was no answer in time".to_owned()),
    }
}

/// What undoing one step may take.
const STEP: Duration = Duration::from_secs(5);
