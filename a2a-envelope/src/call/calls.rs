//! The calls of one caller, found by their correlation ids.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::limits::CallLimits;
use super::outcome::{CallDue, CallError, Received};
use super::state::{Call, CallState};
use crate::correlation::{CorrelationId, correlation_of};
use crate::envelope::Envelope;
use crate::error::Result;
use crate::stream::{ReaderItem, ReaderOptions, Snapshot, StreamReader};

/// The calls of one caller, found by their correlation ids. It has no clock: `now` is the time since the unix
/// epoch, because deadlines are.
pub struct Calls {
    calls: HashMap<String, Call>,
    due: BTreeSet<(Duration, String)>,
    /// Those that ended or timed out, with the moment until which they are kept.
    kept: VecDeque<(Duration, String)>,
    limits: CallLimits,
}

impl Calls {
    /// No call is open.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        Self { calls: HashMap::new(), due: BTreeSet::new(), kept: VecDeque::new(), limits }
    }

    /// Opens a call; do so before its request is sent. `after` is the generation a follow-up answers or a
    /// subscription resumes after, 0 for a new task.
    ///
    /// # Errors
    ///
    /// [`CallError::Exists`], [`CallError::Full`].
    pub fn open(
        &mut self,
        id: &CorrelationId,
        after: u64,
        deadline: Option<Duration>,
        options: ReaderOptions,
        now: Duration,
    ) -> std::result::Result<(), CallError> {
        self.forget_old(now);
        if self.calls.contains_key(id.as_str()) {
            return Err(CallError::Exists);
        }
        let open = self.calls.len() - self.kept.len();
        if open >= self.limits.max_open {
            return Err(CallError::Full { open });
        }
        let call = Call::new(StreamReader::after(after, options, now), deadline);
        self.calls.insert(id.as_str().to_owned(), call);
        self.schedule(id.as_str());
        Ok(())
    }

    /// Takes one reply, whosever it is.
    ///
    /// # Errors
    ///
    /// As [`StreamReader::receive`]; the reply is passed over.
    pub fn receive(&mut self, envelope: Envelope, now: Duration) -> Result<Received> {
        self.forget_old(now);
        let id = correlation_of(&envelope.headers, &envelope.body).map(|found| found.id);
        let Some((id, call)) = id.and_then(|id| self.calls.get_mut(&id).map(|call| (id, call))) else {
            return Ok(Received::Foreign(envelope));
        };
        let late = call.timed_out || call.state == CallState::Ended;
        let items = call.reader.receive(envelope, now)?;
        self.took(&id, &items, now);
        Ok(if late { Received::Late { id, items } } else { Received::Call { id, items } })
    }

    /// Takes the snapshot that a call's reader asked for; `None` if there is none.
    pub fn snapshot(&mut self, id: &str, snapshot: Option<Snapshot>, now: Duration) -> Vec<ReaderItem> {
        let Some(call) = self.calls.get_mut(id) else { return Vec::new() };
        let items = call.reader.snapshot(snapshot, now);
        self.took(id, &items, now);
        items
    }

    /// What is due at `now`, one call after the other; `None` when nothing is.
    pub fn poll(&mut self, now: Duration) -> Option<(String, CallDue)> {
        self.forget_old(now);
        while let Some((_, id)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            let Some(call) = self.calls.get_mut(&id) else {
                self.due.pop_first();
                continue;
            };
            if !call.timed_out && call.deadline.is_some_and(|deadline| deadline <= now) {
                call.timed_out = true;
                self.keep(&id, now);
                self.schedule(&id);
                return Some((id, CallDue::TimedOut));
            }
            let items = call.reader.poll(now);
            self.took(&id, &items, now);
            if !items.is_empty() {
                return Some((id, CallDue::Items(items)));
            }
        }
        None
    }

    /// When [`poll`](Self::poll) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        let kept = self.kept.front().map(|(until, _)| *until);
        due.into_iter().chain(kept).min()
    }

    /// A call, open or kept.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Call> {
        self.calls.get(id)
    }

    /// A call that timed out is waited for again, until this deadline. `false` if it did not time out, or is no
    /// longer known.
    pub fn renew(&mut self, id: &str, deadline: Duration, now: Duration) -> bool {
        self.forget_old(now);
        let Some(call) = self.calls.get_mut(id).filter(|call| call.timed_out) else { return false };
        if call.state == CallState::Ended {
            return false;
        }
        (call.timed_out, call.deadline) = (false, Some(deadline));
        self.kept.retain(|(_, kept)| kept != id);
        self.schedule(id);
        true
    }

    /// How many calls are open.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.calls.len() - self.kept.len()
    }

    /// Gives a call up: it ends now, and can be read for a while.
    pub fn cut(&mut self, id: &str, now: Duration) -> Vec<ReaderItem> {
        let Some(call) = self.calls.get_mut(id) else { return Vec::new() };
        let items = call.reader.cut();
        self.took(id, &items, now);
        items
    }

    fn took(&mut self, id: &str, items: &[ReaderItem], now: Duration) {
        if let Some(call) = self.calls.get_mut(id) {
            let open = !call.timed_out && call.state != CallState::Ended;
            call.take(items);
            if open && call.state == CallState::Ended {
                self.keep(id, now);
            }
            self.schedule(id);
        }
    }

    fn schedule(&mut self, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let deadline = call.deadline.filter(|_| !call.timed_out && call.state != CallState::Ended);
        // Nobody waits any longer: silence is no reason to ask, only what a late reply shows to be missing.
        let reader = call.reader.next_deadline().filter(|_| !call.timed_out || call.reader.held() > 0);
        let due = deadline.into_iter().chain(reader).min();
        if due != call.due {
            if let Some(old) = std::mem::replace(&mut call.due, due) {
                self.due.remove(&(old, id.to_owned()));
            }
            self.due.extend(due.map(|due| (due, id.to_owned())));
        }
    }

    fn keep(&mut self, id: &str, now: Duration) {
        self.kept.push_back((now.saturating_add(self.limits.keep), id.to_owned()));
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Duration) {
        while let Some((until, _)) = self.kept.front() {
            if *until > now && self.kept.len() <= self.limits.max_kept {
                return;
            }
            let Some((_, id)) = self.kept.pop_front() else { return };
            if let Some(due) = self.calls.remove(&id).and_then(|call| call.due) {
                self.due.remove(&(due, id));
            }
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("open", &self.open_calls())
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}
