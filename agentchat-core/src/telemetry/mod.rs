//! What the library tells by [`tracing`]: every span and event, with its level and fields.
//!
//! Names, levels and fields are stable: further ones may come, none changes its meaning. The target of all
//! is `agentchat_core` and what is below it. The library installs no subscriber; without one a span costs a
//! check of a flag. The same facts come typed, as JSON lines if you like, from
//! [`Resilient::events`](crate::Resilient::events).
//!
//! No body, header value, key, token or whole address is in any field. Ids are as their owners chose them,
//! so choose none that must not be read. A conversation is told by its [digest](conversation_digest),
//! because some networks name conversations after their members. An `error` is one line, in the words of this
//! library or of the transport or store that failed, which are [held](crate::Error) to the same. What a
//! handler, a dead-letter hook or a turn guard says may quote a message, so of it no word is told: only its
//! `error_kind`, whether the message was `rejected`, and whether the handler `panicked`. The words themselves
//! go to whom they are for: those of a rejection to the sender that waits for a reply, and all of them to the
//! dead-letter hook.
//!
//! # Spans
//!
//! One for each call of a verb, from its beginning to its end. `outcome` is `ok` or `error`, and missing
//! when the call was dropped before its end; `error_kind` is
//! [`ErrorKind::as_str`](crate::ErrorKind::as_str); that of a handler is `handler`, unless it passed on an
//! [`Error`], which has its own. A field that says nothing about a call is missing.
//!
//! | name | level | fields | the span of |
//! |---|---|---|---|
//! | `agent.register` | info | outcome, error_kind | putting the agent into the directory |
//! | `agent.unregister` | info | outcome, error_kind | taking it out again |
//! | `agent.report` | info | outcome, error_kind | a status report, heartbeats included |
//! | `agent.discover` | info | outcome, error_kind | a question to the directory |
//! | `agent.send` | info | client_msg_id, correlation_id, conversation, trace_id, outcome, error_kind | sending anything: messages, requests, replies, dead letters |
//! | `agent.subscribe` | info | outcome, error_kind | opening an inbox, for serving or for replies |
//! | `agent.handle` | info | client_msg_id, correlation_id, conversation, trace_id, count, attempt, outcome, error_kind | a handler at work on a message, or on a batch of `count`, told by its first one |
//! | `agent.ack` | debug | count, outcome, error_kind | acknowledging a batch of settled messages |
//! | `agent.put` | info | outcome, error_kind | setting keyed state |
//! | `agent.get` | info | outcome, error_kind | reading keyed state |
//! | `agent.close` | info | outcome, error_kind | closing the attachment |
//! | `session.register` | debug | outcome, error_kind | the same verbs of a session: each over as many connections as it takes |
//! | `session.unregister` | debug | outcome, error_kind | |
//! | `session.report` | debug | outcome, error_kind | |
//! | `session.discover` | debug | outcome, error_kind | |
//! | `session.send` | debug | client_msg_id, correlation_id, conversation, trace_id, outcome, error_kind | a message, from the outbox to its receipt |
//! | `session.attempt` | debug | client_msg_id, attempt, trace_id, outcome, error_kind | one attempt to send it |
//! | `session.subscribe` | debug | outcome, error_kind | |
//! | `session.ack` | debug | count, outcome, error_kind | a batch on the connection of now |
//! | `session.replay` | debug | conversation, outcome, error_kind | |
//! | `session.put` | debug | outcome, error_kind | |
//! | `session.get` | debug | outcome, error_kind | |
//! | `session.close` | debug | outcome, error_kind | |
//!
//! # Events
//!
//! An `id` is that of the message that came, as its network has it; `client_msg_id` is its sender's. `reached`
//! is [`Reached::as_str`](crate::Reached::as_str). A field that an occasion has no value for is missing.
//!
//! | name | level | fields | says that |
//! |---|---|---|---|
//! | `session.state` | info | state, attempt, wait_ms, reason, error_kind | the session stands otherwise |
//! | `session.connected` | info | count | there is a connection, the how-manyth |
//! | `session.lost` | warn | error_kind, reached, error, attempted | the connection was lost, or could not be made (`attempted`) |
//! | `session.failed` | error | error_kind, error | the session has ended by itself |
//! | `session.status` | info | connected, role, received, self_filtered, queued, pending | it is time for a status |
//! | `session.gap` | warn | conversation, expected, got | messages are missing for good |
//! | `session.hole_filled` | debug | conversation | history had what was missing |
//! | `send.retried` | debug | client_msg_id, attempt, error_kind, reached, wait_ms | an attempt failed and is repeated |
//! | `send.rate_limited` | debug | scope, wait_ms | the next message waits for a permit |
//! | `send.given_up` | debug | client_msg_id, attempts, error_kind, reached, error | a sender gets an error |
//! | `send.parked` | warn | client_msg_id, attempts, error_kind, reached, error | a message that nobody waits for was given up and is kept |
//! | `ack.failed` | warn | count, error | an acknowledgement is tried again |
//! | `ack.lost` | warn | count, error | settled messages will come again |
//! | `ack.early` | debug | error | an acknowledgement before its time failed, and is tried again |
//! | `store.failed` | warn | client_msg_id, error_kind, error | the store of the outbox is behind: a message may be sent again after a restart |
//! | `cursor.refused` | warn | error_kind, error | the store of positions refused one, for the first time |
//! | `heartbeat.failed` | debug | error_kind, error | a heartbeat was not taken, or not in time |
//! | `beacon.failed` | warn | error | the file of a `Beacon` could not be written; it is tried again |
//! | `unregister.failed` | debug | error_kind, error | a closing agent is still in the directory, and tries once more |
//! | `agent.role` | info | role | an agent with a lock has this role now |
//! | `lead.failed` | warn | error_kind, error | an agent that is to lead could not be put into the directory |
//! | `agent.disabled` | debug | | there is no network: none is configured |
//! | `serve.caught_up` | debug | | what waited has been read |
//! | `serve.hole` | warn | hole | messages are missing |
//! | `handler.failed` | warn | id, task, failures, error_kind, rejected, panicked | what was to be done for a message was not: to `handle` it, or instead to `expire`, `supersede` or `bury` it |
//! | `message.superseded` | debug | id | a newer message took its place |
//! | `message.refused` | debug | id | a guard or a limit turned a message away |
//! | `turns.over_limit` | warn | id, conversation | a conversation has had its turns, told once in each window |
//! | `turn_guard.panicked` | warn | id | a guard panicked, and the message passed |
//! | `dead_letter.sent` | warn | id, failures, error_kind, rejected, panicked | a message was given up |
//! | `sender.untold` | debug | id, error_kind, error | a sender that waits could not be told that no reply comes |
//! | `reply.kept_first` | debug | id, seq | a message is answered otherwise than before, and the first answer stands |
//! | `reply.repeated` | debug | seq | a reply came again |
//! | `reply.late` | debug | id | no call waits for this reply |
//! | `reply.hole` | warn | hole | replies are missing |

