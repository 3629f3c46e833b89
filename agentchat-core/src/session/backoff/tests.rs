//! Waits that grow, their cap, and when they are forgotten.

use super::*;
use proptest::prelude::*;

#[test]
fn the_documented_defaults_hold() {
    let policy = BackoffPolicy::new();
    assert_eq!(policy.base, Duration::from_millis(500));
    assert_eq!(policy.factor, 2.0);
    assert_eq!(policy.cap, Duration::from_secs(30));
    assert_eq!(policy.jitter, 0.25);
    assert_eq!(policy.max_attempts, None);
    assert_eq!(policy.stable_after, Duration::from_secs(30));
    policy.check().expect("the defaults are valid");
}

#[test]
fn a_field_that_makes_no_sense_is_named() {
    let policy = BackoffPolicy::new();
    for (bad, field) in [
        (policy.with_base(Duration::ZERO), "`base`"),
        (policy.with_factor(0.5), "`factor`"),
        (policy.with_factor(f64::NAN), "`factor`"),
        (policy.with_factor(f64::INFINITY), "`factor`"),
        (policy.with_cap(Duration::from_millis(499)), "`cap`"),
        (policy.with_jitter(1.1), "`jitter`"),
        (policy.with_jitter(f64::NAN), "`jitter`"),
        (policy.with_max_attempts(0), "`max_attempts`"),
    ] {
        let error = bad.check().expect_err(field);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&format!("backoff: {field}")), "{error}");
    }
}

#[test]
fn without_jitter_the_waits_double_up_to_the_cap() {
    let waits = waits(BackoffPolicy::new().with_jitter(0.0), 9);
    assert_eq!(
        waits,
        [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000].map(Duration::from_millis)
    );
}

#[test]
fn advice_never_and_the_last_attempt_give_up() {
    let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let mut never = Backoff::new(BackoffPolicy::new());
    assert_eq!(never.failed(now, Advice::Never, &mut rng), None);
    let mut thrice = Backoff::new(BackoffPolicy::new().with_max_attempts(3));
    assert!(thrice.failed(now, Advice::Backoff, &mut rng).is_some());
    assert!(thrice.failed(now, Advice::Reconnect, &mut rng).is_some());
    assert_eq!(thrice.failed(now, Advice::Backoff, &mut rng), None);
    assert_eq!(thrice.attempt(), 3);
}

#[test]
fn a_connection_that_is_lost_at_once_keeps_the_waits_growing() {
    let (start, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let mut backoff = Backoff::new(BackoffPolicy::new().with_jitter(0.0));
    let mut now = start;
    for expected in [500, 1000, 2000, 4000] {
        backoff.connected(now);
        now += Duration::from_millis(29_999);
        backoff.lost(now);
        let again = backoff.failed(now, Advice::Reconnect, &mut rng).expect("no end");
        assert_eq!(again - now, Duration::from_millis(expected));
        now = again;
    }
    backoff.connected(now);
    backoff.lost(now + Duration::from_secs(30));
    assert_eq!(backoff.attempt(), 0, "a stable connection clears the count");
    for attempt in 1..4 {
        backoff.failed(now + Duration::from_secs(60), Advice::Reconnect, &mut rng);
        assert_eq!(backoff.attempt(), attempt, "it clears it once");
    }
}

#[test]
fn the_longest_waits_a_server_can_ask_for_do_not_overflow() {
    let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let extreme = BackoffPolicy::new().with_cap(Duration::MAX).with_factor(f64::MAX).with_jitter(1.0);
    let mut backoff = Backoff::new(extreme);
    backoff.attempt = u32::MAX - 1;
    for advice in [Advice::Backoff, Advice::After(Duration::MAX), Advice::After(Duration::MAX)] {
        let again = backoff.failed(now, advice, &mut rng).expect("no end");
        assert!(again - now <= FAR);
    }
    assert_eq!(backoff.attempt(), u32::MAX);
}

proptest! {
    #[test]
    fn every_wait_stays_within_its_jitter(seed: u64, jitter in 0.0..=1.0, failures in 1_u32..80) {
        let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(seed));
        let policy = BackoffPolicy::new().with_jitter(jitter);
        let mut backoff = Backoff::new(policy);
        for attempt in 1..=failures {
            let wait = (backoff.failed(now, Advice::Backoff, &mut rng).expect("no end") - now).as_secs_f64();
            let middle = policy.seconds(attempt);
            prop_assert!(wait >= middle * (1.0 - jitter) - 1e-6, "{wait} below {middle}");
            prop_assert!(wait <= middle * (1.0 + jitter) + 1e-6, "{wait} above {middle}");
            prop_assert_eq!(backoff.attempt(), attempt);
        }
    }

    #[test]
    fn without_jitter_no_wait_is_shorter_than_the_one_before(
        base in 1_u64..10_000, factor in 1.0..10.0, more in 0_u64..1_000_000, failures in 2_usize..60
    ) {
        let base = Duration::from_millis(base);
        let policy = BackoffPolicy::new().with_base(base).with_factor(factor).with_jitter(0.0);
        let policy = policy.with_cap(base + Duration::from_millis(more));
        let waits = waits(policy, failures);
        prop_assert!(waits.is_sorted() && waits[failures - 1] <= policy.cap, "{waits:?}");
    }

    #[test]
    fn a_wait_the_server_asked_for_is_a_floor_above_the_cap_too(
        seed: u64, floor in 0_u64..200_000, before in 0_u32..20
    ) {
        let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(seed));
        let floor = Duration::from_millis(floor);
        let mut backoff = Backoff::new(BackoffPolicy::new());
        backoff.attempt = before;
        let wait = backoff.failed(now, Advice::After(floor), &mut rng).expect("no end") - now;
        prop_assert!(wait >= floor);
        prop_assert!(wait <= floor.max(Duration::from_secs(30)) + Duration::from_secs(15));
    }

    #[test]
    fn the_count_is_forgotten_exactly_by_connections_that_lasted(
        lives in prop::collection::vec(0_u64..60, 1..30)
    ) {
        let (mut now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
        let mut backoff = Backoff::new(BackoffPolicy::new());
        let mut expected = 0;
        for lived in lives {
            backoff.connected(now);
            now += Duration::from_secs(lived);
            expected = if lived >= 30 { 1 } else { expected + 1 };
            backoff.failed(now, Advice::Reconnect, &mut rng);
            prop_assert_eq!(backoff.attempt(), expected);
        }
    }
}

fn waits(policy: BackoffPolicy, failures: usize) -> Vec<Duration> {
    let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let mut backoff = Backoff::new(policy);
    let wait = |_| backoff.failed(now, Advice::Backoff, &mut rng).expect("no end") - now;
    (0..failures).map(wait).collect()
}
