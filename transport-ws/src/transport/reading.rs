//! One subscription: what waited, oldest first, then what arrives, each conversation in its order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{AckTag, Delivery, Error, ErrorKind, Event, Reached, Result, SubscribeOptions};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use super::fates::Fate;
use super::names::Names;
use super::order::{Order, Passed};
use super::senders::Senders;
use super::shared::{Owner, Reads, Shared};
use super::verdict::confirmed;
use crate::api::{AgentChat, History, RowPage};
use crate::http::Failure;
use crate::mapping::from_row_of;
use crate::wire::MessageRow;

/// A subscription under way. Where messages are acknowledged one by one, what waits is read by REST, page by
/// page as the reader takes it; where what is written counts as delivered, the server's own drain is waited
/// for and put in order.
pub(crate) struct Reading {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: AgentChat,
    pub(crate) names: Names,
    /// One's own handle.
    pub(crate) own: Arc<str>,
    phase: Phase,
    cursor: Option<String>,
    ready: VecDeque<Passed>,
    /// Empty between two looks at what has arrived.
    taken: VecDeque<MessageRow>,
    order: Order,
    senders: Senders,
    asks: FuturesUnordered<BoxFuture<'static, (String, Vec<MessageRow>)>>,
    number: u64,
    max_messages: usize,
    max_bytes: usize,
    over: bool,
    _owner: Arc<Owner>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What waited is read; not all of it has been seen.
    Backlog,
    /// All of it has been seen, and the end is to be told.
    BacklogRead,
    Live,
    /// Something was left on the server while the reader was slow.
    Behind,
}

impl Reading {
    /// Takes the inbox over from whoever read it.
    pub(crate) fn begin(
        shared: Arc<Shared>,
        owner: Arc<Owner>,
        client: AgentChat,
        names: Names,
        own: Arc<str>,
        options: &SubscribeOptions,
    ) -> Self {
        let number = {
            let mut inner = shared.inner();
            inner.reader += 1;
            (inner.reading, inner.missed) = (Reads::Backlog, false);
            inner.fates.reader_gone();
            inner.sent.clear();
            inner.reader
        };
        shared.arrived.notify_waiters();
        Self {
            shared,
            client,
            names,
            own,
            phase: Phase::Backlog,
            cursor: None,
            ready: VecDeque::new(),
            taken: VecDeque::new(),
            order: Order::default(),
            senders: Senders::default(),
            asks: FuturesUnordered::new(),
            number,
            max_messages: options.max_unsettled,
            max_bytes: options.max_unsettled_bytes,
            over: false,
            _owner: owner,
        }
    }

    /// The next event, and this again; nothing after an error.
    pub(crate) async fn next(mut self: Box<Self>) -> Option<(Result<Event>, Box<Self>)> {
        if self.over {
            return None;
        }
        let event = self.event().await;
        if event.is_err() {
            self.stop();
        }
        Some((event, self))
    }

