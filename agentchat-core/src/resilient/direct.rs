//! Sending in the sender's own turn: where there is a connection and nothing is before a message, its sender
//! makes the attempt, and the session's task only hears of it when it does not end at once.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::task::coop;
use tokio::time::{Instant, sleep};

use super::core::{Core, Done};
use super::driver::of_attachment;
use super::sending::Sending;
use super::sends::Place;
use super::shared::Shared;
use super::spans;
use crate::capability::AckGuarantee;
use crate::delivery::Receipt;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::message::Outbound;
use crate::session::outbox::{Attempt, Ticket};
use crate::telemetry::observed;
use crate::transport::Transport;

/// The connection of now, for those who send by themselves, and what they leave to the session's task.
#[derive(Default)]
pub(super) struct Line {
    transport: Option<Arc<dyn Transport>>,
    /// Attempts that did not end at once.
    adopted: Vec<BoxFuture<'static, Done>>,
    lost: Option<Error>,
}

/// How a send begins.
enum Begun {
    Direct(Attempt, Arc<dyn Transport>),
    Queued(Place),
}

/// How a sender's own attempt ended.
enum Ended {
    Known(Result<Receipt>),
    /// The session goes on with it.
    Open(Place),
}

/// Sends `message`, which the network can carry. Dropping the future is as dropping a [`Sending`]: within
/// the sender's own attempt there is no moment to drop it.
pub(super) async fn send(shared: &Arc<Shared>, message: &Outbound, limit: Duration) -> Result<Receipt> {
    // An attempt that is made without a budget cannot end at once.
    if !coop::has_budget_remaining() {
        coop::consume_budget().await;
    }
    let message = Arc::new(message.clone());
    let begun = {
        let mut core = shared.lock();
        core.check_open("send")?;
        core.begin_direct(message, Instant::now())?
    };
    let place = match begun {
        Begun::Queued(place) => {
            shared.wake.notify_one();
            place
        }
        Begun::Direct(attempt, transport) => match attempt_once(shared, attempt, transport, limit).await {
            Ended::Known(answer) => return answer,
            Ended::Open(place) => place,
        },
    };
    Sending::new(Arc::clone(shared), place).await
}

/// One attempt, as the session's task makes it, too.
pub(super) async fn attempt(transport: Arc<dyn Transport>, attempt: Attempt, limit: Duration) -> Done {
    let span = spans::attempt(&attempt);
    let sent = async {
        let sent = within(limit, transport.send(&attempt.message)).await;
        sent.unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, "send", super::driver::SILENT)))
    };
    let sent = observed(span, sent).await;
    Done::Sent(attempt.ticket, attempt.number, sent.map_err(of_attachment))
}

/// What comes of `call`, or `None` when the time is over. What ends at once needs no timer, which takes longer to
/// make than many a call.
async fn within<T>(limit: Duration, mut call: BoxFuture<'_, T>) -> Option<T> {
    let mut over = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        // It has its turn also when the call has used up what the task may do in one.
        let over = over.get_or_insert_with(|| Box::pin(coop::unconstrained(sleep(limit))));
        over.as_mut().poll(cx).map(|()| None)
    })
    .await
}

async fn attempt_once(
    shared: &Shared,
    begun: Attempt,
    transport: Arc<dyn Transport>,
    limit: Duration,
) -> Ended {
    let (ticket, number) = (begun.ticket, begun.number);
    let mut guard = Guard { shared, begun: Some((ticket, number)) };
    let mut sending: BoxFuture<'static, Done> = Box::pin(attempt(Arc::clone(&transport), begun, limit));
    let first = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
    guard.begun = None;
    let mut core = shared.lock();
    let now = Instant::now();
    let is_current = core.line.is(&transport);
    let ended = match first {
        Poll::Ready(done) => core.end_direct(ticket, done, is_current, now),
        Poll::Pending => {
            // A connection that was lost takes its attempts with it.
            if is_current {
                core.line.adopted.push(sending);
            }
            core.wait_for(ticket, None, now)
        }
    };
    let woken = matches!(ended, Ended::Open(_)) || core.has_more_to_send();
    drop(core);
    if woken {
        shared.wake.notify_one();
    }
    ended
}

