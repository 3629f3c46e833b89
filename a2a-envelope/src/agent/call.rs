//! The caller's side of one call: its replies read in order, made good from the snapshot, and had again by id.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use agentchat_core::{Address, Agent, ErrorKind, Reply};
use futures_core::Stream;
use tokio::time::Sleep;
use tracing::Span;

use super::a2a_answer::A2aAnswer;
use super::clock::Clock;
use super::error::A2aError;
use super::mapping::headers_of;
use super::note::{Note, Notes};
use super::snapshots;
use super::telemetry;
use super::turn_handle::lock;
use crate::call::{CallDue, CallState, Calls, is_stale};
use crate::correlation::CorrelationId;
use crate::envelope::Envelope;
use crate::json::{self, quote};
use crate::limits::Limits;
use crate::names;
use crate::received::Received;
use crate::stream::{ReaderItem, Snapshot, StreamEnd};

/// A call: its replies in order and each once, then the end.
///
/// The stream gives what the reader says but for the end itself; what was missed is made good by the task's
/// snapshot where the network keeps one. A deadline that passes is one error, [`A2aError::TimedOut`]: polled on,
/// the call gives what comes late, until the same error ends it. Dropped in between, it can be had again by
/// [`A2aClient::reopen`](super::A2aClient::reopen), or by asking the same again, which sends the request once more.
/// Dropping it before its deadline gives it up; the request is
/// not taken back.
///
/// Nothing is read ahead beyond a bound: a slow reader slows its peer down.
pub struct A2aCall {
    /// `None` once it was parked.
    inner: Option<Box<Inner>>,
    parked: Arc<Parked>,
}

pub(super) struct Inner {
    pub(super) agent: Agent,
    pub(super) peer: Address,
    /// Whence replies come; `None` when nothing more does.
    pub(super) replies: Option<agentchat_core::Call>,
    pub(super) calls: Calls,
    pub(super) id: String,
    pub(super) clock: Clock,
    pub(super) notes: Notes,
    pub(super) answer: A2aAnswer,
    pub(super) begun: tokio::time::Instant,
    /// Until when replies can come.
    listens: tokio::time::Instant,
    span: Span,
    ready: VecDeque<Result<ReaderItem, A2aError>>,
    timer: Pin<Box<Sleep>>,
    fetch: Option<Fetch>,
    ended: bool,
    /// Whether its end was read.
    whole: bool,
    timed_out: bool,
}

type Fetch = Pin<Box<dyn Future<Output = Option<Snapshot>> + Send>>;

/// Calls that timed out and were dropped; the oldest is given up first.
#[derive(Default)]
pub(super) struct Parked(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    calls: HashMap<String, Box<Inner>>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl A2aCall {
    pub(super) fn new(
        agent: Agent,
        peer: Address,
        replies: agentchat_core::Call,
        calls: Calls,
        id: &CorrelationId,
        (clock, notes, parked): (Clock, Notes, Arc<Parked>),
        (span, listens): (Span, tokio::time::Instant),
    ) -> Self {
        let inner = Inner {
            agent,
            peer,
            replies: Some(replies),
            calls,
            id: id.as_str().to_owned(),
            clock,
            notes,
            answer: A2aAnswer::default(),
            begun: tokio::time::Instant::now(),
            listens,
            span,
            ready: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            fetch: None,
            ended: false,
            whole: false,
            timed_out: false,
        };
        Self { inner: Some(Box::new(inner)), parked }
    }

    /// Whether it can hear what is answered within `timeout` from now.
    pub(super) fn hears_for(&self, timeout: Duration) -> bool {
        let end = tokio::time::Instant::now().checked_add(timeout);
        self.inner
            .as_ref()
            .is_some_and(|inner| inner.replies.is_some() && end.is_some_and(|end| end <= inner.listens))
    }

    /// Its request was sent again: it is waited for until `deadline`. `false` if it is not kept any longer.
    pub(super) fn renew(&mut self, deadline: Duration, span: Span) -> bool {
        self.inner.as_mut().is_some_and(|inner| inner.renew(deadline, span))
    }

    /// Gives it up, so that another one can be made under its id.
    pub(super) fn forget(mut self) {
        self.inner = None;
    }

    /// The call's correlation id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.inner.as_ref().map_or("", |inner| &inner.id)
    }

    /// How far it has come: whether it is queued for a peer that is away, or taken.
    #[must_use]
    pub fn state(&self) -> CallState {
        let inner = self.inner.as_ref();
        inner.and_then(|inner| inner.calls.get(&inner.id)).map_or(CallState::Ended, crate::call::Call::state)
    }

    /// What is known so far.
    #[must_use]
    pub fn so_far(&self) -> A2aAnswer {
        self.inner.as_ref().map(|inner| inner.answer.clone()).unwrap_or_default()
    }

    /// The next item; `None` after the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<ReaderItem, A2aError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Waits for the end, and gives the outcome. After [`A2aError::TimedOut`] it may be asked again. Cancel-safe.
    ///
    /// # Errors
    /// [`A2aError::Refused`] when the peer answers with an error; whatever ended the call before its end.
    pub async fn answer(&mut self) -> Result<A2aAnswer, A2aError> {
        while let Some(item) = self.next().await {
            item?;
        }
        let answer = self.so_far();
        match (answer.failure, &self.inner) {
            (Some((code, message)), _) => Err(A2aError::Refused { code, message }),
            // What ended it was said once; it is no answer the next time either.
            (None, Some(inner)) if !inner.whole && inner.timed_out => {
                Err(A2aError::TimedOut { id: inner.id.clone() })
            }
            (None, Some(inner)) if !inner.whole => Err(A2aError::Cut),
            (None, _) => Ok(self.so_far()),
        }
    }
}

