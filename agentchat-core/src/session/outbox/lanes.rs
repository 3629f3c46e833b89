//! One line per conversation; only its first may be sent.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::entry::Ticket;
use crate::id::ConversationId;

/// Who stands in which line. A message without a conversation stands in none and waits for nobody.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<ConversationId, BTreeSet<Ticket>>);

impl Lanes {
    /// Puts `ticket` at the end of its line. Returns whether it is the first.
    pub(super) fn join(&mut self, conversation: Option<&ConversationId>, ticket: Ticket) -> bool {
        let Some(conversation) = conversation else { return true };
        let lane = self.0.entry(conversation.clone()).or_default();
        lane.insert(ticket);
        lane.len() == 1
    }

    /// Whether `ticket` is the first of its line.
    pub(super) fn is_first(&self, conversation: Option<&ConversationId>, ticket: Ticket) -> bool {
        let lane = conversation.and_then(|conversation| self.0.get(conversation));
        lane.is_none_or(|lane| lane.first() == Some(&ticket))
    }

    /// Who stands behind `ticket` in its line, in order.
    pub(super) fn behind(&self, conversation: Option<&ConversationId>, ticket: Ticket) -> Vec<Ticket> {
        let lane = conversation.and_then(|conversation| self.0.get(conversation));
        lane.into_iter().flat_map(|lane| lane.range((Excluded(ticket), Unbounded))).copied().collect()
    }

    /// Takes `ticket` out of its line. Returns who is first now.
    pub(super) fn leave(&mut self, conversation: Option<&ConversationId>, ticket: Ticket) -> Option<Ticket> {
        let lane = self.0.get_mut(conversation?)?;
        lane.remove(&ticket);
        let first = lane.first().copied();
        if first.is_none() {
            self.0.remove(conversation?);
        }
        first
    }
}
