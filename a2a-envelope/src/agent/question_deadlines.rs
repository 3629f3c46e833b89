//! Tasks whose questions nobody answered in time: ended by whoever finds them first.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::note::Note;
use super::server::Shared;
use super::turn_handle::lock;
use crate::stream::{WriterAction, end_unanswered};
use crate::task::{Task, TaskError};

/// What is known of the next deadline of a question.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// The soonest of those met since the store was asked.
    soonest: std::sync::Mutex<Option<Duration>>,
    sooner: tokio::sync::Notify,
}

impl Deadlines {
    /// A task with this deadline was stored.
    pub(crate) fn met(&self, at: Duration) {
        let mut soonest = lock(&self.soonest);
        if soonest.is_none_or(|known| at < known) {
            *soonest = Some(at);
            self.sooner.notify_one();
        }
    }

    pub(crate) fn soonest(&self) -> Option<Duration> {
        *lock(&self.soonest)
    }

    /// Waits until one is met that is sooner than those before.
    pub(crate) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// The store is about to be asked; what is met from here on may be missing in its answer.
    fn forget(&self) {
        *lock(&self.soonest) = None;
    }
}

impl Shared {
    /// Ends what is due, and notes what is due next.
    pub(crate) async fn end_what_is_due(self: &Arc<Self>) {
        self.deadlines.forget();
        let Ok(due) = self.stored(|| self.tasks.due_tasks(AT_ONCE)).await else { return };
        let now = self.clock.now();
        // A peer that cannot be told holds up no other.
        let mut ending = JoinSet::new();
        for (id, at) in due {
            // Its own worker sees to the deadline of a question it waits for.
            if at > now || lock(&self.running).contains_key(&id) {
                self.deadlines.met(at);
                continue;
            }
            let shared = Arc::clone(self);
            ending.spawn(async move {
                if let Ok(Some(mut task)) = shared.stored(|| shared.tasks.get(&id)).await {
                    // One who was faster sees to it; what fails by the storage is still due.
                    let _ = shared.end_unanswered(&mut task).await;
                }
            });
        }
        if !ending.is_empty() {
            while ending.join_next().await.is_some() {}
            // There may be more than were asked for.
            self.deadlines.met(now);
        }
    }

    /// Ends a task by the deadline of its question, and tells who was asked; does nothing where none has passed.
    ///
    /// # Errors
    /// [`TaskError::Stale`] if somebody was faster, and the store's.
    pub(crate) async fn end_unanswered(&self, task: &mut Task) -> Result<(), TaskError> {
        let Some(request) = task.turns().last().map(|turn| turn.request.clone()) else { return Ok(()) };
        let inbox = self.options.writer.task_inbox.as_deref();
        let mut ended = task.clone();
        let actions = end_unanswered(&mut ended, inbox, self.clock.now())?;
        let mut asker = self.asker_of(&request);
        for action in actions {
            match action {
                WriterAction::Save { task: saved, expected } => {
                    self.save(&saved, expected).await?;
                    if saved.has_untold_end() {
                        let correlation = Some(request.correlation.as_str());
                        let state = Some(saved.state().as_str());
                        let note = Note { task: Some(saved.id()), correlation, state, ..Note::default() };
                        self.tell(&Note { name: "question.expired", ..note });
                    }
                    *task = *saved;
                }
                WriterAction::Send(reply) => self.deliver(&mut asker, &reply).await,
            }
        }
        Ok(())
    }

    /// The deadline of the question that a handler waits for here has passed: the task as it has ended.
    ///
    /// # Errors
    /// As [`end_unanswered`](Self::end_unanswered), if it was answered elsewhere.
    pub(crate) async fn expire(&self, mut task: Task) -> Result<Task, TaskError> {
        let Err(error) = self.end_unanswered(&mut task).await else { return Ok(task) };
        match self.stored(|| self.tasks.get(task.id())).await {
            // Whoever else saw to it ended it too.
            Ok(Some(ended)) if ended.state().is_terminal() => Ok(ended),
            _ => Err(error),
        }
    }
}

/// Whether the question of a task may not be answered any longer.
pub(crate) fn is_late(task: &Task, now: Duration) -> bool {
    task.answer_by().is_some_and(|by| by.has_passed(now))
}

/// How many are ended at once.
const AT_ONCE: usize = 32;
