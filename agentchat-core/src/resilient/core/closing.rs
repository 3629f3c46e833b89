//! The last words of a session.

use tokio::time::Instant;

use super::{Core, closed, keeping};
use crate::agent::Acks;
use crate::close_once::{closed_before, left_behind};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::options::CloseMode;
use crate::session::lifecycle::CloseReason;

/// How closing ended, until and after somebody has heard of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// `None` for a session that ended without being closed.
    mode: Option<CloseMode>,
    failed: Option<Error>,
    told: bool,
}

impl Core {
    /// Begins to close, or joins those who do. How it ends [`Core::closed`] tells.
    ///
    /// # Errors
    /// `Closed` when somebody was told before how it ended.
    pub(in crate::resilient) fn close(&mut self, mode: CloseMode, now: Instant) -> Result<()> {
        if self.outcome.told {
            return Err(closed_before("session", self.is_left_behind(mode)));
        }
        let begins = self.life.close(mode, crate::clock::after(now, self.options.drain_timeout));
        if begins && let Err(closing) = self.life.check_open("send") {
            self.sends.stop_intake(&closing);
        }
        Ok(())
    }

    /// Tells how the session ended to one who began to close it in `mode` before anybody had heard.
    ///
    /// # Errors
    /// What closing failed with; `Closed` when it was detached and `mode` asked for more.
    pub(in crate::resilient) fn closed(&mut self, mode: CloseMode) -> Result<()> {
        let left_behind = self.is_left_behind(mode);
        self.outcome.told = true;
        match &mut self.outcome.failed {
            // The cause stays with the first.
            Some(error) => {
                let copy = error.copy();
                Err(std::mem::replace(error, copy))
            }
            None if left_behind => Err(closed_before("session", true)),
            None => Ok(()),
        }
    }

    /// Closing is over, with this result for what was acknowledged and closed at the network.
    pub(in crate::resilient) fn finish(&mut self, result: Result<()>) {
        let left = self.sends.len();
        let (kept, unwritten) = (self.sends.kept(), self.sends.unwritten());
        let owed = || Error::new(ErrorKind::Timeout, "close", OWED).with_advice(Advice::Never);
        let result = if self.slots.owes() { result.and_then(|()| Err(owed())) } else { result };
        let mode = self.life.mode().filter(|_| self.life.is_closing());
        self.end(CloseReason::Requested, closed());
        let result = match (left, unwritten) {
            (0, 0) => result,
            _ => Err(keeping::unsent(left, kept, unwritten, result)),
        };
        if let Some(mode) = mode {
            self.outcome.be(mode, result);
        }
    }

    /// Whether everything settled is acknowledged, when closing is all that is left to do; what was settled
    /// meanwhile goes to `acks` first. Then nothing is settled any more: an `Ok` for what nobody acknowledges
    /// would be a lie.
    pub(in crate::resilient) fn is_last_ack_sent(&mut self, acks: &mut Acks) -> bool {
        acks.extend(self.slots.take_acks());
        let sent = acks.is_empty();
        if sent {
            self.seal();
        }
        sent
    }

    /// Nothing is settled any more.
    pub(in crate::resilient) fn seal(&mut self) {
        self.life.seal();
    }

    fn is_left_behind(&self, mode: CloseMode) -> bool {
        let done = self.outcome.mode.filter(|_| self.capabilities.directory);
        done.is_some_and(|done| left_behind(done, mode))
    }
}

impl Outcome {
    pub(super) fn be(&mut self, mode: CloseMode, result: Result<()>) {
        (self.mode, self.failed) = (Some(mode), result.err());
    }
}

const OWED: &str = "some settled messages could not be acknowledged over a connection and will come again";
