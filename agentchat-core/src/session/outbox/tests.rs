//! The queue by itself: order, bounds, attempts and their ends.

use std::time::Duration;

use super::*;
use crate::delivery::Receipt;
use crate::error::{Advice, Result};
use crate::{Address, Body, ConversationId, MessageId, Priority, SendOutcome};

const WALL: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn a_conversation_has_one_message_under_way_and_others_do_not_wait_for_it() {
    let mut bench = Bench::new();
    let (first, second) = (bench.push(said_in("a", "1")), bench.push(said_in("a", "2")));
    let (other, alone) = (bench.push(said_in("b", "1")), bench.push(said("x")));
    assert_eq!(bench.start_all(), [first, other, alone]);
    let Outcome::Accepted(answer) = bench.result(first, Ok(receipt())) else { panic!("accepted") };
    assert_eq!(answer, receipt());
    assert_eq!(bench.start_all(), [second]);
}

#[test]
fn the_window_bounds_what_is_under_way_and_urgent_messages_take_its_places_first() {
    let mut bench = Bench::with(OutboxLimits::new().with_in_flight(2), true);
    let normal: Vec<_> = (0..3).map(|n| bench.push(said(&format!("n{n}")))).collect();
    let urgent = bench.push(said("u").with_priority(Priority::Urgent));
    assert_eq!(bench.start_all(), [urgent, normal[0]]);
    bench.result(urgent, Ok(receipt()));
    assert_eq!(bench.start_all(), [normal[1]]);
}

#[test]
fn a_full_queue_hands_the_message_back_by_count_and_by_bytes() {
    let body = |len: usize| Outbound::new(to(), Body::new("t", vec![b'x'; len]));
    let mut few = Bench::with(OutboxLimits::new().with_max_messages(1), true);
    few.push(body(1));
    let mut small = Bench::with(OutboxLimits::new().with_max_bytes(2 * 1024 + 12), true);
    small.push(body(5));
    assert_eq!(small.outbox.capacity(), (1023, 1030));
    assert!(small.outbox.fits(&body(5)));
    for (by_count, message, kind) in [
        (true, body(2), ErrorKind::Backpressure),
        (false, body(6), ErrorKind::Backpressure),
        (false, body(1100), ErrorKind::TooLarge),
    ] {
        let bench = if by_count { &mut few } else { &mut small };
        assert!(!bench.outbox.fits(&message));
        let refused = bench.outbox.push(message.clone(), bench.now, WALL).expect_err("full");
        assert_eq!((refused.error.kind(), refused.error.reached()), (kind, Reached::No));
        assert_eq!(*refused.message, message);
    }
}

#[test]
fn the_same_message_again_shares_its_place_and_another_content_is_a_conflict() {
    let mut bench = Bench::with(OutboxLimits::new().with_max_messages(1), true);
    let message = said("one");
    let ticket = bench.push(message.clone());
    assert!(bench.outbox.fits(&message));
    let again = bench.outbox.push(message.clone(), bench.now, WALL).expect("joins");
    assert_eq!(again, Queued::Joined(ticket));
    let other = said("two").with_id(message.client_msg_id);
    let refused = bench.outbox.push(other, bench.now, WALL).expect_err("another content");
    assert_eq!(refused.error.kind(), ErrorKind::Conflict);
    assert!(!bench.outbox.withdraw(ticket), "one of the two still waits for it");
    assert!(bench.outbox.withdraw(ticket));
    assert!(bench.outbox.is_empty());
}

#[test]
fn a_message_that_has_ended_can_be_handed_in_anew() {
    let mut bench = Bench::new();
    let message = said("one");
    let accepted = bench.push(message.clone());
    bench.start_all();
    bench.result(accepted, Ok(receipt()));
    let again = bench.outbox.push(message.clone(), bench.now, WALL).expect("fits");
    assert!(matches!(again, Queued::New(ticket) if ticket > accepted));
    let message = bench.outbox.discard(again.ticket()).expect("not under way");
    assert!(matches!(bench.outbox.push(message, bench.now, WALL), Ok(Queued::New(_))));
}

