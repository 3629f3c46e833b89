//! Header lines beside a body.

use std::collections::HashSet;
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// Header lines in order. Names compare without case; one value per name, the last one set.
///
/// `Debug` shows the names and how long the values are: a value may be a key.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets `name`, replacing its former value; the line stands last then.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.remove(&name);
        self.0.push((name, value.into()));
    }

    /// Removes `name` and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(self.0.remove(at).1)
    }

    /// All lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Checks that every line can travel: names of letters, digits, `-`, `_` and `.`; values of at most
    /// 4 KiB without control characters or blanks at their ends; 16 KiB together.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] or [`ErrorKind::TooLarge`], naming the line.
    pub fn check(&self) -> Result<()> {
        for (name, value) in self.iter() {
            let invalid =
                |fault: &str| Error::new(ErrorKind::Invalid, "headers", format!("header {name:?} {fault}"));
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || !name.chars().all(legal) {
                return Err(invalid("may only have letters, digits, `-`, `_` and `.` in its name"));
            }
            if !is_line(value) {
                return Err(invalid("has a control character, or a blank at an end of its value"));
            }
            if value.len() > MAX_VALUE {
                let fault = format!("header {name:?} has {} bytes; at most {MAX_VALUE}", value.len());
                return Err(Error::new(ErrorKind::TooLarge, "headers", fault));
            }
        }
        if self.size() > MAX_TOTAL {
            let fault = format!("the headers have {} bytes; at most {MAX_TOTAL}", self.size());
            return Err(Error::new(ErrorKind::TooLarge, "headers", fault));
        }
        Ok(())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    /// As inserting one line after the other, in linear time: lines may come from a peer, in any number.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut lines: Vec<(String, String)> =
            lines.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut later = HashSet::new();
        lines.reverse();
        lines.retain(|(name, _)| later.insert(name.to_ascii_lowercase()));
        lines.reverse();
        Self(lines)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.iter().map(|(name, value)| (name, format!("{} bytes", value.len())));
        f.debug_map().entries(lines).finish()
    }
}

/// Whether `text` survives a header line as it is: no control character, no blank at an end.
pub(crate) fn is_line(text: &str) -> bool {
    // Without an early end, so that many bytes are looked at in one step.
    let plain = text.bytes().fold(true, |plain, byte| plain & byte.is_ascii_graphic());
    plain || !text.chars().any(char::is_control) && text.trim() == text
}

const MAX_VALUE: usize = 4 * 1024;
const MAX_TOTAL: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_compare_without_case_and_keep_one_value() {
        let mut headers: Headers = [("Trace", "1"), ("trace", "2")].into_iter().collect();
        assert_eq!((headers.len(), headers.get("TRACE")), (1, Some("2")));
        assert_eq!(headers.remove("tRace").as_deref(), Some("2"));
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn collecting_lines_is_inserting_them(lines in prop::collection::vec(("[aAbB]{1,2}", "[a-z]?"), 0..12)) {
            let mut inserted = Headers::new();
            for (name, value) in &lines {
                inserted.insert(name, value);
            }
            prop_assert_eq!(lines.into_iter().collect::<Headers>(), inserted);
        }
    }

    #[test]
    fn lines_that_cannot_travel_are_named() {
        for (name, value) in [("a b", "x"), ("", "x"), ("a:b", "x"), ("ok", "x\r\ny"), ("ok", " x")] {
            let headers: Headers = [(name, value)].into_iter().collect();
            let error = headers.check().expect_err(name);
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
        let large: Headers = [("big", "x".repeat(5000))].into_iter().collect();
        assert_eq!(large.check().expect_err("large").kind(), ErrorKind::TooLarge);
        let many: Headers = (0..10).map(|n| (format!("h{n}"), "x".repeat(2000))).collect();
        assert_eq!(many.check().expect_err("many").kind(), ErrorKind::TooLarge);
    }
}
