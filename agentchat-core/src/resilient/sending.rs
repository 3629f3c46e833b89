//! A message on its way.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use super::core::closed;
use super::sends::{Place, Watch};
use super::shared::Shared;
use crate::delivery::Receipt;
use crate::error::{Error, Result};

/// What becomes of a message that was taken into the outbox: its receipt, or why it was given up.
///
/// Dropping it withdraws the message if no attempt was made; [`Sending::detach`] lets it go on alone.
#[must_use = "dropping it withdraws the message"]
pub struct Sending {
    shared: Arc<Shared>,
    place: Option<Place>,
    /// The outcome, when it came while waiting for something else.
    outcome: Option<Result<Receipt>>,
}

impl Sending {
    pub(super) fn new(shared: Arc<Shared>, place: Place) -> Self {
        Self { shared, place: Some(place), outcome: None }
    }

    /// Waits until the message survives the death of the process: until the outbox's store has it. Without
    /// such a store it is ready at once, and the message survives nothing. Cancel-safe.
    ///
    /// # Errors
    /// The message was given up before; awaiting `self` gives the same error.
    pub async fn kept(&mut self) -> Result<()> {
        let Some((number, outcome)) = &mut self.place else {
            return match &self.outcome {
                Some(Err(error)) => Err(error.copy()),
                _ => Ok(()),
            };
        };
        let watch = self.shared.lock().sends.watch(*number);
        let Watch::Coming(kept) = watch else { return Ok(()) };
        if kept.await.is_ok() {
            return Ok(());
        }
        let outcome = outcome.await.unwrap_or_else(|_| Err(closed()));
        self.place = None;
        let answer = outcome.as_ref().map(drop).map_err(Error::copy);
        self.outcome = Some(outcome);
        answer
    }

    /// Lets the message go on with nobody waiting for it. If it is given up, it is kept as
    /// [parked](super::Resilient::parked); if it was before, the log tells. To have it survive the process, wait for [`Sending::kept`] before.
    pub fn detach(mut self) {
        if let Some((number, mut outcome)) = self.place.take() {
            self.shared.change(|core, _| core.sends.detach(number));
            // It was given up just before, while somebody still waited: nobody else will tell.
            if let Ok(Err(error)) = outcome.try_recv() {
                tracing::warn!(
                    name: "send.parked", error_kind = error.kind().as_str(),
                    reached = error.reached().as_str(), %error, "a message was given up and then detached"
                );
            }
        }
    }
}

impl Future for Sending {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome.take() {
            return Poll::Ready(outcome);
        }
        let Some((_, outcome)) = &mut self.place else { return Poll::Ready(Err(closed())) };
        let outcome = std::task::ready!(pin!(outcome).poll(cx));
        self.place = None;
        Poll::Ready(outcome.unwrap_or_else(|_| Err(closed())))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some((number, _)) = self.place.take() {
            self.shared.change(|core, now| core.sends.cancel(number, now, SystemTime::now()));
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}
