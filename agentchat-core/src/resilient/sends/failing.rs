//! Messages that are given up: who is told, what stays, and what may not overtake them.
//!
//! A message that fails leaves when somebody who waits for it is told, and stays parked when nobody is. What
//! was handed in behind it in its conversation before that could be heard goes back, too: its callers decide
//! whether it goes without the earlier one. What was left to the outbox nobody can be asked about: the first
//! such message is parked in their stead, and holds back those behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Sends, Waiter};
use crate::clock::after;
use crate::error::{Advice, Error, ErrorKind, Reached};
use crate::id::ConversationId;
use crate::session::outbox::{Pending, State, Ticket};

impl Sends {
    /// A message was given up: its senders get the error and it leaves. Without senders it stays.
    pub(super) fn parked(&mut self, ticket: Ticket, error: Arc<Error>, now: Instant) {
        let waiters = self.take_waiters(ticket);
        let Some(pending) = self.outbox.get(ticket) else { return };
        // Who stopped waiting just now hears nothing any more, and takes back only what was never tried.
        let heard = waiters.iter().any(|waiter| !waiter.reply.is_closed());
        let stays = !heard && (waiters.is_empty() || pending.owned || pending.attempts > 0);
        self.observer.given_up(&pending, &error, stays);
        if stays {
            return;
        }
        self.give_back(ticket, &error, now);
        tell(waiters, Arc::try_unwrap(error).unwrap_or_else(|shared| shared.copy()));
    }

    /// Takes out a message whose caller is told why it failed, and keeps what is behind it from overtaking.
    pub(super) fn give_back(&mut self, ticket: Ticket, why: &Error, now: Instant) {
        let behind = self.outbox.behind(ticket);
        let conversation = self.outbox.get(ticket).and_then(|pending| pending.message.conversation.clone());
        self.give_back_waiting(conversation.as_ref(), 0, why, now);
        let stays = |at: &&Ticket| {
            self.outbox.get(**at).is_some_and(|pending| pending.owned || !self.waiters.contains_key(*at))
        };
        let barrier = behind.iter().find(stays).copied();
        // The last first, so that none becomes the first of its conversation on the way.
        for at in behind.into_iter().rev() {
            // Whose own time is over hears that, and now: until it is looked at for that it could be detached.
            let is_over = self.is_over(at, now);
            let waiters = self.take_waiters(at);
            let Some(pending) = self.outbox.get(at) else { continue };
            if barrier == Some(at) {
                tell(waiters, behind_failed(why, STAYS, Reached::Unknown));
                if let Some(error) = self.outbox.set_aside(at, behind_failed(why, RESUME, Reached::No)) {
                    self.parked(at, error, now);
                }
            } else if pending.owned || waiters.is_empty() {
                tell(waiters, behind_failed(why, STAYS, Reached::Unknown));
            } else {
                let error = match is_over {
                    true => late(&pending, pending.reached),
                    false => behind_failed(why, AGAIN, pending.reached),
                };
                self.observer.given_up(&pending, &error, false);
                self.outbox.discard(at);
                tell(waiters, error);
            }
        }
        self.outbox.discard(ticket);
    }

    /// The same for what waits for room, from `first` on.
    pub(super) fn give_back_waiting(
        &mut self,
        of: Option<&ConversationId>,
        first: usize,
        why: &Error,
        now: Instant,
    ) {
        let Some(of) = of.filter(|_| self.queue.len() > first) else { return };
        let later = self.queue.split_off(first);
        for (message, waiter) in later {
            if message.conversation.as_ref() == Some(of) {
                self.expiry.remove(&(waiter.until, waiter.number));
                let error = match waiter.until <= now {
                    true => overdue(Reached::No),
                    false => behind_failed(why, AGAIN, Reached::No),
                };
                tell(vec![waiter], error);
            } else {
                self.queue.push_back((message, waiter));
            }
        }
    }

