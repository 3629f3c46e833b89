//! The network itself: inboxes, the directory, who is attached, and the dice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::sync::watch;
use tokio::time::Instant;

use super::SCHEME;
use super::accepted::{Accepted, Key, Keys, Stamp};
use super::attachment::Life;
use super::faults::LoopbackFaults;
use super::hooks::Gate;
use super::inbox::{InboxLimits, InboxState, UNREAD};
use super::moment::Moment;
use super::registry::Registry;
use super::stored::Stored;
use super::view::Ahead;
use crate::address::Address;
use crate::capability::{AckGuarantee, Capabilities, OrderGuarantee};
use crate::clock::after;
use crate::delivery::{Receipt, SendOutcome};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{AckTag, MessageId};
use crate::message::Outbound;
use crate::numbers::NumberMap;
use crate::options::{SubscribeOptions, at_least_one};

/// What may happen to a row on its way to a reader.
pub(crate) struct Luck<'a> {
    reorder: f64,
    drop: f64,
    dice: &'a mut fastrand::Rng,
}

/// Who sends.
pub(crate) struct Sender<'a> {
    pub(crate) attachment: u64,
    /// The number of its inbox.
    pub(crate) inbox: u64,
    pub(crate) address: &'a Address,
}

/// A message to be stored, with what can be made of it before the network is locked.
pub(crate) struct Draft {
    key: Key,
    stored: Option<Arc<Stored>>,
}

/// What a subscription reads: the number of the inbox, that of the view, and what it was given ahead.
pub(crate) type Seat = (u64, u64, Arc<Ahead>);

/// Everything the attachments share.
#[derive(Debug)]
pub(crate) struct Hub {
    /// The inboxes by the number that stands in ack tags, so that no tag tells an address.
    inboxes: NumberMap<InboxState>,
    numbers: HashMap<Address, u64>,
    /// The one of them that was sent to last.
    last: Option<(Address, u64)>,
    /// Fresh inboxes in the order they expire.
    expiring: BTreeSet<(Instant, Address)>,
    /// Fresh inboxes that may have been given up, by when that is to be seen to.
    unread: VecDeque<(Instant, u64)>,
    pub(crate) registry: Registry,
    pub(crate) gate: Gate,
    accepted: Accepted,
    attached: HashMap<u64, watch::Sender<Life>>,
    next_attachment: u64,
    next_id: u64,
    dice: fastrand::Rng,
    faults: LoopbackFaults,
    pub(crate) limits: InboxLimits,
    /// Rows that are settled and still stored, by inbox: where nobody can tell, they are removed by whoever
    /// sends next, whose cache has them and whose allocator takes their memory for the new ones.
    settled: VecDeque<(u64, u64)>,
    /// What left, to be dropped once the network is not locked any more.
    pub(super) left: Vec<Arc<Stored>>,
    /// Readers to wake once the network is not locked any more.
    pub(super) woken: Vec<Waker>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(LoopbackFaults::default())
    }
}

impl Hub {
    pub(crate) fn new(faults: LoopbackFaults) -> Self {
        Self {
            inboxes: NumberMap::default(),
            numbers: HashMap::new(),
            last: None,
            expiring: BTreeSet::new(),
            unread: VecDeque::new(),
            registry: Registry::default(),
            gate: Gate::default(),
            accepted: Accepted::default(),
            attached: HashMap::new(),
            next_attachment: 0,
            next_id: 0,
            dice: fastrand::Rng::with_seed(faults.seed),
            faults,
            limits: InboxLimits { messages: INBOX_MESSAGES, bytes: INBOX_BYTES },
            settled: VecDeque::new(),
            left: Vec::new(),
            woken: Vec::new(),
        }
    }

    /// Whether the network is one that can be.
    pub(crate) fn check(&self) -> Result<()> {
        self.faults.check()?;
        at_least_one("connect", "inbox limit: messages", self.limits.messages)?;
        at_least_one("connect", "inbox limit: bytes", self.limits.bytes)
    }

    /// The numbers of the attachment and of its inbox, and how it stands.
    pub(crate) fn attach(&mut self, address: &Address) -> (u64, u64, watch::Receiver<Life>) {
        let known = self.numbers.get(address).copied();
        let inbox = known.unwrap_or_else(|| self.open(address.clone(), None));
        self.next_attachment += 1;
        let (sender, receiver) = watch::channel(Life::Live);
        self.attached.insert(self.next_attachment, sender);
        (self.next_attachment, inbox, receiver)
    }

    pub(crate) fn keys(&self) -> Keys {
        self.accepted.keys()
    }

