//! The inboxes a session reads, each over all its connections. Knows no clock.

mod keeping;
mod reading;
mod settling;

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use tokio::time::Instant;

use super::observer::Observer;
use super::own_sends::OwnSends;
use super::positions::Drafts;
use super::recall::Recall;
use crate::address::Address;
use crate::capability::Capabilities;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::id::{AckTag, ConversationId};
use crate::options::{Inbox as Target, SubscribeOptions};
use crate::session::backoff::{Backoff, BackoffPolicy};
use crate::session::inbox::{Inbox, InboxLimits, InboxStats};
use crate::transport::{Event, EventStream};

/// The inboxes by number.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) observer: Observer,
    /// Boxed: a node of the map has room for eleven, and most sessions have one.
    open: BTreeMap<u64, Box<Slot>>,
    next: u64,
    /// The upper half of what this session's ack tags begin with, so that another's are known for foreign;
    /// the lower half is the slot.
    session: u64,
    retry: BackoffPolicy,
    /// Whose messages are not handed out in the agent's own inbox.
    own: Option<Address>,
    sent: OwnSends,
    /// The counts of inboxes that are no longer read.
    past: InboxStats,
    /// What was settled in inboxes that are forgotten.
    acks: Vec<AckTag>,
    recall: Recall,
    drafts: Drafts,
}

/// What has to be done for an inbox.
pub(super) enum SlotWork {
    Subscribe(u64, SubscribeOptions),
    /// Read on, and hand over what there is without waiting: up to so many messages and bytes.
    Read(u64, EventStream, (usize, usize)),
    History {
        slot: u64,
        conversation: ConversationId,
        from: u64,
        limit: usize,
    },
    Ack(Vec<AckTag>),
}

/// An item of a subscription. Messages are large and pass through many hands: they are boxed at once.
#[derive(Debug)]
pub(super) enum Item {
    Message(Box<Delivery>),
    /// Everything else; `None` is the end.
    Other(Box<Option<Result<Event>>>),
}

/// What a reader is told.
#[derive(Debug)]
pub(super) enum Told {
    Message(Box<Delivery>),
    Other(Box<Event>),
}

/// What an item of a subscription means for the session.
#[derive(Debug)]
pub(super) enum Verdict {
    Goes,
    /// The connection is gone.
    Lost(Error),
}

struct Slot {
    inbox: Inbox,
    observer: Observer,
    /// How it is read again on the next attachment.
    options: SubscribeOptions,
    own: bool,
    reader: Option<Reader>,
    link: Link,
    /// Something was settled that the network can be told of only when it has come again.
    owes: bool,
    backoff: Backoff,
    /// Read although there was no credit, so that the end of a backlog is seen: waits for credit.
    stash: VecDeque<Stashed>,
    acks: Vec<AckTag>,
    asks: VecDeque<(ConversationId, u64, usize)>,
    room: usize,
    keep: Option<Box<keeping::Kept>>,
}

enum Stashed {
    Message(Box<Delivery>),
    /// The backlog has not ended before its last rows are taken in.
    CaughtUp,
}

#[derive(Debug, Default)]
struct Reader {
    ready: VecDeque<Told>,
    caught_up: bool,
    end: Option<Error>,
    ended: bool,
    waker: Option<Waker>,
}

/// How an inbox stands on the attachment of now.
enum Link {
    Down,
    Opening,
    Later(Instant),
    /// A job has the stream and waits for its next item.
    Reading,
    Resting(EventStream),
}

impl Slots {
    pub(super) fn new(session: u32, retry: BackoffPolicy, own: Option<Address>) -> Self {
        Self {
            observer: Observer::default(),
            open: BTreeMap::new(),
            next: 0,
            session: u64::from(session) << 32,
            retry,
            own,
            sent: OwnSends::default(),
            past: InboxStats::default(),
            acks: Vec::new(),
            recall: Recall::default(),
            drafts: Drafts::new(),
        }
    }

