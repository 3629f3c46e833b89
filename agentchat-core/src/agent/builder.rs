//! Starting an agent.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;

#[cfg(feature = "leader-lock")]
use super::election::{self, Candidate};
use super::role::{Role, Seat};
use super::serve::Source;
use super::start::{CardSource, Starting};
use super::tasks::{AgentShared, Tasks};
use super::{Agent, Handler, ServeOptions, StartContext, heartbeat, own_inbox, serve};
use crate::beacon::{Beacon, BeaconState};
use crate::card::AgentCard;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{ConnectionState, Connector, Transport};

/// What an agent is started with.
#[must_use]
pub struct AgentBuilder<C> {
    connector: C,
    card: Option<CardSource>,
    heartbeat: Option<Duration>,
    traces: bool,
    seed: Option<u64>,
    serving: Option<(Arc<dyn Handler>, ServeOptions)>,
    beacon: Option<PathBuf>,
    #[cfg(feature = "leader-lock")]
    leader_lock: Option<PathBuf>,
}

impl<C: Connector> AgentBuilder<C> {
    pub(crate) fn new(connector: C) -> Self {
        Self {
            connector,
            card: None,
            heartbeat: None,
            traces: true,
            seed: None,
            serving: None,
            beacon: None,
            #[cfg(feature = "leader-lock")]
            leader_lock: None,
        }
    }

    /// Registers the agent with this card. Without one it is not in the directory.
    pub fn card(mut self, card: AgentCard) -> Self {
        self.card = Some(CardSource::Given(card));
        self
    }

    /// Registers the agent with the card that `make` gives once the network is reached: the way for a card
    /// that names the agent's own inbox, which some networks choose. Its error ends the start, and the
    /// attachment is closed again. How long it may take is its own affair. It replaces
    /// [`AgentBuilder::card`], and is not asked where messaging is [disabled](Agent::is_enabled).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
    /// use agentchat_core::agent::StartContext;
    /// use agentchat_core::{Agent, AgentCard, Loopback};
    ///
    /// let agent = Agent::builder(Loopback::new().connector("coder")?)
    ///     .card_with(async |context: StartContext| {
    ///         AgentCard::from_json(format!(r#"{{"name":"coder","url":"{}"}}"#, context.address))
    ///     })
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn card_with<M, F>(mut self, make: M) -> Self
    where
        M: FnOnce(StartContext) -> F + Send + 'static,
        F: Future<Output = Result<AgentCard>> + Send + 'static,
    {
        self.card = Some(CardSource::Made(Mutex::new(Box::new(move |context| make(context).boxed()))));
        self
    }

    /// Reports at least each `interval` that the agent is alive (default 60 s, when it has a card), each
    /// time up to a tenth early: agents that start together do not go on reporting together.
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

    /// Sets what the agent's random choices are drawn from: how early its heartbeats are (default: chosen
    /// anew for each agent).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Serves the inbox with `handler` from the start on, as [`Agent::serve`] would. The serving belongs to
    /// the agent: it ends when the agent is closed or its last handle dropped, and [`Agent::served`] says
    /// how it ended.
    ///
    /// The handler is there before the agent is. One that needs the agent itself, to call others while it
    /// works, is given to [`Agent::serve`] instead.
    pub fn serve(mut self, handler: impl Handler, options: ServeOptions) -> Self {
        self.serving = Some((Arc::new(handler), options));
        self
    }

    /// Keeps a sign of life in the file at `path` from when the network is reached until the agent is closed:
    /// a [`Beacon`], which says whether the agent is connected where its attachment
    /// [tells](crate::Transport::connection).
    pub fn beacon(mut self, path: impl Into<PathBuf>) -> Self {
        self.beacon = Some(path.into());
        self
    }

    /// Lets at most one lead of all agents that are given the file at `path`, in any number of processes: see
    /// [`LeaderLock`](crate::LeaderLock) for the file. Who starts first leads. Each other one starts as a
    /// [follower](Role::Follower): it attaches, sends, and calls where answers have an inbox of their own, but is
    /// not put into the directory, does not report, and its own inbox is not read; what serves it waits, and
    /// does nothing until then. Where answers come into the one inbox, its calls end as `Conflict`. When the
    /// leader is closed or dropped, or its process ends in whatever way, one of the followers takes over within
    /// about a second: it registers, reads the inbox, and reports. The lock is given back last, behind the
    /// attachment; a [`Request`](super::Request) that is kept keeps both, unless the agent is closed.
    ///
    /// A follower has an attachment of its own, made by [`Connector::connect_for`]: on a network that pushes
    /// messages to whoever is attached, the connector sees to it that nothing is pushed to a follower. The
    /// [session](crate::Resilient) of an agent that is given one which is connected already is attached as a
    /// leader's: where what is pushed counts as delivered ([`AckGuarantee::None`](crate::AckGuarantee::None)),
    /// it may catch some of the leader's. Give a [`ResilientConnector`](crate::ResilientConnector) instead.
    ///
    /// [`Agent::role`] tells the role, and [`Agent::lead`] waits for the lead; the event `agent.role` and the
    /// reports of a session's status say it too. A follower that retires leaves the leader's registration
    /// alone. A card that the network refuses for good ends the wait of a follower with that error, and
    /// another one leads. Where messaging is [disabled](Agent::is_enabled) there is nothing to lead, and the
    /// lock is left alone.
    #[cfg(feature = "leader-lock")]
    pub fn leader_lock(mut self, path: impl Into<PathBuf>) -> Self {
        self.leader_lock = Some(path.into());
        self
    }

