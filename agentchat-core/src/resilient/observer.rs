//! Telling what happens in a session, to the log and to listeners.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::session_event::{RateScope, SessionEvent, SessionEvents, StateEvent};
use super::state::SessionStats;
use crate::agent::Role;
use crate::clock::after;
use crate::error::Error;
use crate::id::ConversationId;
use crate::session::lifecycle::SessionState;
use crate::session::outbox::Pending;
use crate::session::rate::Limited;
use crate::telemetry::Digest;

/// Where the parts of a session tell what happens. Clones tell the same listeners. While nobody listens an
/// event is not even made, and nothing is kept for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Observer(Arc<Sink>);

#[derive(Debug, Default)]
struct Sink {
    listening: AtomicBool,
    events: Mutex<Option<broadcast::Sender<SessionEvent>>>,
}

/// What is told of the session as a whole: how it stands, now and each interval.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) observer: Observer,
    told: Option<SessionState>,
    role: String,
    interval: Duration,
    status_at: Option<Instant>,
}

impl Observer {
    pub(super) fn connected(&self, count: u64) {
        tracing::info!(name: "session.connected", count, "there is a connection");
        self.tell(|| SessionEvent::Connected { count });
    }

    pub(super) fn lost(&self, error: &Error, attempted: bool) {
        let (kind, reached) = (error.kind(), error.reached());
        tracing::warn!(
            name: "session.lost", error_kind = kind.as_str(), reached = reached.as_str(), %error, attempted,
            "there is no connection"
        );
        self.tell(|| SessionEvent::Lost { kind, reached, attempted });
    }

    /// The attempt of `pending` failed; it goes on after `wait`, or with the next connection.
    pub(super) fn retried(&self, pending: &Pending<'_>, wait: Option<Duration>) {
        let Some(error) = pending.error else { return };
        let (kind, reached, wait_ms) = (error.kind(), error.reached(), wait.map(millis));
        let (client_msg_id, attempt) = (&pending.message.client_msg_id, pending.attempts);
        tracing::debug!(
            name: "send.retried", %client_msg_id, attempt, error_kind = kind.as_str(),
            reached = reached.as_str(), wait_ms, "an attempt failed"
        );
        self.tell(|| SessionEvent::SendRetried {
            client_msg_id: client_msg_id.clone(),
            attempt,
            kind,
            reached,
            wait_ms,
        });
    }

    /// A message was given up, with nobody waiting for it when it is `parked`.
    pub(super) fn given_up(&self, pending: &Pending<'_>, error: &Error, parked: bool) {
        let (kind, reached, attempts) = (error.kind(), error.reached(), pending.attempts);
        let client_msg_id = &pending.message.client_msg_id;
        if parked {
            tracing::warn!(
                name: "send.parked", %client_msg_id, attempts, error_kind = kind.as_str(),
                reached = reached.as_str(), %error, "a message that nobody waits for was given up"
            );
        } else {
            tracing::debug!(
                name: "send.given_up", %client_msg_id, attempts, error_kind = kind.as_str(),
                reached = reached.as_str(), %error, "a message was given up"
            );
        }
        self.tell(|| {
            let client_msg_id = client_msg_id.clone();
            match parked {
                true => SessionEvent::SendParked { client_msg_id, attempts, kind, reached },
                false => SessionEvent::SendGivenUp { client_msg_id, attempts, kind, reached },
            }
        });
    }

    pub(super) fn limited(&self, limited: Limited, now: Instant) {
        let scope = match limited {
            Limited::Agent(_) => RateScope::Agent,
            Limited::Conversation(_) => RateScope::Conversation,
        };
        let wait_ms = millis(limited.until().saturating_duration_since(now));
        tracing::debug!(name: "send.rate_limited", scope = scope.name(), wait_ms, "a message has no permit");
        self.tell(|| SessionEvent::RateLimited { scope, wait_ms });
    }

    pub(super) fn gap(&self, conversation: &ConversationId, expected: u64, got: u64) {
        let digest = Digest(conversation);
        tracing::warn!(name: "session.gap", conversation = %digest, expected, got, "messages are missing");
        self.tell(|| SessionEvent::Gap { conversation: digest.to_string(), expected, got });
    }

    pub(super) fn hole_filled(&self, conversation: &ConversationId) {
        let digest = Digest(conversation);
        tracing::debug!(name: "session.hole_filled", conversation = %digest, "history had what was missing");
        self.tell(|| SessionEvent::HoleFilled { conversation: digest.to_string() });
    }

    fn tell(&self, event: impl FnOnce() -> SessionEvent) {
        if !self.0.listening.load(Ordering::Acquire) {
            return;
        }
        let mut events = self.lock();
        if events.as_ref().is_some_and(|events| events.send(event()).is_err()) {
            self.0.listening.store(false, Ordering::Release);
            *events = None;
        }
    }

    fn listen(&self) -> broadcast::Receiver<SessionEvent> {
        let mut events = self.lock();
        let receiver = events.get_or_insert_with(|| broadcast::Sender::new(KEPT)).subscribe();
        self.0.listening.store(true, Ordering::Release);
        receiver
    }

