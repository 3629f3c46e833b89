//! The network itself: inboxes, the directory, who is attached, and the dice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::SCHEME;
use super::accepted::{Accepted, Stamp};
use super::attachment::Life;
use super::faults::LoopbackFaults;
use super::hooks::Gate;
use super::inbox::{InboxState, UNREAD};
use super::registry::Registry;
use super::view::Ahead;
use crate::address::Address;
use crate::capability::{AckGuarantee, Capabilities, OrderGuarantee};
use crate::clock::after;
use crate::delivery::{Receipt, SendOutcome};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{AckTag, MessageId};
use crate::message::Outbound;
use crate::numbers::NumberMap;
use crate::options::SubscribeOptions;

/// What may happen to a row on its way to a reader.
pub(crate) struct Luck<'a> {
    reorder: f64,
    drop: f64,
    dice: &'a mut fastrand::Rng,
}

/// Everything the attachments share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) inboxes: HashMap<Address, InboxState>,
    /// The inboxes by the number that stands in ack tags, so that no tag tells an address.
    by_number: NumberMap<Address>,
    /// Fresh inboxes in the order they expire.
    expiring: BTreeSet<(Instant, Address)>,
    /// Fresh inboxes that may have been given up, by when that is to be seen to.
    unread: VecDeque<(Instant, Address)>,
    pub(crate) registry: Registry,
    pub(crate) gate: Gate,
    accepted: Accepted,
    attached: HashMap<u64, watch::Sender<Life>>,
    next_attachment: u64,
    next_id: u64,
    dice: fastrand::Rng,
    faults: LoopbackFaults,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(LoopbackFaults::default())
    }
}

impl Hub {
    pub(crate) fn new(faults: LoopbackFaults) -> Self {
        Self {
            inboxes: HashMap::new(),
            by_number: NumberMap::default(),
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
        }
    }

    pub(crate) fn attach(&mut self, address: &Address) -> (u64, watch::Receiver<Life>) {
        if !self.inboxes.contains_key(address) {
            self.open(address.clone(), None);
        }
        self.next_attachment += 1;
        let (sender, receiver) = watch::channel(Life::Live);
        self.attached.insert(self.next_attachment, sender);
        (self.next_attachment, receiver)
    }

