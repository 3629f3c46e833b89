//! The client: how a request leaves, and which call its replies go to.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentchat_core::agent::{CallMode, FanOut};
use agentchat_core::{Address, Agent, Body, CallRequest, ClientMsgId, ErrorKind, Priority};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::a2a_answer::A2aAnswer;
use super::address;
use super::call::{A2aCall, Parked};
use super::clock::Clock;
use super::error::A2aError;
use super::note::{A2aObserver, Note, Notes};
use super::request::{A2aRequest, envelope};
use super::snapshots;
use super::telemetry;
use crate::call::{CallLimits, Calls};
use crate::correlation::CorrelationId;
use crate::envelope::Envelope;
use crate::json::quote;
use crate::safety::Reach;
use crate::stream::ReaderOptions;
use crate::vocabulary::Operation;

/// Calls other agents in A2A.
///
/// Replies come into an inbox that nobody can guess, kept for each peer. Clones are one client.
#[derive(Clone)]
pub struct A2aClient {
    pub(super) agent: Agent,
    clock: Clock,
    notes: Notes,
    parked: Arc<Parked>,
}

/// How a request is sent and read.
struct Plan {
    envelope: Envelope,
    id: CorrelationId,
    after: u64,
    timeout: Duration,
    keep: Duration,
    private: bool,
    reader: ReaderOptions,
}

impl A2aClient {
    /// Calls as this agent.
    #[must_use]
    pub fn new(agent: &Agent) -> Self {
        Self { agent: agent.clone(), clock: Clock::start(), notes: Notes::default(), parked: Arc::default() }
    }

    /// Tells `observer` what happens, besides the log.
    #[must_use]
    pub fn with_observer(mut self, observer: impl A2aObserver) -> Self {
        self.notes = Notes::to(observer);
        self
    }

    /// Sends a request, or an answer to a task's question, and gives the stream of replies. The request is with
    /// the network when this returns. Dropping the future may leave it sent.
    ///
    /// The same request may be asked again when a call has timed out and was dropped: it is sent once more, in the
    /// same bytes, and what was read of it before counts. Its peer runs it once.
    ///
    /// # Errors
    /// As [`Agent::call`]; [`A2aError::Envelope`] for ids that cannot be carried, and for a task inbox on
    /// another network.
    pub async fn call(&self, to: &Address, request: A2aRequest) -> Result<A2aCall, A2aError> {
        let (peer, id) = self.place(to, &request)?;
        let plan = Plan {
            envelope: request.envelope(&id, self.reach(&peer))?,
            id,
            after: request.task.as_ref().and_then(|(_, _, generation)| *generation).unwrap_or(0),
            timeout: request.timeout,
            keep: request.keep,
            private: request.private_inbox,
            reader: request.reader,
        };
        match self.parked.take(plan.id.as_str()) {
            Some(call) => self.again(&peer, plan, call).await,
            None => self.begin(&peer, plan).await,
        }
    }

    /// Sends a request and waits for its outcome.
    ///
    /// # Errors
    /// As [`call`](Self::call) and [`A2aCall::answer`].
    pub async fn ask(&self, to: &Address, request: A2aRequest) -> Result<A2aAnswer, A2aError> {
        self.call(to, request).await?.answer().await
    }

    /// Asks many the same; see [`Agent::call_many`]. [`A2aAnswer::of`] reads the replies. Each is asked as by
    /// [`call`](Self::call): the same request may be asked again, of the same or of others, and each runs it once.
    ///
    /// # Errors
    /// As there; [`A2aError::Envelope`] for ids that cannot be carried; `Invalid` for an answer to a task's question
    /// that is to go to several.
    pub async fn call_many(
        &self,
        to: &[Address],
        request: A2aRequest,
        mode: CallMode,
    ) -> Result<FanOut, A2aError> {
        if request.task.is_some() && to.iter().any(|other| *other != to[0]) {
            let what = "a task is one agent's: what is said to it cannot go to several";
            return Err(agentchat_core::Error::new(ErrorKind::Invalid, "call_many", what).into());
        }
        let mut requests = Vec::with_capacity(to.len());
        for to in to {
            let (peer, id) = self.place(to, &request)?;
            if let Some(earlier) = self.parked.take(id.as_str()) {
                earlier.forget();
            }
            let envelope = request.envelope(&id, self.reach(&peer))?;
            requests.push((peer, core_request(&envelope, request.timeout, request.private_inbox)));
        }
        Ok(self.agent.call_each(requests, mode).await?)
    }

