//! Methods, under one name for all versions.

use std::fmt;

use super::A2aVersion;

/// What a request asks for, under one name for all versions of A2A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Send a message and wait for the answer.
    SendMessage,
    /// Send a message and follow the task.
    SendStreamingMessage,
    /// Look at a task.
    GetTask,
    /// List tasks.
    ListTasks,
    /// Cancel a task.
    CancelTask,
    /// Follow a task that is there.
    SubscribeToTask,
    /// Register a place for push notifications.
    CreateTaskPushNotificationConfig,
    /// Look at one of these.
    GetTaskPushNotificationConfig,
    /// List these.
    ListTaskPushNotificationConfigs,
    /// Delete one of these.
    DeleteTaskPushNotificationConfig,
    /// The card for those who have signed in.
    GetExtendedAgentCard,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 11] = [
        Self::SendMessage,
        Self::SendStreamingMessage,
        Self::GetTask,
        Self::ListTasks,
        Self::CancelTask,
        Self::SubscribeToTask,
        Self::CreateTaskPushNotificationConfig,
        Self::GetTaskPushNotificationConfig,
        Self::ListTaskPushNotificationConfigs,
        Self::DeleteTaskPushNotificationConfig,
        Self::GetExtendedAgentCard,
    ];

    /// Reads a method name of any version, case and all. `None` for one this crate does not know, which is
    /// then somebody else's to understand.
    #[must_use]
    pub fn parse(method: &str) -> Option<Self> {
        use A2aVersion::{V0_1, V0_3, V1};
        Self::ALL.into_iter().find(|known| {
            [V1, V0_3, V0_1].into_iter().any(|version| known.method_in(version) == Some(method))
        })
    }

    /// The method name in a version; `None` where that version lacks the operation.
    #[must_use]
    pub const fn method_in(self, version: A2aVersion) -> Option<&'static str> {
        use A2aVersion::{V0_1, V0_3, V1};
        Some(match (self, version) {
            (any, V1) => any.as_str(),
            (Self::SendMessage, V0_1) => "tasks/send",
            (Self::SendMessage, _) => "message/send",
            (Self::SendStreamingMessage, V0_1) => "tasks/sendSubscribe",
            (Self::SendStreamingMessage, _) => "message/stream",
            (Self::GetTask, _) => "tasks/get",
            (Self::CancelTask, _) => "tasks/cancel",
            (Self::SubscribeToTask, _) => "tasks/resubscribe",
            (Self::CreateTaskPushNotificationConfig, V0_1) => "tasks/pushNotification/set",
            (Self::CreateTaskPushNotificationConfig, _) => "tasks/pushNotificationConfig/set",
            (Self::GetTaskPushNotificationConfig, V0_1) => "tasks/pushNotification/get",
            (Self::GetTaskPushNotificationConfig, _) => "tasks/pushNotificationConfig/get",
            (Self::ListTaskPushNotificationConfigs, V0_1) => return None,
            (Self::ListTaskPushNotificationConfigs, _) => "tasks/pushNotificationConfig/list",
            (Self::DeleteTaskPushNotificationConfig, V0_1) => return None,
            (Self::DeleteTaskPushNotificationConfig, _) => "tasks/pushNotificationConfig/delete",
            (Self::GetExtendedAgentCard, V0_3) => "agent/getAuthenticatedExtendedCard",
            (Self::ListTasks | Self::GetExtendedAgentCard, _) => return None,
        })
    }

    /// The method name of A2A 1.0, which is also what the header `mq9-a2a-method` says.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendMessage => "SendMessage",
            Self::SendStreamingMessage => "SendStreamingMessage",
            Self::GetTask => "GetTask",
            Self::ListTasks => "ListTasks",
            Self::CancelTask => "CancelTask",
            Self::SubscribeToTask => "SubscribeToTask",
            Self::CreateTaskPushNotificationConfig => "CreateTaskPushNotificationConfig",
            Self::GetTaskPushNotificationConfig => "GetTaskPushNotificationConfig",
            Self::ListTaskPushNotificationConfigs => "ListTaskPushNotificationConfigs",
            Self::DeleteTaskPushNotificationConfig => "DeleteTaskPushNotificationConfig",
            Self::GetExtendedAgentCard => "GetExtendedAgentCard",
        }
    }

    /// Whether the request carries a message.
    #[must_use]
    pub const fn sends_message(self) -> bool {
        matches!(self, Self::SendMessage | Self::SendStreamingMessage)
    }

    /// Whether it is to be sent, and worked on, before what waits.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::CancelTask)
    }

    /// Whether it is answered by a stream.
    #[must_use]
    pub const fn streams(self) -> bool {
        matches!(self, Self::SendStreamingMessage | Self::SubscribeToTask)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use A2aVersion::{V0_1, V0_2, V0_3, V1};

    #[test]
    fn every_method_name_of_every_version_reads_as_its_operation() {
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(&operation.to_string()), Some(operation));
            for version in [V0_1, V0_2, V0_3, V1] {
                let Some(method) = operation.method_in(version) else { continue };
                assert_eq!(Operation::parse(method), Some(operation), "{method}");
            }
        }
    }

    #[test]
    fn older_versions_lack_what_came_later() {
        assert_eq!(Operation::ListTasks.method_in(V0_3), None);
        assert_eq!(Operation::GetExtendedAgentCard.method_in(V0_2), None);
        assert_eq!(
            Operation::GetExtendedAgentCard.method_in(V0_3),
            Some("agent/getAuthenticatedExtendedCard")
        );
        assert_eq!(Operation::DeleteTaskPushNotificationConfig.method_in(V0_1), None);
        assert_eq!(Operation::SendMessage.method_in(V0_1), Some("tasks/send"));
    }

    #[test]
    fn a_method_nobody_knows_is_no_operation() {
        for method in ["", "sendMessage", "message/send ", "message/Send", "tasks/list", "PauseTask"] {
            assert_eq!(Operation::parse(method), None, "{method}");
        }
    }
}
