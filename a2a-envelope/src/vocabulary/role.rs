//! Who wrote a message.

use super::A2aVersion;

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The side that asks.
    User,
    /// The side that answers.
    Agent,
}

impl Role {
    /// Reads a role in any spelling: `user`, `ROLE_USER`, case aside.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("role_").unwrap_or(&text) {
            "user" => Some(Self::User),
            "agent" => Some(Self::Agent),
            _ => None,
        }
    }

    /// The role as a version spells it.
    #[must_use]
    pub const fn name_in(self, version: A2aVersion) -> &'static str {
        match (self, version.is_legacy()) {
            (Self::User, true) => "user",
            (Self::User, false) => "ROLE_USER",
            (Self::Agent, true) => "agent",
            (Self::Agent, false) => "ROLE_AGENT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_in_any_case_with_or_without_its_prefix() {
        for text in ["user", "USER", "ROLE_USER", "role_user"] {
            assert_eq!(Role::parse(text), Some(Role::User), "{text}");
        }
        for text in ["agent", "ROLE_AGENT"] {
            assert_eq!(Role::parse(text), Some(Role::Agent), "{text}");
        }
        for text in ["", "ROLE_", "ROLE_UNSPECIFIED", "system", "role_role_user"] {
            assert_eq!(Role::parse(text), None, "{text}");
        }
    }
}
