//! One task at work: its writer, its handler, and what others want of it meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::TraceContext;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, Span};

use super::asker::Asker;
use super::handler::TurnResult;
use super::intake::turn_of;
use super::note::Note;
use super::question::Asking;
use super::question_deadlines::is_late;
use super::server::Shared;
use super::telemetry::{self, within};
use super::turn_handle::{Op, OpKind, TurnHandle, TurnRefusal, lock};
use crate::call::{DEADLINE_EXCEEDED, Incoming};
use crate::idempotency::RequestRecord;
use crate::json_text::JsonText;
use crate::stream::{StreamError, StreamWriter, WriterAction};
use crate::task::{Event, Next, Task, TaskError, Waiting};

/// A request on its way to its task.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) incoming: Incoming,
    pub(crate) asker: Asker,
    pub(crate) record: RequestRecord,
    /// Whether its sender was told that it is taken.
    pub(crate) told: bool,
}

/// What others want of a task that works.
#[derive(Debug)]
pub(crate) enum Command {
    FollowUp(Box<Pending>),
    /// A request of the task that came again under another correlation id.
    Join(Box<Pending>),
    Subscribe(Box<(Incoming, Asker)>),
    Cancel(Box<(Incoming, Asker)>),
}

/// Where the answer goes that a handler waits for.
type Answer = oneshot::Sender<Result<JsonText, TurnRefusal>>;

/// Another worker has the task, or nothing more can be stored: nothing more is said.
pub(crate) struct Lost;

/// Works on one task until nothing is left to do for it here.
pub(crate) struct Runner {
    pub(super) shared: Arc<Shared>,
    id: String,
    commands: mpsc::Receiver<Command>,
    pub(super) waiting: Waiting<Box<Pending>>,
    /// Who hears the task: its caller, and those who subscribed.
    pub(super) askers: HashMap<String, Asker>,
    /// Who else waits for the answer to one of its requests.
    pub(super) joined: Vec<Pending>,
    pub(super) record: Option<RequestRecord>,
    /// The correlation id of the request, and the body of its last reply.
    own: String,
    pub(super) answer: Option<JsonText>,
}

impl Shared {
    /// Lets the open request of `task` be worked on. `false` when it is already, or nobody may work any more.
    pub(crate) fn start_task(
        self: &Arc<Self>,
        task: Task,
        asker: Asker,
        record: Option<RequestRecord>,
    ) -> bool {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let id = task.id().to_owned();
        {
            let mut running = lock(&self.running);
            if running.contains_key(&id) {
                return false;
            }
            running.insert(id.clone(), sender);
        }
        if let Some(record) = &record {
            lock(&self.requests).adopt(record);
        }
        let mut runner = Runner {
            shared: Arc::clone(self),
            id: id.clone(),
            commands,
            waiting: Waiting::new(self.options.max_waiting),
            askers: HashMap::new(),
            joined: Vec::new(),
            record,
            own: String::new(),
            answer: None,
        };
        runner.hears(&task, asker);
        let span = tracing::info_span!("a2a.task", task = %id);
        let spawned = self.spawn(runner.run(task).instrument(span));
        if !spawned {
            lock(&self.running).remove(&id);
        }
        spawned
    }

    /// Hands a command to the task while it works here; gives it back otherwise.
    pub(crate) fn command(&self, task_id: &str, command: Command) -> Result<(), Command> {
        let running = lock(&self.running);
        match running.get(task_id) {
            Some(sender) => sender.try_send(command).map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command) => {
                    command
                }
            }),
            None => Err(command),
        }
    }
}

impl Runner {
    async fn run(mut self, task: Task) {
        let mut next = Some(task);
        while let Some(task) = next.take() {
            let asker = self.askers.get(&self.own);
            let trace = asker.and_then(|asker| asker.trace);
            let Ok(task) = within(trace, Box::pin(self.turn(task))).await else { break };
            next = self.next_turn(task).await;
        }
        // Whoever looks for the task from here on finds nobody working, and what came before is seen to below.
        lock(&self.shared.running).remove(&self.id);
        self.commands.close();
        for pending in self.waiting.take_messages() {
            self.shared.idle(Command::FollowUp(pending)).await;
        }
        for join in self.joined.drain(..) {
            self.shared.idle(Command::Join(Box::new(join))).await;
        }
        while let Some(command) = self.commands.recv().await {
            self.shared.idle(command).await;
        }
    }

