//! One mailbox in the polling task's care.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::AbortHandle;
use tokio::sync::oneshot;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MsgId;
use crate::options::Group;

use super::reader::{Action, Reader};
use super::shared::{CloseWish, Outlook, Said, Shared, closed};
use super::stream::Closed;

/// A reader, its consumer's shared state, and who waits for what.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mailbox: MailAddress,
    pub(crate) group: Group,
    pub(crate) reader: Reader,
    pub(crate) shared: Arc<Shared>,
    /// Stops the FETCH under way.
    pub(crate) fetch: Option<AbortHandle>,
    /// The earliest entry of this slot among the timers.
    pub(crate) timer: Option<Instant>,
    /// Its place among those whose FETCH is due.
    pub(crate) queued: Option<Instant>,
    flushes: Vec<(u64, oneshot::Sender<Result<()>>)>,
    closing: Vec<Closing>,
    /// Taken, but never handed out: nobody can settle these.
    withdrawn: HashSet<u64>,
    said: Said,
}

#[derive(Debug)]
struct Closing {
    waits: bool,
    deadline: Instant,
    answer: oneshot::Sender<Closed>,
}

/// A command for the broker.
#[derive(Debug)]
pub(crate) enum Order {
    Ack(MsgId),
    Delete(MsgId),
    Exists,
}

/// Whether the slot lives on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Goes,
}

impl Slot {
    pub(crate) fn new(mailbox: MailAddress, group: Group, reader: Reader, shared: Arc<Shared>) -> Self {
        Self {
            mailbox,
            group,
            reader,
            shared,
            fetch: None,
            timer: None,
            queued: None,
            flushes: Vec::new(),
            closing: Vec::new(),
            withdrawn: HashSet::new(),
            said: Said::default(),
        }
    }

    /// Hears the handles, runs the reader, hands out rows and answers. Commands go into `orders`.
    pub(crate) fn attend(&mut self, now: Instant, orders: &mut Vec<Order>) -> Fate {
        self.hear(now);
        let mut rows = Vec::new();
        while let Some(action) = self.reader.poll(now) {
            match action {
                Action::Deliver(more) if rows.is_empty() => rows = more,
                Action::Deliver(more) => rows.extend(more),
                Action::Ack(id) => orders.push(Order::Ack(id)),
                Action::Delete(id) => orders.push(Order::Delete(id)),
                Action::Exists => orders.push(Order::Exists),
                Action::End(error) => {
                    self.publish(rows, true);
                    self.end(&error, true);
                    return Fate::Goes;
                }
            }
        }
        let soon = self.looks_again_soon(now);
        self.publish(rows, soon);
        self.answer_flushes();
        if self.shared.is_abandoned() || self.is_closed(now) {
            self.end(&closed(), false);
            return Fate::Goes;
        }
        Fate::Stays
    }

    /// When to attend again though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let closing = self.closing.iter().map(|closing| closing.deadline).min();
        [self.reader.deadline(), closing].into_iter().flatten().min()
    }

    fn hear(&mut self, now: Instant) {
        let mut said = std::mem::take(&mut self.said);
        self.shared.listen(&mut said);
        for (id, after) in said.retries.drain(..) {
            self.reader.retry(id, after, now);
        }
        for id in said.settled.drain(..) {
            self.reader.settle(id, now);
        }
        if said.stopped {
            self.reader.stop();
        }
        for waiter in said.flushes.drain(..) {
            self.flushes.push((self.reader.flush(), waiter));
        }
        self.withdrawn.extend(said.withdrawn.drain(..).map(MsgId::get));
        for CloseWish { withdrawn, waits, deadline, answer } in said.closes.drain(..) {
            self.withdrawn.extend(withdrawn.into_iter().map(MsgId::get));
            self.closing.push(Closing { waits, deadline, answer });
        }
        self.said = said;
    }

    fn publish(&self, rows: Vec<super::Delivered>, soon: bool) {
        let outlook = Outlook {
            wanted: self.reader.settlements_wanted(),
            soon,
            caught_up: self.reader.is_caught_up(),
            stats: self.reader.stats(),
        };
        self.shared.publish(rows, outlook);
    }

    /// Whether the driver comes by within the acknowledgement interval anyway.
    fn looks_again_soon(&self, now: Instant) -> bool {
        let horizon = now + self.reader.options().ack_interval.min(Duration::from_secs(1));
        let next = [self.reader.fetch_due(now), self.deadline()].into_iter().flatten().min();
        self.fetch.is_some() || next.is_some_and(|at| at <= horizon)
    }

    fn answer_flushes(&mut self) {
        let reader = &self.reader;
        for (_, waiter) in
            self.flushes.extract_if(.., |(ticket, waiter)| waiter.is_closed() || reader.is_flushed(*ticket))
        {
            let _ = waiter.send(Ok(()));
        }
    }

    /// Whether one of those who asked for the end has what it waited for; it is the end for all.
    fn is_closed(&self, now: Instant) -> bool {
        let outstanding = self.reader.outstanding();
        let settled = || outstanding.ids().all(|id| self.withdrawn.contains(&id) || !outstanding.in_hand(id));
        let met = |closing: &Closing| self.reader.is_quiet() && (!closing.waits || settled());
        self.closing.iter().any(|closing| now >= closing.deadline || met(closing))
    }

    /// Answers everyone who waits, and ends the stream.
    fn end(&mut self, error: &Error, shown: bool) {
        if let Some(fetch) = self.fetch.take() {
            fetch.abort();
        }
        for (_, waiter) in self.flushes.drain(..) {
            let _ = waiter.send(Err(error.duplicate()));
        }
        let mut unsettled: Vec<MsgId> = self.reader.outstanding().ids().map(MsgId::new).collect();
        unsettled.sort_unstable();
        let ticket = self.reader.flush();
        let acknowledged = error.kind() == ErrorKind::Closed && self.reader.is_flushed(ticket);
        let left = Closed::new(unsettled, acknowledged);
        for closing in self.closing.drain(..) {
            let _ = closing.answer.send(left.clone());
        }
        self.shared.end(error.duplicate(), shown, left);
    }
}

impl Drop for Slot {
    /// A slot that is dropped without having ended went down with its task.
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Closed, "consume", "the polling task ended unexpectedly");
        self.end(&error, true);
    }
}
