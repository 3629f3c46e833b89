//! The life of a client's connection: live, down and being dialled again, or closed for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::connect::link::Link;
use crate::connect::{ConnectOptions, Reconnect, backoff, dial};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::uri::Mq9Uri;

/// Where a client's connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Commands go out.
    Connected,
    /// The connection was lost. Calls fail at once until an attempt succeeds.
    #[non_exhaustive]
    Reconnecting {
        /// The attempt under way or waited for, from 1.
        attempt: u32,
    },
    /// For good; [`crate::Client::closed`] says why.
    Closed,
}

/// Owns the connection and the task that replaces it. Dropping it ends both.
pub(crate) struct Session {
    shared: Arc<Shared>,
    supervisor: Option<AbortHandle>,
    pub(crate) permits: Option<Semaphore>,
}

struct Shared {
    phase: watch::Sender<Phase>,
    max_payload: AtomicUsize,
    uri: Mq9Uri,
    options: ConnectOptions,
}

enum Phase {
    Live(Arc<Link>),
    Down { attempt: u32 },
    Closed(Error),
}

impl Session {
    pub(crate) async fn open(uri: Mq9Uri, options: ConnectOptions) -> Result<Self> {
        let link = dial::dial(&uri, &options).await?;
        Ok(Self::over(link, uri, options))
    }

    /// A session over this connection; it is watched unless the application handed it in.
    pub(crate) fn over(link: Link, uri: Mq9Uri, options: ConnectOptions) -> Self {
        let watched = !link.foreign;
        let permits = options.max_in_flight.map(|calls| Semaphore::new(calls.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared {
            max_payload: AtomicUsize::new(link.nats.max_payload()),
            phase: watch::Sender::new(Phase::Live(Arc::new(link))),
            uri,
            options,
        });
        let supervisor = watched.then(|| tokio::spawn(supervise(Arc::clone(&shared))).abort_handle());
        Self { shared, supervisor, permits }
    }

    /// Another connection with the same options, without a probe. One that was handed in is shared.
    pub(crate) async fn sibling(&self) -> Result<Self> {
        let (uri, mut options) = (self.shared.uri.clone(), self.shared.options.clone());
        options.probe = false;
        let link = self.link("connect");
        if let Ok(link) = &link
            && link.foreign
        {
            let shared = Link::new(link.nats.clone(), Arc::clone(&link.alarm), true);
            return Ok(Self::over(shared, uri, options));
        }
        if let Some(ending) = self.ending("connect") {
            return Err(ending);
        }
        Box::pin(Self::open(uri, options)).await
    }

    /// The connection, if it is up.
    pub(crate) fn link(&self, operation: &'static str) -> Result<Arc<Link>> {
        match &*self.shared.phase.borrow() {
            Phase::Live(link) if link.is_up() => Ok(Arc::clone(link)),
            // The end, though the task that watches has not had its turn yet.
            Phase::Live(link) if self.ends_with_its_connection() => {
                Err(ended(operation, &link.alarm.cause_of_loss()))
            }
            Phase::Live(_) | Phase::Down { .. } => {
                Err(Error::new(ErrorKind::Disconnected, operation, "the connection is down")
                    .with_reached(Reached::No))
            }
            Phase::Closed(error) => Err(ended(operation, error)),
        }
    }

    /// Whether a lost connection is the end. That of one that was handed in is the application's to know.
    fn ends_with_its_connection(&self) -> bool {
        self.supervisor.is_some() && matches!(self.shared.options.reconnect, Reconnect::Close)
    }

    /// Why the client is finished, if it is.
    pub(crate) fn ending(&self, operation: &'static str) -> Option<Error> {
        match &*self.shared.phase.borrow() {
            Phase::Closed(error) => Some(ended(operation, error)),
            Phase::Live(_) | Phase::Down { .. } => None,
        }
    }

    pub(crate) fn state(&self) -> ConnectionState {
        self.shared.phase.borrow().state()
    }

    pub(crate) async fn state_other_than(&self, seen: ConnectionState) -> ConnectionState {
        let mut phases = self.shared.phase.subscribe();
        match phases.wait_for(|phase| phase.state() != seen).await {
            Ok(phase) => phase.state(),
            Err(_) => ConnectionState::Closed,
        }
    }

    pub(crate) async fn closed(&self) -> Error {
        let mut phases = self.shared.phase.subscribe();
        match phases.wait_for(|phase| matches!(phase, Phase::Closed(_))).await.as_deref() {
            Ok(Phase::Closed(error)) => error.duplicate(),
            _ => Error::new(ErrorKind::Closed, "connection", "the client is closed"),
        }
    }

    pub(crate) fn uri(&self) -> Mq9Uri {
        self.shared.uri.server()
    }

    pub(crate) fn max_payload(&self) -> usize {
        match &*self.shared.phase.borrow() {
            Phase::Live(link) => link.nats.max_payload(),
            _ => self.shared.max_payload.load(Ordering::Relaxed),
        }
    }

    /// Ends the session: what was handed to the socket goes out, calls under way fail.
    pub(crate) async fn close(&self, patience: Duration) {
        let by_owner = Error::new(ErrorKind::Closed, "connection", "the client was closed by its owner");
        let Some(link) = self.shared.end(by_owner) else { return };
        if let Some(supervisor) = &self.supervisor {
            supervisor.abort();
        }
        if link.foreign {
            return;
        }
        let farewell = async {
            link.nats.flush().await.ok()?;
            link.nats.drain().await.ok()?;
            link.alarm.lost().await;
            Some(())
        };
        if timeout(patience, farewell).await.is_err() {
            tracing::debug!(target: "mq9_client", "the connection was closed before it could be flushed");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.abort();
        }
    }
}

impl Shared {
    /// Closes with this reason unless closed already; gives the connection that was live.
    fn end(&self, reason: Error) -> Option<Arc<Link>> {
        let mut live = None;
        self.phase.send_if_modified(|phase| {
            if matches!(phase, Phase::Closed(_)) {
                return false;
            }
            if let Phase::Live(link) = std::mem::replace(phase, Phase::Closed(reason)) {
                live = Some(link);
            }
            true
        });
        live
    }

