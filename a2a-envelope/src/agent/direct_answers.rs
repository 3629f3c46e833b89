//! What is said to one request alone: acknowledgements, refusals, tasks as they are, answers said again.

use agentchat_core::Address;

use super::address;
use super::asker::Asker;
use super::intake::turn_of;
use super::runner::Pending;
use super::server::Shared;
use super::snapshots::with_history;
use super::turn_handle::lock;
use crate::call::Incoming;
use crate::envelope::Envelope;
use crate::error::Result as EnvelopeResult;
use crate::idempotency::{RequestKey, RequestRecord};
use crate::json;
use crate::json_text::JsonText;
use crate::reply::ReplyType;
use crate::stream::{Belongs, Line, repeat_answer_on, under_id};
use crate::task::{Task, TaskError};

impl Shared {
    pub(crate) fn asker_of(&self, request: &crate::task::TaskRequest) -> Asker {
        let own = self.agent.address();
        let to = request.reply_to.as_deref().and_then(|claim| Address::parse(claim).ok());
        let to = to.filter(|to| address::check(own, to).is_ok());
        Asker::restored(request, to, own.name())
    }

    /// Answers with the task as it is.
    pub(crate) async fn answer_task(
        &self,
        incoming: &Incoming,
        asker: &mut Asker,
        task: &Task,
        newest: Option<u64>,
    ) {
        let belongs = Belongs::to_task(task.id(), task.context_id(), task.generation())
            .with_task_inbox(self.options.writer.task_inbox.as_deref())
            .with_answer_by(task.answer_by());
        let made =
            incoming.line.clone().result(ReplyType::Response, &with_history(task, newest), true, belongs);
        if let Ok(Some(reply)) = made {
            self.deliver_apart(asker, &reply).await;
        }
    }

    /// The answer of an earlier time: under its old number, or to a repetition under another correlation id in the
    /// line of that.
    pub(crate) async fn answer_again(&self, record: &RequestRecord, incoming: &Incoming, asker: &mut Asker) {
        let task = self.tasks.get(&record.task_id).await.ok().flatten();
        let turn = task.as_ref().and_then(|task| Some((task, turn_of(task, record)?)));
        let made = match turn {
            Some((task, turn)) => repeat_answer_on(&incoming.line, task, turn, record.answer.as_ref()),
            None => answer_alone(&incoming.line, record.answer.as_ref()),
        };
        if let Ok(reply) = made {
            self.deliver_apart(asker, &reply).await;
        }
    }

    /// Tells that a request is taken.
    pub(crate) async fn acknowledge(&self, incoming: &Incoming, asker: &mut Asker) {
        if let Ok(ack) = incoming.ack() {
            self.deliver_apart(asker, &ack).await;
        }
    }

    /// Refuses a recorded request.
    pub(crate) async fn refuse(&self, mut pending: Pending, error: &TaskError) {
        let made = pending.incoming.refused_by(error);
        let body = made.as_ref().ok().and_then(|made| JsonText::new(made.body_text().ok()?).ok());
        self.deliver_made(&mut pending.asker, made).await;
        self.close_record(&pending.record, body).await;
    }

    /// The request is answered: it never runs again.
    pub(crate) async fn close_record(&self, record: &RequestRecord, answer: Option<JsonText>) {
        let Some(key) = RequestKey::new(&record.key) else { return };
        let now = self.clock.now();
        let closed = lock(&self.requests).answered(&record.sender, &key, answer, now);
        if let Some(closed) = closed {
            // If this fails, a start sees that the task is answered, and says so again.
            let _ = self.stored(|| self.records.put(&closed)).await;
        }
    }

    pub(crate) async fn deliver_made(&self, asker: &mut Asker, made: EnvelopeResult<Envelope>) {
        if let Ok(reply) = made {
            self.deliver_apart(asker, &reply).await;
        }
    }
}

/// An answer whose task is not there, or never was.
fn answer_alone(line: &Line, answer: Option<&JsonText>) -> EnvelopeResult<Envelope> {
    let made = line.clone().failure(-32001, "there is no such task", "TASK_NOT_FOUND", Belongs::nowhere())?;
    let mut made = made.expect("a new line has not ended");
    if let Some(answer) = answer {
        let own = under_id(answer, line.id_json());
        made.body = own.as_ref().unwrap_or(answer).as_str().to_owned().into();
        let failed = json::object_of_checked(answer.as_str().as_bytes())
            .is_some_and(|root| root.get("error").is_some());
        if !failed {
            made = made.with_reply_type(ReplyType::Response)?;
        }
    }
    Ok(made)
}