    pub(crate) fn detach(&mut self, attachment: u64) {
        self.attached.remove(&attachment);
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        let LoopbackFaults { reorder, numbered, cursor, one_inbox, .. } = self.faults;
        let order = match (reorder > 0.0, numbered) {
            (true, _) => OrderGuarantee::None,
            (false, true) => OrderGuarantee::Conversation,
            (false, false) => OrderGuarantee::ConversationAndPriority,
        };
        Capabilities {
            directory: true,
            cards: true,
            readable_status: true,
            durable_inbox: true,
            ack: if cursor { AckGuarantee::Cumulative } else { AckGuarantee::Redelivers },
            order,
            numbered,
            server_dedup: true,
            priority: !numbered,
            ttl: !numbered,
            delay: !numbered,
            keyed_state: !numbered,
            extra_inbox: !one_inbox,
            replay: true,
            ..Capabilities::none(&[SCHEME])
        }
    }

    pub(crate) fn end_all(&mut self, how: Life) {
        for life in self.attached.values() {
            end(life, how);
        }
    }

    pub(crate) fn close(&mut self, attachment: u64) {
        if let Some(life) = self.attached.get(&attachment) {
            end(life, Life::Closed);
        }
    }

    pub(crate) fn latency(&self) -> Duration {
        self.faults.latency
    }

    pub(crate) fn fresh_inbox(&mut self, ttl: Duration) -> Result<Address> {
        let address = Address::of(SCHEME, &format!("reply.{}", uuid::Uuid::new_v4().simple()))?;
        self.open(address.clone(), Some(after(Instant::now(), ttl)));
        Ok(address)
    }

    /// A fresh inbox that was opened before.
    pub(crate) fn opened_inbox(&mut self, address: Address) -> Result<Address> {
        self.sweep(&Moment::default());
        match self.inbox(&address).is_some_and(|inbox| inbox.expires.is_some()) {
            true => Ok(address),
            false => Err(super::reader::gone("subscribe")),
        }
    }

    pub(crate) fn inbox(&mut self, address: &Address) -> Option<&mut InboxState> {
        self.inboxes.get_mut(self.numbers.get(address)?)
    }

    /// The number of the inbox that a message goes to.
    fn number(&mut self, address: &Address) -> Option<u64> {
        if let Some((last, number)) = &self.last
            && last == address
        {
            return Some(*number);
        }
        let number = *self.numbers.get(address)?;
        self.last = Some((address.clone(), number));
        Some(number)
    }

    fn open(&mut self, address: Address, expires: Option<Instant>) -> u64 {
        let number = self.next_id;
        self.next_id += 1;
        self.expiring.extend(expires.map(|at| (at, address.clone())));
        let mut inbox = InboxState::new(number, expires);
        inbox.plain = self.faults.reorder <= 0.0 && self.faults.drop <= 0.0;
        self.inboxes.insert(number, inbox);
        self.numbers.insert(address, number);
        number
    }

    /// Removes the fresh inboxes whose time is over.
    pub(crate) fn sweep(&mut self, now: &Moment) {
        while self.expiring.first().is_some_and(|(at, _)| *at <= now.get()) {
            let Some((_, address)) = self.expiring.pop_first() else { return };
            let number = self.numbers.remove(&address);
            self.last = None;
            if let Some(mut inbox) = number.and_then(|number| self.inboxes.remove(&number)) {
                inbox.end(&mut self.woken);
            }
        }
        while self.unread.front().is_some_and(|(at, _)| *at <= now.get()) {
            let Some((_, number)) = self.unread.pop_front() else { return };
            if let Some(inbox) = self.inboxes.get_mut(&number) {
                inbox.clear_abandoned(now.get());
            }
        }
    }

    /// Ends a view of an inbox.
    pub(crate) fn close_view(&mut self, number: u64, view: u64, now: Instant) {
        self.sweep(&Moment::at(now));
        let Some(inbox) = self.inboxes.get_mut(&number) else { return };
        inbox.close_view(view, now);
        if inbox.expires.is_some() {
            self.unread.push_back((after(now, UNREAD), number));
        }
    }

    /// The inbox of that number, and what decides about its rows.
    pub(crate) fn reading(&mut self, number: u64) -> Option<(&mut InboxState, Luck<'_>)> {
        let LoopbackFaults { reorder, drop, .. } = self.faults;
        let luck = Luck { reorder, drop, dice: &mut self.dice };
        Some((self.inboxes.get_mut(&number)?, luck))
    }

    /// The reader of a view has nothing to do before the next change.
    pub(crate) fn sleep(&mut self, number: u64, view: u64, waker: &Waker) {
        if let Some(inbox) = self.inboxes.get_mut(&number) {
            inbox.sleep(view, waker);
        }
    }

