//! What A2A over agents tells by `tracing`: every span and event, with its level and fields.
//!
//! Names, levels and fields are stable: further ones may come, none changes its meaning. The target of all is
//! `a2a_envelope` and what is below it. What the network does for it is told by the spans and events of
//! [`agentchat_core::telemetry`]: that an agent is registered by the span `agent.register` with the outcome `ok`, a
//! heartbeat by the span `agent.report` and one that failed by the event `heartbeat.failed`, a dead letter by the
//! event `dead_letter.sent`. No subscriber is installed; the same events come typed, as JSON lines if you like, to an [`A2aObserver`](super::A2aObserver).
//!
//! No body, header value, key, token or whole address is in any field. Ids (`correlation`, `task`) are as their
//! owners chose them, so choose none that must not be read. A `why` is one line in the words of this library or of
//! the network; of what a store says of its failure, only that it failed. What a handler says of its failure may quote a message, so of it no word is told
//! here: the words go to [`A2aObserver::handler_failed`](super::A2aObserver::handler_failed).
//!
//! # Spans
//!
//! Both sides of a call have one, joined by `trace_id`, which travels as `traceparent` of
//! [W3C trace context](https://www.w3.org/TR/trace-context/). What a handler sends and calls belongs to the trace
//! of the request it works on, also when another worker goes on with it. `otel.name` and `otel.kind` are what
//! bridges to OpenTelemetry name a span by. `outcome` is `ok` or `error`, and missing when nobody waited for the
//! end; `error_kind` is `refused`, `timeout`, `cut`, `failed`, or that of the network
//! ([`ErrorKind::as_str`](agentchat_core::ErrorKind::as_str)). A field that says nothing is missing.
//!
//! | name | level | fields | the span of |
//! |---|---|---|---|
//! | `a2a.call` | info | otel.name, otel.kind, correlation, trace_id, task, outcome, error_kind, code | a call of a client, from its sending to its end |
//! | `a2a.request` | info | otel.kind, id, trace_id | the intake of a message at a server, `id` as its network has it |
//! | `a2a.task` | info | task | a server's work on a task, over all its requests |
//! | `a2a.turn` | info | otel.name, otel.kind, task, correlation, trace_id, outcome, error_kind | the work on one request of a task |
//!
//! # Events
//!
//! | name | level | fields | says that |
//! |---|---|---|---|
//! | `request.sent` | debug | method, correlation, bytes | a request is with the network |
//! | `request.received` | debug | method, dialect, correlation, bytes | one came in |
//! | `request.duplicate` | debug | correlation, task | it came again and is answered, not run |
//! | `request.expired` | debug | method, dialect, correlation, task, bytes | its deadline had passed, and it is not run |
//! | `request.rejected` | warn | method, dialect, correlation, bytes, why | it cannot be read, or must not be answered where it says |
//! | `request.forgotten` | warn | task | it was recorded and never became a task, and nobody waits for it any longer |
//! | `question.expired` | debug | correlation, task, state | nobody answered it in time, and its task has ended |
//! | `reply.sent` | debug | correlation, seq, generation, bytes | a reply is with the network |
//! | `reply.unsent` | warn | correlation, seq, generation, bytes, why | one was given up |
//! | `reply.received` | debug | correlation, task, seq, generation, bytes, latency_ms | one came in |
//! | `reply.late` | debug | correlation, task, seq, generation, bytes, latency_ms | one came after the call's deadline |
//! | `reply.unreadable` | warn | correlation | one is passed over |
//! | `task.state` | debug | task, state, generation | a task is stored as it is now |
//! | `task.lost` | warn | task, why | it is another worker's, or cannot be stored: nothing more is said here |
//! | `handler.failed` | warn | task, why | a handler failed, or `panicked` |
//! | `stream.gap` | warn | correlation, task | replies are missing for good |
//! | `stream.resynced` | debug | correlation, task | what was missed is made good by the task's snapshot |
//! | `stream.end` | debug | correlation, task | a call has its last reply |
//! | `snapshot.unpublished` | warn | task, why | callers cannot read the task as it is now without its worker |
//! | `store.failed` | warn | why | a store failed for longer than is waited for |