    /// Begins to read what `stream` reads, for a new reader. Returns the number of the inbox.
    pub(super) fn open(
        &mut self,
        address: &Address,
        is_own: bool,
        options: &SubscribeOptions,
        capabilities: &Capabilities,
        stream: EventStream,
        now: Instant,
    ) -> u64 {
        let mut again = options.clone();
        again.inbox = if is_own { Target::Own } else { Target::Existing(address.clone()) };
        let mut idle = self.open.iter_mut().filter(|(_, slot)| slot.reader.is_none());
        // The bounds are each reader's own: what was settled is known whatever they are.
        if let Some((number, slot)) = idle.find(|(_, slot)| slot.options.inbox == again.inbox) {
            slot.reader = Some(Reader::default());
            slot.room = room(&again);
            slot.inbox.set_bounds(&again);
            slot.options = again;
            slot.inbox.on_subscribed(now);
            slot.note_earlier_sends(&self.sent, now);
            slot.link = Link::Resting(stream);
            return *number;
        }
        let number = self.next;
        self.next += 1;
        let mut limits = InboxLimits::new(self.session | number, is_own, capabilities, options);
        // Nothing of an agent's own comes back to its other inboxes but what it sent there on purpose.
        limits.own = self.own.clone().filter(|_| is_own);
        let mut slot = Slot {
            room: room(&again),
            inbox: Inbox::new(limits, now),
            observer: self.observer.clone(),
            options: again,
            own: is_own,
            reader: Some(Reader::default()),
            link: Link::Resting(stream),
            owes: false,
            backoff: Backoff::new(self.retry),
            stash: VecDeque::new(),
            acks: Vec::new(),
            asks: VecDeque::new(),
            keep: None,
        };
        slot.keep = self.keep_for(&mut slot, address, capabilities, now);
        if slot.keep.is_some() {
            slot.inbox.keep_identities();
        }
        slot.note_earlier_sends(&self.sent, now);
        self.open.insert(number, Box::new(slot));
        number
    }

    /// The reader went away. What it had may still be settled, and what was settled is recognised by the
    /// next reader, as long as the inbox is remembered. Gives back the subscription, when no job has it.
    pub(super) fn abandon(&mut self, number: u64, now: Instant) -> Option<EventStream> {
        let mut stream = None;
        if let Some(slot) = self.open.get_mut(&number) {
            slot.reader = None;
            if let Link::Resting(resting) = std::mem::replace(&mut slot.link, Link::Down) {
                stream = Some(resting);
            }
            slot.stash.clear();
            slot.asks.clear();
            slot.inbox.on_abandoned(now);
            slot.forget_handed();
            slot.pump();
        }
        let idle = self.open.iter().filter(|(_, slot)| slot.reader.is_none());
        let idle: Vec<(bool, u64)> = idle.map(|(number, slot)| (slot.own, *number)).collect();
        // The agent's own inbox is remembered before others, the newer ones before the older.
        if let Some((_, oldest)) = idle.iter().min().filter(|_| idle.len() > IDLE)
            && let Some(slot) = self.open.remove(oldest)
        {
            add(&mut self.past, &slot.inbox.stats());
            self.acks.extend(slot.acks);
        }
        stream
    }

    /// There is a connection, or there is none any more: what was read is to be read anew.
    pub(super) fn on_disconnected(&mut self, now: Instant) {
        self.acks.clear();
        for slot in self.open.values_mut() {
            slot.disconnect(now);
            slot.link = Link::Down;
        }
    }

    /// The network gave this number to a message of this session.
    pub(super) fn note_own_send(&mut self, conversation: &ConversationId, seq: u64, now: Instant) {
        self.sent.note(conversation, seq);
        for slot in self.open.values_mut().filter(|slot| slot.own && slot.reader.is_some()) {
            slot.inbox.note_own_send(conversation, seq, now);
            slot.pump();
        }
    }

    /// Does what is due by time.
    pub(super) fn tick(&mut self, now: Instant) {
        for slot in self.open.values_mut().filter(|slot| slot.reader.is_some()) {
            if slot.inbox.deadline().is_some_and(|at| at <= now) {
                slot.inbox.on_tick(now);
                slot.refill(now);
                slot.pump();
            }
        }
    }

