//! The session as a whole: what has happened, and what to do next. Knows no clock, socket or task.
//!
//! Puts the parts together: how the session stands is [`Lifecycle`]'s, what goes out `sends`', what comes in
//! `slots`'.

mod closing;
mod keeping;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::closing::Outcome;
use super::calls::{Answer, Call, Calls};
use super::dating::Dating;
use super::direct::Line;
use super::keeping::{Keep, Kept};
use super::observer::Watch;
use super::options::ResilientOptions;
use super::sends::Sends;
use super::slots::{Item, SlotWork, Slots, Verdict};
use super::state::SessionStats;
use crate::address::Address;
use crate::agent::Role;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::delivery::{Delivery, Receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ConversationId;
use crate::options::{CloseMode, Inbox, SubscribeOptions};
use crate::session::backoff::Backoff;
use crate::session::lifecycle::{CloseReason, Lifecycle, LifecycleAction, SessionState};
use crate::session::outbox::{Attempt, Outbox, Ticket};
use crate::transport::EventStream;

/// One session over all its connections. After every call that changes something, and at
/// [`Core::deadline`], ask [`Core::poll`].
#[derive(Debug)]
pub(super) struct Core {
    pub(super) sends: Sends,
    pub(super) calls: Calls,
    pub(super) slots: Slots,
    /// Set once the stores are read.
    pub(super) dating: Option<Dating>,
    pub(super) watch: Watch,
    pub(super) line: Line,
    /// Of the agent, among those that share a lock: what connections are made for.
    pub(super) role: Role,
    /// Begun for a follower: what acknowledging does may be known only once there is a subscription.
    pub(super) provisional: bool,
    options: Arc<ResilientOptions>,
    address: Address,
    capabilities: Capabilities,
    life: Lifecycle,
    rng: fastrand::Rng,
    /// The card that was registered last, and on which connection.
    registered: Option<(AgentCard, u64)>,
    /// For who closes: how that ended.
    outcome: Outcome,
    /// Inboxes that are no longer read: their jobs are to be stopped.
    stopped: Vec<Stopped>,
}

/// What the driver has to do.
pub(super) enum Todo {
    Connect,
    Send(Attempt),
    /// The card is for a report that has to register again first.
    Call(u64, Arc<Call>, Option<AgentCard>),
    StopCall(u64),
    /// To be stopped once what was settled in it is acknowledged.
    StopReading(Stopped),
    Slot(SlotWork),
    /// A change for the stores.
    Keep(Keep),
    /// Acknowledge what is settled, close, and hand the result to [`Core::finish`].
    Finish(CloseMode),
}

/// An inbox that is no longer read, and its subscription when no job has it.
pub(super) struct Stopped(pub(super) u64, pub(super) Option<EventStream>);

/// What has come of it.
#[allow(clippy::large_enum_variant, reason = "nearly every one is a message that was read")]
pub(super) enum Done {
    Sent(Ticket, u32, Result<Receipt>),
    Called(u64, Result<Answer>),
    Subscribed(u64, Result<EventStream>),
    Read(u64, EventStream, Vec<Item>),
    History(u64, ConversationId, Vec<Delivery>),
    Kept(Kept),
    Nothing,
}

/// An answer to hand to its caller, outside of any lock.
pub(super) enum Reply {
    Plain(Answer, oneshot::Sender<Result<Answer>>),
    /// An inbox is read for the caller.
    Seat(u64, Address, oneshot::Sender<Result<Answer>>),
}

impl Core {
    /// A session that has its first connection, made after `reconnect` counted the failures before it.
    pub(super) fn new(
        options: Arc<ResilientOptions>,
        address: Address,
        capabilities: Capabilities,
        reconnect: Backoff,
        mut rng: fastrand::Rng,
    ) -> Self {
        let outbox =
            Outbox::new(options.outbox, options.retry, options.receivers_dedup).with_rate(options.rate);
        let own = options.skip_own.then(|| address.clone());
        let mut core = Self {
            sends: Sends::new(outbox, options.send_timeout),
            calls: Calls::new(options.retry),
            slots: Slots::new(rng.u32(..), options.retry, own),
            watch: Watch::new(options.role.clone(), options.status_interval),
            line: Line::default(),
            role: Role::Leader,
            provisional: false,
            options,
            address,
            capabilities,
            life: Lifecycle::new(reconnect),
            rng,
            registered: None,
            outcome: Outcome::default(),
            stopped: Vec::new(),
            dating: None,
        };
        core.sends.observer = core.watch.observer.clone();
        core.slots.observer = core.watch.observer.clone();
        core.on_attached();
        core
    }

    /// # Errors
    /// `Closed` once nothing is taken in any more.
    pub(super) fn check_open(&self, operation: &'static str) -> Result<()> {
        self.life.check_open(operation)
    }

    /// # Errors
    /// `Closed` once the session has ended; closing it is not its end before the last acknowledgements are sent.
    pub(super) fn check_ended(&self, operation: &'static str) -> Result<()> {
        self.life.check_ended(operation)
    }

    /// Address and capabilities, which do not change from the first subscription on.
    pub(super) fn facts(&self) -> (Address, Capabilities) {
        (self.address.clone(), self.capabilities.clone().in_session())
    }

    /// What to do now.
    pub(super) fn poll(&mut self, now: Instant, wall: SystemTime) -> Vec<Todo> {
        let mut todo = Vec::new();
        if self.watch.is_due(now) {
            self.watch.status(self.life.is_attached(), &self.stats());
        }
        let stopped = std::mem::take(&mut self.stopped);
        if self.life.has_ended() {
            todo.extend(stopped.into_iter().map(Todo::StopReading));
            return todo;
        }
        todo.extend(self.calls.tick(now).into_iter().map(Todo::StopCall));
        self.slots.tick(now);
        while let Some(attempt) = self.sends.poll(now, wall) {
            todo.push(Todo::Send(attempt));
        }
        self.poll_keeps(now, &mut todo);
        if self.life.is_attached() {
            todo.extend(self.slots.work(now).into_iter().map(Todo::Slot));
        }
        todo.extend(stopped.into_iter().map(Todo::StopReading));
        if self.life.is_attached() {
            while let Some((number, call)) = self.calls.poll(now) {
                let card = self.registered.as_ref().filter(|(_, on)| *on != self.life.connects());
                let card = matches!(*call, Call::Report(_)).then(|| card.map(|(card, _)| card.clone()));
                todo.push(Todo::Call(number, call, card.flatten()));
            }
        }
        let drained = self.life.is_closing() && self.is_drained();
        while let Some(action) = self.life.poll(now, drained) {
            todo.push(match action {
                LifecycleAction::Connect => Todo::Connect,
                LifecycleAction::Finish(mode) => Todo::Finish(mode),
            });
        }
        todo
    }

    /// When to ask [`Core::poll`] again though nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.life.has_ended() {
            return None;
        }
        let attached = self.life.is_attached();
        [self.sends.deadline(), self.calls.deadline(attached), self.slots.deadline(attached)]
            .into_iter()
            .chain([self.life.deadline(), self.watch.deadline()])
            .flatten()
            .min()
    }

    /// A connection was made.
    pub(super) fn on_connected(&mut self, address: &Address, now: Instant) -> bool {
        if *address != self.address {
            let what = "the connector came back with another inbox";
            let error = Error::new(ErrorKind::Config, "connect", what);
            if self.life.end(CloseReason::failed(&error), error) {
                self.on_failed();
            }
            return false;
        }
        let wanted = self.life.on_connected(now);
        if wanted {
            self.on_attached();
        }
        wanted
    }

    /// The connection was lost, or could not be made (`attempted`).
    pub(super) fn on_lost(&mut self, error: Error, attempted: bool, now: Instant) {
        self.line.set(None);
        self.sends.on_disconnected(now);
        self.calls.on_disconnected();
        self.slots.on_disconnected(now);
        self.watch.observer.lost(&error, attempted);
        if self.life.on_lost(error, attempted, now, &mut self.rng) {
            self.on_failed();
        }
    }

    /// Takes in what has come of a job. `Err` means that the connection is gone.
    pub(super) fn on_done(&mut self, done: Done, now: Instant) -> (Option<Reply>, Option<Error>) {
        match done {
            Done::Sent(ticket, number, result) => {
                let lost = result.as_ref().err().and_then(end_of_session);
                if let Ok(Receipt { seq: Some(seq), .. }) = &result
                    && let Some(conversation) = self.sends.conversation(ticket)
                {
                    self.slots.note_own_send(&conversation, *seq, now);
                }
                self.sends.on_result(ticket, number, result, now, &mut self.rng);
                (None, lost)
            }
            Done::Called(number, result) => self.on_called(number, result, now),
            Done::Subscribed(number, result) => {
                if let Some(error) = result.as_ref().err().and_then(end_of_session) {
                    return (None, Some(error));
                }
                self.slots.on_subscribed(number, result, now, &mut self.rng);
                (None, None)
            }
            Done::Read(number, stream, items) => {
                match self.slots.on_items(number, stream, items, now, &mut self.rng) {
                    Verdict::Goes => (None, None),
                    Verdict::Lost(error) => (None, Some(error)),
                }
            }
            Done::Nothing => (None, None),
            Done::Kept(kept) => {
                self.on_kept(kept, now);
                (None, None)
            }
            Done::History(number, of, rows) => {
                self.slots.on_history(number, &of, rows, now);
                (None, None)
            }
        }
    }

    /// The reader of an inbox went away.
    pub(super) fn abandon(&mut self, slot: u64, now: Instant) {
        let stream = self.slots.abandon(slot, now);
        self.stopped.push(Stopped(slot, stream));
    }

    /// Ends the session, if it has not ended.
    pub(super) fn end(&mut self, reason: CloseReason, why: Error) {
        if self.life.end(reason, why) {
            self.on_ended();
        }
    }

    /// Whether the session's task has something to do for the outbox.
    pub(super) fn has_more_to_send(&self) -> bool {
        self.life.is_closing() || self.sends.has_more()
    }

    pub(super) fn why_ended(&self) -> Option<&Error> {
        self.life.why_ended()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.life.has_ended()
    }

    /// How the session stands, told to who listens: when that is news.
    pub(super) fn observe(&mut self, now: Instant) -> Option<SessionState> {
        let state = self.state();
        self.watch.state(&state, now).then_some(state)
    }

    /// How the session stands.
    pub(super) fn state(&self) -> SessionState {
        self.life.state(|| self.slots.catching_up())
    }

    pub(super) fn stats(&self) -> SessionStats {
        let inboxes = self.slots.stats();
        let mut stats = SessionStats {
            connects: self.life.connects(),
            received: inboxes.received,
            delivered: inboxes.delivered,
            duplicates: inboxes.duplicates,
            self_filtered: inboxes.self_filtered,
            late: inboxes.late,
            gaps: inboxes.gaps,
            gaps_filled: inboxes.gaps_filled,
            unsettled: self.slots.unsettled(),
            ..SessionStats::default()
        };
        self.sends.count(&mut stats, self.options.outbox.max_bytes);
        stats
    }

    fn on_attached(&mut self) {
        self.watch.observer.connected(self.life.connects());
        self.sends.on_connected();
    }

    fn on_called(
        &mut self,
        number: u64,
        result: Result<Answer>,
        now: Instant,
    ) -> (Option<Reply>, Option<Error>) {
        let lost = result.as_ref().err().and_then(end_of_session);
        let gone = lost.is_some();
        let Some((call, answer, reply)) = self.calls.on_result(number, result, gone, now, &mut self.rng)
        else {
            return (None, lost);
        };
        let reply = match (&*call, answer) {
            (Call::Subscribe(options), Answer::Opened(opened)) => {
                if std::mem::take(&mut self.provisional)
                    && let Some(ack) = self.line.ack()
                {
                    self.capabilities.ack = ack;
                }
                let is_own = self.is_own(options);
                let stream = opened.events;
                let address = opened.address;
                let slot = self.slots.open(&address, is_own, options, &self.capabilities, stream, now);
                Reply::Seat(slot, address, reply)
            }
            (Call::Register(card), answer) => {
                self.registered = Some((card.clone(), self.life.connects()));
                Reply::Plain(answer, reply)
            }
            (Call::Unregister, answer) => {
                self.registered = None;
                Reply::Plain(answer, reply)
            }
            (Call::Report(_), answer) => {
                if let Some((_, on)) = &mut self.registered {
                    *on = self.life.connects();
                }
                Reply::Plain(answer, reply)
            }
            (_, answer) => Reply::Plain(answer, reply),
        };
        (Some(reply), None)
    }

    fn is_own(&self, options: &SubscribeOptions) -> bool {
        match &options.inbox {
            Inbox::Own => true,
            Inbox::Existing(address) => *address == self.address,
            Inbox::Fresh { .. } => false,
        }
    }

    /// Whether closing has nothing more to wait for.
    fn is_drained(&self) -> bool {
        self.has_kept_all() && !self.slots.may_pay() && self.sends.is_idle()
    }

    fn on_failed(&mut self) {
        if let Some(error) = self.life.why_ended() {
            tracing::error!(name: "session.failed", error_kind = error.kind().as_str(), %error, "the session has ended");
        }
        self.on_ended();
    }

    /// Tells every part.
    fn on_ended(&mut self) {
        let Some(why) = self.life.why_ended() else { return };
        self.line.set(None);
        self.sends.end(why);
        self.calls.end(why);
        self.slots.end(why);
        if let Some(mode) = self.life.mode() {
            self.outcome.be(mode, Err(why.copy()));
        }
    }
}

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stopped").field(&self.0).finish_non_exhaustive()
    }
}

/// The error as the session's own, when it says that the connection cannot be used any more.
fn end_of_session(error: &Error) -> Option<Error> {
    (error.ends_attachment() || error.kind() == ErrorKind::Unauthorized).then(|| error.copy())
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "session", "the session was closed")
}
