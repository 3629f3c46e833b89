//! The reader's end of a subscription.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::shared::{Owner, Shared};
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
    _owner: Arc<Owner>,
}

impl Seat {
    pub(super) fn new(shared: Arc<Shared>, slot: u64) -> Self {
        Self { shared, slot: Some(slot) }
    }
}

impl Events {
    pub(super) fn new(seat: Seat, owner: Arc<Owner>) -> Self {
        Self { seat, _owner: owner }
    }
}

impl Stream for Events {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(slot) = self.seat.slot else { return Poll::Ready(None) };
        let (polled, rests) = {
            let slots = &mut self.seat.shared.lock().slots;
            (slots.poll_next(slot, cx.waker()), slots.rests(slot))
        };
        if polled.is_pending() && rests {
            // The queue is empty: what had stopped for want of room goes on.
            self.seat.shared.wake.notify_one();
        }
        polled
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.change(|core, now, _| core.abandon(slot, now));
        }
    }
}