impl Stream for A2aCall {
    type Item = Result<ReaderItem, A2aError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.inner {
            Some(inner) => {
                let span = inner.span.clone();
                let _within = span.enter();
                inner.poll(cx)
            }
            None => Poll::Ready(None),
        }
    }
}

impl Drop for A2aCall {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            if inner.timed_out && !inner.ended {
                self.parked.keep(inner);
            }
        }
    }
}

impl fmt::Debug for A2aCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("A2aCall")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn renew(&mut self, deadline: Duration, span: Span) -> bool {
        if !self.calls.renew(&self.id, deadline, self.clock.now()) {
            return false;
        }
        self.timed_out = false;
        // That it timed out was said to the one who asked before.
        self.ready.retain(Result::is_ok);
        (self.begun, self.span) = (tokio::time::Instant::now(), span);
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ReaderItem, A2aError>>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(item));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.poll_fetch(cx) || self.poll_replies(cx) {
                continue;
            }
            let Some(due) = self.calls.next_deadline() else { return Poll::Pending };
            let due = self.clock.instant(due);
            if self.timer.deadline() != due {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = self.clock.now();
            if let Some((_, due)) = self.calls.poll(now) {
                match due {
                    CallDue::Items(items) => self.absorb(items),
                    CallDue::TimedOut => {
                        self.timed_out = true;
                        self.fail(A2aError::TimedOut { id: self.id.clone() });
                    }
                }
            } else if self.calls.get(&self.id).is_none() {
                // It was kept for as long as it is.
                self.fail(A2aError::TimedOut { id: self.id.clone() });
                self.stop();
            }
        }
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(fetch) = &mut self.fetch else { return false };
        let Poll::Ready(snapshot) = fetch.as_mut().poll(cx) else { return false };
        self.fetch = None;
        let now = self.clock.now();
        let items = self.calls.snapshot(&self.id, snapshot, now);
        self.absorb(items);
        true
    }

    fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(replies) = &mut self.replies else { return false };
        let Poll::Ready(reply) = Pin::new(replies).poll_next(cx) else { return false };
        match reply {
            None => self.replies = None,
            Some(Ok(reply)) => self.reply(&reply),
            Some(Err(error)) => {
                self.replies = None;
                // The core's own deadline is the end of the time it is kept.
                self.timed_out |= error.kind() == ErrorKind::Timeout;
                self.fail(match self.timed_out {
                    true => A2aError::TimedOut { id: self.id.clone() },
                    false => error.into(),
                });
                self.stop();
            }
        }
        true
    }

    fn reply(&mut self, reply: &Reply) {
        let note = Note { correlation: Some(&self.id), ..Note::default() };
        if let Some(why) = &reply.error {
            // The peer's runtime answered in place of its agent.
            let code = -32603;
            self.answer.failure = Some((code, why.clone()));
            self.fail(A2aError::Refused { code, message: why.clone() });
            return self.stop();
        }
        let Some(envelope) = envelope_of(reply, Some(&self.id)) else {
            return self.notes.tell(&Note { name: "reply.unreadable", ..note });
        };
        self.notes.tell(&Note {
            name: if self.timed_out { "reply.late" } else { "reply.received" },
            task: envelope.task_id(),
            seq: envelope.seq().ok().flatten(),
            generation: envelope.generation().ok().flatten(),
            bytes: Some(envelope.body.len()),
            latency_ms: u64::try_from(self.begun.elapsed().as_millis()).ok(),
            ..note
        });
        let now = self.clock.now();
        if !self.timed_out && !reply.last && is_stale(&envelope) {
            // An older copy of the request was found too late. This one's time is not over.
            return;
        }
        self.answer.learn(&envelope);
        match self.calls.receive(envelope, now) {
            Ok(crate::call::Received::Call { items, .. } | crate::call::Received::Late { items, .. }) => {
                self.absorb(items);
            }
            Ok(crate::call::Received::Foreign(_)) | Err(_) => {}
        }
    }

    fn absorb(&mut self, items: Vec<ReaderItem>) {
        for item in items {
            self.answer.take(&item);
            let note =
                Note { correlation: Some(&self.id), task: self.answer.task_id.as_deref(), ..Note::default() };
            match &item {
                ReaderItem::Gap { .. } => self.notes.tell(&Note { name: "stream.gap", ..note }),
                ReaderItem::Resynced { .. } => self.notes.tell(&Note { name: "stream.resynced", ..note }),
                ReaderItem::End(_) => self.notes.tell(&Note { name: "stream.end", ..note }),
                _ => {}
            }
            match item {
                ReaderItem::ReadSnapshot => self.fetch = Some(self.fetch()),
                ReaderItem::End(StreamEnd::Cut) => {
                    self.fail(A2aError::Cut);
                    self.stop();
                }
                ReaderItem::End(_) => self.end(),
                item => self.ready.push_back(Ok(item)),
            }
        }
    }

    fn fetch(&self) -> Fetch {
        let (agent, peer, task) = (self.agent.clone(), self.peer.clone(), self.answer.task_id.clone());
        Box::pin(async move { snapshots::fetch(&agent, &peer, &task?).await.ok().flatten() })
    }

    fn fail(&mut self, error: A2aError) {
        telemetry::ended(&self.span, Some(&error));
        self.ready.push_back(Err(error));
    }

    fn end(&mut self) {
        self.whole = true;
        let refused = self.answer.failure.clone();
        let refused = refused.map(|(code, message)| A2aError::Refused { code, message });
        telemetry::ended(&self.span, refused.as_ref());
        if let Some(task) = &self.answer.task_id {
            self.span.record("task", task.as_str());
        }
        self.stop();
    }

    fn stop(&mut self) {
        self.ended = true;
        self.replies = None;
        self.fetch = None;
    }
}

