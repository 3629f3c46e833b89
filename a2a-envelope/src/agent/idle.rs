//! What is wanted of a task that does not work here.

use std::sync::Arc;

use super::intake::turn_of;
use super::runner::Command;
use super::server::Shared;
use crate::stream::{StreamWriter, WriterAction, subscribed_while_idle};
use crate::task::{Task, TaskError};

impl Shared {
    /// Sees to a command for a task that does not work here.
    pub(crate) async fn idle(self: &Arc<Self>, command: Command) {
        let id = match &command {
            Command::FollowUp(pending) | Command::Join(pending) => pending.record.task_id.clone(),
            Command::Subscribe(both) | Command::Cancel(both) => both.0.task_id.clone().unwrap_or_default(),
        };
        let task = match self.stored(|| self.tasks.get(&id)).await {
            Ok(task) => task,
            Err(error) => return self.refuse_command(command, &error).await,
        };
        match (command, task) {
            (Command::FollowUp(pending), task) => self.follow_up(*pending, task).await,
            (command, Some(task)) => self.idle_with(command, task).await,
            (command, None) => self.refuse_command(command, &TaskError::NotFound).await,
        }
    }

    /// The same for what reads or cancels this task.
    pub(crate) async fn idle_with(&self, command: Command, mut task: Task) {
        match command {
            Command::FollowUp(pending) => {
                let state = task.state().clone();
                self.refuse(*pending, &TaskError::Busy { state }).await;
            }
            Command::Join(mut join) => {
                // What is not answered is another worker's.
                if turn_of(&task, &join.record).is_some_and(|turn| turn.closed) {
                    self.answer_again(&join.record, &join.incoming, &mut join.asker).await;
                }
            }
            Command::Subscribe(both) => {
                let (incoming, mut asker) = *both;
                let mut line = incoming.line.clone();
                for reply in subscribed_while_idle(&task, &mut line).unwrap_or_default() {
                    self.deliver_apart(&mut asker, &reply).await;
                }
            }
            Command::Cancel(both) => {
                let (incoming, mut asker) = *both;
                let canceled = match task.open_turn().is_some() {
                    true => self.cancel_open(&mut task).await,
                    false => {
                        let expected = task.generation();
                        match task.cancel(self.clock.now()) {
                            Ok(_) => self.save(&task, expected).await,
                            Err(error) => Err(error),
                        }
                    }
                };
                match canceled {
                    Ok(()) => self.answer_task(&incoming, &mut asker, &task, None).await,
                    Err(error) => self.deliver_made(&mut asker, incoming.refused_by(&error)).await,
                }
            }
        }
    }

    /// Calls off a task whose worker is not here, and tells the one who waits for it.
    async fn cancel_open(&self, task: &mut Task) -> Result<(), TaskError> {
        let Some(turn) = task.open_turn().cloned() else { return Ok(()) };
        let now = self.clock.now();
        let opened = StreamWriter::open(task.clone(), self.options.writer.clone(), now);
        let Ok((mut writer, mut actions)) = opened else { return Err(TaskError::Id) };
        actions.extend(writer.cancel(now).unwrap_or_default());
        let mut asker = self.asker_of(&turn.request);
        for action in actions {
            match action {
                WriterAction::Save { task, expected } => self.save(&task, expected).await?,
                WriterAction::Send(reply) => self.deliver(&mut asker, &reply).await,
            }
        }
        *task = writer.into_task();
        Ok(())
    }

    async fn refuse_command(&self, command: Command, error: &TaskError) {
        match command {
            Command::FollowUp(pending) => self.refuse(*pending, error).await,
            Command::Join(mut join) => {
                self.deliver_made(&mut join.asker, join.incoming.refused_by(error)).await;
            }
            Command::Subscribe(both) | Command::Cancel(both) => {
                let (incoming, mut asker) = *both;
                self.deliver_made(&mut asker, incoming.refused_by(error)).await;
            }
        }
    }
}