#[test]
fn a_dropped_send_takes_its_message_back_only_before_the_first_attempt() {
    let mut bench = Bench::new();
    let (first, second) = (bench.push(said_in("a", "1")), bench.push(said_in("a", "2")));
    bench.start_all();
    assert!(!bench.outbox.withdraw(first));
    assert!(bench.outbox.withdraw(second));
    bench.result(first, Err(busy()));
    assert!(!bench.outbox.withdraw(first), "an attempt was made, though none is under way");
}

#[test]
fn a_wait_the_server_asked_for_is_kept_and_asked_about() {
    let mut bench = Bench::new();
    let ticket = bench.push(said("x"));
    bench.start_all();
    let wait = Duration::from_secs(90);
    let error = Error::new(ErrorKind::RateLimited, "send", "slow down").with_advice(Advice::After(wait));
    let Outcome::Retry(at) = bench.result(ticket, Err(error)) else { panic!("retried") };
    assert!(at >= bench.now + wait);
    assert_eq!(bench.outbox.deadline(), Some(at));
    assert_eq!(bench.start_all(), []);
    bench.now = at;
    assert_eq!(bench.start_all(), [ticket]);
    assert_eq!(bench.outbox.get(ticket).expect("under way").attempts, 2);
}

#[test]
fn what_may_have_arrived_is_repeated_only_where_repetitions_are_recognised() {
    for dedup in [true, false] {
        let mut bench = Bench::with(OutboxLimits::new(), dedup);
        let (slow, cut) = (bench.push(said("slow")), bench.push(said("cut")));
        bench.start_all();
        let outcome = bench.result(slow, Err(Error::new(ErrorKind::Timeout, "send", "no answer")));
        bench.outbox.on_disconnected();
        if dedup {
            assert!(matches!(outcome, Outcome::Retry(_)));
            assert_eq!(bench.outbox.get(cut).expect("pending").state, State::Interrupted);
        } else {
            let Outcome::Parked(error) = outcome else { panic!("parked") };
            assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::Unknown));
            let Some(Action::Parked(ticket, error)) = bench.outbox.poll(bench.now) else {
                panic!("reported")
            };
            assert_eq!((ticket, error.kind()), (cut, ErrorKind::Disconnected));
            assert_eq!(error.reached(), Reached::Unknown);
        }
        assert!(bench.outbox.poll(bench.now).is_none());
    }
}

#[test]
fn after_a_lost_connection_what_was_under_way_goes_first_in_order() {
    let mut bench = Bench::with(OutboxLimits::new().with_in_flight(2), true);
    let (done, first, second) =
        (bench.push(said("0")), bench.push(said_in("a", "1")), bench.push(said_in("b", "1")));
    let urgent = said("u").with_priority(Priority::Critical);
    assert_eq!(bench.start_all(), [done, first]);
    bench.result(done, Ok(receipt()));
    assert_eq!(bench.start_all(), [second]);
    let urgent = bench.push(urgent);
    let outcome = bench.result(second, Err(Error::new(ErrorKind::Disconnected, "send", "cut")));
    assert!(matches!(outcome, Outcome::AwaitConnection));
    assert!(!bench.outbox.is_connected());
    assert_eq!(bench.start_all(), [], "nothing starts on a connection that is gone");
    bench.outbox.on_connected();
    assert_eq!(bench.start_all(), [first, second]);
    bench.result(first, Ok(receipt()));
    assert_eq!(bench.start_all(), [urgent]);
}

#[test]
fn a_late_acceptance_counts_and_a_late_error_does_not() {
    let mut bench = Bench::new();
    let ticket = bench.push(said("x"));
    bench.start_all();
    bench.outbox.on_disconnected();
    assert!(matches!(bench.result(ticket, Err(refused())), Outcome::Ignored), "it was cut off already");
    bench.outbox.on_connected();
    assert_eq!(bench.start_all(), [ticket]);
    let mut late = |number, result| bench.outbox.on_result(ticket, number, result, bench.now, &mut bench.rng);
    assert!(matches!(late(1, Err(refused())), Outcome::Ignored));
    assert!(matches!(late(3, Ok(receipt())), Outcome::Ignored), "no such attempt");
    assert!(matches!(late(1, Ok(receipt())), Outcome::Accepted(_)));
    assert!(matches!(late(2, Ok(receipt())), Outcome::Ignored), "it ended already");
    assert!(bench.outbox.is_empty());
}

