//! The task that reads an agent's own inbox where replies come there as well.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::acks::Acks;
use super::aside::Aside;
use super::calls::Calls;
use super::own_inbox::{AHEAD, AHEAD_BYTES, ahead};
use super::reply_reader::CHECK;
use super::role::Seat;
use super::settled::SharedSettled;
use crate::address::Address;
use crate::capability::AckGuarantee;
use crate::clock::{FAR, after};
use crate::delivery::Delivery;
use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::id::AckTag;
use crate::options::SubscribeOptions;
use crate::telemetry::Hole;
use crate::transport::{Event, EventStream, Transport};

/// Reads the own inbox as far as a serving or a call wants it. A reply goes to its call, and is settled with
/// that; everything else waits, unsettled and in order, until the serving takes it. While a call waits,
/// reading goes on past what the serving has room for, up to [`AHEAD`].
///
/// When a serving ends, what it left unsettled must come again: the subscription is then made anew, at once
/// if calls wait, else for who wants it next. Where nothing comes again, it is kept.
pub(super) struct Intake {
    transport: Arc<dyn Transport>,
    calls: Arc<Calls>,
    seat: Arc<Seat>,
    room: Arc<Notify>,
    crowded: Arc<AtomicBool>,
    acks: Acks,
    aside: Aside,
    inbox: Option<Reading>,
    /// What is for the serving and not with it yet. An error is the last.
    held: VecDeque<Result<Event>>,
    held_bytes: usize,
    outlet: Option<Outlet>,
}

/// The subscription.
struct Reading {
    events: EventStream,
    settled: SharedSettled,
    /// How much of its credit a serving may use.
    room: usize,
}

/// What goes to the serving together.
pub(super) type Batch = VecDeque<Result<Event>>;

/// What went to the serving and was not taken by it.
#[derive(Debug, Default)]
pub(super) struct Offered {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// Where messages for the serving go.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) sender: mpsc::Sender<Batch>,
    pub(super) offered: Arc<Offered>,
    /// What the serving did not take before it ended.
    pub(super) returned: Arc<Mutex<VecDeque<Event>>>,
}

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Read for a call.
    Open(oneshot::Sender<Result<()>>),
    /// Read for a serving.
    Serve { outlet: Outlet, options: SubscribeOptions, ready: oneshot::Sender<Result<Attached>> },
}

/// How a serving reads.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) settled: SharedSettled,
    pub(super) room: usize,
}

impl Intake {
    pub(super) fn new(transport: Arc<dyn Transport>, calls: Arc<Calls>, seat: Arc<Seat>) -> Self {
        Self {
            acks: Acks::new(Arc::clone(&transport)),
            transport,
            calls,
            seat,
            room: Arc::default(),
            crowded: Arc::default(),
            aside: Aside::default(),
            inbox: None,
            held: VecDeque::new(),
            held_bytes: 0,
            outlet: None,
        }
    }

    /// Which inbox it is, what wakes the task, and whether replies are out of its reach.
    pub(super) fn signals(&self) -> (Address, Arc<Notify>, Arc<AtomicBool>) {
        (self.transport.address().clone(), Arc::clone(&self.room), Arc::clone(&self.crowded))
    }

