//! A message as the network keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::address::Address;
use crate::clock::after;
use crate::delivery::{Delivery, NetworkFacts};
use crate::header::Headers;
use crate::id::{AckTag, ClientMsgId, ConversationId, CorrelationId, MessageId};
use crate::message::{Body, Outbound, Priority};

/// A message in an inbox. It is written by its sender's thread and read by the reader's, and every part
/// that it has travels from one core to the other: so ids that can be made of numbers are kept as numbers,
/// and what few messages have stands apart. The [`Delivery`] is made where it is read.
#[derive(Debug)]
pub(crate) struct Stored {
    client_msg_id: ClientMsgId,
    sender: Address,
    body: Body,
    headers: Headers,
    pub(crate) conversation: Option<ConversationId>,
    created: SystemTime,
    pub(crate) priority: Priority,
    more: Option<Box<More>>,
    /// Told once, by the one thread that has it then.
    inbox: AtomicU64,
    row: AtomicU64,
    /// Its number in the conversation is its inbox's, from 1; 0: it has none.
    seq: AtomicU64,
    /// Whether it was handed out of the inbox.
    handed: AtomicBool,
}

/// What few messages have.
#[derive(Debug, Default)]
struct More {
    reply_to: Option<Address>,
    correlation_id: Option<CorrelationId>,
    key: Option<String>,
    tags: Vec<String>,
    deadline: Option<SystemTime>,
    /// When it may be read; `None`: at once.
    due: Option<Instant>,
    expires: Option<Instant>,
}

impl Stored {
    /// `message` of `sender`, before it has a row: what can be made of it without the network's lock.
    pub(crate) fn new(message: &Outbound, sender: &Address) -> Arc<Self> {
        let mut more = More::of(message);
        if message.delay.is_some() || message.ttl.is_some() {
            more.get_or_insert_default().date(message);
        }
        Arc::new(Self {
            client_msg_id: message.client_msg_id.clone(),
            sender: sender.clone(),
            body: message.body.clone(),
            headers: message.headers.clone(),
            conversation: message.conversation.clone(),
            created: SystemTime::now(),
            priority: message.priority,
            more,
            inbox: AtomicU64::new(0),
            row: AtomicU64::new(0),
            seq: AtomicU64::new(0),
            handed: AtomicBool::new(false),
        })
    }

    /// Counts its times from now.
    pub(crate) fn date(&mut self, message: &Outbound) {
        if message.delay.is_some() || message.ttl.is_some() {
            self.more.get_or_insert_default().date(message);
        }
    }

