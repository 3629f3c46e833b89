//! CREATE, SEND, plain publishes, and what happens to mailboxes and messages with time.

use bytes::Bytes;

use super::delay::Refused;
use super::headers::Fields;
use super::request::{MailboxCreateReq, parse_or_default};
use super::storage::{Record, Topic};
use super::{COLLECT_EACH_MS, Change, Command, Engine, RETAIN_EACH_MS, RETAIN_S, Rules, names, reply};

/// The budget of topics that plain publishes made and no mailbox claimed.
#[derive(Default)]
pub(crate) struct Unclaimed {
    topics: usize,
    bytes: usize,
}

impl Engine {
    pub(super) fn create(&mut self, body: &[u8]) -> (Result<Bytes, String>, Change) {
        match self.create_inner(body) {
            Ok((reply, change)) => (Ok(reply), change),
            Err(text) if self.profile.rules == Rules::Documented => {
                (Ok(reply::error_with_empty_address(&text)), Change::None)
            }
            Err(text) => (Err(text), Change::None),
        }
    }

    fn create_inner(&mut self, body: &[u8]) -> Result<(Bytes, Change), String> {
        let request: MailboxCreateReq = parse_or_default(body, "invalid MAILBOX.CREATE payload: ")?;
        let address = match request.name {
            Some(name) => match names::fault(&name, self.profile.rules) {
                Some(fault) => return Err(fault.into()),
                None => name,
            },
            None => self.new_id(),
        };
        let topic = self.topics.entry(address.clone()).or_insert_with(|| Topic::new(self.profile.partitions));
        if topic.is_mailbox {
            return Err(format!("mailbox {address} already exists"));
        }
        let ttl_s = request.ttl.unwrap_or(DEFAULT_TTL_S);
        let expires_at_ms =
            (ttl_s > 0).then(|| self.clock.now_ms().saturating_add(ttl_s.saturating_mul(1000)));
        topic.is_mailbox = true;
        let change = if topic.volatile && topic.unclaimed_bytes > 0 {
            self.unclaimed.topics -= 1;
            self.unclaimed.bytes -= std::mem::take(&mut topic.unclaimed_bytes);
            Change::Claimed(address.clone(), topic.next_ids())
        } else {
            Change::State
        };
        if let Some(at) = expires_at_ms {
            self.expiries.insert((at, address.clone()));
        }
        Ok((reply::created(&address), change))
    }

    pub(super) fn send(&mut self, address: &str, command: Command<'_>) -> (Result<Bytes, String>, Change) {
        let now_s = self.clock.now_s();
        let Some(topic) = self.topics.get_mut(address).filter(|topic| topic.is_mailbox) else {
            return (Err(missing_mailbox(address)), Change::None);
        };
        let fields = Fields::parse(command.header);
        let mut record = Record {
            payload: Bytes::copy_from_slice(command.payload),
            header: command.header.map(Bytes::copy_from_slice),
            priority: Some(fields.priority),
            key: fields.key.map(str::to_owned),
            tags: fields.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            create_s: now_s,
            // Wraps as the broker's does: a ttl near 2^64 lies in the past.
            last_s: fields.ttl_s.map(|ttl| now_s.wrapping_add(ttl)),
        };
        let Some(delay_s) = fields.delay_s else {
            return (Ok(reply::sent(Some(topic.append(record, &mut self.turn)))), Change::State);
        };
        // The delayed path drops both in the broker.
        (record.key, record.last_s) = (None, None);
        (self.send_later(address, delay_s, record), Change::State)
    }

    fn send_later(&mut self, address: &str, delay_s: u64, record: Record) -> Result<Bytes, String> {
        let mortal = self.profile.rules == Rules::RobustMq;
        match self.delays.take(self.clock.now_ms(), delay_s, address, record, mortal) {
            Ok(()) => Ok(reply::sent(None)),
            Err(Refused::Dead(worker)) => {
                Err(format!("Failed to send Insert cmd to delay message shard {worker}: "))
            }
            Err(Refused::Poisoned) => {
                let id = self.new_id();
                Err(format!("Pop thread dropped before replying with key: unique_id={id}"))
            }
        }
    }

