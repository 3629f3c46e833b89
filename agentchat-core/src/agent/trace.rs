//! Which trace the agent's messages belong to.

use std::borrow::Cow;
use std::future::Future;

use crate::delivery::Delivery;
use crate::message::Outbound;
use crate::trace_context::TraceContext;
use crate::transport::Transport;

tokio::task_local! {
    /// The trace of the message that this task handles.
    static HANDLED: Option<TraceContext>;
}

/// Runs a handler: what it sends meanwhile belongs to `trace`. Tasks it spawns are on their own.
pub(super) async fn handling<T>(trace: Option<TraceContext>, handler: impl Future<Output = T>) -> T {
    HANDLED.scope(trace, handler).await
}

/// The trace of the message that is being handled by this task.
pub(super) fn handled() -> Option<TraceContext> {
    HANDLED.try_with(|trace| *trace).ok().flatten()
}

/// The trace of a delivery: the one it carries, else the one its sender would have begun with it.
pub(super) fn of_delivery(delivery: &Delivery) -> TraceContext {
    delivery.trace_context().unwrap_or_else(|| TraceContext::derived(&delivery.identity()))
}

/// What `message` should carry when it is sent `within` a trace, or begins its own. `None` when it carries
/// a line already, whatever that says. The same message within the same trace always gets the same.
pub(super) fn line(
    message: &Outbound,
    sender: &dyn Transport,
    within: Option<TraceContext>,
) -> Option<TraceContext> {
    if message.headers.get(TraceContext::HEADER).is_some() {
        return None;
    }
    // As the receiver's `Delivery::identity` has it.
    let identity = format!("c{}\n{}", message.client_msg_id, sender.address().name());
    Some(TraceContext::step(&identity, within))
}

/// `message` with its line, unless there is no room for one.
pub(super) fn carrying(message: &Outbound, line: Option<TraceContext>) -> Cow<'_, Outbound> {
    let Some(line) = line else { return Cow::Borrowed(message) };
    let carrying = message.clone().with_trace_context(line);
    if carrying.headers.check().is_err() { Cow::Borrowed(message) } else { Cow::Owned(carrying) }
}
