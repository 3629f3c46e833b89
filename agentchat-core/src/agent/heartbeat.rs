//! Reporting that the agent is alive, until it is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::AgentShared;
use crate::clock::after;
use crate::directory::Heartbeat;
use crate::error::{Error, ErrorKind};
use crate::telemetry::{observed, verb_span};

/// Reports that the agent is alive and how busy it is, beginning at once. The next report begins up to a
/// tenth of `interval` early, never late: so a fleet that was started at one moment does not go on reporting
/// at one moment, and who reads the interval can rely on it. A failed report is logged and not repeated: the
/// next one is due anyway, and one that has no answer by then is given up for it, since its figures are old.
/// Ends with the attachment, which one that reconnects by itself outlives.
pub(crate) async fn beat(agent: Arc<AgentShared>, interval: Duration, mut rng: fastrand::Rng) {
    let mut due = Instant::now();
    loop {
        sleep_until(due).await;
        due = after(Instant::now(), early(interval, rng.f64()));
        let heartbeat = status(&agent, interval);
        let reported = observed(verb_span!(INFO, "agent.report"), agent.transport.report(&heartbeat));
        let failed = match timeout_at(due, reported).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let error = failed.as_ref();
        let error_kind = error.map_or(ErrorKind::Timeout, Error::kind).as_str();
        tracing::debug!(
            name: "heartbeat.failed", error_kind, error = error.map(tracing::field::display),
            "the heartbeat was not taken"
        );
        let over = failed.is_some_and(|error| match error.kind() {
            ErrorKind::Closed => true,
            ErrorKind::Disconnected => error.ends_attachment() && !agent.capabilities().reconnects,
            _ => false,
        });
        if over {
            return;
        }
    }
}

/// How the agent stands now.
fn status(agent: &AgentShared, interval: Duration) -> Heartbeat {
    let active = agent.active.load(Ordering::Relaxed);
    let slots = agent.slots.load(Ordering::Relaxed);
    let word = if active < slots || slots == 0 { "online" } else { "busy" };
    let mut heartbeat = Heartbeat::new(word, interval);
    heartbeat.active_tasks = active;
    heartbeat.load = if slots == 0 { 0.0 } else { active as f32 / slots as f32 };
    heartbeat
}

/// `interval` less up to a tenth of it; `draw` is from 0 to 1.
fn early(interval: Duration, draw: f64) -> Duration {
    interval.saturating_sub(interval.div_f64(10.0).mul_f64(draw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_up_to_a_tenth_early_and_never_late() {
        let minute = Duration::from_secs(60);
        assert_eq!(early(minute, 0.0), minute);
        assert_eq!(early(minute, 1.0), Duration::from_secs(54));
        assert!(early(Duration::MAX, 1.0) < Duration::MAX, "no interval is too long");
        assert!(early(Duration::from_nanos(1), 1.0) <= Duration::from_nanos(1));
    }
}
