//! What an inbox remembers of its conversations, settled or not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::stored::Stored;
use crate::delivery::Delivery;
use crate::id::ConversationId;
use crate::transport::ReplayRange;

/// Of the last [`ROWS`] numbered messages of an inbox, and of [`BYTES`] of bodies and headers, the last
/// [`ROWS_OF_ONE`] of each conversation.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By number.
    lines: HashMap<ConversationId, VecDeque<(u64, Arc<Stored>)>>,
    /// In the order they came. Those that have left their line stay, and count.
    order: VecDeque<(u64, ConversationId)>,
    bytes: usize,
}

impl History {
    /// Remembers a numbered message. Ids and numbers only grow.
    pub(crate) fn keep(&mut self, id: u64, row: &Arc<Stored>) {
        let (Some(conversation), Some(_)) = (&row.conversation, row.seq()) else { return };
        self.bytes += row.size();
        self.order.push_back((id, conversation.clone()));
        let line = self.lines.entry(conversation.clone()).or_default();
        line.push_back((id, Arc::clone(row)));
        if line.len() > ROWS_OF_ONE
            && let Some((_, oldest)) = line.pop_front()
        {
            self.bytes -= oldest.size();
        }
        while self.order.len() > ROWS || self.bytes > BYTES {
            let Some((id, conversation)) = self.order.pop_front() else { return };
            self.forget(id, &conversation);
        }
    }

    /// The message does not exist any more.
    pub(crate) fn forget(&mut self, id: u64, conversation: &ConversationId) {
        let Some(line) = self.lines.get_mut(conversation) else { return };
        if let Ok(at) = line.binary_search_by_key(&id, |(id, _)| *id)
            && let Some((_, row)) = line.remove(at)
        {
            self.bytes -= row.size();
        }
        if line.is_empty() {
            self.lines.remove(conversation);
        }
    }

    pub(crate) fn has(&self, id: u64, row: &Stored) -> bool {
        let line = row.conversation.as_ref().and_then(|conversation| self.lines.get(conversation));
        line.is_some_and(|line| line.binary_search_by_key(&id, |(id, _)| *id).is_ok())
    }

    pub(crate) fn read(
        &self,
        conversation: &ConversationId,
        range: ReplayRange,
        now: Instant,
    ) -> Vec<Delivery> {
        let Some(line) = self.lines.get(conversation) else { return Vec::new() };
        let from = line.partition_point(|(_, row)| row.seq() < Some(range.from));
        let rows = line.range(from..).filter(|(_, row)| row.is_there(now)).take(range.limit);
        rows.map(|(_, row)| row.show()).collect()
    }
}

/// How many numbered messages of an inbox history looks back to.
const ROWS: usize = 10_000;
/// And of one conversation.
const ROWS_OF_ONE: usize = 1_000;
/// What they may take in bodies and headers.
const BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::message::{Body, Outbound};
    use std::time::Duration;

    fn conversation(number: usize) -> ConversationId {
        ConversationId::new(number.to_string()).expect("id")
    }

    fn row(number: usize, seq: u64, size: usize) -> Arc<Stored> {
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to.clone(), Body::binary(vec![0; size]));
        let message = message.with_conversation(conversation(number));
        let row = Stored::new(&message, &to);
        row.name(0, seq, Some(seq));
        row
    }

    fn numbers(history: &History, number: usize, from: u64, limit: usize, now: Instant) -> Vec<u64> {
        let rows = history.read(&conversation(number), ReplayRange::new(from, limit), now);
        rows.iter().map(|row| row.seq.expect("numbered")).collect()
    }

    #[test]
    fn it_is_bounded_by_conversation_by_inbox_and_by_bytes() {
        let now = Instant::now();
        let mut history = History::default();
        (1..=1_500).for_each(|seq| history.keep(seq, &row(0, seq, 1)));
        assert_eq!(numbers(&history, 0, 0, usize::MAX, now), (501..=1_500).collect::<Vec<_>>());
        assert_eq!(history.bytes, 1_000);
        for other in 1..=9_500 {
            history.keep(1_500 + other as u64, &row(other, 1, 1));
        }
        assert_eq!(numbers(&history, 0, 0, usize::MAX, now), (1_001..=1_500).collect::<Vec<_>>());
        assert_eq!((history.order.len(), history.bytes), (ROWS, ROWS));
        for large in 0..3 {
            history.keep(20_000 + large, &row(0, 2_000 + large, BYTES / 2));
        }
        assert_eq!((history.order.len(), history.bytes, history.lines.len()), (2, BYTES, 1));
    }

    #[test]
    fn a_page_begins_where_it_is_told_and_shows_what_exists_now() {
        let now = Instant::now();
        let mut history = History::default();
        for seq in 1..=9 {
            let row = Arc::into_inner(row(0, seq, 1)).expect("nobody else has it");
            let later = |which| (seq == which).then_some(now + Duration::from_secs(1));
            history.keep(seq, &Arc::new(row.with_times(later(5), later(4))));
        }
        history.forget(6, &conversation(0));
        assert_eq!(numbers(&history, 0, 3, 3, now), [3, 4, 7]);
        assert_eq!(numbers(&history, 0, 3, 3, now + Duration::from_secs(1)), [3, 5, 7]);
        assert!(numbers(&history, 0, 10, 3, now).is_empty());
    }
}