    /// Begins with a subscription that is there already, and its serving.
    pub(super) fn adopt(
        &mut self,
        events: EventStream,
        outlet: Outlet,
        options: &SubscribeOptions,
    ) -> SharedSettled {
        let settled = SharedSettled::new(self.transport.capabilities());
        let room = options.max_unsettled;
        self.inbox = Some(Reading { events, settled: settled.clone(), room });
        self.outlet = Some(outlet);
        settled
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut check_at = None;
        loop {
            if self.outlet.as_ref().is_some_and(|outlet| outlet.sender.is_closed()) {
                self.detach();
            }
            self.pass_on();
            let waiting = self.calls.any();
            if waiting && self.inbox.is_none() {
                if let Err(error) = self.subscribe(&SubscribeOptions::own()).await {
                    self.calls.lose(self.transport.address(), &error);
                }
                continue;
            }
            let crowded = self.is_crowded();
            self.crowded.store(crowded, Ordering::Relaxed);
            if waiting && crowded && self.outlet.is_none() {
                self.calls.fail(unserved);
                continue;
            }
            let full = crowded || self.held.len() + self.aside.len() + self.acks.len() >= AHEAD;
            let wanted = self.held.is_empty() && self.outlet.as_ref().is_some_and(Outlet::has_room);
            let filling = self.aside.len() >= AHEAD / 2 || self.aside.bytes() >= AHEAD_BYTES / 2;
            check_at = filling.then(|| check_at.unwrap_or_else(|| Instant::now() + CHECK));
            let check = check_at.unwrap_or_else(|| after(Instant::now(), FAR));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                event = next(&mut self.inbox), if wanted || (waiting && !full) => {
                    self.take_in(event);
                    self.take_ready().await;
                }
                () = changed(self.outlet.as_ref(), wanted) => {}
                () = self.acks.work() => {}
                () = self.room.notified() => {
                    let settled = self.aside.hand_over();
                    self.settle(settled);
                }
                () = tokio::time::sleep_until(check) => {
                    check_at = None;
                    let others_wait = self.calls.share(self.transport.address());
                    let settled = self.aside.relieve(Instant::now(), others_wait);
                    self.settle(settled);
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Open(ready) => {
                let opened = match &self.inbox {
                    Some(_) => Ok(()),
                    None => self.subscribe(&SubscribeOptions::own()).await,
                };
                let unserved = self.outlet.is_none() && self.is_crowded();
                let opened = opened.and_then(|()| match unserved {
                    true => Err(self::unserved().with_reached(Reached::No)),
                    false => Ok(()),
                });
                // Nobody asks any more: then nobody need know.
                let _ = ready.send(opened);
            }
            Command::Serve { outlet, options, ready } => {
                match &self.outlet {
                    Some(before) if before.sender.is_closed() => self.detach(),
                    Some(_) => {
                        let what = "the inbox is being served already";
                        let error = Error::new(ErrorKind::Conflict, "serve", what);
                        let _ = ready.send(Err(error.with_reached(Reached::No)));
                        return;
                    }
                    None => {}
                }
                let opened = match &self.inbox {
                    Some(_) => Ok(()),
                    None => self.subscribe(&options).await,
                };
                let attached = opened.and_then(|()| self.attach(outlet));
                let _ = ready.send(attached);
            }
        }
    }

    fn attach(&mut self, outlet: Outlet) -> Result<Attached> {
        let Some(Reading { settled, room, .. }) = &self.inbox else {
            return Err(Error::new(ErrorKind::Closed, "subscribe", "the inbox stream ended"));
        };
        self.outlet = Some(outlet);
        Ok(Attached { settled: settled.clone(), room: *room })
    }

    async fn subscribe(&mut self, options: &SubscribeOptions) -> Result<()> {
        let wide = ahead(&*self.transport, options);
        let events = self.seat.open(&self.transport, wide).await?;
        let settled = SharedSettled::new(self.transport.capabilities());
        self.inbox = Some(Reading { events, settled, room: options.max_unsettled });
        Ok(())
    }

    /// The serving has ended.
    fn detach(&mut self) {
        let Some(outlet) = self.outlet.take() else { return };
        let returned = std::mem::take(&mut *outlet.returned.lock().unwrap_or_else(PoisonError::into_inner));
        if self.comes_again() {
            self.inbox = None;
            self.forget();
            return;
        }
        for event in returned.into_iter().rev() {
            self.held_bytes += size(&event);
            self.held.push_front(Ok(event));
        }
    }

    /// Drops what is unsettled here; it comes again.
    fn forget(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.aside = Aside::default();
    }

    fn comes_again(&self) -> bool {
        self.transport.capabilities().ack != AckGuarantee::None
    }

    fn take_in(&mut self, event: Option<Result<Event>>) {
        match event {
            Some(Ok(Event::Message(delivery))) => self.route(delivery),
            Some(Ok(event)) => {
                if self.outlet.is_some() || matches!(event, Event::CaughtUp) {
                    return self.hold(event);
                }
                tracing::warn!(name: "reply.hole", hole = %Hole(&event), "replies are missing");
            }
            ended => {
                let closed = || Error::new(ErrorKind::Closed, "serve", "the inbox stream ended");
                self.lost(ended.and_then(Result::err).unwrap_or_else(closed));
            }
        }
    }

    /// How many messages go to the serving together: no more than it has in hand at most.
    fn batch(&self) -> usize {
        self.inbox.as_ref().map_or(1, |inbox| inbox.room.clamp(1, BATCH))
    }

    /// Takes in what there is behind it without waiting: it goes to the serving together.
    async fn take_ready(&mut self) {
        for _ in 1..self.batch() {
            if self.held_bytes >= BATCH_BYTES || self.is_crowded() {
                return;
            }
            let Some(Reading { events, .. }) = &mut self.inbox else { return };
            let ready = poll_fn(|cx| match events.poll_next_unpin(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending => Poll::Ready(None),
            });
            let Some(event) = ready.await else { return };
            self.take_in(event);
        }
    }

    fn route(&mut self, delivery: Delivery) {
        if let Some(inbox) = &self.inbox {
            inbox.settled.arrived(&delivery.tag);
        }
        if let Some(call) = self.calls.answered(&delivery) {
            let settled = self.aside.offer(call, delivery);
            self.settle(settled.into_iter().collect());
        } else if self.calls.is_late(&delivery) {
            let tag = self.calls.late(&delivery);
            self.settle(vec![tag]);
        } else {
            self.hold(Event::Message(delivery));
        }
    }

    fn hold(&mut self, event: Event) {
        self.held_bytes += size(&event);
        self.held.push_back(Ok(event));
    }

    /// Gives the serving what it has room for.
    fn pass_on(&mut self) {
        while let Some(outlet) = &self.outlet {
            let Ok(place) = outlet.sender.try_reserve() else { return };
            if self.held.is_empty() {
                return;
            }
            let (mut batch, mut bytes, mut last) = (Batch::new(), 0, false);
            while batch.len() < self.batch()
                && bytes < BATCH_BYTES
                && !last
                && let Some(event) = self.held.pop_front()
            {
                bytes += event.as_ref().map_or(0, size);
                last = event.is_err();
                batch.push_back(event);
            }
            self.held_bytes -= bytes;
            outlet.offered.add(batch.len(), bytes);
            place.send(batch);
            if last {
                self.outlet = None;
            }
        }
    }

    /// The subscription has ended: calls and the serving are told.
    fn lost(&mut self, error: Error) {
        self.inbox = None;
        self.calls.lose(self.transport.address(), &error);
        if self.comes_again() {
            self.forget();
        }
        if self.outlet.is_some() {
            self.held.push_back(Err(error));
        }
    }

    fn settle(&mut self, tags: Vec<AckTag>) {
        if let Some(inbox) = &self.inbox
            && !tags.is_empty()
        {
            self.acks.extend(inbox.settled.settle(tags));
        }
    }

    /// Whether no reply can be read any more before something else is settled.
    fn is_crowded(&self) -> bool {
        // What a serving has not taken has left this queue, and still uses the credit that is for reading ahead.
        let (events, bytes) = self.outlet.as_ref().map_or((0, 0), |outlet| outlet.offered.load());
        self.held.len() + events + self.aside.len() >= AHEAD
            || self.held_bytes + bytes + self.aside.bytes() >= AHEAD_BYTES
    }
}

impl Offered {
    fn add(&self, events: usize, bytes: usize) {
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The serving took this.
    pub(super) fn taken(&self, event: &Result<Event>) {
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(event.as_ref().map_or(0, size), Ordering::Relaxed);
    }

    fn load(&self) -> (usize, usize) {
        (self.events.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Outlet {
    fn has_room(&self) -> bool {
        self.sender.capacity() > 0
    }
}

async fn next(inbox: &mut Option<Reading>) -> Option<Result<Event>> {
    match inbox {
        Some(inbox) => inbox.events.next().await,
        None => std::future::pending().await,
    }
}

/// Returns when a serving that had no room has some, or has ended.
/// `had_room` is what was seen before: room made since must not be missed.
async fn changed(outlet: Option<&Outlet>, had_room: bool) {
    match outlet {
        Some(outlet) if had_room => outlet.sender.closed().await,
        Some(outlet) => drop(outlet.sender.reserve().await),
        None => std::future::pending().await,
    }
}

fn size(event: &Event) -> usize {
    match event {
        Event::Message(delivery) => delivery.size(),
        _ => 0,
    }
}

/// How much goes to the serving together. It is read with the credit that is for reading ahead.
const BATCH: usize = 64;
/// The same in bytes; the last one may go over it.
const BATCH_BYTES: usize = 256 * 1024;

fn unserved() -> Error {
    let what = "the agent's inbox is full of messages that nobody serves, and replies come behind them";
    Error::new(ErrorKind::Backpressure, "call", what).with_advice(Advice::Never)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn room_that_was_made_after_the_look_is_news() {
        let (sender, mut events) = mpsc::channel(1);
        let outlet = Outlet { sender, returned: Arc::default(), offered: Arc::default() };
        assert!(changed(Some(&outlet), true).now_or_never().is_none(), "it had room, and has");
        outlet.sender.try_send(VecDeque::from([Ok(Event::CaughtUp)])).expect("room");
        assert!(changed(Some(&outlet), false).now_or_never().is_none(), "it had none, and has none");
        events.try_recv().expect("a batch");
        assert!(changed(Some(&outlet), false).now_or_never().is_some(), "it had none, and has");
        drop(events);
        assert!(changed(Some(&outlet), true).now_or_never().is_some(), "it has ended");
    }
}
