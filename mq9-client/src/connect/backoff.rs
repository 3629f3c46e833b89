//! How long to wait before the next attempt.

use std::time::Duration;

/// The wait before attempt `attempt` (from 1): doubling from `base` to `cap`, of which the upper half
/// is left to chance so that many clients do not return in step. `chance` is within 0..=1.
pub(crate) fn wait(attempt: u32, base: Duration, cap: Duration, chance: f64) -> Duration {
    let doubled = base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(31)));
    let longest = doubled.min(cap);
    longest / 2 + (longest / 2).mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_keep_half_to_chance() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(10));
        assert_eq!(wait(1, base, cap, 0.0), Duration::from_millis(50));
        assert_eq!(wait(1, base, cap, 1.0), Duration::from_millis(100));
        assert_eq!(wait(4, base, cap, 1.0), Duration::from_millis(800));
        assert_eq!(wait(u32::MAX, base, cap, 1.0), cap);
        assert_eq!(wait(u32::MAX, base, cap, 0.0), cap / 2);
    }
}
