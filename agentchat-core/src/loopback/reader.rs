//! A subscription of a loopback inbox.

use std::sync::Arc;

use futures_util::stream;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use super::attachment::Ticket;
use super::inbox::Next;
use crate::address::Address;
use crate::clock::{FAR, after};
use crate::error::{Error, ErrorKind, Result};
use crate::options::SubscribeOptions;
use crate::transport::{Event, EventStream};

/// Reads one inbox through a view of its own; the view ends with it.
pub(crate) struct Reader {
    ticket: Arc<Ticket>,
    inbox: Address,
    view: u64,
}

#[allow(clippy::large_enum_variant, reason = "nearly every step is an event")]
enum Step {
    Event(Box<Event>),
    Wait(std::pin::Pin<Box<OwnedNotified>>, Instant),
}

impl Reader {
    pub(crate) fn open(ticket: Arc<Ticket>, inbox: Address, options: &SubscribeOptions) -> Result<Self> {
        let view = ticket.network.lock().open_view(&inbox, options)?;
        Ok(Self { ticket, inbox, view })
    }

    /// Its events, which end after an error.
    pub(crate) fn events(self) -> EventStream {
        Box::pin(stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(event) => Some((Ok(event), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    async fn next(&mut self) -> Result<Event> {
        let mut life = self.ticket.life.clone();
        let mut gate = self.ticket.gate.clone();
        loop {
            if gate.is_stalled() {
                self.ticket.check("subscribe")?;
                tokio::select! {
                    () = gate.open() => {}
                    _ = life.changed() => {}
                }
            }
            match self.step()? {
                Step::Event(event) => return Ok(*event),
                Step::Wait(changed, until) => tokio::select! {
                    () = changed => {}
                    // Whatever ended the attachment, the next step tells.
                    _ = life.changed() => {}
                    () = tokio::time::sleep_until(until) => {}
                },
            }
        }
    }

    fn step(&self) -> Result<Step> {
        self.ticket.check("subscribe")?;
        let now = Instant::now();
        let mut hub = self.ticket.network.lock();
        hub.sweep(now);
        let (inbox, mut luck) = hub.reading(&self.inbox).ok_or_else(|| gone("subscribe"))?;
        Ok(match inbox.next(self.view, now, &mut luck) {
            Next::Deliver(delivery) => Step::Event(Box::new(Event::Message(*delivery))),
            Next::CaughtUp => Step::Event(Box::new(Event::CaughtUp)),
            Next::Wait(until) => {
                // Registered under the lock, so that no change in between is missed.
                let mut changed = Box::pin(Arc::clone(&inbox.changed).notified_owned());
                changed.as_mut().enable();
                Step::Wait(changed, until.unwrap_or_else(|| after(now, FAR)))
            }
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ticket.network.lock().close_view(&self.inbox, self.view, Instant::now());
    }
}

pub(crate) fn gone(operation: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such inbox")
}
