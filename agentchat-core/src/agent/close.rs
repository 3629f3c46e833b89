//! Ending an agent.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::serving::{Control, Stop};
use super::{Agent, CloseReport};
use crate::clock::after;
use crate::close_once::{closed_before, left_behind};
use crate::error::{Error, ErrorKind, Result};
use crate::options::CloseMode;
use crate::telemetry::{observed, verb_span};

/// The end of an agent, for all who ask for it.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// Held while one of them is at it.
    progress: Mutex<Progress>,
    /// Somebody has the report: who asks from then on is late.
    told: AtomicBool,
}

/// How far closing is. It outlives a closing that is given up or fails, so that the next one goes on.
#[derive(Debug, Default)]
struct Progress {
    /// What was served when it began.
    serving: Vec<Arc<Control>>,
    report: Option<CloseReport>,
    done: bool,
}

impl Progress {
    /// Nothing more is taken in, and what is served counts in the report.
    fn stop_intake(&mut self, serving: Vec<Arc<Control>>) {
        // Those of a closing that has got so far are told by its report.
        if self.report.is_some() {
            return;
        }
        for control in serving {
            control.stop(Stop::Drain);
            if !self.serving.iter().any(|known| Arc::ptr_eq(known, &control)) {
                self.serving.push(control);
            }
        }
    }
}

