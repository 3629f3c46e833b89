//! The reader's end of a subscription.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::task::coop;

use super::shared::{Owner, Shared};
use super::slots::Told;
use crate::error::Result;
use crate::transport::Event;

/// The place of one reader; dropping it stops the reading.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    slot: Option<u64>,
}

/// A subscription's events. It keeps the session alive.
pub(super) struct Events {
    seat: Seat,
    /// Taken over with another one, and not handed on yet.
    ready: VecDeque<Told>,
    _owner: Arc<Owner>,
}

impl Seat {
    pub(super) fn new(shared: Arc<Shared>, slot: u64) -> Self {
        Self { shared, slot: Some(slot) }
    }
}

impl Events {
    pub(super) fn new(seat: Seat, owner: Arc<Owner>) -> Self {
        Self { seat, ready: VecDeque::new(), _owner: owner }
    }
}

impl Stream for Events {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(slot) = this.seat.slot else { return Poll::Ready(None) };
        // A full queue never makes it wait: who reads on and on would never let the others run.
        let progress = std::task::ready!(coop::poll_proceed(cx));
        if let Some(event) = this.ready.pop_front() {
            progress.made_progress();
            return Poll::Ready(Some(Ok(event.into())));
        }
        let (polled, rests) = {
            let slots = &mut this.seat.shared.lock().slots;
            (slots.poll_next(slot, &mut this.ready, cx.waker()), slots.rests(slot))
        };
        if rests {
            // The queue is empty: what had stopped for want of room goes on.
            this.seat.shared.wake.notify_one();
        }
        if polled.is_ready() {
            progress.made_progress();
        }
        polled
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.change(|core, now| core.abandon(slot, now));
        }
    }
}
