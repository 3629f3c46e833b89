//! Messages that wait for a permit: in their order, and none lost.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::{Action, Attempt, Outcome};
use super::*;
use crate::delivery::Receipt;
use crate::error::{Error, ErrorKind};
use crate::session::backoff::BackoffPolicy;
use crate::session::outbox::OutboxLimits;
use crate::session::rate::Quota;
use crate::{Address, Body, ConversationId, MessageId, Outbound, Priority, SendOutcome};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_has_no_permit_waits_and_is_sent_in_its_turn() {
    let mut bench = Bench::new(RateLimits::new().with_per_agent(Quota::per_second(2)));
    let tickets: Vec<_> = (0..5).map(|_| bench.push(None)).collect();
    assert_eq!(bench.start_all(), tickets[..2]);
    assert_eq!(bench.outbox.deadline(), Some(bench.now + SECOND / 2));
    assert_eq!(bench.outbox.take_refusal(), Some(Limited::Agent(bench.now + SECOND / 2)));
    let begun = bench.now;
    for ticket in &tickets[2..] {
        bench.wait();
        assert_eq!(bench.start_all(), [*ticket]);
    }
    assert_eq!((bench.now - begun, bench.outbox.deadline()), (3 * SECOND / 2, None));
}

#[test]
fn an_urgent_message_takes_the_next_permit() {
    let mut bench = Bench::new(RateLimits::new().with_per_agent(Quota::per_second(1)));
    let normal = [bench.push(None), bench.push(None)];
    assert_eq!(bench.start_all(), normal[..1]);
    let urgent = bench.push_message(message(None).with_priority(Priority::Urgent));
    bench.wait();
    assert_eq!(bench.start_all(), [urgent]);
}

#[test]
fn a_conversation_without_a_permit_holds_up_no_other_message() {
    let mut bench = Bench::new(RateLimits::new().with_per_conversation(Quota::per_second(1)));
    let (first, second) = (bench.push(Some(1)), bench.push(Some(1)));
    let (other, alone) = (bench.push(Some(2)), bench.push(None));
    assert_eq!(bench.start_all(), [first, other, alone]);
    bench.accept(first);
    assert_eq!(bench.start_all(), []);
    assert_eq!(bench.outbox.take_refusal(), Some(Limited::Conversation(bench.now + SECOND)));
    assert_eq!(bench.outbox.deadline(), Some(bench.now + SECOND));
    let (later, last) = (bench.push(Some(3)), bench.push(None));
    assert_eq!(bench.start_all(), [later, last]);
    bench.wait();
    assert_eq!(bench.start_all(), [second]);
}

#[test]
fn an_attempt_that_repeats_a_message_needs_a_permit_too() {
    let mut bench = Bench::new(RateLimits::new().with_per_agent(Quota::per_minute(1)));
    let ticket = bench.push(None);
    assert_eq!(bench.start_all(), [ticket]);
    let begun = bench.now;
    let busy = Error::new(ErrorKind::Backpressure, "send", "busy");
    let Outcome::Retry(at) = bench.result(ticket, Err(busy)) else { panic!("again") };
    bench.now = at;
    assert_eq!(bench.start_all(), []);
    bench.wait();
    assert_eq!((bench.start_all(), bench.now - begun), (vec![ticket], 60 * SECOND));
}

#[test]
fn what_waits_for_a_permit_can_be_withdrawn_and_expires() {
    let mut bench = Bench::new(RateLimits::new().with_per_conversation(Quota::per_minute(1)));
    let first = bench.push(Some(1));
    let held = bench.push(Some(1));
    let deadline = SystemTime::UNIX_EPOCH + 10 * SECOND;
    let last = bench.push_message(message(Some(1)).with_deadline(deadline));
    assert_eq!(bench.start_all(), [first]);
    bench.accept(first);
    assert_eq!(bench.start_all(), []);
    assert!(bench.outbox.withdraw(held));
    assert_eq!(bench.start_all(), []);
    assert_eq!(bench.outbox.deadline(), Some(bench.now + 10 * SECOND));
    bench.wait();
    assert!(matches!(bench.outbox.poll(bench.now), Some(Action::Parked(ticket, _)) if ticket == last));
    assert_eq!(bench.outbox.deadline(), None);
}

#[test]
fn without_a_connection_nothing_is_due() {
    let mut bench = Bench::new(RateLimits::new().with_per_agent(Quota::per_minute(1)));
    let tickets = [bench.push(None), bench.push(None)];
    assert_eq!(bench.start_all(), tickets[..1]);
    bench.outbox.on_disconnected();
    assert_eq!(bench.outbox.deadline(), None);
    bench.now += 60 * SECOND;
    bench.outbox.on_connected();
    assert_eq!(bench.start_all(), tickets[..1], "what was interrupted goes first");
}

