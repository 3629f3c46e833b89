//! What the handles, the readers and the driver of a session share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::core::{Core, closed};
use crate::error::Error;
use crate::session::lifecycle::{CloseReason, SessionState};

/// The session behind its lock. What is done under the lock never waits.
#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    /// Wakes the driver.
    pub(super) wake: Notify,
    pub(super) state: watch::Sender<SessionState>,
}

/// Ends the session with the last handle or reader. Needs no runtime.
#[derive(Debug)]
pub(super) struct Owner {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

impl Shared {
    pub(super) fn new(core: Core) -> Self {
        let state = watch::Sender::new(core.state());
        Self { core: Mutex::new(core), wake: Notify::new(), state }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the session and wakes the driver.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let changed = {
            let mut core = self.lock();
            let now = Instant::now();
            let changed = change(&mut core, now);
            self.publish(&mut core, now);
            changed
        };
        self.wake.notify_one();
        changed
    }

    /// Tells how the session stands, when that is news. Under the session's lock, so that the last state
    /// told is the last one there was.
    pub(super) fn publish(&self, core: &mut Core, now: Instant) {
        if let Some(state) = core.observe(now) {
            self.state.send_if_modified(|known| {
                let other = *known != state;
                if other {
                    *known = state;
                }
                other
            });
        }
    }

    /// The session is over: nothing drives it any more.
    pub(super) fn end(&self, reason: CloseReason, why: Error) {
        self.change(|core, _| core.end(reason, why));
    }
}

impl Owner {
    pub(super) fn new(shared: Arc<Shared>, driver: AbortHandle) -> Self {
        Self { shared, driver }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // First, so that the task does not say that it ended by itself.
        self.shared.end(CloseReason::Requested, closed());
        self.driver.abort();
    }
}