    /// Connects, which makes sure of the inbox; then registers; then subscribes; and last begins to handle
    /// and to report. An agent that can be found must have its inbox already: whoever finds it may write to
    /// it at once, and what comes before anybody reads waits there. Where the network keeps nothing for an
    /// agent that is away ([`durable_inbox`](crate::Capabilities::durable_inbox) is off) an inbox is only as
    /// good as its reader, and the agent subscribes before it registers. No handler runs in an agent that
    /// does not start.
    ///
    /// If a step fails, those before it are undone, the last one first: reading stops, the registration is
    /// taken back, also one of which it is not known whether it was made, and the attachment is closed. The
    /// error is the step's own; what could not be undone is in its [context](Error::context). A registration
    /// that an earlier run had left under the same name has been replaced, and is gone then.
    ///
    /// Dropping the future drops the attachment; a registration that was made or under way stays.
    ///
    /// # Errors
    /// Whatever a step answered; [`Invalid`](ErrorKind::Invalid) for a heartbeat of zero and for
    /// [options](ServeOptions::check) out of range;
    /// [`Config`](ErrorKind::Config) for a beacon that cannot be written, and a lock that cannot be used;
    /// [`Unsupported`](ErrorKind::Unsupported) for a card on a network without a directory.
    pub async fn start(self) -> Result<Agent> {
        if self.heartbeat.is_some_and(|interval| interval.is_zero()) {
            return Err(Error::new(ErrorKind::Invalid, "start", "the heartbeat interval is zero"));
        }
        self.serving.iter().try_for_each(|(_, options)| options.check())?;
        let mut seat = self.seat().await?;
        let mut starting = Starting::new(self.connector.connect_for(seat.role()).await?);
        if starting.transport().capabilities().disabled {
            seat = Seat::new(Role::Leader);
        }
        let follows = seat.role() == Role::Follower;
        let transport = Arc::clone(starting.transport());
        let wide = |options: &ServeOptions| own_inbox::ahead(&*transport, &options.subscribe);
        let options = self.serving.as_ref().map(|(_, options)| wide(options));
        let (now, later) = if follows { (None, self.card) } else { (self.card, None) };
        let now_read = options.clone().filter(|_| !follows);
        let known = if later.is_some() { starting.check_directory() } else { Ok(()) };
        let begun = match known {
            Ok(()) => starting.run(now, now_read).await,
            unknown => unknown,
        };
        if let Err(error) = begun {
            return Err(starting.undo(error).await);
        }
        let beacon = match self.beacon.map(|path| light(path, starting.transport())).transpose() {
            Ok(beacon) => beacon,
            Err(error) => return Err(starting.undo(error).await),
        };
        let (transport, mut events, registered) = starting.into_parts();
        let mut shared = AgentShared::new(transport, Arc::new(seat));
        shared.traces = self.traces;
        let shared = Arc::new(shared);
        let mut owner = Tasks::new(Arc::clone(&shared));
        let serves = self.serving.is_some();
        if let Some((handler, serving)) = self.serving {
            if follows {
                events = options.map(|wide| shared.seat.inbox(&shared.transport, wide));
            }
            let serving = events.map(|events| {
                let (source, options) = match &shared.replies.own {
                    Some(own) if own.is_read_by(&serving.subscribe) => own.adopt(events, serving),
                    _ => (Source::new(events, &shared), serving),
                };
                serve::start(Arc::clone(&shared), source, handler, options)
            });
            owner.own(serving);
        }
        if let Some(beacon) = beacon {
            owner.set_beacon(beacon);
        }
        let interval = self.heartbeat.unwrap_or(HEARTBEAT);
        let rng = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        if registered {
            owner.set_heartbeat(tokio::spawn(heartbeat::beat(Arc::clone(&shared), interval, rng.clone())));
        }
        #[cfg(feature = "leader-lock")]
        if let Some(lock) = self.leader_lock.filter(|_| !shared.capabilities().disabled) {
            election::tell(&shared);
            if follows {
                let agent = Arc::clone(&shared);
                let candidate = Candidate { agent, lock, card: later, serves, interval, rng };
                owner.set_heartbeat(tokio::spawn(candidate.run()));
            }
        }
        #[cfg(not(feature = "leader-lock"))]
        let _ = (later, serves);
        Ok(Agent { shared, owner: Arc::new(owner) })
    }

    /// Who leads without a lock is nobody's question.
    async fn seat(&self) -> Result<Seat> {
        #[cfg(feature = "leader-lock")]
        if let Some(path) = &self.leader_lock {
            return election::seat(path).await;
        }
        Ok(Seat::new(Role::Leader))
    }
}

impl<C: fmt::Debug> fmt::Debug for AgentBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("connector", &self.connector)
            .field("card", &self.card)
            .field("heartbeat", &self.heartbeat)
            .field("serving", &self.serving.as_ref().map(|(_, options)| options))
            .finish_non_exhaustive()
    }
}

/// A beacon that shows how `transport` stands.
fn light(path: PathBuf, transport: &Arc<dyn Transport>) -> Result<Beacon> {
    // It holds no attachment: the beacon must not keep one open.
    let (transport, stood) = (Arc::downgrade(transport), AtomicBool::new(false));
    Beacon::light(path, move || {
        let connection = transport.upgrade().map_or(ConnectionState::Closed, |it| it.connection());
        let connected = connection == ConnectionState::Connected;
        BeaconState::of(connection, stood.fetch_or(connected, Ordering::Relaxed))
    })
}

/// How often an agent reports when it is not told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(60);
