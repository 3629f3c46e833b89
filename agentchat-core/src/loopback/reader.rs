//! A subscription of a loopback inbox.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::future::BoxFuture;
use tokio::task::coop;
use tokio::time::Instant;

use super::attachment::Ticket;
use super::inbox::{Given, Next};
use super::view::Ahead;
use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::options::SubscribeOptions;
use crate::transport::{Event, EventStream};

/// Reads one inbox through a view of its own; the view ends with it.
///
/// It is given rows in batches, and hands them on one by one. What would change a batch after it was given
/// (a more urgent row, one that is gone) takes it back, so that nobody can tell.
pub(crate) struct Reader {
    ticket: Arc<Ticket>,
    inbox: u64,
    view: u64,
    ahead: Arc<Ahead>,
    batch: VecDeque<Given>,
    /// Until something may have changed.
    waiting: Option<BoxFuture<'static, ()>>,
    ended: bool,
}

impl Reader {
    pub(crate) fn open(ticket: Arc<Ticket>, inbox: &Address, options: &SubscribeOptions) -> Result<Self> {
        let (inbox, view, ahead) = ticket.network.lock().open_view(inbox, options)?;
        Ok(Self { ticket, inbox, view, ahead, batch: VecDeque::new(), waiting: None, ended: false })
    }

    /// Its events, which end after an error.
    pub(crate) fn events(self) -> EventStream {
        Box::pin(self)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            self.ticket.check("subscribe")?;
            if self.ahead.is_stale() {
                self.batch.clear();
            }
            if let Some(given) = self.batch.pop_front() {
                self.ahead.hand();
                return Poll::Ready(Ok(match given {
                    Given::Row(stored) => Event::Message(stored.hand_out()),
                    Given::CaughtUp => Event::CaughtUp,
                }));
            }
            self.fill()?;
        }
    }

    /// Gets a batch, or begins to wait for one.
    fn fill(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut hub = self.ticket.network.lock();
        if hub.gate.is_stalled() {
            drop(hub);
            let (mut life, mut gate) = (self.ticket.life.clone(), self.ticket.gate.clone());
            self.waiting = Some(Box::pin(async move {
                tokio::select! {
                    () = gate.open() => {}
                    _ = life.changed() => {}
                }
            }));
            return Ok(());
        }
        hub.sweep(now);
        let (inbox, mut luck) = hub.reading(self.inbox).ok_or_else(|| gone("subscribe"))?;
        let Next::Wait(until) = inbox.next(self.view, now, &mut luck, &mut self.batch) else { return Ok(()) };
        // Registered under the lock, so that no change in between is missed.
        let changed = inbox.next_change();
        drop(hub);
        let mut life = self.ticket.life.clone();
        self.waiting = Some(Box::pin(async move {
            tokio::select! {
                () = changed => {}
                // Whatever ended the attachment, the next step tells.
                _ = life.changed() => {}
                () = sleep_until(until) => {}
            }
        }));
        Ok(())
    }
}

impl Stream for Reader {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // A full inbox never makes it wait: who reads on and on would never let the others run.
        let progress = ready!(coop::poll_proceed(cx));
        let event = ready!(self.poll_event(cx));
        progress.made_progress();
        self.ended = event.is_err();
        Poll::Ready(Some(event))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ticket.network.lock().close_view(self.inbox, self.view, Instant::now());
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn gone(operation: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such inbox")
}
