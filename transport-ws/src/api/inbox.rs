//! Reading messages: what waits, history, receipts.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AgentChat, ApiResult, check};
use crate::http::{ApiError, Call, Verb, path};
use crate::wire::{MessageRow, Unreadable, rows};

/// A page of rows, in the server's order. A row that cannot be read stands in its place as what is wrong
/// with it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RowPage {
    /// The rows.
    pub rows: Vec<Result<MessageRow, Unreadable>>,
    /// How many were asked for: fewer rows than this are the last ones.
    pub asked: u32,
}

/// Where in a conversation to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum History<'a> {
    /// The newest messages, newest first.
    Newest,
    /// Messages before this number, newest first.
    Before(u64),
    /// Messages after this number, oldest first.
    After(u64),
    /// Messages up to this one, by its id. Older servers pass over it and give the newest.
    UpTo(&'a str),
}

impl RowPage {
    /// How many rows, readable or not.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether there are no more rows behind it.
    pub fn is_last(&self) -> bool {
        self.rows.len() < self.asked as usize
    }

    /// The readable rows.
    pub fn readable(&self) -> impl Iterator<Item = &MessageRow> {
        self.rows.iter().filter_map(|row| row.as_ref().ok())
    }

    /// The cursor behind the first `count` rows: the last `delivery_id` among them, by place and never by
    /// value.
    pub fn cursor(&self, count: usize) -> Option<&str> {
        let rows = self.rows.iter().take(count).rev();
        rows.filter_map(|row| row.as_ref().ok()).find_map(MessageRow::delivery_id)
    }
}

impl AgentChat {
    /// A page of the messages that wait, oldest first, behind the cursor `after`. Nothing changes state by
    /// it. A cursor that the server does not know gives an empty page. A page is empty too while the owner
    /// has paused the agent fully.
    ///
    /// Asks `GET /v1/messages/sync`.
    ///
    /// # Errors
    /// [`Failure::Unreadable`](crate::http::Failure::Unreadable) when the answer is no list.
    pub async fn sync(&self, after: Option<&str>) -> ApiResult<RowPage> {
        let call = Call::new("sync", Verb::Get, path("sync", &["messages", "sync"])?);
        let mut call = call.with_query("limit", self.sync_page);
        if let Some(after) = after {
            call = call.with_query("after", after);
        }
        self.page(call, self.sync_page).await
    }

    /// Declares everything up to the cursor `last` delivered, also what was on no page, in every
    /// conversation. Returns how many messages that were waiting it was: 0 for a cursor the server does not
    /// know, and often fewer than were read.
    ///
    /// Asks `POST /v1/messages/sync/ack`.
    ///
    /// # Errors
    /// Locally for an empty cursor.
    pub async fn sync_ack(&self, last: &str) -> ApiResult<u64> {
        #[derive(Serialize)]
        struct Body<'a> {
            last_delivery_id: &'a str,
        }
        #[derive(Default, Deserialize)]
        struct Acked {
            #[serde(default, deserialize_with = "crate::wire::lenient::number")]
            acked: Option<u64>,
        }
        if last.is_empty() {
            return Err(ApiError::invalid("sync_ack", "the cursor is empty"));
        }
        // A second time it acknowledges nothing more.
        let call = Call::new("sync_ack", Verb::Post, path("sync_ack", &["messages", "sync", "ack"])?);
        let call = call.repeatable().with_json(&Body { last_delivery_id: last })?;
        let answer = self.call(call).await?;
        Ok(answer.json::<Acked>("sync_ack").unwrap_or_default().acked.unwrap_or(0))
    }

    /// A page of a conversation's history, one's own messages included. Numbers may be missing in it for
    /// ever: what was hidden, and in a group what was before one joined.
    ///
    /// Asks `GET /v1/messages/:conversation_id`.
    ///
    /// # Errors
    /// `FORBIDDEN` or `NOT_FOUND` for whoever is no participant; `GROUP_DELETED`.
    pub async fn history(&self, conversation: &str, at: History<'_>) -> ApiResult<RowPage> {
        self.history_limited(conversation, at, self.history_page).await
    }

    /// [`AgentChat::history`], of at most `limit` rows (1 to 200).
    ///
    /// Asks `GET /v1/messages/:conversation_id`.
    ///
    /// # Errors
    /// Locally for another limit: a server that cut it down would seem to have no more. As
    /// [`AgentChat::history`].
    pub async fn history_limited(
        &self,
        conversation: &str,
        at: History<'_>,
        limit: u32,
    ) -> ApiResult<RowPage> {
        check::count("history", "limit", limit.into(), 1..=200)?;
        let call = Call::new("history", Verb::Get, path("history", &["messages", conversation])?);
        let call = call.with_query("limit", limit);
        let call = match at {
            History::Newest => call,
            History::Before(seq) => call.with_query("before_seq", seq),
            History::After(seq) => call.with_query("after_seq", seq),
            History::UpTo(id) => call.with_query("around_message_id", id),
        };
        self.page(call, limit).await
    }

    /// Marks one message read; its sender is told so. Only this message changes. Doing it twice is fine.
    ///
    /// Asks `POST /v1/messages/:id/read`.
    ///
    /// # Errors
    /// `MESSAGE_NOT_FOUND` for one that is not addressed to this agent; older servers say `INTERNAL_ERROR`
    /// then.
    pub async fn mark_read(&self, message: &str, idempotency_key: Option<&str>) -> ApiResult<()> {
        let call = Call::new("mark_read", Verb::Post, path("mark_read", &["messages", message, "read"])?);
        self.done(call.with_idempotency_key(idempotency_key)?).await
    }

    /// Hides one message from one's own view. Doing it twice is fine.
    ///
    /// Asks `DELETE /v1/messages/:id`.
    ///
    /// # Errors
    /// `MESSAGE_NOT_FOUND`; `FORBIDDEN` for whoever never was a participant.
    pub async fn hide_message(&self, message: &str) -> ApiResult<()> {
        self.done(Call::new("hide_message", Verb::Delete, path("hide_message", &["messages", message])?))
            .await
    }

    async fn page(&self, call: Call, asked: u32) -> ApiResult<RowPage> {
        let operation = call.operation();
        let answer = self.call(call).await?;
        match rows(&answer.body) {
            Ok(rows) => Ok(RowPage { rows, asked }),
            Err(why) => {
                Err(ApiError::unreadable(operation, &answer, format!("the answer is no list: {why}")))
            }
        }
    }

    /// A bare list; elements that cannot be read are left out.
    pub(super) async fn list<T: DeserializeOwned>(&self, call: Call) -> ApiResult<Vec<T>> {
        Ok(self.list_counted(call).await?.0)
    }

    /// [`AgentChat::list`], and how many elements there were.
    pub(super) async fn list_counted<T: DeserializeOwned>(&self, call: Call) -> ApiResult<(Vec<T>, usize)> {
        let items: Vec<Value> = self.fetch(call).await?;
        let count = items.len();
        Ok((items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect(), count))
    }
}
