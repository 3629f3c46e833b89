//! The queue against a simple one: a plain list that is searched from the front for everything.

mod disk;
mod ops;

use std::time::Duration;

use proptest::prelude::*;

use self::disk::Disk;
use self::ops::{Answer, Op, op};
use super::*;
use crate::fuzz::Dice;
use crate::{Address, Body, ConversationId, Priority};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn it_behaves_like_a_plain_list_and_loses_nothing(
        ops in prop::collection::vec(op(), 1..150), dedup: bool, stored: bool, seed: u64
    ) {
        let mut pair = Pair::new(dedup, stored, seed);
        for op in ops {
            pair.apply(op);
            pair.compare();
        }
        pair.finish();
    }
}

/// Reads the operations from bytes.
pub(crate) fn fuzz(dice: &mut Dice) {
    let mut pair = Pair::new(dice.bool(), dice.bool(), dice.u64(0..256));
    while !dice.is_spent() {
        let op = ops::decode(dice);
        let oldest = pair.items.first().map(|item| std::mem::discriminant(&item.state));
        let state = (pair.items.len().min(4), pair.in_flight(), pair.connected, pair.dedup);
        dice.reached((op.kind(), state, oldest, pair.unreported.is_empty()));
        pair.apply(op);
        pair.compare();
    }
    pair.finish();
}

/// The queue, the list, and what has happened so far.
struct Pair {
    outbox: Outbox,
    items: Vec<Item>,
    connected: bool,
    dedup: bool,
    unreported: BTreeSet<Ticket>,
    ended: BTreeSet<Ticket>,
    pushes: usize,
    /// The newest first attempt and the newest acceptance of each conversation.
    newest: HashMap<(u8, &'static str), Ticket>,
    start: Instant,
    now: Instant,
    /// How far the time of day has been set forward or back, in seconds.
    skew: i64,
    rng: fastrand::Rng,
    disk: Option<Disk>,
    /// Messages that have ended.
    past: Vec<Outbound>,
}

struct Item {
    ticket: Ticket,
    message: Outbound,
    lane: u8,
    /// `Ready` stands for `Waiting` too: the list looks who is first when it needs to.
    state: State,
    attempts: u32,
    /// Attempts of an earlier process, whose answers never come.
    before: u32,
    tries: u32,
    holders: usize,
    owned: bool,
    unknown: bool,
    deadline: Option<Instant>,
    /// The count of attempts under which the store is known to hold it.
    noted: Option<u32>,
}

impl Pair {
    fn new(dedup: bool, stored: bool, seed: u64) -> Self {
        let now = Instant::now();
        let mut outbox = empty(dedup);
        if stored {
            outbox.restore(Vec::new(), Vec::new(), now, SystemTime::UNIX_EPOCH);
        }
        Self {
            outbox,
            items: Vec::new(),
            connected: false,
            dedup,
            unreported: BTreeSet::new(),
            ended: BTreeSet::new(),
            pushes: 0,
            newest: HashMap::new(),
            start: now,
            now,
            skew: 0,
            rng: fastrand::Rng::with_seed(seed),
            disk: stored.then(Disk::default),
            past: Vec::new(),
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Push { lane, size, priority, deadline } => self.push(lane, size, priority, deadline),
            Op::Repeat { which, altered } => self.repeat(which, altered),
            Op::Poll(times) => _ = (0..times).take_while(|_| self.poll()).count(),
            Op::Answer { which, answer } => {
                if let Some(at) = self.pick(which, |item| item.state == State::InFlight) {
                    self.answer(at, answer);
                }
            }
            Op::Late { which, receipt } => self.late(which, receipt),
            Op::Withdraw(which) => self.withdraw(which),
            Op::Keep(which) => self.keep(which),
            Op::Resume(which) => self.resume(which),
            Op::Discard(which) => self.discard(which),
            Op::Disconnect => {
                self.outbox.on_disconnected();
                self.disconnect();
            }
            Op::Connect => {
                self.outbox.on_connected();
                self.disconnect();
                self.connected = true;
            }
            Op::Again { which, altered } => self.again(which, altered),
            Op::Write(times) => self.write(times),
            Op::Written { which, fate } => self.written(which, fate),
            Op::Kill(made) => self.kill(made),
            Op::Pass(millis) => self.now += Duration::from_millis(millis),
            Op::SetClock(hours) => self.skew = 3_600 * i64::from(hours),
        }
    }

