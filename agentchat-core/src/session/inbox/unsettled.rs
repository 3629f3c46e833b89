//! The messages that were taken in and not settled: who has them, what they cost, how they are called.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::acks::Wire;
use crate::delivery::Delivery;
use crate::id::AckTag;

#[derive(Debug)]
pub(super) struct Unsettled {
    session: u64,
    entries: BTreeMap<u64, Entry>,
    by_handle: HashMap<AckTag, u64>,
    by_identity: HashMap<Arc<str>, u64>,
    next: u64,
    held: Load,
    queued: Load,
    handed: Load,
    loose: Load,
}

/// A message in progress.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<str>,
    /// What readers call it by: the tag it is handed out under, and those of readers that went away.
    handles: Vec<AckTag>,
    /// Its arrivals on the connection of now.
    pub(super) wires: Vec<Wire>,
    pub(super) place: Place,
    size: usize,
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
            session,
            entries: BTreeMap::new(),
            by_handle: HashMap::new(),
            by_identity: HashMap::new(),
            next: 0,
            held: Load::default(),
            queued: Load::default(),
            handed: Load::default(),
            loose: Load::default(),
        }
    }

    /// Takes `delivery` in as held, under a tag of our own: those of the transport may come back on a later
    /// connection for another message, which a reader's old tag must not settle.
    pub(super) fn admit(&mut self, identity: Arc<str>, delivery: &mut Delivery, wires: Vec<Wire>) -> u64 {
        let number = self.next;
        self.next += 1;
        let handle = format!("{}{number}", prefix(self.session));
        delivery.tag = AckTag::new(handle).expect("digits and a dot are visible ASCII");
        self.by_handle.insert(delivery.tag.clone(), number);
        self.by_identity.insert(Arc::clone(&identity), number);
        let size = delivery.size();
        self.held.add(size);
        let handles = vec![delivery.tag.clone()];
        self.entries.insert(number, Entry { identity, handles, wires, place: Place::Held, size });
        number
    }

    /// Hands the names of `old`, which was removed, to `number`: either of them settles it.
    pub(super) fn inherit(&mut self, old: Entry, number: u64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            for handle in old.handles {
                self.by_handle.insert(handle.clone(), number);
                entry.handles.push(handle);
            }
            entry.wires.extend(old.wires);
        }
    }

    pub(super) fn find(&mut self, identity: &str) -> Option<(u64, &mut Entry)> {
        let number = *self.by_identity.get(identity)?;
        Some((number, self.entries.get_mut(&number)?))
    }

    /// Whether message `number` arrived on the connection of now.
    pub(super) fn arrived(&self, number: u64) -> bool {
        self.entries.get(&number).is_some_and(|entry| !entry.wires.is_empty())
    }

    pub(super) fn by_handle(&self, handle: &AckTag) -> Option<u64> {
        self.by_handle.get(handle).copied()
    }

    pub(super) fn identity(&self, number: u64) -> Option<&Arc<str>> {
        self.entries.get(&number).map(|entry| &entry.identity)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.entries.contains_key(&number)
    }

    pub(super) fn move_to(&mut self, number: u64, place: Place) {
        if let Some(entry) = self.entries.get_mut(&number) {
            let (from, size) = (std::mem::replace(&mut entry.place, place), entry.size);
            self.load(from).remove(size);
            self.load(place).add(size);
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.load(entry.place).remove(entry.size);
        self.by_identity.remove(&entry.identity);
        for handle in &entry.handles {
            self.by_handle.remove(handle);
        }
        Some(entry)
    }

    /// Whether `handle` is one of ours, settled or not.
    pub(super) fn issued(&self, handle: &AckTag) -> bool {
        handle.as_str().starts_with(&prefix(self.session))
    }

    /// The numbers of all messages in `place`, oldest first.
    pub(super) fn all_in(&self, place: Place) -> Vec<u64> {
        self.entries.iter().filter(|(_, entry)| entry.place == place).map(|(number, _)| *number).collect()
    }

    /// The connection is gone: arrivals on it can no longer be acknowledged.
    pub(super) fn clear_wires(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.wires.clear());
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

fn prefix(session: u64) -> String {
    format!("{session:016x}.")
}