impl Parked {
    fn keep(&self, inner: Box<Inner>) {
        let mut parked = lock(&self.0);
        let Shelf { calls, order } = &mut *parked;
        if order.len() >= PARKED {
            if let Some(oldest) = order.pop_front() {
                calls.remove(&oldest);
            }
        }
        order.push_back(inner.id.clone());
        calls.insert(inner.id.clone(), inner);
    }

    pub(super) fn take(self: &Arc<Self>, id: &str) -> Option<A2aCall> {
        let mut parked = lock(&self.0);
        let Shelf { calls, order } = &mut *parked;
        let inner = calls.remove(id)?;
        order.retain(|known| known != id);
        Some(A2aCall { inner: Some(inner), parked: Arc::clone(self) })
    }
}

/// A reply as the envelope it carries. A text that is no A2A is a message of that text.
pub(super) fn envelope_of(reply: &Reply, id: Option<&str>) -> Option<Envelope> {
    let delivery = &reply.delivery;
    let limits = Limits::default();
    let mut envelope =
        Received::read(headers_of(delivery), delivery.body.bytes.clone(), &limits).ok()?.envelope;
    if let Some(id) = id {
        envelope.headers.set(names::CORRELATION_ID, id).ok()?;
    }
    if !envelope.headers.contains(names::ENVELOPE) {
        if json::parse_body(&envelope.body, &limits).map_or(true, |root| !root.is_object()) {
            let text = String::from_utf8_lossy(&envelope.body);
            let message =
                format!(r#"{{"messageId":"","role":"ROLE_AGENT","parts":[{{"text":{}}}]}}"#, quote(&text));
            envelope.body = message.into();
        }
        envelope = envelope.with_last(reply.last).ok()?;
    }
    Some(envelope)
}

/// How many calls are kept parked.
const PARKED: usize = 256;
