//! Calls that are repeated until they are answered or their time is over. Knows no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::events::Seat;
use crate::address::Address;
use crate::card::AgentCard;
use crate::delivery::Delivery;
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::id::ConversationId;
use crate::message::Body;
use crate::options::SubscribeOptions;
use crate::session::backoff::{Backoff, BackoffPolicy};
use crate::transport::{KeyedValue, ReplayRange, Subscription, Transport};

/// A call as it is made on an attachment.
#[derive(Debug)]
pub(super) enum Call {
    Register(AgentCard),
    Unregister,
    Report(Heartbeat),
    Discover(Query),
    Put(Address, String, Body),
    Get(Address, String),
    Replay(ConversationId, ReplayRange),
    Subscribe(SubscribeOptions),
}

/// What an attachment answered.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Found(Discovered),
    Value(Option<KeyedValue>),
    Rows(Vec<Delivery>),
    Opened(Subscription),
    /// For the caller: where to read.
    Seated(Address, Seat),
}

/// The calls that were not answered yet.
#[derive(Debug)]
pub(super) struct Calls {
    pending: BTreeMap<u64, Pending>,
    retry: BackoffPolicy,
    next: u64,
}

#[derive(Debug)]
struct Pending {
    call: Arc<Call>,
    reply: oneshot::Sender<Result<Answer>>,
    until: Instant,
    turn: Turn,
    backoff: Backoff,
    last: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It waits for an attachment.
    Ready,
    UnderWay,
    Later(Instant),
}

impl Call {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Unregister => "unregister",
            Self::Report(_) => "report",
            Self::Discover(_) => "discover",
            Self::Put(..) => "put",
            Self::Get(..) => "get",
            Self::Replay(..) => "replay",
            Self::Subscribe(_) => "subscribe",
        }
    }

    /// One attempt. A report that is refused because the network does not know the agent on this
    /// attachment registers `card` again, which an earlier one had registered.
    pub(super) async fn attempt(&self, on: &dyn Transport, card: Option<AgentCard>) -> Result<Answer> {
        Ok(match self {
            Self::Register(card) => on.register(card).await.map(|()| Answer::Done)?,
            Self::Unregister => on.unregister().await.map(|()| Answer::Done)?,
            Self::Report(heartbeat) => {
                match (on.report(heartbeat).await, card) {
                    (Err(error), Some(card)) if error.kind() == ErrorKind::Invalid => {
                        on.register(&card).await?;
                        on.report(heartbeat).await?;
                    }
                    (reported, _) => reported?,
                }
                Answer::Done
            }
            Self::Discover(query) => Answer::Found(on.discover(query).await?),
            Self::Put(at, key, value) => on.put(at, key, value.clone()).await.map(|()| Answer::Done)?,
            Self::Get(at, key) => Answer::Value(on.get(at, key).await?),
            Self::Replay(conversation, range) => Answer::Rows(on.replay(conversation, *range).await?),
            Self::Subscribe(options) => Answer::Opened(on.subscribe(options.clone()).await?),
        })
    }
}

impl Calls {
    pub(super) fn new(retry: BackoffPolicy) -> Self {
        Self { pending: BTreeMap::new(), retry, next: 0 }
    }

    /// Takes a call in that must be over by `until`.
    pub(super) fn push(&mut self, call: Call, until: Instant) -> Result<oneshot::Receiver<Result<Answer>>> {
        self.pending.retain(|_, pending| pending.turn == Turn::UnderWay || !pending.reply.is_closed());
        if self.pending.len() >= MOST {
            let what = format!("too many calls wait for an answer: {MOST} may");
            return Err(Error::new(ErrorKind::Backpressure, call.operation(), what));
        }
        let (reply, answer) = oneshot::channel();
        let backoff = Backoff::new(self.retry);
        let pending = Pending { call: Arc::new(call), reply, until, turn: Turn::Ready, backoff, last: None };
        self.pending.insert(self.next, pending);
        self.next += 1;
        Ok(answer)
    }

