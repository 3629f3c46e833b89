//! How many messages each conversation of an inbox had.

use std::collections::HashMap;

use crate::id::ConversationId;

/// The counts of the [`REMEMBERED`] conversations used last, and of at most as many more.
///
/// In two generations: what is used moves to the younger one, and when that is full the older one is
/// forgotten. So a message costs no more than looking its conversation up.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    young: HashMap<ConversationId, u64>,
    old: HashMap<ConversationId, u64>,
}

impl Counts {
    /// The number of the next message of `conversation`: 1 for one that is unknown, or was forgotten.
    pub(crate) fn next(&mut self, conversation: &ConversationId) -> u64 {
        if let Some(count) = self.young.get_mut(conversation) {
            *count += 1;
            return *count;
        }
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        let count = self.old.remove(conversation).unwrap_or(0) + 1;
        self.young.insert(conversation.clone(), count);
        count
    }
}

/// Far more than the messages that history shows: of a forgotten conversation there is none left in it.
const REMEMBERED: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConversationId {
        ConversationId::new(number.to_string()).expect("id")
    }

    #[test]
    fn the_conversations_used_last_go_on_counting_and_those_before_are_forgotten() {
        let mut counts = Counts::default();
        assert_eq!((counts.next(&id(0)), counts.next(&id(0)), counts.next(&id(1))), (1, 2, 1));
        for number in 2..REMEMBERED + 1 {
            assert_eq!(counts.next(&id(number)), 1);
        }
        assert_eq!(counts.next(&id(0)), 3, "fewer than that were used since");
        for number in 0..5 * REMEMBERED {
            counts.next(&id(1_000_000 + number));
            assert!(counts.young.len() + counts.old.len() <= 2 * REMEMBERED);
        }
        assert_eq!(counts.next(&id(0)), 1, "it was forgotten");
    }
}
