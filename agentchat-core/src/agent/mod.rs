//! The agent runtime: what a framework embeds.

// In: `serve` reads the inbox, `intake` where replies come into the same one; `dispatch` says what is handled
// when, `conclude` does what is done instead; `settled` and `acks` tell the transport. Out: `call` and
// `call_many`, whose replies come by `replies` and `reply_reader`, or by `own_inbox`. Life: `builder`,
// `start`, `election`, `heartbeat`, `close`; `tasks` is what ends with the last handle.

mod acks;
mod answer_log;
mod aside;
mod builder;
mod call;
mod call_many;
mod call_mode;
mod call_request;
mod calls;
mod close;
mod close_report;
mod conclude;
mod dead_letter;
mod dispatch;
#[cfg(feature = "leader-lock")]
mod election;
mod fan_out;
mod handler;
mod headers;
mod heartbeat;
mod intake;
mod outcome;
mod own_inbox;
mod own_serving;
mod pending;
mod rehearsal;
mod replies;
mod reply_reader;
mod request;
mod role;
mod sent;
mod serve;
mod serve_options;
mod serve_stats;
mod serving;
mod settled;
mod start;
mod tasks;
mod trace;
mod turns;

use std::fmt;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

pub use builder::AgentBuilder;
pub use call::{Call, Reply};
pub use call_mode::CallMode;
pub use call_request::CallRequest;
pub use close_report::CloseReport;
pub use dead_letter::{DeadLetter, DeadLetterHook, DeadLetters};
pub use fan_out::{FanOut, TargetEnd, TargetOutcome};
pub use handler::{Handler, batch_handler};
pub use headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
pub use outcome::{HandlerError, HandlerResult};
pub use rehearsal::Rehearsal;
pub use request::Request;
pub use role::Role;
pub use serve_options::{ServeOptions, ServePolicy};
pub use serve_stats::ServeStats;
pub use serving::{Served, Serving};
pub use start::StartContext;
pub use turns::TurnGuard;

use crate::address::Address;
use crate::capability::Capabilities;
use crate::clock::after;
use crate::delivery::Receipt;
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::ClientMsgId;
use crate::message::{Body, Outbound};
use crate::options::Inbox;
use crate::telemetry::{observed, verb_span};
use crate::trace_context::TraceContext;
use crate::transport::{ConnectionState, Connector, KeyedValue, Transport};
use serve::Source;
use serving::Stop;
use tasks::Tasks;

pub(crate) use acks::Acks;
#[cfg(test)]
pub(crate) use dispatch::fuzz::run as fuzz_dispatcher;
pub(crate) use tasks::AgentShared;

/// A running agent: an inbox, a place in the directory, and the verbs.
///
/// Handles are cheap to clone. Dropping the last one stops every task of the agent at once, serving
/// included, ends its calls, and leaves the registration as it is; [`Agent::close`] ends cleanly. A handler
/// that holds a handle keeps the agent alive while it is served.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<AgentShared>,
    owner: Arc<Tasks>,
}

impl Agent {
    /// Begins an agent on the network that `connector` reaches.
    pub fn builder<C: Connector>(connector: C) -> AgentBuilder<C> {
        AgentBuilder::new(connector)
    }

    /// The agent's inbox.
    pub fn address(&self) -> &Address {
        self.shared.transport.address()
    }

    /// Whether there is a network: `false` for an agent that was started without one, by a connector that
    /// is `None`.
    pub fn is_enabled(&self) -> bool {
        !self.capabilities().disabled
    }

    /// What the network can do.
    pub fn capabilities(&self) -> &Capabilities {
        self.shared.capabilities()
    }

    /// Whether the agent is connected now, where its attachment tells.
    pub fn connection(&self) -> ConnectionState {
        self.shared.transport.connection()
    }

