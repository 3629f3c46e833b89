//! The network itself: inboxes, the directory, and the dice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::faults::LoopbackFaults;
use super::inbox::InboxState;
use super::{SCHEME, disconnected};
use crate::address::Address;
use crate::capability::{AckGuarantee, Capabilities, OrderGuarantee};
use crate::card::AgentCard;
use crate::delivery::{Receipt, SendOutcome};
use crate::directory::{AgentEntry, AgentStatus, Discovered, Heartbeat, Query, SearchBy, SearchRan};
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{ClientMsgId, ConversationId, MessageId};
use crate::message::Outbound;

/// Everything the attachments share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) inboxes: HashMap<Address, InboxState>,
    registry: BTreeMap<String, Registered>,
    /// What was accepted last, by sender and client id.
    accepted: HashMap<(Address, ClientMsgId), MessageId>,
    accepted_order: VecDeque<(Address, ClientMsgId)>,
    seqs: HashMap<ConversationId, u64>,
    next_id: u64,
    /// Attachments of an older epoch are cut.
    epoch: u64,
    dice: fastrand::Rng,
    faults: LoopbackFaults,
}

#[derive(Debug)]
struct Registered {
    card: AgentCard,
    address: Address,
    reported: Option<(Heartbeat, Instant)>,
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
            registry: BTreeMap::new(),
            accepted: HashMap::new(),
            accepted_order: VecDeque::new(),
            seqs: HashMap::new(),
            next_id: 0,
            epoch: 0,
            dice: fastrand::Rng::with_seed(faults.seed),
            faults,
        }
    }

    pub(crate) fn attach(&mut self, address: &Address) -> (u64, Capabilities) {
        self.inboxes.entry(address.clone()).or_default();
        let order = match self.faults.reorder > 0.0 {
            true => OrderGuarantee::None,
            false => OrderGuarantee::ConversationAndPriority,
        };
        let capabilities = Capabilities {
            directory: true,
            readable_status: true,
            durable_inbox: true,
            ack: AckGuarantee::Redelivers,
            order,
            server_dedup: true,
            priority: true,
            ttl: true,
            delay: true,
            keyed_state: true,
            extra_inbox: true,
            ..Capabilities::none(&[SCHEME])
        };
        (self.epoch, capabilities)
    }

    pub(crate) fn cut(&mut self) {
        self.epoch += 1;
        for inbox in self.inboxes.values() {
            inbox.changed.notify_waiters();
        }
    }

    pub(crate) fn check(&self, epoch: u64, operation: &'static str) -> Result<()> {
        if epoch == self.epoch { Ok(()) } else { Err(disconnected(operation)) }
    }

    pub(crate) fn latency(&self) -> Duration {
        self.faults.latency
    }

    pub(crate) fn reorders(&mut self) -> bool {
        self.faults.reorder > 0.0 && self.dice.f64() < self.faults.reorder
    }

    pub(crate) fn fresh_inbox(&mut self) -> Result<Address> {
        let address = Address::of(SCHEME, &format!("reply.{}", uuid::Uuid::new_v4().simple()))?;
        self.inboxes.entry(address.clone()).or_default();
        Ok(address)
    }

    pub(crate) fn send(&mut self, epoch: u64, sender: &Address, message: &Outbound) -> Result<Receipt> {
        self.check(epoch, "send")?;
        let LoopbackFaults { lose_request, lose_answer, duplicate, cut, .. } = self.faults;
        if self.throw(cut) {
            self.cut();
            return Err(disconnected("send"));
        }
        if self.throw(lose_request) {
            return Err(Error::new(ErrorKind::Timeout, "send", "no answer came"));
        }
        let receipt = self.accept(sender, message)?;
        if self.throw(duplicate) {
            self.store(sender, message)?;
        }
        if self.throw(cut) {
            self.cut();
            return Err(disconnected("send"));
        }
        if self.throw(lose_answer) {
            return Err(Error::new(ErrorKind::Timeout, "send", "no answer came"));
        }
        Ok(receipt)
    }

    fn throw(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.dice.f64() < chance
    }

    fn accept(&mut self, sender: &Address, message: &Outbound) -> Result<Receipt> {
        let key = (sender.clone(), message.client_msg_id.clone());
        if let Some(known) = self.accepted.get(&key) {
            return Ok(Receipt::new(SendOutcome::Duplicate(known.clone())));
        }
        let id = self.store(sender, message)?;
        self.accepted.insert(key.clone(), id.clone());
        self.accepted_order.push_back(key);
        if self.accepted_order.len() > REMEMBERED
            && let Some(oldest) = self.accepted_order.pop_front()
        {
            self.accepted.remove(&oldest);
        }
        let delayed = message.delay.is_some_and(|delay| !delay.is_zero());
        Ok(Receipt::new(if delayed { SendOutcome::Deferred } else { SendOutcome::Accepted(id) }))
    }

    fn store(&mut self, sender: &Address, message: &Outbound) -> Result<MessageId> {
        let Some(inbox) = self.inboxes.get_mut(&message.to) else {
            return Err(Error::new(ErrorKind::NotFound, "send", "no such inbox").with_reached(Reached::Yes));
        };
        let id = self.next_id;
        self.next_id += 1;
        let seq = message.conversation.as_ref().map(|conversation| {
            let seq = self.seqs.entry(conversation.clone()).or_default();
            *seq += 1;
            *seq
        });
        inbox.store(id, message.clone(), sender.clone(), seq);
        MessageId::new(id.to_string())
    }

    pub(crate) fn register(&mut self, address: &Address, card: &AgentCard) {
        let entry = Registered { card: card.clone(), address: address.clone(), reported: None };
        self.registry.insert(card.name().to_owned(), entry);
    }

    pub(crate) fn unregister(&mut self, address: &Address) {
        self.registry.retain(|_, entry| entry.address != *address);
    }

    pub(crate) fn report(&mut self, address: &Address, heartbeat: &Heartbeat) {
        for entry in self.registry.values_mut().filter(|entry| entry.address == *address) {
            entry.reported = Some((heartbeat.clone(), Instant::now()));
        }
    }

    pub(crate) fn discover(&self, query: &Query) -> Discovered {
        let mut found: Vec<(&Registered, usize)> = self
            .registry
            .values()
            .map(|entry| (entry, entry.matches(&query.by)))
            .filter(|(_, score)| *score > 0)
            .collect();
        found.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        let entries = found.into_iter().map(|(entry, _)| entry.describe());
        let alive = |entry: &AgentEntry| entry.status.as_ref().is_some_and(|status| status.alive);
        let entries = entries.filter(|entry| !query.alive_only || alive(entry));
        let ran = match query.by {
            SearchBy::Text(_) | SearchBy::Meaning(_) => SearchRan::LocalText,
            SearchBy::All | SearchBy::Name(_) | SearchBy::Tag(_) => SearchRan::Exact,
        };
        Discovered::new(entries.take(query.limit).collect(), ran)
    }
}

impl Registered {
    /// How well the entry answers; 0 means not at all.
    fn matches(&self, by: &SearchBy) -> usize {
        match by {
            SearchBy::All => 1,
            SearchBy::Name(name) => usize::from(self.card.name() == name),
            SearchBy::Tag(tag) => usize::from(self.card.tags().any(|own| own == tag)),
            SearchBy::Text(text) | SearchBy::Meaning(text) => {
                shared_words(text, &self.card.searchable_text())
            }
        }
    }

    fn describe(&self) -> AgentEntry {
        let address = Some(self.address.clone());
        let mut entry = AgentEntry::new(self.card.name(), address, self.card.document().clone());
        entry.status = self.reported.as_ref().map(|(heartbeat, at)| {
            let age = at.elapsed();
            AgentStatus::new(&heartbeat.status, heartbeat.active_tasks, age, heartbeat.interval)
        });
        entry
    }
}

/// How many words of four or more letters the two share, without regard to case.
fn shared_words(query: &str, text: &str) -> usize {
    let words = |text: &str| -> std::collections::HashSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 4);
        words.map(str::to_lowercase).collect()
    };
    words(query).intersection(&words(text)).count()
}

/// How many accepted messages are remembered by sender and client id.
const REMEMBERED: usize = 65_536;
