//! What was accepted last, so that a message that is sent again is recognised.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::id::{ClientMsgId, LONGEST_ID};
use crate::numbers::NumberMap;

/// The messages accepted last, by the number of the sender's inbox and the client id.
///
/// The index is by a keyed hash of both, which takes a quarter of the memory that it would take by the id
/// itself: with a full window that is what the time goes for. What the hash finds is compared.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Oldest first.
    entries: VecDeque<Remembered>,
    /// By hash: how many entries there were before it.
    index: NumberMap<u64>,
    forgotten: u64,
    hasher: RandomState,
}

#[derive(Debug)]
struct Remembered {
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

/// Makes [`Key`]s, with the network's own random seed.
#[derive(Debug, Clone)]
pub(crate) struct Keys(RandomState);

/// What a message is looked for by: the hash of its sender and id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(u64);

impl Keys {
    pub(crate) fn of(&self, sender: u64, id: &ClientMsgId) -> Key {
        // In one piece, which hashes in half the time.
        let (id, mut piece) = (id.as_bytes(), [0; 8 + LONGEST_ID]);
        piece[..8].copy_from_slice(&sender.to_ne_bytes());
        piece[8..8 + id.len()].copy_from_slice(id);
        let mut hasher = self.0.build_hasher();
        hasher.write(&piece[..8 + id.len()]);
        Key(hasher.finish())
    }
}

impl Accepted {
    /// Makes keys, also for who has not got the lock.
    pub(crate) fn keys(&self) -> Keys {
        Keys(self.hasher.clone())
    }

    /// The stamp of a message that was accepted before.
    pub(crate) fn find(&self, key: Key, sender: u64, id: &ClientMsgId) -> Option<Stamp> {
        let place = usize::try_from(self.index.get(&key.0)? - self.forgotten).ok()?;
        let entry = self.entries.get(place)?;
        (entry.sender == sender && entry.id == *id).then_some(entry.stamp)
    }

    /// Remembers a message by `stamp`, and forgets the oldest beyond [`REMEMBERED`].
    pub(crate) fn remember(&mut self, key: Key, sender: u64, id: ClientMsgId, stamp: Stamp) {
        self.index.insert(key.0, self.forgotten + self.entries.len() as u64);
        self.entries.push_back(Remembered { hash: key.0, sender, id, stamp });
        if self.entries.len() > REMEMBERED
            && let Some(oldest) = self.entries.pop_front()
        {
            if let Entry::Occupied(known) = self.index.entry(oldest.hash)
                && *known.get() == self.forgotten
            {
                known.remove();
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
        let keys = accepted.keys();
        let find = |accepted: &Accepted, sender, number| {
            accepted.find(keys.of(sender, &id(number)), sender, &id(number))
        };
        for number in 0..REMEMBERED + 10 {
            assert_eq!(find(&accepted, 1, number), None, "it is new");
            accepted.remember(keys.of(1, &id(number)), 1, id(number), stamp(number));
        }
        assert_eq!((accepted.entries.len(), accepted.index.len()), (REMEMBERED, REMEMBERED));
        for number in [10, 11, REMEMBERED, REMEMBERED + 9] {
            assert_eq!(find(&accepted, 1, number), Some(stamp(number)));
            assert_eq!(find(&accepted, 2, number), None, "another sender's id is another id");
        }
        assert_eq!(find(&accepted, 1, 9), None, "the oldest are forgotten");
    }
}
