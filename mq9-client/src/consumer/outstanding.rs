//! Messages handed out and not yet settled.

mod window;

use std::collections::BTreeSet;
use std::time::Instant;

use crate::message::Received;

use super::coverage::{CLASSES, class_of};
use super::delivered::Delivered;
use window::Window;

/// What was taken and not settled, with what it costs, and which of it is to be handed out again.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// By priority class: within one, messages are taken and mostly settled by id.
    held: [Window<Held>; CLASSES],
    bytes: usize,
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Held {
    /// Kept for a retry: the broker hands out nothing by id.
    row: Received,
    size: usize,
    attempt: u32,
    retry: Option<Instant>,
}

impl Outstanding {
    pub(crate) fn len(&self) -> usize {
        self.held.iter().map(Window::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest id: nothing from here on may be acknowledged.
    pub(crate) fn first(&self) -> Option<u64> {
        self.held.iter().filter_map(Window::first).min()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Received> {
        self.held(id).map(|held| &held.row)
    }

    /// Every id, class by class.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.held.iter().flat_map(Window::keys)
    }

    /// Whether the application has it in hand: it is not waiting for a retry.
    pub(crate) fn in_hand(&self, id: u64) -> bool {
        self.held(id).is_some_and(|held| held.retry.is_none())
    }

    /// Takes a new message and gives what to hand out.
    pub(crate) fn take(&mut self, row: Received) -> Delivered {
        let (id, class, size) = (row.id.get(), class_of(&row), row.size());
        self.bytes += size;
        let first = Delivered::new(row.clone(), 1);
        self.held[class].insert(id, Held { row, size, attempt: 1, retry: None });
        first
    }

    /// Forgets a settled message; false when it was not outstanding.
    pub(crate) fn settle(&mut self, id: u64) -> bool {
        let Some(held) = self.held.iter_mut().rev().find_map(|window| window.remove(id)) else {
            return false;
        };
        self.bytes -= held.size;
        if let Some(at) = held.retry {
            self.due.remove(&(at, id));
        }
        true
    }

    /// Has a message handed out again at `at`; false when it is not outstanding.
    pub(crate) fn retry(&mut self, id: u64, at: Instant) -> bool {
        let Some(held) = self.held_mut(id) else { return false };
        if let Some(before) = held.retry.replace(at) {
            self.due.remove(&(before, id));
        }
        self.due.insert((at, id));
        true
    }

    /// When the next retry is due.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next message whose retry is due.
    pub(crate) fn pop_retry(&mut self, now: Instant) -> Option<Delivered> {
        if self.next_retry()? > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let held = self.held_mut(id)?;
        held.retry = None;
        held.attempt = held.attempt.saturating_add(1);
        Some(Delivered::new(held.row.clone(), held.attempt))
    }

    fn held(&self, id: u64) -> Option<&Held> {
        self.held.iter().find_map(|window| window.get(id))
    }

    fn held_mut(&mut self, id: u64) -> Option<&mut Held> {
        self.held.iter_mut().find_map(|window| window.get_mut(id))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::consumer::model::row;
    use crate::message::Priority::Normal;

    #[test]
    fn a_retried_message_comes_again_when_due_and_stays_outstanding() {
        let now = Instant::now();
        let mut outstanding = Outstanding::default();
        for id in [4, 2] {
            outstanding.take(row(id, Normal));
        }
        assert!(outstanding.retry(2, now + Duration::from_secs(9)));
        assert!(outstanding.retry(2, now + Duration::from_secs(1)), "the later word counts");
        assert!(outstanding.pop_retry(now).is_none());
        let again = outstanding.pop_retry(now + Duration::from_secs(1)).expect("due");
        assert_eq!((again.id().get(), again.attempt, again.redelivered()), (2, 2, true));
        assert!(outstanding.pop_retry(now + Duration::from_secs(99)).is_none());
        assert_eq!((outstanding.first(), outstanding.len()), (Some(2), 2));
    }

    #[test]
    fn settling_gives_the_room_back_and_cancels_the_retry() {
        let now = Instant::now();
        let mut outstanding = Outstanding::default();
        let taken = outstanding.take(row(7, Normal));
        assert_eq!(outstanding.bytes(), taken.message.size());
        outstanding.retry(7, now);
        assert!(outstanding.settle(7));
        assert!(!outstanding.settle(7), "once");
        assert_eq!((outstanding.bytes(), outstanding.next_retry()), (0, None));
        assert!(!outstanding.retry(7, now), "what is settled does not come again");
    }
}
