//! How far each conversation has come over the sockets of one connector, for servers that bring nothing again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::text_map::TextMap;

/// By the server's conversation, the number behind the highest that has arrived. Cheap to clone; bounded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// With when it was last used.
    next: TextMap<String, (u64, u64)>,
    uses: u64,
}

impl Positions {
    /// These rows have arrived: conversations and numbers.
    pub(crate) fn arrived<'a>(&self, rows: impl IntoIterator<Item = (&'a str, u64)>) {
        let mut inner = self.lock();
        rows.into_iter().for_each(|(conversation, seq)| inner.arrived(conversation, seq));
    }

    /// What an attachment that begins now has to look for: conversations, and the number due in each. What was
    /// `missed` before is due still, though later ones have come.
    pub(crate) fn due(&self, missed: Vec<(String, u64)>) -> Vec<(String, u64)> {
        let inner = self.lock();
        let mut due: TextMap<String, u64> =
            inner.next.iter().map(|(name, (next, _))| (name.clone(), *next)).collect();
        for (conversation, first) in missed {
            let next = due.entry(conversation).or_insert(first);
            *next = first.min(*next);
        }
        due.into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn arrived(&mut self, conversation: &str, seq: u64) {
        self.uses += 1;
        let used = self.uses;
        if let Some((next, last)) = self.next.get_mut(conversation) {
            (*next, *last) = ((*next).max(seq + 1), used);
            return;
        }
        if self.next.len() >= CONVERSATIONS
            && let Some(oldest) = self.next.iter().min_by_key(|(_, (_, used))| *used).map(|it| it.0.clone())
        {
            self.next.remove(&oldest);
        }
        self.next.insert(conversation.to_owned(), (seq + 1, used));
    }
}

/// Each costs a request with every attachment.
const CONVERSATIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_counts_and_the_oldest_conversation_is_forgotten() {
        let positions = Positions::default();
        positions.arrived([("c", 5), ("c", 3)]);
        assert_eq!(positions.due(Vec::new()), [("c".to_owned(), 6)]);
        for number in 0..CONVERSATIONS {
            positions.arrived([(&*number.to_string(), 1)]);
        }
        let due = positions.due(Vec::new());
        assert_eq!(due.len(), CONVERSATIONS);
        assert!(due.iter().all(|(name, _)| name != "c"));
    }

    #[test]
    fn what_was_missed_is_due_though_later_numbers_have_come_or_none() {
        let positions = Positions::default();
        positions.arrived([("c", 5), ("d", 5)]);
        let missed = [("c", 4), ("d", 9), ("e", 1), ("e", 3)].map(|(name, seq)| (name.to_owned(), seq));
        let mut due = positions.due(missed.into());
        due.sort();
        assert_eq!(due, [("c", 4), ("d", 6), ("e", 1)].map(|(name, seq)| (name.to_owned(), seq)));
    }
}