    /// What readers have and did not hand on is theirs no more.
    pub(crate) fn take_back_all(&mut self) {
        self.inboxes.values().for_each(InboxState::take_back);
    }

    pub(crate) fn open_view(&mut self, address: &Address, options: &SubscribeOptions) -> Result<Seat> {
        let (messages, bytes, cursor) =
            (options.max_unsettled, options.max_unsettled_bytes, self.faults.cursor);
        let inbox = self.inbox(address).ok_or_else(|| super::reader::gone("subscribe"))?;
        let (view, ahead) = inbox.open_view(Instant::now(), messages, bytes, cursor);
        Ok((inbox.number, view, ahead))
    }

    /// Settles rows of inboxes, at once or when nobody can tell the difference.
    pub(crate) fn acknowledge(&mut self, rows: &[(u64, u64)]) {
        let later = rows.chunk_by(|one, other| one.0 == other.0).all(|rows| {
            let last = rows.iter().map(|(_, row)| *row).max().unwrap_or_default();
            let inbox = rows.first().and_then(|(number, _)| self.inboxes.get_mut(number));
            inbox.is_some_and(|inbox| inbox.settles_later(last))
        });
        self.settled.extend(rows);
        if !later || self.settled.len() > UNSETTLED {
            self.settle(usize::MAX);
        }
    }

    /// Removes up to `most` rows that are settled. Returns whether there were any.
    pub(crate) fn settle(&mut self, most: usize) -> bool {
        let count = self.settled.len().min(most);
        let mut touched = None;
        for _ in 0..count {
            let Some((number, row)) = self.settled.pop_front() else { break };
            if touched.is_some_and(|touched| touched != number)
                && let Some(inbox) = touched.and_then(|touched| self.inboxes.get_mut(&touched))
            {
                inbox.after_settling(&mut self.woken);
            }
            touched = Some(number);
            // What expired meanwhile needs no acknowledgement.
            if let Some(inbox) = self.inboxes.get_mut(&number) {
                inbox.settle(row, self.faults.cursor, &mut self.left);
            }
        }
        if let Some(inbox) = touched.and_then(|touched| self.inboxes.get_mut(&touched)) {
            inbox.after_settling(&mut self.woken);
        }
        count > 0
    }

    /// Whether the inbox can be read before what is settled is removed.
    pub(crate) fn reads_before_settling(&self, number: u64) -> bool {
        self.inboxes.get(&number).is_some_and(InboxState::is_timeless)
    }

    /// Takes a message in. `Err`: the inbox that it goes to is full, and this is when to try again.
    pub(crate) fn send(
        &mut self,
        from: &Sender<'_>,
        message: &Outbound,
        draft: &mut Draft,
    ) -> std::result::Result<Result<Receipt>, Pin<Box<OwnedNotified>>> {
        let to = self.number(&message.to);
        let inbox = to.and_then(|to| self.inboxes.get(&to));
        // With what is settled nothing is done that it could be told by, but to count it.
        let few = message.key.is_none()
            && message.ttl.is_none()
            && message.delay.is_none()
            && inbox.is_some_and(|inbox| inbox.is_timeless() && inbox.has_room(message, self.limits));
        let most = if self.settled.len() > MANY { 4 } else { 1 };
        self.settle(if few { most } else { usize::MAX });
        match to.and_then(|to| self.inboxes.get_mut(&to)) {
            Some(inbox) if !inbox.has_room(message, self.limits) => Err(inbox.next_room()),
            _ => Ok(self.send_to(to, from, message, draft)),
        }
    }

    fn send_to(
        &mut self,
        to: Option<u64>,
        from: &Sender<'_>,
        message: &Outbound,
        draft: &mut Draft,
    ) -> Result<Receipt> {
        let LoopbackFaults { lose_request, lose_answer, duplicate, cut, .. } = self.faults;
        let now = Moment::default();
        self.sweep(&now);
        if self.throw(cut) {
            return Err(self.cut_one(from.attachment));
        }
        if self.throw(lose_request) {
            return Err(Error::new(ErrorKind::Timeout, "send", "no answer came"));
        }
        let receipt = self.accept(to, from, message, draft, &now)?;
        if self.throw(duplicate) {
            self.store(to, from, message, draft, &now)?;
        }
        if self.throw(cut) {
            return Err(self.cut_one(from.attachment));
        }
        if self.throw(lose_answer) {
            return Err(Error::new(ErrorKind::Timeout, "send", "no answer came"));
        }
        Ok(receipt)
    }

