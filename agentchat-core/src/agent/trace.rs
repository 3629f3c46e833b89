//! Which trace the agent's messages belong to.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use tracing::Span;

use super::outcome::{HandlerError, HandlerResult};
use crate::delivery::Delivery;
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::telemetry::{message_span, observed_by};
use crate::trace_context::TraceContext;
use crate::transport::Transport;

tokio::task_local! {
    /// What this task's messages belong to, if to anything.
    static HANDLED: Option<Within>;
}

/// Where a trace comes from.
enum Within {
    /// The message that is handled. Making a trace costs more than a small message, and most handlers send nothing.
    Message(Arc<Delivery>),
    Trace(TraceContext),
}

/// What surrounds a handler: its span, and the trace of its message.
pub(super) struct Handling {
    span: Span,
    traced: Option<Arc<Delivery>>,
}

impl Handling {
    /// `traces` says whether what the handler sends belongs to the message's trace; `count` is how many
    /// messages a batch has, and `delivery` its first one.
    pub(super) fn new(delivery: &Arc<Delivery>, count: Option<usize>, attempt: u32, traces: bool) -> Self {
        let id = delivery.client_msg_id.as_ref();
        let span = message_span!(INFO, "agent.handle", delivery, id, count, attempt);
        Self { span, traced: traces.then(|| Arc::clone(delivery)) }
    }

    /// Runs the handler. Tasks it spawns are on their own.
    pub(super) async fn run(self, handler: impl Future<Output = HandlerResult>) -> HandlerResult {
        observed_by(
            self.span,
            HANDLED.scope(self.traced.map(Within::Message), handler),
            HandlerError::kind_name,
        )
        .await
    }
}

impl TraceContext {
    /// The trace of the message that this task handles, or that it was [put within](Self::scope): what it
    /// sends through an agent continues it. `None` outside of a handler, and where the agent adds no lines.
    pub fn current() -> Option<Self> {
        handled()
    }

    /// Runs `future` within this trace: what it sends through an agent belongs to it, as what a handler sends
    /// belongs to the trace of its message. For work that goes on after its handler, in a task of its own.
    /// Tasks it spawns are on their own.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        HANDLED.scope(Some(Within::Trace(self)), future).await
    }
}

/// The trace of the message that is being handled by this task.
pub(super) fn handled() -> Option<TraceContext> {
    let trace = |within: &Within| match within {
        Within::Message(delivery) => of_delivery(delivery),
        Within::Trace(trace) => *trace,
    };
    HANDLED.try_with(|within| within.as_ref().map(trace)).ok().flatten()
}

/// The trace of a delivery: the one it carries, else the one its sender would have begun with it.
pub(super) fn of_delivery(delivery: &Delivery) -> TraceContext {
    delivery.trace_context().unwrap_or_else(|| TraceContext::derived(&delivery.identity()))
}

/// What `message` should carry when it is sent `within` a trace, or begins its own. `None` when it carries
/// a line already, whatever that says, and where the network has no place for one. The same message within the
/// same trace always gets the same.
pub(super) fn line(
    message: &Outbound,
    sender: &dyn Transport,
    within: Option<TraceContext>,
) -> Option<TraceContext> {
    if message.headers.get(TraceContext::HEADER).is_some() || !sender.capabilities().headers {
        return None;
    }
    Some(step_of(&message.client_msg_id, sender, within))
}

/// The step of the message of this id `within` a trace, or in its own.
pub(super) fn step_of(
    id: &ClientMsgId,
    sender: &dyn Transport,
    within: Option<TraceContext>,
) -> TraceContext {
    // As the receiver's `Delivery::identity` has it.
    let identity = format!("c{id}\n{}", sender.address().name());
    TraceContext::step(&identity, within)
}

/// `message` with its line, unless there is no room for one.
pub(super) fn carrying(message: &Outbound, line: Option<TraceContext>) -> Cow<'_, Outbound> {
    let Some(line) = line else { return Cow::Borrowed(message) };
    let carrying = message.clone().with_trace_context(line);
    if carrying.headers.check().is_err() { Cow::Borrowed(message) } else { Cow::Owned(carrying) }
}