    /// It is row `row` of the inbox that has that number. Nobody else has it yet: whoever gets it, gets it
    /// under a lock, so that plain writes will do.
    pub(crate) fn name(&self, inbox: u64, row: u64, seq: Option<u64>) {
        self.inbox.store(inbox, Ordering::Relaxed);
        self.row.store(row, Ordering::Relaxed);
        self.seq.store(seq.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Its number in the conversation.
    pub(crate) fn seq(&self) -> Option<u64> {
        Some(self.seq.load(Ordering::Relaxed)).filter(|seq| *seq > 0)
    }

    /// Its compaction key.
    pub(crate) fn key(&self) -> Option<&String> {
        self.more.as_ref()?.key.as_ref()
    }

    /// When it may be read; `None`: at once.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.more.as_ref()?.due
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.more.as_ref()?.expires
    }

    /// As a reader gets it that it arrives at `now`.
    pub(crate) fn hand_out(&self, now: SystemTime) -> Delivery {
        // Not in one step, which would wait for the sender's core: of two readers at the same moment none is
        // the second.
        let again = self.handed.load(Ordering::Relaxed);
        if !again {
            self.handed.store(true, Ordering::Relaxed);
        }
        self.delivery(now, again)
    }

    /// As history shows it.
    pub(crate) fn show(&self) -> Delivery {
        self.delivery(SystemTime::now(), false)
    }

    pub(crate) fn is_there(&self, now: Instant) -> bool {
        self.due().is_none_or(|due| due <= now) && self.expires().is_none_or(|at| at > now)
    }

    /// What it costs in memory, roughly: body and headers in bytes.
    pub(crate) fn size(&self) -> usize {
        self.body.bytes.len() + self.headers.size()
    }

    fn delivery(&self, received: SystemTime, redelivered: bool) -> Delivery {
        let more = self.more.as_deref();
        let row = self.row.load(Ordering::Relaxed);
        // Written out, so that it is made where it stays and not copied there part by part.
        Delivery {
            id: MessageId::numbered(row),
            client_msg_id: Some(self.client_msg_id.clone()),
            sender: Some(self.sender.clone()),
            conversation: self.conversation.clone(),
            body: self.body.clone(),
            headers: self.headers.clone(),
            network: NetworkFacts::default(),
            reply_to: more.and_then(|more| more.reply_to.clone()),
            correlation_id: more.and_then(|more| more.correlation_id.clone()),
            priority: self.priority,
            key: more.and_then(|more| more.key.clone()),
            tags: more.map_or_else(Vec::new, |more| more.tags.clone()),
            deadline: more.and_then(|more| more.deadline),
            seq: self.seq(),
            late: false,
            created: Some(self.created),
            received,
            redelivered,
            tag: AckTag::pair(self.inbox.load(Ordering::Relaxed), row),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_times(mut self, due: Option<Instant>, expires: Option<Instant>) -> Self {
        let more = self.more.get_or_insert_default();
        (more.due, more.expires) = (due, expires);
        self
    }
}

impl More {
    fn of(message: &Outbound) -> Option<Box<Self>> {
        let Outbound { reply_to, correlation_id, key, tags, deadline, .. } = message;
        if reply_to.is_none()
            && correlation_id.is_none()
            && key.is_none()
            && tags.is_empty()
            && deadline.is_none()
        {
            return None;
        }
        Some(Box::new(Self {
            reply_to: reply_to.clone(),
            correlation_id: correlation_id.clone(),
            key: key.clone(),
            tags: tags.clone(),
            deadline: *deadline,
            due: None,
            expires: None,
        }))
    }

    fn date(&mut self, message: &Outbound) {
        let due = after(Instant::now(), message.delay.unwrap_or_default());
        self.expires = message.ttl.and_then(|ttl| due.checked_add(ttl));
        self.due = message.delay.map(|_| due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_message_says_is_handed_out_and_the_second_time_is_told() {
        let address = |name: &str| Address::of("loopback", name).expect("valid");
        let mut message = Outbound::new(address("b"), Body::text("hello"))
            .with_conversation(ConversationId::new("c").expect("id"))
            .with_header("a", "1")
            .with_priority(Priority::Urgent);
        let now = SystemTime::now();
        for full in [false, true] {
            if full {
                message = message
                    .with_reply_to(address("r"))
                    .with_correlation_id(CorrelationId::new("k").expect("id"))
                    .with_key("key")
                    .with_tag("t")
                    .with_deadline(now);
            }
            let stored = Stored::new(&message, &address("a"));
            stored.name(7, 9, Some(3));
            let got = stored.hand_out(now);
            let mut expected = Delivery::new(
                MessageId::new("9").expect("id"),
                AckTag::new("7.9").expect("tag"),
                message.body.clone(),
            );
            expected.client_msg_id = Some(message.client_msg_id.clone());
            expected.sender = Some(address("a"));
            expected.conversation = message.conversation.clone();
            expected.headers = message.headers.clone();
            expected.reply_to = message.reply_to.clone();
            expected.correlation_id = message.correlation_id.clone();
            expected.priority = message.priority;
            expected.key = message.key.clone();
            expected.tags = message.tags.clone();
            expected.deadline = message.deadline;
            (expected.seq, expected.received, expected.created) = (Some(3), now, got.created);
            assert!(got == expected && got.created.is_some(), "{got:?}");
            assert!(stored.hand_out(now).redelivered && !stored.show().redelivered);
        }
    }
}
