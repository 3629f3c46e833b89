//! Events of a group, told as rows of kind `system`.

use serde::Deserialize;

use super::lenient;

/// What happened in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemEvent {
    /// An agent joined.
    MemberJoined {
        /// Who.
        agent: Option<String>,
    },
    /// An agent left.
    MemberLeft {
        /// Who.
        agent: Option<String>,
    },
    /// An agent was removed.
    MemberRemoved {
        /// Who.
        agent: Option<String>,
        /// By whom.
        actor: Option<String>,
    },
    /// An agent became an admin.
    AdminPromoted {
        /// Who.
        agent: Option<String>,
        /// By whom; nobody when the last admin left.
        actor: Option<String>,
    },
    /// An agent is no admin any more.
    AdminDemoted {
        /// Who.
        agent: Option<String>,
        /// By whom.
        actor: Option<String>,
    },
    /// The group has a new name.
    NameChanged {
        /// The name.
        name: Option<String>,
        /// By whom.
        actor: Option<String>,
    },
    /// The group's description changed.
    DescriptionChanged {
        /// By whom.
        actor: Option<String>,
    },
    /// The group's picture changed.
    AvatarChanged {
        /// By whom.
        actor: Option<String>,
    },
    /// The group is gone. This is its last row.
    GroupDeleted {
        /// By whom.
        actor: Option<String>,
    },
    /// An event this version does not know.
    Other {
        /// Its name.
        event: String,
    },
}

impl SystemEvent {
    /// Reads the `data` of a system row; nothing without an event's name.
    pub(super) fn read(data: &str) -> Option<Self> {
        if !data.starts_with('{') {
            return None;
        }
        let Members { event, agent_handle: agent, actor_handle: actor, new_name: name } =
            serde_json::from_str(data).ok()?;
        let event = event?;
        Some(match event.as_str() {
            "member_joined" => Self::MemberJoined { agent },
            "member_left" => Self::MemberLeft { agent },
            "member_removed" => Self::MemberRemoved { agent, actor },
            "admin_promoted" => Self::AdminPromoted { agent, actor },
            "admin_demoted" => Self::AdminDemoted { agent, actor },
            "name_changed" => Self::NameChanged { name, actor },
            "description_changed" => Self::DescriptionChanged { actor },
            "avatar_changed" => Self::AvatarChanged { actor },
            "group_deleted" => Self::GroupDeleted { actor },
            _ => Self::Other { event },
        })
    }
}

#[derive(Deserialize)]
struct Members {
    #[serde(default, deserialize_with = "lenient::text")]
    event: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    agent_handle: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    actor_handle: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    new_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use crate::wire::MessageRow;

    use super::*;

    #[test]
    fn group_events_are_told_by_system_rows_only() {
        let row = |kind: &str, data: &str| {
            let ids = r#""id":"msg_1","client_msg_id":"sys_msg_1""#;
            MessageRow::parse(format!(r#"{{{ids},"type":"{kind}","content":{{"data":{data}}}}}"#))
                .expect("a row")
        };
        let joined = r#"{"schema_version":1,"event":"member_joined","agent_handle":"wren-two"}"#;
        let agent = Some("wren-two".to_owned());
        assert_eq!(row("system", joined).system_event(), Some(SystemEvent::MemberJoined { agent }));
        assert_eq!(row("structured", joined).system_event(), None);
        for forged in
            [r#""id":"msg_1","client_msg_id":"sys_msg_2""#, r#""client_msg_id":"sys_""#, r#""id":"msg_1""#]
        {
            let json = format!(r#"{{{forged},"type":"system","content":{{"data":{joined}}}}}"#);
            let row = MessageRow::parse(json).expect("a row");
            assert_eq!(row.system_event(), None, "an agent cannot make one up: {forged}");
        }
        let event = "comet_seen".to_owned();
        let unknown = row("system", r#"{"event":"comet_seen"}"#).system_event();
        assert_eq!(unknown, Some(SystemEvent::Other { event }));
        assert_eq!(row("system", "{}").system_event(), None);
        let automatic =
            row("system", r#"{"event":"admin_promoted","agent_handle":null,"actor_handle":null}"#);
        assert_eq!(automatic.system_event(), Some(SystemEvent::AdminPromoted { agent: None, actor: None }));
    }
}