    /// Keeps a plain publish under its subject, where the subject could be a mailbox's name.
    ///
    /// One that no mailbox claimed is in no journal, so it takes no turn of the partitions either.
    pub(super) fn store_plain(&mut self, command: Command<'_>) -> Change {
        let name = command.subject;
        if names::fault(name, self.profile.rules).is_some() {
            return Change::None;
        }
        let record = Record {
            payload: Bytes::copy_from_slice(command.payload),
            header: None,
            priority: None,
            key: None,
            tags: Vec::new(),
            create_s: self.clock.now_s(),
            last_s: None,
        };
        let cost = command.payload.len() + RECORD_COST;
        let room = self.unclaimed.bytes + cost <= UNCLAIMED_BYTES;
        match self.topics.get_mut(name) {
            Some(topic) if topic.unclaimed_bytes == 0 => {
                topic.append(record, &mut self.turn);
                return Change::State;
            }
            Some(topic) if room => {
                topic.append_apart(record);
                topic.unclaimed_bytes += cost;
            }
            None if room && self.unclaimed.topics < UNCLAIMED_TOPICS => {
                let mut topic = Topic::new(self.profile.partitions);
                topic.append_apart(record);
                (topic.volatile, topic.unclaimed_bytes) = (true, cost);
                self.topics.insert(name.to_owned(), topic);
                self.unclaimed.topics += 1;
            }
            _ => return Change::None,
        }
        self.unclaimed.bytes += cost;
        Change::None
    }

    pub(super) fn deliver_due(&mut self) {
        while let Some((due_ms, delayed)) = self.delays.due(self.clock.now_ms()) {
            if let Some(topic) = self.topics.get_mut(&delayed.topic) {
                topic.append(Record { create_s: due_ms / 1000, ..delayed.record }, &mut self.turn);
            }
        }
    }

    pub(super) fn collect(&mut self) {
        if let Some(pass) = self.clock.last_pass(COLLECT_EACH_MS)
            && pass > self.collected_ms
        {
            self.collected_ms = pass;
            self.expire_mailboxes(pass);
            self.purge(pass / 1000, 0);
        }
        if let Some(pass) = self.clock.last_pass(RETAIN_EACH_MS)
            && pass > self.retained_ms
        {
            self.retained_ms = pass;
            let oldest_s = (pass / 1000).saturating_sub(RETAIN_S);
            self.purge(pass / 1000, oldest_s);
            self.groups.forget_idle(oldest_s);
        }
    }

    /// Forgets everything that lay in topics kept in memory only, as a restart does.
    pub(crate) fn forget_volatile(&mut self) {
        for topic in self.topics.values_mut().filter(|topic| topic.volatile) {
            topic.empty();
        }
    }

    /// Puts back a topic that plain publishes had made, with the ids it had given out.
    pub(crate) fn restore_volatile(&mut self, name: &str, next_ids: &[u64]) {
        let mut topic = Topic::new(self.profile.partitions);
        topic.volatile = true;
        topic.resume(next_ids);
        self.topics.insert(name.to_owned(), topic);
    }

    fn expire_mailboxes(&mut self, pass_ms: u64) {
        while let Some((_, name)) = self.expiries.first().filter(|(at, _)| *at <= pass_ms).cloned() {
            self.expiries.pop_first();
            match self.profile.rules {
                // Messages and group positions stay and are found again by whoever takes the name next.
                Rules::RobustMq => {
                    if let Some(topic) = self.topics.get_mut(&name) {
                        topic.is_mailbox = false;
                    }
                }
                Rules::Documented => {
                    self.topics.remove(&name);
                    self.groups.forget_topic(&name);
                }
            }
        }
    }

    fn purge(&mut self, now_s: u64, oldest_s: u64) {
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.purge(now_s, oldest_s);
        }
    }

    fn new_id(&mut self) -> String {
        loop {
            let id = names::generated(self.clock.now_s(), self.serial);
            self.serial += 1;
            if !self.topics.contains_key(&id) {
                return id;
            }
        }
    }
}

pub(super) fn missing_mailbox(address: &str) -> String {
    format!("mailbox {address} does not exist")
}

const DEFAULT_TTL_S: u64 = 86_400;
const UNCLAIMED_TOPICS: usize = 1_024;
const UNCLAIMED_BYTES: usize = 16 << 20;
/// What a stored publish costs beside its payload, roughly.
const RECORD_COST: usize = 128;
