//! The end of a task whose question nobody answered in time.

use std::time::Duration;

use super::line::{Belongs, Line};
use super::writer::{WriterAction, said_of};
use crate::envelope::Envelope;
use crate::json_text::JsonText;
use crate::reply::ReplyType;
use crate::task::{Event, Task, TaskError, Turn};

/// Ends a task as the deadline of its question says, and tells who was asked. Nothing is done, and nothing is
/// to be done, before that deadline, and for a task without one.
///
/// The end is saved first, then told once more under the request that was answered with the question: it is
/// the reply behind the question's own, and a last one as well. Last it is saved that this was told. A worker
/// that dies in between leaves the task [due](Task::due), and the next one tells it again, under the same
/// number. If a save says [`TaskError::Stale`], somebody answered, called the task off or ended it meanwhile:
/// carry out nothing more.
///
/// # Errors
///
/// Those of [`Task::expire`].
pub fn end_unanswered(
    task: &mut Task,
    task_inbox: Option<&str>,
    now: Duration,
) -> Result<Vec<WriterAction>, TaskError> {
    let asked_at = task.generation();
    let ended = task.expire(said_of(task, UNANSWERED), now)?;
    if !task.has_untold_end() {
        return Ok(Vec::new());
    }
    let mut actions = Vec::new();
    if ended {
        actions.push(WriterAction::Save { task: Box::new(task.clone()), expected: asked_at });
    }
    // A request that no header can name is never told of; its task ends all the same.
    if let Some(reply) = task.turns().last().and_then(|turn| told(task, turn, task_inbox)) {
        actions.push(WriterAction::Send(reply));
    }
    let expected = task.generation();
    task.told();
    actions.push(WriterAction::Save { task: Box::new(task.clone()), expected });
    Ok(actions)
}

/// The reply behind the question. The number is not counted among those of the request, so that the question
/// itself is said again under its own.
fn told(task: &Task, turn: &Turn, task_inbox: Option<&str>) -> Option<Envelope> {
    let mut line = Line::of(&turn.request, turn.seq).ok()?;
    let belongs =
        Belongs::to_task(task.id(), task.context_id(), task.generation()).with_task_inbox(task_inbox);
    let (kind, result) = match turn.request.streams {
        true => {
            let event = Event::Status { state: task.state().clone(), message: task.message().cloned() };
            (ReplyType::StreamResponse, event.to_stream_response(task.id(), task.context_id()))
        }
        false => (ReplyType::Response, JsonText::trusted(format!("{{\"task\":{}}}", task.to_json()))),
    };
    line.result(kind, &result, true, belongs).ok()?
}

/// What is said of the end.
const UNANSWERED: &str = "the question was not answered in time";
