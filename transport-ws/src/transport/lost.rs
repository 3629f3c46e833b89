//! Rows that did not arrive, in history; and putting rows of several sources in their places.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;

use super::shared::Shared;
use crate::api::{AgentChat, History};
use crate::wire::MessageRow;

/// The missing rows that history has.
pub(super) async fn missing(
    client: &AgentChat,
    conversation: &str,
    after: u64,
    before: u64,
    acks: bool,
) -> Vec<MessageRow> {
    let (mut found, mut after) = (Vec::new(), after);
    for _ in 0..HISTORY_PAGES {
        // Whatever goes wrong: the rows behind the hole must not wait for it.
        let Ok(page) = client.history(conversation, History::After(after)).await else { break };
        let last = page.readable().filter_map(MessageRow::seq).max();
        let is_last = page.is_last();
        // Where messages are acknowledged, one that is not stored any more has been settled.
        let open = |row: &MessageRow| !acks || row.status().is_none_or(|status| status == "stored");
        let rows = page.rows.into_iter().filter_map(std::result::Result::ok);
        found.extend(rows.filter(|row| row.seq().is_some_and(|seq| seq < before) && open(row)));
        match last {
            Some(last) if !is_last && last > after && last.saturating_add(1) < before => after = last,
            _ => break,
        }
    }
    found
}

/// What was written to an earlier socket and did not arrive there is in history only.
pub(super) async fn lost_between_sockets(client: AgentChat, shared: Arc<Shared>) -> Vec<MessageRow> {
    let due = shared.take_due();
    let looking = futures_util::stream::iter(due.clone())
        .map(|(conversation, next)| {
            let client = client.clone();
            async move { missing(&client, &conversation, next.saturating_sub(1), u64::MAX, false).await }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    tokio::select! {
        _ = shared.ended() => {
            shared.give_back_due(due);
            Vec::new()
        }
        found = looking => found.into_iter().flatten().collect(),
    }
}

/// Rows of each conversation by their numbers, in the places that its rows have.
pub(super) fn in_place(mut rows: Vec<MessageRow>) -> Vec<MessageRow> {
    let mut first = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let conversation = row.conversation_id().unwrap_or_default().to_owned();
        first.entry(conversation).or_insert(at);
    }
    // Conversations one after the other, in the order of their first rows.
    rows.sort_by_key(|row| {
        (first.get(row.conversation_id().unwrap_or_default()).copied(), row.seq().unwrap_or_default())
    });
    rows
}

/// Conversations that are looked at together.
const AT_ONCE: usize = 8;
/// Pages of history that are read to close one hole.
const HISTORY_PAGES: usize = 10;
