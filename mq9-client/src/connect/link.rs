//! One NATS connection, and what its event channel says about it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Event, ServerError};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Reached};

/// A live connection. Dropping the last holder closes it.
pub(crate) struct Link {
    pub(crate) nats: async_nats::Client,
    pub(crate) alarm: Arc<Alarm>,
    /// Whether this broker searches its registry: 0 unknown, 1 no, 2 yes.
    search: AtomicU8,
    /// Handed in by the application, so its events are not ours to hear.
    pub(crate) foreign: bool,
}

/// What went wrong on a connection, kept apart from the connection itself so that the task which
/// reports does not keep it alive.
#[derive(Default)]
pub(crate) struct Alarm {
    lost: AtomicBool,
    /// The broker said that it does not take this login, or not any more.
    login_refused: AtomicBool,
    rang: Notify,
    count: AtomicU64,
    faults: Mutex<VecDeque<(u64, Fault)>>,
}

/// Marks the connection as lost when NATS drops the event callback, even if the event itself was lost.
pub(crate) struct Bell(pub(crate) Arc<Alarm>);

#[derive(Clone)]
enum Fault {
    /// The broker refuses this client altogether.
    Everything,
    /// The broker refuses this subject: not permitted, or not known to it.
    Subject { subject: String, kind: ErrorKind },
}

impl Link {
    pub(crate) fn new(nats: async_nats::Client, alarm: Arc<Alarm>, foreign: bool) -> Self {
        Self { nats, alarm, search: AtomicU8::new(0), foreign }
    }

    pub(crate) fn searches(&self) -> Option<bool> {
        match self.search.load(Ordering::Relaxed) {
            0 => None,
            known => Some(known == 2),
        }
    }

    pub(crate) fn set_searches(&self, searches: bool) {
        self.search.store(if searches { 2 } else { 1 }, Ordering::Relaxed);
    }
}

impl Alarm {
    /// A mark in the sequence of faults: later ones concern calls begun now.
    pub(crate) fn mark(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            self.rang.notify_waiters();
        }
    }

    /// Returns once the connection is lost.
    pub(crate) async fn lost(&self) {
        loop {
            let rang = self.rang.notified();
            if self.is_lost() {
                return;
            }
            rang.await;
        }
    }

    /// Why a lost connection was lost, as far as the broker said.
    pub(crate) fn cause_of_loss(&self) -> Error {
        self.why_lost("connection")
    }

    /// The same as the failure of `operation`.
    pub(crate) fn why_lost(&self, operation: &'static str) -> Error {
        if self.login_refused.load(Ordering::Acquire) {
            let what = "the broker refused the credentials and closed the connection";
            return Error::new(ErrorKind::Unauthorized, operation, what);
        }
        Error::new(ErrorKind::Disconnected, operation, "the connection was lost")
    }

    /// Returns once a call on `subject` begun at `mark` cannot be answered any more.
    pub(crate) async fn failed(&self, operation: &'static str, subject: &str, mark: u64) -> Error {
        loop {
            let rang = self.rang.notified();
            if let Some(error) = self.fault(operation, Some(subject), mark) {
                return error;
            }
            if self.is_lost() {
                return self.why_lost(operation);
            }
            rang.await;
        }
    }

    /// The fault since `mark` that concerns every call, or calls on `subject`.
    pub(crate) fn fault(&self, operation: &'static str, subject: Option<&str>, mark: u64) -> Option<Error> {
        let faults = self.faults();
        let concerning = faults.iter().filter(|(at, _)| *at >= mark).find_map(|(_, fault)| match fault {
            Fault::Everything => Some(ErrorKind::Unauthorized),
            Fault::Subject { subject: refused, kind } => (subject == Some(refused)).then_some(*kind),
        })?;
        let (message, reached) = match concerning {
            ErrorKind::Unsupported => ("the broker does not know this command", Reached::Yes),
            _ => ("the broker refused the credentials, or does not permit this command", Reached::No),
        };
        Some(Error::new(concerning, operation, message).with_reached(reached))
    }

    /// Hears one event.
    pub(crate) fn hear(&self, event: &Event) {
        match event {
            Event::Disconnected | Event::Closed => self.lose(),
            Event::ServerError(error) => {
                if refuses_login(error) {
                    self.login_refused.store(true, Ordering::Release);
                }
                if let Some(fault) = read(error) {
                    self.record(fault);
                } else {
                    tracing::debug!(target: "mq9_client", "the server reported an error");
                }
            }
            _ => {}
        }
    }

    fn record(&self, fault: Fault) {
        let mut faults = self.faults();
        if faults.len() == KEPT {
            faults.pop_front();
        }
        let at = self.count.fetch_add(1, Ordering::AcqRel);
        faults.push_back((at, fault));
        drop(faults);
        self.rang.notify_waiters();
    }

    fn faults(&self) -> MutexGuard<'_, VecDeque<(u64, Fault)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.lose();
    }
}

