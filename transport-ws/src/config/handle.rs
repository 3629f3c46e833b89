//! Handles as people write them.

use agentchat_core::{Error, ErrorKind, Result};

/// `text` as the server writes handles: without `@` and in small letters.
///
/// # Errors
/// [`ErrorKind::Config`] unless it has 3 to 30 of `a-z`, `0-9` and single `-` within, the first a letter.
pub(crate) fn own(text: &str) -> Result<String> {
    handle_of(text).ok_or_else(|| Error::new(ErrorKind::Config, "config", HANDLE_RULE))
}

/// `text` as the server writes handles; nothing for what breaks [`HANDLE_RULE`].
pub(crate) fn handle_of(text: &str) -> Option<String> {
    let text = text.trim();
    let handle = text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase();
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let starts = handle.starts_with(|c: char| c.is_ascii_lowercase());
    ((3..=30).contains(&handle.len()) && starts && handle.split('-').all(word)).then_some(handle)
}

/// What every handle keeps to.
pub(crate) const HANDLE_RULE: &str =
    "a handle has 3 to 30 of a-z, 0-9 and single hyphens within, and begins with a letter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_people_write_them() {
        for (text, handle) in [("alice", "alice"), (" @Al1ce-b2 ", "al1ce-b2"), ("abc", "abc")] {
            assert_eq!(own(text).expect(text), handle);
        }
        let long = "a".repeat(31);
        for text in ["", "ab", "1abc", "a--b", "abc-", "-abc", "a_bc", "äbc", "a.bc", "@@abc", &long] {
            assert!(own(text).is_err(), "{text}");
        }
    }
}
