//! How far each conversation is settled, and telling the store now and then.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::after;
use crate::error::{ErrorKind, Result};
use crate::id::{AckTag, ConversationId};
use crate::session::backoff::{Backoff, BackoffPolicy};
use crate::store::Cursor;

/// The numbered messages of one inbox that were handed out and not settled.
#[derive(Debug, Default)]
pub(super) struct Track {
    by_tag: HashMap<AckTag, (ConversationId, u64, u64)>,
    open: HashMap<ConversationId, BTreeSet<(u64, u64)>>,
    count: u64,
}

/// Positions that are to be written. The last one of a conversation counts.
#[derive(Debug)]
pub(super) struct Drafts {
    changed: HashMap<String, u64>,
    /// When the oldest change is written at the latest.
    due: Option<Instant>,
    under_way: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    refused: bool,
}

impl Track {
    /// Row `seq` is handed out under `tag`, in its turn.
    pub(super) fn handed(&mut self, tag: &AckTag, conversation: &ConversationId, seq: u64) {
        // Two rows may carry the same number, and both are messages.
        self.count += 1;
        self.by_tag.insert(tag.clone(), (conversation.clone(), seq, self.count));
        self.open.entry(conversation.clone()).or_default().insert((seq, self.count));
    }

    /// What was handed out under `tag` is settled. Gives the conversation, and the first of its numbers that
    /// is not settled; that is `None` when everything is that was handed out.
    pub(super) fn settled(&mut self, tag: &AckTag) -> Option<(ConversationId, Option<u64>)> {
        let (conversation, seq, count) = self.by_tag.remove(tag)?;
        let open = self.open.get_mut(&conversation)?;
        open.remove(&(seq, count));
        let first = open.first().map(|(seq, _)| *seq);
        if first.is_none() {
            self.open.remove(&conversation);
        }
        Some((conversation, first))
    }
}

impl Drafts {
    pub(super) fn new() -> Self {
        Self {
            changed: HashMap::new(),
            due: None,
            under_way: false,
            not_before: None,
            backoff: Backoff::new(PACE),
            refused: false,
        }
    }

    /// `next` is the first number not settled under `key`.
    pub(super) fn put(&mut self, key: String, next: u64, now: Instant) {
        if let Some(known) = self.changed.get_mut(&key) {
            *known = next.max(*known);
        } else if self.changed.len() < MOST {
            self.changed.insert(key, next);
        }
        self.due.get_or_insert_with(|| after(now, LAZY));
    }

    /// What to write now; with `hurry` also what could wait.
    pub(super) fn poll(&mut self, now: Instant, hurry: bool) -> Option<Vec<(String, u64)>> {
        let due = self.due.is_some_and(|at| hurry || at <= now) && self.not_before.is_none_or(|at| at <= now);
        if self.under_way || !due {
            return None;
        }
        let keys: Vec<String> = self.changed.keys().take(BATCH).cloned().collect();
        let batch = keys.into_iter().filter_map(|key| self.changed.remove_entry(&key)).collect();
        self.due = (!self.changed.is_empty()).then_some(now);
        (self.under_way, self.not_before) = (true, None);
        Some(batch)
    }

    /// What has come of each.
    pub(super) fn on_written(
        &mut self,
        results: Vec<(String, u64, Result<()>)>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        self.under_way = false;
        let mut again = None;
        for (key, next, result) in results {
            let Err(error) = result else { continue };
            if error.kind() == ErrorKind::Backpressure || !error.is_retryable() {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!(
                        name: "cursor.refused", error_kind = error.kind().as_str(), %error,
                        "positions are not kept"
                    );
                }
                continue;
            }
            self.put(key, next, now);
            again = again.or_else(|| self.backoff.failed(now, error.advice(), rng));
        }
        self.not_before = again;
        if again.is_none() {
            self.backoff = Backoff::new(PACE);
        }
    }

    /// Whether nothing is left to write.
    pub(super) fn is_idle(&self) -> bool {
        self.changed.is_empty() && !self.under_way
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.due.filter(|_| !self.under_way)?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }
}

/// How a position is kept.
pub(super) fn cursor(next: u64) -> Cursor {
    Cursor::new(next.to_string())
}

/// How long a position may wait for later ones of its conversation.
const LAZY: Duration = Duration::from_millis(200);
/// How many are written at once.
const BATCH: usize = 256;
/// How many may wait; a conversation beyond them is written when it goes on.
const MOST: usize = 10_000;
const PACE: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(50),
    factor: 2.0,
    cap: Duration::from_secs(5),
    jitter: 0.25,
    max_attempts: None,
    stable_after: Duration::MAX,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn id(text: &str) -> ConversationId {
        ConversationId::new(text).expect("valid")
    }

    fn tag(number: u64) -> AckTag {
        AckTag::new(number.to_string()).expect("valid")
    }

    #[test]
    fn a_position_passes_only_what_is_settled() {
        let mut track = Track::default();
        for (number, seq) in [(1, 5), (2, 6), (3, 6), (4, 9)] {
            track.handed(&tag(number), &id("a"), seq);
        }
        track.handed(&tag(5), &id("b"), 1);
        let firsts: Vec<_> = [2, 1, 1, 3, 4].map(|number| track.settled(&tag(number))).into();
        let a = |first| Some((id("a"), first));
        assert_eq!(firsts, [a(Some(5)), a(Some(6)), None, a(Some(9)), a(None)]);
        assert_eq!(track.settled(&tag(5)), Some((id("b"), None)));
        assert!(track.by_tag.is_empty() && track.open.is_empty());
    }

    #[test]
    fn positions_wait_a_little_and_the_last_one_is_written() {
        let (mut drafts, now) = (Drafts::new(), Instant::now());
        let mut rng = fastrand::Rng::with_seed(1);
        drafts.put("k".to_owned(), 3, now);
        drafts.put("k".to_owned(), 2, now);
        assert_eq!((drafts.poll(now, false), drafts.deadline()), (None, Some(now + LAZY)));
        let later = now + LAZY;
        assert_eq!(drafts.poll(later, false), Some(vec![("k".to_owned(), 3)]));
        assert!(!drafts.is_idle() && drafts.deadline().is_none() && drafts.poll(later, true).is_none());
        drafts.put("k".to_owned(), 4, later);
        let failed = Error::new(ErrorKind::Unexpected, "cursor.set", "").with_advice(crate::Advice::Backoff);
        drafts.on_written(vec![("k".to_owned(), 3, Err(failed))], later, &mut rng);
        let again = drafts.deadline().expect("it is written again");
        assert!(again > later && drafts.poll(later, true).is_none(), "not at once");
        assert_eq!(drafts.poll(again, true), Some(vec![("k".to_owned(), 4)]), "the older one is not");
        let full = Error::new(ErrorKind::Backpressure, "cursor.set", "");
        drafts.on_written(vec![("k".to_owned(), 4, Err(full))], again, &mut rng);
        assert!(drafts.is_idle(), "a full store is not asked for ever");
    }
}
