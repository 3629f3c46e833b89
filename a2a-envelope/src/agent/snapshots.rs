//! The published snapshot: keyed state of the serving agent, which callers read without it.

use agentchat_core::{Address, Agent, Body};

use super::error::A2aError;
use crate::json;
use crate::json_text::JsonText;
use crate::limits::Limits;
use crate::stream::Snapshot;
use crate::task::{Task, TaskText};

/// The bare task with its generation in its metadata: keyed state has no headers.
pub(crate) fn body_of(task: &Task) -> Body {
    let text = task.to_json();
    let inside = text.as_str().strip_suffix('}').unwrap_or(text.as_str());
    Body::json(format!("{inside},\"metadata\":{{\"{GENERATION}\":{}}}}}", task.generation()))
}

/// Reads what [`body_of`] wrote, or another's bare task, whose generation is 0.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Option<Snapshot> {
    let task = TaskText::parse(bytes, limits).ok()?;
    let root = json::object_of_checked(task.json.as_str().as_bytes())?;
    let generation = root.at(&["metadata", GENERATION]).and_then(|value| value.raw().parse().ok());
    Some(Snapshot { generation: generation.unwrap_or(0), task })
}

/// The snapshot of a task that the agent at `of` has published; `None` without one, or on a network that keeps
/// none.
pub(crate) async fn fetch(agent: &Agent, of: &Address, task_id: &str) -> Result<Option<Snapshot>, A2aError> {
    if !agent.capabilities().keyed_state {
        return Ok(None);
    }
    let found = agent.state_of(of, &Snapshot::key(task_id)).await?;
    Ok(found
        .and_then(|value| read(value.bytes(), &Limits::default()))
        .filter(|found| found.task.id == task_id))
}

/// The task's text with at most so many messages of history.
pub(crate) fn with_history(task: &Task, newest: Option<u64>) -> JsonText {
    let text = task.to_json();
    let Some(newest) = newest.and_then(|newest| usize::try_from(newest).ok()) else { return text };
    match TaskText::parse(text.as_str().as_bytes(), &Limits::default()) {
        Ok(read) => read.with_history_length(newest),
        Err(_) => text,
    }
}

const GENERATION: &str = "amb-generation";
