//! Delayed messages: a queue by due time, shared among workers that an over-long delay can kill.

use std::collections::BTreeMap;

use super::storage::Record;

/// The queue of messages that are not due yet.
#[derive(Default)]
pub(crate) struct Delays {
    /// By due time and arrival. The due time is in milliseconds since 1970.
    pending: BTreeMap<(u64, u64), Delayed>,
    arrivals: u64,
    dead: [bool; WORKERS],
}

/// A message and the topic it goes to. The mailbox is not looked at again when it is due.
pub(crate) struct Delayed {
    pub(crate) topic: String,
    pub(crate) record: Record,
    worker: usize,
}

/// Why a delayed message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its delay is beyond the timer wheel: the worker that took it is dead from now on.
    Poisoned,
    /// It fell to this worker, which is dead.
    Dead(usize),
}

impl Delays {
    /// Takes a message for `delay_s` seconds from now.
    ///
    /// Workers take turns, dead or not. A delay so large that the due second overflows lies in the past
    /// and is due at once. Even then it arrives a moment later, not before the reply. What a worker held when it died is never delivered.
    pub(crate) fn take(
        &mut self,
        now_ms: u64,
        delay_s: u64,
        topic: &str,
        record: Record,
        mortal: bool,
    ) -> Result<(), Refused> {
        let worker = usize::try_from(self.arrivals % WORKERS as u64).unwrap_or(0);
        self.arrivals += 1;
        if self.dead[worker] {
            return Err(Refused::Dead(worker));
        }
        let overflows = (now_ms / 1000).checked_add(delay_s).is_none();
        if mortal && !overflows && delay_s > LONGEST_S {
            self.dead[worker] = true;
            self.pending.retain(|_, delayed| delayed.worker != worker);
            return Err(Refused::Poisoned);
        }
        let due_ms = match delay_s.checked_mul(1000).and_then(|delay| now_ms.checked_add(delay)) {
            _ if overflows && mortal => now_ms,
            Some(due) => due,
            None => u64::MAX,
        }
        .saturating_add(LAG_MS);
        self.pending.insert((due_ms, self.arrivals), Delayed { topic: topic.to_owned(), record, worker });
        Ok(())
    }

    /// The next message due by `now_ms`, and when it was due.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<(u64, Delayed)> {
        let entry = self.pending.first_entry().filter(|entry| entry.key().0 <= now_ms)?;
        let ((due_ms, _), delayed) = entry.remove_entry();
        Some((due_ms, delayed))
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.pending.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

const WORKERS: usize = 5;
/// What the broker's timer wheel spans: 2^36 ms, about 2.18 years.
const LONGEST_S: u64 = (1 << 36) / 1000;
/// What recorded deliveries took beyond their delay: with a delay of 0 a read within the same millisecond
/// found nothing, and one 2 ms later found the message.
const LAG_MS: u64 = 2;