use std::fmt;

use agentchat_core::TraceContext;
use tracing::Span;

use super::error::A2aError;
use super::note::Note;

macro_rules! told {
    ($note:ident: $($level:ident { $($name:literal)* })*) => {
        match $note.name {
            $($($name => tracing::event!(
                name: $name, tracing::Level::$level, method = $note.method, dialect = $note.dialect,
                correlation = $note.correlation, task = $note.task, state = $note.state, seq = $note.seq,
                generation = $note.generation, bytes = $note.bytes, latency_ms = $note.latency_ms,
                why = $note.why
            ),)*)*
            name => debug_assert!(false, "{name} is not on the page"),
        }
    };
}

/// Tells the log.
pub(crate) fn tell(note: &Note<'_>) {
    told!(note:
        DEBUG {
            "request.sent" "request.received" "request.duplicate" "request.expired" "question.expired" "reply.sent"
            "reply.received" "reply.late" "task.state" "stream.resynced" "stream.end"
        }
        WARN {
            "request.rejected" "request.forgotten" "reply.unsent" "reply.unreadable" "task.lost"
            "handler.failed" "stream.gap" "snapshot.unpublished" "store.failed"
        }
    );
}

/// The span of a call.
pub(crate) fn call(method: Option<&str>, correlation: &str, trace: Option<TraceContext>) -> Span {
    tracing::info_span!(
        "a2a.call",
        otel.name = method,
        otel.kind = "client",
        correlation,
        trace_id = trace.map(TraceId).map(tracing::field::display),
        task = tracing::field::Empty,
        outcome = tracing::field::Empty,
        error_kind = tracing::field::Empty,
        code = tracing::field::Empty
    )
}

/// The span of a message's intake.
pub(crate) fn request(id: &str) -> Span {
    let trace = TraceContext::current().map(TraceId).map(tracing::field::display);
    tracing::info_span!("a2a.request", otel.kind = "server", id, trace_id = trace)
}

/// The span of the work on one request.
pub(crate) fn turn(streams: bool, task: &str, correlation: &str, trace: Option<TraceContext>) -> Span {
    tracing::info_span!(
        "a2a.turn",
        otel.name = if streams { "SendStreamingMessage" } else { "SendMessage" },
        otel.kind = "server",
        task,
        correlation,
        trace_id = trace.map(TraceId).map(tracing::field::display),
        outcome = tracing::field::Empty,
        error_kind = tracing::field::Empty
    )
}

/// Notes how the work of a span ended.
pub(crate) fn ended(span: &Span, error: Option<&A2aError>) {
    let Some(error) = error else {
        span.record("outcome", "ok");
        return;
    };
    span.record("outcome", "error").record("error_kind", kind(error));
    if let Some(code) = error.code() {
        span.record("code", code);
    }
}

/// Notes how a handler ended.
pub(crate) fn worked(span: &Span, well: bool) {
    span.record("outcome", if well { "ok" } else { "error" });
    if !well {
        span.record("error_kind", "failed");
    }
}

fn kind(error: &A2aError) -> &'static str {
    match error {
        A2aError::Refused { .. } => "refused",
        A2aError::TimedOut { .. } => "timeout",
        A2aError::Cut => "cut",
        A2aError::Network(error) => error.kind().as_str(),
        A2aError::Envelope(_) | A2aError::Call(_) | A2aError::Task(_) => "failed",
    }
}

/// Runs `work` within a trace, where there is one.
pub(super) async fn within<F: Future>(trace: Option<TraceContext>, work: F) -> F::Output {
    match trace {
        Some(trace) => trace.scope(work).await,
        None => work.await,
    }
}

/// A trace as it is told.
struct TraceId(TraceContext);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.trace_id())
    }
}
