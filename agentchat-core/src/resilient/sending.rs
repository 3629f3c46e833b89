//! A message on its way.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::core::closed;
use super::sends::Place;
use super::shared::Shared;
use crate::delivery::Receipt;
use crate::error::Result;

/// What becomes of a message that was taken into the outbox: its receipt, or why it was given up.
///
/// Dropping it withdraws the message if no attempt was made; [`Sending::detach`] lets it go on alone.
#[must_use = "dropping it withdraws the message"]
pub struct Sending {
    shared: Arc<Shared>,
    place: Option<Place>,
}

impl Sending {
    pub(super) fn new(shared: Arc<Shared>, place: Place) -> Self {
        Self { shared, place: Some(place) }
    }

    /// Lets the message go on with nobody waiting for it. If it is given up, it is kept as
    /// [parked](super::Resilient::parked).
    pub fn detach(mut self) {
        if let Some((number, _)) = self.place.take() {
            self.shared.change(|core, _, _| core.sends.forget(number));
        }
    }
}

impl Future for Sending {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((_, outcome)) = &mut self.place else { return Poll::Ready(Err(closed())) };
        let outcome = std::task::ready!(pin!(outcome).poll(cx));
        self.place = None;
        Poll::Ready(outcome.unwrap_or_else(|_| Err(closed())))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some((number, _)) = self.place.take() {
            self.shared.change(|core, now, wall| core.sends.cancel(number, now, wall));
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}
