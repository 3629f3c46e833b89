//! The messages that were taken in and not settled: who has them, what they cost, how they are called.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::iter::once;
use std::sync::Arc;

use super::acks::Wire;
use crate::dedup::Mark;
use crate::delivery::Delivery;
use crate::id::AckTag;
use crate::numbers::{NumberHasher, NumberMap};

#[derive(Debug)]
pub(super) struct Unsettled {
    /// What all of its tags begin with, the dot included.
    prefix: String,
    entries: NumberMap<Entry>,
    /// The numbers of messages that came again while a reader that went away had them, and their new ones.
    renamed: NumberMap<u64>,
    /// By what a message is recognised by.
    by_mark: HashMap<Mark, u64, BuildHasherDefault<NumberHasher>>,
    next: u64,
    held: Load,
    queued: Load,
    handed: Load,
    loose: Load,
}

/// A message in progress.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    /// The text of it, where that is asked for.
    pub(super) identity: Option<Arc<str>>,
    /// What readers that went away call it by, beside its own number.
    former: Vec<u64>,
    /// Its arrivals on the connection of now.
    pub(super) wires: Wires,
    pub(super) place: Place,
    size: usize,
}

/// The arrivals of a message. Nearly always there is one.
#[derive(Debug, Default)]
pub(super) struct Wires {
    first: Option<Wire>,
    more: Vec<Wire>,
}

/// Who has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It waits for rows before it.
    Held,
    /// Its turn has come; nobody fetched it yet.
    Queued,
    /// The reader has it.
    Handed,
    /// A reader that went away has it, and may still settle it. It takes no credit.
    Loose,
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Unsettled {
    pub(super) fn new(session: u64) -> Self {
        Self {
            prefix: format!("{session:016x}."),
            entries: NumberMap::default(),
            renamed: NumberMap::default(),
            by_mark: HashMap::default(),
            next: 0,
            held: Load::default(),
            queued: Load::default(),
            handed: Load::default(),
            loose: Load::default(),
        }
    }

    /// Takes `delivery` in as held, or as `queued`, under a tag of our own: those of the transport may come back
    /// on a later connection for another message, which a reader's old tag must not settle.
    pub(super) fn admit(
        &mut self,
        mark: Mark,
        identity: Option<Arc<str>>,
        delivery: &mut Delivery,
        wire: Wire,
        place: Place,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        delivery.tag = AckTag::below(&self.prefix, number);
        self.by_mark.insert(mark, number);
        let size = delivery.size();
        self.load(place).add(size);
        let wires = Wires { first: Some(wire), more: Vec::new() };
        let entry = Entry { mark, identity, former: Vec::new(), wires, place, size };
        self.entries.insert(number, entry);
        number
    }

    /// Hands the names of `old`, which was number `former` and removed, to `number`: any of them settles it.
    pub(super) fn inherit(&mut self, old: Entry, former: u64, number: u64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            for former in old.former.into_iter().chain(once(former)) {
                self.renamed.insert(former, number);
                entry.former.push(former);
            }
            old.wires.into_iter().for_each(|wire| entry.wires.push(wire));
        }
    }

    pub(super) fn find(&mut self, mark: Mark) -> Option<(u64, &mut Entry)> {
        let number = *self.by_mark.get(&mark)?;
        Some((number, self.entries.get_mut(&number)?))
    }

    pub(super) fn by_handle(&self, handle: &AckTag) -> Option<u64> {
        self.known(self.parse(handle)?)
    }

    /// The number that the message has now which was handed out under this one.
    fn known(&self, number: u64) -> Option<u64> {
        if self.entries.contains_key(&number) {
            return Some(number);
        }
        self.renamed.get(&number).copied()
    }

    pub(super) fn identity(&self, number: u64) -> Option<&Arc<str>> {
        self.entries.get(&number)?.identity.as_ref()
    }

    /// Returns whether there is such a message.
    pub(super) fn move_to(&mut self, number: u64, place: Place) -> bool {
        let Some(entry) = self.entries.get_mut(&number) else { return false };
        let (from, size) = (std::mem::replace(&mut entry.place, place), entry.size);
        self.load(from).remove(size);
        self.load(place).add(size);
        true
    }

    /// [`Unsettled::remove`] of the message that was handed out under this number, whatever it has now.
    pub(super) fn remove_known(&mut self, number: u64) -> Option<Entry> {
        match self.remove(number) {
            Some(entry) => Some(entry),
            None => self.remove(*self.renamed.get(&number)?),
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.load(entry.place).remove(entry.size);
        self.by_mark.remove(&entry.mark);
        for former in &entry.former {
            self.renamed.remove(former);
        }
        Some(entry)
    }

    /// Whether `handle` is one of ours, settled or not.
    #[cfg(test)]
    pub(super) fn issued(&self, handle: &AckTag) -> bool {
        self.parse(handle).is_some()
    }

    /// The number that stands in `handle`, if it may be one of ours.
    pub(super) fn parse(&self, handle: &AckTag) -> Option<u64> {
        handle.number_below(&self.prefix)
    }

    /// The numbers of all messages in `place`, oldest first.
    pub(super) fn all_in(&self, place: Place) -> Vec<u64> {
        let there = self.entries.iter().filter(|(_, entry)| entry.place == place);
        let mut numbers: Vec<u64> = there.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The connection is gone: arrivals on it can no longer be acknowledged.
    pub(super) fn clear_wires(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.wires = Wires::default());
    }

    /// What takes credit.
    pub(super) fn total(&self) -> Load {
        let (messages, bytes) = (self.in_hand(), self.handed.bytes + self.queued.bytes);
        Load { messages: messages + self.held.messages, bytes: bytes + self.held.bytes }
    }

    /// What waits for rows before it.
    pub(super) fn held(&self) -> Load {
        self.held
    }

    /// How many messages the reader has or can fetch: settling them gives credit back.
    pub(super) fn in_hand(&self) -> usize {
        self.handed.messages + self.queued.messages
    }

    fn load(&mut self, place: Place) -> &mut Load {
        match place {
            Place::Held => &mut self.held,
            Place::Queued => &mut self.queued,
            Place::Handed => &mut self.handed,
            Place::Loose => &mut self.loose,
        }
    }
}

impl Wires {
    pub(super) fn push(&mut self, wire: Wire) {
        match self.first {
            None => self.first = Some(wire),
            Some(_) => self.more.push(wire),
        }
    }

    pub(super) fn contains(&self, wire: &Wire) -> bool {
        self.first.iter().chain(&self.more).any(|other| other == wire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl IntoIterator for Wires {
    type Item = Wire;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Wire>, std::vec::IntoIter<Wire>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

impl Load {
    fn add(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size;
    }

    fn remove(&mut self, size: usize) {
        self.messages -= 1;
        self.bytes -= size;
    }
}
