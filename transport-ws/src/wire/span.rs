//! Texts of a row as places in its bytes, so that reading a row copies next to nothing.

use std::borrow::Cow;

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A stretch of a row's own text.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` lies in `whole`; empty when it does not, or beyond 4 GiB.
    pub(super) fn of(whole: &str, part: &str) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let end = start.wrapping_add(part.len());
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end && end as usize <= whole.len() => Self { start, end },
            _ => Self::default(),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn text(self, raw: &Utf8Bytes) -> &str {
        raw.as_str().get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A string member: a place in the row when it had no escapes, else a text of its own.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Text {
    #[default]
    Absent,
    At(Span),
    Own(Box<str>),
}

impl Text {
    pub(super) fn of(whole: &str, text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(part) => Self::At(Span::of(whole, part)),
            Cow::Owned(text) => Self::Own(text.into()),
        }
    }

    pub(super) fn get<'a>(&'a self, raw: &'a Utf8Bytes) -> Option<&'a str> {
        match self {
            Self::Absent => None,
            Self::At(span) => Some(span.text(raw)),
            Self::Own(text) => Some(text),
        }
    }
}
