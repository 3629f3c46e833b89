//! What was promised, and what has come of it.

use std::collections::HashSet;

use super::*;

#[derive(Default)]
pub(super) struct Ledger {
    /// Left to the outbox: detached, parked, or from an earlier process.
    pub(super) owned: HashSet<ClientMsgId>,
    pub(super) accepted: HashSet<ClientMsgId>,
    pub(super) discarded: HashSet<ClientMsgId>,
    /// Their own failure was told to somebody.
    failed: HashSet<ClientMsgId>,
    /// Handed in behind a message before its failure was told: they need a word.
    barred: HashSet<ClientMsgId>,
    /// What is in the outbox or waits for room, in the order it was handed in.
    order: Vec<(Option<ConversationId>, ClientMsgId)>,
}

impl Ledger {
    /// About to be handed in.
    pub(super) fn handed_in(&mut self, sends: &Sends, message: &Outbound) {
        let (id, of) = (&message.client_msg_id, message.conversation.as_ref());
        if sends.outbox.pending().any(|p| p.message.client_msg_id == *id && p.state == State::Parked) {
            self.word_given(of);
        }
        if !is_there(sends, id) {
            for ended in [&mut self.owned, &mut self.accepted, &mut self.discarded, &mut self.failed] {
                ended.remove(id);
            }
            self.barred.remove(id);
            self.order.push((of.cloned(), id.clone()));
        }
    }

    /// The caller has decided about what was parked.
    pub(super) fn word_given(&mut self, of: Option<&ConversationId>) {
        let free: Vec<_> = self.order.iter().filter(|(other, _)| other.as_ref() == of).collect();
        for (_, id) in free {
            self.barred.remove(id);
        }
    }

    /// Another process has these, in order.
    pub(super) fn begun_anew<'a>(&mut self, held: impl Iterator<Item = &'a Outbound>) {
        self.order = held.map(|m| (m.conversation.clone(), m.client_msg_id.clone())).collect();
        self.owned = self.order.iter().map(|(_, id)| id.clone()).collect();
        // One whose answer the store had not heard of goes out again.
        for (_, id) in &self.order {
            for ended in [&mut self.accepted, &mut self.discarded, &mut self.failed, &mut self.barred] {
                ended.remove(id);
            }
        }
    }

    /// An attempt of it begins.
    pub(super) fn started(&self, sends: &Sends, message: &Outbound) {
        let (id, of) = (&message.client_msg_id, &message.conversation);
        assert!(!self.barred.contains(id), "it overtakes one that failed, and nobody said so");
        let earlier = self.order.iter().take_while(|(_, other)| other != id);
        let mut lane = earlier.filter(|(other, _)| of.is_some() && other == of);
        assert!(!lane.any(|(_, other)| is_there(sends, other)), "it overtakes one that is there");
    }

    pub(super) fn told(&mut self, sends: &Sends, told: Vec<(ClientMsgId, Result<Receipt>)>) {
        for (id, outcome) in told {
            let Err(error) = outcome else {
                assert!(self.accepted.contains(&id), "nobody accepted it");
                continue;
            };
            let there = is_there(sends, &id);
            assert!(error.reached() != Reached::No || !there, "it may still be sent: {error}");
            if error.to_string().contains(FINAL) || error.kind() == ErrorKind::Disconnected {
                self.failed.insert(id.clone());
            }
            if !there {
                self.bar_behind(&id);
            }
        }
        // One with waiters is parked only until they are told.
        let parked = sends.outbox.pending().filter(|pending| pending.state == State::Parked);
        for pending in parked.filter(|pending| !sends.waiters.contains_key(&pending.ticket)) {
            self.owned.insert(pending.message.client_msg_id.clone());
        }
        for id in self.owned.iter().filter(|id| !is_there(sends, id)) {
            let ended = [&self.accepted, &self.discarded, &self.failed];
            assert!(ended.iter().any(|ended| ended.contains(id)), "it was left to the outbox, and is lost");
        }
        self.order.retain(|(_, id)| is_there(sends, id));
    }

    fn bar_behind(&mut self, id: &ClientMsgId) {
        let Some(at) = self.order.iter().position(|(_, other)| other == id) else { return };
        let of = self.order[at].0.clone();
        let behind = self.order[at + 1..].iter().filter(|(other, _)| of.is_some() && *other == of);
        self.barred.extend(behind.map(|(_, id)| id.clone()));
    }
}

/// In the outbox, or waiting for room.
fn is_there(sends: &Sends, id: &ClientMsgId) -> bool {
    sends.outbox.knows(id) || sends.queue.iter().any(|(message, _)| message.client_msg_id == *id)
}