    /// Nothing happens any more.
    fn end(&self) {
        self.0.listening.store(false, Ordering::Release);
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<broadcast::Sender<SessionEvent>>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Reports for `role` each `interval`, or never when it is zero.
    pub(super) fn new(role: String, interval: Duration) -> Self {
        Self { observer: Observer::default(), told: None, role, interval, status_at: None }
    }

    /// Reports for this role from now on.
    pub(super) fn set_role(&mut self, role: Role) {
        self.role = role.as_str().to_owned();
    }

    /// How the session stands now: told when that is news. Returns whether it is.
    pub(super) fn state(&mut self, state: &SessionState, now: Instant) -> bool {
        if self.told.as_ref() == Some(state) {
            return false;
        }
        self.told = Some(state.clone());
        let event = StateEvent::of(state, now.into_std());
        let (attempt, wait_ms) = match &event {
            StateEvent::BackingOff { attempt, wait_ms } => (Some(*attempt), Some(*wait_ms)),
            _ => (None, None),
        };
        let (reason, kind) = match &event {
            StateEvent::Closed { reason, kind } => (Some(*reason), kind.map(|kind| kind.as_str())),
            _ => (None, None),
        };
        tracing::info!(
            name: "session.state", state = event.name(), attempt, wait_ms, reason, error_kind = kind,
            "the session stands otherwise"
        );
        let over = matches!(state, SessionState::Closed(_));
        self.observer.tell(|| SessionEvent::State(event));
        if over {
            self.observer.end();
        }
        true
    }

    /// A new listener, who is told first how the session stands.
    pub(super) fn listen(&mut self, state: &SessionState, now: Instant) -> SessionEvents {
        // Else it would be told the same again.
        self.state(state, now);
        let first = SessionEvent::State(StateEvent::of(state, now.into_std()));
        let begin = stream::iter([first]);
        if matches!(state, SessionState::Closed(_)) {
            return SessionEvents::new(begin);
        }
        let further = stream::unfold(self.observer.listen(), |mut events| async move {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => SessionEvent::Lagged { missed },
                Err(RecvError::Closed) => return None,
            };
            Some((event, events))
        });
        SessionEvents::new(begin.chain(further))
    }

    /// When the next report is due, once [`Watch::is_due`] was asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.status_at
    }

    /// Whether a report is due now. The first is due an interval after the first question.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.interval.is_zero() {
            return false;
        }
        let due = self.status_at.is_some_and(|at| at <= now);
        if due || self.status_at.is_none() {
            self.status_at = Some(after(now, self.interval));
        }
        due
    }

    pub(super) fn status(&self, connected: bool, stats: &SessionStats) {
        let SessionStats { received, self_filtered, queued_messages: queued, unsettled: pending, .. } =
            *stats;
        let role = self.role.as_str();
        tracing::info!(
            name: "session.status", connected, role, received, self_filtered, queued, pending, "status"
        );
        let role = || role.to_owned();
        self.observer.tell(|| SessionEvent::Status {
            connected,
            role: role(),
            received,
            self_filtered,
            queued,
            pending,
        });
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many events wait for a slow listener.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn watch() -> Watch {
        Watch::new("leader".to_owned(), Duration::from_secs(60))
    }

    fn drain(events: &mut SessionEvents) -> Vec<SessionEvent> {
        std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn a_slow_listener_is_told_how_much_it_missed_and_a_quick_one_misses_nothing() {
        let mut watch = watch();
        let (state, now) = (SessionState::Live, Instant::now());
        let (mut slow, mut quick) = (watch.listen(&state, now), watch.listen(&state, now));
        for count in 0..300 {
            watch.observer.connected(count);
            assert!(drain(&mut quick).contains(&SessionEvent::Connected { count }));
        }
        let seen = drain(&mut slow);
        assert_eq!(seen[1], SessionEvent::Lagged { missed: 44 });
        assert_eq!((seen.len(), seen[2].clone()), (258, SessionEvent::Connected { count: 44 }));
    }

    #[test]
    fn nothing_is_made_or_kept_when_nobody_listens_or_does_any_more() {
        let mut watch = watch();
        watch.observer.tell(|| unreachable!("nobody listens"));
        let events = watch.listen(&SessionState::Live, Instant::now());
        drop(events);
        watch.observer.connected(1);
        assert!(watch.observer.lock().is_none());
        watch.observer.tell(|| unreachable!("nobody listens any more"));
    }

    #[test]
    fn listening_ends_after_the_closed_state_and_a_late_listener_gets_that_alone() {
        let (mut watch, now) = (watch(), Instant::now());
        let mut events = watch.listen(&SessionState::Live, now);
        let closed = SessionState::Closed(crate::CloseReason::Requested);
        watch.state(&closed, now);
        watch.observer.connected(1);
        let end = SessionEvent::State(StateEvent::of(&closed, now.into_std()));
        assert_eq!(drain(&mut events), [SessionEvent::State(StateEvent::Live), end.clone()]);
        assert_eq!(events.next().now_or_never(), Some(None), "it has ended");
        assert_eq!(drain(&mut watch.listen(&closed, now)), [end]);
    }

    #[test]
    fn a_report_is_due_each_interval_or_never() {
        let (mut watch, start) = (watch(), Instant::now());
        assert!(!watch.is_due(start));
        assert_eq!(watch.deadline(), Some(start + Duration::from_secs(60)));
        assert!(!watch.is_due(start + Duration::from_secs(59)));
        assert!(watch.is_due(start + Duration::from_secs(60)));
        assert!(!watch.is_due(start + Duration::from_secs(60)));
        let mut never = Watch::new(String::new(), Duration::ZERO);
        assert!(!never.is_due(start) && !never.is_due(start + Duration::from_secs(3600)));
        assert_eq!(never.deadline(), None);
    }
}
