//! Ending an agent.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Agent;
use super::serving::Stop;
use crate::clock::after;
use crate::error::{Error, ErrorKind, Result};
use crate::options::CloseMode;
use crate::telemetry::{observed, verb_span};

/// What was left when an agent closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Whether every handler had finished before the deadline.
    pub drained: bool,
    /// How many messages were taken in and not settled. They come again.
    pub unsettled: usize,
}

impl Agent {
    /// Ends the agent: stops taking messages in, lets handlers finish, acknowledges what they settled,
    /// ends the calls under way as [`Closed`](ErrorKind::Closed), and closes the attachment. Handlers that
    /// run longer than `deadline` are dropped. Closing the attachment may take until `deadline` too, and
    /// gets two seconds when handlers have used that up. What was not settled comes again.
    ///
    /// Closing again waits for the first closing and gives its report. Dropping the future leaves the agent
    /// half closed: nothing more is taken in, and closing again does the rest.
    ///
    /// # Errors
    /// The transport's, when it could not close cleanly, and [`Timeout`](ErrorKind::Timeout) when it did
    /// not close in time; handlers and calls have ended all the same, and closing again tries again.
    pub async fn close(&self, mode: CloseMode, deadline: Duration) -> Result<CloseReport> {
        let end = after(Instant::now(), deadline);
        let late = || Error::new(ErrorKind::Timeout, "close", "the attachment did not close in time");
        let owner = &self.owner;
        let mut closing = timeout_at(grace(end), owner.closing.lock()).await.map_err(|_| late())?;
        if let Some(report) = *closing {
            return Ok(report);
        }
        owner.mark_closed();
        owner.end_heartbeat(end).await;
        let report = self.drain(end).await;
        self.shared.replies.close();
        let close = observed(verb_span!(INFO, "agent.close"), self.shared.transport.close(mode));
        timeout_at(grace(end), close).await.map_err(|_| late())??;
        *closing = Some(report);
        Ok(report)
    }

    /// Ends all serving: in good time until `end`, then at once.
    async fn drain(&self, end: Instant) -> CloseReport {
        let serving = self.owner.serving();
        let ended = async || {
            for control in &serving {
                control.ended().await;
            }
        };
        serving.iter().for_each(|control| control.stop(Stop::Drain));
        let drained = timeout_at(end, ended()).await.is_ok();
        if !drained {
            serving.iter().for_each(|control| control.stop(Stop::Late));
            let _ = timeout_at(grace(end), ended()).await;
        }
        CloseReport { drained, unsettled: serving.iter().map(|control| control.left()).sum() }
    }
}

/// Until when what follows the handlers may last.
fn grace(end: Instant) -> Instant {
    end.max(Instant::now() + GRACE)
}

/// What closing gets when handlers have used the deadline up.
const GRACE: Duration = Duration::from_secs(2);