    async fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(ending) = self.shared.ending() {
                return Err(ending.error("subscribe", Reached::Unknown));
            }
            if self.shared.inner().reader != self.number {
                self.shared.arrived.notify_one();
                let what = "another subscription reads the inbox now";
                return Err(Error::new(ErrorKind::Conflict, "subscribe", what));
            }
            let shared = Arc::clone(&self.shared);
            let settled = shared.arrived.notified();
            if let Some(delivery) = self.ready() {
                return Ok(Event::Message(delivery));
            }
            if !self.ready.is_empty() {
                // No credit, or somebody else reads, or it is over.
                if !shared.is_over() && shared.inner().reader == self.number {
                    settled.await;
                }
                continue;
            }
            match self.phase {
                // What is done once is boxed, or every wait would take the room of the largest.
                Phase::Backlog if self.shared.acks => Box::pin(self.read_page(Phase::BacklogRead)).await?,
                Phase::Backlog => Box::pin(self.await_drain()).await?,
                Phase::BacklogRead => {
                    let mut inner = self.shared.inner();
                    inner.reading = Reads::Live;
                    // What was pushed and not kept may be newer than the last page.
                    if std::mem::take(&mut inner.missed) {
                        drop(inner);
                        self.phase = Phase::Backlog;
                    } else {
                        self.phase = Phase::Live;
                        return Ok(Event::CaughtUp);
                    }
                }
                Phase::Live => self.live().await,
                Phase::Behind => Box::pin(self.read_page(Phase::Live)).await?,
            }
        }
    }

    /// The next message that is ready, if there is credit for it.
    pub(crate) fn ready(&mut self) -> Option<Delivery> {
        if self.over || self.shared.is_over() {
            return None;
        }
        while let Some(passed) = self.ready.front() {
            let fate = match passed.row.id() {
                Some(id) if passed.row.sender() != Some(&*self.own) => {
                    let mut inner = self.shared.inner();
                    if inner.reader != self.number {
                        return None;
                    }
                    match inner.fates.of(id) {
                        Some(Fate::Unsettled(_)) => None,
                        Some(Fate::Settled) => {
                            // The acknowledgement was lost, or is still on its way.
                            let again = self.shared.acks.then(|| inner.fates.settle(id));
                            drop(inner);
                            again.into_iter().for_each(|id| self.shared.queue_acks([id]));
                            None
                        }
                        fate if inner.fates.has_credit(self.max_messages, self.max_bytes) => Some(fate),
                        // It stays first in line.
                        _ => return None,
                    }
                }
                _ => None,
            };
            let passed = self.ready.pop_front()?;
            let Some(fate) = fate else { continue };
            if let Some(delivery) = self.delivery(&passed, fate == Some(Fate::Loose)) {
                return Some(delivery);
            }
        }
        None
    }

    /// Hands a row out; nothing for one that cannot be.
    fn delivery(&mut self, passed: &Passed, redelivered: bool) -> Option<Delivery> {
        let id = passed.row.id()?;
        let senders = &mut self.senders;
        let delivery = from_row_of(&passed.row, tag(&self.own, id)?, |handle| senders.address(handle))?;
        let mut delivery = in_server_numbers(delivery, &passed.row, &self.names);
        (delivery.late, delivery.redelivered) = (passed.late, redelivered);
        self.shared.inner().fates.hand_out(id, delivery.size());
        Some(delivery)
    }

    /// Reads a page of what is on the server. Behind the last one, `then` is the phase.
    async fn read_page(&mut self, then: Phase) -> Result<()> {
        let cursor = self.cursor.clone();
        let reading = async { self.client.sync(cursor.as_deref()).await.map_err(Error::from) };
        let page = match self.shared.under("subscribe", reading).await {
            Ok(page) => page,
            // An answer that is no list would be none the next time either. What is pushed still comes.
            Err(error) if is_unreadable(&error) => RowPage::default(),
            Err(error) => return Err(confirmed(&self.client, error).await),
        };
        let advanced = page.cursor(page.len()).map(str::to_owned);
        let stuck = advanced.is_none() || advanced == self.cursor;
        if page.is_last() || stuck {
            self.phase = then;
        }
        if advanced.is_some() {
            self.cursor = advanced;
        }
        for row in page.rows.into_iter().filter_map(std::result::Result::ok) {
            let passed = self.order.backlog(row);
            self.ready.push_back(passed);
        }
        Ok(())
    }

    /// Waits until the server has written what waited, or so much that some of it must go on.
    async fn await_drain(&mut self) -> Result<()> {
        let mut patience = DRAIN_CHECKS;
        let mut left = Vec::new();
        loop {
            let before = self.shared.inner().count;
            tokio::select! {
                _ = self.shared.ended() => return Ok(()),
                () = sleep(QUIET) => {}
            }
            let (count, full) = {
                let inner = self.shared.inner();
                (inner.count, inner.is_window_full())
            };
            if full {
                break;
            }
            if count != before {
                continue;
            }
            let reading = async { self.client.sync(None).await.map_err(Error::from) };
            let page = match self.shared.under("subscribe", reading).await {
                Ok(page) => page,
                Err(error) if is_unreadable(&error) => RowPage::default(),
                Err(error) => return Err(confirmed(&self.client, error).await),
            };
            patience -= 1;
            if (page.is_empty() && self.shared.inner().count == count) || patience == 0 {
                left.extend(page.rows.into_iter().filter_map(std::result::Result::ok));
                self.phase = Phase::BacklogRead;
                break;
            }
        }
        if self.phase == Phase::BacklogRead {
            left.extend(lost_between_sockets(self.client.clone(), Arc::clone(&self.shared)).await);
        }
        let rows = self.shared.take_arrivals().into_iter().chain(left).collect();
        for row in in_place(rows) {
            let passed = self.order.backlog(row);
            self.ready.push_back(passed);
        }
        Ok(())
    }

    /// Takes what arrived, or waits for more.
    async fn live(&mut self) {
        let now = Instant::now();
        for (conversation, seq) in self.shared.take_sent() {
            self.order.sent(&conversation, seq, now, &mut self.ready);
        }
        self.shared.swap_arrivals(&mut self.taken);
        if !self.taken.is_empty() {
            let fates = &self.shared.inner().fates;
            for row in self.taken.drain(..) {
                // One that was handed out before says nothing about the order.
                if row.id().is_none_or(|id| fates.of(id).is_none()) {
                    self.order.row(row, now, &mut self.ready);
                } else {
                    self.ready.push_back(Passed { row, late: false });
                }
            }
        }
        // What one burst took must not be kept for as long as the agent lives.
        self.taken.shrink_to(KEPT);
        if !self.ready.is_empty() {
            return;
        }
        if std::mem::take(&mut self.shared.inner().missed) {
            (self.phase, self.cursor) = (Phase::Behind, None);
            return;
        }
        while let Some((conversation, after, before)) = self.order.overdue(now) {
            let (client, acks) = (self.client.clone(), self.shared.acks);
            self.asks.push(Box::pin(async move {
                let rows = missing(&client, &conversation, after, before, acks).await;
                (conversation, rows)
            }));
        }
        let deadline = self.order.deadline();
        tokio::select! {
            () = self.shared.arrived.notified() => {}
            _ = self.shared.ended() => {}
            Some((conversation, rows)) = self.asks.next() => {
                self.order.history(&conversation, rows, &mut self.ready);
            }
            () = until(deadline) => {}
        }
    }

    /// Leaves the inbox to the next reader.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let mut inner = self.shared.inner();
        let reads = inner.reader == self.number;
        if reads {
            inner.reading = Reads::Nothing;
            inner.fates.reader_gone();
        }
        drop(inner);
        if !self.shared.acks {
            let rows: Vec<_> = self.ready.drain(..).map(|passed| passed.row).collect();
            self.shared.put_back(rows.into_iter().chain(self.order.take_held()));
            if self.shared.ending().is_some() {
                self.shared.salvage();
            }
        }
        self.ready.clear();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The tag of a message: its id under its owner's name, so that it settles that message and no other on any
