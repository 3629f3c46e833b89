//! What inboxes keep in the stores: what is handed out, how far conversations are settled, and what was.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{Slot, Slots, Told};
use crate::address::Address;
use crate::capability::{AckGuarantee, Capabilities};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::id::{AckTag, ConversationId};
use crate::resilient::gate::Gate;
use crate::resilient::keeping::Keep;
use crate::resilient::positions::Track;
use crate::resilient::recall::{Recall, Scope};

/// What a slot keeps, where there are stores.
#[derive(Debug)]
pub(super) struct Kept {
    scope: Scope,
    gate: Option<Gate>,
    track: Option<Track>,
    /// The positions of an earlier session, until a first row of the conversation comes.
    next: HashMap<ConversationId, u64>,
}

impl Slots {
    /// There are stores, and this is what they hold.
    pub(in crate::resilient) fn recall(&mut self, recall: Recall) {
        self.recall = recall;
    }

    /// What `slot` has to keep, after it has learned what was kept of its inbox.
    pub(super) fn keep_for(
        &self,
        slot: &mut Slot,
        inbox: &Address,
        capabilities: &Capabilities,
        now: Instant,
    ) -> Option<Box<Kept>> {
        let Recall { remembers, positions, .. } = self.recall;
        // Where nothing comes again there is nothing to flag. Where history cannot be read, a position that
        // lags behind would only report gaps that are none.
        let gate = (remembers && capabilities.ack != AckGuarantee::None).then(Gate::new);
        let track = positions && capabilities.replay && slot.inbox.is_numbered();
        let track = track.then(Track::default);
        if !remembers && track.is_none() {
            return None;
        }
        let scope = Scope::of(inbox);
        let known = self.recall.of(&scope);
        for identity in &known.settled {
            slot.inbox.restore(identity, now);
        }
        slot.inbox.restore_outstanding(known.handed);
        let next = if track.is_some() { known.next } else { HashMap::new() };
        Some(Box::new(Kept { scope, gate, track, next }))
    }

    /// The keys under which the messages of `tags` are to be kept as settled.
    pub(in crate::resilient) fn settled_keys(&self, tags: &[AckTag]) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for tag in tags {
            let Some(slot) = self.open.get(&self.number(tag)?) else { continue };
            if let (Some(kept), Some(identity)) = (&slot.keep, slot.inbox.identity(tag)) {
                keys.push(kept.scope.settled(identity));
            }
        }
        Ok(keys)
    }

    /// What to write now; with `hurry` also what could wait.
    pub(in crate::resilient) fn poll_keep(&mut self, now: Instant, hurry: bool) -> Option<Keep> {
        if !self.keeps() {
            return None;
        }
        if let Some(batch) = self.drafts.poll(now, hurry) {
            return Some(Keep::Positions(batch));
        }
        self.open.iter_mut().find_map(|(number, slot)| {
            let Kept { scope, gate, .. } = slot.keep.as_deref_mut()?;
            let (round, keys) = gate.as_mut()?.poll(scope, now)?;
            Some(Keep::Handed { slot: *number, round, keys })
        })
    }

    /// A note of what is handed out was made, or not.
    pub(in crate::resilient) fn on_handed(
        &mut self,
        number: u64,
        round: u64,
        result: Result<()>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let Some(slot) = self.open.get_mut(&number) else { return };
        let Some(gate) = slot.keep.as_mut().and_then(|kept| kept.gate.as_mut()) else { return };
        match gate.on_noted(round, result, now, rng) {
            Ok(passed) => passed.into_iter().for_each(|event| slot.hand(event.into())),
            Err(error) => slot.finish(error),
        }
    }

    pub(in crate::resilient) fn on_positions(
        &mut self,
        results: Vec<(String, u64, Result<()>)>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        self.drafts.on_written(results, now, rng);
    }

    /// Whether every position is written.
    pub(in crate::resilient) fn has_kept_positions(&self) -> bool {
        self.drafts.is_idle()
    }

    fn keeps(&self) -> bool {
        self.recall.remembers || self.recall.positions
    }

    /// What was handed out under `tag` is settled.
    pub(super) fn draft(&mut self, number: u64, tag: &AckTag, now: Instant) {
        if !self.recall.positions {
            return;
        }
        let Some(slot) = self.open.get_mut(&number) else { return };
        let Some(kept) = slot.keep.as_deref_mut() else { return };
        let Some((conversation, first)) = kept.track.as_mut().and_then(|track| track.settled(tag)) else {
            return;
        };
        if let Some(next) = first.or_else(|| slot.inbox.due(&conversation)) {
            self.drafts.put(kept.scope.position(&conversation), next, now);
        }
    }

    pub(super) fn keep_deadline(&self) -> Option<Instant> {
        if !self.keeps() {
            return None;
        }
        let gates = self.open.values().filter_map(|slot| slot.keep.as_ref()?.gate.as_ref()?.deadline());
        gates.chain(self.drafts.deadline()).min()
    }
}

impl Slot {
    /// A first row of a conversation that an earlier session knew goes on from where that one was.
    pub(super) fn resume(&mut self, delivery: &Delivery, now: Instant) {
        if let (Some(kept), Some(conversation)) = (self.keep.as_deref_mut(), &delivery.conversation)
            && let Some(next) = kept.next.remove(conversation)
        {
            self.inbox.resume(conversation, next, now);
        }
    }

    /// A message is handed out in its turn.
    pub(super) fn track(&mut self, delivery: &Delivery) {
        if let Some(track) = self.keep.as_deref_mut().and_then(|kept| kept.track.as_mut())
            && let (Some(conversation), Some(seq)) = (&delivery.conversation, delivery.seq)
        {
            track.handed(&delivery.tag, conversation, seq);
        }
    }

    /// Keeps an event back until it is noted that it is handed out. Gives back one that need not wait.
    pub(super) fn hold(&mut self, told: Told) -> Option<Told> {
        match self.keep.as_deref_mut().and_then(|kept| kept.gate.as_mut()) {
            Some(gate) => gate.push(told.into()).map(Told::from),
            None => Some(told),
        }
    }

    /// How many events are kept back.
    pub(super) fn held_back(&self) -> usize {
        self.keep.as_ref().and_then(|kept| kept.gate.as_ref()).map_or(0, Gate::len)
    }

    /// The reader went away.
    pub(super) fn forget_handed(&mut self) {
        if let Some(kept) = self.keep.as_deref_mut() {
            kept.gate.iter_mut().for_each(Gate::clear);
            kept.track.iter_mut().for_each(|track| *track = Track::default());
        }
    }
}
