//! Which calls are under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pending::Pending;
use super::replies::PeerInbox;
use crate::address::Address;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::id::CorrelationId;

/// The calls under way, by correlation id.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<CorrelationId, Waiting>,
    closed: bool,
}

/// A call under way. It keeps its reply inbox alive; the inbox is read until no call waits on it.
#[derive(Debug)]
struct Waiting {
    inbox: Arc<PeerInbox>,
    pending: Arc<Pending>,
}

/// A call's entry; dropping it removes the entry, and its inbox when that was its own.
#[derive(Debug)]
pub(crate) struct Registered {
    correlation_id: CorrelationId,
    calls: Arc<Calls>,
    pub(crate) pending: Arc<Pending>,
}

impl Calls {
    /// Enters a call.
    ///
    /// # Errors
    /// `Conflict` when one under this correlation id is under way, `Closed` after [`Calls::close`].
    pub(crate) fn register(
        self: &Arc<Self>,
        correlation_id: CorrelationId,
        inbox: Arc<PeerInbox>,
        pending: Pending,
    ) -> Result<Registered> {
        let mut table = self.lock();
        if table.closed {
            return Err(closed());
        }
        if table.calls.contains_key(&correlation_id) {
            let what = "a call under this correlation id is under way";
            return Err(Error::new(ErrorKind::Conflict, "call", what).with_reached(crate::Reached::No));
        }
        let pending = Arc::new(pending);
        let waiting = Waiting { inbox, pending: Arc::clone(&pending) };
        table.calls.insert(correlation_id.clone(), waiting);
        Ok(Registered { correlation_id, calls: Arc::clone(self), pending })
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.lock().closed { Err(closed()) } else { Ok(()) }
    }

    /// The call that a delivery in `inbox` answers. A call is answered in its own inbox only: one peer
    /// must not be able to answer for another.
    pub(crate) fn find(&self, inbox: &Address, delivery: &Delivery) -> Option<Arc<Pending>> {
        let table = self.lock();
        let waiting = table.calls.get(delivery.correlation_id.as_ref()?)?;
        (waiting.inbox.address == *inbox).then(|| Arc::clone(&waiting.pending))
    }

    /// Whether more than one call waits on `inbox`.
    pub(crate) fn share(&self, inbox: &Address) -> bool {
        self.lock().calls.values().filter(|waiting| waiting.inbox.address == *inbox).nth(1).is_some()
    }

    /// Tells every call that waits on `inbox` that no more replies will come there.
    pub(crate) fn lose(&self, inbox: &Address, error: &Error) {
        let lost = self.take(|waiting| waiting.inbox.address == *inbox);
        for waiting in lost {
            let lost = Error::new(error.kind(), "call", "the reply inbox can no longer be read")
                .with_advice(error.advice());
            waiting.pending.end(lost);
        }
    }

    /// Ends every call, and those that are just being made. Says how many were under way.
    pub(crate) fn close(&self) -> usize {
        self.lock().closed = true;
        let ended = self.take(|_| true);
        for waiting in &ended {
            waiting.pending.end(closed());
        }
        ended.len()
    }

    fn take(&self, chosen: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.lock().calls.extract_if(|_, waiting| chosen(waiting)).map(|(_, waiting)| waiting).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.pending.close();
        let mut table = self.calls.lock();
        let own = |waiting: &Waiting| Arc::ptr_eq(&waiting.pending, &self.pending);
        let removed = match table.calls.get(&self.correlation_id).is_some_and(own) {
            true => table.calls.remove(&self.correlation_id),
            false => None,
        };
        drop(table);
        drop(removed);
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "call", "the agent was closed")
}
