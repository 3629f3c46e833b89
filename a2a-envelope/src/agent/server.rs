//! The server: its stores, its handler, and what holds both while it serves.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use agentchat_core::agent::Served;
use agentchat_core::{Agent, Request, Serving};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::clock::Clock;
use super::error::A2aError;
use super::handler::{A2aHandler, AnyHandler, TurnError};
use super::note::{A2aObserver, Note, Notes};
use super::options::A2aServerOptions;
use super::question_deadlines::Deadlines;
use super::runner::Command;
use super::telemetry;
use super::turn_handle::lock;
use super::unknown_methods::{self, Other};
use crate::idempotency::{MemoryRequestStore, RequestLimits, RequestStore, Requests};
use crate::json_text::JsonText;
use crate::received::Received;
use crate::task::{MemoryTaskStore, TaskStore};

/// A handler, and where its tasks and requests are kept.
///
/// Without other stores they are kept in memory and end with the process.
#[must_use]
pub struct A2aServer {
    handler: Arc<dyn AnyHandler>,
    tasks: Arc<dyn TaskStore>,
    requests: Option<Arc<dyn RequestStore>>,
    options: A2aServerOptions,
    notes: Notes,
    other: Option<Other>,
}

impl A2aServer {
    /// Serves with this handler, everything in memory.
    pub fn new(handler: impl A2aHandler) -> Self {
        Self {
            handler: Arc::new(handler),
            tasks: Arc::new(MemoryTaskStore::new()),
            requests: None,
            options: A2aServerOptions::default(),
            notes: Notes::default(),
            other: None,
        }
    }

    /// Keeps tasks and requests here.
    pub fn with_stores(mut self, tasks: Arc<dyn TaskStore>, requests: Arc<dyn RequestStore>) -> Self {
        (self.tasks, self.requests) = (tasks, Some(requests));
        self
    }

    /// Works like this.
    pub fn with_options(mut self, options: A2aServerOptions) -> Self {
        self.options = options;
        self
    }

    /// Tells `observer` what happens, besides the log.
    pub fn with_observer(mut self, observer: impl A2aObserver) -> Self {
        self.notes = Notes::to(observer);
        self
    }

    /// Hands requests with a method that this library does not know to `answer`, as they were received, and
    /// answers with the result it gives. Without this they are refused with -32601. They are no tasks: nothing
    /// is stored of them, and one that is delivered again is handed over again.
    pub fn with_other_methods<F, T>(mut self, answer: F) -> Self
    where
        F: Fn(Received) -> T + Send + Sync + 'static,
        T: Future<Output = Result<JsonText, TurnError>> + Send + 'static,
    {
        self.other = Some(unknown_methods::boxed(answer));
        self
    }

    /// Serves the agent's inbox: first what an earlier process left running, then what comes.
    ///
    /// # Errors
    /// As [`Agent::serve`], and a store's when it cannot be read.
    pub async fn serve(self, agent: &Agent) -> Result<A2aServing, A2aError> {
        let Self { handler, tasks, requests, mut options, notes, other } = self;
        let own = agent.address();
        if options.writer.task_inbox.is_none() {
            options.writer.task_inbox = Some(own.name().to_owned());
        }
        let requests = requests.unwrap_or_else(|| in_memory(&options.requests));
        let clock = Clock::start();
        let records = requests.load().await?;
        let known = Requests::restored(options.requests, records.iter().cloned(), clock.now());
        let owner = Arc::new(Owner::default());
        if let Some(most) = agent.capabilities().max_body {
            // What is gathered has to fit as well.
            options.writer.coalesce.bytes = options.writer.coalesce.bytes.min(most / 2);
        }
        let shared = Arc::new(Shared {
            agent: agent.clone(),
            handler,
            tasks,
            records: requests,
            requests: Mutex::new(known),
            running: Mutex::default(),
            options,
            clock,
            notes,
            other,
            deadlines: Deadlines::default(),
            owner: Arc::downgrade(&owner),
        });
        if shared.options.recover {
            shared.recover(records).await?;
        }
        let intake = Arc::clone(&shared);
        let handler = move |request: Request| {
            let intake = Arc::clone(&intake);
            let span = telemetry::request(request.delivery().id.as_str());
            async move { intake.take(request).await }.instrument(span)
        };
        let serve = shared.options.serve.clone().with_expired_handed_over();
        let serving = agent.serve(handler, serve).await?;
        let mut sweeper = JoinSet::new();
        sweeper.spawn(Arc::clone(&shared).sweep_on());
        Ok(A2aServing { serving, owner, shared, _sweeper: sweeper })
    }
}

impl fmt::Debug for A2aServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("A2aServer").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A server at work. Dropping it stops at once: tasks that run stay open in the store and are gone on with at
/// the next start.
#[must_use = "dropping it stops serving"]
pub struct A2aServing {
    serving: Serving,
    owner: Arc<Owner>,
    shared: Arc<Shared>,
    /// Forgets requests that were left behind and ends tasks that nobody answered; stopped with the rest.
    _sweeper: JoinSet<()>,
}

impl A2aServing {
    /// How many tasks run here.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.shared.running).len()
    }

    /// Goes on with everything that is open in the stores and does not work here, as a start does: for the
    /// workers of a pool, when one of them is known to be gone. One that is not gone after all finds its tasks
    /// taken, and says nothing more about them.
    ///
    /// # Errors
    /// A store's, when it cannot be read.
    pub async fn take_over(&self) -> Result<(), A2aError> {
        let records = self.shared.records.load().await?;
        Ok(self.shared.recover(records).await?)
    }

    /// Takes nothing in any more, and gives tasks that run until `deadline` from now. Those that are not done
    /// by then stay open in the store.
    pub async fn stop(self, deadline: Duration) -> Served {
        let end = tokio::time::Instant::now() + deadline;
        let served = self.serving.stop(deadline).await;
        let mut jobs = std::mem::take(&mut *lock(&self.owner.jobs));
        let all = async { while jobs.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(end, all).await;
        served
    }

    /// Serves until the inbox cannot be read any more.
    pub async fn wait(self) -> Served {
        self.serving.wait().await
    }
}

impl fmt::Debug for A2aServing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("A2aServing").field("running", &self.running()).finish_non_exhaustive()
    }
}

/// The tasks that work, stopped when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    jobs: Mutex<JoinSet<()>>,
}

/// What everything that works shares.
pub(crate) struct Shared {
    pub(crate) agent: Agent,
    pub(crate) handler: Arc<dyn AnyHandler>,
    pub(crate) tasks: Arc<dyn TaskStore>,
    pub(crate) records: Arc<dyn RequestStore>,
    pub(crate) requests: Mutex<Requests>,
    /// The tasks that run here, by id.
    pub(crate) running: Mutex<HashMap<String, mpsc::Sender<Command>>>,
    pub(crate) options: A2aServerOptions,
    pub(crate) clock: Clock,
    pub(crate) notes: Notes,
    pub(crate) other: Option<Other>,
    pub(crate) deadlines: Deadlines,
    owner: Weak<Owner>,
}

impl Shared {
    /// Lets a task work under the owner. `false` when there is none any more.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        let mut jobs = lock(&owner.jobs);
        while jobs.try_join_next().is_some() {}
        jobs.spawn(job);
        true
    }

    pub(crate) fn tell(&self, note: &Note<'_>) {
        self.notes.tell(note);
    }
}

/// Room for all that the limits let be remembered.
fn in_memory(limits: &RequestLimits) -> Arc<dyn RequestStore> {
    Arc::new(MemoryRequestStore::new(limits.max_running.saturating_add(limits.max_answered)))
}
