//! What comes to a task while it works: messages that wait for its next turn, requests that come again, those who
//! listen, and who calls it off.

use std::sync::Arc;

use super::asker::Asker;
use super::intake::{request_of, turn_of};
use super::runner::{Command, Lost, Pending, Runner};
use super::server::Shared;
use crate::call::Incoming;
use crate::idempotency::{RequestRecord, WaitingRequest};
use crate::stream::StreamWriter;
use crate::task::{Next, Task, TaskError};

impl Runner {
    pub(super) async fn cancel(
        &mut self,
        mut writer: StreamWriter,
        (incoming, mut asker): (Incoming, Asker),
    ) -> Result<Task, Lost> {
        let task = if writer.has_ended() {
            let mut task = writer.into_task();
            let expected = task.generation();
            if task.cancel(self.shared.clock.now()).is_ok()
                && self.shared.save(&task, expected).await.is_err()
            {
                return Err(Lost);
            }
            task
        } else {
            self.say(&mut writer, |writer, now| writer.cancel(now)).await?;
            self.close().await;
            writer.into_task()
        };
        self.shared.answer_task(&incoming, &mut asker, &task, None).await;
        while let Some(next) = self.waiting.next(&task) {
            if let Next::Refuse(pending, error) = next {
                self.refuse(*pending, &error).await;
            }
        }
        Ok(task)
    }

    pub(super) async fn subscribe(
        &mut self,
        writer: &mut StreamWriter,
        subscribe: (Incoming, Asker),
    ) -> Result<(), Lost> {
        let (incoming, mut asker) = subscribe;
        let correlation = incoming.line.correlation().as_str().to_owned();
        match writer.subscribe(incoming.line.clone(), incoming.resume_after) {
            Ok(actions) => {
                self.askers.insert(correlation, asker);
                self.carry(actions).await
            }
            Err(error) => {
                let refused = incoming.refused(-32603, &error.to_string(), TOO_MANY);
                self.shared.deliver_made(&mut asker, refused).await;
                Ok(())
            }
        }
    }

    /// Lets a request that came again under another correlation id hear what becomes of it.
    pub(super) async fn join(&mut self, writer: &mut StreamWriter, join: Box<Pending>) -> Result<(), Lost> {
        let now = turn_of(writer.task(), &join.record).is_some_and(|turn| !turn.closed);
        let streams = join.incoming.operation == Some(crate::vocabulary::Operation::SendStreamingMessage);
        if now && streams {
            let Pending { incoming, asker, .. } = *join;
            return self.subscribe(writer, (incoming, asker)).await;
        }
        let task = writer.task().clone();
        self.wait_with(join, &task).await;
        Ok(())
    }

    /// Lets a command wait for the next turn, or answers it from the task as it is.
    pub(super) async fn queue(&mut self, command: Command, task: &Task) {
        match command {
            Command::FollowUp(pending) => {
                if self.waiting.messages().any(|waiting| is_one(&waiting.record, &pending.record)) {
                    return self.wait_with(pending, task).await;
                }
                if let Err((pending, error)) = self.waiting.message(pending, task) {
                    self.shared.refuse(*pending, &error).await;
                }
            }
            Command::Join(join) => self.wait_with(join, task).await,
            other => self.shared.idle_with(other, task.clone()).await,
        }
    }

    /// Tells those who asked again what the one that asked first was told just now.
    pub(super) async fn answer_joined(&mut self) {
        let Some(record) = &self.record else { return };
        let mut answered = record.clone();
        answered.answer.clone_from(&self.answer);
        for mut join in self.take_joined(&answered) {
            self.shared.answer_again(&answered, &join.incoming, &mut join.asker).await;
        }
    }

    /// Refuses a message that waited, and whoever sent it again.
    pub(super) async fn refuse(&mut self, pending: Pending, error: &TaskError) {
        for mut join in self.take_joined(&pending.record) {
            self.shared.deliver_made(&mut join.asker, join.incoming.refused_by(error)).await;
        }
        self.shared.refuse(pending, error).await;
    }

    /// Those who wait for the answer to this request.
    fn take_joined(&mut self, record: &RequestRecord) -> Vec<Pending> {
        let all = std::mem::take(&mut self.joined);
        let (taken, left) = all.into_iter().partition(|join| is_one(&join.record, record));
        self.joined = left;
        taken
    }

    /// Lets a repetition wait for the answer to its request, once for each correlation id.
    async fn wait_with(&mut self, mut join: Box<Pending>, task: &Task) {
        if turn_of(task, &join.record).is_some_and(|turn| turn.closed) {
            return self.shared.answer_again(&join.record, &join.incoming, &mut join.asker).await;
        }
        let correlation = join.incoming.line.correlation();
        let here = self.waiting.messages().map(|waiting| &**waiting).chain(&self.joined);
        let waits = here.filter(|it| is_one(&it.record, &join.record));
        if waits.map(|it| it.incoming.line.correlation()).any(|known| known == correlation) {
            return;
        }
        if self.joined.len() >= self.shared.options.writer.max_subscribers {
            let why = format!("{} wait for the same answer and no more may", self.joined.len());
            let refused = join.incoming.refused(-32603, &why, TOO_MANY);
            return self.shared.deliver_made(&mut join.asker, refused).await;
        }
        self.joined.push(*join);
    }
}

impl Shared {
    /// Records a follow-up to a task that works, so that it may be settled while it waits.
    pub(crate) async fn record_waiting(&self, pending: &mut Pending) -> Result<(), TaskError> {
        let mut waiting = WaitingRequest::new(request_of(pending).ok_or(TaskError::Id)?);
        waiting.context_id.clone_from(&pending.incoming.context_id);
        waiting.if_generation = pending.incoming.if_generation;
        pending.record.waiting = Some(Box::new(waiting));
        self.stored(|| self.records.put(&pending.record)).await?;
        self.acknowledge(&pending.incoming, &mut pending.asker).await;
        pending.told = true;
        Ok(())
    }

    /// Hands over a follow-up that waited when an earlier process ended.
    pub(crate) async fn go_on_waiting(self: &Arc<Self>, record: RequestRecord, task: Task) {
        let Some(waiting) = record.waiting.as_deref() else { return };
        let Ok(incoming) = Incoming::waiting(&record, waiting) else { return };
        let asker = self.asker_of(&waiting.request);
        let pending = Box::new(Pending { incoming, asker, record, told: true });
        if let Err(Command::FollowUp(pending)) = self.command(task.id(), Command::FollowUp(pending)) {
            self.follow_up(*pending, Some(task)).await;
        }
    }
}

/// Whether two records are of one request.
fn is_one(a: &RequestRecord, b: &RequestRecord) -> bool {
    (&a.sender, &a.key) == (&b.sender, &b.key)
}

const TOO_MANY: &str = "TOO_MANY_SUBSCRIBERS";
