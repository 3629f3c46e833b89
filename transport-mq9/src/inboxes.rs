//! The inboxes a transport reads: their consumers, and which acknowledgement belongs to which.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentchat_core::{
    AckTag, ClientMsgId, Error, ErrorKind, Event, EventStream, Reached, Result, SubscribeOptions,
};
use futures_util::{FutureExt, stream};
use mq9_client::{
    Acker, Client, Closed, Consumer, ConsumerOptions, DeliverPolicy, MailAddress, MsgId, Pacing, Partition,
    Poller, PollerOptions,
};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Notify};
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
    /// Made for the first inbox, let go of at the end.
    poller: AsyncMutex<Option<Poller>>,
    ackers: Mutex<Ackers>,
    /// Told when one has finished.
    finished: Notify,
    /// What this attachment's tags begin with: another one's inboxes have the same numbers.
    attachment: String,
}

/// The ackers by the number that stands in their deliveries' tags.
#[derive(Debug, Default)]
struct Ackers {
    next: u32,
    phase: Phase,
    open: HashMap<u32, Open>,
    /// Consumers whose stream was dropped, until the broker knows what was settled.
    finishing: JoinSet<Closed>,
    /// What was settled did not reach the broker at the end.
    lost: bool,
}

/// How far the end has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// No further inbox is read; what is settled now may still reach the broker.
    Closing,
    Closed,
}

/// An inbox whose deliveries can still be settled.
#[derive(Debug)]
struct Open {
    acker: Acker,
    mailbox: MailAddress,
    /// Its stream is gone, and one of the finishing tasks has it in hand.
    finishing: bool,
}

impl Inboxes {
    pub(crate) fn new(client: Client) -> Self {
        // The random end of a fresh id.
        let attachment = ClientMsgId::random().as_str().chars().rev().take(12).collect();
        let (poller, ackers) = (AsyncMutex::default(), Mutex::default());
        Self { client, poller, ackers, finished: Notify::new(), attachment }
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
            .with_max_outstanding(options.max_unsettled.max(1))
            .with_max_outstanding_bytes(options.max_unsettled_bytes.max(1));
        if let Some(partition) = &read.partition {
            consume = consume.with_partition(partition.clone());
        }
        if mortal {
            consume = consume.with_expiry_probe(EXPIRY_PROBE);
        }
        self.await_finished(mailbox).await;
        let consumer = self.consumer(mailbox, consume).await?;
        let number = self.lock().open(consumer.acker(), mailbox.clone())?;
        let reading = Reading {
            inboxes: Arc::clone(self),
            number,
            broker: broker.clone(),
            consumer: Some(consumer),
            catching_up: CatchingUp::Reading,
        };
        Ok(Box::pin(stream::unfold(Some(reading), next_event)))
    }

    /// Waits until the broker knows what was settled by earlier readers of `mailbox` whose streams were dropped:
    /// a reader that begins before would be given it again.
    async fn await_finished(&self, mailbox: &MailAddress) {
        let finished = async {
            loop {
                let mut next = pin!(self.finished.notified());
                next.as_mut().enable();
                if !self.lock().is_finishing(mailbox) {
                    return;
                }
                next.await;
            }
        };
        // One that takes longer comes again, and is recognised.
        let _ = tokio::time::timeout(FINISH, finished).await;
    }

    async fn consumer(&self, mailbox: &MailAddress, options: ConsumerOptions) -> Result<Consumer> {
        let failed = |cause| map_error::error("subscribe", cause);
        let mut held = self.poller.lock().await;
        // Checked with the poller in hand: one made later would outlive the end.
        self.lock().refuse_unless_open()?;
        let poller = match &*held {
            Some(poller) => poller.clone(),
            None => {
                let made = Poller::connect(&self.client, PollerOptions::default()).await.map_err(failed)?;
                held.insert(made).clone()
            }
        };
        drop(held);
        poller.add(mailbox.clone(), options).map_err(failed)
    }

