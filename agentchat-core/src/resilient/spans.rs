//! The spans of a session's verbs.

use tracing::Span;

use super::calls::Call;
use crate::message::Outbound;
use crate::session::outbox::Attempt;
use crate::telemetry::{Digest, TraceId, message_span, verb_span};

pub(super) fn send(message: &Outbound) -> Span {
    message_span!(DEBUG, "session.send", message, Some(&message.client_msg_id))
}

pub(super) fn attempt(attempt: &Attempt) -> Span {
    let message = &attempt.message;
    verb_span!(
        DEBUG,
        "session.attempt",
        client_msg_id = %message.client_msg_id,
        attempt = attempt.number,
        trace_id = message.trace_context().map(TraceId).map(tracing::field::display)
    )
}

pub(super) fn call(call: &Call) -> Span {
    match call {
        Call::Register(_) => verb_span!(DEBUG, "session.register"),
        Call::Unregister => verb_span!(DEBUG, "session.unregister"),
        Call::Report(_) => verb_span!(DEBUG, "session.report"),
        Call::Discover(_) => verb_span!(DEBUG, "session.discover"),
        Call::Put(..) => verb_span!(DEBUG, "session.put"),
        Call::Get(..) => verb_span!(DEBUG, "session.get"),
        Call::Replay(conversation, _) => {
            verb_span!(DEBUG, "session.replay", conversation = %Digest(conversation))
        }
        Call::Subscribe(_) => verb_span!(DEBUG, "session.subscribe"),
    }
}

pub(super) fn close() -> Span {
    verb_span!(DEBUG, "session.close")
}
