//! What a session tells its listeners.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use serde::{Serialize, Serializer};

use crate::error::{ErrorKind, Reached};
use crate::id::ClientMsgId;
use crate::session::lifecycle::{CloseReason, SessionState};

/// Something that happened in a session. As JSON each is one object with its name under `event`; names and
/// members never change, further ones may come. No body, header, key or address is in it, and of a
/// conversation only its [digest](crate::telemetry::conversation_digest). Waits are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionEvent {
    /// The session stands otherwise than before; the first event of each listener says how it stands.
    State(StateEvent),
    /// A connection was made.
    #[non_exhaustive]
    Connected {
        /// How many there were, this one included.
        count: u64,
    },
    /// The connection was lost, or could not be made.
    #[non_exhaustive]
    Lost {
        /// Why.
        kind: ErrorKind,
        /// Whether what was under way arrived, by the error that told of the loss.
        reached: Reached,
        /// Whether it was being made, rather than lost.
        attempted: bool,
    },
    /// An attempt to send failed and is repeated.
    #[non_exhaustive]
    SendRetried {
        /// Whose.
        #[serde(serialize_with = "id_text")]
        client_msg_id: ClientMsgId,
        /// The number of the attempt that failed.
        attempt: u32,
        /// Why it failed.
        kind: ErrorKind,
        /// Whether it arrived all the same.
        reached: Reached,
        /// How long it waits; none when it goes with the next connection.
        wait_ms: Option<u64>,
    },
    /// A message was given up, and its sender was told.
    #[non_exhaustive]
    SendGivenUp {
        /// Whose.
        #[serde(serialize_with = "id_text")]
        client_msg_id: ClientMsgId,
        /// How often it was tried.
        attempts: u32,
        /// Why the last attempt failed.
        kind: ErrorKind,
        /// Whether any attempt may have arrived.
        reached: Reached,
    },
    /// A message was given up while nobody waited for it: it is among [`Resilient::parked`](super::Resilient::parked).
    #[non_exhaustive]
    SendParked {
        /// Whose.
        #[serde(serialize_with = "id_text")]
        client_msg_id: ClientMsgId,
        /// How often it was tried.
        attempts: u32,
        /// Why the last attempt failed.
        kind: ErrorKind,
        /// Whether any attempt may have arrived.
        reached: Reached,
    },
    /// The message whose turn it is has no permit yet.
    #[non_exhaustive]
    RateLimited {
        /// Which quota.
        scope: RateScope,
        /// How long it waits.
        wait_ms: u64,
    },
    /// Numbers are missing in a conversation and could not be had.
    #[non_exhaustive]
    Gap {
        /// The conversation's digest.
        conversation: String,
        /// The number that was due.
        expected: u64,
        /// The number that came instead.
        got: u64,
    },
    /// History filled a hole in a conversation.
    #[non_exhaustive]
    HoleFilled {
        /// The conversation's digest.
        conversation: String,
    },
    /// How the session stands, told each [`status_interval`](super::ResilientOptions::status_interval).
    #[non_exhaustive]
    Status {
        /// Whether there is a connection.
        connected: bool,
        /// What the session is for, as its owner named it.
        role: String,
        /// Messages that arrived, repetitions included.
        received: u64,
        /// The agent's own messages that were not handed out.
        self_filtered: u64,
        /// Messages in the outbox.
        queued: usize,
        /// Messages taken in and not settled.
        pending: usize,
    },
    /// The listener was too slow: this many events were dropped, the oldest first.
    #[non_exhaustive]
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// How a session stands, as told to its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StateEvent {
    /// A connection is being made.
    Connecting,
    /// There is a connection, and what waited in the agent's own inbox is being read.
    CatchingUp,
    /// There is a connection, and nothing old is left to read.
    Live,
    /// The next attempt to connect waits.
    #[non_exhaustive]
    BackingOff {
        /// Failures in a row.
        attempt: u32,
        /// How long it waits.
        wait_ms: u64,
    },
    /// It was told to close: what is queued is being sent.
    Draining,
    /// It has ended for good. The last event of every listener.
    #[non_exhaustive]
    Closed {
        /// `requested` or `failed`.
        reason: &'static str,
        /// What kind of error ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<ErrorKind>,
    },
}

/// Which quota a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RateScope {
    /// The agent's.
    Agent,
    /// That of its conversation.
    Conversation,
}

/// The events of a session from one moment on. It begins with how the session stands and ends after the
/// closed state. Up to 256 events wait for a slow listener; then the oldest are dropped, and
/// [`SessionEvent::Lagged`] stands in their place. It does not keep the session alive.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
/// use agentchat_core::{CloseMode, Loopback, Resilient, ResilientOptions, Transport};
///
/// let network = Loopback::new();
/// let session = Resilient::connect(network.connector("worker")?, ResilientOptions::new()).await?;
/// let mut events = session.events();
/// session.close(CloseMode::Detach).await?;
/// let mut lines = String::new();
/// while let Some(event) = events.next().await {
///     lines += &serde_json::to_string(&event).expect("events are plain JSON");
///     lines.push('\n');
/// }
/// assert!(lines.ends_with("{\"event\":\"state\",\"state\":\"closed\",\"reason\":\"requested\"}\n"));
/// # Ok(()) }
/// ```
pub struct SessionEvents {
    events: Pin<Box<dyn Stream<Item = SessionEvent> + Send>>,
}