    pub(crate) fn detach(&mut self, attachment: u64) {
        self.attached.remove(&attachment);
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        let LoopbackFaults { reorder, numbered, cursor, .. } = self.faults;
        let order = match (reorder > 0.0, numbered) {
            (true, _) => OrderGuarantee::None,
            (false, true) => OrderGuarantee::Conversation,
            (false, false) => OrderGuarantee::ConversationAndPriority,
        };
        Capabilities {
            directory: true,
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
            extra_inbox: true,
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
        self.sweep(Instant::now());
        match self.inboxes.get(&address).is_some_and(|inbox| inbox.expires.is_some()) {
            true => Ok(address),
            false => Err(super::reader::gone("subscribe")),
        }
    }

    fn open(&mut self, address: Address, expires: Option<Instant>) {
        let number = self.next_id;
        self.next_id += 1;
        self.by_number.insert(number, address.clone());
        self.expiring.extend(expires.map(|at| (at, address.clone())));
        self.inboxes.insert(address, InboxState::new(number, expires));
    }

    /// Removes the fresh inboxes whose time is over.
    pub(crate) fn sweep(&mut self, now: Instant) {
        while self.expiring.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, address)) = self.expiring.pop_first() else { return };
            if let Some(inbox) = self.inboxes.remove(&address) {
                self.by_number.remove(&inbox.number);
                inbox.changed.notify_waiters();
            }
        }
        while self.unread.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, address)) = self.unread.pop_front() else { return };
            if let Some(inbox) = self.inboxes.get_mut(&address) {
                inbox.clear_abandoned(now);
            }
        }
    }

    /// Ends a view of an inbox.
    pub(crate) fn close_view(&mut self, address: &Address, view: u64, now: Instant) {
        self.sweep(now);
        let Some(inbox) = self.inboxes.get_mut(address) else { return };
        inbox.close_view(view, now);
        if inbox.expires.is_some() {
            self.unread.push_back((after(now, UNREAD), address.clone()));
        }
    }

    /// The inbox of `address`, and what decides about its rows.
    pub(crate) fn reading(&mut self, address: &Address) -> Option<(&mut InboxState, Luck<'_>)> {
        let LoopbackFaults { reorder, drop, .. } = self.faults;
        let luck = Luck { reorder, drop, dice: &mut self.dice };
        Some((self.inboxes.get_mut(address)?, luck))
    }

    /// What readers have and did not hand on is theirs no more.
    pub(crate) fn take_back_all(&mut self) {
        self.inboxes.values().for_each(InboxState::take_back);
    }

    pub(crate) fn open_view(
        &mut self,
        address: &Address,
        options: &SubscribeOptions,
    ) -> Result<(u64, Arc<Ahead>)> {
        let (messages, bytes) = (options.max_unsettled, options.max_unsettled_bytes);
        let inbox = self.inboxes.get_mut(address).ok_or_else(|| super::reader::gone("subscribe"))?;
        Ok(inbox.open_view(Instant::now(), messages, bytes, self.faults.cursor))
    }

    /// Settles what the tags name, up to the first that is not of this network.
    pub(crate) fn acknowledge(&mut self, tags: &[AckTag]) -> Result<()> {
        let parsed: Vec<(u64, u64)> = tags.iter().map_while(parse).collect();
        for rows in parsed.chunk_by(|one, other| one.0 == other.0) {
            // What expired meanwhile needs no acknowledgement.
            if let Some(address) = rows.first().and_then(|(number, _)| self.by_number.get(number))
                && let Some(inbox) = self.inboxes.get_mut(address)
            {
                inbox.acknowledge(rows.iter().map(|(_, row)| *row), self.faults.cursor);
            }
        }
        match parsed.len() == tags.len() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Invalid, "ack", "this tag is not from this network")),
        }
    }

    pub(crate) fn send(&mut self, attachment: u64, sender: &Address, message: &Outbound) -> Result<Receipt> {
        let LoopbackFaults { lose_request, lose_answer, duplicate, cut, .. } = self.faults;
        let now = Instant::now();
        self.sweep(now);
        if self.throw(cut) {
            return Err(self.cut_one(attachment));
        }
        if self.throw(lose_request) {
            return Err(Error::new(ErrorKind::Timeout, "send", "no answer came"));
        }
        let receipt = self.accept(sender, message, now)?;
        if self.throw(duplicate) {
            self.store(sender, message, now)?;
        }
        if self.throw(cut) {
            return Err(self.cut_one(attachment));
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

    fn accept(&mut self, sender: &Address, message: &Outbound, now: Instant) -> Result<Receipt> {
        // Who is attached has an inbox.
        let from = self.inboxes.get(sender).map_or(u64::MAX, |inbox| inbox.number);
        let key = match self.accepted.find(from, &message.client_msg_id) {
            Ok(known) => {
                return Ok(receipt(SendOutcome::Duplicate(MessageId::numbered(known.row)), known.seq));
            }
            Err(key) => key,
        };
        let stamp = self.store(sender, message, now)?;
        self.accepted.remember(key, from, message.client_msg_id.clone(), stamp);
        let delayed = message.delay.is_some_and(|delay| !delay.is_zero());
        Ok(match delayed {
            true => Receipt::new(SendOutcome::Deferred),
            false => receipt(SendOutcome::Accepted(MessageId::numbered(stamp.row)), stamp.seq),
        })
    }

    fn store(&mut self, sender: &Address, message: &Outbound, now: Instant) -> Result<Stamp> {
        let LoopbackFaults { numbered, echo, .. } = self.faults;
        let Some(inbox) = self.inboxes.get_mut(&message.to) else {
            return Err(Error::new(ErrorKind::NotFound, "send", "no such inbox").with_reached(Reached::Yes));
        };
        let id = self.next_id;
        self.next_id += 1;
        let mut seq = inbox.store(id, message, sender, now);
        if message.to != *sender {
            seq = match self.inboxes.get_mut(sender) {
                Some(own) if echo => own.store(id, message, sender, now),
                Some(own) if numbered => own.note(id, message, sender, now),
                _ => None,
            };
        }
        Ok(Stamp { row: id, seq: seq.filter(|_| numbered) })
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

/// The inbox and the row that a tag names.
fn parse(tag: &AckTag) -> Option<(u64, u64)> {
    let (inbox, row) = tag.as_str().split_once('.')?;
    Some((inbox.parse().ok()?, row.parse().ok()?))
}

fn receipt(outcome: SendOutcome, seq: Option<u64>) -> Receipt {
    let receipt = Receipt::new(outcome);
    match seq {
        Some(seq) => receipt.with_seq(seq),
        None => receipt,
    }
}

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