    /// The task as its agent published it, without waking the agent; where the network keeps no such state, or
    /// nothing was published, the agent is asked.
    ///
    /// # Errors
    /// [`A2aError::Refused`] with -32001 for a task that is not known, and as [`call`](Self::call).
    pub async fn get_task(&self, at: &Address, task_id: &str) -> Result<A2aAnswer, A2aError> {
        if let Some(snapshot) = snapshots::fetch(&self.agent, at, task_id).await? {
            return Ok(A2aAnswer::of_task(snapshot));
        }
        let mut call = self.about(at, Operation::GetTask, task_id, None).await?;
        call.answer().await
    }

    /// Calls a task off. It goes before what waits, where the network has priorities.
    ///
    /// # Errors
    /// [`A2aError::Refused`] with -32002 for a task that is over and with -32001 for one that is not known, and
    /// as [`call`](Self::call).
    pub async fn cancel(&self, at: &Address, task_id: &str) -> Result<A2aAnswer, A2aError> {
        self.about(at, Operation::CancelTask, task_id, None).await?.answer().await
    }

    /// Listens to a task: everything after the generation `after`, or the task as it is and then what follows.
    ///
    /// # Errors
    /// As [`call`](Self::call); what the peer refuses comes as the call's answer.
    pub async fn subscribe(
        &self,
        at: &Address,
        task_id: &str,
        after: Option<u64>,
    ) -> Result<A2aCall, A2aError> {
        self.about(at, Operation::SubscribeToTask, task_id, after).await
    }

    /// A call that timed out and was dropped, to be read on.
    #[must_use]
    pub fn reopen(&self, id: &str) -> Option<A2aCall> {
        self.parked.take(id)
    }

    /// Where a request goes, and its id: the same request again is the same bytes.
    fn place(&self, to: &Address, request: &A2aRequest) -> Result<(Address, CorrelationId), A2aError> {
        let own = self.agent.address();
        let id = ClientMsgId::derived(own.as_str(), &format!("{to}\n{}", request.message_id));
        let peer = match &request.task_inbox {
            Some(inbox) => address::resolve(own, inbox)?,
            None => to.clone(),
        };
        Ok((peer, CorrelationId::new(id.as_str())?))
    }

    /// Who is on another host learns nothing of an origin.
    fn reach(&self, to: &Address) -> Reach {
        if address::check(self.agent.address(), to).is_ok() { Reach::Home } else { Reach::Foreign }
    }

    async fn about(
        &self,
        at: &Address,
        operation: Operation,
        task_id: &str,
        after: Option<u64>,
    ) -> Result<A2aCall, A2aError> {
        let id = CorrelationId::new(ClientMsgId::random().as_str())?;
        let mut envelope = envelope(operation, &id, &format!("{{\"id\":{}}}", quote(task_id)))?;
        if let Some(after) = after {
            envelope = envelope.with_resume_after(after)?;
        }
        let plan = Plan {
            envelope,
            id,
            after: after.unwrap_or(0),
            timeout: Duration::from_secs(60),
            keep: Duration::ZERO,
            private: false,
            reader: ReaderOptions::default(),
        };
        self.begin(at, plan).await
    }