impl Agent {
    /// Ends the agent: stops taking messages in, lets handlers finish, acknowledges what they settled,
    /// ends the calls under way as [`Closed`](ErrorKind::Closed), takes the agent out of the directory when
    /// it retires, closes the attachment, and reports what is left. Handlers that run longer than `deadline`
    /// are dropped; what was not settled comes again. To unregister and to close the attachment may take
    /// until `deadline` too, and get two seconds each when the time has been used up.
    ///
    /// Closing while another closing is under way waits for it and gives the same report. Dropping the future
    /// leaves the agent half closed: nothing more is taken in, and closing again does the rest.
    ///
    /// # Errors
    /// The transport's, when it could not close or unregister cleanly, and [`Timeout`](ErrorKind::Timeout)
    /// when it did not in time; handlers and calls have ended all the same, what the report would say is in
    /// the error's [context](Error::context), and closing again tries again.
    /// [`Closed`](ErrorKind::Closed) for an agent that was closed before, once somebody has its report, which is
    /// in the context as well; and for retiring one that has detached, or whose attachment was closed by an
    /// attempt that failed: its registration cannot be taken back here any more.
    pub async fn close(&self, mode: CloseMode, deadline: Duration) -> Result<CloseReport> {
        let end = after(Instant::now(), deadline);
        let owner = &self.owner;
        let is_late = owner.closing.told.load(Ordering::Acquire);
        let mut progress = timeout_at(grace(end), owner.closing.progress.lock()).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, "close", "an earlier closing of the agent is still under way")
        })?;
        let report = match progress.report.filter(|_| progress.done) {
            Some(report) => self.told_again(report, mode, is_late)?,
            None => self.end(&mut progress, mode, end).await?,
        };
        // Last: who leads next finds nothing of this agent in its way.
        self.shared.seat.release();
        owner.put_out_beacon().await;
        owner.closing.told.store(true, Ordering::Release);
        Ok(report)
    }

    async fn end(&self, progress: &mut Progress, mode: CloseMode, end: Instant) -> Result<CloseReport> {
        let owner = &self.owner;
        owner.mark_closing(mode);
        // Before anything is waited for: what comes from now on is not begun.
        progress.stop_intake(owner.serving());
        // Then: one that follows must not take the lead while it is closed, or when it was by half.
        owner.end_heartbeat(end).await;
        // Who asks in the same breath is not late, however little there is to do.
        yield_now().await;
        progress.stop_intake(owner.serving());
        let Progress { serving, report, done } = progress;
        let report = report.get_or_insert(CloseReport::new(mode));
        report.mode = mode;
        let drained = drain(serving, end).await;
        report.drained &= drained;
        let left = || serving.iter().map(|control| control.left());
        report.unsettled = left().map(|(unsettled, _)| unsettled).sum();
        report.unacknowledged = left().map(|(_, unacknowledged)| unacknowledged).sum();
        report.calls_ended += self.shared.replies.close();
        owner.mark_closed(mode);
        self.shared.seat.fail(Error::new(ErrorKind::Closed, "lead", "the agent was closed"));
        self.detach(report, end).await.map_err(|error| report.explain(error))?;
        *done = true;
        Ok(*report)
    }

    /// Unregisters where that is asked for, and closes the attachment.
    async fn detach(&self, report: &mut CloseReport, end: Instant) -> Result<()> {
        let transport = &self.shared.transport;
        // A follower has nothing in the directory, but what is there may bear its name.
        let registered = self.shared.seat.may_be_registered();
        let retires = report.mode == CloseMode::Retire && self.capabilities().directory && registered;
        if retires && !report.unregistered {
            let unregister = observed(verb_span!(INFO, "agent.unregister"), transport.unregister());
            let failed = match timeout_at(grace(end), unregister).await {
                Ok(Ok(())) => {
                    report.unregistered = true;
                    None
                }
                Ok(Err(error)) => Some((error.kind(), Some(error))),
                Err(_) => Some((ErrorKind::Timeout, None)),
            };
            // Closing tries it once more.
            if let Some((kind, error)) = failed {
                let error = error.as_ref().map(tracing::field::display);
                tracing::debug!(
                    name: "unregister.failed", error_kind = kind.as_str(), error, "not unregistered yet"
                );
            }
        }
        let mode = if report.unregistered || !registered { CloseMode::Detach } else { report.mode };
        let close = observed(verb_span!(INFO, "agent.close"), transport.close(mode));
        let closed = timeout_at(grace(end), close).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "close", "the attachment did not close in time"))
        });
        if let Err(error) = closed {
            let unsent = unsent(&error);
            report.unsent = unsent.unwrap_or(report.unsent);
            // A session that closed, and had messages left, says nothing worse than this report. An attachment
            // that was closed before, here or by somebody else, is where it should be.
            let is_over = error.kind() == ErrorKind::Closed && mode == CloseMode::Detach;
            if !is_over && (unsent.is_none() || error.source().is_some()) {
                return Err(error);
            }
        }
        report.unregistered |= retires;
        Ok(())
    }

    /// What one is told who finds the agent closed: the report, when it was asked for in time.
    fn told_again(&self, report: CloseReport, mode: CloseMode, is_late: bool) -> Result<CloseReport> {
        let is_left = left_behind(report.mode, mode) && !report.unregistered && self.capabilities().directory;
        match is_late || is_left {
            true => Err(report.explain(closed_before("agent", is_left))),
            false => Ok(report),
        }
    }
}

/// Ends all serving: in good time until `end`, then at once. Whether the former was enough.
async fn drain(serving: &[Arc<Control>], end: Instant) -> bool {
    let ended = async || {
        for control in serving {
            control.ended().await;
        }
    };
    serving.iter().for_each(|control| control.stop(Stop::Drain));
    if timeout_at(end, ended()).await.is_ok() {
        return true;
    }
    serving.iter().for_each(|control| control.stop(Stop::Late));
    let _ = timeout_at(grace(end), ended()).await;
    false
}

/// How many messages a session had not sent when it closed, where the error says so.
fn unsent(error: &Error) -> Option<usize> {
    let (_, count) = error.context().find(|(name, _)| *name == "unsent")?;
    count.parse().ok()
}

/// Until when what follows the handlers may last.
fn grace(end: Instant) -> Instant {
    end.max(Instant::now() + GRACE)
}

/// What closing gets when handlers have used the deadline up.
const GRACE: Duration = Duration::from_secs(2);
