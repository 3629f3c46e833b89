//! Which settled deliveries may be acknowledged now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::capability::{AckGuarantee, Capabilities};
use crate::id::AckTag;
use crate::session::inbox::{AckLog, AckStyle, Wire};

/// Holds settled tags back where acknowledging moves a cursor and nobody below sees to the order: there a
/// tag waits until everything that arrived before it is settled.
#[derive(Debug)]
pub(crate) struct Settled {
    prefix: Option<Prefix>,
}

/// The same for one subscription that several tasks settle deliveries of.
#[derive(Debug, Clone)]
pub(crate) struct SharedSettled(Arc<Mutex<Settled>>);

#[derive(Debug)]
struct Prefix {
    log: AckLog,
    /// Where the arrivals of each tag stand.
    arrivals: HashMap<AckTag, Vec<Wire>>,
}

impl Settled {
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        let cursor = capabilities.ack == AckGuarantee::Cumulative && !capabilities.reconnects;
        let prefix = || Prefix { log: AckLog::new(AckStyle::Prefix), arrivals: HashMap::new() };
        Self { prefix: cursor.then(prefix) }
    }

    /// Notes an arrival.
    pub(crate) fn arrived(&mut self, tag: &AckTag) {
        if let Some(prefix) = &mut self.prefix {
            let wire = prefix.log.arrived(tag.clone());
            prefix.arrivals.entry(tag.clone()).or_default().push(wire);
        }
    }

    /// These are settled. Returns what may be acknowledged now.
    pub(crate) fn settle(&mut self, tags: Vec<AckTag>) -> Vec<AckTag> {
        let Some(prefix) = &mut self.prefix else { return tags };
        for tag in tags {
            for wire in prefix.arrivals.remove(&tag).into_iter().flatten() {
                prefix.log.settle(wire);
            }
        }
        prefix.log.take()
    }

    /// How many settled deliveries wait for one before them.
    pub(crate) fn held_back(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.log.settled())
    }
}

impl SharedSettled {
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        Self(Arc::new(Mutex::new(Settled::new(capabilities))))
    }

    pub(crate) fn arrived(&self, tag: &AckTag) {
        self.lock().arrived(tag);
    }

    pub(crate) fn settle(&self, tags: Vec<AckTag>) -> Vec<AckTag> {
        self.lock().settle(tags)
    }

    pub(crate) fn held_back(&self) -> usize {
        self.lock().held_back()
    }

    fn lock(&self) -> MutexGuard<'_, Settled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(numbers: impl IntoIterator<Item = u8>) -> Vec<AckTag> {
        numbers.into_iter().map(|number| AckTag::new(number.to_string()).expect("tag")).collect()
    }

    fn settled(ack: AckGuarantee, reconnects: bool) -> Settled {
        let mut able = Capabilities::none(&["x"]);
        (able.ack, able.reconnects) = (ack, reconnects);
        let mut settled = Settled::new(&able);
        tags(1..=4).iter().for_each(|tag| settled.arrived(tag));
        settled
    }

    #[test]
    fn a_cursor_is_moved_over_what_is_settled_and_no_further() {
        let mut settled = settled(AckGuarantee::Cumulative, false);
        assert_eq!((settled.settle(tags([3, 2])), settled.held_back()), (vec![], 2));
        assert_eq!((settled.settle(tags([1])), settled.held_back()), (tags([1, 2, 3]), 0));
        settled.arrived(&tags([4])[0]);
        assert_eq!(settled.settle(tags([4])), tags([4, 4]), "a row that came twice counts twice");
    }

    #[test]
    fn nothing_is_held_back_where_somebody_below_or_the_network_sees_to_it() {
        for (ack, reconnects) in [(AckGuarantee::Redelivers, false), (AckGuarantee::Cumulative, true)] {
            let mut settled = settled(ack, reconnects);
            assert_eq!((settled.settle(tags([3])), settled.held_back()), (tags([3]), 0));
        }
    }
}
