//! Reporting that the agent is alive, until it is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::AgentShared;
use crate::clock::FAR;
use crate::directory::Heartbeat;
use crate::error::ErrorKind;
use crate::telemetry::{observed, verb_span};

/// Reports each `interval`, beginning at once. A failed report is logged and not repeated: the next one
/// is due anyway. Ends with the attachment.
pub(crate) async fn beat(agent: Arc<AgentShared>, interval: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now(), interval.min(FAR));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let active = agent.active.load(Ordering::Relaxed);
        let slots = agent.slots.load(Ordering::Relaxed);
        let mut heartbeat =
            Heartbeat::new(if active < slots || slots == 0 { "online" } else { "busy" }, interval);
        heartbeat.active_tasks = active;
        heartbeat.load = if slots == 0 { 0.0 } else { active as f32 / slots as f32 };
        let reported = observed(verb_span!(INFO, "agent.report"), agent.transport.report(&heartbeat));
        if let Err(error) = reported.await {
            tracing::debug!(name: "heartbeat.failed", %error, "the heartbeat was not taken");
            if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Closed) {
                return;
            }
        }
    }
}