    /// Moves on unless closed; says whether it did.
    fn enter(&self, next: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let open = !matches!(phase, Phase::Closed(_));
            if open {
                *phase = next;
            }
            open
        })
    }
}

impl Phase {
    fn state(&self) -> ConnectionState {
        match self {
            Self::Live(_) => ConnectionState::Connected,
            Self::Down { attempt } => ConnectionState::Reconnecting { attempt: *attempt },
            Self::Closed(_) => ConnectionState::Closed,
        }
    }
}

impl Link {
    fn is_up(&self) -> bool {
        let nats_is_up = || self.nats.connection_state() == async_nats::connection::State::Connected;
        if self.foreign { nats_is_up() } else { !self.alarm.is_lost() }
    }
}

/// Waits for the connection to be lost, then does what the options say.
async fn supervise(shared: Arc<Shared>) {
    let mut attempt = 0;
    loop {
        let alarm = match &*shared.phase.borrow() {
            Phase::Live(link) => Arc::clone(&link.alarm),
            _ => return,
        };
        let since = Instant::now();
        alarm.lost().await;
        let Reconnect::Backoff { base, cap } = shared.options.reconnect else {
            shared.end(alarm.cause_of_loss());
            return;
        };
        if since.elapsed() >= cap {
            attempt = 0;
        }
        loop {
            attempt += 1;
            tracing::debug!(target: "mq9_client", attempt, "the connection is down");
            if !shared.enter(Phase::Down { attempt }) {
                return;
            }
            sleep(backoff::wait(attempt, base, cap, fastrand::f64())).await;
            match dial::dial(&shared.uri, &shared.options).await {
                Ok(link) => {
                    shared.max_payload.store(link.nats.max_payload(), Ordering::Relaxed);
                    if !shared.enter(Phase::Live(Arc::new(link))) {
                        return;
                    }
                    break;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Config) => {
                    shared.end(error);
                    return;
                }
                Err(error) => tracing::debug!(target: "mq9_client", attempt, %error, "still down"),
            }
        }
    }
}

/// The reason for the end, as the failure of a later call.
fn ended(operation: &'static str, reason: &Error) -> Error {
    Error::new(reason.kind(), operation, "the client is closed")
        .with_advice(reason.advice())
        .with_reached(Reached::No)
        .with_source(reason.to_string())
}
