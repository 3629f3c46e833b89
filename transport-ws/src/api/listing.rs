//! Listings over as many pages as it takes.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::future::BoxFuture;

use super::directory::MAX_OFFSET;
use super::{AgentChat, ApiResult, Contact, Conversation, History, RowPage};
use crate::wire::{DirectoryEntry, MessageRow, Unreadable};

/// What a listing holds, one after the other: a [`Stream`], with [`Listing::next`] for whoever needs no more.
///
/// A page is asked for when the one before has been taken. An error ends nothing: asking on asks for the same
/// page again. What is added or removed meanwhile may move rows from page to page, so that one is missed or
/// comes twice; the numbers of a history do not move.
pub struct Listing<T> {
    ask: Ask<T>,
    /// Where the next page begins; nothing after the last.
    cursor: Option<u64>,
    asking: Option<BoxFuture<'static, ApiResult<Page<T>>>>,
    waiting: VecDeque<T>,
}

struct Page<T> {
    rows: Vec<T>,
    next: Option<u64>,
}

type Ask<T> = Box<dyn Fn(u64) -> BoxFuture<'static, ApiResult<Page<T>>> + Send + Sync>;

impl<T> Listing<T> {
    /// The next one; nothing after the last. Dropping the future loses nothing.
    ///
    /// Asks the endpoint of what it lists, a page at a time.
    ///
    /// # Errors
    /// Those of the call that reads a page; the next call asks for the same page again.
    pub async fn next(&mut self) -> ApiResult<Option<T>> {
        std::future::poll_fn(|context| self.poll(context)).await.transpose()
    }

    fn new<F>(first: u64, ask: impl Fn(u64) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ApiResult<Page<T>>> + Send + 'static,
    {
        let ask: Ask<T> = Box::new(move |cursor| Box::pin(ask(cursor)));
        Self { ask, cursor: Some(first), asking: None, waiting: VecDeque::new() }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<ApiResult<T>>> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                return Poll::Ready(Some(Ok(row)));
            }
            let Some(cursor) = self.cursor else { return Poll::Ready(None) };
            let asking = self.asking.get_or_insert_with(|| (self.ask)(cursor));
            let answer = ready!(asking.as_mut().poll(context));
            self.asking = None;
            match answer {
                Ok(page) => {
                    self.cursor = page.next;
                    self.waiting.extend(page.rows);
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<T> Stream for Listing<T> {
    type Item = ApiResult<T>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

// Nothing in it is pinned: the future under way has its own place.
impl<T> Unpin for Listing<T> {}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, ended) = (self.waiting.len(), self.cursor.is_none());
        f.debug_struct("Listing").field("waiting", &waiting).field("ended", &ended).finish_non_exhaustive()
    }
}

impl AgentChat {
    /// All agents whose handle begins with `query`, by [`AgentChat::directory`]. Of very many it ends after
    /// about 10,000: the server tells no more.
    pub fn directory_agents(&self, query: impl Into<String>) -> Listing<DirectoryEntry> {
        let (client, query) = (self.clone(), query.into());
        Listing::new(0, move |offset| {
            let (client, query) = (client.clone(), query.clone());
            async move {
                let page = client.directory(&query, DIRECTORY_PAGE, offset).await?;
                let mut page = Page::from_offset(page.agents, offset, page.total);
                page.next = page.next.filter(|next| *next <= MAX_OFFSET);
                Ok(page)
            }
        })
    }

    /// All contacts, by [`AgentChat::contacts`].
    pub fn all_contacts(&self) -> Listing<Contact> {
        let client = self.clone();
        Listing::new(0, move |offset| {
            let client = client.clone();
            async move {
                let page = client.contacts(CONTACT_PAGE, offset).await?;
                Ok(Page::from_offset(page.contacts, offset, page.total))
            }
        })
    }

    /// All conversations, by [`AgentChat::conversations`]. Older servers know of the first 50 alone.
    pub fn all_conversations(&self) -> Listing<Conversation> {
        let client = self.clone();
        Listing::new(0, move |offset| {
            let client = client.clone();
            async move {
                let rows = client.conversations(Some(CONVERSATION_PAGE), offset).await?;
                // A short page is the last: older servers would give the first one again for ever.
                let next = (rows.len() >= CONVERSATION_PAGE as usize).then(|| offset + rows.len() as u64);
                Ok(Page { rows, next })
            }
        })
    }

    /// A conversation's history from its newest message back, by [`AgentChat::history`]. A row that cannot be
    /// read stands in its place as what is wrong with it.
    pub fn history_back(&self, conversation: &str) -> Listing<Result<MessageRow, Unreadable>> {
        let (client, conversation) = (self.clone(), conversation.to_owned());
        Listing::new(u64::MAX, move |before| {
            let (client, conversation) = (client.clone(), conversation.clone());
            async move {
                let at = if before == u64::MAX { History::Newest } else { History::Before(before) };
                let page = client.history(&conversation, at).await?;
                let lowest = page.readable().filter_map(MessageRow::seq).min();
                Ok(Page::from_history(page, lowest.filter(|lowest| *lowest < before)))
            }
        })
    }

    /// A conversation's history forward from after the number `seq`, by [`AgentChat::history`]. A row that
    /// cannot be read stands in its place as what is wrong with it.
    pub fn history_after(&self, conversation: &str, seq: u64) -> Listing<Result<MessageRow, Unreadable>> {
        let (client, conversation) = (self.clone(), conversation.to_owned());
        Listing::new(seq, move |after| {
            let (client, conversation) = (client.clone(), conversation.clone());
            async move {
                let page = client.history(&conversation, History::After(after)).await?;
                let highest = page.readable().filter_map(MessageRow::seq).max();
                Ok(Page::from_history(page, highest.filter(|highest| *highest > after)))
            }
        })
    }
}

impl<T> Page<T> {
    /// The server may hand out fewer rows than asked for, so what came is counted.
    fn from_offset(rows: Vec<T>, offset: u64, total: Option<u64>) -> Self {
        let behind = offset + rows.len() as u64;
        let more = !rows.is_empty() && total.is_none_or(|total| behind < total);
        Self { rows, next: more.then_some(behind) }
    }
}

impl Page<Result<MessageRow, Unreadable>> {
    /// A page of which no number leads on is the last one.
    fn from_history(page: RowPage, leads_on: Option<u64>) -> Self {
        let next = leads_on.filter(|_| !page.is_last());
        Self { rows: page.rows, next }
    }
}

/// The server's largest pages.
const DIRECTORY_PAGE: u32 = 50;
const CONTACT_PAGE: u32 = 100;
/// More than older servers ever give.
const CONVERSATION_PAGE: u32 = 100;