/// attachment.
pub(crate) fn tag(own: &str, id: &str) -> Option<AckTag> {
    AckTag::new([TAG, own, "/", id].concat()).ok()
}

/// The message of a tag of this agent.
pub(crate) fn message_of<'a>(own: &str, tag: &'a AckTag) -> Option<&'a str> {
    tag.as_str().strip_prefix(TAG)?.strip_prefix(own)?.strip_prefix('/')
}

/// Numbers are the server's, in whatever conversation a message says it is.
pub(crate) fn in_server_numbers(mut delivery: Delivery, row: &MessageRow, names: &Names) -> Delivery {
    delivery.seq = row.seq();
    if let (Some(name), Some(server)) = (&delivery.conversation, row.conversation_id()) {
        names.note(name.as_str(), server);
    }
    delivery
}

/// The missing rows that history has.
async fn missing(
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
async fn lost_between_sockets(client: AgentChat, shared: Arc<Shared>) -> Vec<MessageRow> {
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
fn in_place(mut rows: Vec<MessageRow>) -> Vec<MessageRow> {
    let mut first = std::collections::HashMap::new();
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

fn is_unreadable(error: &Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|source| source.downcast_ref::<crate::http::ApiError>())
        .is_some_and(|error| error.failure() == Failure::Unreadable)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

const TAG: &str = "agentchat:";
/// How long a server that drains by itself must write nothing before it counts as done.
const QUIET: Duration = Duration::from_millis(150);
/// How often it is asked whether it is.
const DRAIN_CHECKS: u32 = 10;
/// Conversations that are looked at together.
const AT_ONCE: usize = 8;
/// Rows that there is memory for between two bursts.
const KEPT: usize = 128;
/// Pages of history that are read to close one hole.
const HISTORY_PAGES: usize = 10;
