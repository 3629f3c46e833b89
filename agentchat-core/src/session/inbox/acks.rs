//! Which tags may be acknowledged: never more than what is settled.

use std::collections::{HashSet, VecDeque};

use super::limits::AckStyle;
use crate::id::AckTag;

/// The arrivals of one connection, and the tags that may be acknowledged at last.
#[derive(Debug)]
pub(crate) struct AckLog {
    style: AckStyle,
    /// With [`AckStyle::Prefix`]: in arrival order, from the first that is not settled.
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    front: u64,
    /// With [`AckStyle::Prefix`]: the rows read from history that are not settled.
    reads: HashSet<u64>,
    next_read: u64,
    /// With [`AckStyle::PerMessage`]: how many arrivals are not settled.
    single: usize,
    ready: Vec<AckTag>,
}

/// An arrival, for [`AckLog::settle`]. It is worth nothing after [`AckLog::reset`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Tag(AckTag),
    Slot(u64),
    Read(u64),
}

#[derive(Debug)]
struct Slot {
    tag: AckTag,
    settled: bool,
}

impl AckLog {
    pub(crate) fn new(style: AckStyle) -> Self {
        Self {
            style,
            slots: VecDeque::new(),
            front: 0,
            reads: HashSet::new(),
            next_read: 0,
            single: 0,
            ready: Vec::new(),
        }
    }

    /// Notes an arrival on the subscription.
    pub(crate) fn arrived(&mut self, tag: AckTag) -> Wire {
        match self.style {
            AckStyle::PerMessage => {
                self.single += 1;
                Wire::Tag(tag)
            }
            AckStyle::Prefix => {
                self.slots.push_back(Slot { tag, settled: false });
                Wire::Slot(self.front + self.slots.len() as u64 - 1)
            }
        }
    }

    /// Notes a row read from history.
    pub(crate) fn read(&mut self, tag: AckTag) -> Wire {
        match self.style {
            AckStyle::PerMessage => self.arrived(tag),
            AckStyle::Prefix => {
                self.reads.insert(self.next_read);
                self.next_read += 1;
                Wire::Read(self.next_read - 1)
            }
        }
    }

    /// Settles the arrival of a message again that was settled before: perhaps under a tag that is ready.
    pub(crate) fn settle_again(&mut self, wire: Wire) {
        match wire {
            Wire::Tag(tag) if self.ready.contains(&tag) => self.single -= 1,
            wire => self.settle(wire),
        }
    }

    pub(crate) fn settle(&mut self, wire: Wire) {
        match wire {
            Wire::Tag(tag) => {
                self.single -= 1;
                self.ready.push(tag);
            }
            Wire::Slot(number) => {
                let place = number.checked_sub(self.front).and_then(|at| usize::try_from(at).ok());
                if let Some(slot) = place.and_then(|at| self.slots.get_mut(at)) {
                    slot.settled = true;
                }
                self.advance();
            }
            Wire::Read(number) => {
                self.reads.remove(&number);
                self.advance();
            }
        }
    }

    /// Forgets an arrival without settling it, where nothing waits behind it.
    pub(crate) fn drop_wire(&mut self, wire: &Wire) {
        if matches!(wire, Wire::Tag(_)) {
            self.single -= 1;
        }
    }

    /// The tags to acknowledge.
    pub(crate) fn take(&mut self) -> Vec<AckTag> {
        std::mem::take(&mut self.ready)
    }

    /// With [`AckStyle::Prefix`]: how many settled arrivals wait for one before them.
    pub(crate) fn settled(&self) -> usize {
        self.slots.iter().filter(|slot| slot.settled).count()
    }

    /// How many arrivals are remembered, settled or not.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() + self.reads.len() + self.single + self.ready.len()
    }

    /// The connection is gone, and its tags with it: what is not acknowledged comes again under new ones.
    pub(crate) fn reset(&mut self) {
        self.front += self.slots.len() as u64;
        self.slots.clear();
        self.reads.clear();
        self.ready.clear();
        self.single = 0;
    }

    /// Which slot a row of history should have had is not known, so it holds up all of them.
    fn advance(&mut self) {
        while self.reads.is_empty() && self.slots.front().is_some_and(|slot| slot.settled) {
            self.front += 1;
            self.ready.extend(self.slots.pop_front().map(|slot| slot.tag));
        }
    }
}