    fn push(&mut self, lane: u8, size: usize, priority: Priority, deadline: Option<u64>) {
        let to = Address::parse("loopback://b").expect("valid");
        let mut message = Outbound::new(to, Body::new("t", vec![b'x'; size])).with_priority(priority);
        message.deadline = deadline.map(|after| self.wall() + Duration::from_millis(after));
        if lane > 0 {
            message.conversation = Some(ConversationId::new(format!("c{lane}")).expect("valid"));
        }
        let room = self.items.len() < 12 && self.bytes() + size + 1_025 <= 12_000;
        assert_eq!(self.outbox.fits(&message), room);
        match self.outbox.push(message.clone(), self.now, self.wall()) {
            Ok(queued) => {
                assert!(room && deadline != Some(0) && matches!(queued, Queued::New(_)));
                self.pushed(queued.ticket(), message, lane);
            }
            Err(refused) => {
                assert_eq!(*refused.message, message);
                let kind = if deadline == Some(0) { ErrorKind::Timeout } else { ErrorKind::Backpressure };
                assert_eq!(refused.error.kind(), kind);
                assert!(!room || deadline == Some(0));
            }
        }
    }

    fn repeat(&mut self, which: usize, altered: bool) {
        let Some(at) = self.pick(which, |_| true) else { return };
        let mut message = self.items[at].message.clone();
        if altered {
            message.tags.push("other".to_owned());
        }
        match self.outbox.push(message, self.now, self.wall()) {
            Ok(queued) => {
                assert_eq!((queued, altered), (Queued::Joined(self.items[at].ticket), false));
                self.items[at].holders += 1;
            }
            Err(refused) => assert_eq!((refused.error.kind(), altered), (ErrorKind::Conflict, true)),
        }
    }

    /// One step of both; returns whether there was anything to do.
    fn poll(&mut self) -> bool {
        let action = self.outbox.poll(self.now);
        if let Some(expected) = self.unreported.pop_first() {
            assert!(matches!(action, Some(Action::Parked(ticket, _)) if ticket == expected), "{action:?}");
            return true;
        }
        let now = self.now;
        let late =
            self.items.iter().filter(|item| item.deadline.is_some_and(|at| at <= now) && item.can_expire());
        if let Some((_, expected)) = late.map(|item| (item.deadline, item.ticket)).min() {
            let Some(Action::Parked(ticket, error)) = action else { panic!("{action:?}") };
            assert_eq!((ticket, error.kind()), (expected, ErrorKind::Timeout));
            let item = self.item(ticket);
            item.park();
            assert_eq!(error.reached() == Reached::Unknown, item.unknown);
            return true;
        }
        let due = |item: &Item| match item.state {
            State::Ready | State::Interrupted => true,
            State::Retrying(at) => at <= now,
            _ => false,
        };
        let free = self.connected && self.in_flight() < 3;
        let able = |at: &usize| self.is_first(*at) && due(&self.items[*at]) && !self.is_kept_back(*at);
        let startable = (0..self.items.len()).filter(|at| free && able(at));
        let order = |item: &Item| match item.state {
            State::Interrupted => (0, 0, item.ticket),
            _ if item.message.priority == Priority::Urgent => (1, 0, item.ticket),
            _ => (1, 1, item.ticket),
        };
        let Some(at) = startable.min_by_key(|at| order(&self.items[*at])) else {
            assert!(action.is_none(), "{action:?}");
            self.compare_deadline();
            return false;
        };
        let Some(Action::Start(attempt)) = action else { panic!("{action:?}") };
        let item = &mut self.items[at];
        item.attempts += 1;
        item.tries += 1;
        item.state = State::InFlight;
        assert_eq!((attempt.ticket, attempt.number), (item.ticket, item.attempts));
        assert_eq!(*attempt.message, item.message);
        assert!(!self.ended.contains(&attempt.ticket), "started after it ended");
        if let Some(disk) = &self.disk {
            disk.assert_may_be_tried(&attempt.message);
        }
        let item = &self.items[at];
        let (lane, first) = (item.lane, item.attempts == 1);
        if first {
            self.in_order(lane, "first attempt", attempt.ticket);
        }
        true
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        let (now, dedup) = (self.now, self.dedup);
        let (ticket, number) = (self.items[at].ticket, self.items[at].attempts);
        let outcome = self.outbox.on_result(ticket, number, answer.result(), now, &mut self.rng);
        let item = &mut self.items[at];
        let exhausted = item.tries >= MAX_ATTEMPTS;
        if matches!(answer, Answer::TimedOut | Answer::Lost) {
            item.unknown = true;
        }
        if matches!(answer, Answer::Lost | Answer::LostBefore) {
            self.connected = false;
        }
        match answer {
            Answer::Accepted => {
                assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
                let lane = item.lane;
                self.in_order(lane, "acceptance", ticket);
                self.end(at);
            }
            Answer::Lost | Answer::LostBefore
                if !exhausted && (dedup || matches!(answer, Answer::LostBefore)) =>
            {
                assert!(matches!(outcome, Outcome::AwaitConnection), "{outcome:?}");
                item.state = State::Interrupted;
            }
            Answer::Busy | Answer::SlowDown(_) | Answer::TimedOut
                if !exhausted && (dedup || !matches!(answer, Answer::TimedOut)) =>
            {
                let floor = if let Answer::SlowDown(millis) = answer { millis } else { 0 };
                let latest = now + Duration::from_millis(floor) + Duration::from_millis(37_500);
                match outcome {
                    Outcome::Retry(again) => {
                        assert!(again >= now + Duration::from_millis(floor) && again <= latest);
                        assert!(item.deadline.is_none_or(|deadline| again < deadline));
                        item.state = State::Retrying(again);
                    }
                    Outcome::Parked(error) => {
                        assert_eq!(error.kind(), ErrorKind::Timeout);
                        assert!(item.deadline.is_some_and(|deadline| deadline <= latest));
                        item.park();
                    }
                    other => panic!("{other:?}"),
                }
            }
            _ => {
                let Outcome::Parked(error) = outcome else { panic!("{outcome:?}") };
                assert!(!item.unknown || error.reached() == Reached::Unknown);
                item.park();
            }
        }
    }

