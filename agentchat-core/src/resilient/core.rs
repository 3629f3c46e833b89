//! The session as a whole: what has happened, and what to do next. Knows no clock, socket or task.

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
use super::state::{CloseReason, SessionState, SessionStats};
use crate::address::Address;
use crate::agent::Role;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::delivery::{Delivery, Receipt};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::id::ConversationId;
use crate::options::{CloseMode, Inbox, SubscribeOptions};
use crate::session::backoff::Backoff;
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
    reconnect: Backoff,
    rng: fastrand::Rng,
    attached: bool,
    connect_at: Option<Instant>,
    connects: u64,
    /// The card that was registered last, and on which connection.
    registered: Option<(AgentCard, u64)>,
    closing: Option<Closing>,
    /// For who closes: how that ended.
    outcome: Outcome,
    ended: Option<(CloseReason, Error)>,
    /// Inboxes that are no longer read: their jobs are to be stopped.
    stopped: Vec<Stopped>,
}

#[derive(Debug)]
struct Closing {
    mode: CloseMode,
    until: Instant,
    begun: bool,
    /// The last acknowledgements are sent.
    sealed: bool,
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
            reconnect,
            rng,
            attached: false,
            connect_at: None,
            connects: 0,
            registered: None,
            closing: None,
            outcome: Outcome::default(),
            ended: None,
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
        match (&self.ended, &self.closing) {
            (Some((reason, _)), _) => {
                let what = format!("the session has ended: {reason}");
                Err(Error::new(ErrorKind::Closed, operation, what))
            }
            (None, Some(_)) => Err(closing(operation)),
            (None, None) => Ok(()),
        }
    }

    /// # Errors
    /// `Closed` once the session has ended; closing it is not its end before the last acknowledgements are sent.
    pub(super) fn check_ended(&self, operation: &'static str) -> Result<()> {
        if self.ended.is_some() || self.closing.as_ref().is_some_and(|closing| closing.sealed) {
            self.check_open(operation)
        } else {
            Ok(())
        }
    }

    /// Address and capabilities, which do not change from the first subscription on.
    pub(super) fn facts(&self) -> (Address, Capabilities) {
        (self.address.clone(), self.capabilities.clone().in_session())
    }

    /// What to do now.
    pub(super) fn poll(&mut self, now: Instant, wall: SystemTime) -> Vec<Todo> {
        let mut todo = Vec::new();
        if self.watch.is_due(now) {
            self.watch.status(self.attached, &self.stats());
        }
        let stopped = std::mem::take(&mut self.stopped);
        if self.ended.is_some() {
            todo.extend(stopped.into_iter().map(Todo::StopReading));
            return todo;
        }
        if self.connect_at.is_some_and(|at| at <= now) {
            self.connect_at = None;
            todo.push(Todo::Connect);
        }
        todo.extend(self.calls.tick(now).into_iter().map(Todo::StopCall));
        self.slots.tick(now);
        while let Some(attempt) = self.sends.poll(now, wall) {
            todo.push(Todo::Send(attempt));
        }
        self.poll_keeps(now, &mut todo);
        if self.attached {
            todo.extend(self.slots.work(now).into_iter().map(Todo::Slot));
        }
        todo.extend(stopped.into_iter().map(Todo::StopReading));
        if self.attached {
            while let Some((number, call)) = self.calls.poll(now) {
                let card = self.registered.as_ref().filter(|(_, on)| *on != self.connects);
                let card = matches!(*call, Call::Report(_)).then(|| card.map(|(card, _)| card.clone()));
                todo.push(Todo::Call(number, call, card.flatten()));
            }
        }
        let (attached, settled) = (self.attached, self.closing.is_some() && self.has_kept_all());
        let settled = settled && !self.slots.may_pay();
        if let Some(closing) = self.closing.as_mut().filter(|closing| !closing.begun) {
            let needs_connection = closing.mode == CloseMode::Retire && !attached;
            if closing.until <= now || (settled && self.sends.is_idle() && !needs_connection) {
                closing.begun = true;
                todo.push(Todo::Finish(closing.mode));
            }
        }
        todo
    }

    /// When to ask [`Core::poll`] again though nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        let closing = self.closing.as_ref().filter(|closing| !closing.begun).map(|closing| closing.until);
        [self.sends.deadline(), self.calls.deadline(self.attached), self.slots.deadline(self.attached)]
            .into_iter()
            .chain([self.connect_at, closing, self.watch.deadline()])
            .flatten()
            .min()
    }

    /// A connection was made.
    pub(super) fn on_connected(&mut self, address: &Address, now: Instant) -> bool {
        if *address != self.address {
            let what = "the connector came back with another inbox";
            self.end_failed(Error::new(ErrorKind::Config, "connect", what));
            return false;
        }
        self.reconnect.connected(now);
        self.on_attached();
        self.ended.is_none()
    }

    /// The connection was lost, or could not be made (`attempted`).
    pub(super) fn on_lost(&mut self, error: Error, attempted: bool, now: Instant) {
        self.attached = false;
        self.line.set(None);
        self.sends.on_disconnected(now);
        self.calls.on_disconnected();
        self.slots.on_disconnected(now);
        let advice = match error.advice() {
            Advice::Never if !attempted => Advice::Reconnect,
            advice => advice,
        };
        self.watch.observer.lost(&error, attempted);
        let again = if error.is_fatal() { None } else { self.reconnect.failed(now, advice, &mut self.rng) };
        match again {
            Some(at) => self.connect_at = Some(at),
            None => self.end_failed(error),
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
        if self.ended.is_some() {
            return;
        }
        (self.attached, self.connect_at) = (false, None);
        self.line.set(None);
        self.sends.end(&why);
        self.calls.end(&why);
        self.slots.end(&why);
        if let Some(closing) = self.closing.take() {
            self.outcome.be(closing.mode, Err(why.copy()));
        }
        self.ended = Some((reason, why));
    }

    /// Whether the session's task has something to do for the outbox.
    pub(super) fn has_more_to_send(&self) -> bool {
        self.closing.is_some() || self.sends.has_more()
    }

    pub(super) fn why_ended(&self) -> Option<&Error> {
        self.ended.as_ref().map(|(_, why)| why)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// How the session stands, told to who listens: when that is news.
    pub(super) fn observe(&mut self, now: Instant) -> Option<SessionState> {
        let state = self.state();
        self.watch.state(&state, now).then_some(state)
    }

    /// How the session stands.
    pub(super) fn state(&self) -> SessionState {
        match (&self.ended, self.connect_at) {
            (Some((reason, _)), _) => SessionState::Closed(reason.clone()),
            _ if self.closing.is_some() => SessionState::Draining,
            (_, Some(at)) => {
                SessionState::BackingOff { attempt: self.reconnect.attempt(), until: at.into_std() }
            }
            _ if !self.attached => SessionState::Connecting,
            _ if self.slots.catching_up() => SessionState::CatchingUp,
            _ => SessionState::Live,
        }
    }

    pub(super) fn stats(&self) -> SessionStats {
        let inboxes = self.slots.stats();
        let mut stats = SessionStats {
            connects: self.connects,
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
        self.connects += 1;
        self.watch.observer.connected(self.connects);
        self.attached = true;
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
                self.registered = Some((card.clone(), self.connects));
                Reply::Plain(answer, reply)
            }
            (Call::Unregister, answer) => {
                self.registered = None;
                Reply::Plain(answer, reply)
            }
            (Call::Report(_), answer) => {
                if let Some((_, on)) = &mut self.registered {
                    *on = self.connects;
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

    fn end_failed(&mut self, error: Error) {
        tracing::error!(name: "session.failed", error_kind = error.kind().as_str(), %error, "the session has ended");
        self.end(CloseReason::failed(&error), error);
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

fn closing(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the session is being closed")
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "session", "the session was closed")
}
