//! What came over one socket and is for the reader of the next one, where the server brings nothing again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::text_map::TextMap;
use crate::wire::MessageRow;

/// Rows that wait for the next attachment of the same connector, and where history is to be asked then. Cheap to
/// clone; bounded. What finds no room is not kept: its place is, and the next reader finds it in history.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leftover(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    rows: VecDeque<MessageRow>,
    bytes: usize,
    /// By conversation the first number that history is to be asked for.
    missed: TextMap<String, u64>,
}

impl Leftover {
    /// Keeps rows behind those that wait already. Returns how many will be seen by nobody: they found no room, and
    /// history cannot be asked for them.
    pub(crate) fn keep(&self, rows: impl IntoIterator<Item = MessageRow>) -> u64 {
        let mut inner = self.lock();
        let mut lost = 0;
        for row in rows {
            let bytes = inner.bytes + row.len();
            if inner.rows.len() < ROWS && bytes <= BYTES {
                inner.bytes = bytes;
                inner.rows.push_back(row);
                continue;
            }
            lost +=
                u64::from(!row.place().is_some_and(|(conversation, seq)| inner.missed(conversation, seq)));
        }
        lost
    }

    /// History is to be asked, of these conversations from these numbers on.
    pub(crate) fn look_for(&self, due: Vec<(String, u64)>) {
        let mut inner = self.lock();
        for (conversation, seq) in due {
            inner.missed(&conversation, seq);
        }
    }

    /// Takes what waits, and where history is to be asked.
    pub(crate) fn take(&self) -> (VecDeque<MessageRow>, Vec<(String, u64)>) {
        let Inner { rows, missed, .. } = std::mem::take(&mut *self.lock());
        (rows, missed.into_iter().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether it is noted that something is missing there.
    fn missed(&mut self, conversation: &str, seq: u64) -> bool {
        if let Some(first) = self.missed.get_mut(conversation) {
            *first = seq.min(*first);
            return true;
        }
        let has_room = self.missed.len() < CONVERSATIONS && conversation.len() <= LONGEST_NAME;
        if has_room {
            self.missed.insert(conversation.to_owned(), seq);
        }
        has_room
    }
}

/// More rows than a server drains to one socket that is never live, and an attachment leaves beside them.
const ROWS: usize = 16_384;
/// The same in bytes: what comes to one such socket at most, and as much of attachments.
const BYTES: usize = 32 * 1024 * 1024;
/// Conversations that history is asked about. Each costs the next reader a request.
const CONVERSATIONS: usize = 1024;
/// Servers' names are short; one that is not must not take the room of all others.
const LONGEST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(conversation: &str, seq: u64, bytes: usize) -> MessageRow {
        let text = "x".repeat(bytes);
        let json = format!(r#"{{"id":"m","conversation_id":"{conversation}","seq":{seq},"x":"{text}"}}"#);
        MessageRow::parse(json).expect("a row")
    }

    #[test]
    fn rows_are_bounded_in_bytes_and_what_finds_no_room_is_looked_for() {
        let leftover = Leftover::default();
        for seq in 0..3 * 32 {
            assert_eq!(leftover.keep([row("c", seq + 1, 1024 * 1024), row("d", 96 - seq, 10)]), 0);
        }
        let (rows, missed) = leftover.take();
        let bytes: usize = rows.iter().map(MessageRow::len).sum();
        assert!((BYTES * 9 / 10..=BYTES).contains(&bytes), "{bytes} bytes are kept");
        let of = |name: &str| rows.iter().filter(|row| row.conversation_id() == Some(name)).count() as u64;
        assert_eq!(missed, [("c".to_owned(), of("c") + 1)], "from the first one that found no room");
        assert!(of("d") == 96, "what is small still finds room");
        let (rows, missed) = leftover.take();
        assert!(rows.is_empty() && missed.is_empty(), "it is taken once");
        assert_eq!(leftover.keep([row("c", 1, 10)]), 0);
        assert_eq!(leftover.take().0.len(), 1, "there is room again");
    }

    #[test]
    fn rows_are_bounded_in_number_and_so_are_the_places_of_those_that_find_no_room() {
        let leftover = Leftover::default();
        let new = || (0..ROWS).map(|_| row("c", 1, 0));
        assert_eq!(leftover.keep(new()), 0);
        leftover.look_for(vec![("d".to_owned(), 7), ("d".to_owned(), 5), ("d".to_owned(), 6)]);
        let names: Vec<_> = (1..CONVERSATIONS).map(|number| number.to_string()).collect();
        assert_eq!(leftover.keep(names.iter().map(|name| row(name, 3, 0))), 0);
        let long = "x".repeat(LONGEST_NAME + 1);
        let lost = [row("e", 1, 0), row(&long, 1, 0), MessageRow::default(), row("d", 4, 0)];
        assert_eq!(leftover.keep(lost), 3, "what nobody will see is told");
        let (rows, missed) = leftover.take();
        assert_eq!((rows.len(), missed.len()), (ROWS, CONVERSATIONS));
        assert!(missed.contains(&("d".to_owned(), 4)), "the first number counts");
    }
}
