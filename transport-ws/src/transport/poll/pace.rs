//! When the inbox is looked at next. Knows no clock; chance is given to it.

use std::time::Duration;

use tokio::time::Instant;

/// Fast while rows come, slower and slower while none do.
#[derive(Debug)]
pub(super) struct Pace {
    fastest: Duration,
    slowest: Duration,
    /// The wait before the last look, without chance.
    gap: Duration,
    next: Instant,
    /// The server asked for quiet until then.
    not_before: Option<Instant>,
}

impl Pace {
    /// The first look is due at once.
    pub(super) fn new(fastest: Duration, slowest: Duration, now: Instant) -> Self {
        Self { fastest, slowest: slowest.max(fastest), gap: fastest, next: now, not_before: None }
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Instant {
        self.not_before.map_or(self.next, |floor| floor.max(self.next))
    }

    /// The same for what is in a hurry: only the server's own word holds it up.
    pub(super) fn hurried(&self, now: Instant) -> Instant {
        self.not_before.map_or(now, |floor| floor.max(now))
    }

    /// Rows came. With `more`, there are more behind them.
    pub(super) fn on_rows(&mut self, more: bool, now: Instant, rng: &mut fastrand::Rng) {
        (self.gap, self.not_before) = (self.fastest, None);
        self.next = if more { now } else { now + self.jittered(rng) };
    }

    /// Nothing new was there.
    pub(super) fn on_nothing(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        (self.gap, self.not_before) = (self.slower(), None);
        self.next = now + self.jittered(rng);
    }

    /// The server did not answer the question. `wait` is what it asked for: a floor, whatever else happens.
    pub(super) fn on_refusal(&mut self, wait: Option<Duration>, now: Instant, rng: &mut fastrand::Rng) {
        self.gap = self.slower();
        self.next = now + self.jittered(rng);
        self.not_before = wait.map(|wait| now + wait.min(LONGEST));
    }

    /// Something is likely to come now.
    pub(super) fn wake(&mut self, now: Instant) {
        self.gap = self.fastest;
        self.next = self.next.min(now);
    }

    /// Something may come soon.
    pub(super) fn quicken(&mut self, now: Instant) {
        self.gap = self.fastest;
        self.next = self.next.min(now + self.fastest);
    }

    fn slower(&self) -> Duration {
        self.gap.saturating_mul(2).clamp(self.fastest, self.slowest)
    }

    /// Earlier by up to a quarter, so that agents that were started together do not ask together.
    fn jittered(&self, rng: &mut fastrand::Rng) -> Duration {
        self.gap.mul_f64(1.0 - rng.f64() / 4.0)
    }
}

/// More than this a server cannot mean.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAST: Duration = Duration::from_millis(100);
    const SLOW: Duration = Duration::from_secs(10);

    #[derive(Debug, Clone)]
    enum Step {
        Rows(bool),
        Nothing,
        Refusal(Option<u64>),
        Wake,
        Quicken,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<bool>().prop_map(Step::Rows),
            Just(Step::Nothing),
            proptest::option::of(0..60_000_u64).prop_map(Step::Refusal),
            Just(Step::Wake),
            Just(Step::Quicken),
        ]
    }

    proptest! {
        /// Whatever happens: no wait is longer than the slowest or the server's own, none is shorter than
        /// the server asked for, and a wake is honoured at once but for that.
        #[test]
        fn every_wait_is_within_its_bounds(steps in proptest::collection::vec(step(), 1..60), seed: u64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut now = Instant::now();
            let mut pace = Pace::new(FAST, SLOW, now);
            for step in steps {
                let floor = pace.not_before;
                match step {
                    Step::Rows(more) => {
                        pace.on_rows(more, now, &mut rng);
                        let most = if more { Duration::ZERO } else { FAST };
                        prop_assert!(pace.due() <= now + most);
                    }
                    Step::Nothing => {
                        pace.on_nothing(now, &mut rng);
                        prop_assert!(pace.due() >= now + FAST / 2, "an idle inbox is not asked without pause");
                    }
                    Step::Refusal(wait) => {
                        let wait = wait.map(Duration::from_millis);
                        pace.on_refusal(wait, now, &mut rng);
                        let least = wait.unwrap_or_default();
                        prop_assert!(pace.due() >= now + least && pace.hurried(now) == now + least);
                        prop_assert!(pace.due() <= now + least.max(SLOW));
                    }
                    Step::Wake => {
                        pace.wake(now);
                        prop_assert_eq!(pace.due().max(now), floor.map_or(now, |floor| floor.max(now)));
                    }
                    Step::Quicken => {
                        pace.quicken(now);
                        prop_assert!(pace.due() <= (now + FAST).max(floor.unwrap_or(now)));
                    }
                }
                prop_assert!(pace.gap >= FAST && pace.gap <= SLOW);
                if !matches!(step, Step::Wake | Step::Quicken) {
                    now = pace.due().max(now);
                }
            }
        }
    }

    #[test]
    fn an_idle_inbox_is_asked_ever_more_rarely_and_a_row_makes_it_fast_again() {
        let (mut rng, mut now) = (fastrand::Rng::with_seed(7), Instant::now());
        let mut pace = Pace::new(FAST, SLOW, now);
        let mut asked = 0;
        let end = now + Duration::from_secs(100);
        while now < end {
            pace.on_nothing(now, &mut rng);
            now = pace.due();
            asked += 1;
        }
        assert!((14..=24).contains(&asked), "{asked} looks within 100 s");
        pace.on_rows(false, now, &mut rng);
        assert!(pace.due() <= now + FAST);
    }

    #[test]
    fn two_agents_do_not_ask_in_step() {
        let now = Instant::now();
        let dues: std::collections::BTreeSet<_> = (0..20)
            .map(|seed| {
                let mut pace = Pace::new(FAST, SLOW, now);
                pace.on_nothing(now, &mut fastrand::Rng::with_seed(seed));
                pace.due()
            })
            .collect();
        assert!(dues.len() > 15);
    }
}
