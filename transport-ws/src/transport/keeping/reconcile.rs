//! Looking in history for what a server wrote to a socket that nobody read to its end.

use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

use agentchat_core::store::Cursor;
use agentchat_core::{ErrorKind, Result};
use futures_util::{StreamExt, stream};

use super::Keeping;
use crate::api::{AgentChat, Conversation, History};
use crate::http::ApiError;
use crate::wire::MessageRow;

impl Keeping {
    /// The store is used for the first time. Nothing that was delivered before is new; what waits at the
    /// server is.
    pub(super) async fn begin(&self, client: &AgentChat) -> Result<()> {
        let (listed, _) = list(client).await?;
        let newest = listed.iter().filter_map(|it| it.last_message_at.as_deref());
        let newest = newest.max_by_key(|text| crate::wire::time::parse(text)).unwrap_or_default();
        let mut waiting = BTreeMap::<String, u64>::new();
        let mut after: Option<String> = None;
        for _ in 0..WAITING_PAGES {
            let page = client.sync(after.as_deref()).await?;
            for row in page.readable() {
                if let (Some(conversation), Some(seq)) = (row.conversation_id(), row.seq()) {
                    let first = waiting.entry(conversation.to_owned()).or_insert(seq);
                    *first = seq.min(*first);
                }
            }
            let advanced = page.cursor(page.len()).map(str::to_owned);
            if page.is_last() || advanced.is_none() || advanced == after {
                break;
            }
            after = advanced;
        }
        for (conversation, first) in waiting {
            self.store.set(&self.key(&conversation), &Cursor::new(first.to_string())).await?;
        }
        // Last: without it all of this is done again.
        self.store.set(&self.prefix, &Cursor::new(newest.to_owned())).await
    }