mod names;

use std::fmt;
use std::future::Future;

use futures_util::FutureExt;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::ConversationId;
use crate::trace_context::TraceContext;
use crate::transport::Event;

/// What stands for a conversation in spans and events: 16 hexadecimal digits that depend on its id alone. It
/// tells conversations apart; who can guess an id can check the guess.
pub fn conversation_digest(conversation: &ConversationId) -> String {
    Digest(conversation).to_string()
}

/// A conversation as it is told.
#[derive(Clone, Copy)]
pub(crate) struct Digest<'a>(pub(crate) &'a ConversationId);

/// A trace as it is told.
pub(crate) struct TraceId(pub(crate) TraceContext);

/// An event of a subscription that says that something is missing.
pub(crate) struct Hole<'a>(pub(crate) &'a Event);

/// A span of a verb, whose outcome [`observed`] notes.
macro_rules! verb_span {
    ($level:ident, $name:literal $(, $($fields:tt)*)?) => {
        tracing::span!(
            tracing::Level::$level,
            $name,
            outcome = tracing::field::Empty,
            error_kind = tracing::field::Empty
            $(, $($fields)*)?
        )
    };
}
pub(crate) use verb_span;

/// A span of a verb with what it says of a message: an [`Outbound`](crate::Outbound), or anything with
/// such fields, and an optional id.
macro_rules! message_span {
    ($level:ident, $name:literal, $message:expr, $id:expr $(, $($fields:tt)*)?) => {
        $crate::telemetry::verb_span!(
            $level,
            $name,
            client_msg_id = $id.map(tracing::field::display),
            correlation_id = $message.correlation_id.as_ref().map(tracing::field::display),
            conversation = $message.conversation.as_ref().map($crate::telemetry::Digest).map(tracing::field::display),
            trace_id = $message.trace_context().map($crate::telemetry::TraceId).map(tracing::field::display)
            $(, $($fields)*)?
        )
    };
}
pub(crate) use message_span;

/// Runs a verb in its span and notes how it ended.
pub(crate) fn observed<T>(
    span: Span,
    verb: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    observed_by(span, verb, |error: &Error| error.kind().as_str())
}

/// The same for errors that have no kind of their own.
pub(crate) fn observed_by<T, E>(
    span: Span,
    verb: impl Future<Output = std::result::Result<T, E>>,
    kind: impl Fn(&E) -> &'static str,
) -> impl Future<Output = std::result::Result<T, E>> {
    // Not an `async fn`, which would hold the verb twice and more and copy it from one place to the next.
    let noted = span.clone();
    verb.instrument(span).inspect(move |ended| {
        if noted.is_disabled() {
            return;
        }
        noted.record("outcome", if ended.is_ok() { "ok" } else { "error" });
        if let Err(error) = ended {
            noted.record("error_kind", kind(error));
        }
    })
}

impl fmt::Display for Digest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = Uuid::new_v5(&NAMESPACE, self.0.as_str().as_bytes()).as_u128() >> 64;
        write!(f, "{digest:016x}")
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.trace_id())
    }
}

impl fmt::Display for Hole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Gap { conversation, expected, got } => {
                write!(f, "in conversation {}: {expected} was due, {got} came", Digest(conversation))
            }
            Event::Lagged { missed: Some(missed) } => write!(f, "the network dropped {missed}"),
            _ => f.write_str("the network dropped some"),
        }
    }
}

/// Our own namespace for digests of conversations.
const NAMESPACE: Uuid = Uuid::from_u128(0x91d3_5a2c_08fe_5b67_a4c9_77e0_1b3d_6f58);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_the_conversation_alone_and_does_not_show_it() {
        let id = |text: &str| ConversationId::new(text).expect("id");
        let digest = conversation_digest(&id("loopback://alice"));
        assert_eq!(digest, conversation_digest(&id("loopback://alice")));
        assert_ne!(digest, conversation_digest(&id("loopback://alicf")));
        assert!(digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
        let gap = Event::Gap { conversation: id("loopback://alice"), expected: 2, got: 4 };
        assert_eq!(Hole(&gap).to_string(), format!("in conversation {digest}: 2 was due, 4 came"));
    }
}