    /// Ends the waits whose time is over. What is under way may still be accepted, and is waited for.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, number)) = self.expiry.first().copied().filter(|(at, _)| *at <= now) {
            self.expiry.remove(&(at, number));
            match self.tickets.get(&number).copied() {
                Some(ticket) => self.expire_one(ticket, number, now),
                None => self.expire_waiting(number, now),
            }
        }
    }

    /// The attempt that overdue senders still waited for has failed: another one is not theirs to wait for.
    pub(super) fn end_overdue(&mut self, ticket: Ticket, now: Instant) {
        let overdue = self.waiters.get_mut(&ticket).into_iter().flatten().filter(|waiter| waiter.overdue);
        for waiter in overdue {
            self.expiry.remove(&(waiter.until, waiter.number));
            waiter.until = now;
            self.expiry.insert((now, waiter.number));
        }
    }

    fn expire_one(&mut self, ticket: Ticket, number: u64, now: Instant) {
        let Some(pending) = self.outbox.get(ticket) else { return };
        match pending.state {
            State::InFlight => {
                let again = after(now, PATIENCE);
                for waiter in self.waiters.get_mut(&ticket).into_iter().flatten() {
                    if waiter.number == number {
                        (waiter.until, waiter.overdue) = (again, true);
                    }
                }
                self.expiry.insert((again, number));
                return;
            }
            // It was given up, which everybody who waits is told next.
            State::Parked => return,
            _ => {}
        }
        let alone = self.waiters.get(&ticket).is_none_or(|waiters| waiters.len() == 1);
        if alone && !pending.owned {
            let error = late(&pending, pending.reached);
            self.observer.given_up(&pending, &error, false);
            let waiters = self.take_waiters(ticket);
            self.give_back(ticket, &error, now);
            tell(waiters, error);
            return;
        }
        // The message goes on, for those who joined later and have time left, or for itself.
        let error = late(&pending, Reached::Unknown);
        let Some(waiters) = self.waiters.get_mut(&ticket) else { return };
        let Some(at) = waiters.iter().position(|waiter| waiter.number == number) else { return };
        let waiter = waiters.swap_remove(at);
        if waiters.is_empty() {
            self.waiters.remove(&ticket);
        }
        self.tickets.remove(&number);
        self.outbox.withdraw(ticket);
        tell(vec![waiter], error);
    }

    /// Whether it leaves by itself, as the time of all who wait for it is over.
    fn is_over(&self, ticket: Ticket, now: Instant) -> bool {
        let owned = self.outbox.get(ticket).is_none_or(|pending| pending.owned);
        let over = |waiters: &Vec<Waiter>| waiters.iter().all(|waiter| waiter.until <= now);
        !owned && self.waiters.get(&ticket).is_some_and(over)
    }

    fn expire_waiting(&mut self, number: u64, now: Instant) {
        let Some(at) = self.queue.iter().position(|(_, waiter)| waiter.number == number) else { return };
        let Some((message, waiter)) = self.queue.remove(at) else { return };
        let id = &message.client_msg_id;
        let others = self.queue.iter().any(|(other, _)| other.client_msg_id == *id);
        let error = overdue(if others { Reached::Unknown } else { Reached::No });
        if !others {
            self.give_back_waiting(message.conversation.as_ref(), at, &error, now);
        }
        tell(vec![waiter], error);
    }
}

/// Everybody gets the error, and the first one its cause as well.
fn tell(waiters: Vec<Waiter>, error: Error) {
    let copies: Vec<Error> = waiters.iter().skip(1).map(|_| error.copy()).collect();
    for (waiter, error) in waiters.into_iter().zip(std::iter::once(error).chain(copies)) {
        let _ = waiter.reply.send(Err(error));
    }
}

fn overdue(reached: Reached) -> Error {
    Error::new(ErrorKind::Timeout, "send", "the message could not be sent within the send timeout")
        .with_reached(reached)
        .with_advice(Advice::Backoff)
}

/// For a message that took too long, with how its last attempt failed.
fn late(pending: &Pending<'_>, reached: Reached) -> Error {
    let error = overdue(reached);
    match pending.error {
        Some(last) => error.with_source(last.copy()),
        None => error,
    }
}

/// For a message that stood behind one that failed for `why`.
fn behind_failed(why: &Error, rest: &str, reached: Reached) -> Error {
    let what = format!("an earlier message of its conversation failed: {rest}");
    Error::new(ErrorKind::Unexpected, "send", what)
        .with_reached(reached)
        .with_advice(Advice::Backoff)
        .with_source(why.copy())
}

/// When to look again whether an attempt that is under way has ended.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: &str = "this one was not sent; send it again to go on without that one";
const RESUME: &str = "this one is parked; resume it to go on without that one";
const STAYS: &str = "this one stays in the outbox until a parked message is resumed or discarded";
