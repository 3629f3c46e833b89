//! A subscription of a loopback inbox.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::future::BoxFuture;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use super::attachment::Ticket;
use super::inbox::{Given, Next};
use super::moment::Moment;
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
    /// The one that the inbox has.
    waker: Waker,
    /// How often it may still look for a change before it goes to sleep.
    looks: usize,
    /// Since when it has been leaving a change to be followed by others.
    gathering: Option<std::time::Instant>,
    /// When the batch was given.
    received: SystemTime,
    pause: Option<Pause>,
    /// Ends with the attachment, and is not asked again then. Asked only while there is nothing to read.
    life: BoxFuture<'static, ()>,
    ended: bool,
}

/// What a reader waits for.
enum Pause {
    /// The network delivers nothing.
    Stall(BoxFuture<'static, ()>),
    /// A change of the inbox, or a moment.
    Change(Option<Pin<Box<Sleep>>>),
}

impl Reader {
    pub(crate) fn open(ticket: Arc<Ticket>, inbox: &Address, options: &SubscribeOptions) -> Result<Self> {
        let (inbox, view, ahead) = ticket.network.lock().open_view(inbox, options)?;
        let mut life = ticket.life.clone();
        let ends = async move {
            let _ = life.changed().await;
        };
        Ok(Self {
            ticket,
            inbox,
            view,
            ahead,
            batch: VecDeque::new(),
            waker: Waker::noop().clone(),
            looks: 0,
            gathering: None,
            received: SystemTime::UNIX_EPOCH,
            pause: None,
            life: Box::pin(ends),
            ended: false,
        })
    }

    /// Its events, which end after an error.
    pub(crate) fn events(self) -> EventStream {
        Box::pin(self)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event>> {
        loop {
            self.ticket.check("subscribe")?;
            // It stays stale until the next batch is asked for, which a stall puts off.
            if self.ahead.is_stale() && !matches!(self.pause, Some(Pause::Stall(_))) {
                self.batch.clear();
                self.pause = None;
            }
            if let Some(given) = self.batch.pop_front() {
                self.ahead.hand();
                return Poll::Ready(Ok(match given {
                    Given::Row(stored) => Event::Message(stored.hand_out(self.received)),
                    Given::CaughtUp => Event::CaughtUp,
                }));
            }
            ready!(self.poll_pause(cx));
            self.fill(cx.waker())?;
        }
    }

    /// Ready when there may be something to read.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = match &mut self.pause {
            None => return Poll::Ready(()),
            Some(Pause::Stall(stall)) => stall.as_mut().poll(cx).is_ready(),
            Some(Pause::Change(alarm)) => {
                let due = alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready());
                if !due && self.looks_again() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                due || self.ahead.has_changed() || !self.waker.will_wake(cx.waker())
            }
        };
        let asleep = !over
            && self.life.as_mut().poll(cx).is_pending()
            && (matches!(self.pause, Some(Pause::Stall(_))) || self.ahead.sleeps());
        if asleep {
            return Poll::Pending;
        }
        self.pause = None;
        Poll::Ready(())
    }

    /// Whether it is awake and looks again later: for a change, or for what follows one.
    fn looks_again(&mut self) -> bool {
        let awake = self.looks > 0;
        if awake && self.ahead.has_changed() {
            let since = self.gathering.get_or_insert_with(std::time::Instant::now);
            return self.ahead.was_changed_elsewhere() && since.elapsed() < GATHERS;
        }
        self.looks = self.looks.saturating_sub(1);
        awake
    }

    /// Gets a batch, or begins to wait for one.
    fn fill(&mut self, waker: &Waker) -> Result<()> {
        let now = Moment::default();
        let mut hub = self.ticket.network.lock_unsettled();
        if hub.gate.is_stalled() {
            drop(hub);
            let mut gate = self.ticket.gate.clone();
            self.pause = Some(Pause::Stall(Box::pin(async move { gate.open().await })));
            return Ok(());
        }
        hub.sweep(&now);
        if !hub.reads_before_settling(self.inbox) {
            hub.settle(usize::MAX);
        }
        let next = loop {
            let (inbox, mut luck) = hub.reading(self.inbox).ok_or_else(|| gone("subscribe"))?;
            let next = inbox.next(self.view, &now, &mut luck, &mut self.batch);
            // What is settled may be all that there is no credit for.
            let blocked = matches!(next, Next::Wait(_)) && inbox.is_behind(self.view);
            if !blocked || !hub.settle(usize::MAX) {
                break next;
            }
        };
        // Registered under the lock, so that no change in between is missed. What was given now is handed on
        // before the change is waited for.
        if !matches!(next, Next::Some { drains: false }) {
            hub.sleep(self.inbox, self.view, waker);
            if !self.waker.will_wake(waker) {
                self.waker = waker.clone();
            }
        }
        drop(hub);
        self.pause = match next {
            Next::Wait(until) => Some(Pause::Change(until.map(|at| Box::pin(sleep_until(at))))),
            Next::Some { drains: true } => Some(Pause::Change(None)),
            Next::Some { drains: false } => None,
        };
        if !self.batch.is_empty() {
            self.received = SystemTime::now();
            (self.looks, self.gathering) = (LOOKS, None);
        }
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

/// How often a reader that had something to read looks for more before it goes to sleep: waking a thread
/// takes its sender longer than making some messages.
const LOOKS: usize = 4;

/// How long a reader that is awake leaves a change before it looks what it was, so that it gets what a fast
/// sender on another thread makes meanwhile at once: row by row, the two would wait for each other's lock. In the
/// meantime others have their turn.
const GATHERS: Duration = Duration::from_micros(4);

pub(crate) fn gone(operation: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such inbox")
}
