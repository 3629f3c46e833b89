//! The network, while one has it alone.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use super::hub::Hub;

/// The network under its lock. Whom a change has woken is told when the lock is given back, and not before:
/// who wakes would wait for it at once.
pub(crate) struct Locked<'a>(Option<MutexGuard<'a, Hub>>);

impl<'a> Locked<'a> {
    pub(super) fn new(hub: MutexGuard<'a, Hub>) -> Self {
        Self(Some(hub))
    }
}

impl Deref for Locked<'_> {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        self.0.as_ref().expect(HELD)
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Hub {
        self.0.as_mut().expect(HELD)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut hub) = self.0.take() else { return };
        if hub.woken.is_empty() && hub.left.is_empty() {
            return;
        }
        // Most often it is one or a few: then the lists keep their memory for the next time.
        let (waker, few): (_, [_; FEW]) = (hub.woken.pop(), std::array::from_fn(|_| hub.left.pop()));
        let (woken, left) = match hub.woken.is_empty() && hub.left.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => (std::mem::take(&mut hub.woken), std::mem::take(&mut hub.left)),
        };
        drop(hub);
        drop((few, left));
        waker.into_iter().chain(woken).for_each(std::task::Waker::wake);
    }
}

/// How many rows leave at once while nothing is behind.
const FEW: usize = 4;
const HELD: &str = "the lock is held until this is dropped";