impl SessionEvents {
    pub(super) fn new(events: impl Stream<Item = SessionEvent> + Send + 'static) -> Self {
        Self { events: Box::pin(events.fuse()) }
    }

    /// The next event, or `None` after the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        std::future::poll_fn(|cx| self.events.as_mut().poll_next(cx)).await
    }
}

impl Stream for SessionEvents {
    type Item = SessionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for SessionEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEvents").finish_non_exhaustive()
    }
}

impl StateEvent {
    pub(super) fn of(state: &SessionState, now: std::time::Instant) -> Self {
        match state {
            SessionState::Connecting => Self::Connecting,
            SessionState::CatchingUp => Self::CatchingUp,
            SessionState::Live => Self::Live,
            SessionState::BackingOff { attempt, until } => {
                let wait_ms = super::observer::millis(until.saturating_duration_since(now));
                Self::BackingOff { attempt: *attempt, wait_ms }
            }
            SessionState::Draining => Self::Draining,
            SessionState::Closed(CloseReason::Requested) => Self::Closed { reason: "requested", kind: None },
            SessionState::Closed(CloseReason::Failed { kind, .. }) => {
                Self::Closed { reason: "failed", kind: Some(*kind) }
            }
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::BackingOff { .. } => "backing_off",
            Self::Draining => "draining",
            Self::Closed { .. } => "closed",
        }
    }
}

impl RateScope {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Conversation => "conversation",
        }
    }
}

fn id_text<S: Serializer>(id: &ClientMsgId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_one_json_object_with_stable_names() {
        let id = || ClientMsgId::new("m-1").expect("id");
        let (kind, reached) = (ErrorKind::NotFound, Reached::Unknown);
        let told = r#""client_msg_id":"m-1","attempts":3,"kind":"not_found","reached":"unknown"}"#;
        let state = |state| SessionEvent::State(state);
        for (event, line) in [
            (state(StateEvent::Connecting), r#"{"event":"state","state":"connecting"}"#.to_owned()),
            (state(StateEvent::CatchingUp), r#"{"event":"state","state":"catching_up"}"#.to_owned()),
            (state(StateEvent::Live), r#"{"event":"state","state":"live"}"#.to_owned()),
            (
                state(StateEvent::BackingOff { attempt: 2, wait_ms: 500 }),
                r#"{"event":"state","state":"backing_off","attempt":2,"wait_ms":500}"#.to_owned(),
            ),
            (state(StateEvent::Draining), r#"{"event":"state","state":"draining"}"#.to_owned()),
            (
                state(StateEvent::Closed { reason: "failed", kind: Some(ErrorKind::Unauthorized) }),
                r#"{"event":"state","state":"closed","reason":"failed","kind":"unauthorized"}"#.to_owned(),
            ),
            (SessionEvent::Connected { count: 2 }, r#"{"event":"connected","count":2}"#.to_owned()),
            (
                SessionEvent::Lost { kind, reached: Reached::No, attempted: true },
                r#"{"event":"lost","kind":"not_found","reached":"no","attempted":true}"#.to_owned(),
            ),
            (
                SessionEvent::SendRetried { client_msg_id: id(), attempt: 1, kind, reached, wait_ms: None },
                r#"{"event":"send_retried","client_msg_id":"m-1","attempt":1,"kind":"not_found","reached":"unknown","wait_ms":null}"#
                    .to_owned(),
            ),
            (
                SessionEvent::SendGivenUp { client_msg_id: id(), attempts: 3, kind, reached },
                format!(r#"{{"event":"send_given_up",{told}"#),
            ),
            (
                SessionEvent::SendParked { client_msg_id: id(), attempts: 3, kind, reached },
                format!(r#"{{"event":"send_parked",{told}"#),
            ),
            (
                SessionEvent::RateLimited { scope: RateScope::Conversation, wait_ms: 7 },
                r#"{"event":"rate_limited","scope":"conversation","wait_ms":7}"#.to_owned(),
            ),
            (
                SessionEvent::Gap { conversation: "0a".to_owned(), expected: 2, got: 4 },
                r#"{"event":"gap","conversation":"0a","expected":2,"got":4}"#.to_owned(),
            ),
            (
                SessionEvent::HoleFilled { conversation: "0a".to_owned() },
                r#"{"event":"hole_filled","conversation":"0a"}"#.to_owned(),
            ),
            (
                SessionEvent::Status {
                    connected: true,
                    role: "leader".to_owned(),
                    received: 1,
                    self_filtered: 2,
                    queued: 3,
                    pending: 4,
                },
                r#"{"event":"status","connected":true,"role":"leader","received":1,"self_filtered":2,"queued":3,"pending":4}"#
                    .to_owned(),
            ),
            (SessionEvent::Lagged { missed: 9 }, r#"{"event":"lagged","missed":9}"#.to_owned()),
        ] {
            assert_eq!(serde_json::to_string(&event).expect("JSON"), line);
        }
    }
}
