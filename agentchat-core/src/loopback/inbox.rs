//! One inbox: what is stored, and what may be delivered when.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::address::Address;
use crate::delivery::Delivery;
use crate::id::{AckTag, MessageId};
use crate::message::{Body, Outbound, Priority};

/// An inbox of the network. Its rows stay until they are acknowledged or expire.
#[derive(Debug, Default)]
pub(crate) struct InboxState {
    rows: BTreeMap<u64, Row>,
    state: HashMap<String, (Body, SystemTime)>,
    /// Wakes subscriptions when something changed.
    pub(crate) changed: Arc<Notify>,
}

#[derive(Debug)]
struct Row {
    message: Outbound,
    sender: Address,
    seq: Option<u64>,
    created: SystemTime,
    due: Instant,
    expires: Option<Instant>,
    deliveries: u32,
}

/// What a subscription may have next.
pub(crate) enum NextRow {
    Deliver(Box<Delivery>),
    /// Nothing now; something becomes due then.
    Wait(Option<Instant>),
}

impl InboxState {
    pub(crate) fn store(&mut self, id: u64, message: Outbound, sender: Address, seq: Option<u64>) {
        if let Some(key) = &message.key {
            self.rows.retain(|_, row| row.message.key.as_ref() != Some(key));
        }
        let now = Instant::now();
        let due = now + message.delay.unwrap_or_default();
        let expires = message.ttl.map(|ttl| due + ttl);
        let created = SystemTime::now();
        self.rows.insert(id, Row { message, sender, seq, created, due, expires, deliveries: 0 });
        self.changed.notify_waiters();
    }

    pub(crate) fn acknowledge(&mut self, id: u64) {
        self.rows.remove(&id);
        self.changed.notify_waiters();
    }

    pub(crate) fn put(&mut self, key: &str, value: Body) {
        self.state.insert(key.to_owned(), (value, SystemTime::now()));
    }

    pub(crate) fn get(&self, key: &str) -> Option<(Body, SystemTime)> {
        self.state.get(key).cloned()
    }

    /// Forgets in `taken` what is no longer stored; counts the rest and their bytes.
    pub(crate) fn unsettled(&self, taken: &mut HashSet<u64>) -> (usize, usize) {
        taken.retain(|id| self.rows.contains_key(id));
        let bytes =
            taken.iter().filter_map(|id| self.rows.get(id)).map(|row| row.message.body.bytes.len()).sum();
        (taken.len(), bytes)
    }

    /// The next row that is not in `taken`: highest priority first, oldest first; one later when `skip`.
    pub(crate) fn next(
        &mut self,
        inbox: &Address,
        taken: &HashSet<u64>,
        now: Instant,
        skip: bool,
    ) -> NextRow {
        self.rows.retain(|_, row| row.expires.is_none_or(|at| at > now));
        let mut candidates: Vec<(Priority, u64)> = self
            .rows
            .iter()
            .filter(|(id, row)| row.due <= now && !taken.contains(id))
            .map(|(id, row)| (row.message.priority, *id))
            .collect();
        candidates.sort_by_key(|(priority, id)| (std::cmp::Reverse(*priority), *id));
        let place = usize::from(skip && candidates.len() > 1);
        match candidates.get(place).and_then(|(_, id)| Some((*id, self.rows.get_mut(id)?))) {
            Some((id, row)) => NextRow::Deliver(Box::new(row.deliver(inbox, id))),
            None => NextRow::Wait(self.rows.values().map(|row| row.due).filter(|due| *due > now).min()),
        }
    }
}

impl Row {
    fn deliver(&mut self, inbox: &Address, id: u64) -> Delivery {
        self.deliveries += 1;
        let message = &self.message;
        let number = id.to_string();
        let tag = AckTag::new(format!("{id}:{}", inbox.name()));
        let mut delivery = Delivery::new(
            MessageId::new(number).expect("digits are visible ASCII"),
            tag.expect("the length of inbox names is checked when they are made"),
            message.body.clone(),
        );
        delivery.client_msg_id = Some(message.client_msg_id.clone());
        delivery.sender = Some(self.sender.clone());
        delivery.conversation.clone_from(&message.conversation);
        delivery.headers = message.headers.clone();
        delivery.reply_to.clone_from(&message.reply_to);
        delivery.correlation_id.clone_from(&message.correlation_id);
        delivery.priority = message.priority;
        delivery.key.clone_from(&message.key);
        delivery.tags.clone_from(&message.tags);
        delivery.deadline = message.deadline;
        delivery.seq = self.seq;
        delivery.created = Some(self.created);
        delivery.redelivered = self.deliveries > 1;
        delivery
    }
}
