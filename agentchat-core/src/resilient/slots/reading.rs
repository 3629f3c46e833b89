//! From what a subscription gives to what its reader has.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use tokio::time::Instant;

use super::{Item, Link, Reader, Slot, Slots, Stashed, Told, Verdict};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ConversationId;
use crate::session::inbox::InboxAction;
use crate::transport::{Event, EventStream};

impl Slots {
    /// An inbox was subscribed to again, or not.
    pub(in crate::resilient) fn on_subscribed(
        &mut self,
        number: u64,
        result: Result<EventStream>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let Some(slot) = self.open.get_mut(&number).filter(|slot| slot.reader.is_some()) else { return };
        match result {
            Ok(stream) => {
                slot.inbox.on_subscribed(now);
                slot.link = Link::Resting(stream);
            }
            Err(error) => slot.failed(error, now, rng),
        }
    }

    /// A subscription gave items; `None` is its end.
    pub(in crate::resilient) fn on_items(
        &mut self,
        number: u64,
        stream: EventStream,
        items: Vec<Item>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Verdict {
        let Some(slot) = self.open.get_mut(&number).filter(|slot| slot.reader.is_some()) else {
            return Verdict::Goes;
        };
        slot.link = Link::Resting(stream);
        for item in items {
            if let Verdict::Lost(error) = slot.on_item(item, now, rng) {
                return Verdict::Lost(error);
            }
        }
        slot.pump();
        Verdict::Goes
    }

    pub(in crate::resilient) fn on_history(
        &mut self,
        number: u64,
        of: &ConversationId,
        rows: Vec<Delivery>,
        now: Instant,
    ) {
        // Without a reader nothing is taken in: what it was read for was forgotten, and comes again to the next.
        if let Some(slot) = self.open.get_mut(&number).filter(|slot| slot.reader.is_some()) {
            let filled = slot.inbox.stats().gaps_filled;
            slot.inbox.on_history(of, rows, now);
            if slot.inbox.stats().gaps_filled > filled {
                self.observer.hole_filled(of);
            }
            slot.pump();
        }
    }

    /// The next event for the reader of `number`, with others that are ready in `more`; `None` ends the
    /// stream.
    pub(in crate::resilient) fn poll_next(
        &mut self,
        number: u64,
        more: &mut VecDeque<Told>,
        waker: &Waker,
    ) -> Poll<Option<Result<Event>>> {
        let Some(slot) = self.open.get_mut(&number) else { return Poll::Ready(None) };
        let Some(reader) = &mut slot.reader else { return Poll::Ready(None) };
        if let Some(event) = reader.ready.pop_front() {
            std::mem::swap(more, &mut reader.ready);
            return Poll::Ready(Some(Ok(event.into())));
        }
        if let Some(end) = reader.end.take() {
            reader.ended = true;
            return Poll::Ready(Some(Err(end)));
        }
        if reader.ended {
            return Poll::Ready(None);
        }
        reader.waker = Some(waker.clone());
        Poll::Pending
    }

    /// Whether the subscription is not being read although there is one.
    pub(in crate::resilient) fn rests(&self, number: u64) -> bool {
        self.open.get(&number).is_some_and(|slot| matches!(slot.link, Link::Resting(_)))
    }
}

impl Slot {
    pub(super) fn failed(&mut self, error: Error, now: Instant, rng: &mut fastrand::Rng) {
        match error.is_retryable().then(|| self.backoff.failed(now, error.advice(), rng)).flatten() {
            Some(at) => self.link = Link::Later(at),
            None => {
                self.link = Link::Down;
                self.finish(error);
            }
        }
    }

    pub(super) fn finish(&mut self, error: Error) {
        let Some(reader) = self.reader.as_mut().filter(|reader| !reader.is_over()) else { return };
        reader.end = Some(error);
        reader.wake();
    }

    /// Takes in what waited for credit.
    pub(super) fn refill(&mut self, now: Instant) {
        while let Some(next) = self.stash.pop_front() {
            match next {
                Stashed::CaughtUp => self.caught_up(now),
                Stashed::Message(delivery) if self.inbox.has_credit() => {
                    self.inbox.on_delivery(delivery, now)
                }
                message @ Stashed::Message(_) => return self.stash.push_front(message),
            }
        }
    }

    fn caught_up(&mut self, now: Instant) {
        // What is owed has come again before this, and was acknowledged then.
        self.owes = false;
        self.inbox.on_caught_up(now);
    }

    pub(super) fn on_item(&mut self, item: Item, now: Instant, rng: &mut fastrand::Rng) -> Verdict {
        let item = match item {
            Item::Message(delivery) => {
                self.resume(&delivery, now);
                match self.stash.is_empty() && self.inbox.admits(&delivery) {
                    true => self.inbox.on_delivery(delivery, now),
                    false => self.stash.push_back(Stashed::Message(delivery)),
                }
                return Verdict::Goes;
            }
            Item::Other(item) => *item,
        };
        match item {
            Some(Ok(Event::CaughtUp)) => match self.stash.is_empty() {
                true => self.caught_up(now),
                false => self.stash.push_back(Stashed::CaughtUp),
            },
            Some(Ok(other)) => {
                // What came before it is told before it.
                self.pump();
                if matches!(other, Event::Gap { .. }) {
                    self.inbox.on_gap();
                }
                self.tell(other.into());
            }
            Some(Err(error)) if error.ends_attachment() || error.is_fatal() => {
                self.pump();
                return Verdict::Lost(error);
            }
            Some(Err(error)) => {
                self.pump();
                self.disconnect(now);
                self.failed(error, now, rng);
            }
            None => {
                self.pump();
                self.disconnect(now);
                self.failed(Error::new(ErrorKind::Disconnected, "subscribe", "the stream ended"), now, rng);
            }
        }
        Verdict::Goes
    }

    pub(super) fn tell(&mut self, told: Told) {
        let Some(reader) = &mut self.reader else { return };
        if let Told::Other(event) = &told {
            if let Event::Gap { conversation, expected, got } = &**event {
                self.observer.gap(conversation, *expected, *got);
            }
            // The end of the first backlog is told; later ones are the session's own affair.
            if **event == Event::CaughtUp && std::mem::replace(&mut reader.caught_up, true) {
                return;
            }
        }
        if let Some(told) = self.hold(told) {
            self.hand(told);
        }
    }

    /// The reader may have it now.
    pub(super) fn hand(&mut self, told: Told) {
        let Some(reader) = &mut self.reader else { return };
        reader.ready.push_back(told);
        reader.wake();
    }

    pub(super) fn pump(&mut self) {
        while let Some(action) = self.inbox.poll() {
            match action {
                InboxAction::Deliver { mut delivery, late } => {
                    // A network that looks after order itself knows better.
                    delivery.late |= late;
                    if !late {
                        self.track(&delivery);
                    }
                    self.tell(Told::Message(delivery));
                }
                InboxAction::Ack(tags) => self.acks.extend(tags),
                InboxAction::AskHistory { conversation, from, limit } => {
                    self.asks.push_back((conversation, from, limit));
                }
                InboxAction::Gap { conversation, expected, got } => {
                    self.tell(Event::Gap { conversation, expected, got }.into());
                }
                InboxAction::CaughtUp => self.tell(Event::CaughtUp.into()),
            }
        }
    }
}

impl Reader {
    pub(super) fn is_over(&self) -> bool {
        self.ended || self.end.is_some()
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
