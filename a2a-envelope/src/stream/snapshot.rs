//! The whole task as one message that replaces the one before, so that it can be read without its worker.

use super::line::{Belongs, Line};
use crate::correlation::{CorrelationId, correlation_of};
use crate::envelope::Envelope;
use crate::error::{Error, HeaderRule, MemberRule, Result};
use crate::json;
use crate::json_text::JsonText;
use crate::limits::Limits;
use crate::names;
use crate::reply::ReplyType;
use crate::task::{Task, TaskText, Turn};

/// A task at one generation, as its worker published it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The task.
    pub task: TaskText,
    /// Its generation; 0 if the publisher did not say.
    pub generation: u64,
}

impl Snapshot {
    /// The key a snapshot is published under: a message of the same key replaces it.
    #[must_use]
    pub fn key(task_id: &str) -> String {
        format!("task.{task_id}")
    }

    /// The snapshot of a task, to be published under [`key`](Self::key). The body is the bare A2A task, as the
    /// mq9 facade keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] if an id cannot be carried.
    pub fn of(task: &Task) -> Result<Envelope> {
        Envelope::new(task.to_json().as_str().to_owned())
            .with_header(names::TYPE, "Task")?
            .with_task_id(task.id())?
            .with_context_id(task.context_id())?
            .with_generation(task.generation())
    }

    /// Reads a snapshot, of this format or the facade's, which has no generation.
    ///
    /// # Errors
    ///
    /// As [`TaskText::parse`], and [`Error::Header`] for a generation that is no number.
    pub fn read(envelope: &Envelope, limits: &Limits) -> Result<Self> {
        let task = TaskText::parse(&envelope.body, limits)?;
        Ok(Self { task, generation: envelope.generation()?.unwrap_or(0) })
    }

    /// The answer to a `GetTask` request from the snapshot alone, its `historyLength` applied. A request for
    /// another task is answered with the error A2A has for a task that is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] for a request without a correlation id that a header can carry; [`Error::Member`] for
    /// one that names no task, and as for any text that is no JSON.
    pub fn answer(&self, request: &Envelope, limits: &Limits) -> Result<Envelope> {
        let mut line = line_of(request)?;
        let root = json::parse_body(&request.body, limits)?;
        let id = root.at(&["params", "id"]).and_then(|id| id.as_str());
        let id = id.or_else(|| root.text_of("id").filter(|_| root.get("jsonrpc").is_none()));
        let Some(id) = id else { return Err(Error::member("params.id", MemberRule::Missing)) };
        let context = self.task.context_id.as_deref().filter(|context| !context.is_empty());
        let belongs = match context {
            Some(context) => Belongs::to_task(&self.task.id, context, self.generation),
            None => Belongs::nowhere(),
        };
        let made = if id == self.task.id {
            let length = root.at(&["params", "historyLength"]).and_then(|length| length.raw().parse().ok());
            let task =
                length.map_or_else(|| self.task.json.clone(), |newest| self.task.with_history_length(newest));
            line.result(ReplyType::Response, &task, true, belongs)?
        } else {
            line.failure(-32001, "there is no such task", "TASK_NOT_FOUND", Belongs::nowhere())?
        };
        Ok(made.expect("a new line has not ended"))
    }
}

