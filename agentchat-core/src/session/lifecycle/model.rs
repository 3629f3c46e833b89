//! The states against what a session was told and what it asked for: a ledger of both says how it stands, and
//! what may come next.

mod ops;

use std::time::Duration;

pub(super) use self::ops::Op;
use self::ops::{Fault, is_in_table};
use super::*;
use crate::fuzz::Dice;
use crate::session::backoff::BackoffPolicy;

/// Reads the operations from bytes.
pub(crate) fn fuzz(dice: &mut Dice) {
    let mut world = World::new(dice);
    while !dice.is_spent() {
        let op = Op::decode(dice);
        let (kind, state) = (std::mem::discriminant(&op), std::mem::discriminant(&world.state()));
        let retires = world.closed.map(|(mode, _)| mode == CloseMode::Retire);
        let asked = (world.out, world.finished, world.failures.min(4));
        dice.reached((kind, state, retires, asked, world.drained));
        world.apply(op);
    }
    world.come_to_rest();
}

/// The states, and the ledger.
pub(super) struct World {
    life: Lifecycle,
    policy: BackoffPolicy,
    rng: fastrand::Rng,
    now: Instant,
    drained: bool,
    catching_up: bool,
    /// Since when there is a connection.
    up: Option<Instant>,
    /// An attempt was asked for, and nothing has come of it yet.
    out: bool,
    /// Before which no attempt may be asked for.
    named: Option<Instant>,
    failures: u32,
    connects: u64,
    closed: Option<(CloseMode, Instant)>,
    sealed: bool,
    finished: bool,
    ended: Option<CloseReason>,
}

impl World {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut policy = BackoffPolicy::new()
            .with_cap(Duration::from_secs(4))
            .with_jitter([0.0, 0.25, 1.0][dice.usize(0..3)])
            .with_stable_after(Duration::from_secs(3));
        policy.max_attempts = [None, Some(1), Some(3)][dice.usize(0..3)];
        let (now, mut backoff) = (Instant::now(), Backoff::new(policy));
        backoff.connected(now);
        Self {
            life: Lifecycle::new(backoff),
            policy,
            rng: fastrand::Rng::with_seed(dice.u64(0..256)),
            now,
            drained: false,
            catching_up: true,
            up: Some(now),
            out: false,
            named: None,
            failures: 0,
            connects: 1,
            closed: None,
            sealed: false,
            finished: false,
            ended: None,
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        let before = self.state();
        match op {
            Op::Connected => self.connected(),
            Op::Failed(fault) if self.out || self.ended.is_some() => self.lost(fault, true),
            Op::Lost(fault) if self.up.is_some() || self.ended.is_some() => self.lost(fault, false),
            Op::Failed(_) | Op::Lost(_) => {}
            Op::Close { mode, within } => self.close(mode, self.now + within),
            Op::Seal => {
                self.life.seal();
                self.sealed |= self.closed.is_some();
            }
            Op::End { requested } => self.end(requested),
            Op::Drained(drained) => self.drained = drained,
            Op::CatchingUp(catching_up) => self.catching_up = catching_up,
            Op::Pass(time) => self.now += time,
            Op::Poll => _ = self.poll(),
            Op::ToDeadline => self.reach_deadline(),
        }
        self.compare();
        let after = self.state();
        assert!(is_in_table(&before, op, &after), "from {before:?} to {after:?} by {op:?}");
    }

    /// Closes it, if nobody has, and answers no attempt: it finishes by time alone, and is over.
    pub(super) fn come_to_rest(&mut self) {
        self.apply(Op::Close { mode: CloseMode::Retire, within: Duration::from_secs(9) });
        if let Some((_, until)) = self.closed.filter(|_| self.ended.is_none()) {
            let latest = until.max(self.now);
            // One for the attempt that may be due before.
            (0..2).for_each(|_| self.apply(Op::ToDeadline));
            assert!(self.finished && self.now <= latest, "it does not finish in time");
        }
        self.apply(Op::End { requested: true });
        let end = self.state();
        let (fault, within) = (Fault::Fatal(Advice::Never), Duration::ZERO);
        for op in [Op::Connected, Op::Failed(fault), Op::Lost(Fault::Cut), Op::End { requested: false }] {
            self.apply(op);
        }
        for op in [Op::Close { mode: CloseMode::Detach, within }, Op::Seal, Op::Poll, Op::ToDeadline] {
            self.apply(op);
        }
        assert_eq!(self.state(), end, "closed is for good");
    }

    fn state(&self) -> SessionState {
        self.life.state(|| self.catching_up)
    }

    /// Whether anything may still be asked for.
    fn goes_on(&self) -> bool {
        self.ended.is_none() && !self.finished
    }

    fn connected(&mut self) {
        if self.ended.is_some() {
            assert!(!self.life.on_connected(self.now), "nobody wants it any more");
        } else if self.out {
            assert!(self.life.on_connected(self.now));
            (self.up, self.out) = (Some(self.now), false);
            self.connects += 1;
        }
    }

