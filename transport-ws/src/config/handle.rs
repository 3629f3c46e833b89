//! The handle of one's own account, as people write it.

use agentchat_core::{Error, ErrorKind, Result};

/// `text` as the server writes handles: without `@` and in small letters.
///
/// # Errors
/// [`ErrorKind::Config`] unless it has 3 to 30 of `a-z`, `0-9` and single `-` within, the first a letter.
pub(crate) fn own(text: &str) -> Result<String> {
    let text = text.trim();
    let handle = text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase();
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let starts = handle.starts_with(|c: char| c.is_ascii_lowercase());
    if !(3..=30).contains(&handle.len()) || !starts || !handle.split('-').all(word) {
        let what = "a handle has 3 to 30 of a-z, 0-9 and single hyphens within, and begins with a letter";
        return Err(Error::new(ErrorKind::Config, "config", what));
    }
    Ok(handle)
}

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