    /// The next message that waited, made a request of the task.
    async fn next_turn(&mut self, mut task: Task) -> Option<Task> {
        while let Ok(command) = self.commands.try_recv() {
            self.queue(command, &task).await;
        }
        loop {
            match self.waiting.next(&task)? {
                Next::Message(pending) => match self.begin(&mut task, *pending).await {
                    Ok(true) => return Some(task),
                    Ok(false) => {}
                    Err(Lost) => return None,
                },
                Next::Refuse(pending, error) => self.refuse(*pending, &error).await,
                Next::Cancel(pending) => self.refuse(*pending, &TaskError::NotFound).await,
            }
        }
    }

    /// Opens a follow-up as the task's request. `Ok(false)` if the task does not take it.
    async fn begin(&mut self, task: &mut Task, mut pending: Pending) -> Result<bool, Lost> {
        if turn_of(task, &pending.record).is_some() {
            // It came again while it waited.
            self.shared.answer_again(&pending.record, &pending.incoming, &mut pending.asker).await;
            return Ok(false);
        }
        let expected = task.generation();
        if let Err(error) = self.shared.open_follow_up(task, &pending) {
            self.refuse(pending, &error).await;
            return Ok(false);
        }
        if self.shared.save(task, expected).await.is_err() {
            return Err(Lost);
        }
        if !pending.told {
            self.shared.acknowledge(&pending.incoming, &mut pending.asker).await;
        }
        lock(&self.shared.requests).adopt(&pending.record);
        self.record = Some(pending.record);
        self.answer = None;
        self.hears(task, pending.asker);
        Ok(true)
    }

    fn hears(&mut self, task: &Task, asker: Asker) {
        if let Some(turn) = task.open_turn() {
            self.own.clone_from(&turn.request.correlation);
            self.askers.insert(turn.request.correlation.clone(), asker);
        }
    }

