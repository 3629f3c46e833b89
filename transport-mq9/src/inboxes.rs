//! The inboxes a transport reads: their consumers, and which acknowledgement belongs to which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentchat_core::{AckTag, Error, ErrorKind, Event, EventStream, Result, SubscribeOptions};
use futures_util::stream;
use mq9_client::{
    Acker, Client, Closed, Consumer, ConsumerOptions, DeliverPolicy, MailAddress, MsgId, Pacing, Partition,
    Poller, PollerOptions,
};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

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
    open: HashMap<u32, Open>,
    /// Consumers whose stream was dropped, until the broker knows what was settled.
    finishing: JoinSet<Closed>,
}

/// An inbox whose deliveries can still be settled.
#[derive(Debug)]
struct Open {
    acker: Acker,
    /// Its stream is gone, and one of the finishing tasks has it in hand.
    finishing: bool,
}

impl Inboxes {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, poller: OnceCell::new(), ackers: Mutex::default() }
    }

    /// Reads `mailbox`. `mortal`: it does not live for ever, so it is probed.
    pub(crate) async fn read(
        self: &Arc<Self>,
        mailbox: &MailAddress,
        broker: &Broker,
        read: &ReadOptions,
        options: &SubscribeOptions,
        mortal: bool,
    ) -> Result<EventStream> {
        let mut consume = ConsumerOptions::new(&read.group)
            .with_deliver(read.deliver)
            .with_pacing(read.pacing)
            .with_max_outstanding(options.max_unsettled)
            .with_max_outstanding_bytes(options.max_unsettled_bytes);
        if let Some(partition) = &read.partition {
            consume = consume.with_partition(partition.clone());
        }
        if mortal {
            consume = consume.with_expiry_probe(EXPIRY_PROBE);
        }
        let poller = self.poller.get_or_try_init(|| Poller::connect(&self.client, PollerOptions::default()));
        let poller = poller.await.map_err(|cause| map_error::error("subscribe", cause))?;
        let consumer =
            poller.add(mailbox.clone(), consume).map_err(|cause| map_error::error("subscribe", cause))?;
        let number = self.lock().open(consumer.acker());
        let reading = Reading {
            inboxes: Arc::clone(self),
            number,
            broker: broker.clone(),
            consumer: Some(consumer),
            caught_up: false,
        };
        Ok(Box::pin(stream::unfold(Some(reading), next_event)))
    }

    /// Settles deliveries by their tags.
    pub(crate) fn settle(&self, tags: &[AckTag]) -> Result<()> {
        let ackers = self.lock();
        for tag in tags {
            let (number, id) = parse(tag).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "ack", "this tag is not from this transport")
            })?;
            // An inbox that is no longer read forgets; its messages come again and are recognised.
            if let Some(open) = ackers.open.get(&number) {
                open.acker.settle(id);
            }
        }
        Ok(())
    }

    /// Stops reading and acknowledges at the broker what is settled, as far as that is safe.
    pub(crate) async fn close(&self) -> Result<()> {
        let open: Vec<Acker> = {
            let ackers = self.lock();
            ackers.open.values().filter(|open| !open.finishing).map(|open| open.acker.clone()).collect()
        };
        let finished = futures_util::future::join_all(open.iter().map(|acker| acker.finish(FINISH))).await;
        let finishing = std::mem::take(&mut self.lock().finishing);
        let dropped = finishing.join_all().await;
        let lost =
            finished.iter().chain(&dropped).any(|closed| !closed.acknowledged && closed.unsettled.is_empty());
        if lost {
            let what = "some settled messages could not be acknowledged at the broker and will come again";
            return Err(Error::new(ErrorKind::Timeout, "close", what));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Ackers> {
        self.ackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ackers {
    fn open(&mut self, acker: Acker) -> u32 {
        self.next += 1;
        self.open.insert(self.next, Open { acker, finishing: false });
        self.next
    }
}

/// One inbox being read.
struct Reading {
    inboxes: Arc<Inboxes>,
    number: u32,
    broker: Broker,
    /// Taken when the stream is dropped.
    consumer: Option<Consumer>,
    caught_up: bool,
}

/// The next event; the stream ends after an error.
async fn next_event(reading: Option<Reading>) -> Option<(Result<Event>, Option<Reading>)> {
    let mut reading = reading?;
    let consumer = reading.consumer.as_mut()?;
    let acker = consumer.acker();
    let next = tokio::select! {
        biased;
        next = consumer.next() => next,
        Ok(()) = acker.caught_up(), if !reading.caught_up => {
            reading.caught_up = true;
            return Some((Ok(Event::CaughtUp), Some(reading)));
        }
        cause = reading.inboxes.client.closed() => Some(Err(cause)),
    };
    match next {
        Some(Ok(delivered)) => {
            let tag = AckTag::new(format!("{}:{}", reading.number, delivered.message.id))
                .expect("two numbers and a colon are visible ASCII");
            let redelivered = delivered.redelivered();
            let mut delivery = mapping::from_mq9(delivered.message, tag, &reading.broker);
            delivery.redelivered = redelivered;
            Some((Ok(Event::Message(delivery)), Some(reading)))
        }
        Some(Err(cause)) => Some((Err(map_error::error("subscribe", cause)), None)),
        None => {
            let ended = Error::new(ErrorKind::Closed, "subscribe", "the inbox is no longer read");
            Some((Err(ended), None))
        }
    }
}

impl Drop for Reading {
    /// The stream is gone, but what was settled before is still to reach the broker. A task does that,
    /// owned by the inboxes and over within its deadline. Without a runtime nothing can be sent: what
    /// was settled last comes again.
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let inboxes = Arc::downgrade(&self.inboxes);
        let number = self.number;
        let Ok(runtime) = Handle::try_current() else {
            self.inboxes.lock().open.remove(&number);
            return;
        };
        let finish = async move {
            let closed = consumer.acker().finish(FINISH).await;
            drop(consumer);
            if let Some(inboxes) = inboxes.upgrade() {
                inboxes.lock().open.remove(&number);
            }
            closed
        };
        let mut ackers = self.inboxes.lock();
        while ackers.finishing.try_join_next().is_some() {}
        if let Some(open) = ackers.open.get_mut(&number) {
            open.finishing = true;
        }
        ackers.finishing.spawn_on(finish, &runtime);
    }
}

fn parse(tag: &AckTag) -> Option<(u32, MsgId)> {
    let (number, id) = tag.as_str().split_once(':')?;
    Some((number.parse().ok()?, MsgId::new(id.parse().ok()?)))
}

/// How long telling the broker what is settled may take at the end.
const FINISH: Duration = Duration::from_secs(5);
/// How often a mailbox with a lifetime is asked whether it still exists: reading shows no error.
const EXPIRY_PROBE: Duration = Duration::from_secs(60);