    /// Everything that history has and that is not settled, conversation by conversation. Conversations that
    /// the server says are gone, or not this agent's, are forgotten. That a list does not show them says
    /// neither: they may be hidden, and a list may be short.
    pub(crate) async fn reconcile(&self, client: &AgentChat, own: &str) -> Result<Vec<MessageRow>> {
        // What becomes known meanwhile cannot be missing in the list.
        let known = self.lock().ledger.idle();
        let (listed, complete) = list(client).await?;
        let mut asked: Vec<String> =
            listed.iter().filter(|it| self.may_have_more(it)).map(|it| it.id.clone()).collect();
        let shown: HashSet<&str> = listed.iter().map(|it| it.id.as_str()).collect();
        let behind = known.into_iter().filter(|it| !shown.contains(it.as_str()));
        // Behind a list that ends there are few: those that are hidden or gone.
        if !std::mem::replace(&mut self.lock().looked_behind, true) || complete {
            asked.extend(behind.take(BEHIND));
        }
        let reading = stream::iter(asked)
            .map(|conversation| async move {
                let rows = self.unsettled(client, &conversation, own).await;
                (conversation, rows)
            })
            .buffer_unordered(AT_ONCE);
        let mut found = Vec::new();
        for (conversation, rows) in reading.collect::<Vec<_>>().await {
            match rows {
                Ok(rows) => found.extend(rows),
                Err(error) if is_gone(&error) => {
                    self.lock().ledger.forget(&conversation);
                }
                // Its cursor stays where it is: the next attachment asks again.
                Err(error) if error.status().is_some_and(|status| status != 401) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.changed.notify_one();
        Ok(found)
    }

    /// Looks whether numbers that hold a cursor up are there at all. Rows that are stay missing until the
    /// next subscription reads them.
    pub(super) async fn look_into(&self, client: &AgentChat, conversation: String, from: u64, to: u64) {
        let since = self.since_of(&conversation);
        let Ok((rows, begin)) = read(client, &conversation, from, Some(to), since).await else { return };
        let seqs: Vec<u64> = rows.iter().filter_map(MessageRow::seq).collect();
        if begin <= from {
            self.lock().ledger.verified(&conversation, from, to, &seqs);
        }
    }

    async fn unsettled(
        &self,
        client: &AgentChat,
        conversation: &str,
        own: &str,
    ) -> std::result::Result<Vec<MessageRow>, ApiError> {
        let from = self.lock().ledger.next(conversation).unwrap_or(1);
        let since = self.since_of(conversation);
        let (mut rows, begin) = read(client, conversation, from, None, since).await?;
        let mut inner = self.lock();
        for seq in rows.iter().filter(|row| row.sender() == Some(own)).filter_map(MessageRow::seq) {
            inner.ledger.done(conversation, seq);
        }
        let seqs: Vec<u64> = rows.iter().filter_map(MessageRow::seq).collect();
        if let Some(last) = seqs.last().filter(|_| begin <= from) {
            inner.ledger.verified(conversation, from, last + 1, &seqs);
        }
        rows.retain(|row| row.seq().is_some_and(|seq| !inner.ledger.is_done(conversation, seq)));
        Ok(rows)
    }

    /// Whether there may be something in a conversation that is not settled.
    fn may_have_more(&self, listed: &Conversation) -> bool {
        let inner = self.lock();
        let last = listed.last_message_at.as_deref().and_then(crate::wire::time::parse);
        inner.ledger.next(&listed.id).is_some() || last.is_none() || last > inner.since
    }

    /// In a conversation without a cursor, what is older is not new.
    fn since_of(&self, conversation: &str) -> Option<SystemTime> {
        let inner = self.lock();
        inner.since.filter(|_| !inner.ledger.has_cursor(conversation))
    }
}

/// Whether it is the server's own word that there is nothing to read any more. A status alone may be that of
/// something between.
fn is_gone(error: &ApiError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) && !error.is_synthesised()
}

/// The rows of a conversation from the number `from` on, up to `to`, in order; with `since`, those after that
/// moment, read from the end. Also the number from which on nothing is left out.
async fn read(
    client: &AgentChat,
    conversation: &str,
    from: u64,
    to: Option<u64>,
    since: Option<SystemTime>,
) -> std::result::Result<(Vec<MessageRow>, u64), ApiError> {
    let mut found: Vec<MessageRow> = Vec::new();
    let mut edge = match since {
        Some(_) => to,
        None => Some(from.saturating_sub(1)),
    };
    for _ in 0..PAGES {
        let at = match (since, edge) {
            (None, edge) => History::After(edge.unwrap_or(0)),
            (Some(_), Some(edge)) => History::Before(edge),
            (Some(_), None) => History::Newest,
        };
        let page = client.history(conversation, at).await?;
        let is_last = page.is_last();
        let seqs = page.readable().filter_map(MessageRow::seq);
        let reached = if since.is_some() { seqs.min() } else { seqs.max() };
        let is_old =
            |row: &MessageRow| row.created().is_some_and(|at| since.is_some_and(|since| at <= since));
        let mut over = is_last || reached.is_none() || reached == edge;
        for row in page.rows.into_iter().filter_map(std::result::Result::ok) {
            if is_old(&row) || row.seq().is_none_or(|seq| to.is_some_and(|to| seq >= to)) {
                over |= is_old(&row) || since.is_none();
            } else {
                found.push(row);
            }
        }
        edge = reached;
        if over {
            found.sort_by_key(MessageRow::seq);
            return Ok((found, from));
        }
    }
    found.sort_by_key(MessageRow::seq);
    // From the beginning on it is complete as far as it goes; from the end on it is not.
    let begin = if since.is_some() { edge.unwrap_or(u64::MAX) } else { from };
    Ok((found, begin))
}

/// The conversations, and whether these are all.
async fn list(client: &AgentChat) -> std::result::Result<(Vec<Conversation>, bool), ApiError> {
    let mut listed: Vec<Conversation> = Vec::new();
    let mut offset = 0;
    for _ in 0..LIST_PAGES {
        let (page, count) = client.conversations_counted(Some(LISTED), offset).await?;
        let before = listed.len();
        offset += count as u64;
        for conversation in page {
            if !listed.iter().any(|it| it.id == conversation.id) {
                listed.push(conversation);
            }
        }
        if count < LISTED as usize {
            return Ok((listed, true));
        }
        // Older servers give the same ones again.
        if listed.len() == before {
            break;
        }
    }
    Ok((listed, false))
}

/// Conversations on a page of the list. Older servers give no more than this, whatever is asked.
const LISTED: u32 = 50;
const LIST_PAGES: usize = 10;
/// Conversations that a list does not show, and that are looked at once.
const BEHIND: usize = 256;
/// Conversations that are looked at together.
const AT_ONCE: usize = 8;
/// Pages of one conversation's history: no more rows than the server brings to a socket by itself.
const PAGES: usize = 50;
/// Pages of what waits, when the store is used first.
const WAITING_PAGES: usize = 100;