/// The last reply to an answered request, under its old number, for a caller that asks again.
///
/// `answer` is the body that was recorded; without it the task as it is now is the answer.
///
/// # Errors
///
/// [`Error::Header`](crate::Error::Header) if an id cannot be carried.
pub fn repeat_answer(task: &Task, turn: &Turn, answer: Option<&JsonText>) -> Result<Envelope> {
    let mut line = Line::of(&turn.request, turn.seq.saturating_sub(1))?;
    let belongs = if turn.message_only {
        Belongs::nowhere()
    } else {
        Belongs::to_task(task.id(), task.context_id(), task.generation()).with_answer_by(task.answer_by())
    };
    let kind = if turn.request.streams { ReplyType::StreamResponse } else { ReplyType::Response };
    let result = match &turn.answer {
        Some(message) if turn.message_only => JsonText::trusted(format!("{{\"message\":{message}}}")),
        _ => JsonText::trusted(format!("{{\"task\":{}}}", task.to_json())),
    };
    let mut made = line.result(kind, &result, true, belongs)?.expect("a new line has not ended");
    if let Some(answer) = answer {
        let root = json::object_of_checked(answer.as_str().as_bytes());
        if root.is_some_and(|root| root.get("error").is_some()) {
            made = made.with_reply_type(ReplyType::Error)?;
        }
        made.body = answer.as_str().to_owned().into();
    }
    Ok(made)
}

/// The same for a repetition that came under another correlation id: `line` is that of the repetition, and this is
/// its first and last reply. A caller that wants every event gets the whole task, because it has seen none.
///
/// # Errors
///
/// As [`repeat_answer`].
pub fn repeat_answer_on(
    line: &Line,
    task: &Task,
    turn: &Turn,
    answer: Option<&JsonText>,
) -> Result<Envelope> {
    if line.correlation().as_str() == turn.request.correlation {
        return repeat_answer(task, turn, answer);
    }
    let mut turn = turn.clone();
    line.correlation().as_str().clone_into(&mut turn.request.correlation);
    turn.request.id_json = line.id_json().clone();
    turn.seq = 1;
    let failed = |answer: &&JsonText| {
        json::object_of_checked(answer.as_str().as_bytes()).is_some_and(|root| root.get("error").is_some())
    };
    let answer = answer.filter(|answer| !turn.request.streams || failed(answer));
    let answer = answer.and_then(|answer| under_id(answer, line.id_json()));
    repeat_answer(task, &turn, answer.as_ref())
}

/// A JSON-RPC response under another id.
pub(crate) fn under_id(answer: &JsonText, id: &JsonText) -> Option<JsonText> {
    let root = json::object_of_checked(answer.as_str().as_bytes())?;
    let (name, value) = ["result", "error"].into_iter().find_map(|name| Some((name, root.get(name)?)))?;
    Some(JsonText::trusted(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{name}\":{}}}", value.raw())))
}

/// The replies to a subscription to a task that nobody works on now: the task as it is, and no more. For a
/// task that is over A2A asks for an error.
///
/// # Errors
///
/// [`Error::Header`](crate::Error::Header) if an id cannot be carried.
pub fn subscribed_while_idle(task: &Task, line: &mut Line) -> Result<Vec<Envelope>> {
    let belongs =
        Belongs::to_task(task.id(), task.context_id(), task.generation()).with_answer_by(task.answer_by());
    if task.state().is_terminal() {
        let made = line.failure(-32004, "the task is over", "UNSUPPORTED_OPERATION", belongs)?;
        return Ok(made.into_iter().collect());
    }
    let result = JsonText::trusted(format!("{{\"task\":{}}}", task.to_json()));
    let task = line.result(ReplyType::StreamResponse, &result, false, belongs)?;
    let end = line.end(belongs)?;
    Ok(task.into_iter().chain(end).collect())
}

/// The replies to a request as it was received.
///
/// # Errors
///
/// [`Error::Header`](crate::Error::Header) for a request without a correlation id that a header can carry.
pub fn line_of(request: &Envelope) -> Result<Line> {
    let Some(found) = correlation_of(&request.headers, &request.body) else {
        return Err(Error::header(names::CORRELATION_ID, HeaderRule::Empty));
    };
    // The body's own spelling counts where it has one: `7` and `"7"` are different ids there.
    let spelled =
        correlation_of(&crate::Headers::new(), &request.body).filter(|inside| inside.id == found.id);
    let id_json = spelled.map_or_else(|| found.json.clone(), |inside| inside.json);
    Ok(Line::new(CorrelationId::new(found.id)?, JsonText::trusted(id_json)))
}
