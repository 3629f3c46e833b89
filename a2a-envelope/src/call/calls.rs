use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::correlation::{CorrelationId, correlation_of};
use crate::envelope::Envelope;
use crate::error::Result;
use crate::stream::{Mirror, ReaderItem, ReaderOptions, Reply, Snapshot, StreamReader};

/// How many calls are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallLimits {
    /// Calls that wait for an answer; beyond it a new one is refused. Default 1,024.
    pub max_open: usize,
    /// Calls that ended or timed out and can still be read; beyond it the oldest are forgotten. Default 1,024.
    pub max_kept: usize,
    /// How long they can be read. Default one hour.
    pub keep: Duration,
}

impl CallLimits {
    /// These limits with another [`max_open`](Self::max_open).
    #[must_use]
    pub fn with_max_open(mut self, count: usize) -> Self {
        self.max_open = count;
        self
    }

    /// These limits with another [`max_kept`](Self::max_kept).
    #[must_use]
    pub fn with_max_kept(mut self, count: usize) -> Self {
        self.max_kept = count;
        self
    }

    /// These limits with another [`keep`](Self::keep).
    #[must_use]
    pub fn with_keep(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { max_open: 1_024, max_kept: 1_024, keep: Duration::from_secs(3_600) }
    }
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallState {
    /// It is on its way, or waits for its peer to come back.
    Queued,
    /// The peer has it, durably.
    Taken,
    /// Replies have come.
    Answering,
    /// The last reply has come, or nothing more is read.
    Ended,
}

/// One call: what has come of it so far.
#[derive(Debug)]
pub struct Call {
    state: CallState,
    timed_out: bool,
    deadline: Option<Duration>,
    reader: StreamReader,
    mirror: Mirror,
    last: Option<Reply>,
    due: Option<Duration>,
}

impl Call {
    /// How far it has come. A call that timed out goes on: late replies are read.
    #[must_use]
    pub fn state(&self) -> CallState {
        self.state
    }

    /// Whether its deadline passed before its end.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// The last reply that was read; after the end, the answer.
    #[must_use]
    pub fn last(&self) -> Option<&Reply> {
        self.last.as_ref()
    }

    /// What is known of the task.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The generation up to which all is known.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.reader.generation()
    }

    fn take(&mut self, items: &[ReaderItem]) {
        for item in items {
            self.mirror.apply(item);
            self.state = match item {
                ReaderItem::Taken if self.state == CallState::Queued => CallState::Taken,
                ReaderItem::Taken | ReaderItem::ReadSnapshot => self.state,
                ReaderItem::End(_) => CallState::Ended,
                _ => CallState::Answering,
            };
            if let ReaderItem::Reply(reply) = item {
                self.last = Some(reply.clone());
            }
        }
    }
}

/// Whose a reply was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// Of a call that is open: what follows from it.
    #[non_exhaustive]
    Call {
        /// The call's correlation id.
        id: String,
        /// What its reader said.
        items: Vec<ReaderItem>,
    },
    /// Of a call that ended or timed out before. What a call that timed out hears is kept with it.
    #[non_exhaustive]
    Late {
        /// The call's correlation id.
        id: String,
        /// What its reader said; nothing if it had ended.
        items: Vec<ReaderItem>,
    },
    /// Of no call known here.
    Foreign(Envelope),
}

/// What became due.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallDue {
    /// What a call's reader said.
    Items(Vec<ReaderItem>),
    /// Its deadline passed. It can be read by its id for a while, and late replies are added to it.
    TimedOut,
}

/// Why a call was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A call of this correlation id is known.
    #[error("a call of this correlation id is known")]
    Exists,
    /// As many calls are open as may.
    #[error("{open} calls are open and no more may")]
    #[non_exhaustive]
    Full {
        /// How many are open.
        open: usize,
    },
}

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
        let call = Call {
            state: CallState::Queued,
            timed_out: false,
            deadline,
            reader: StreamReader::after(after, options, now),
            mirror: Mirror::new(),
            last: None,
            due: None,
        };
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
        // Nobody waits any longer: late replies are read, but nothing is asked for.
        let reader = call.reader.next_deadline().filter(|_| !call.timed_out);
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
