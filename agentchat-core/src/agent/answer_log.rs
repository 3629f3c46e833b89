//! What requests have been answered: one answer each, however often they are handled.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::{Receipt, SendOutcome};
use crate::id::MessageId;
use crate::message::Outbound;

/// The answers given last, by the request's identity: bounded by count, bytes and age. A request that is
/// forgotten is answered anew under the same ids, which its asker recognises.
#[derive(Debug, Default)]
pub(crate) struct AnswerLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    entries: HashMap<Arc<str>, Entry>,
    /// The oldest first.
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    answers: Arc<tokio::sync::Mutex<Answers>>,
    since: Instant,
    bytes: usize,
}

/// What one request has been answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The replies that the network has taken: the first [`REPLIES`] of them.
    sent: Vec<Sent>,
    /// How many it has taken.
    pub(crate) taken: u64,
    /// The last one, when it was marked as such.
    ended: Option<Sent>,
    /// The next one, when it may have been sent.
    pub(crate) in_doubt: Option<Outbound>,
}

/// A reply that the network has taken.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    fingerprint: u64,
    id: Option<MessageId>,
}

impl AnswerLog {
    /// What the request of `identity` has been answered, which is nothing when it is not known.
    pub(crate) fn of(&self, identity: &str, now: Instant) -> Arc<tokio::sync::Mutex<Answers>> {
        let mut window = self.lock();
        window.forget(now);
        if let Some(entry) = window.entries.get(identity) {
            return Arc::clone(&entry.answers);
        }
        let identity: Arc<str> = identity.into();
        let answers = Arc::default();
        let entry = Entry { answers: Arc::clone(&answers), since: now, bytes: EMPTY };
        window.bytes += EMPTY;
        window.order.push_back(Arc::clone(&identity));
        window.entries.insert(identity, entry);
        window.forget(now);
        answers
    }

    /// Notes what the answers to a request cost now.
    pub(crate) fn weigh(&self, identity: &str, answers: &Answers, now: Instant) {
        let window = &mut *self.lock();
        if let Some(entry) = window.entries.get_mut(identity) {
            let bytes = answers.size();
            window.bytes = window.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
            window.forget(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front().and_then(|identity| self.entries.get(identity)) {
            let expired = now.saturating_duration_since(oldest.since) >= AGE;
            if !expired && self.entries.len() <= REQUESTS && self.bytes <= BYTES {
                return;
            }
            self.bytes -= oldest.bytes;
            if let Some(identity) = self.order.pop_front() {
                self.entries.remove(&identity);
            }
        }
    }
}

impl Answers {
    /// The reply of this number, when it was taken and is remembered.
    pub(crate) fn known(&self, seq: u64) -> Option<&Sent> {
        usize::try_from(seq).ok().and_then(|seq| self.sent.get(seq.checked_sub(1)?))
    }

    /// The last reply, when it was taken: nothing comes after it.
    pub(crate) fn ended(&self) -> Option<&Sent> {
        self.ended.as_ref()
    }

    /// The network has taken reply `taken + 1`.
    pub(crate) fn took(&mut self, message: &Outbound, last: bool, receipt: &Receipt) {
        let sent = Sent { fingerprint: message.fingerprint(), id: receipt.message_id().cloned() };
        self.in_doubt = None;
        self.taken += 1;
        if last {
            self.ended = Some(sent.clone());
        }
        if self.sent.len() < REPLIES {
            self.sent.push(sent);
        }
    }

    fn size(&self) -> usize {
        let doubt = self.in_doubt.as_ref();
        let doubt = doubt.map_or(0, |message| message.body.bytes.len() + message.headers.size());
        EMPTY + doubt + self.sent.len() * REPLY
    }
}

impl Sent {
    /// Whether `message` is the same reply.
    pub(crate) fn is(&self, message: &Outbound) -> bool {
        self.fingerprint == message.fingerprint()
    }

    /// What whoever makes it again is told.
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt::new(self.id.clone().map_or(SendOutcome::Deferred, SendOutcome::Duplicate))
    }
}

/// How many requests are remembered, how many bytes that may take, and for how long.
const REQUESTS: usize = 16_384;
const BYTES: usize = 16 * 1024 * 1024;
const AGE: Duration = Duration::from_secs(24 * 3600);
/// How many replies to one request are remembered; later ones are sent again when they are made again.
const REPLIES: usize = 1_024;
/// What a request and a reply cost, roughly.
const EMPTY: usize = 384;
const REPLY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Body};

    fn reply(bytes: usize) -> Outbound {
        let to = Address::parse("loopback://asker").expect("valid");
        Outbound::new(to, Body::binary(vec![0; bytes]))
    }

    fn receipt() -> Receipt {
        Receipt::new(SendOutcome::Accepted(MessageId::new("1").expect("id")))
    }

    fn taken(log: &AnswerLog, identity: &str, now: Instant) -> u64 {
        log.of(identity, now).try_lock().expect("free").taken
    }

    #[test]
    fn an_answered_request_is_remembered_for_a_day() {
        let (log, now) = (AnswerLog::default(), Instant::now());
        log.of("a", now).try_lock().expect("free").took(&reply(1), true, &receipt());
        assert_eq!(taken(&log, "a", now + AGE / 2), 1);
        assert_eq!(taken(&log, "b", now), 0);
        assert_eq!(taken(&log, "a", now + AGE), 0);
    }

    #[test]
    fn the_memory_is_bounded_by_count_and_by_bytes_and_forgets_the_oldest() {
        let (log, now) = (AnswerLog::default(), Instant::now());
        for number in 0..REQUESTS + 10 {
            log.of(&number.to_string(), now).try_lock().expect("free").took(&reply(1), true, &receipt());
        }
        assert_eq!(log.lock().entries.len(), REQUESTS);
        assert_eq!((taken(&log, "10", now), taken(&log, &REQUESTS.to_string(), now)), (1, 1));
        let large = log.of("large", now);
        let mut large = large.try_lock().expect("free");
        large.in_doubt = Some(reply(BYTES - 100 * EMPTY));
        log.weigh("large", &large, now);
        let window = log.lock();
        assert!(window.bytes <= BYTES && window.entries.len() < 110 && window.entries.contains_key("large"));
        assert_eq!(window.bytes, window.entries.values().map(|entry| entry.bytes).sum::<usize>());
        assert_eq!(window.order.len(), window.entries.len());
    }

    #[test]
    fn of_very_many_replies_the_first_are_remembered_and_all_are_counted() {
        let mut answers = Answers::default();
        for number in 1..=REPLIES + 5 {
            answers.took(&reply(number), number == REPLIES + 5, &receipt());
        }
        assert_eq!(answers.taken, REPLIES as u64 + 5);
        assert!(answers.known(0).is_none() && answers.known(REPLIES as u64 + 1).is_none());
        assert!(answers.known(REPLIES as u64).expect("remembered").is(&reply(REPLIES)));
        assert!(answers.ended().expect("it ended").is(&reply(REPLIES + 5)));
    }
}