    fn cut_one(&mut self, attachment: u64) -> Error {
        if let Some(life) = self.attached.get(&attachment) {
            end(life, Life::Cut);
        }
        super::disconnected("send")
    }

    fn throw(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.dice.f64() < chance
    }

    fn accept(
        &mut self,
        to: Option<u64>,
        from: &Sender<'_>,
        message: &Outbound,
        draft: &mut Draft,
        now: &Moment,
    ) -> Result<Receipt> {
        let key = draft.key;
        if let Some(known) = self.accepted.find(key, from.inbox, &message.client_msg_id) {
            return Ok(receipt(SendOutcome::Duplicate(MessageId::numbered(known.row)), known.seq));
        }
        let stamp = self.store(to, from, message, draft, now)?;
        self.accepted.remember(key, from.inbox, message.client_msg_id.clone(), stamp);
        let delayed = message.delay.is_some_and(|delay| !delay.is_zero());
        Ok(match delayed {
            true => Receipt::new(SendOutcome::Deferred),
            false => receipt(SendOutcome::Accepted(MessageId::numbered(stamp.row)), stamp.seq),
        })
    }

    fn store(
        &mut self,
        to: Option<u64>,
        from: &Sender<'_>,
        message: &Outbound,
        draft: &mut Draft,
        now: &Moment,
    ) -> Result<Stamp> {
        let LoopbackFaults { numbered, echo, .. } = self.faults;
        let Some(inbox) = to.and_then(|to| self.inboxes.get_mut(&to)) else {
            return Err(Error::new(ErrorKind::NotFound, "send", "no such inbox").with_reached(Reached::Yes));
        };
        let id = self.next_id;
        self.next_id += 1;
        let mut stored = || draft.stored.take().unwrap_or_else(|| Stored::new(message, from.address));
        let mut seq = inbox.store(id, stored(), now, &mut self.woken);
        if to != Some(from.inbox) && (echo || numbered) {
            seq = match self.inboxes.get_mut(&from.inbox) {
                Some(own) if echo => own.store(id, stored(), now, &mut self.woken),
                Some(own) => own.note(id, stored()),
                None => None,
            };
        }
        Ok(Stamp { row: id, seq: seq.filter(|_| numbered) })
    }
}

impl Draft {
    pub(crate) fn new(key: Key, message: &Outbound, sender: &Address) -> Self {
        Self { key, stored: Some(Stored::new(message, sender)) }
    }

    /// It waited: its times count from now.
    pub(crate) fn date(&mut self, message: &Outbound) {
        if let Some(stored) = self.stored.as_mut().and_then(Arc::get_mut) {
            stored.date(message);
        }
    }
}

#[cfg(test)]
impl<'a> Luck<'a> {
    pub(crate) fn plain(dice: &'a mut fastrand::Rng) -> Self {
        Self { reorder: 0.0, drop: 0.0, dice }
    }
}

impl Luck<'_> {
    /// Whether nothing happens to any row.
    pub(crate) fn is_plain(&self) -> bool {
        self.reorder <= 0.0 && self.drop <= 0.0
    }

    /// Whether, of two rows, the second goes first.
    pub(crate) fn reorders(&mut self) -> bool {
        self.reorder > 0.0 && self.dice.f64() < self.reorder
    }

    /// Whether a row does not get there.
    pub(crate) fn drops(&mut self) -> bool {
        self.drop > 0.0 && self.dice.f64() < self.drop
    }
}

/// The inboxes and the rows that the tags name, up to the first tag that is not of this network.
pub(crate) fn rows_of(tags: &[AckTag]) -> Vec<(u64, u64)> {
    let mut rows = Vec::with_capacity(tags.len());
    rows.extend(tags.iter().map_while(AckTag::numbers));
    rows
}

fn receipt(outcome: SendOutcome, seq: Option<u64>) -> Receipt {
    let receipt = Receipt::new(outcome);
    match seq {
        Some(seq) => receipt.with_seq(seq),
        None => receipt,
    }
}

/// How many rows may be settled and still stored.
const UNSETTLED: usize = 1_024;
/// Beyond it a send removes more of them than the one whose memory it takes.
const MANY: usize = 512;
/// What an inbox holds unless it is told otherwise.
const INBOX_MESSAGES: usize = 65_536;
const INBOX_BYTES: usize = 64 * 1024 * 1024;

/// The first end of an attachment is the one it tells of.
fn end(life: &watch::Sender<Life>, how: Life) {
    life.send_if_modified(|life| {
        let live = *life == Life::Live;
        if live {
            *life = how;
        }
        live
    });
}
