//! A task as a store keeps it: one JSON object with a version.

use serde::{Deserialize, Serialize};

use super::artifact::Artifact;
use super::error::TaskError;
use super::question_deadline::AnswerBy;
use super::record::Task;
use super::state::TaskState;
use super::turn::Turn;
use crate::json_text::JsonText;

impl Task {
    /// The task as a store keeps it. It holds messages and answer addresses, and is not an A2A object.
    #[must_use]
    pub fn to_stored(&self) -> String {
        let stored = Stored {
            v: VERSION,
            id: self.id.clone(),
            context_id: self.context_id.clone(),
            state: self.state.clone(),
            message: self.message.clone(),
            changed_ms: self.changed_ms,
            generation: self.generation,
            reserved: self.reserved,
            artifacts: self.artifacts.clone(),
            turns: self.turns.clone(),
            answer_by: self.answer_by,
        };
        serde_json::to_string(&stored).expect("strings, numbers and lists are JSON")
    }

    /// Reads what [`to_stored`](Self::to_stored) wrote. Members of a later writing of the same version are
    /// passed over.
    ///
    /// # Errors
    ///
    /// [`TaskError::Version`] for a version not known here, [`TaskError::Damaged`] for anything else.
    pub fn from_stored(text: &str) -> Result<Self, TaskError> {
        let Marked { v } = serde_json::from_str(text).map_err(|_| TaskError::Damaged("no version"))?;
        if v != VERSION {
            return Err(TaskError::Version { found: v, known: VERSION });
        }
        let stored: Stored =
            serde_json::from_str(text).map_err(|_| TaskError::Damaged("a member is missing or wrong"))?;
        if stored.id.is_empty() || stored.generation == 0 || stored.turns.len() > Self::MAX_TURNS {
            return Err(TaskError::Damaged("a value is out of range"));
        }
        // Room to count: no task lives this long, and a number at its end could not go on.
        if stored.reserved.max(stored.generation) > u64::MAX / 2
            || stored.turns.iter().any(|t| t.seq > u64::MAX / 2)
        {
            return Err(TaskError::Damaged("a number is out of range"));
        }
        let mut task = Self {
            id: stored.id,
            context_id: stored.context_id,
            state: stored.state,
            message: stored.message,
            changed_ms: stored.changed_ms,
            generation: stored.generation,
            reserved: stored.reserved.max(stored.generation),
            artifacts: stored.artifacts,
            turns: stored.turns,
            answer_by: stored.answer_by,
            bytes: 0,
        };
        task.weigh();
        Ok(task)
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u64,
    id: String,
    context_id: String,
    state: TaskState,
    #[serde(default)]
    message: Option<JsonText>,
    changed_ms: u64,
    generation: u64,
    #[serde(default)]
    reserved: u64,
    #[serde(default)]
    artifacts: Vec<Artifact>,
    #[serde(default)]
    turns: Vec<Turn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer_by: Option<AnswerBy>,
}

#[derive(Deserialize)]
struct Marked {
    v: u64,
}

const VERSION: u64 = 1;