    /// Settles deliveries by their tags.
    pub(crate) fn settle(&self, tags: &[AckTag]) -> Result<()> {
        let ackers = self.lock();
        if ackers.phase == Phase::Closed {
            return Err(closed("ack"));
        }
        for tag in tags {
            let (number, id) = self.parse(tag).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "ack", "this tag is not from this transport")
            })?;
            // An inbox that is no longer read forgets; its messages come again and are recognised.
            if let Some(open) = ackers.open.get(&number) {
                open.acker.settle(id);
            }
        }
        Ok(())
    }

    /// Stops reading and acknowledges at the broker what is settled, as far as that is safe. Dropping it loses
    /// nothing: the next one goes on, and knows what was lost. Doing it again gives the same answer.
    pub(crate) async fn close(&self) -> Result<()> {
        let open = self.lock().begin_closing();
        let finished = futures_util::future::join_all(open.iter().map(|acker| acker.finish(FINISH))).await;
        self.lock().lost |= finished.iter().any(is_lost);
        // The tasks stay where they are while they are waited for: dropped with this they would be given up.
        while let Some(finished) = poll_fn(|cx| self.lock().finishing.poll_join_next(cx)).await {
            // A task may end with the runtime on which its stream was dropped.
            self.lock().lost |= finished.as_ref().map_or(true, is_lost);
        }
        self.poller.lock().await.take();
        let mut ackers = self.lock();
        ackers.phase = Phase::Closed;
        if ackers.lost {
            let what = "some settled messages could not be acknowledged at the broker and will come again";
            return Err(Error::new(ErrorKind::Timeout, "close", what));
        }
        Ok(())
    }

    fn tag(&self, number: u32, id: MsgId) -> AckTag {
        AckTag::new(format!("{}:{number}:{id}", self.attachment)).expect("an id and two numbers are short")
    }

    fn parse(&self, tag: &AckTag) -> Option<(u32, MsgId)> {
        let own = tag.as_str().strip_prefix(&self.attachment)?.strip_prefix(':')?;
        let (number, id) = own.split_once(':')?;
        Some((number.parse().ok()?, MsgId::new(id.parse().ok()?)))
    }

    fn lock(&self) -> MutexGuard<'_, Ackers> {
        self.ackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ackers {
    fn open(&mut self, acker: Acker, mailbox: MailAddress) -> Result<u32> {
        self.refuse_unless_open()?;
        self.forget_finished();
        self.next += 1;
        self.open.insert(self.next, Open { acker, mailbox, finishing: false });
        Ok(self.next)
    }

    /// No further inbox is read. Gives those that are.
    fn begin_closing(&mut self) -> Vec<Acker> {
        if self.phase == Phase::Closed {
            return Vec::new();
        }
        self.phase = Phase::Closing;
        self.open.values().filter(|open| !open.finishing).map(|open| open.acker.clone()).collect()
    }

    fn is_finishing(&self, mailbox: &MailAddress) -> bool {
        self.open.values().any(|open| open.finishing && open.mailbox == *mailbox)
    }

    fn forget_finished(&mut self) {
        while self.finishing.try_join_next().is_some() {}
    }

    fn refuse_unless_open(&self) -> Result<()> {
        if self.phase == Phase::Open { Ok(()) } else { Err(closed("subscribe")) }
    }
}

/// One inbox being read.
struct Reading {
    inboxes: Arc<Inboxes>,
    number: u32,
    broker: Broker,
    /// Taken when the stream is dropped.
    consumer: Option<Consumer>,
    catching_up: CatchingUp,
}

/// How far the backlog has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CatchingUp {
    Reading,
    /// Everything that waited is in the stream, if it was not handed out.
    Marked,
    /// The reader knows.
    Told,
}

/// The next event; the stream ends after an error.
async fn next_event(reading: Option<Reading>) -> Option<(Result<Event>, Option<Reading>)> {
    let mut reading = reading?;
    let consumer = reading.consumer.as_mut()?;
    let acker = consumer.acker();
    let mut next = None;
    if reading.catching_up == CatchingUp::Reading {
        next = tokio::select! {
            biased;
            next = consumer.next() => Some(next),
            Ok(()) = acker.caught_up() => {
                reading.catching_up = CatchingUp::Marked;
                None
            }
            cause = reading.inboxes.client.closed() => Some(Some(Err(cause))),
        };
    }
    if reading.catching_up == CatchingUp::Marked && next.is_none() {
        // What waited is in the stream now, and comes first.
        next = consumer.next().now_or_never();
        if next.is_none() {
            reading.catching_up = CatchingUp::Told;
            return Some((Ok(Event::CaughtUp), Some(reading)));
        }
    }
    let next = match next {
        Some(next) => next,
        None => tokio::select! {
            biased;
            next = consumer.next() => next,
            cause = reading.inboxes.client.closed() => Some(Err(cause)),
        },
    };
    match next {
        Some(Ok(delivered)) => {
            let tag = reading.inboxes.tag(reading.number, delivered.message.id);
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
                inboxes.finished.notify_waiters();
            }
            closed
        };
        let mut ackers = self.inboxes.lock();
        ackers.forget_finished();
        if let Some(open) = ackers.open.get_mut(&number) {
            open.finishing = true;
        }
        ackers.finishing.spawn_on(finish, &runtime);
    }
}