    /// The attachment underneath, for what the agent does not wrap.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    /// Asks the directory.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a network without one; the transport's errors.
    pub async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.owner.check_alive("discover")?;
        if !self.capabilities().directory {
            return Err(self.shared.lacks("discover", "this network has no directory"));
        }
        observed(verb_span!(INFO, "agent.discover"), self.shared.transport.discover(query)).await
    }

    /// Sends a message. `Ok` is the network's own answer that it has it. After an error whose
    /// [`reached`](Error::reached) is not `Yes`, sending the *same value* again is safe: the receiver
    /// recognises its id.
    ///
    /// Messages of one conversation and priority that are sent one after the other arrive in that order,
    /// where the network keeps one. Dropping the future may leave the message sent or not sent.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the id was used for another content, unless that certainly
    /// reached nobody; [`Unsupported`](ErrorKind::Unsupported), [`TooLarge`](ErrorKind::TooLarge) or
    /// [`Invalid`](ErrorKind::Invalid) before anything is sent; the transport's errors.
    pub async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.owner.check_alive("send")?;
        self.capabilities().check(message)?;
        if self.shared.replies.own.is_some()
            && let Some(correlation_id) = &message.correlation_id
        {
            self.shared.replies.calls.ask(correlation_id);
        }
        self.shared.transmit_once(message, message).await
    }

    /// Asks `peer` and returns the stream of its replies. The request is with the network when this
    /// returns. Dropping the future gives the call up; the request may have been sent.
    ///
    /// Where the network opens no reply inboxes ([`extra_inbox`](Capabilities::extra_inbox) is off) the peer
    /// answers to the agent's own inbox, in which replies are told by their correlation id and never reach
    /// the handler that serves it. There whoever knows the id of a call could answer it: leave it random. If
    /// nobody serves the inbox, the first call begins to read it while a call waits, and up to 1,024 messages
    /// and 8 MiB that are no replies are kept, unsettled, for a later [`Agent::serve`]; a serving reads as far
    /// ahead of its handlers while a call waits.
    ///
    /// # Errors
    /// As [`Agent::send`], where a repeated call may have another deadline; [`Timeout`](ErrorKind::Timeout)
    /// when the call's own time is over before the request is with the network;
    /// [`Unsupported`](ErrorKind::Unsupported) where there is no network;
    /// [`Conflict`](ErrorKind::Conflict) when a call under this correlation id is under way;
    /// [`Backpressure`](ErrorKind::Backpressure) when calls to more than 1,024 peers are, or where the own inbox is full of messages
    /// that nobody serves.
    pub async fn call(&self, peer: &Address, request: CallRequest) -> Result<Call> {
        self.check_calls("call")?;
        // Before the end here: a request that is found when nobody waits any more must be found too late.
        let deadline = request.deadline();
        let end = after(Instant::now(), request.timeout);
        let late = |reached| {
            let what = "the call's time was over before the request was with the network";
            Error::new(ErrorKind::Timeout, "call", what).with_reached(reached)
        };
        let correlation_id = request.correlation()?;
        let content = request.content(peer, correlation_id.clone(), self.capabilities())?;
        let inbox = self.shared.replies.expect(
            peer,
            &request.client_msg_id,
            correlation_id.clone(),
            end,
            request.private_inbox,
        );
        let (inbox, registered) = timeout_at(end, inbox).await.map_err(|_| late(Reached::No))??;
        let message = request.message(&content, inbox, deadline, self.capabilities())?;
        let sent = timeout_at(end, self.shared.transmit_once(&content, &message)).await;
        sent.map_err(|_| late(Reached::Unknown))??;
        Ok(Call::new(correlation_id, registered, end))
    }

    /// The trace that a message under this id would carry if this task sent it now: a step in the trace of the
    /// message that is being handled, else one of its own. `None` where the agent adds no lines.
    pub fn trace_for(&self, id: &ClientMsgId) -> Option<TraceContext> {
        self.shared.trace_for(id)
    }

    /// Serves the agent's inbox with `handler`: what waited first, then what arrives. Messages of one
    /// conversation are handled in order, one at a time or as [`ServePolicy`] says; each once, however
    /// often it is delivered.
    ///
    /// The own inbox is served once at a time; serving it anew waits until what was told to stop has ended.
    /// Dropping the future serves nothing.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for [options](ServeOptions::check) out of range;
    /// [`Conflict`](ErrorKind::Conflict) when the own inbox is being served already;
    /// [`Closed`](ErrorKind::Closed) after [`Agent::close`]; the transport's, when the inbox cannot be read.
    pub async fn serve(&self, handler: impl Handler, options: ServeOptions) -> Result<Serving> {
        options.check()?;
        let _starting = self.owner.starting.lock().await;
        self.owner.check_open("serve")?;
        if options.subscribe.inbox == Inbox::Own {
            for control in self.owner.serving().iter().filter(|control| control.own) {
                match control.stopped() {
                    Stop::No => {
                        let what = "the inbox is being served already";
                        return Err(Error::new(ErrorKind::Conflict, "serve", what).with_reached(Reached::No));
                    }
                    Stop::Lost => {}
                    Stop::Drain | Stop::Late | Stop::Gone => control.ended().await,
                }
            }
        }
        let own = self.shared.replies.own.as_ref().filter(|own| own.is_read_by(&options.subscribe));
        let (source, options) = match own {
            Some(own) => own.serve(options).await?,
            None => {
                let events = self.shared.open(options.subscribe.clone()).await?;
                (Source::new(events, &self.shared), options)
            }
        };
        let serving = serve::start(Arc::clone(&self.shared), source, Arc::new(handler), options);
        self.owner.add_serving(serving.control());
        // Either closing has seen it, or this sees the closing.
        self.owner.check_open("serve")?;
        Ok(serving)
    }

    /// Reports a status at once, besides the heartbeat.
    ///
    /// # Errors
    /// The transport's.
    pub async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.owner.check_alive("report")?;
        observed(verb_span!(INFO, "agent.report"), self.shared.transport.report(heartbeat)).await
    }

    /// Sets state under `key` in this agent's inbox, or reads it with [`Agent::state_of`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a network without keyed state; the transport's.
    pub async fn put_state(&self, key: &str, value: Body) -> Result<()> {
        self.check_state("put")?;
        observed(verb_span!(INFO, "agent.put"), self.shared.transport.put(self.address(), key, value)).await
    }

    /// Reads the newest state under `key` in the inbox `of`, without consuming anything.
    ///
    /// # Errors
    /// As [`Agent::put_state`].
    pub async fn state_of(&self, of: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.check_state("get")?;
        observed(verb_span!(INFO, "agent.get"), self.shared.transport.get(of, key)).await
    }

    /// How many replies came that no call waited for any more. They were settled and dropped.
    pub fn late_replies(&self) -> u64 {
        self.shared.replies.calls.late_replies()
    }

    fn check_state(&self, operation: &'static str) -> Result<()> {
        self.owner.check_alive(operation)?;
        match self.capabilities().keyed_state {
            true => Ok(()),
            false => Err(self.shared.lacks(operation, "this network keeps no keyed state")),
        }
    }

    fn check_calls(&self, operation: &'static str) -> Result<()> {
        self.owner.check_alive(operation)?;
        match self.capabilities().disabled {
            false => Ok(()),
            true => Err(self.shared.lacks(operation, "there is no network")),
        }
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("address", self.address()).finish_non_exhaustive()
    }
}