    /// Works on the open request until it is answered and the handler is done.
    async fn turn(&mut self, task: Task) -> Result<Task, Lost> {
        let now = self.shared.clock.now();
        let Some(turn) = task.open_turn() else { return Ok(task) };
        let (message, correlation) = (turn.request.message.clone(), turn.request.correlation.clone());
        let expired = turn.request.is_expired(now);
        let seen = task.clone();
        let mut writer = self.open(task).await?;
        if expired {
            self.shared.tell(&Note { name: "request.expired", task: Some(&self.id), ..Note::default() });
            let failure = Event::failure(-32603, "the deadline of the request has passed", DEADLINE_EXCEEDED);
            self.say(&mut writer, |writer, now| writer.event(&failure, now)).await?;
            self.close().await;
            return Ok(writer.into_task());
        }
        let (ops, mut said) = mpsc::channel(OPS);
        let handle = TurnHandle {
            ops,
            task: Arc::new(Mutex::new(seen)),
            message: Arc::new(Mutex::new(message)),
            origin: self.askers.get(&correlation).and_then(|asker| asker.origin.clone()),
        };
        let (task_seen, message_seen) = (Arc::clone(&handle.task), Arc::clone(&handle.message));
        let handler = Arc::clone(&self.shared.handler);
        let mut job: JoinSet<TurnResult> = JoinSet::new();
        let trace = TraceContext::current();
        let span = telemetry::turn(
            writer.task().open_turn().is_some_and(|turn| turn.request.streams),
            &self.id,
            &correlation,
            trace,
        );
        // A task of its own is in no trace unless it is put there.
        job.spawn(within(trace, async move { handler.run_boxed(handle).await }).instrument(span.clone()));
        // A question that the handler waits for with all it has in memory, and until when.
        let mut asking: Option<(Answer, Instant)> = None;
        // Until when a handler may go on after the last reply.
        let mut ends: Option<Instant> = None;
        loop {
            let due = match (&asking, ends) {
                (Some((_, until)), _) => Some(*until),
                (None, Some(until)) => Some(until),
                (None, None) => writer.next_deadline().map(|due| self.shared.clock.instant(due)),
            };
            let sleep = sleep_until(due.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => match command {
                    Command::FollowUp(pending) if asking.is_some() => {
                        let mut task = writer.task().clone();
                        let message = pending.incoming.message.clone();
                        if !self.begin(&mut task, *pending).await? {
                            continue;
                        }
                        *lock(&task_seen) = task.clone();
                        writer = self.open(task).await?;
                        if let (Some((answer, _)), Some(message)) = (asking.take(), message) {
                            *lock(&message_seen) = message.clone();
                            let _ = answer.send(Ok(message));
                        }
                    }
                    // What is over cannot be called off, and its handler may leave in peace.
                    Command::Cancel(cancel) if !writer.task().state().is_terminal() => {
                        job.abort_all();
                        return self.cancel(writer, *cancel).await;
                    }
                    Command::Subscribe(subscribe) if !writer.has_ended() => {
                        self.subscribe(&mut writer, *subscribe).await?;
                    }
                    Command::Join(join) if !writer.has_ended() => self.join(&mut writer, join).await?,
                    command => {
                        let task = writer.task().clone();
                        self.queue(command, &task).await;
                    }
                },
                Some(op) = said.recv() => {
                    let ask = self.op(&mut writer, op).await?;
                    if let Some(answer) = ask {
                        let patience = Instant::now() + self.shared.options.ask_patience;
                        let by = writer.task().answer_by().map(|by| self.shared.clock.instant(by.at()));
                        asking = Some((answer, by.map_or(patience, |by| by.min(patience))));
                    } else if writer.has_ended() && ends.is_none() {
                        ends = Some(Instant::now() + self.shared.options.grace);
                    }
                }
                () = sleep, if due.is_some() => {
                    let now = self.shared.clock.now();
                    if let Some((answer, _)) = asking.take_if(|_| is_late(writer.task(), now)) {
                        drop(said);
                        let ended = self.shared.expire(writer.into_task()).await;
                        let task = ended.map_err(|error| self.lost(&error.public_text()))?;
                        let _ = answer.send(Err(TurnRefusal::Expired));
                        let _ = timeout(self.shared.options.grace, job.join_next()).await;
                        return Ok(task);
                    }
                    if asking.is_some() || ends.is_some() {
                        // It waited long enough; an answer enters the handler anew.
                        job.abort_all();
                        return Ok(writer.into_task());
                    }
                    self.say(&mut writer, |writer, now| writer.poll(now)).await?;
                }
                done = job.join_next() => {
                    while let Ok(op) = said.try_recv() {
                        let _ = self.op(&mut writer, op).await?;
                    }
                    self.finish(&mut writer, done, &span).await?;
                    return Ok(writer.into_task());
                }
            }
        }
    }

    async fn open(&mut self, task: Task) -> Result<StreamWriter, Lost> {
        let options = self.shared.options.writer.clone();
        let opened = StreamWriter::open(task, options, self.shared.clock.now());
        let (writer, actions) = opened.map_err(|error| self.lost(&error.to_string()))?;
        self.carry(actions).await?;
        Ok(writer)
    }

    /// Carries out what a handler says. Gives where the answer goes, if it asks and waits here.
    async fn op(&mut self, writer: &mut StreamWriter, op: Op) -> Result<Option<Answer>, Lost> {
        let mut asks = None;
        let said = match op.kind {
            OpKind::Text { artifact, text } => self.text(writer, &artifact, &text).await?,
            OpKind::EndText { artifact } => {
                self.try_say(writer, |writer, now| writer.end_text(&artifact, now)).await?
            }
            OpKind::Event(event) => match self.in_chunks(writer, event) {
                Ok(events) => self.events(writer, events).await?,
                Err(refused) => {
                    let _ = op.done.send(Err(refused));
                    return Ok(None);
                }
            },
            OpKind::Fail(reason) => self.try_say(writer, |writer, now| writer.fail(&reason, now)).await?,
            OpKind::Ask(asking) => self.ask(writer, asking).await?,
            OpKind::AskHere(asking, answer) => {
                let said = self.ask(writer, asking).await?;
                asks = said.is_ok().then_some(answer);
                said
            }
        };
        if said.is_ok() && writer.has_ended() {
            self.close().await;
        }
        let _ = op.done.send(said.map_err(TurnRefusal::from));
        Ok(asks)
    }