/// Whether settled messages stayed unknown to the broker. Behind unsettled ones that is as it should be.
fn is_lost(closed: &Closed) -> bool {
    !closed.acknowledged && closed.unsettled.is_empty()
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the attachment is closed").with_reached(Reached::No)
}

/// How long telling the broker what is settled may take at the end.
const FINISH: Duration = Duration::from_secs(5);
/// How often a mailbox with a lifetime is asked whether it still exists: reading shows no error.
const EXPIRY_PROBE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use mq9_client::testing::Broker as Double;
    use mq9_client::{CreateMailbox, Lifetime};

    #[tokio::test]
    async fn a_reader_begins_when_the_broker_knows_what_was_settled_before() {
        let double = Double::builder().start().await.expect("a broker");
        let client = Client::connect(&double.url()).await.expect("connects");
        let broker = Broker::new(double.url().parse().expect("a URI"), []);
        let inboxes = Arc::new(Inboxes::new(client.clone()));
        let (pacing, deliver) = (Pacing::default(), DeliverPolicy::Earliest);
        let options = ReadOptions { group: "a".into(), partition: None, pacing, deliver };
        let mailbox = MailAddress::new("inbox").expect("valid");
        client.create_mailbox(CreateMailbox::named(mailbox.clone())).await.expect("created");
        for words in ["settled", "left"] {
            client.send(&mailbox, &mq9_client::Message::new(words)).await.expect("sent");
        }
        let subscribe = SubscribeOptions::own();
        let mut events = inboxes.read(&mailbox, &broker, &options, &subscribe, false).await.expect("read");
        let mut found = Vec::new();
        while found.len() < 2 {
            if let Some(Ok(Event::Message(delivery))) = events.next().await {
                found.push(delivery);
            }
        }
        double.faults().slow(Duration::from_millis(50));
        inboxes.settle(std::slice::from_ref(&found[0].tag)).expect("settled");
        drop(events);
        assert!(inboxes.lock().is_finishing(&mailbox));
        let mut events = inboxes.read(&mailbox, &broker, &options, &subscribe, false).await.expect("read");
        assert!(!inboxes.lock().is_finishing(&mailbox), "it may be given what was settled");
        double.faults().slow(Duration::ZERO);
        let again = loop {
            if let Some(Ok(Event::Message(delivery))) = events.next().await {
                break delivery;
            }
        };
        assert_eq!(again.body.as_str(), Some("left"));
    }

    #[tokio::test]
    async fn inboxes_that_come_and_go_leave_nothing_behind() {
        let double = Double::builder().start().await.expect("a broker");
        let client = Client::connect(&double.url()).await.expect("connects");
        let broker = Broker::new(double.url().parse().expect("a URI"), []);
        let inboxes = Arc::new(Inboxes::new(client.clone()));
        let options = ReadOptions {
            group: "a".into(),
            partition: None,
            pacing: Pacing::default(),
            deliver: DeliverPolicy::Earliest,
        };
        let lifetime = Duration::from_secs(60);
        for number in 0..100 {
            let mailbox = MailAddress::new(format!("reply.{number}")).expect("valid");
            let create = CreateMailbox::named(mailbox.clone()).with_lifetime(Lifetime::For(lifetime));
            client.create_mailbox(create).await.expect("created");
            let subscribe = SubscribeOptions::own();
            let events = inboxes.read(&mailbox, &broker, &options, &subscribe, true).await;
            drop(events.expect("read"));
        }
        let emptied = async {
            while !inboxes.lock().open.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(2 * FINISH, emptied).await.expect("every inbox is forgotten");
        inboxes.lock().forget_finished();
        assert!(inboxes.lock().finishing.is_empty());
    }
}
