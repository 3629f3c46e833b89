//! One subscription: what waited, oldest first, then what arrives, each conversation in its order.

mod backlog;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{
    AckTag, ConversationId, Delivery, Error, ErrorKind, Event, Reached, Result, SubscribeOptions,
};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::fates::Fate;
use super::lost::{AT_ONCE, Found, asked};
use super::names::Names;
use super::order::{Order, Passed};
use super::senders::Senders;
use super::shared::{Owner, Reads, Shared};
use crate::api::AgentChat;
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
    /// Where tags are written before they are made.
    tag: String,
    asks: FuturesUnordered<BoxFuture<'static, (u64, Option<Found>)>>,
    /// How often in a row the server answered no list.
    unreadable: u32,
    number: u64,
    max_messages: usize,
    max_bytes: usize,
    over: bool,
    /// What history has and nobody settled, until it is given out; read once.
    unsettled: Option<Vec<MessageRow>>,
    /// When connections for calls are given back, and how many calls there were when all had been read.
    rests: Option<(Instant, u64)>,
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
            tag: String::new(),
            asks: FuturesUnordered::new(),
            unreadable: 0,
            number,
            max_messages: options.max_unsettled,
            max_bytes: options.max_unsettled_bytes,
            over: false,
            unsettled: None,
            rests: None,
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
            if let Some(event) = self.ready() {
                return Ok(event);
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
                        drop(inner);
                        self.phase = Phase::Live;
                        self.shared.work.notify_one();
                        // An agent that only waits needs none, and an idle one is mostly made of them.
                        self.rests = Some((Instant::now() + RESTS, self.client.begun()));
                        return Ok(Event::CaughtUp);
                    }
                }
                Phase::Live => self.live().await,
                Phase::Behind => Box::pin(self.read_page(Phase::Live)).await?,
            }
        }
    }

    /// The next event that is ready, if there is credit for it.
    pub(crate) fn ready(&mut self) -> Option<Event> {
        if self.over || self.shared.is_over() {
            return None;
        }
        while let Some(passed) = self.ready.front() {
            let row = match passed {
                Passed::Row { row, .. } => row,
                Passed::Gap { .. } if self.shared.inner().reader != self.number => return None,
                Passed::Gap { .. } => match self.ready.pop_front().and_then(|gap| self.gap(gap)) {
                    Some(gap) => return Some(gap),
                    None => continue,
                },
            };
            let fate = match row.id() {
                Some(id) if row.sender() != Some(&*self.own) => {
                    let mut inner = self.shared.inner();
                    if inner.reader != self.number {
                        return None;
                    }
                    match inner.fates.of(id) {
                        Some(Fate::Unsettled(_)) => None,
                        Some(Fate::Settled) => {
                            // The acknowledgement was lost, or is still on its way.
                            let again = inner.fates.settle(id).filter(|_| self.shared.acks);
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
            let Some(Passed::Row { row, late }) = self.ready.pop_front() else { return None };
            let own = row.id().is_some() && row.sender() == Some(&*self.own);
            match fate {
                None if own => self.pass_over(&row),
                None => {}
                Some(fate) => match self.delivery(&row, late, fate) {
                    Some(delivery) => return Some(Event::Message(delivery)),
                    None => self.pass_over(&row),
                },
            }
        }
        None
    }

    /// Tells of a hole that was given up.
    fn gap(&self, passed: Passed) -> Option<Event> {
        let Passed::Gap { conversation, expected, got } = passed else { return None };
        self.shared.counts.gap(expected, got);
        Some(Event::Gap { conversation: ConversationId::new(conversation).ok()?, expected, got })
    }

    /// Hands a row out; nothing for one that cannot be.
    fn delivery(&mut self, row: &MessageRow, late: bool, fate: Option<Fate>) -> Option<Delivery> {
        let id = row.id()?;
        let senders = &mut self.senders;
        write_tag(&mut self.tag, &self.own, id);
        let tag = AckTag::new(&self.tag).ok()?;
        let mut delivery = from_row_of(row, tag, |handle| senders.address(handle))?;
        number_as_server(&mut delivery, row, &self.names);
        (delivery.late, delivery.redelivered) = (late, fate == Some(Fate::Loose));
        self.shared.inner().fates.hand_out(&delivery.id, delivery.size(), fate.is_none());
        if let Some(keeping) = &self.shared.keeping {
            keeping.handed(row);
        }
        Some(delivery)
    }

    /// A row that nobody is given.
    fn pass_over(&self, row: &MessageRow) {
        if let Some(keeping) = &self.shared.keeping {
            keeping.passed_over(row);
        }
    }

    /// Takes what arrived, or waits for more.
    async fn live(&mut self) {
        let now = Instant::now();
        for (conversation, seq) in self.shared.take_sent() {
            self.order.sent(&conversation, seq, &mut self.ready);
        }
        self.shared.swap_arrivals(&mut self.taken);
        let mut overflows = false;
        if !self.taken.is_empty() {
            let fates = &self.shared.inner().fates;
            for row in self.taken.drain(..) {
                // One that was handed out before says nothing about the order.
                if row.id().is_none_or(|id| fates.of(id).is_none()) {
                    overflows |= self.order.row(row, now, &mut self.ready);
                } else {
                    self.ready.push_back(Passed::Row { row, late: false });
                }
            }
        }
        if overflows {
            self.shared.counts.overflow();
        }
        // What one burst took must not be kept for as long as the agent lives.
        self.taken.shrink_to(KEPT);
        self.look_for_holes(now);
        if !self.ready.is_empty() {
            return;
        }
        if std::mem::take(&mut self.shared.inner().missed) {
            (self.phase, self.cursor) = (Phase::Behind, None);
            return;
        }
        if let Some((at, begun)) = self.rests
            && at <= now
        {
            self.rests = None;
            self.client.give_back(begun);
        }
        let rests = self.rests.map(|(at, _)| at);
        let deadline = self.order.deadline().into_iter().chain(rests).min();
        tokio::select! {
            () = self.shared.arrived.notified() => {}
            _ = self.shared.ended() => {}
            Some((number, found)) = self.asks.next() => {
                self.order.history(number, found, Instant::now(), &mut self.ready);
            }
            () = until(deadline) => {}
        }
    }

    /// Lets go what waited long enough for something that is missing, and asks history. Also while messages
    /// come without a pause.
    fn look_for_holes(&mut self, now: Instant) {
        self.order.on_time(now, &mut self.ready);
        while self.asks.len() < AT_ONCE
            && let Some(ask) = self.order.next_ask()
        {
            self.asks.push(Box::pin(asked(self.client.clone(), ask, self.shared.acks)));
        }
        while !self.asks.is_empty()
            && let Some(Some((number, found))) = self.asks.next().now_or_never()
        {
            self.order.history(number, found, now, &mut self.ready);
        }
    }

    fn is_settled(&self, row: &MessageRow) -> bool {
        row.id().is_some_and(|id| self.shared.inner().fates.of(id) == Some(Fate::Settled))
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
        self.shared.work.notify_one();
        if !self.shared.acks {
            if self.shared.keeping.is_none() {
                self.shared.still_due(self.order.unfilled());
            }
            let rows = self.ready.drain(..).filter_map(Passed::into_row).collect::<Vec<_>>();
            let rows = rows.into_iter().chain(self.order.take_held());
            // One that came twice may be settled by now.
            let rows: Vec<_> = rows.filter(|row| !self.is_settled(row)).collect();
            self.shared.put_back(rows.into_iter());
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
    let mut text = String::new();
    write_tag(&mut text, own, id);
    AckTag::new(text).ok()
}

fn write_tag(to: &mut String, own: &str, id: &str) {
    to.clear();
    for part in [TAG, own, "/", id] {
        to.push_str(part);
    }
}

/// The message of a tag of this agent.
pub(crate) fn message_of<'a>(own: &str, tag: &'a AckTag) -> Option<&'a str> {
    tag.as_str().strip_prefix(TAG)?.strip_prefix(own)?.strip_prefix('/')
}

/// Numbers are the server's, in whatever conversation a message says it is.
pub(crate) fn in_server_numbers(mut delivery: Delivery, row: &MessageRow, names: &Names) -> Delivery {
    number_as_server(&mut delivery, row, names);
    delivery
}

fn number_as_server(delivery: &mut Delivery, row: &MessageRow, names: &Names) {
    delivery.seq = row.seq();
    if let (Some(name), Some(server)) = (&delivery.conversation, row.conversation_id()) {
        names.note(name.as_str(), server);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Short: with usual names and ids a tag needs no memory of its own.
const TAG: &str = "ac:";
/// How long connections are kept for calls that come right after the beginning.
const RESTS: Duration = Duration::from_millis(200);
/// Rows that there is memory for between two bursts.
const KEPT: usize = 128;