/// Unlike a missing permission, this is the end of the connection.
fn refuses_login(error: &ServerError) -> bool {
    match error {
        ServerError::AuthorizationViolation => true,
        ServerError::Other(text) => {
            let lower = text.to_ascii_lowercase();
            lower.contains("authentication") || lower.contains("authorization")
        }
        ServerError::SlowConsumer(_) => false,
    }
}

fn read(error: &ServerError) -> Option<Fault> {
    let text = match error {
        ServerError::AuthorizationViolation => return Some(Fault::Everything),
        ServerError::Other(text) => text,
        ServerError::SlowConsumer(_) => return None,
    };
    let lower = text.to_ascii_lowercase();
    let subject_after = |start: &str| {
        let at = lower.find(start)? + start.len();
        Some(text[at..].trim().trim_matches(['"', '\'']).to_owned())
    };
    if let Some(subject) = subject_after("unrecognized mq9 subject:") {
        return Some(Fault::Subject { subject, kind: ErrorKind::Unsupported });
    }
    if let Some(subject) = subject_after("permissions violation for publish to") {
        return Some(Fault::Subject { subject, kind: ErrorKind::Unauthorized });
    }
    let refusals =
        ["permissions violation for subscription", "authentication", "authorization", "account connections"];
    refusals.iter().any(|refusal| lower.contains(refusal)).then_some(Fault::Everything)
}

const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(alarm: &Alarm, text: &str) {
        alarm.hear(&Event::ServerError(ServerError::Other(text.into())));
    }

    fn kind(alarm: &Alarm, subject: &str, mark: u64) -> Option<ErrorKind> {
        alarm.fault("MSG.SEND", Some(subject), mark).map(|error| error.kind())
    }

    #[test]
    fn a_refused_subject_concerns_only_its_own_calls() {
        let alarm = Alarm::default();
        hear(&alarm, "unrecognized mq9 subject: $mq9.AI.FOO.a");
        hear(&alarm, "Permissions Violation for Publish to \"$mq9.AI.MSG.SEND.a\"");
        assert_eq!(kind(&alarm, "$mq9.AI.FOO.a", 0), Some(ErrorKind::Unsupported));
        assert_eq!(kind(&alarm, "$mq9.AI.MSG.SEND.a", 0), Some(ErrorKind::Unauthorized));
        assert_eq!(kind(&alarm, "$mq9.AI.MSG.SEND.ab", 0), None);
    }

    #[test]
    fn refused_credentials_concern_every_call_begun_before() {
        for text in
            ["User Authentication Expired", "Permissions Violation for Subscription to \"_INBOX.x.*\""]
        {
            let alarm = Alarm::default();
            let before = alarm.mark();
            hear(&alarm, text);
            assert_eq!(kind(&alarm, "any", before), Some(ErrorKind::Unauthorized), "{text}");
            assert_eq!(kind(&alarm, "any", alarm.mark()), None, "{text}");
        }
        let alarm = Alarm::default();
        alarm.hear(&Event::ServerError(ServerError::AuthorizationViolation));
        assert_eq!(kind(&alarm, "any", 0), Some(ErrorKind::Unauthorized));
    }

    #[test]
    fn only_a_refused_login_is_why_a_connection_was_lost() {
        let alarm = Alarm::default();
        hear(&alarm, "Permissions Violation for Subscription to \"_INBOX.x.*\"");
        assert_eq!(alarm.cause_of_loss().kind(), ErrorKind::Disconnected);
        hear(&alarm, "User Authentication Expired");
        assert_eq!(alarm.cause_of_loss().kind(), ErrorKind::Unauthorized);
    }

    #[tokio::test]
    async fn a_call_begun_between_the_refusal_and_the_end_says_that_the_login_was_refused() {
        let alarm = Alarm::default();
        hear(&alarm, "User Authentication Expired");
        let mark = alarm.mark();
        alarm.lose();
        assert_eq!(alarm.failed("MSG.SEND", "s", mark).await.kind(), ErrorKind::Unauthorized);
    }

    #[test]
    fn the_record_of_faults_is_bounded() {
        let alarm = Alarm::default();
        for number in 0..KEPT * 3 {
            hear(&alarm, &format!("unrecognized mq9 subject: s{number}"));
        }
        assert_eq!(alarm.faults().len(), KEPT);
        assert_eq!(kind(&alarm, "s191", 0), Some(ErrorKind::Unsupported));
    }

    #[tokio::test]
    async fn a_dropped_bell_rings_though_the_event_was_lost() {
        let alarm = Arc::new(Alarm::default());
        let bell = Bell(Arc::clone(&alarm));
        let waiting = tokio::spawn({
            let alarm = Arc::clone(&alarm);
            async move { alarm.failed("MSG.SEND", "s", 0).await.kind() }
        });
        tokio::task::yield_now().await;
        drop(bell);
        assert_eq!(waiting.await.expect("ends"), ErrorKind::Disconnected);
        alarm.lost().await;
    }
}
