//! Task states in every spelling, and which may follow which.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::excerpt;
use crate::vocabulary::A2aVersion;

/// The state of an A2A task, whatever version of A2A spelled it.
///
/// A state this version does not know is carried as it was written. It never blocks a task: it may follow
/// any state that is not final, and anything may follow it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum TaskState {
    /// Taken, not begun.
    Submitted,
    /// Being worked on.
    Working,
    /// Waits for a message of the caller. The request is answered, the task is not over.
    InputRequired,
    /// Waits until the caller has authorised something, here or elsewhere.
    AuthRequired,
    /// Over, with a result.
    Completed,
    /// Over: it went wrong.
    Failed,
    /// Over: somebody called it off.
    Canceled,
    /// Over: it was not accepted.
    Rejected,
    /// No state was said (`unknown` in A2A 0.x).
    Unspecified,
    /// A state of another version, as it was written.
    Other(String),
}

impl TaskState {
    /// Every state that is known here.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::Submitted,
        Self::Working,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::Rejected,
        Self::InputRequired,
        Self::AuthRequired,
    ];

    /// Reads a state in any spelling: `TASK_STATE_INPUT_REQUIRED`, `input-required`, `inputRequired`, and
    /// the numbers of A2A's protobuf.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        match plain.strip_prefix("taskstate").unwrap_or(&plain) {
            "submitted" | "1" => Self::Submitted,
            "working" | "2" => Self::Working,
            "completed" | "3" => Self::Completed,
            "failed" | "4" => Self::Failed,
            "canceled" | "cancelled" | "5" => Self::Canceled,
            "inputrequired" | "6" => Self::InputRequired,
            "rejected" | "7" => Self::Rejected,
            "authrequired" | "8" => Self::AuthRequired,
            "" | "unspecified" | "unknown" | "0" => Self::Unspecified,
            _ => Self::Other(excerpt(text)),
        }
    }

    /// Reads a state as [`parse`](Self::parse) does; `None` for one this version does not know, or none at all.
    #[must_use]
    pub fn known(text: &str) -> Option<Self> {
        Some(Self::parse(text)).filter(|state| !text.is_empty() && !matches!(state, Self::Other(_)))
    }

    /// The state as a version spells it.
    #[must_use]
    pub fn name_in(&self, version: A2aVersion) -> &str {
        if version.is_legacy() { self.as_v0_str() } else { self.as_str() }
    }

    /// The spelling of A2A 1.0: `TASK_STATE_INPUT_REQUIRED`. Another version's state is as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Submitted => "TASK_STATE_SUBMITTED",
            Self::Working => "TASK_STATE_WORKING",
            Self::InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Self::AuthRequired => "TASK_STATE_AUTH_REQUIRED",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Canceled => "TASK_STATE_CANCELED",
            Self::Rejected => "TASK_STATE_REJECTED",
            Self::Unspecified => "TASK_STATE_UNSPECIFIED",
            Self::Other(text) => text,
        }
    }

    /// The spelling of A2A 0.x: `input-required`.
    #[must_use]
    pub fn as_v0_str(&self) -> &str {
        match self {
            Self::Submitted => "submitted",
            Self::Working => "working",
            Self::InputRequired => "input-required",
            Self::AuthRequired => "auth-required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
            Self::Unspecified => "unknown",
            Self::Other(text) => text,
        }
    }

    /// Whether a task in this state is over: it never changes again.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// Whether a task in this state waits for its caller.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }

    /// Whether this state ends the request that led to it: the task is over, or waits for its caller.
    #[must_use]
    pub fn ends_request(&self) -> bool {
        self.is_terminal() || self.is_interrupted()
    }

    /// Whether a task may go from this state to `next`.
    ///
    /// A task that waits goes on only through a follow-up, which is `WORKING`. Going to the state it is in
    /// is allowed while it works, because progress is told that way, and refused where it would mean a
    /// second question or a second start.
    #[must_use]
    pub fn may_become(&self, next: &Self) -> bool {
        match (self, next) {
            _ if self.is_terminal() => false,
            (Self::Unspecified | Self::Other(_), _) | (_, Self::Unspecified | Self::Other(_)) => true,
            (_, Self::Submitted) => false,
            (_, Self::Working) => true,
            _ => self != next,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for TaskState {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<TaskState> for String {
    fn from(state: TaskState) -> Self {
        state.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [TaskState; 9] = [
        TaskState::Submitted,
        TaskState::Working,
        TaskState::InputRequired,
        TaskState::AuthRequired,
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Canceled,
        TaskState::Rejected,
        TaskState::Unspecified,
    ];

    #[test]
    fn every_spelling_of_a_state_is_that_state() {
        for state in KNOWN {
            assert_eq!(TaskState::parse(state.as_str()), state);
            assert_eq!(TaskState::parse(&state.as_str().to_lowercase()), state);
            assert_eq!(TaskState::parse(state.as_v0_str()), state);
        }
        for (text, state) in [
            ("inputRequired", TaskState::InputRequired),
            ("INPUT_REQUIRED", TaskState::InputRequired),
            ("auth_required", TaskState::AuthRequired),
            ("Cancelled", TaskState::Canceled),
            ("6", TaskState::InputRequired),
            ("8", TaskState::AuthRequired),
            ("", TaskState::Unspecified),
        ] {
            assert_eq!(TaskState::parse(text), state, "{text}");
        }
    }

    #[test]
    fn an_unknown_state_is_carried_and_blocks_nothing() {
        let other = TaskState::parse("TASK_STATE_PAUSED");
        assert_eq!(other.as_str(), "TASK_STATE_PAUSED");
        assert_eq!(serde_json::to_string(&other).unwrap(), "\"TASK_STATE_PAUSED\"");
        assert!(!other.ends_request());
        for state in KNOWN {
            assert_eq!(state.may_become(&other), !state.is_terminal(), "{state}");
            assert!(other.may_become(&state), "{state}");
        }
        assert_eq!(TaskState::parse(&"x".repeat(500)).as_str().len(), 64);
    }

    #[test]
    fn the_legal_transitions_are_those_of_the_table() {
        use TaskState::{
            AuthRequired, Canceled, Completed, Failed, InputRequired, Rejected, Submitted, Working,
        };
        let ends = [Completed, Failed, Canceled, Rejected];
        let table = |from: &TaskState| -> Vec<TaskState> {
            let mut to = match from {
                Submitted | Working => vec![Working, InputRequired, AuthRequired],
                InputRequired => vec![Working, AuthRequired],
                AuthRequired => vec![Working, InputRequired],
                _ => return vec![],
            };
            to.extend(ends.clone());
            to
        };
        for from in &KNOWN[..8] {
            for to in &KNOWN[..8] {
                assert_eq!(from.may_become(to), table(from).contains(to), "{from} to {to}");
            }
        }
    }
}
