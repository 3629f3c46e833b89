//! What an agent's handles and tasks share, and what ends with the last handle.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::answer_log::AnswerLog;
use super::close::Closing;
use super::own_serving::OwnServing;
use super::replies::Replies;
use super::role::Seat;
use super::sent::SentIds;
use super::serving::{Control, Serving, Stop};
use super::trace;
use crate::beacon::Beacon;
use crate::capability::Capabilities;
use crate::delivery::{Delivery, Receipt};
use crate::disabled::disabled;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::options::CloseMode;
use crate::telemetry::{message_span, observed};
use crate::trace_context::TraceContext;
use crate::transport::Transport;

/// What the agent's tasks share. They hold no [`Tasks`], so that dropping the agent ends them.
#[derive(Debug)]
pub(crate) struct AgentShared {
    pub(crate) transport: Arc<dyn Transport>,
    /// Handlers running now, and the slots they run in: the heartbeat's load.
    pub(crate) active: AtomicU32,
    pub(crate) slots: AtomicU32,
    pub(crate) replies: Replies,
    pub(crate) answered: AnswerLog,
    sent: Mutex<SentIds>,
    /// Whether messages that carry no trace context get one.
    pub(crate) traces: bool,
    /// Whether the agent leads. Dropped behind the attachment.
    pub(crate) seat: Arc<Seat>,
}

/// What ends with the last handle of an agent.
#[derive(Debug)]
pub(crate) struct Tasks {
    shared: Arc<AgentShared>,
    heartbeat: Mutex<Option<JoinHandle<()>>>,
    beacon: Mutex<Option<Beacon>>,
    serving: Mutex<Vec<Arc<Control>>>,
    /// What the agent was started with, if with anything.
    own: Option<OwnServing>,
    /// Held while something begins to be served.
    pub(crate) starting: tokio::sync::Mutex<()>,
    pub(crate) closing: Closing,
    life: Mutex<Life>,
}

/// How far the agent is on its way to the end.
#[derive(Debug, Clone, Copy)]
enum Life {
    Open,
    /// Nothing more is taken in; what runs may still send and call.
    Closing(CloseMode),
    Closed(CloseMode),
}

impl AgentShared {
    pub(crate) fn new(transport: Arc<dyn Transport>, seat: Arc<Seat>) -> Self {
        Self {
            replies: Replies::new(Arc::clone(&transport), Arc::clone(&seat)),
            transport,
            active: AtomicU32::new(0),
            slots: AtomicU32::new(0),
            answered: AnswerLog::default(),
            sent: Mutex::default(),
            traces: true,
            seat,
        }
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.transport.capabilities()
    }

    /// The error for what the network cannot do: because it lacks `what`, or because there is none.
    pub(crate) fn lacks(&self, operation: &'static str, what: &str) -> Error {
        if self.capabilities().disabled { disabled(operation) } else { Error::unsupported(operation, what) }
    }

    /// One attempt at sending.
    pub(crate) async fn transmit(&self, message: &Outbound) -> Result<Receipt> {
        self.transmit_as(message, self.line(message, trace::handled())).await
    }

    /// One attempt at answering `request`, or at passing it on.
    pub(crate) async fn transmit_for(&self, request: &Delivery, message: &Outbound) -> Result<Receipt> {
        self.transmit_as(message, self.line(message, Some(trace::of_delivery(request)))).await
    }

    async fn transmit_as(&self, message: &Outbound, line: Option<TraceContext>) -> Result<Receipt> {
        let message = trace::carrying(message, line);
        let span = message_span!(INFO, "agent.send", message, Some(&message.client_msg_id));
        observed(span, self.transport.send(&message)).await
    }

    /// The trace of a message that has no line of its own yet.
    pub(crate) fn trace_for(&self, id: &ClientMsgId) -> Option<TraceContext> {
        let able = self.traces && self.capabilities().headers;
        able.then(|| trace::step_of(id, &*self.transport, trace::handled()))
    }

    fn line(&self, message: &Outbound, within: Option<TraceContext>) -> Option<TraceContext> {
        if self.traces { trace::line(message, &*self.transport, within) } else { None }
    }

