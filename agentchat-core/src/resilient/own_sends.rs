//! The numbers the network gave to what this session sent lately.

use std::collections::VecDeque;

use crate::id::ConversationId;

/// Kept for readers that come later: what was sent before they began is not missing.
#[derive(Debug, Default)]
pub(super) struct OwnSends(VecDeque<(ConversationId, u64)>);

impl OwnSends {
    pub(super) fn note(&mut self, conversation: &ConversationId, seq: u64) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((conversation.clone(), seq));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(ConversationId, u64)> {
        self.0.iter()
    }
}

/// How many are kept. What is older, history tells.
const KEPT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let conversation = ConversationId::new("c").expect("id");
        let mut sends = OwnSends::default();
        (1..=3_000).for_each(|seq| sends.note(&conversation, seq));
        assert!(sends.iter().map(|(_, seq)| *seq).eq(1_977..=3_000));
    }
}