    async fn begin(&self, peer: &Address, plan: Plan) -> Result<A2aCall, A2aError> {
        let listens = plan.timeout.saturating_add(plan.keep);
        // First: what is found when nobody here waits any more must be found too late.
        let request = self.core_request(&plan, listens);
        let now = self.clock.now();
        let mut calls = Calls::new(CallLimits::default().with_keep(plan.keep));
        calls.open(&plan.id, plan.after, Some(now.saturating_add(plan.timeout)), plan.reader, now)?;
        let listens = Instant::now().checked_add(listens).unwrap_or_else(Instant::now);
        let span = self.span_of(&plan, &request);
        let replies = self.sent(&plan, &span, self.agent.call(peer, request)).await?;
        let with = (self.clock, self.notes.clone(), Arc::clone(&self.parked));
        Ok(A2aCall::new(self.agent.clone(), peer.clone(), replies, calls, &plan.id, with, (span, listens)))
    }

    /// Sends the request of a call that timed out once more, and goes on with what was read of it. The network
    /// gets another message, because it may take one under the old id for the one it has: the peer tells it by
    /// its key.
    async fn again(&self, peer: &Address, plan: Plan, mut call: A2aCall) -> Result<A2aCall, A2aError> {
        if call.hears_for(plan.timeout) {
            let request = self.core_request(&plan, plan.timeout);
            let deadline = self.clock.now().saturating_add(plan.timeout);
            let span = self.span_of(&plan, &request);
            match self.sent(&plan, &span, self.agent.call_again(peer, request)).await {
                // Its inbox is gone.
                Err(A2aError::Network(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) if call.renew(deadline, span) => return Ok(call),
                Ok(()) => {}
            }
        }
        call.forget();
        self.begin(peer, plan).await
    }

    fn core_request(&self, plan: &Plan, timeout: Duration) -> CallRequest {
        let mut request = core_request(&plan.envelope, timeout, plan.private);
        if let Some(deadline) = SystemTime::now().checked_add(plan.timeout) {
            request = request.with_deadline(deadline);
        }
        let operation = plan.envelope.method().and_then(Operation::parse);
        if operation.is_some_and(Operation::is_urgent) && self.agent.capabilities().priority {
            request = request.with_priority(Priority::Urgent);
        }
        request
    }

    fn span_of(&self, plan: &Plan, request: &CallRequest) -> Span {
        let trace = self.agent.trace_for(&request.client_msg_id);
        telemetry::call(plan.envelope.method(), plan.id.as_str(), trace)
    }

    /// Waits until the request is with the network, and tells so.
    async fn sent<T>(
        &self,
        plan: &Plan,
        span: &Span,
        sending: impl Future<Output = agentchat_core::Result<T>>,
    ) -> Result<T, A2aError> {
        let sent = match tokio::time::timeout(plan.timeout, sending).instrument(span.clone()).await {
            Err(_) => Err(A2aError::TimedOut { id: plan.id.as_str().to_owned() }),
            Ok(sent) => sent.map_err(A2aError::from),
        };
        let sent = sent.inspect_err(|error| telemetry::ended(span, Some(error)))?;
        span.in_scope(|| {
            self.notes.tell(&Note {
                name: "request.sent",
                method: plan.envelope.method(),
                correlation: Some(plan.id.as_str()),
                bytes: Some(plan.envelope.body.len()),
                ..Note::default()
            });
        });
        Ok(sent)
    }
}

impl fmt::Debug for A2aClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("A2aClient").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// An envelope as a request of the core's.
pub(super) fn core_request(envelope: &Envelope, timeout: Duration, private: bool) -> CallRequest {
    let mut request = CallRequest::new(Body::json(envelope.body.clone())).with_timeout(timeout);
    request.private_inbox = private;
    for (name, value) in envelope.headers.iter() {
        match name {
            crate::names::CORRELATION_ID => {
                request.correlation_id = agentchat_core::CorrelationId::new(value).ok();
            }
            _ => request.headers.insert(name, value),
        }
    }
    request
}