    /// The answer to an attempt that is not under way any more.
    fn late(&mut self, which: usize, receipt: bool) {
        let cut_off = |item: &Item| item.attempts > item.before && item.state != State::InFlight;
        let Some(at) = self.pick(which, cut_off) else { return };
        if receipt {
            return self.answer(at, Answer::Accepted);
        }
        let (ticket, number) = (self.items[at].ticket, self.items[at].attempts);
        let late = Answer::Forbidden.result();
        let outcome = self.outbox.on_result(ticket, number, late, self.now, &mut self.rng);
        assert!(matches!(outcome, Outcome::Ignored), "{outcome:?}");
    }

    fn withdraw(&mut self, which: usize) {
        let Some(at) = self.pick(which, |_| true) else { return };
        let item = &mut self.items[at];
        item.holders = item.holders.saturating_sub(1);
        let leaves = item.holders == 0 && item.attempts == 0 && !item.owned;
        assert_eq!(self.outbox.withdraw(item.ticket), leaves);
        if leaves {
            self.end(at);
        }
    }

    fn keep(&mut self, which: usize) {
        let Some(at) = self.pick(which, |_| true) else { return };
        self.outbox.keep(self.items[at].ticket);
        self.items[at].owned = true;
    }

    fn resume(&mut self, which: usize) {
        let Some(at) = self.pick(which, |_| true) else { return };
        let item = &mut self.items[at];
        let able = item.state == State::Parked && item.deadline.is_none_or(|deadline| deadline > self.now);
        assert_eq!(self.outbox.resume(item.ticket, self.now), able);
        if able {
            item.state = State::Ready;
            item.tries = 0;
            // It need not be kept anew if the store did not hear of its parking.
            item.noted = self.outbox.entries.get(item.ticket.0).expect("it is there").noted;
            self.unreported.remove(&item.ticket);
        }
    }

