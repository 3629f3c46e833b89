//! Starting an agent.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;

use super::serve::Source;
use super::start::{CardSource, Starting};
use super::tasks::{AgentShared, Tasks};
use super::{Agent, Handler, ServeOptions, StartContext, heartbeat, own_inbox, serve};
use crate::card::AgentCard;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::Connector;

/// What an agent is started with.
#[must_use]
pub struct AgentBuilder<C> {
    connector: C,
    card: Option<CardSource>,
    heartbeat: Option<Duration>,
    traces: bool,
    seed: Option<u64>,
    serving: Option<(Arc<dyn Handler>, ServeOptions)>,
}

impl<C: Connector> AgentBuilder<C> {
    pub(crate) fn new(connector: C) -> Self {
        Self { connector, card: None, heartbeat: None, traces: true, seed: None, serving: None }
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
        self.serving = Some((Arc::new(handler), options.bounded()));
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
    /// Whatever a step answered; [`Invalid`](ErrorKind::Invalid) for a heartbeat of zero;
    /// [`Unsupported`](ErrorKind::Unsupported) for a card on a network without a directory.
    pub async fn start(self) -> Result<Agent> {
        if self.heartbeat.is_some_and(|interval| interval.is_zero()) {
            return Err(Error::new(ErrorKind::Invalid, "start", "the heartbeat interval is zero"));
        }
        let mut starting = Starting::new(self.connector.connect().await?);
        let transport = Arc::clone(&starting.transport);
        let options =
            self.serving.as_ref().map(|(_, options)| own_inbox::ahead(&*transport, &options.subscribe));
        if let Err(error) = starting.run(self.card, options).await {
            return Err(starting.undo(error).await);
        }
        let (transport, events, registered) = starting.into_parts();
        let mut shared = AgentShared::new(transport);
        shared.traces = self.traces;
        let shared = Arc::new(shared);
        let mut owner = Tasks::new(Arc::clone(&shared));
        if let Some((handler, options)) = self.serving {
            let serving = events.map(|events| {
                let (source, options) = match &shared.replies.own {
                    Some(own) if own.is_read_by(&options.subscribe) => own.adopt(events, options),
                    _ => (Source::new(events, &shared), options),
                };
                serve::start(Arc::clone(&shared), source, handler, options)
            });
            owner.own(serving);
        }
        if registered {
            let interval = self.heartbeat.unwrap_or(HEARTBEAT);
            let rng = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
            owner.set_heartbeat(tokio::spawn(heartbeat::beat(Arc::clone(&shared), interval, rng)));
        }
        Ok(Agent { shared, owner: Arc::new(owner) })
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

/// How often an agent reports when it is not told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(60);