#[test]
fn a_parked_message_keeps_its_place_until_it_is_resumed_or_discarded() {
    let mut bench = Bench::new();
    let message = said_in("a", "1");
    let (first, second) = (bench.push(message.clone()), bench.push(said_in("a", "2")));
    bench.start_all();
    let Outcome::Parked(error) = bench.result(first, Err(refused())) else { panic!("parked") };
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Forbidden, Reached::Yes));
    assert_eq!(bench.start_all(), []);
    assert_eq!(bench.outbox.deadline(), None);
    assert!(bench.outbox.resume(first, bench.now) && !bench.outbox.resume(first, bench.now));
    assert_eq!(bench.start_all(), [first]);
    assert!(bench.outbox.discard(first).is_none(), "an attempt under way could still be accepted");
    bench.result(first, Err(refused()));
    assert_eq!(bench.outbox.discard(first), Some(message));
    assert_eq!(bench.start_all(), [second]);
}

#[test]
fn a_refusal_after_an_attempt_that_may_have_arrived_does_not_say_it_is_safe() {
    let mut bench = Bench::new();
    let ticket = bench.push(said("x"));
    bench.start_all();
    bench.outbox.on_connected();
    bench.start_all();
    let Outcome::Parked(error) = bench.result(ticket, Err(refused())) else { panic!("parked") };
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Forbidden, Reached::Unknown));
    assert_eq!(error.context().collect::<Vec<_>>(), [("attempts", "2")]);
}

#[test]
fn a_message_past_its_deadline_is_never_sent() {
    let mut bench = Bench::new();
    let soon = |text: &str| said_in("a", text).with_deadline(WALL + Duration::from_secs(10));
    let (first, second) = (bench.push(soon("1")), bench.push(soon("2")));
    assert_eq!(bench.start_all(), [first]);
    assert_eq!(bench.outbox.deadline(), Some(bench.now + Duration::from_secs(10)));
    bench.now += Duration::from_secs(10);
    let Some(Action::Parked(ticket, error)) = bench.outbox.poll(bench.now) else { panic!("parked") };
    assert_eq!((ticket, error.kind()), (second, ErrorKind::Timeout));
    assert_eq!((error.advice(), error.reached()), (Advice::Never, Reached::No));
    let Outcome::Parked(error) = bench.result(first, Err(busy())) else { panic!("too late to retry") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let cause = std::error::Error::source(&*error).expect("the attempt's own error");
    assert_eq!(cause.to_string(), busy().to_string());
    assert!(!bench.outbox.resume(first, bench.now) && !bench.outbox.resume(second, bench.now));
    assert_eq!(bench.start_all(), []);
    let refused = bench.outbox.push(soon("3"), bench.now, WALL + Duration::from_secs(10)).expect_err("late");
    assert_eq!((refused.error.kind(), refused.error.is_retryable()), (ErrorKind::Timeout, false));
}

#[test]
fn the_last_allowed_attempt_parks_with_a_final_error_and_resuming_starts_the_count_over() {
    let mut bench = Bench::new();
    bench.outbox.retry = BackoffPolicy::new().with_max_attempts(2);
    let (ticket, cut) = (bench.push(said("x")), bench.push(said("y")));
    for round in 0..2 {
        assert_eq!(bench.start_all(), [ticket, cut]);
        let Outcome::Retry(at) = bench.result(ticket, Err(busy())) else { panic!("one more") };
        bench.outbox.on_connected();
        bench.now = at;
        assert_eq!(bench.start_all(), [cut, ticket]);
        let Outcome::Parked(error) = bench.result(ticket, Err(busy())) else { panic!("exhausted") };
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Backpressure, false));
        bench.outbox.on_connected();
        let Some(Action::Parked(parked, error)) = bench.outbox.poll(bench.now) else { panic!("exhausted") };
        assert_eq!((parked, error.is_retryable()), (cut, false));
        assert_eq!(bench.outbox.get(ticket).expect("parked").attempts, 2 * (round + 1));
        assert!(bench.outbox.resume(ticket, bench.now) && bench.outbox.resume(cut, bench.now));
    }
}

