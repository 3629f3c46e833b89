//! The table of the states, row by row, and what holds for any order of events.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::model::{Op, World};
use super::*;
use crate::fuzz::Dice;
use crate::session::backoff::BackoffPolicy;

proptest! {
    // The same cases every time, unless asked for others: `PROPTEST_RNG_SEED=7`.
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: seed(), ..ProptestConfig::default() })]
    #[test]
    fn any_order_of_events_keeps_to_the_table(
        policy: [u8; 3], ops in prop::collection::vec(any::<[u8; 4]>().prop_map(|bytes| Op::of(&bytes)), 1..60)
    ) {
        let mut world = World::new(&mut Dice::of(&policy));
        for op in ops {
            world.apply(op);
        }
        world.come_to_rest();
    }
}

fn seed() -> RngSeed {
    match ProptestConfig::default().rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        asked => asked,
    }
}

/// A session without jitter, and the time.
struct Bench {
    life: Lifecycle,
    now: Instant,
    rng: fastrand::Rng,
}

impl Bench {
    fn new(policy: BackoffPolicy) -> Self {
        let (now, mut backoff) = (Instant::now(), Backoff::new(policy.with_jitter(0.0)));
        backoff.connected(now);
        Self { life: Lifecycle::new(backoff), now, rng: fastrand::Rng::with_seed(1) }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn lose(&mut self, error: Error) -> bool {
        self.life.on_lost(error, false, self.now, &mut self.rng)
    }

    fn fail(&mut self, error: Error) -> bool {
        self.life.on_lost(error, true, self.now, &mut self.rng)
    }

    fn poll(&mut self, drained: bool) -> Option<LifecycleAction> {
        self.life.poll(self.now, drained)
    }

    fn close(&mut self, mode: CloseMode) -> bool {
        self.life.close(mode, self.now + Duration::from_secs(5))
    }

    fn state(&self) -> SessionState {
        self.life.state(|| false)
    }

    /// That it backs off, for the time of so many failures.
    #[track_caller]
    fn assert_waits(&self, attempt: u32, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        assert_eq!(self.state(), SessionState::BackingOff { attempt, until: until.into_std() });
        assert_eq!(self.life.deadline(), Some(until));
    }
}

fn bench() -> Bench {
    Bench::new(BackoffPolicy::new())
}

fn cut() -> Error {
    Error::new(ErrorKind::Disconnected, "subscribe", "cut")
}

#[test]
fn a_session_begins_connected_and_is_live_once_what_waited_is_read() {
    let mut bench = bench();
    assert_eq!(bench.life.state(|| true), SessionState::CatchingUp);
    assert_eq!(bench.life.state(|| false), SessionState::Live);
    assert_eq!((bench.life.is_attached(), bench.life.connects()), (true, 1));
    assert_eq!((bench.life.deadline(), bench.poll(true)), (None, None));
    assert!(bench.life.check_open("send").is_ok() && bench.life.check_ended("ack").is_ok());
}

#[test]
fn a_lost_connection_is_made_again_after_the_wait_and_by_one_attempt_at_a_time() {
    let mut bench = bench();
    assert!(!bench.lose(cut()));
    assert!(!bench.life.is_attached());
    bench.assert_waits(1, 0.5);
    bench.pass(0.499);
    assert_eq!(bench.poll(false), None, "not before its time");
    bench.pass(0.001);
    assert_eq!(bench.poll(false), Some(LifecycleAction::Connect));
    assert_eq!((bench.state(), bench.life.deadline()), (SessionState::Connecting, None));
    bench.pass(100.0);
    assert_eq!(bench.poll(false), None, "one is out");
    assert!(bench.life.on_connected(bench.now));
    assert_eq!((bench.state(), bench.life.connects()), (SessionState::Live, 2));
    assert_eq!(bench.poll(false), None);
}

#[test]
fn failures_are_counted_until_a_connection_has_lasted() {
    let mut bench = bench();
    bench.lose(cut());
    for (failures, wait) in [(2, 1.0), (3, 2.0)] {
        bench.pass(60.0);
        assert_eq!(bench.poll(false), Some(LifecycleAction::Connect));
        bench.fail(cut());
        bench.assert_waits(failures, wait);
    }
    for (lived, failures, wait) in [(29.999, 4, 4.0), (30.0, 1, 0.5)] {
        bench.pass(60.0);
        assert_eq!(bench.poll(false), Some(LifecycleAction::Connect));
        bench.life.on_connected(bench.now);
        bench.pass(lived);
        bench.lose(cut());
        bench.assert_waits(failures, wait);
    }
}

#[test]
fn a_wait_the_server_asks_for_is_kept_whether_it_refused_or_hung_up() {
    let busy = || {
        let error = Error::new(ErrorKind::RateLimited, "connect", "busy");
        error.with_advice(Advice::After(Duration::from_secs(90)))
    };
    let mut bench = bench();
    bench.lose(busy());
    bench.assert_waits(1, 90.0);
    bench.pass(90.0);
    assert_eq!(bench.poll(false), Some(LifecycleAction::Connect));
    bench.fail(busy());
    bench.assert_waits(2, 90.0);
}

#[test]
fn a_fatal_error_ends_it_at_once_and_an_attempt_that_would_only_fail_again_does_too() {
    let fatal = || Error::new(ErrorKind::Unauthorized, "connect", "bad key");
    let useless = || Error::new(ErrorKind::Unexpected, "connect", "no use");
    let mut lost = bench();
    assert!(lost.lose(fatal().with_advice(Advice::Backoff)), "whatever its advice");
    assert_eq!(lost.state(), SessionState::Closed(CloseReason::failed(&fatal())));
    let mut cut_off = bench();
    assert!(!cut_off.lose(useless()), "the connection it ended could be made");
    cut_off.assert_waits(1, 0.5);
    cut_off.pass(0.5);
    cut_off.poll(false);
    assert!(cut_off.fail(useless()));
    assert_eq!(cut_off.state(), SessionState::Closed(CloseReason::failed(&useless())));
    assert_eq!((cut_off.life.deadline(), cut_off.poll(true)), (None, None));
}

#[test]
fn it_gives_up_when_the_attempts_are_used_up() {
    let mut bench = Bench::new(BackoffPolicy::new().with_max_attempts(2));
    assert!(!bench.lose(cut()));
    bench.pass(0.5);
    assert_eq!(bench.poll(false), Some(LifecycleAction::Connect));
    assert!(bench.fail(cut()));
    assert_eq!(bench.state(), SessionState::Closed(CloseReason::failed(&cut())));
    assert!(bench.life.why_ended().is_some_and(|why| why.kind() == ErrorKind::Disconnected));
}

#[test]
fn closing_finishes_once_when_everything_is_done_and_takes_nothing_in_meanwhile() {
    let mut bench = bench();
    assert!(bench.close(CloseMode::Detach));
    assert_eq!(bench.state(), SessionState::Draining);
    assert_eq!(bench.life.check_open("send").map_err(|error| error.kind()), Err(ErrorKind::Closed));
    assert!(bench.life.check_ended("ack").is_ok(), "what is handled is settled");
    assert_eq!(bench.life.deadline(), Some(bench.now + Duration::from_secs(5)));
    assert_eq!(bench.poll(false), None);
    assert_eq!(bench.poll(true), Some(LifecycleAction::Finish(CloseMode::Detach)));
    assert_eq!((bench.poll(true), bench.life.deadline()), (None, None));
    assert_eq!(bench.state(), SessionState::Draining, "until the last words are said");
    assert!(bench.life.check_ended("ack").is_ok());
    bench.life.seal();
    assert!(bench.life.check_ended("ack").is_err(), "nobody would acknowledge it");
    assert!(bench.life.end(CloseReason::Requested, cut()));
    assert_eq!(bench.state(), SessionState::Closed(CloseReason::Requested));
}

#[test]
fn closing_without_a_connection_goes_on_making_one_and_finishes_at_its_time() {
    let mut bench = bench();
    bench.lose(cut());
    assert!(bench.close(CloseMode::Detach));
    assert_eq!(bench.state(), SessionState::Draining);
    assert_eq!(bench.life.deadline(), Some(bench.now + Duration::from_millis(500)), "the attempt is first");
    bench.pass(0.5);
    assert_eq!(bench.poll(false), Some(LifecycleAction::Connect));
    assert_eq!(bench.poll(false), None);
    assert_eq!(bench.life.deadline(), Some(bench.now + Duration::from_millis(4_500)));
    bench.pass(4.5);
    assert_eq!(bench.poll(false), Some(LifecycleAction::Finish(CloseMode::Detach)));
}

#[test]
fn to_retire_takes_a_connection_and_to_detach_takes_none() {
    let mut detaching = bench();
    detaching.lose(cut());
    detaching.close(CloseMode::Detach);
    assert_eq!(detaching.poll(true), Some(LifecycleAction::Finish(CloseMode::Detach)));
    for comes in [true, false] {
        let mut retiring = bench();
        retiring.lose(cut());
        retiring.close(CloseMode::Retire);
        assert_eq!(retiring.poll(true), None);
        retiring.pass(0.5);
        assert_eq!(retiring.poll(true), Some(LifecycleAction::Connect));
        assert_eq!(retiring.poll(true), None);
        if comes {
            retiring.life.on_connected(retiring.now);
        } else {
            retiring.pass(4.5);
        }
        assert_eq!(retiring.poll(true), Some(LifecycleAction::Finish(CloseMode::Retire)));
    }
}

#[test]
fn closing_again_may_ask_for_more_until_it_finishes_and_never_for_more_time() {
    let mut detaching = bench();
    assert!(detaching.close(CloseMode::Detach));
    let until = detaching.life.deadline();
    detaching.pass(1.0);
    assert!(!detaching.close(CloseMode::Retire) && !detaching.close(CloseMode::Detach));
    assert_eq!((detaching.life.mode(), detaching.life.deadline()), (Some(CloseMode::Retire), until));
    assert_eq!(detaching.poll(true), Some(LifecycleAction::Finish(CloseMode::Retire)));
    let mut detached = bench();
    detached.close(CloseMode::Detach);
    assert_eq!(detached.poll(true), Some(LifecycleAction::Finish(CloseMode::Detach)));
    assert!(!detached.close(CloseMode::Retire));
    assert_eq!(detached.life.mode(), Some(CloseMode::Detach), "what is done is done");
}

#[test]
fn closed_is_for_good_and_so_is_its_reason() {
    let mut bench = bench();
    let why = Error::new(ErrorKind::Closed, "session", "the session was closed");
    assert!(bench.life.end(CloseReason::Requested, why));
    assert!(!bench.life.end(CloseReason::failed(&cut()), cut()));
    assert!(!bench.lose(Error::new(ErrorKind::Unauthorized, "connect", "bad key")));
    assert!(!bench.life.on_connected(bench.now) && !bench.close(CloseMode::Detach));
    assert_eq!(bench.state(), SessionState::Closed(CloseReason::Requested));
    assert_eq!((bench.life.is_attached(), bench.life.is_closing()), (false, false));
    assert_eq!((bench.life.deadline(), bench.poll(true), bench.life.connects()), (None, None, 1));
    let refused = bench.life.check_open("send").expect_err("closed");
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(refused.to_string(), "send: the session has ended: it was closed");
}