    fn lost(&mut self, fault: Fault, attempted: bool) {
        let (error, reason) = (fault.error(), CloseReason::failed(&fault.error()));
        let over = self.life.on_lost(error, attempted, self.now, &mut self.rng);
        if self.ended.is_some() {
            return assert!(!over, "it ended before");
        }
        let since = self.up.take();
        self.out = false;
        if since.is_some_and(|since| self.now - since >= self.policy.stable_after) {
            self.failures = 0;
        }
        self.failures += 1;
        let given_up = match fault {
            Fault::Fatal(_) => true,
            Fault::Useless if attempted => true,
            _ => self.policy.max_attempts.is_some_and(|most| self.failures >= most),
        };
        assert_eq!(over, given_up, "{fault:?} is failure {} in a row", self.failures);
        if over {
            (self.ended, self.named) = (Some(reason), None);
            return;
        }
        let Link::Waiting(at) = self.life.link else { panic!("it does not wait for the next attempt") };
        self.judge(at - self.now, fault);
        self.named = Some(at);
    }

    /// Whether the wait is that of so many failures, and not below what the server asked for.
    fn judge(&self, wait: Duration, fault: Fault) {
        let floor = if let Fault::SlowDown(floor) = fault { floor } else { Duration::ZERO };
        assert!(wait >= floor, "{wait:?}, and {floor:?} was asked for");
        let grown = self.policy.base * 2_u32.pow(self.failures.min(10) - 1);
        let middle = grown.min(self.policy.cap).as_secs_f64();
        let least = (middle * (1.0 - self.policy.jitter)).max(floor.as_secs_f64());
        let most = least + middle * self.policy.jitter * 2.0;
        let wait = wait.as_secs_f64();
        assert!((least - 1e-6..=most + 1e-6).contains(&wait), "{wait} is not in {least}..{most}");
    }

    fn close(&mut self, mode: CloseMode, until: Instant) {
        let is_news = self.ended.is_none() && self.closed.is_none();
        assert_eq!(self.life.close(mode, until), is_news);
        match &mut self.closed {
            None if is_news => self.closed = Some((mode, until)),
            Some((known, _)) if mode == CloseMode::Retire && self.ended.is_none() && !self.finished => {
                *known = mode
            }
            _ => {}
        }
    }

    fn end(&mut self, requested: bool) {
        let why = Error::new(ErrorKind::Unexpected, "session", "the task panicked");
        let reason = if requested { CloseReason::Requested } else { CloseReason::failed(&why) };
        assert_eq!(self.life.end(reason.clone(), why), self.ended.is_none());
        self.ended.get_or_insert(reason);
        (self.up, self.out, self.named) = (None, false, None);
    }

    /// Takes what there is to do; returns how much.
    fn poll(&mut self) -> usize {
        let mut count = 0;
        while let Some(action) = self.life.poll(self.now, self.drained) {
            count += 1;
            assert!(self.goes_on(), "{action:?} after the end");
            match action {
                LifecycleAction::Connect => {
                    assert!(self.up.is_none() && !self.out, "a second connection");
                    let named = self.named.take().expect("an attempt was named");
                    assert!(named <= self.now, "{:?} too early", named - self.now);
                    self.out = true;
                }
                LifecycleAction::Finish(how) => {
                    let (mode, _) = self.closed.expect("it was closed");
                    assert!(how == mode && self.may_finish(), "it finishes too early");
                    self.finished = true;
                }
            }
        }
        if self.goes_on() {
            assert!(self.named.is_none_or(|at| at > self.now), "an attempt is due");
            assert!(!self.may_finish(), "it should finish");
        }
        let next = self.life.deadline();
        assert!(next.is_none_or(|at| at > self.now), "it would be asked again at once, for nothing");
        count
    }

    fn may_finish(&self) -> bool {
        self.closed.is_some_and(|(mode, until)| {
            until <= self.now || (self.drained && (mode == CloseMode::Detach || self.up.is_some()))
        })
    }

    fn reach_deadline(&mut self) {
        self.poll();
        let Some(at) = self.life.deadline() else { return };
        self.now = at - Duration::from_nanos(1);
        assert_eq!(self.poll(), 0, "nothing is due before its time");
        self.now = at;
        assert!(self.poll() > 0, "what was due is nothing");
    }

    fn compare(&self) {
        let state = match (&self.ended, self.closed, self.named) {
            (Some(reason), ..) => SessionState::Closed(reason.clone()),
            (None, Some(_), _) => SessionState::Draining,
            (None, None, Some(at)) => {
                SessionState::BackingOff { attempt: self.failures, until: at.into_std() }
            }
            (None, None, None) if self.out => SessionState::Connecting,
            (None, None, None) if self.catching_up => SessionState::CatchingUp,
            (None, None, None) => SessionState::Live,
        };
        assert_eq!(self.state(), state);
        let closing = self.closed.filter(|_| self.ended.is_none());
        let due = [self.named, closing.map(|(_, until)| until)].into_iter().flatten().min();
        assert_eq!(self.life.deadline(), due.filter(|_| self.goes_on()));
        assert_eq!((self.life.is_attached(), self.life.connects()), (self.up.is_some(), self.connects));
        assert_eq!(self.life.is_closing(), closing.is_some());
        assert_eq!(self.life.mode(), self.closed.map(|(mode, _)| mode));
        assert_eq!(self.life.has_ended(), self.ended.is_some());
        assert_eq!(self.life.why_ended().is_some(), self.ended.is_some());
        let (open, settles) = (self.life.check_open("send"), self.life.check_ended("ack"));
        assert_eq!(open.is_ok(), self.ended.is_none() && closing.is_none());
        assert_eq!(settles.is_ok(), self.ended.is_none() && !self.sealed);
        let refused = [open, settles].into_iter().filter_map(Result::err);
        assert!(refused.map(|error| error.kind()).all(|kind| kind == ErrorKind::Closed));
    }
}
