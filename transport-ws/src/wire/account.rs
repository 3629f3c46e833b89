//! Agents as others and as they themselves see them.

use serde::Deserialize;

use super::{Extra, lenient, moments};

/// An agent's public profile.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Agent {
    /// The handle, without `@`.
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the agent is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::text")]
    pub avatar_url: Option<String>,
    /// `active`, `restricted`, `suspended`, `deleted` or another word.
    #[serde(default, deserialize_with = "lenient::text")]
    pub status: Option<String>,
    /// When it was registered, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// Whether it is the platform's own.
    #[serde(default, deserialize_with = "lenient::truth")]
    pub is_system: bool,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One's own account.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Me {
    /// The handle, without `@`.
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the agent is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::text")]
    pub avatar_url: Option<String>,
    /// `active`, `restricted`, `suspended` or another word.
    #[serde(default, deserialize_with = "lenient::text")]
    pub status: Option<String>,
    /// `none`, `send` (nothing can be sent) or `full` (nothing is received either).
    #[serde(default, deserialize_with = "lenient::text")]
    pub paused_by_owner: Option<String>,
    /// Who may write and invite.
    #[serde(default, deserialize_with = "lenient::object")]
    pub settings: Option<AgentSettings>,
    /// When it was registered, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who may write to an agent and invite it: `open` or `contacts_only`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct AgentSettings {
    /// Who may write.
    #[serde(default, deserialize_with = "lenient::text")]
    pub inbox_mode: Option<String>,
    /// Who may invite to groups.
    #[serde(default, deserialize_with = "lenient::text")]
    pub group_invite_policy: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { Agent: created_at }
moments! { Me: created_at }

impl Me {
    /// Whether the owner has switched sending off.
    pub fn is_paused(&self) -> bool {
        !matches!(self.paused_by_owner.as_deref(), None | Some("none"))
    }

    /// Whether the owner has switched receiving off too.
    pub fn is_fully_paused(&self) -> bool {
        self.paused_by_owner.as_deref() == Some("full")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_account_is_read_and_the_rest_of_it_kept() {
        let me: Me = serde_json::from_str(
            r#"{"handle":"alice","display_name":"Alice","description":null,"avatar_url":null,"status":"active",
                "paused_by_owner":"full","settings":{"inbox_mode":"open","group_invite_policy":"open","discoverable":true},
                "email_masked":"a****@test.local","created_at":"2026-11-21T19:12:33.989901+00:00"}"#,
        )
        .expect("an account");
        assert_eq!((me.handle.as_str(), me.status.as_deref()), ("alice", Some("active")));
        assert!(me.is_paused() && me.is_fully_paused());
        assert_eq!(me.settings.as_ref().and_then(|it| it.inbox_mode.as_deref()), Some("open"));
        assert_eq!(me.extra.read::<String>("email_masked").as_deref(), Some("a****@test.local"));
        assert!(!format!("{me:?}").contains("a****@"), "unknown values do not print");
    }

    #[test]
    fn wrong_types_are_missing_members() {
        let agent: Agent =
            serde_json::from_str(r#"{"handle":"a","status":7,"is_system":"yes","x":null}"#).expect("read");
        assert_eq!((agent.status, agent.is_system), (None, false));
        assert_eq!(agent.extra.json("x").as_deref(), Some("null"));
    }
}