    /// Ends what is over. Returns the calls whose attempts are to be stopped.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<u64> {
        let over = |pending: &Pending| pending.until <= now || pending.reply.is_closed();
        let over: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| over(pending)).map(|(number, _)| *number).collect();
        for number in &over {
            let Some(pending) = self.take(*number) else { continue };
            let reached = match (pending.turn, &pending.last) {
                (Turn::UnderWay, _) => Reached::Unknown,
                (_, Some(last)) => last.reached(),
                (_, None) => Reached::No,
            };
            let what = "no answer came within the call timeout";
            let error = Error::new(ErrorKind::Timeout, pending.call.operation(), what).with_reached(reached);
            let error = match pending.last {
                Some(last) => error.with_source(last),
                None => error,
            };
            let _ = pending.reply.send(Err(error));
        }
        over
    }

    /// The next call to attempt now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(u64, Arc<Call>)> {
        let due = |turn| match turn {
            Turn::Ready => true,
            Turn::Later(at) => at <= now,
            Turn::UnderWay => false,
        };
        let (number, pending) = self.pending.iter_mut().find(|(_, pending)| due(pending.turn))?;
        pending.turn = Turn::UnderWay;
        Some((*number, Arc::clone(&pending.call)))
    }

    /// Takes the result of an attempt. Gives back an answer together with who waits for it.
    pub(super) fn on_result(
        &mut self,
        number: u64,
        result: Result<Answer>,
        ends_connection: bool,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<(Arc<Call>, Answer, oneshot::Sender<Result<Answer>>)> {
        let pending = self.pending.get_mut(&number)?;
        let error = match result {
            Ok(answer) => {
                let pending = self.take(number)?;
                return Some((pending.call, answer, pending.reply));
            }
            Err(error) => error,
        };
        let again = match () {
            () if !error.is_retryable() || error.is_fatal() => None,
            () if ends_connection => Some(Turn::Ready),
            () => pending.backoff.failed(now, error.advice(), rng).map(Turn::Later),
        };
        match again {
            Some(turn) => (pending.turn, pending.last) = (turn, Some(error)),
            None => {
                let pending = self.take(number)?;
                let _ = pending.reply.send(Err(error));
            }
        }
        None
    }

    /// The connection is gone: what was under way is made again on the next one.
    pub(super) fn on_disconnected(&mut self) {
        for pending in self.pending.values_mut().filter(|pending| pending.turn == Turn::UnderWay) {
            pending.turn = Turn::Ready;
            pending.last = Some(
                Error::new(ErrorKind::Disconnected, pending.call.operation(), "the connection was lost")
                    .with_advice(Advice::Reconnect),
            );
        }
    }

    /// Nothing is answered any more.
    pub(super) fn end(&mut self, why: &Error) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            let reached = if pending.turn == Turn::UnderWay { Reached::Unknown } else { Reached::No };
            let _ = pending.reply.send(Err(why.copy().with_reached(reached)));
        }
    }

    pub(super) fn deadline(&self, attached: bool) -> Option<Instant> {
        let moments = self.pending.values().flat_map(|pending| {
            let later = match pending.turn {
                Turn::Later(at) if attached => Some(at),
                _ => None,
            };
            later.into_iter().chain([pending.until])
        });
        moments.min()
    }

    /// A call is over. A map that was used once keeps room for eleven: most sessions call once, to subscribe.
    fn take(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number);
        if self.pending.is_empty() {
            self.pending = BTreeMap::new();
        }
        pending
    }
}

/// How many calls may wait at once.
const MOST: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_too_many_is_told_how_many_may_wait() {
        let mut calls = Calls::new(BackoffPolicy::new());
        let until = Instant::now();
        let waiting: Vec<_> = (0..MOST).map(|_| calls.push(Call::Unregister, until).expect("room")).collect();
        let error = calls.push(Call::Unregister, until).expect_err("full");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Backpressure, "unregister"));
        assert!(error.to_string().contains("4096"), "{error}");
        drop(waiting);
        calls.push(Call::Unregister, until).expect("nobody waits for the others any more");
    }
}
