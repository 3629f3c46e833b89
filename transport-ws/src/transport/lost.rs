//! Rows that did not arrive, in history; and putting rows of several sources in their places.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::order::Ask;
use super::shared::Shared;
use crate::api::{AgentChat, ApiResult, History};
use crate::http::ApiError;
use crate::wire::MessageRow;

/// What history has in a stretch of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) rows: Vec<MessageRow>,
    /// The numbers of those that need not be handed out.
    pub(crate) done: Vec<u64>,
    /// Before this number history has nothing else.
    pub(crate) to: u64,
}

/// What history has after the number `after` and before the number `before`, or as far as one look goes.
pub(super) async fn missing(
    client: &AgentChat,
    conversation: &str,
    after: u64,
    before: u64,
    acks: bool,
) -> ApiResult<Found> {
    let (mut found, mut after) = (Found { to: before, ..Found::default() }, after);
    let mut bytes = 0;
    for pages in 1.. {
        let page = client.history(conversation, History::After(after)).await?;
        let last = page.readable().filter_map(MessageRow::seq).max();
        let is_last = page.is_last();
        for row in page.rows.into_iter().filter_map(Result::ok) {
            let Some(seq) = row.seq().filter(|seq| *seq < before) else { continue };
            // Where messages are acknowledged, one that is not stored any more has been settled.
            match acks && row.status().is_some_and(|status| status != "stored") {
                true => found.done.push(seq),
                false => {
                    bytes += row.len();
                    found.rows.push(row);
                }
            }
        }
        match last {
            Some(last) if !is_last && last > after && last.saturating_add(1) < before => {
                if pages == HISTORY_PAGES || bytes >= HISTORY_BYTES {
                    found.to = last.saturating_add(1);
                    break;
                }
                after = last;
            }
            _ => break,
        }
    }
    Ok(found)
}

/// Asks history, and once more where it may only have stumbled. Nothing where it cannot be read.
pub(super) async fn asked(client: AgentChat, ask: Ask, acks: bool) -> (u64, Option<Found>) {
    let asking = || missing(&client, &ask.conversation, ask.after, ask.before, acks);
    let mut found = asking().await;
    if found.as_ref().is_err_and(is_worth_another) {
        sleep(AGAIN).await;
        found = asking().await;
    }
    if let Err(error) = &found {
        tracing::debug!(name: "history.unread", %error, "what is missing could not be looked for");
    }
    (ask.number, found.ok())
}

/// What was written to an earlier socket and did not arrive there is in history only. Returns what it has, and
/// where there may be more: from which number on, by conversations. Once that is much, conversations that are not
/// looked at yet are left for the next look, when this one's rows have gone.
pub(super) async fn lost_between_sockets(
    client: &AgentChat,
    shared: &Arc<Shared>,
) -> (Vec<MessageRow>, HashMap<String, u64>) {
    let mut waiting = shared.due().into_iter();
    let (mut looking, mut rest, mut unread) = (FuturesUnordered::new(), Vec::new(), Vec::new());
    let (mut rows, mut bytes) = (Vec::new(), 0);
    loop {
        while looking.len() < AT_ONCE
            && bytes < LOOK_BYTES
            && unread.len() < UNREAD
            && let Some(due) = waiting.next()
        {
            looking.push(look(client, due));
        }
        let looked = tokio::select! {
            _ = shared.ended() => return Default::default(),
            looked = looking.next() => looked,
        };
        let Some(((conversation, next), found)) = looked else { break };
        match found {
            Ok(found) => {
                bytes += found.rows.iter().map(|row| row.len() + BESIDE).sum::<usize>();
                rows.extend(found.rows);
                if found.to < u64::MAX {
                    rest.push((conversation, found.to));
                }
            }
            Err(error) if is_worth_another(&error) => {
                tracing::debug!(name: "history.unread", %error, "what is missing could not be looked for");
                unread.push((conversation, next));
            }
            // It is gone, or not for this agent to read any more.
            Err(_) => {}
        }
    }
    match unread.len() < UNREAD {
        true => rest = waiting.chain(rest).collect(),
        false => unread.extend(waiting),
    }
    let mut from = HashMap::new();
    for (conversation, next) in &rest {
        let first = from.entry(conversation.clone()).or_insert(*next);
        *first = (*first).min(*next);
    }
    // What could not be read is looked for over the next attachment: live messages do not wait for it.
    shared.looked(rest, unread);
    (rows, from)
}

/// What history has of a conversation from the number on that is due. Asked again where it stumbles.
async fn look(client: &AgentChat, due: (String, u64)) -> ((String, u64), ApiResult<Found>) {
    let asking = || missing(client, &due.0, due.1.saturating_sub(1), u64::MAX, false);
    let mut found = asking().await;
    for pause in PAUSES {
        if !found.as_ref().is_err_and(is_worth_another) {
            break;
        }
        sleep(pause).await;
        found = asking().await;
    }
    (due, found)
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

fn is_worth_another(error: &ApiError) -> bool {
    agentchat_core::Advice::Never != error.advice()
}

/// Conversations that are looked at together.
pub(super) const AT_ONCE: usize = 8;
/// Pages of history that are read at one look at a conversation, or fewer, once they hold so many bytes.
const HISTORY_PAGES: usize = 10;
const HISTORY_BYTES: usize = 1024 * 1024;
/// When so many bytes were found in several conversations, no more of them are looked at; those under way bring
/// what they bring.
const LOOK_BYTES: usize = 4 * 1024 * 1024;
/// What a row takes beside its text, so that small ones are bounded as well.
const BESIDE: usize = 512;
/// When so many conversations could not be read, the rest is not tried.
const UNREAD: usize = 2 * AT_ONCE;
/// How soon a history that stumbled is asked again about a hole.
const AGAIN: Duration = Duration::from_millis(500);
/// How often, and how late, it is asked again about what was lost between two sockets.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];
