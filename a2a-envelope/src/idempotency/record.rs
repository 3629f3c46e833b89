//! What is remembered of one request.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json_text::JsonText;
use crate::task::TaskRequest;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RequestState {
    /// Its task works on it, or did when the process ended.
    Running,
    /// It is answered.
    Answered,
}

/// What is remembered of a request.
///
/// `Debug` prints neither the sender, which may be an address, nor the answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestRecord {
    /// Who sent it: the sender that the network names and the answer address, or the latter alone where it names
    /// nobody. Keys of different senders never meet.
    pub sender: String,
    /// Its key.
    pub key: String,
    /// The SHA-256 of its body, in base 32.
    pub body_hash: String,
    /// The task that works on it.
    pub task_id: String,
    /// How far it is.
    pub state: RequestState,
    /// When it was recorded or answered, in unix milliseconds.
    pub at_ms: u64,
    /// Until when its sender waits, in unix milliseconds. A request that nobody works on is forgotten then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// The body of its last reply. `None` while it runs, and where the answer was too much to keep: the task
    /// says it then.
    #[serde(default)]
    pub answer: Option<JsonText>,
    /// The request itself while it waits for its task's next turn, where its message may be settled already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Box<WaitingRequest>>,
}

/// A follow-up that waits for its task's next turn.
///
/// `Debug` prints neither the message nor the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitingRequest {
    /// The request as its task will keep it.
    pub request: TaskRequest,
    /// The context it names.
    #[serde(default)]
    pub context_id: Option<String>,
    /// The generation it answers.
    #[serde(default)]
    pub if_generation: Option<u64>,
}

impl WaitingRequest {
    /// A request that names no context and answers no generation.
    #[must_use]
    pub fn new(request: TaskRequest) -> Self {
        Self { request, context_id: None, if_generation: None }
    }
}

impl RequestRecord {
    /// When it was recorded or answered, since the unix epoch.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }

    /// The record as a store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> String {
        let stored = Stored { v: VERSION, record: self.clone() };
        serde_json::to_string(&stored).expect("strings and numbers are JSON")
    }

    /// Reads what [`to_stored`](Self::to_stored) wrote; `None` for what is damaged or of another version.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        (stored.v == VERSION).then_some(stored.record)
    }

    pub(super) fn answer_size(&self) -> usize {
        self.answer.as_ref().map_or(0, |answer| answer.as_str().len())
    }
}

impl fmt::Debug for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestRecord")
            .field("key", &self.key)
            .field("task_id", &self.task_id)
            .field("state", &self.state)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u64,
    #[serde(flatten)]
    record: RequestRecord,
}

const VERSION: u64 = 1;