    async fn ask(
        &mut self,
        writer: &mut StreamWriter,
        Asking { state, question }: Asking,
    ) -> Result<Result<(), StreamError>, Lost> {
        let policy = question.policy(self.shared.options.writer.question);
        self.try_say(writer, |writer, now| writer.ask_with(state, question.text(), policy, now)).await
    }

    /// What follows from the handler's end.
    async fn finish(
        &mut self,
        writer: &mut StreamWriter,
        done: Option<Result<TurnResult, tokio::task::JoinError>>,
        span: &Span,
    ) -> Result<(), Lost> {
        telemetry::worked(span, matches!(done, Some(Ok(Ok(())))));
        if writer.has_ended() {
            return Ok(());
        }
        let failed = match done {
            Some(Ok(Ok(()))) => None,
            Some(Ok(Err(error))) => Some(Some(error)),
            Some(Err(_)) | None => Some(None),
        };
        match failed {
            None => self.say(writer, |writer, now| writer.complete(now)).await?,
            Some(error) => {
                self.shared.notes.handler_failed(&self.id, error.as_ref());
                let reason = error.map_or_else(|| "the task failed".to_owned(), |error| error.reason());
                self.say(writer, |writer, now| writer.fail(&reason, now)).await?;
            }
        }
        self.close().await;
        Ok(())
    }

    pub(super) async fn say<F>(&mut self, writer: &mut StreamWriter, what: F) -> Result<(), Lost>
    where
        F: FnOnce(&mut StreamWriter, Duration) -> Result<Vec<WriterAction>, StreamError>,
    {
        match self.try_say(writer, what).await? {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    pub(super) async fn try_say<F>(
        &mut self,
        writer: &mut StreamWriter,
        what: F,
    ) -> Result<Result<(), StreamError>, Lost>
    where
        F: FnOnce(&mut StreamWriter, Duration) -> Result<Vec<WriterAction>, StreamError>,
    {
        match what(writer, self.shared.clock.now()) {
            Ok(actions) => match self.carry(actions).await {
                Ok(()) => Ok(Ok(())),
                Err(lost) => {
                    writer.lost();
                    Err(lost)
                }
            },
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn carry(&mut self, actions: Vec<WriterAction>) -> Result<(), Lost> {
        for action in actions {
            match action {
                WriterAction::Save { task, expected } => {
                    if let Err(error) = self.shared.save(&task, expected).await {
                        return Err(self.lost(&error.public_text()));
                    }
                }
                WriterAction::Send(reply) => {
                    let id = reply.header(crate::names::CORRELATION_ID).unwrap_or_default().to_owned();
                    if reply.is_last() && id == self.own {
                        self.answer = reply.body_text().ok().and_then(|body| JsonText::new(body).ok());
                    }
                    if let Some(asker) = self.askers.get_mut(&id) {
                        self.shared.deliver(asker, &reply).await;
                    }
                    if reply.is_last() {
                        self.askers.remove(&id);
                        if id == self.own {
                            self.answer_joined().await;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) async fn close(&mut self) {
        if let Some(record) = self.record.take() {
            self.shared.close_record(&record, self.answer.take()).await;
        }
    }

    fn lost(&self, why: &str) -> Lost {
        self.shared.tell(&Note {
            name: "task.lost",
            task: Some(&self.id),
            why: Some(why),
            ..Note::default()
        });
        Lost
    }
}

/// How many commands wait for a task.
const COMMANDS: usize = 64;
/// How many clones of a handle may speak at once before they wait.
const OPS: usize = 16;
