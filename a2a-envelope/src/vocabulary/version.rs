//! The versions of A2A.

use std::fmt;

/// The versions of A2A whose spellings this crate knows.
///
/// A version that is none of these is no error anywhere: its messages travel untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum A2aVersion {
    /// 0.1: `tasks/send`, parts told by `type`.
    V0_1,
    /// 0.2: `message/send`, objects told by `kind`.
    V0_2,
    /// 0.3: as 0.2 where messages are concerned.
    V0_3,
    /// 1.0 and later 1.x: `SendMessage`, enums by their full proto names, nothing told by `kind`.
    V1,
}

impl A2aVersion {
    /// Reads `Major.Minor`, with or without a patch number behind. A2A reads an empty one as 0.3.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::V0_3);
        }
        let mut numbers = text.trim_start_matches('v').split('.').map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next().map_or(Ok(0), |minor| minor).ok()?;
        match (major, minor) {
            (0, 0 | 1) => Some(Self::V0_1),
            (0, 2) => Some(Self::V0_2),
            (0, 3) => Some(Self::V0_3),
            (1, _) => Some(Self::V1),
            _ => None,
        }
    }

    /// As the header `a2a-version` says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
            Self::V0_3 => "0.3",
            Self::V1 => "1.0",
        }
    }

    /// Whether it is one of the 0.x versions.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        !matches!(self, Self::V1)
    }
}

impl fmt::Display for A2aVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_patch_number_and_an_empty_one_is_0_3() {
        use A2aVersion::{V0_1, V0_2, V0_3, V1};
        for (text, version) in [
            ("", Some(V0_3)),
            ("0.1", Some(V0_1)),
            ("0.2.5", Some(V0_2)),
            ("0.3.0", Some(V0_3)),
            ("1.0", Some(V1)),
            ("v1", Some(V1)),
            ("1.1", Some(V1)),
            ("2.0", None),
            ("0.9", None),
            ("one", None),
            ("1.x", None),
            ("-1.0", None),
        ] {
            assert_eq!(A2aVersion::parse(text), version, "{text}");
        }
        for known in [V0_1, V0_2, V0_3, V1] {
            assert_eq!(A2aVersion::parse(&known.to_string()), Some(known));
        }
    }
}
