//! How large and how deep a text may be before it is not read.

use std::fmt;

use crate::error::{Error, Result};

/// How large and how deep a text may be before this crate declines to read it.
///
/// Sizes are bytes. Limits apply where text is parsed: an opaque body that nobody parses has none here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest body, card included. Default 4 MiB.
    pub max_body: usize,
    /// The largest wrapped envelope, which holds an escaped body and its headers. Default 8 MiB + 64 KiB.
    pub max_wrapped: usize,
    /// The deepest nesting of arrays and objects; `[]` is 1 deep. Default 128.
    pub max_depth: usize,
    /// The most headers one envelope may have. Default 128, which is also the most
    /// [`Headers`](crate::Headers) holds.
    pub max_headers: usize,
}

impl Limits {
    /// These limits with another [`max_body`](Self::max_body).
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// These limits with another [`max_wrapped`](Self::max_wrapped).
    #[must_use]
    pub fn with_max_wrapped(mut self, bytes: usize) -> Self {
        self.max_wrapped = bytes;
        self
    }

    /// These limits with another [`max_depth`](Self::max_depth).
    #[must_use]
    pub fn with_max_depth(mut self, levels: usize) -> Self {
        self.max_depth = levels;
        self
    }

    /// These limits with another [`max_headers`](Self::max_headers).
    #[must_use]
    pub fn with_max_headers(mut self, count: usize) -> Self {
        self.max_headers = count;
        self
    }

    pub(crate) fn check(&self, kind: LimitKind, found: usize) -> Result<()> {
        let allowed = match kind {
            LimitKind::Body => self.max_body,
            LimitKind::Wrapped => self.max_wrapped,
            LimitKind::Depth => self.max_depth,
            LimitKind::Headers => self.max_headers,
        };
        if found > allowed { Err(Error::Limit { limit: kind, allowed, found }) } else { Ok(()) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 4 * 1024 * 1024,
            max_wrapped: 2 * 4 * 1024 * 1024 + 64 * 1024,
            max_depth: 128,
            max_headers: 128,
        }
    }
}

/// Which of the [`Limits`] was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::max_body`], in bytes.
    Body,
    /// [`Limits::max_wrapped`], in bytes.
    Wrapped,
    /// [`Limits::max_depth`], in levels.
    Depth,
    /// [`Limits::max_headers`], a count.
    Headers,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "max_body (bytes)",
            Self::Wrapped => "max_wrapped (bytes)",
            Self::Depth => "max_depth (levels)",
            Self::Headers => "max_headers (count)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_documented_ones() {
        let limits = Limits::default();
        assert_eq!(limits.max_body, 4_194_304);
        assert_eq!(limits.max_wrapped, 8_454_144);
        assert_eq!(limits.max_depth, 128);
        assert_eq!(limits.max_headers, 128);
    }

    #[test]
    fn an_error_says_which_limit_and_by_how_much() {
        let limits =
            Limits::default().with_max_body(10).with_max_depth(3).with_max_headers(1).with_max_wrapped(20);
        for (kind, found, words) in [
            (LimitKind::Body, 14, "max_body (bytes) is 10, found 14: 4 over"),
            (LimitKind::Wrapped, 21, "max_wrapped (bytes) is 20, found 21: 1 over"),
            (LimitKind::Depth, 9, "max_depth (levels) is 3, found 9: 6 over"),
            (LimitKind::Headers, 2, "max_headers (count) is 1, found 2: 1 over"),
        ] {
            assert_eq!(limits.check(kind, found).unwrap_err().to_string(), words);
        }
        assert_eq!(limits.check(LimitKind::Body, 10), Ok(()));
    }
}
