//! Where handles leave word for the polling task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};

use super::slot::Slot;

/// New mailboxes and the keys of consumers that have something to say. Each consumer is at most once in
/// either list.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    notify: Notify,
    keys: AtomicU64,
    notes: Mutex<Notes>,
}

/// What lies on the desk.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) arrivals: Vec<Slot>,
    pub(crate) woken: Vec<u64>,
    /// The last handle is gone.
    pub(crate) stop: bool,
    /// The task is gone.
    gone: bool,
}

impl Desk {
    pub(crate) fn next_key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add(&self, slot: Slot) -> Result<()> {
        let mut notes = self.lock();
        if notes.gone {
            drop(notes);
            return Err(Error::new(ErrorKind::Closed, "consume", "the polling task has ended"));
        }
        notes.arrivals.push(slot);
        drop(notes);
        self.notify.notify_one();
        Ok(())
    }

    pub(crate) fn wake(&self, key: u64) {
        let mut notes = self.lock();
        if !notes.gone {
            notes.woken.push(key);
            drop(notes);
            self.notify.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.notify.notify_one();
    }

    /// Takes what lies there.
    pub(crate) fn take(&self) -> Notes {
        let mut notes = self.lock();
        let stop = notes.stop;
        std::mem::replace(&mut *notes, Notes { stop, ..Notes::default() })
    }

    /// Waits for the next word.
    pub(crate) async fn called(&self) {
        self.notify.notified().await;
    }

    /// The task ends, in whatever way: consumers that it never saw end with it.
    pub(crate) fn task_is_gone(&self) {
        let mut notes = self.lock();
        notes.gone = true;
        notes.woken = Vec::new();
        let unseen = std::mem::take(&mut notes.arrivals);
        drop(notes);
        drop(unseen);
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