proptest! {
    #[test]
    fn everything_is_sent_in_order_and_never_faster_than_allowed(
        agent in quota(), conversation in quota(), in_flight in 1_usize..5, seed: u64,
        lanes in prop::collection::vec(0_u8..4, 1..60),
    ) {
        let limits = RateLimits::new().with_per_agent(agent).with_per_conversation(conversation);
        let mut bench = Bench::with(limits, OutboxLimits::new().with_in_flight(in_flight));
        let mut dice = fastrand::Rng::with_seed(seed);
        let (start, mut begun) = (bench.now, Vec::<(u8, Duration)>::new());
        let mut waiting: HashMap<Ticket, u8> = HashMap::new();
        let mut newest: HashMap<u8, Ticket> = HashMap::new();
        let mut lanes = lanes.into_iter();
        let mut under_way: Vec<Attempt> = Vec::new();
        loop {
            if let Some(lane) = lanes.next() {
                waiting.insert(bench.push((lane > 0).then_some(lane)), lane);
            } else if waiting.is_empty() {
                break;
            }
            if dice.u8(..10) == 0 {
                under_way.clear();
                bench.outbox.on_disconnected();
                bench.outbox.on_connected();
            }
            while let Some(action) = bench.outbox.poll(bench.now) {
                let Action::Start(attempt) = action else { panic!("parked") };
                begun.push((waiting[&attempt.ticket], bench.now - start));
                under_way.push(attempt);
            }
            if under_way.is_empty() {
                let due = bench.outbox.deadline();
                prop_assert!(due.is_some_and(|at| at > bench.now) || waiting.is_empty(), "{:?}", due);
                bench.now = due.unwrap_or(bench.now);
                continue;
            }
            bench.now += Duration::from_millis(dice.u64(..100));
            let attempt = under_way.swap_remove(dice.usize(..under_way.len()));
            let busy = || Err(Error::new(ErrorKind::Backpressure, "send", "busy"));
            let result = if dice.u8(..4) == 0 { busy() } else { Ok(receipt()) };
            let (now, rng) = (bench.now, &mut bench.rng);
            let ended = bench.outbox.on_result(attempt.ticket, attempt.number, result, now, rng);
            if let Outcome::Accepted(_) = ended {
                let lane = waiting.remove(&attempt.ticket).expect("ends once");
                if lane > 0 {
                    let before = newest.insert(lane, attempt.ticket);
                    prop_assert!(before.is_none_or(|before| before < attempt.ticket), "out of order");
                }
            }
        }
        prop_assert!(bench.outbox.is_empty());
        let of = |lane| begun.iter().filter(|(of, _)| *of == lane).map(|(_, at)| *at).collect::<Vec<_>>();
        bounded(&begun.iter().map(|(_, at)| *at).collect::<Vec<_>>(), &agent)?;
        for lane in 1..4 {
            bounded(&of(lane), &conversation)?;
        }
    }
}

fn quota() -> impl Strategy<Value = Quota> {
    (1_u32..20, 1_u64..3_000, 1_u32..10)
        .prop_map(|(messages, per, burst)| Quota::new(messages, Duration::from_millis(per)).with_burst(burst))
}

fn bounded(begun: &[Duration], quota: &Quota) -> Result<(), TestCaseError> {
    for (first, from) in begun.iter().enumerate() {
        for (last, to) in begun.iter().enumerate().skip(first) {
            let came_back = (*to - *from).as_nanos() * u128::from(quota.messages) / quota.per.as_nanos();
            prop_assert!((last - first + 1) as u128 <= u128::from(quota.burst) + came_back);
        }
    }
    Ok(())
}

struct Bench {
    outbox: Outbox,
    now: Instant,
    rng: fastrand::Rng,
}

impl Bench {
    fn new(rate: RateLimits) -> Self {
        Self::with(rate, OutboxLimits::new())
    }

    fn with(rate: RateLimits, limits: OutboxLimits) -> Self {
        rate.check().expect("valid");
        let mut outbox = Outbox::new(limits, BackoffPolicy::new(), true).with_rate(rate);
        outbox.on_connected();
        Self { outbox, now: Instant::now(), rng: fastrand::Rng::with_seed(7) }
    }

    fn push(&mut self, conversation: Option<u8>) -> Ticket {
        self.push_message(message(conversation))
    }

    fn push_message(&mut self, message: Outbound) -> Ticket {
        self.outbox.push(message, self.now, SystemTime::UNIX_EPOCH).expect("fits").ticket()
    }

    fn start_all(&mut self) -> Vec<Ticket> {
        let mut started = Vec::new();
        while let Some(action) = self.outbox.poll(self.now) {
            let Action::Start(attempt) = action else { panic!("parked") };
            started.push(attempt.ticket);
        }
        started
    }

    fn wait(&mut self) {
        self.now = self.outbox.deadline().expect("something waits for a moment");
    }

    fn accept(&mut self, ticket: Ticket) {
        assert!(matches!(self.result(ticket, Ok(receipt())), Outcome::Accepted(_)));
    }

    fn result(&mut self, ticket: Ticket, result: crate::Result<Receipt>) -> Outcome {
        let number = self.outbox.get(ticket).expect("pending").attempts;
        self.outbox.on_result(ticket, number, result, self.now, &mut self.rng)
    }
}

fn message(conversation: Option<u8>) -> Outbound {
    let mut message = Outbound::new(Address::parse("loopback://b").expect("valid"), Body::text("x"));
    message.conversation = conversation.map(|name| ConversationId::new(name.to_string()).expect("id"));
    message
}

fn receipt() -> Receipt {
    Receipt::new(SendOutcome::Accepted(MessageId::new("m").expect("valid")))
}
