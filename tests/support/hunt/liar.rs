//! A network that lies, as long as it is told to: about numbers, ids, senders, conversations and calls, about
//! what was delivered before and what is acknowledged, about what history holds.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use agentchat_core::{
    AckTag, Address, AgentCard, Body, Capabilities, CloseMode, Connector, ConversationId, CorrelationId,
    Delivery, Discovered, Error, ErrorKind, Event, Heartbeat, KeyedValue, MessageId, Outbound, Query,
    Receipt, ReplayRange, Result, SendOutcome, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;

/// Attaches to a network through its lies.
#[derive(Clone)]
pub struct Liar {
    inner: Arc<dyn Connector>,
    mind: Arc<Mind>,
}

/// What all attachments of a liar have in common.
struct Mind {
    lies: AtomicBool,
    dice: Mutex<fastrand::Rng>,
    /// What went by, to be said again where it does not belong.
    seen: Mutex<Vec<Delivery>>,
    calls: Mutex<Vec<CorrelationId>>,
}

impl Liar {
    pub fn new(inner: impl Connector, seed: u64) -> Self {
        let mind = Mind {
            lies: AtomicBool::new(true),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            seen: Mutex::default(),
            calls: Mutex::default(),
        };
        Self { inner: Arc::new(inner), mind: Arc::new(mind) }
    }

    /// From now on it tells the truth.
    pub fn repent(&self) {
        self.mind.lies.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Liar").finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for Liar {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = self.inner.connect().await?;
        Ok(Arc::new(Lying { inner, mind: Arc::clone(&self.mind) }))
    }
}

struct Lying {
    inner: Arc<dyn Transport>,
    mind: Arc<Mind>,
}

impl fmt::Debug for Lying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lying").finish_non_exhaustive()
    }
}

impl Mind {
    fn dice(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.dice.lock().expect("no panic while held")
    }

    /// Whether to lie once in `rarely` times.
    fn lies(&self, rarely: u32) -> bool {
        self.lies.load(Ordering::SeqCst) && self.dice().u32(0..rarely) == 0
    }

    fn number(&self) -> Option<u64> {
        let mut dice = self.dice();
        match dice.u8(0..7) {
            0 => None,
            1 => Some(0),
            2 => Some(u64::MAX),
            3 => Some(u64::MAX - dice.u64(0..5)),
            4 => Some(1 << dice.u8(0..63)),
            _ => Some(dice.u64(0..40)),
        }
    }

    fn other(&self) -> Option<Delivery> {
        let seen = self.seen.lock().expect("no panic while held");
        self.dice().choice(seen.iter()).cloned()
    }

    /// The same message, told wrongly.
    fn twist(&self, mut delivery: Delivery) -> Delivery {
        let other = self.other();
        let what = self.dice().u8(0..12);
        match (what, other) {
            (0, Some(other)) => delivery.id = other.id,
            (1, Some(other)) => delivery.client_msg_id = other.client_msg_id,
            (2, Some(other)) => delivery.tag = other.tag,
            (3, Some(other)) => delivery.conversation = other.conversation,
            (4, Some(other)) => (delivery.sender, delivery.reply_to) = (other.sender, other.reply_to),
            (5, Some(other)) => delivery = other,
            (6, _) => {
                let calls = self.calls.lock().expect("no panic while held");
                delivery.correlation_id = self.dice().choice(calls.iter()).cloned();
            }
            (7, _) => delivery.redelivered = self.dice().bool(),
            (8, _) => delivery.client_msg_id = None,
            (9, _) => delivery.conversation = None,
            (10, _) => {
                delivery.tag = AckTag::new(format!("lie-{}", self.dice().u8(..))).expect("a tag");
            }
            _ => delivery.seq = self.number(),
        }
        delivery
    }

    fn note(&self, delivery: &Delivery) {
        let mut seen = self.seen.lock().expect("no panic while held");
        if seen.len() < 200 {
            seen.push(delivery.clone());
        }
        if let Some(call) = &delivery.correlation_id {
            let mut calls = self.calls.lock().expect("no panic while held");
            calls.truncate(50);
            calls.insert(0, call.clone());
        }
    }

    /// What is said in place of an event.
    fn say(&self, event: Event) -> Vec<Event> {
        let Event::Message(delivery) = event else { return vec![event] };
        self.note(&delivery);
        if !self.lies(3) {
            return vec![Event::Message(delivery)];
        }
        let what = self.dice().u8(0..9);
        let conversation =
            || delivery.conversation.clone().unwrap_or_else(|| ConversationId::new("no").expect("an id"));
        match what {
            0 => vec![Event::Message(self.twist(delivery.clone())), Event::Message(delivery)],
            1 => vec![Event::Message(delivery.clone()), Event::Message(self.twist(delivery))],
            2 => vec![Event::CaughtUp, Event::Message(delivery), Event::CaughtUp],
            3 => vec![Event::Lagged { missed: self.number() }, Event::Message(delivery)],
            4 => {
                let (expected, got) = (self.number().unwrap_or(1), self.number().unwrap_or(0));
                vec![Event::Gap { conversation: conversation(), expected, got }, Event::Message(delivery)]
            }
            5 => (0..4).map(|_| Event::Message(delivery.clone())).collect(),
            _ => vec![Event::Message(self.twist(delivery))],
        }
    }
}

#[async_trait]
#[rustfmt::skip]
impl Transport for Lying {
    fn capabilities(&self) -> &Capabilities { self.inner.capabilities() }
    fn address(&self) -> &Address { self.inner.address() }
    async fn register(&self, card: &AgentCard) -> Result<()> { self.inner.register(card).await }
    async fn unregister(&self) -> Result<()> { self.inner.unregister().await }
    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> { self.inner.report(heartbeat).await }
    async fn discover(&self, query: &Query) -> Result<Discovered> { self.inner.discover(query).await }
    async fn close(&self, mode: CloseMode) -> Result<()> { self.inner.close(mode).await }
    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> { self.inner.put(at, key, value).await }
    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> { self.inner.get(at, key).await }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let mut receipt = self.inner.send(message).await?;
        if self.mind.lies(4) {
            receipt.seq = self.mind.number();
            let other = self.mind.other().map_or_else(|| MessageId::new("lie").expect("an id"), |other| other.id);
            receipt.outcome = match self.mind.dice().u8(0..3) {
                0 => SendOutcome::Duplicate(other),
                1 => SendOutcome::Deferred,
                _ => SendOutcome::Accepted(other),
            };
        }
        Ok(receipt)
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        let mut opened = self.inner.subscribe(options).await?;
        let mind = Arc::clone(&self.mind);
        opened.events = Box::pin(opened.events.flat_map(move |item| {
            let said = match item {
                Ok(event) => mind.say(event).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures_util::stream::iter(said)
        }));
        Ok(opened)
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        if self.mind.lies(4) {
            // Done, it says; or: never heard of it.
            return match self.mind.dice().u8(0..3) {
                0 => Err(Error::new(ErrorKind::NotFound, "ack", "no such tag")),
                _ => Ok(()),
            };
        }
        self.inner.ack(tags).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let mut rows = self.inner.replay(conversation, range).await?;
        if self.mind.lies(2) {
            rows = rows.into_iter().map(|row| self.mind.twist(row)).collect();
            while self.mind.dice().bool() {
                rows.extend(self.mind.other());
            }
            if self.mind.dice().u8(0..4) == 0 {
                rows = self.mind.other().into_iter().cycle().take(range.limit.min(2_000) * 2).collect();
            }
            self.mind.dice().shuffle(&mut rows);
        }
        Ok(rows)
    }
}