/// Ends an attempt that panicked: nobody else would.
struct Guard<'a> {
    shared: &'a Shared,
    begun: Option<(Ticket, u32)>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some((ticket, number)) = self.begun {
            let panicked = Error::new(ErrorKind::Unexpected, "send", "the attachment panicked");
            self.shared.change(|core, now| core.on_done(Done::Sent(ticket, number, Err(panicked)), now));
        }
    }
}

impl Line {
    /// There is a connection, or there is none any more.
    pub(super) fn set(&mut self, transport: Option<Arc<dyn Transport>>) {
        *self = Self { transport, ..Self::default() };
    }

    /// What acknowledging does on the connection of now.
    pub(super) fn ack(&self) -> Option<AckGuarantee> {
        self.transport.as_ref().map(|transport| transport.capabilities().ack)
    }

    /// What the session's task has to go on with.
    pub(super) fn take_adopted(&mut self) -> Vec<BoxFuture<'static, Done>> {
        std::mem::take(&mut self.adopted)
    }

    /// That the connection is gone, when a sender has seen it.
    pub(super) fn take_lost(&mut self) -> Option<Error> {
        self.lost.take()
    }

    fn is(&self, transport: &Arc<dyn Transport>) -> bool {
        self.transport.as_ref().is_some_and(|now| Arc::ptr_eq(now, transport))
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Core {
    fn begin_direct(&mut self, message: Arc<Outbound>, now: Instant) -> Result<Begun> {
        let wall = message.deadline.map_or(SystemTime::UNIX_EPOCH, |_| SystemTime::now());
        let Some(transport) = self.line.transport.clone().filter(|_| self.sends.is_open(&message)) else {
            return self.sends.send(message, now, SystemTime::now()).map(Begun::Queued);
        };
        Ok(match self.sends.begin(message, now, wall)? {
            Ok(attempt) => Begun::Direct(attempt, transport),
            Err(place) => Begun::Queued(place),
        })
    }

    fn end_direct(&mut self, ticket: Ticket, done: Done, is_current: bool, now: Instant) -> Ended {
        match done {
            Done::Sent(_, _, Ok(ref receipt)) => {
                let answer = Ok(receipt.clone());
                self.on_done(done, now);
                Ended::Known(answer)
            }
            Done::Sent(_, number, Err(error)) => {
                // Who waits is there before the error is taken in, so that it is told to somebody.
                let ended = self.wait_for(ticket, Some(error.copy()), now);
                let (_, lost) = self.on_done(Done::Sent(ticket, number, Err(error)), now);
                if is_current {
                    self.line.lost = self.line.lost.take().or(lost);
                }
                ended
            }
            _ => unreachable!("an attempt ends as sent"),
        }
    }

    /// The sender waits for what becomes of its message; `error` is what its own attempt came to.
    fn wait_for(&mut self, ticket: Ticket, error: Option<Error>, now: Instant) -> Ended {
        if let Some(why) = self.why_ended() {
            let answer = why.copy().with_reached(Reached::Unknown);
            self.sends.give_up(ticket);
            return Ended::Known(Err(answer));
        }
        match self.sends.wait_for(ticket, now) {
            Some(Ok(place)) => Ended::Open(place),
            Some(Err(error)) => Ended::Known(Err(error)),
            // Another attempt of it has ended meanwhile, and with it the message.
            None => {
                let gone =
                    || Error::new(ErrorKind::Disconnected, "send", "the connection was lost on the way");
                Ended::Known(Err(error.unwrap_or_else(gone).with_reached(Reached::Unknown)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_uses_up_every_turn_of_its_task_ends_in_time_all_the_same() {
        let restless = async {
            loop {
                coop::consume_budget().await;
            }
        };
        let answer: Option<()> = within(Duration::from_millis(20), Box::pin(restless)).await;
        assert_eq!(answer, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_its_whole_time_and_no_more() {
        let limit = Duration::from_secs(1);
        for (takes, answer) in
            [(Duration::ZERO, Some(7)), (limit - Duration::from_millis(2), Some(7)), (limit * 2, None)]
        {
            let call = async move {
                sleep(takes).await;
                7
            };
            let start = Instant::now();
            assert_eq!(within(limit, Box::pin(call)).await, answer);
            assert!(start.elapsed() <= limit + Duration::from_millis(2), "{:?}", start.elapsed());
        }
    }
}
