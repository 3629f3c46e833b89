//! The agent's own inbox where the network opens no other: serving and calls share one subscription of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use super::ServeOptions;
use super::calls::{Calls, closed};
use super::intake::{Attached, Batch, Command, Intake, Offered, Outlet};
use super::replies::PeerInbox;
use super::role::{Role, Seat};
use super::serve::Source;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::options::{Inbox, SubscribeOptions};
use crate::transport::{Event, EventStream, Transport};

/// The own inbox of an agent, and the task that reads it for calls and serving. The task begins with the
/// first of them and ends with the agent.
#[derive(Debug)]
pub(crate) struct OwnInbox {
    transport: Arc<dyn Transport>,
    calls: Arc<Calls>,
    seat: Arc<Seat>,
    reading: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Unread,
    Read(Arc<PeerInbox>, mpsc::Sender<Command>),
    Closed,
}

impl OwnInbox {
    pub(crate) fn new(transport: Arc<dyn Transport>, calls: Arc<Calls>, seat: Arc<Seat>) -> Self {
        Self { transport, calls, seat, reading: Mutex::new(State::Unread) }
    }

    /// Whether these options read the own inbox.
    pub(crate) fn is_read_by(&self, options: &SubscribeOptions) -> bool {
        reads_own(&*self.transport, options)
    }

    /// Makes sure that the inbox is read, for a call that waits for its replies there.
    ///
    /// # Errors
    /// The transport's; `Backpressure` when messages that nobody serves fill up what may be read; `Conflict`
    /// while another process leads, which reads the inbox.
    pub(crate) async fn open(&self) -> Result<Arc<PeerInbox>> {
        if self.seat.role() == Role::Follower {
            let what = "another process leads and reads the inbox, so no answer would come here: call from the one that \
                        leads, wait with `Agent::lead`, or send without waiting for an answer";
            return Err(Error::new(ErrorKind::Conflict, "call", what).with_reached(Reached::No));
        }
        let (inbox, commands) = self.reading()?;
        let (ready, opened) = oneshot::channel();
        ask(&commands, Command::Open(ready), opened).await?;
        Ok(inbox)
    }

    /// Serves the inbox: replies are kept from what this returns.
    ///
    /// # Errors
    /// The transport's, when the inbox cannot be read.
    pub(crate) async fn serve(&self, mut options: ServeOptions) -> Result<(Source, ServeOptions)> {
        let (_, commands) = self.reading()?;
        let (outlet, events) = outlet();
        let (ready, attached) = oneshot::channel();
        let command = Command::Serve { outlet, options: options.subscribe.clone(), ready };
        let Attached { settled, room } = ask(&commands, command, attached).await?;
        // A subscription that calls have opened has the bound that they gave it.
        options.subscribe.max_unsettled = options.subscribe.max_unsettled.min(room);
        Ok((Source { events, settled, raw: false }, options))
    }

    /// Serves what a subscription brings that was made with [`ahead`] of `options`, by an agent that starts.
    pub(crate) fn adopt(&self, events: EventStream, options: ServeOptions) -> (Source, ServeOptions) {
        let (outlet, served) = outlet();
        let mut intake = self.intake();
        let settled = intake.adopt(events, outlet, &options.subscribe);
        *self.lock() = begin(intake);
        (Source { events: served, settled, raw: false }, options)
    }

    /// Stops reading, for good.
    pub(crate) fn close(&self) {
        let reading = std::mem::replace(&mut *self.lock(), State::Closed);
        drop(reading);
    }

    fn intake(&self) -> Intake {
        Intake::new(Arc::clone(&self.transport), Arc::clone(&self.calls), Arc::clone(&self.seat))
    }

    fn reading(&self) -> Result<(Arc<PeerInbox>, mpsc::Sender<Command>)> {
        let mut state = self.lock();
        if let State::Unread = *state {
            *state = begin(self.intake());
        }
        match &*state {
            State::Read(inbox, commands) => Ok((Arc::clone(inbox), commands.clone())),
            State::Unread | State::Closed => Err(closed()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The options under which the own inbox is read where it has replies too: with more credit than the serving
/// uses, so that replies can be found behind what its handlers have not settled.
pub(crate) fn ahead(transport: &dyn Transport, options: &SubscribeOptions) -> SubscribeOptions {
    let able = transport.capabilities();
    if able.extra_inbox || able.disabled || !reads_own(transport, options) {
        return options.clone();
    }
    SubscribeOptions {
        max_unsettled: options.max_unsettled.saturating_add(AHEAD),
        max_unsettled_bytes: options.max_unsettled_bytes.saturating_add(AHEAD_BYTES),
        ..options.clone()
    }
}

fn reads_own(transport: &dyn Transport, options: &SubscribeOptions) -> bool {
    match &options.inbox {
        Inbox::Own => true,
        Inbox::Existing(address) => address == transport.address(),
        Inbox::Fresh { .. } => false,
    }
}

fn begin(intake: Intake) -> State {
    let (commands, received) = mpsc::channel(COMMANDS);
    let (address, room, crowded) = intake.signals();
    let reader = tokio::spawn(intake.run(received)).abort_handle();
    State::Read(Arc::new(PeerInbox::own(address, room, crowded, reader)), commands)
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: Command,
    answer: oneshot::Receiver<Result<T>>,
) -> Result<T> {
    let gone = || Error::new(ErrorKind::Closed, "subscribe", "the agent was closed");
    commands.send(command).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// What a serving reads, and where the intake puts it.
fn outlet() -> (Outlet, EventStream) {
    let (sender, batches) = mpsc::channel(1);
    let offered = Arc::<Offered>::default();
    let returned = Arc::<Mutex<VecDeque<_>>>::default();
    let reader = Served {
        batches,
        batch: VecDeque::new(),
        offered: Arc::clone(&offered),
        returned: Arc::clone(&returned),
    };
    (Outlet { sender, offered, returned }, Box::pin(reader))
}

/// The messages for a serving. What it has not taken when it is dropped goes back.
struct Served {
    batches: mpsc::Receiver<Batch>,
    /// The one that is being taken.
    batch: Batch,
    offered: Arc<Offered>,
    returned: Arc<Mutex<VecDeque<Event>>>,
}

impl Stream for Served {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.batch.pop_front() {
                self.offered.taken(&event);
                return Poll::Ready(Some(event));
            }
            match ready!(self.batches.poll_recv(cx)) {
                Some(batch) => self.batch = batch,
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is held until the intake sees the end, so that nothing is looked for before it is here.
        self.batches.close();
        returned.extend(batch.into_iter().flatten());
        while let Ok(batch) = self.batches.try_recv() {
            returned.extend(batch.into_iter().flatten());
        }
    }
}

/// Messages that are read, beyond what the serving has in hand, in search of replies.
pub(crate) const AHEAD: usize = 1_024;
/// The same in bytes.
pub(crate) const AHEAD_BYTES: usize = 8 * 1024 * 1024;
const COMMANDS: usize = 64;