    /// What to do on the attachment of now.
    pub(super) fn work(&mut self, now: Instant) -> Vec<SlotWork> {
        let mut work = Vec::new();
        if !self.acks.is_empty() {
            work.push(SlotWork::Ack(std::mem::take(&mut self.acks)));
        }
        for (number, slot) in &mut self.open {
            if !slot.acks.is_empty() {
                work.push(SlotWork::Ack(std::mem::take(&mut slot.acks)));
            }
            while let Some((conversation, from, limit)) = slot.asks.pop_front() {
                work.push(SlotWork::History { slot: *number, conversation, from, limit });
            }
            let Some(reader) = slot.reader.as_ref().filter(|reader| !reader.is_over()) else { continue };
            let room = slot.room.saturating_sub(reader.ready.len() + slot.held_back());
            let readable = slot.stash.is_empty() && room > 0;
            match std::mem::replace(&mut slot.link, Link::Reading) {
                Link::Resting(stream) if readable => {
                    let (messages, bytes) = slot.inbox.credit();
                    work.push(SlotWork::Read(*number, stream, (messages.min(room), bytes)));
                }
                Link::Down => slot.link = slot.open(*number, &mut work),
                Link::Later(at) if at <= now => slot.link = slot.open(*number, &mut work),
                other => slot.link = other,
            }
        }
        work
    }

    pub(super) fn deadline(&self, attached: bool) -> Option<Instant> {
        let read = self.open.values().filter(|slot| slot.reader.is_some());
        let moments = read.flat_map(|slot| {
            let later = match slot.link {
                Link::Later(at) if attached => Some(at),
                _ => None,
            };
            slot.inbox.deadline().into_iter().chain(later)
        });
        moments.chain(self.keep_deadline()).min()
    }

    /// Every subscription ends with `why`, after what was handed over already.
    pub(super) fn end(&mut self, why: &Error) {
        for slot in self.open.values_mut() {
            slot.link = Link::Down;
            slot.finish(why.copy());
        }
    }

    pub(super) fn catching_up(&self) -> bool {
        self.open.values().any(|slot| slot.own && slot.reader.is_some() && slot.inbox.is_catching_up())
    }

    /// How many messages were taken in and not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.open.values().map(|slot| slot.inbox.unsettled()).sum()
    }

    pub(super) fn stats(&self) -> InboxStats {
        let mut sum = self.past;
        for slot in self.open.values() {
            add(&mut sum, &slot.inbox.stats());
        }
        sum
    }
}

impl Slot {
    fn open(&self, number: u64, work: &mut Vec<SlotWork>) -> Link {
        work.push(SlotWork::Subscribe(number, self.options.clone()));
        Link::Opening
    }

    fn disconnect(&mut self, now: Instant) {
        self.inbox.on_disconnected(now);
        self.stash.clear();
        self.link = Link::Down;
        // Settled, but not handed to the attachment yet.
        self.owes |= !self.acks.is_empty();
        self.acks.clear();
        self.asks.clear();
        self.pump();
    }

    fn note_earlier_sends(&mut self, sent: &OwnSends, now: Instant) {
        for (conversation, seq) in sent.iter().filter(|_| self.own) {
            self.inbox.note_earlier_send(conversation, *seq, now);
        }
    }
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        match event {
            Event::Message(delivery) => Self::Message(Box::new(delivery)),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<Told> for Event {
    fn from(told: Told) -> Self {
        match told {
            Told::Message(delivery) => Self::Message(*delivery),
            Told::Other(event) => *event,
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("own", &self.own).finish_non_exhaustive()
    }
}

fn add(sum: &mut InboxStats, more: &InboxStats) {
    sum.received += more.received;
    sum.delivered += more.delivered;
    sum.duplicates += more.duplicates;
    sum.self_filtered += more.self_filtered;
    sum.late += more.late;
    sum.gaps += more.gaps;
    sum.gaps_filled += more.gaps_filled;
}

/// How many events may wait for a reader.
fn room(options: &SubscribeOptions) -> usize {
    options.max_unsettled.max(1).saturating_add(EVENTS)
}

/// How many inboxes that nobody reads are remembered.
const IDLE: usize = 16;
/// How many events beside messages may wait for a reader before the reading stops.
const EVENTS: usize = 64;
