//! The inboxes a transport reads: their consumers, and which acknowledgement belongs to which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentchat_core::{AckTag, Error, ErrorKind, Event, EventStream, Result, SubscribeOptions};
use futures_util::{StreamExt, stream};
use mq9_client::{
    Acker, Client, Consumer, ConsumerOptions, DeliverPolicy, MailAddress, MsgId, Pacing, Partition, Poller,
    PollerOptions,
};
use tokio::sync::OnceCell;

use crate::address::Broker;
use crate::map_error;
use crate::mapping;

/// How inboxes are read.
#[derive(Debug, Clone)]
pub(crate) struct ReadOptions {
    pub(crate) group: String,
    pub(crate) partition: Option<Partition>,
    pub(crate) pacing: Pacing,
    pub(crate) deliver: DeliverPolicy,
}

/// Every inbox one attachment reads. One poller on a connection of its own serves them all, so that
/// reading never delays a send.
#[derive(Debug)]
pub(crate) struct Inboxes {
    client: Client,
    poller: OnceCell<Poller>,
    ackers: Mutex<Ackers>,
}

/// The ackers by the number that stands in their deliveries' tags.
#[derive(Debug, Default)]
struct Ackers {
    next: u32,
    open: HashMap<u32, Acker>,
}

impl Inboxes {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, poller: OnceCell::new(), ackers: Mutex::default() }
    }

    /// Reads `mailbox`. `lifetime` is how long it lives, when it does not live for ever.
    pub(crate) async fn read(
        self: &Arc<Self>,
        mailbox: &MailAddress,
        broker: &Broker,
        read: &ReadOptions,
        options: &SubscribeOptions,
        lifetime: Option<Duration>,
    ) -> Result<EventStream> {
        let mut consume = ConsumerOptions::new(&read.group)
            .with_deliver(read.deliver)
            .with_pacing(read.pacing)
            .with_max_outstanding(options.max_unsettled)
            .with_max_outstanding_bytes(options.max_unsettled_bytes);
        if let Some(partition) = &read.partition {
            consume = consume.with_partition(partition.clone());
        }
        if lifetime.is_some() {
            consume = consume.with_expiry_probe(EXPIRY_PROBE);
        }
        let poller = self.poller.get_or_try_init(|| Poller::connect(&self.client, PollerOptions::default()));
        let poller = poller.await.map_err(|cause| map_error::error("subscribe", cause))?;
        let consumer =
            poller.add(mailbox.clone(), consume).map_err(|cause| map_error::error("subscribe", cause))?;
        let number = self.lock().open(consumer.acker());
        let reading = Reading { inboxes: Arc::clone(self), number, broker: broker.clone(), consumer };
        Ok(Box::pin(stream::unfold(Some((reading, false)), next_event)))
    }

    /// Settles deliveries by their tags.
    pub(crate) fn settle(&self, tags: &[AckTag]) -> Result<()> {
        let ackers = self.lock();
        for tag in tags {
            let (number, id) = parse(tag).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "ack", "this tag is not from this transport")
            })?;
            // An inbox that is no longer read forgets; its messages come again and are recognised.
            if let Some(acker) = ackers.open.get(&number) {
                acker.settle(id);
            }
        }
        Ok(())
    }

    /// Waits until everything settled so far is acknowledged at the broker.
    pub(crate) async fn flush(&self) -> Result<()> {
        let ackers: Vec<Acker> = self.lock().open.values().cloned().collect();
        let flushed = futures_util::future::join_all(ackers.iter().map(Acker::flush)).await;
        flushed
            .into_iter()
            .collect::<std::result::Result<(), _>>()
            .map_err(|cause| map_error::error("close", cause))
    }

    fn lock(&self) -> MutexGuard<'_, Ackers> {
        self.ackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ackers {
    fn open(&mut self, acker: Acker) -> u32 {
        self.next += 1;
        self.open.insert(self.next, acker);
        self.next
    }
}

/// One inbox being read.
struct Reading {
    inboxes: Arc<Inboxes>,
    number: u32,
    broker: Broker,
    consumer: Consumer,
}

/// The next event; the stream ends after an error.
async fn next_event(state: Option<(Reading, bool)>) -> Option<(Result<Event>, Option<(Reading, bool)>)> {
    let (mut reading, caught_up) = state?;
    let next = tokio::select! {
        biased;
        next = reading.consumer.next() => next,
        () = reading.consumer.caught_up(), if !caught_up => {
            return Some((Ok(Event::CaughtUp), Some((reading, true))));
        }
    };
    match next {
        Some(Ok(delivered)) => {
            let tag = AckTag::new(format!("{}:{}", reading.number, delivered.message.id))
                .expect("two numbers and a colon are visible ASCII");
            let redelivered = delivered.redelivered();
            let mut delivery = mapping::from_mq9(delivered.message, tag, &reading.broker);
            delivery.redelivered = redelivered;
            Some((Ok(Event::Message(delivery)), Some((reading, caught_up))))
        }
        Some(Err(cause)) => Some((Err(map_error::error("subscribe", cause)), None)),
        None => {
            let ended = Error::new(ErrorKind::Closed, "subscribe", "the inbox is no longer read");
            Some((Err(ended), None))
        }
    }
}

fn parse(tag: &AckTag) -> Option<(u32, MsgId)> {
    let (number, id) = tag.as_str().split_once(':')?;
    Some((number.parse().ok()?, MsgId::new(id.parse().ok()?)))
}

/// How often a mailbox with a lifetime is asked whether it still exists: reading shows no error.
const EXPIRY_PROBE: Duration = Duration::from_secs(60);
