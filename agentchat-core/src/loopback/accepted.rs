//! What was accepted last, so that a message that is sent again is recognised.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use crate::id::ClientMsgId;
use crate::numbers::NumberMap;

/// The messages accepted last, by the number of the sender's inbox and the client id.
///
/// The index is by a keyed hash of both, which takes a quarter of the memory that it would take by the id
/// itself: with a full window that is what the time goes for. What the hash finds is compared.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// By hash: how many entries there were before it.
    index: NumberMap<u64>,
    forgotten: u64,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    sender: u64,
    id: ClientMsgId,
    stamp: Stamp,
}

/// What an accepted message is known by: its row, and its number as the sender counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) row: u64,
    pub(crate) seq: Option<u64>,
}

/// The hash of a message that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(u64);

impl Accepted {
    /// The stamp of a message that was accepted before; else the key to remember it by.
    pub(crate) fn find(&self, sender: u64, id: &ClientMsgId) -> Result<Stamp, Key> {
        let key = self.hasher.hash_one((sender, id));
        let number = self.index.get(&key).ok_or(Key(key))?;
        let place = usize::try_from(number - self.forgotten).map_err(|_| Key(key))?;
        match self.entries.get(place) {
            Some(entry) if entry.sender == sender && entry.id == *id => Ok(entry.stamp),
            _ => Err(Key(key)),
        }
    }

    /// Remembers a message by `stamp`, and forgets the oldest beyond [`REMEMBERED`].
    pub(crate) fn remember(&mut self, key: Key, sender: u64, id: ClientMsgId, stamp: Stamp) {
        self.index.insert(key.0, self.forgotten + self.entries.len() as u64);
        self.entries.push_back(Entry { hash: key.0, sender, id, stamp });
        if self.entries.len() > REMEMBERED
            && let Some(oldest) = self.entries.pop_front()
        {
            if self.index.get(&oldest.hash) == Some(&self.forgotten) {
                self.index.remove(&oldest.hash);
            }
            self.forgotten += 1;
        }
    }
}

/// How many accepted messages are remembered.
const REMEMBERED: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_of_each_sender_are_known_and_no_others() {
        let mut accepted = Accepted::default();
        let id = |number: usize| ClientMsgId::new(number.to_string()).expect("id");
        let stamp = |number: usize| Stamp { row: number as u64, seq: None };
        for number in 0..REMEMBERED + 10 {
            let key = accepted.find(1, &id(number)).expect_err("it is new");
            accepted.remember(key, 1, id(number), stamp(number));
        }
        assert_eq!((accepted.entries.len(), accepted.index.len()), (REMEMBERED, REMEMBERED));
        for number in [10, 11, REMEMBERED, REMEMBERED + 9] {
            assert_eq!(accepted.find(1, &id(number)).ok(), Some(stamp(number)));
            assert!(accepted.find(2, &id(number)).is_err(), "another sender's id is another id");
        }
        assert!(accepted.find(1, &id(9)).is_err(), "the oldest are forgotten");
    }
}
