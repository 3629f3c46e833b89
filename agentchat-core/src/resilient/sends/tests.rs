//! Senders that come, join, leave their messages and go away, over connections and processes that end, against
//! what a message and a caller may count on.

mod ops;
mod promises;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::ops::{Answer, Op, op};
use self::promises::Ledger;
use super::*;
use crate::clock::after;
use crate::error::Advice;
use crate::session::backoff::BackoffPolicy;
use crate::session::outbox::{Change, OutboxLimits};
use crate::store::{ParkedReason, ParkedSend, StoredSend};
use crate::{Address, Body, Capabilities, MessageId, SendOutcome};

proptest! {
    // The same cases every time, unless asked for others: `PROPTEST_RNG_SEED=7`.
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: seed(), ..ProptestConfig::default() })]
    #[test]
    fn nothing_left_to_the_outbox_is_lost_nobody_waits_for_ever_and_nothing_overtakes_what_failed(
        ops in prop::collection::vec(op(), 1..120), dedup: bool, stored: bool
    ) {
        let mut world = World::new(dedup, stored);
        for op in ops {
            world.apply(op);
        }
        world.finish();
    }
}

#[test]
fn a_message_that_was_resumed_is_not_taken_away_by_one_who_joins_it_and_waits_no_longer() {
    let mut world = World::new(false, false);
    for op in [
        Op::Connect,
        Op::Send { lane: 0, wait: false },
        Op::Poll,
        Op::Drop(0),
        Op::Answer { which: 0, answer: Answer::Forbidden },
        Op::Resume(0),
        Op::Poll,
        Op::Answer { which: 0, answer: Answer::Busy },
        Op::Disconnect,
        Op::Again { which: 0, wait: false },
        Op::Pass(10_000),
        Op::Poll,
    ] {
        world.apply(op);
    }
    assert_eq!(world.sends.len(), 1, "it is there");
    world.finish();
}

#[test]
fn a_message_whose_time_ends_when_one_before_it_fails_is_told_at_once_and_cannot_be_left_to_the_outbox() {
    let mut world = World::new(false, false);
    for op in [
        Op::Connect,
        Op::Send { lane: 2, wait: false },
        Op::Send { lane: 2, wait: false },
        Op::Poll,
        Op::Pass(10_000),
        Op::Answer { which: 0, answer: Answer::Forbidden },
        Op::Detach(0),
    ] {
        world.apply(op);
    }
    assert_eq!(world.sends.len(), 0, "nobody said that it may go without the one before it");
    world.finish();
}

fn seed() -> RngSeed {
    match ProptestConfig::default().rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        asked => asked,
    }
}

/// The senders of a session, its network, its store, and what was promised.
struct World {
    sends: Sends,
    dedup: bool,
    start: Instant,
    now: Instant,
    rng: fastrand::Rng,
    connected: bool,
    under_way: Vec<Attempt>,
    store: Option<Vec<(StoredSend, Option<Arc<Error>>)>>,
    slips: Vec<Slip>,
    /// Waits that were dropped, of which the session does not know yet.
    dropped: Vec<u64>,
    /// Every message there ever was.
    messages: Vec<Outbound>,
    ledger: Ledger,
}

/// Somebody waits.
struct Slip {
    number: u64,
    id: ClientMsgId,
    until: Instant,
    can_detach: bool,
    outcome: oneshot::Receiver<Result<Receipt>>,
}

