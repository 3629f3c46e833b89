//! Header names of envelope format 1, all in lower case.
//!
//! Names that begin with `mq9-` are the ones the mq9 facade already writes; `a2a-` belongs to A2A's own
//! service parameters; `amb-` is this format's.

/// Marks an envelope of this format; the value is the format number.
pub const ENVELOPE: &str = "amb-envelope";
/// The A2A operation of a request, in PascalCase (`SendMessage`).
pub const METHOD: &str = "mq9-a2a-method";
/// Where answers go: a bare mailbox address. Absent on a one-way message.
pub const REPLY_TO: &str = "mq9-reply-to";
/// Ties replies to their request; equal to the JSON-RPC `id`.
pub const CORRELATION_ID: &str = "amb-correlation-id";
/// What a reply is; see [`ReplyType`](crate::ReplyType).
pub const TYPE: &str = "mq9-a2a-type";
/// Place of a reply among the replies to one request: 1, 2, 3, … without holes; an `Ack` is 0.
pub const SEQ: &str = "amb-seq";
/// The task's generation, in A2A 1.1's meaning.
pub const GENERATION: &str = "amb-generation";
/// The task an event belongs to. Never on a request for a new task.
pub const TASK_ID: &str = "mq9-a2a-task-id";
/// The A2A context a message belongs to.
pub const CONTEXT_ID: &str = "amb-context-id";
/// `true` on the last reply to a request.
pub const LAST: &str = "mq9-a2a-last";
/// A2A's version service parameter, `Major.Minor`.
pub const A2A_VERSION: &str = "a2a-version";
/// A2A's extensions service parameter.
pub const A2A_EXTENSIONS: &str = "a2a-extensions";
/// Two requests with this value are one request.
pub const IDEMPOTENCY_KEY: &str = "amb-idempotency-key";
/// Unix milliseconds after which a stored request is answered with an error instead of being run; on a reply
/// that asks something, after which it takes no answer.
pub const DEADLINE: &str = "amb-deadline";
/// W3C trace context, carried verbatim.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace state, carried verbatim.
pub const TRACESTATE: &str = "tracestate";
/// Where follow-ups and cancels of the reply's task go.
pub const TASK_INBOX: &str = "amb-task-inbox";
/// A signature over headers and body.
pub const SIGNATURE: &str = "amb-signature";
/// A token that only the first agent can read: who asked in the first place.
pub const ORIGIN_REF: &str = "amb-origin-ref";
/// How many agents the origin has passed; absent on the first request.
pub const ORIGIN_HOP: &str = "amb-origin-hop";
/// What the names begin with under which a receiving side tells its own handler something, such as who the
/// sender was proven to be. Never sent; dropped where a peer sends one.
pub const LOCAL_PREFIX: &str = "amb-local-";

/// On a request to subscribe: the generation the caller has seen last; later events are replayed, or the task
/// as it is now where they are not retained.
pub const RESUME_AFTER: &str = "amb-resume-after";
/// On a follow-up: the generation it answers. If the task is at another one, the follow-up is refused.
pub const IF_GENERATION: &str = "amb-if-generation";

/// What only an answering server says: dropped from requests.
pub(crate) const SERVER_SET: [&str; 5] = [TYPE, SEQ, GENERATION, LAST, TASK_INBOX];
/// What every A2A service parameter begins with.
pub(crate) const A2A_PREFIX: &str = "a2a-";
/// What the facade's A2A headers begin with.
pub(crate) const FACADE_PREFIX: &str = "mq9-a2a-";
