//! The conversations that are remembered, by how recently they were used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::line::Line;
use crate::id::ConversationId;

#[derive(Debug)]
pub(super) struct Lines<T> {
    /// Both maps share an id's text: held in place it would be there twice.
    slots: HashMap<Arc<str>, Slot<T>>,
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
}

#[derive(Debug)]
struct Slot<T> {
    used: u64,
    line: Line<T>,
}

impl<T> Lines<T> {
    pub(super) fn new() -> Self {
        Self { slots: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn contains(&self, conversation: &ConversationId) -> bool {
        self.slots.contains_key(conversation.as_str())
    }

    pub(super) fn get(&self, conversation: &ConversationId) -> Option<&Line<T>> {
        self.slots.get(conversation.as_str()).map(|slot| &slot.line)
    }

    pub(super) fn get_mut(&mut self, conversation: &ConversationId) -> Option<&mut Line<T>> {
        self.slots.get_mut(conversation.as_str()).map(|slot| &mut slot.line)
    }

    /// The line of `conversation`, a new one if it is unknown, as the most recently used.
    pub(super) fn touch(&mut self, conversation: &ConversationId) -> &mut Line<T> {
        self.uses += 1;
        let known = self.slots.get(conversation.as_str()).and_then(|slot| self.by_use.remove(&slot.used));
        let id = known.unwrap_or_else(|| conversation.as_str().into());
        self.by_use.insert(self.uses, Arc::clone(&id));
        let slot = self.slots.entry(id).or_insert_with(|| Slot { used: 0, line: Line::new() });
        slot.used = self.uses;
        &mut slot.line
    }

    /// Takes out the least recently used. A line that holds rows counts as used now, for `holding` of them.
    pub(super) fn pop_least_used(&mut self, mut holding: usize) -> Option<(ConversationId, Line<T>)> {
        loop {
            let (_, id) = self.by_use.pop_first()?;
            let slot = self.slots.get_mut(&id)?;
            if holding == 0 || slot.line.held() == 0 {
                let line = self.slots.remove(&id)?.line;
                return Some((ConversationId::format(format_args!("{id}")), line));
            }
            holding -= 1;
            self.uses += 1;
            slot.used = self.uses;
            self.by_use.insert(self.uses, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ConversationId {
        ConversationId::new(number.to_string()).expect("id")
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lines: Lines<()> = Lines::new();
        for number in [1, 2, 3, 1] {
            lines.touch(&id(number));
        }
        let mut order = Vec::new();
        while let Some((id, _)) = lines.pop_least_used(0) {
            order.push(id.to_string());
        }
        assert_eq!(order, ["2", "3", "1"]);
        assert_eq!((lines.len(), lines.by_use.len()), (0, 0));
    }

    #[test]
    fn an_idle_conversation_is_as_small_as_the_docs_say() {
        let slot = size_of::<(Arc<str>, Slot<Box<u8>>)>();
        let index = size_of::<(u64, Arc<str>)>();
        let text = 36 + 2 * size_of::<usize>();
        // A hash table is at least 7/16 full after growing, a B-tree node at least 5/11.
        assert!(slot * 16 / 7 + index * 11 / 5 + text <= 220, "{slot} {index}");
    }
}