impl World {
    fn new(dedup: bool, stored: bool) -> Self {
        let now = Instant::now();
        let mut world = Self {
            sends: empty(dedup),
            dedup,
            start: now,
            now,
            rng: fastrand::Rng::with_seed(1),
            connected: false,
            under_way: Vec::new(),
            store: stored.then(Vec::new),
            slips: Vec::new(),
            dropped: Vec::new(),
            messages: Vec::new(),
            ledger: Ledger::default(),
        };
        if stored {
            world.restore();
        }
        world
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Send { lane, wait } => {
                let message = note(lane);
                self.messages.push(message.clone());
                self.hand_in(message, wait);
            }
            Op::Again { which, wait } => {
                let waits = |id: &ClientMsgId| self.sends.queue.iter().any(|(m, _)| m.client_msg_id == *id);
                let able: Vec<_> = self.messages.iter().filter(|m| !waits(&m.client_msg_id)).collect();
                if let Some(message) = pick(&able, which).map(|message| (*message).clone()) {
                    self.hand_in(message, wait);
                }
            }
            Op::Direct { lane, answer } => self.direct(note(lane), answer),
            Op::Drop(which) => {
                if let Some(slip) = take(&mut self.slips, which) {
                    self.sends.cancel(slip.number, self.now, self.wall());
                }
            }
            Op::DropUnseen(which) => {
                self.dropped.extend(take(&mut self.slips, which).map(|slip| slip.number));
            }
            Op::SeeDropped => {
                for number in std::mem::take(&mut self.dropped) {
                    self.sends.cancel(number, self.now, self.wall());
                }
            }
            Op::Detach(which) => {
                let able: Vec<_> = (0..self.slips.len()).filter(|at| self.slips[*at].can_detach).collect();
                if let Some(at) = pick(&able, which) {
                    let slip = self.slips.remove(*at);
                    self.sends.detach(slip.number);
                    self.ledger.owned.insert(slip.id);
                }
            }
            Op::Poll => self.poll(),
            Op::Answer { which, answer } => {
                if let Some(attempt) = take(&mut self.under_way, which) {
                    self.answer(&attempt, answer);
                }
            }
            Op::Connect => {
                self.disconnect();
                self.sends.on_connected();
                self.connected = true;
            }
            Op::Disconnect => self.disconnect(),
            Op::Resume(which) => drop(self.say(which, |sends, id, now| sends.resume(id, now))),
            Op::Discard(which) => {
                let said = self.say(which, |sends, id, _| sends.discard(id).is_some());
                self.ledger.discarded.extend(said);
            }
            Op::Write { broken } => self.write(broken),
            Op::Restart => self.restart(),
            Op::Pass(millis) => self.now += Duration::from_millis(millis),
        }
        self.look();
    }

    fn hand_in(&mut self, message: Outbound, wait: bool) {
        let (id, until) = (message.client_msg_id.clone(), after(self.now, TIMEOUT));
        self.ledger.handed_in(&self.sends, &message);
        let place = match wait {
            true => self.sends.send(message.into(), self.now, self.wall()).expect("valid"),
            false => match self.sends.offer(message.into(), self.now, self.wall()) {
                Ok(place) => place,
                Err(refused) => return assert_eq!(refused.1.kind(), ErrorKind::Backpressure),
            },
        };
        self.slips.push(Slip { number: place.0, id, until, can_detach: !wait, outcome: place.1 });
    }

    /// As a sender that makes its first attempt itself.
    fn direct(&mut self, message: Outbound, answer: Option<Answer>) {
        self.messages.push(message.clone());
        if !self.connected || !self.sends.is_open(&message) {
            return self.hand_in(message, true);
        }
        let (id, until) = (message.client_msg_id.clone(), after(self.now, TIMEOUT));
        self.ledger.handed_in(&self.sends, &message);
        let place = match self.sends.begin(message.into(), self.now, self.wall()).expect("valid") {
            Err(place) => place,
            Ok(attempt) => {
                self.ledger.started(&self.sends, &attempt.message);
                if matches!(answer, Some(Answer::Accepted)) {
                    return self.answer(&attempt, Answer::Accepted);
                }
                let place = self.sends.wait_for(attempt.ticket, self.now).expect("it is there");
                match answer {
                    Some(answer) => self.answer(&attempt, answer),
                    None => self.under_way.push(attempt),
                }
                place.expect("not parked")
            }
        };
        self.slips.push(Slip { number: place.0, id, until, can_detach: false, outcome: place.1 });
    }

    fn poll(&mut self) {
        while let Some(attempt) = self.sends.poll(self.now, self.wall()) {
            self.look();
            self.ledger.started(&self.sends, &attempt.message);
            if let Some(store) = &self.store {
                let held =
                    store.iter().any(|(send, _)| send.message == *attempt.message && send.attempts > 0);
                assert!(held, "tried before the store knew");
            }
            self.under_way.push(attempt);
        }
        self.look();
        for slip in self.slips.iter().filter(|slip| slip.until <= self.now) {
            let pending = self.sends.tickets.get(&slip.number).and_then(|at| self.sends.outbox.get(*at));
            assert!(pending.is_some_and(|pending| pending.state == State::InFlight), "somebody waits on");
        }
    }

    fn answer(&mut self, attempt: &Attempt, answer: Answer) {
        let failed = |kind| Err(Error::new(kind, "send", FINAL));
        let result = match answer {
            Answer::Accepted => {
                self.ledger.accepted.insert(attempt.message.client_msg_id.clone());
                Ok(Receipt::new(SendOutcome::Accepted(MessageId::new("m").expect("valid"))))
            }
            Answer::Busy => failed(ErrorKind::Backpressure),
            Answer::Forbidden => failed(ErrorKind::Forbidden),
        };
        self.sends.on_result(attempt.ticket, attempt.number, result, self.now, &mut self.rng);
    }

    fn disconnect(&mut self) {
        self.sends.on_disconnected(self.now);
        self.under_way.clear();
        self.connected = false;
    }

    /// The caller's word about a parked message.
    fn say(
        &mut self,
        which: usize,
        word: impl FnOnce(&mut Sends, &ClientMsgId, Instant) -> bool,
    ) -> Option<ClientMsgId> {
        let parked = self.sends.parked_messages();
        let message = &pick(&parked, which)?.message;
        assert!(word(&mut self.sends, &message.client_msg_id, self.now));
        self.ledger.word_given(message.conversation.as_ref());
        Some(message.client_msg_id.clone())
    }

    /// The store takes what there is; when it is `broken`, it refuses the first message.
    fn write(&mut self, mut broken: bool) {
        while let Some(op) = self.sends.poll_store(self.now) {
            let store = self.store.as_mut().expect("nothing is written without a store");
            let mut result = Ok(());
            match op.change {
                Change::Save(_) if std::mem::take(&mut broken) => {
                    result =
                        Err(Error::new(ErrorKind::Unsupported, "save", FINAL).with_advice(Advice::Never));
                }
                Change::Save(send) => {
                    store.retain(|(held, _)| *held.id() != op.id);
                    store.push((*send, None));
                }
                Change::Remove => store.retain(|(held, _)| *held.id() != op.id),
                Change::Park(error) => {
                    for (_, parked) in store.iter_mut().filter(|(held, _)| *held.id() == op.id) {
                        *parked = Some(Arc::clone(&error));
                    }
                }
            }
            self.sends.on_stored(&op.id, result, self.now, &mut self.rng);
            self.look();
        }
    }

    /// The process ends; nobody waits any more, and the next one begins with what the store holds.
    fn restart(&mut self) {
        let Some(store) = &self.store else { return };
        let held: Vec<_> = store.iter().map(|(send, _)| send.id().clone()).collect();
        for pending in self.sends.outbox.pending().filter(|pending| pending.kept) {
            assert!(held.contains(&pending.message.client_msg_id), "it was kept");
        }
        (self.slips, self.dropped) = (Vec::new(), Vec::new());
        self.under_way.clear();
        self.connected = false;
        self.restore();
    }

    fn restore(&mut self) {
        self.sends = empty(self.dedup);
        let mut held = self.store.clone().expect("there is a store");
        held.sort_by_key(|(send, _)| send.position);
        self.ledger.begun_anew(held.iter().map(|(send, _)| &send.message));
        let parked = held.iter().filter_map(|(send, error)| {
            let reason = ParkedReason::from_error(error.as_ref()?, SystemTime::UNIX_EPOCH);
            Some(ParkedSend::new(send.clone(), reason))
        });
        let queued = held.iter().filter(|(_, error)| error.is_none()).map(|(send, _)| send.clone());
        let able = Capabilities::none(&["loopback"]);
        let wall = self.wall();
        self.sends.restore(queued.collect(), parked.collect(), &able, self.now, wall);
    }

    /// What the callers were told, and whether everything that was promised still holds.
    fn look(&mut self) {
        let mut told = Vec::new();
        self.slips.retain_mut(|slip| match slip.outcome.try_recv() {
            Ok(outcome) => {
                told.push((slip.id.clone(), outcome));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => panic!("nobody answers any more"),
        });
        self.ledger.told(&self.sends, told);
    }

    /// With a connection that holds and callers that give their word, everything ends.
    fn finish(mut self) {
        self.apply(Op::SeeDropped);
        self.apply(Op::Connect);
        for _ in 0..1_000 {
            self.apply(Op::Write { broken: false });
            self.poll();
            while !self.under_way.is_empty() {
                self.apply(Op::Answer { which: 0, answer: Answer::Accepted });
            }
            self.apply(Op::Resume(0));
            if self.slips.is_empty() && self.sends.len() == 0 && self.sends.unwritten() == 0 {
                assert!(self.store.is_none_or(|store| store.is_empty()), "it would be sent again");
                return;
            }
            self.now = self.sends.deadline().unwrap_or(self.now).max(self.now);
        }
        panic!("it does not end: {:?}", self.sends);
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + (self.now - self.start)
    }
}

fn empty(dedup: bool) -> Sends {
    let limits = OutboxLimits::new().with_max_messages(6).with_max_bytes(100_000).with_in_flight(3);
    let retry = BackoffPolicy::new().with_jitter(0.0);
    Sends::new(Outbox::new(limits, retry, dedup), TIMEOUT)
}

fn note(lane: u8) -> Outbound {
    let message = Outbound::new(Address::parse("loopback://b").expect("valid"), Body::text("x"));
    match lane {
        0 => message,
        _ => message.with_conversation(ConversationId::new(format!("c{lane}")).expect("valid")),
    }
}

fn pick<T>(from: &[T], which: usize) -> Option<&T> {
    (!from.is_empty()).then(|| &from[which % from.len()])
}

fn take<T>(from: &mut Vec<T>, which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(which % from.len()))
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// What the network and the store say of what they will never take.
const FINAL: &str = "as the test says";
