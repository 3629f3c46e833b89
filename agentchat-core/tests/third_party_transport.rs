//! The contract can be met from the public API alone: a small network without a directory passes the suite.
#![cfg(feature = "conformance")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use agentchat_core::conformance::{Harness, Skip};
use agentchat_core::*;
use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

type Row = (u64, Address, Outbound);
type End = watch::Sender<Option<ErrorKind>>;

#[derive(Debug, Default)]
struct Net {
    inboxes: Mutex<HashMap<Address, Vec<Row>>>,
    lines: Mutex<Vec<End>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
struct Tiny(Arc<Net>, Address);

#[derive(Debug)]
struct Line(Tiny, Capabilities, End, CloseOnce);

impl Net {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<Address, Vec<Row>>> {
        self.inboxes.lock().expect("no panic while held")
    }

    /// A number nobody had before; it also wakes whoever reads.
    fn count(&self) -> u64 {
        let mut number = 0;
        self.changed.send_modify(|last| (*last, number) = (*last + 1, *last + 1));
        number
    }
}

#[async_trait]
impl Connector for Tiny {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        self.0.inboxes().entry(self.1.clone()).or_default();
        let mut able = Capabilities::none(&["tiny"]);
        (able.ack, able.order) = (AckGuarantee::Redelivers, OrderGuarantee::Conversation);
        (able.durable_inbox, able.extra_inbox, able.max_body) = (true, true, Some(1 << 20));
        let end = End::new(None);
        self.0.lines.lock().expect("no panic while held").push(end.clone());
        Ok(Arc::new(Line(self.clone(), able, end, CloseOnce::new())))
    }
}

impl Line {
    fn live(&self, operation: &'static str) -> Result<()> {
        self.2.borrow().map_or(Ok(()), |kind| Err(Error::new(kind, operation, "the line is down")))
    }
}

#[async_trait]
#[rustfmt::skip]
impl Transport for Line {
    fn capabilities(&self) -> &Capabilities { &self.1 }
    fn address(&self) -> &Address { &self.0.1 }
    async fn register(&self, _: &AgentCard) -> Result<()> { Err(Error::unsupported("register", "no directory")) }
    async fn unregister(&self) -> Result<()> { Err(Error::unsupported("unregister", "no directory")) }
    async fn report(&self, _: &Heartbeat) -> Result<()> { Err(Error::unsupported("report", "no directory")) }
    async fn discover(&self, _: &Query) -> Result<Discovered> { Err(Error::unsupported("discover", "no directory")) }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.live("send")?;
        let id = self.0.0.count();
        let nobody = || Error::new(ErrorKind::NotFound, "send", "nobody there").with_reached(Reached::Yes);
        let row = (id, self.0.1.clone(), message.clone());
        self.0.0.inboxes().get_mut(&message.to).ok_or_else(nobody)?.push(row);
        self.0.0.count();
        Ok(Receipt::new(SendOutcome::Accepted(MessageId::new(id.to_string())?)))
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.live("subscribe")?;
        options.check()?;
        let (net, mut at) = (Arc::clone(&self.0.0), self.0.1.clone());
        match &options.inbox {
            Inbox::Own => {}
            Inbox::Existing(address) if !net.inboxes().contains_key(address) => {
                return Err(Error::new(ErrorKind::NotFound, "subscribe", "nobody there"));
            }
            Inbox::Existing(address) => at = address.clone(),
            _ => {
                at = Address::of("tiny", &format!("fresh-{}", net.count()))?;
                net.inboxes().insert(at.clone(), Vec::new());
            }
        }
        let (events, mut reader) = mpsc::channel(1);
        tokio::spawn(read(net, at.clone(), self.2.subscribe(), options, events));
        let events = futures_util::stream::poll_fn(move |cx| reader.poll_recv(cx));
        Ok(Subscription::new(at, Box::pin(events)))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.live("ack")?;
        if tags.iter().any(|tag| tag.as_str().parse::<u64>().is_err()) {
            return Err(Error::new(ErrorKind::Invalid, "ack", "this tag is not from this network"));
        }
        for rows in self.0.0.inboxes().values_mut() {
            rows.retain(|row| tags.iter().all(|tag| tag.as_str() != row.0.to_string()));
        }
        self.0.0.count();
        Ok(())
    }

    async fn close(&self, _: CloseMode) -> Result<()> {
        let closing = |_| async {
            self.2.send_replace(Some(ErrorKind::Closed));
            Ok(())
        };
        self.3.close(CloseMode::Detach, closing).await
    }
}

/// Hands out one event at a time until nobody wants more, or the line ends.
async fn read(
    net: Arc<Net>,
    at: Address,
    mut end: watch::Receiver<Option<ErrorKind>>,
    options: SubscribeOptions,
    events: mpsc::Sender<Result<Event>>,
) {
    let (mut changed, mut taken, mut caught_up) = (net.changed.subscribe(), HashSet::new(), false);
    while let Ok(place) = events.reserve().await {
        changed.mark_unchanged();
        let ended = *end.borrow_and_update();
        if let Some(kind) = ended {
            return place.send(Err(Error::new(kind, "subscribe", "the line is down")));
        }
        let next = {
            let inboxes = net.inboxes();
            taken.retain(|id| inboxes[&at].iter().any(|row| row.0 == *id));
            let mine = inboxes[&at].iter().filter(|row| taken.contains(&row.0));
            let room = mine.map(|row| row.2.body.bytes.len()).sum::<usize>() < options.max_unsettled_bytes;
            let room = room && taken.len() < options.max_unsettled;
            inboxes[&at].iter().find(|row| room && !taken.contains(&row.0)).cloned()
        };
        if let Some(row) = next {
            taken.insert(row.0);
            place.send(deliver(row).map(Event::Message));
        } else if !std::mem::replace(&mut caught_up, true) {
            place.send(Ok(Event::CaughtUp));
        } else {
            drop(place);
            let over = events.closed();
            tokio::select! { _ = changed.changed() => {}, _ = end.changed() => {}, () = over => return }
        }
    }
}

fn deliver((id, sender, message): Row) -> Result<Delivery> {
    let number = id.to_string();
    let mut delivery = Delivery::new(MessageId::new(&number)?, AckTag::new(&number)?, message.body);
    (delivery.client_msg_id, delivery.sender) = (Some(message.client_msg_id), Some(sender));
    (delivery.conversation, delivery.headers) = (message.conversation, message.headers);
    (delivery.reply_to, delivery.correlation_id) = (message.reply_to, message.correlation_id);
    (delivery.deadline, delivery.tags) = (message.deadline, message.tags);
    Ok(delivery)
}

struct Channels(Arc<Net>);

#[async_trait]
impl Harness for Channels {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(Tiny(Arc::clone(&self.0), Address::of("tiny", name).expect("a valid name")))
    }

    #[rustfmt::skip]
    fn expected_skips(&self) -> Vec<Skip> {
        use Skip::*;
        vec![
            Directory, ReadableStatus, ServerDedup, Priority, Ttl, Delay, KeyedState, Replay, Numbered,
            EndsWithConnection, Outage, Restart, Stall, Expire,
        ]
    }

    async fn cut(&self) -> bool {
        let lines = self.0.lines.lock().expect("no panic while held");
        lines.iter().for_each(|end| end.send_modify(|end| *end = Some(ErrorKind::Disconnected)));
        true
    }
}

agentchat_core::conformance_tests!("third-party", Channels(Arc::default()));
