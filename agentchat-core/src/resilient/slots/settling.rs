//! What readers settle.

use tokio::time::Instant;

use super::Slots;
use crate::error::{Error, ErrorKind, Result};
use crate::id::AckTag;

impl Slots {
    /// Settles what was handed out under `tags`.
    pub(in crate::resilient) fn settle(&mut self, tags: &[AckTag], now: Instant) -> Result<()> {
        let mut touched = None;
        let settled = tags.iter().try_for_each(|tag| {
            // Nearly always all are of one inbox.
            if let Some(number) = touched
                && let Some(slot) = self.open.get_mut(&number)
                && let Some(must_come_again) = slot.inbox.settle_issued(tag, now)
            {
                slot.owes |= must_come_again;
                self.draft(number, tag, now);
                return Ok(());
            }
            let number = self.number(tag)?;
            if touched.is_some_and(|touched| touched != number) {
                self.after_settling(touched, now);
            }
            touched = Some(number);
            // The slot of an inbox that is no longer read is gone, and with it what its tags meant.
            let Some(slot) = self.open.get_mut(&number) else { return Ok(()) };
            slot.owes |= slot.inbox.settle_issued(tag, now).ok_or_else(foreign)?;
            self.draft(number, tag, now);
            Ok(())
        });
        self.after_settling(touched, now);
        settled
    }

    /// What is to be acknowledged now.
    pub(in crate::resilient) fn take_acks(&mut self) -> Vec<AckTag> {
        let mut acks = std::mem::take(&mut self.acks);
        for slot in self.open.values_mut() {
            acks.append(&mut slot.acks);
        }
        acks
    }

    pub(super) fn after_settling(&mut self, number: Option<u64>, now: Instant) {
        if let Some(slot) = number.and_then(|number| self.open.get_mut(&number)) {
            slot.inbox.after_settling(now);
            slot.refill(now);
            slot.pump();
        }
    }

    /// A connection was lost with acknowledgements on their way.
    pub(in crate::resilient) fn owe(&mut self) {
        for slot in self.open.values_mut() {
            slot.owes = true;
        }
    }

    /// Whether messages of the agent's own inbox were settled that will come again. Of other inboxes it does
    /// not matter: they end with what was asked for in them.
    pub(in crate::resilient) fn owes(&self) -> bool {
        self.open.values().any(|slot| slot.own && slot.owes)
    }

    /// Whether what is owed may still be acknowledged: it comes again to an inbox that is read.
    pub(in crate::resilient) fn may_pay(&self) -> bool {
        let is_read = |slot: &super::Slot| slot.reader.as_ref().is_some_and(|reader| !reader.is_over());
        self.open.values().any(|slot| slot.own && slot.owes && is_read(slot))
    }

    /// Which inbox handed `tag` out.
    pub(super) fn number(&self, tag: &AckTag) -> Result<u64> {
        let begins = tag.as_str().split_once('.').and_then(|(hex, _)| u64::from_str_radix(hex, 16).ok());
        let number = begins.map(|begins| begins ^ self.session).filter(|slot| *slot < self.next);
        number.ok_or_else(foreign)
    }
}

pub(super) fn foreign() -> Error {
    Error::new(ErrorKind::Invalid, "ack", "this tag is not from this session")
}
