use std::fmt;

use super::A2aVersion;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// No state was said; 0.x calls it `unknown`.
    Unspecified,
    /// Accepted, not yet begun.
    Submitted,
    /// Begun.
    Working,
    /// Done, as asked.
    Completed,
    /// Ended by a failure.
    Failed,
    /// Ended on request.
    Canceled,
    /// Declined.
    Rejected,
    /// Waiting for more from the one who asked.
    InputRequired,
    /// Waiting for credentials.
    AuthRequired,
}

impl TaskState {
    /// Every state.
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

    /// Reads a state in any spelling: `input-required`, `INPUT_REQUIRED`, `TASK_STATE_INPUT_REQUIRED`, case
    /// aside; `cancelled` too. `None` for one this version does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase().replace('_', "-");
        match text.strip_prefix("task-state-").unwrap_or(&text) {
            "unspecified" => Some(Self::Unspecified),
            "cancelled" => Some(Self::Canceled),
            word => Self::ALL.into_iter().find(|state| state.legacy() == word),
        }
    }

    /// The state as a version spells it.
    #[must_use]
    pub const fn name_in(self, version: A2aVersion) -> &'static str {
        if version.is_legacy() { self.legacy() } else { self.as_str() }
    }

    /// The state as A2A 1.0 spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "TASK_STATE_UNSPECIFIED",
            Self::Submitted => "TASK_STATE_SUBMITTED",
            Self::Working => "TASK_STATE_WORKING",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Canceled => "TASK_STATE_CANCELED",
            Self::Rejected => "TASK_STATE_REJECTED",
            Self::InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Self::AuthRequired => "TASK_STATE_AUTH_REQUIRED",
        }
    }

    /// Whether the task is over for good.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// Whether the task waits for the one who asked.
    #[must_use]
    pub const fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }

    const fn legacy(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Submitted => "submitted",
            Self::Working => "working",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
            Self::InputRequired => "input-required",
            Self::AuthRequired => "auth-required",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_from_each_of_its_spellings() {
        for state in TaskState::ALL {
            for version in [A2aVersion::V0_1, A2aVersion::V0_3, A2aVersion::V1] {
                assert_eq!(TaskState::parse(state.name_in(version)), Some(state));
            }
            let bare = state.as_str().trim_start_matches("TASK_STATE_");
            assert_eq!(TaskState::parse(bare), Some(state), "{bare}");
        }
        assert_eq!(TaskState::parse("cancelled"), Some(TaskState::Canceled));
        assert_eq!(TaskState::parse("unknown"), Some(TaskState::Unspecified));
    }

    #[test]
    fn a_state_of_a_later_version_is_not_mistaken_for_a_known_one() {
        for text in ["", "TASK_STATE_", "TASK_STATE_PAUSED", "work", "completed "] {
            assert_eq!(TaskState::parse(text), None, "{text}");
        }
    }

    #[test]
    fn four_states_are_final_and_two_wait() {
        let terminal = TaskState::ALL.into_iter().filter(|state| state.is_terminal()).count();
        let waiting = TaskState::ALL.into_iter().filter(|state| state.is_interrupted()).count();
        assert_eq!((terminal, waiting), (4, 2));
        assert!(!TaskState::ALL.into_iter().any(|state| state.is_terminal() && state.is_interrupted()));
    }
}