#[test]
fn a_report_says_where_each_message_stands_and_shows_no_body_or_address() {
    let mut bench = Bench::with(OutboxLimits::new().with_in_flight(1), true);
    let retried = bench.push(said("the plan"));
    bench.start_all();
    bench.result(retried, Err(busy()));
    bench.push(said_in("a", "1"));
    bench.start_all();
    bench.push(said_in("a", "2"));
    bench.push(said("x"));
    let shown: Vec<_> = bench.outbox.pending().map(|pending| (pending.state, pending.reached)).collect();
    assert!(matches!(shown[0], (State::Retrying(_), Reached::No)));
    let rest =
        [(State::InFlight, Reached::Unknown), (State::Waiting, Reached::No), (State::Ready, Reached::No)];
    assert_eq!(shown[1..], rest);
    let first = bench.outbox.pending().next().expect("four");
    assert_eq!(first.error.expect("failed once").to_string(), busy().to_string());
    let debug = format!("{:?}", bench.outbox);
    assert!(!debug.contains("the plan") && !debug.contains("secret-inbox"), "{debug}");
}

#[test]
fn a_hundred_thousand_messages_go_through_and_the_cost_of_each_is_shown() {
    for (count, lanes) in [(1_000, 10), (100_000, 1_000), (100_000, 1)] {
        let began = std::time::Instant::now();
        let limits = OutboxLimits::new().with_max_messages(count).with_max_bytes(usize::MAX);
        let mut bench = Bench::with(limits, true);
        let deadline = WALL + Duration::from_secs(3600);
        let message = |n: usize| said_in(&format!("c{}", n % lanes), "x").with_deadline(deadline);
        let tickets: Vec<_> = (0..count).map(|n| bench.push(message(n))).collect();
        let withdrawn =
            tickets.iter().skip(lanes).step_by(2).filter(|ticket| bench.outbox.withdraw(**ticket)).count();
        let mut accepted = 0;
        loop {
            let started = bench.start_all();
            if started.is_empty() {
                break;
            }
            for ticket in started {
                bench.result(ticket, Ok(receipt()));
                accepted += 1;
            }
        }
        assert_eq!((accepted + withdrawn, bench.outbox.capacity()), (count, (count, usize::MAX)));
        let each = began.elapsed() / u32::try_from(count).expect("small");
        println!("{count} messages in {lanes} conversations: {each:?} each");
    }
}

struct Bench {
    outbox: Outbox,
    now: Instant,
    rng: fastrand::Rng,
}

impl Bench {
    fn new() -> Self {
        Self::with(OutboxLimits::new(), true)
    }

    fn with(limits: OutboxLimits, dedup: bool) -> Self {
        let mut outbox = Outbox::new(limits, BackoffPolicy::new(), dedup);
        outbox.on_connected();
        Self { outbox, now: Instant::now(), rng: fastrand::Rng::with_seed(7) }
    }

    fn push(&mut self, message: Outbound) -> Ticket {
        self.outbox.push(message, self.now, WALL).expect("fits").ticket()
    }

    fn start_all(&mut self) -> Vec<Ticket> {
        let mut started = Vec::new();
        while let Some(action) = self.outbox.poll(self.now) {
            match action {
                Action::Start(attempt) => started.push(attempt.ticket),
                Action::Parked(ticket, error) => panic!("{ticket:?} was parked: {error}"),
            }
        }
        started
    }

    fn result(&mut self, ticket: Ticket, result: Result<Receipt>) -> Outcome {
        let number = self.outbox.get(ticket).expect("pending").attempts;
        self.outbox.on_result(ticket, number, result, self.now, &mut self.rng)
    }
}

fn to() -> Address {
    Address::parse("loopback://secret-inbox").expect("valid")
}

fn said(text: &str) -> Outbound {
    Outbound::new(to(), Body::text(text))
}

fn said_in(conversation: &str, text: &str) -> Outbound {
    said(text).with_conversation(ConversationId::new(conversation).expect("valid"))
}

fn receipt() -> Receipt {
    Receipt::new(SendOutcome::Accepted(MessageId::new("m").expect("valid")))
}

fn busy() -> Error {
    Error::new(ErrorKind::Backpressure, "send", "busy")
}

fn refused() -> Error {
    Error::new(ErrorKind::Forbidden, "send", "not you")
}
