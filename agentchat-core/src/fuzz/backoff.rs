//! Waits between attempts, against the formula in their documentation.

use std::time::Duration;

use tokio::time::Instant;

use super::Dice;
use crate::clock::FAR;
use crate::error::Advice;
use crate::session::backoff::{Backoff, BackoffPolicy};

pub(super) fn run(dice: &mut Dice) {
    let policy = policy(dice);
    if policy.check().is_err() {
        return dice.reached("refused");
    }
    let mut rng = fastrand::Rng::with_seed(dice.u64(0..256));
    let mut backoff = Backoff::new(policy);
    let mut now = Instant::now();
    let (mut failures, mut since) = (0_u32, None::<Instant>);
    while !dice.is_spent() {
        let operation = dice.u8(0..8);
        let capped = wait(&policy, failures.max(1)) >= policy.cap.as_secs_f64();
        dice.reached((operation, failures.min(6), since.is_some(), capped));
        match operation {
            0 => {
                backoff.connected(now);
                since = Some(now);
            }
            1 => {
                backoff.lost(now);
                forget(&policy, &mut failures, since.take(), now);
            }
            2 => now += Duration::from_millis(dice.u64(0..120_000)),
            _ => {
                let advice = match operation {
                    3 => Advice::Never,
                    4 => Advice::After(Duration::from_millis(dice.u64(0..200_000))),
                    5 => Advice::Reconnect,
                    _ => Advice::Backoff,
                };
                forget(&policy, &mut failures, since.take(), now);
                failures = failures.saturating_add(1);
                let again = backoff.failed(now, advice, &mut rng);
                let over =
                    advice == Advice::Never || policy.max_attempts.is_some_and(|most| failures >= most);
                assert_eq!(again.is_none(), over, "after {failures} failures, told {advice:?}");
                if let Some(again) = again {
                    judge(&policy, failures, advice, again - now);
                }
            }
        }
        assert_eq!(backoff.attempt(), failures);
    }
}

fn policy(dice: &mut Dice) -> BackoffPolicy {
    let mut policy = BackoffPolicy::new()
        .with_base(Duration::from_millis(dice.u64(0..2_000)))
        .with_factor(f64::from(dice.u8(0..60)) / 10.0)
        .with_cap(Duration::from_millis(dice.u64(0..60_000)))
        .with_jitter(f64::from(dice.u8(0..12)) / 10.0)
        .with_stable_after(Duration::from_secs(dice.u64(0..60)));
    match dice.u8(0..6) {
        0 => policy.cap = Duration::MAX,
        1 => policy.factor = f64::MAX,
        2 => policy.max_attempts = Some(u32::from(dice.u8(0..6))),
        _ => {}
    }
    policy
}

fn forget(policy: &BackoffPolicy, failures: &mut u32, since: Option<Instant>, now: Instant) {
    if since.is_some_and(|since| now - since >= policy.stable_after) {
        *failures = 0;
    }
}

/// The wait after so many failures, before jitter, in seconds.
fn wait(policy: &BackoffPolicy, failures: u32) -> f64 {
    let mut seconds = policy.base.as_secs_f64();
    for _ in 1..failures {
        seconds = (seconds * policy.factor).min(policy.cap.as_secs_f64());
    }
    seconds.min(policy.cap.as_secs_f64())
}

fn judge(policy: &BackoffPolicy, failures: u32, advice: Advice, waited: Duration) {
    let floor = if let Advice::After(wait) = advice { wait.as_secs_f64() } else { 0.0 };
    let wait = wait(policy, failures);
    let least = (wait * (1.0 - policy.jitter)).max(floor).min(FAR.as_secs_f64());
    let most =
        ((wait * (1.0 - policy.jitter)).max(floor) + wait * policy.jitter * 2.0).min(FAR.as_secs_f64());
    let (waited, slack) = (waited.as_secs_f64(), 1e-6 + most * 1e-9);
    assert!(waited >= least - slack && waited <= most + slack, "{waited} is not in {least}..{most}");
}
