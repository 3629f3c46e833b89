//! What a server goes on with that an earlier process left.

use std::sync::Arc;

use super::intake::turn_of;
use super::server::Shared;
use super::turn_handle::lock;
use crate::idempotency::{RequestRecord, RequestState};
use crate::stream::repeat_answer;
use crate::task::{Step, TaskError};

impl Shared {
    /// Goes on with every request that was running: runs it again, or only says its answer again.
    pub(crate) async fn recover(self: &Arc<Self>, records: Vec<RequestRecord>) -> Result<(), TaskError> {
        let mut waiting = Vec::new();
        for record in records.into_iter().filter(|record| record.state == RequestState::Running) {
            let Some(task) = self.stored(|| self.tasks.get(&record.task_id)).await? else { continue };
            let step = Step::after_crash(Some(&record), Some(&task));
            let Some(turn) = turn_of(&task, &record).cloned() else {
                // It waits for its turn; or nobody has the message but the inbox, which brings it again.
                if record.waiting.is_some() {
                    waiting.push(record);
                }
                continue;
            };
            if lock(&self.running).contains_key(task.id()) {
                continue;
            }
            let mut asker = self.asker_of(&turn.request);
            if step < Step::Answered {
                self.start_task(task, asker, Some(record));
                continue;
            }
            if let Ok(reply) = repeat_answer(&task, &turn, record.answer.as_ref()) {
                self.deliver(&mut asker, &reply).await;
                let answer = reply.body_text().ok().and_then(|body| crate::JsonText::new(body).ok());
                self.close_record(&record, answer).await;
            }
        }
        for record in waiting {
            // What came before it may have been made a turn of by now.
            if let Some(task) = self.stored(|| self.tasks.get(&record.task_id)).await? {
                self.go_on_waiting(record, task).await;
            }
        }
        Ok(())
    }
}
