//! When to ask whether the client is still there, and when to give it up.

use std::time::Duration;

use super::WireProfile;

/// The liveness rule of one connection. All times are since the broker started.
#[derive(Debug)]
pub(crate) struct Keepalive {
    profile: WireProfile,
    last_heard: Duration,
    next_ping: Duration,
    unanswered: u32,
}

/// What a deadline asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl Keepalive {
    pub(crate) fn new(profile: WireProfile, now: Duration) -> Self {
        let next_ping = match profile {
            WireProfile::Standard => now + STANDARD_INTERVAL,
            WireProfile::RobustMq => next_server_tick(now),
        };
        Keepalive { profile, last_heard: now, next_ping, unanswered: 0 }
    }

    /// The client said something.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.last_heard = now;
        self.unanswered = 0;
    }

    pub(crate) fn deadline(&self) -> Duration {
        match self.profile {
            WireProfile::Standard => self.next_ping,
            WireProfile::RobustMq => self.next_ping.min(self.last_heard + ROBUSTMQ_SILENCE),
        }
    }

    pub(crate) fn check(&mut self, now: Duration) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        match self.profile {
            WireProfile::Standard if self.unanswered >= STANDARD_UNANSWERED => return Due::GiveUp,
            WireProfile::Standard => self.next_ping = now + STANDARD_INTERVAL,
            WireProfile::RobustMq if now >= self.last_heard + ROBUSTMQ_SILENCE => return Due::GiveUp,
            WireProfile::RobustMq => self.next_ping = next_server_tick(now),
        }
        self.unanswered += 1;
        Due::Ping
    }
}

/// RobustMQ pings all its clients at once, whenever each of them came.
fn next_server_tick(now: Duration) -> Duration {
    let ticks = now.as_millis() / ROBUSTMQ_INTERVAL.as_millis() + 1;
    ROBUSTMQ_INTERVAL.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

const STANDARD_INTERVAL: Duration = Duration::from_secs(120);
const STANDARD_UNANSWERED: u32 = 2;
const ROBUSTMQ_INTERVAL: Duration = Duration::from_secs(60);
/// Recorded: a client that never answers is cut 180 s after its last word, three pings later.
const ROBUSTMQ_SILENCE: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    /// Second of each ping, and second of the end, of a client that came at `start`.
    fn life(profile: WireProfile, start: u64, answers: bool, until: u64) -> (Vec<u64>, Option<u64>) {
        let mut keepalive = Keepalive::new(profile, Duration::from_secs(start));
        let mut pings = Vec::new();
        loop {
            let now = keepalive.deadline();
            let second = now.as_secs() - start;
            if second > until {
                return (pings, None);
            }
            match keepalive.check(now) {
                Due::Ping => pings.push(second),
                Due::GiveUp => return (pings, Some(second)),
                Due::Nothing => panic!("a deadline without a reason at {second}"),
            }
            if answers {
                keepalive.heard(now);
            }
        }
    }

    #[test]
    fn robustmq_cuts_a_silent_client_after_three_pings_on_the_servers_beat() {
        // Recorded: pings 35.7, 95.7 and 155.7 s after the start, the end after 182.7 s.
        assert_eq!(life(WireProfile::RobustMq, 24, false, 400), (vec![36, 96, 156], Some(180)));
    }

    #[test]
    fn robustmq_keeps_a_client_that_only_answers_pings() {
        assert_eq!(life(WireProfile::RobustMq, 24, true, 225), (vec![36, 96, 156, 216], None));
    }

    #[test]
    fn standard_gives_up_after_two_unanswered_pings() {
        assert_eq!(life(WireProfile::Standard, 5, false, 900), (vec![120, 240], Some(360)));
        assert_eq!(life(WireProfile::Standard, 5, true, 400), (vec![120, 240, 360], None));
    }
}
