//! Which tags may be acknowledged: never more than what is settled.

use std::collections::VecDeque;

use super::limits::AckStyle;
use crate::id::AckTag;

/// The arrivals of one connection, and the tags that may be acknowledged at last.
#[derive(Debug)]
pub(super) struct AckLog {
    style: AckStyle,
    /// With [`AckStyle::Prefix`]: in arrival order, from the first that is not settled.
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    front: u64,
    /// With [`AckStyle::PerMessage`]: how many arrivals are not settled.
    single: usize,
    ready: Vec<AckTag>,
}

/// An arrival, for [`AckLog::settle`]. It is worth nothing after [`AckLog::reset`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Tag(AckTag),
    Slot(u64),
}

#[derive(Debug)]
struct Slot {
    tag: AckTag,
    settled: bool,
}

impl AckLog {
    pub(super) fn new(style: AckStyle) -> Self {
        Self { style, slots: VecDeque::new(), front: 0, single: 0, ready: Vec::new() }
    }

    /// Notes an arrival on the subscription.
    pub(super) fn arrived(&mut self, tag: AckTag) -> Wire {
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
    pub(super) fn read(&mut self, tag: AckTag) -> Option<Wire> {
        (self.style == AckStyle::PerMessage).then(|| self.arrived(tag))
    }

    pub(super) fn settle(&mut self, wire: Wire) {
        match wire {
            Wire::Tag(tag) => {
                self.single -= 1;
                if !self.ready.contains(&tag) {
                    self.ready.push(tag);
                }
            }
            Wire::Slot(number) => {
                let place = number.checked_sub(self.front).and_then(|at| usize::try_from(at).ok());
                if let Some(slot) = place.and_then(|at| self.slots.get_mut(at)) {
                    slot.settled = true;
                }
                while self.slots.front().is_some_and(|slot| slot.settled) {
                    self.front += 1;
                    self.ready.extend(self.slots.pop_front().map(|slot| slot.tag));
                }
            }
        }
    }

    /// Forgets an arrival without settling it, where nothing waits behind it.
    pub(super) fn drop_wire(&mut self, wire: &Wire) {
        if matches!(wire, Wire::Tag(_)) {
            self.single -= 1;
        }
    }

    /// The tags to acknowledge.
    pub(super) fn take(&mut self) -> Vec<AckTag> {
        std::mem::take(&mut self.ready)
    }

    /// How many arrivals are remembered, settled or not.
    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.single + self.ready.len()
    }

    /// The connection is gone, and its tags with it: what is not acknowledged comes again under new ones.
    pub(super) fn reset(&mut self) {
        self.front += self.slots.len() as u64;
        self.slots.clear();
        self.ready.clear();
        self.single = 0;
    }
}