    /// One attempt at sending, after checking that the id stands for this content. What counts as the
    /// content is in `content`, which has the id of `message`.
    pub(crate) async fn transmit_once(&self, content: &Outbound, message: &Outbound) -> Result<Receipt> {
        let line = self.line(message, trace::handled());
        let (new, line) = {
            let mut sent = lock(&self.sent);
            let new = sent.record(content)?;
            (new, line.map(|line| sent.line(&content.client_msg_id, line)))
        };
        let sent = self.transmit_as(message, line).await;
        if let Err(error) = &sent
            && new
            && error.reached() != Reached::Unknown
        {
            lock(&self.sent).forget(&content.client_msg_id);
        }
        sent
    }
}

impl Tasks {
    pub(crate) fn new(shared: Arc<AgentShared>) -> Self {
        Self {
            shared,
            heartbeat: Mutex::default(),
            beacon: Mutex::default(),
            serving: Mutex::default(),
            own: None,
            starting: tokio::sync::Mutex::default(),
            closing: Closing::default(),
            life: Mutex::new(Life::Open),
        }
    }

    pub(crate) fn set_heartbeat(&self, task: JoinHandle<()>) {
        *lock(&self.heartbeat) = Some(task);
    }

    pub(crate) fn set_beacon(&self, beacon: Beacon) {
        *lock(&self.beacon) = Some(beacon);
    }

    /// Says in the agent's beacon that it ended on purpose.
    pub(crate) async fn put_out_beacon(&self) {
        let Some(beacon) = lock(&self.beacon).take() else { return };
        if let Err(error) = beacon.put_out().await {
            tracing::warn!(name: "beacon.failed", %error, "the sign of life could not be written");
        }
    }

    /// Ends the heartbeat. When this returns no report is under way any more, unless `end` has passed.
    pub(crate) async fn end_heartbeat(&self, end: Instant) {
        let Some(task) = lock(&self.heartbeat).take() else { return };
        task.abort();
        let _ = tokio::time::timeout_at(end.max(Instant::now() + MOMENT), task).await;
    }

    /// What is being served.
    pub(crate) fn serving(&self) -> Vec<Arc<Control>> {
        let mut serving = lock(&self.serving);
        serving.retain(|control| !control.has_ended());
        serving.clone()
    }

    pub(crate) fn add_serving(&self, control: Arc<Control>) {
        lock(&self.serving).push(control);
    }

    /// Takes over what the agent was started with: `None` where there is nothing to serve.
    pub(crate) fn own(&mut self, serving: Option<Serving>) {
        if let Some(serving) = &serving {
            self.add_serving(serving.control());
        }
        self.own = Some(OwnServing::new(serving));
    }

    pub(crate) fn own_serving(&self) -> Option<&OwnServing> {
        self.own.as_ref()
    }

    pub(crate) fn mark_closing(&self, mode: CloseMode) {
        let mut life = lock(&self.life);
        // What has ended stays so while a closing that failed is made again.
        if !matches!(*life, Life::Closed(_)) {
            *life = Life::Closing(mode);
        }
    }

    pub(crate) fn mark_closed(&self, mode: CloseMode) {
        *lock(&self.life) = Life::Closed(mode);
        if let Some(own) = &self.own {
            own.end_idle();
        }
    }

    /// # Errors
    /// `Closed` once the agent takes nothing in any more.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        let life = *lock(&self.life);
        match life {
            Life::Closing(mode) => {
                let what = format!("the agent is being closed, to {}", word(mode));
                Err(Error::new(ErrorKind::Closed, operation, what))
            }
            Life::Open | Life::Closed(_) => self.check_alive(operation),
        }
    }

    /// # Errors
    /// `Closed` once nothing runs any more that may use the agent; closing it is not its end yet.
    pub(crate) fn check_alive(&self, operation: &'static str) -> Result<()> {
        let life = *lock(&self.life);
        match life {
            Life::Closed(mode) => {
                let what = format!("the agent was closed, to {}", word(mode));
                Err(Error::new(ErrorKind::Closed, operation, what))
            }
            Life::Open | Life::Closing(_) => Ok(()),
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(heartbeat) = lock(&self.heartbeat).take() {
            heartbeat.abort();
        }
        for control in lock(&self.serving).drain(..) {
            control.stop(Stop::Gone);
        }
        self.shared.replies.close();
    }
}

/// What an agent is closed for.
pub(crate) fn word(mode: CloseMode) -> &'static str {
    match mode {
        CloseMode::Detach => "detach",
        CloseMode::Retire => "retire",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an aborted task gets for ending.
const MOMENT: Duration = Duration::from_millis(100);