    fn discard(&mut self, which: usize) {
        let Some(at) = self.pick(which, |_| true) else { return };
        let item = &self.items[at];
        let message = (item.state != State::InFlight).then(|| item.message.clone());
        assert_eq!(self.outbox.discard(item.ticket), message);
        if message.is_some() {
            self.end(at);
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        for item in self.items.iter_mut().filter(|item| item.state == State::InFlight) {
            item.unknown = true;
            if self.dedup && item.tries < MAX_ATTEMPTS {
                item.state = State::Interrupted;
            } else {
                item.park();
                self.unreported.insert(item.ticket);
            }
        }
    }

    fn compare(&self) {
        let left = (12_usize.saturating_sub(self.items.len()), 12_000_usize.saturating_sub(self.bytes()));
        assert_eq!(self.outbox.capacity(), left);
        assert_eq!(
            (self.outbox.is_empty(), self.outbox.ids.len()),
            (self.items.is_empty(), self.items.len())
        );
        assert_eq!(self.outbox.is_connected(), self.connected);
        assert!(self.in_flight() <= 3);
        assert_eq!(self.outbox.pending().count(), self.items.len());
        for (at, pending) in self.outbox.pending().enumerate() {
            let item = &self.items[at];
            assert_eq!((pending.ticket, pending.attempts), (item.ticket, item.attempts));
            assert_eq!(**pending.message, item.message);
            let unknown = item.unknown || item.state == State::InFlight;
            assert_eq!(pending.reached == Reached::Unknown, unknown);
            assert_eq!((pending.kept, pending.owned), (item.noted.is_some(), item.owned));
            let expected = match item.state {
                State::Ready if self.is_kept_back(at) => State::Keeping,
                // The note that it may be tried goes on when the connection is lost.
                State::Ready if pending.state == State::Keeping && self.may_be_noting(at) => State::Keeping,
                State::Ready if !self.is_first(at) => State::Waiting,
                // It becomes ready when the queue is asked next.
                State::Retrying(due) if due <= self.now && pending.state == State::Ready => State::Ready,
                state => state,
            };
            assert_eq!(pending.state, expected);
            let shown = self.outbox.get(item.ticket).expect("pending");
            assert_eq!((shown.state, shown.error.is_some()), (pending.state, pending.error.is_some()));
        }
    }

    fn compare_deadline(&self) {
        let retries = self.items.iter().filter_map(|item| match item.state {
            State::Retrying(at) if self.connected && at > self.now => Some(at),
            _ => None,
        });
        let deadlines = self.items.iter().filter(|item| item.can_expire()).filter_map(|item| item.deadline);
        let expected = retries.chain(deadlines).min();
        let store = self.outbox.journal.as_ref().and_then(Journal::deadline);
        assert_eq!(self.outbox.deadline(), expected.into_iter().chain(store).min());
        assert!(expected.is_none_or(|at| at > self.now), "it would be asked again for nothing");
    }

    /// Sends what can be sent and takes the rest back: then everything has ended, once.
    fn finish(mut self) {
        self.apply(Op::Connect);
        self.write_all();
        while !self.items.is_empty() {
            while self.poll() {}
            if let Some(at) = self.items.iter().position(|item| item.state == State::InFlight) {
                self.answer(at, Answer::Accepted);
            } else if let Some(at) = self.items.iter().position(|item| item.state == State::Parked) {
                let item = &self.items[at];
                assert_eq!(self.outbox.discard(item.ticket).as_ref(), Some(&item.message));
                self.end(at);
            } else {
                self.now = self.outbox.deadline().expect("something waits for a moment");
            }
            self.compare();
            self.write_all();
        }
        while self.outbox.unwritten() > 0 {
            self.now = self.outbox.deadline().expect("a change is made again");
            self.write_all();
        }
        if let Some(disk) = &self.disk {
            disk.assert_empty(&self.outbox);
        }
        assert_eq!(self.ended.len(), self.pushes, "every ticket ended");
        assert!(self.unreported.is_empty());
    }

    fn end(&mut self, at: usize) {
        let item = self.items.remove(at);
        self.past.push(item.message);
        self.unreported.remove(&item.ticket);
        assert!(self.ended.insert(item.ticket), "a ticket ends once");
    }

    fn in_order(&mut self, lane: u8, what: &'static str, ticket: Ticket) {
        if lane > 0 {
            let before = self.newest.insert((lane, what), ticket);
            assert!(before.is_none_or(|before| before < ticket), "{what} out of order");
        }
    }

    fn pick(&self, which: usize, wanted: impl Fn(&Item) -> bool) -> Option<usize> {
        let able: Vec<_> = (0..self.items.len()).filter(|at| wanted(&self.items[*at])).collect();
        (!able.is_empty()).then(|| able[which % able.len()])
    }

    fn item(&mut self, ticket: Ticket) -> &mut Item {
        self.items.iter_mut().find(|item| item.ticket == ticket).expect("present")
    }

    fn is_first(&self, at: usize) -> bool {
        let lane = self.items[at].lane;
        lane == 0 || self.items[..at].iter().all(|item| item.lane != lane)
    }

    fn in_flight(&self) -> usize {
        self.items.iter().filter(|item| item.state == State::InFlight).count()
    }

    fn bytes(&self) -> usize {
        self.items.iter().map(|item| 1_025 + item.message.body.bytes.len()).sum()
    }

    fn wall(&self) -> SystemTime {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 365);
        let shown = noon + (self.now - self.start);
        let by = Duration::from_secs(self.skew.unsigned_abs());
        if self.skew < 0 { shown - by } else { shown + by }
    }
}

fn empty(dedup: bool) -> Outbox {
    let limits = OutboxLimits::new().with_max_messages(12).with_max_bytes(12_000).with_in_flight(3);
    Outbox::new(limits, BackoffPolicy::new().with_max_attempts(MAX_ATTEMPTS), dedup)
}

impl Item {
    fn park(&mut self) {
        self.state = State::Parked;
        self.holders = 0;
    }

    fn can_expire(&self) -> bool {
        !matches!(self.state, State::InFlight | State::Parked)
    }
}

const MAX_ATTEMPTS: u32 = 4;
