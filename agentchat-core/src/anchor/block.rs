//! Where the block is in a text.

use std::ops::Range;

/// A block, by the places of its lines in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// From the beginning of the line of the start marker to the end of that of the end marker, without its
    /// line end.
    whole: Range<usize>,
    inner: Range<usize>,
}

/// How the lines of a text end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout(&'static str);

impl Block {
    /// The one block in `text`; or what is wrong with its markers, with the number of a line.
    pub(super) fn find(text: &[u8], start: &[u8], end: &[u8]) -> Result<Option<Self>, String> {
        let mut open: Option<(usize, Range<usize>)> = None;
        let mut found: Option<Self> = None;
        let mut at = 0;
        for (line, number) in text.split_inclusive(|byte| *byte == b'\n').zip(1_usize..) {
            let place = at..at + line.len();
            at = place.end;
            // A byte order mark stands before the first line and is no part of it.
            let mark = if place.start == 0 && line.starts_with(BOM) { BOM.len() } else { 0 };
            let place = place.start + mark..place.end;
            let line = line[mark..].trim_ascii();
            if line == start {
                match (&open, &found) {
                    (Some((first, _)), _) => {
                        return Err(format!("line {number} starts a block within that of line {first}"));
                    }
                    (None, Some(_)) => return Err(format!("line {number} starts a second block")),
                    (None, None) => open = Some((number, place)),
                }
            } else if line == end {
                let Some((_, started)) = open.take() else {
                    return Err(format!("line {number} ends a block that nothing starts"));
                };
                let whole = started.start..place.end - line_end(&text[place.clone()]);
                found = Some(Self { whole, inner: started.end..place.start });
            }
        }
        match open {
            Some((number, _)) => Err(format!("line {number} starts a block that nothing ends")),
            None => Ok(found),
        }
    }

    /// What is between the lines of the markers.
    pub(super) fn inner(&self) -> Range<usize> {
        self.inner.clone()
    }

    /// What goes when the block goes. Without a line end behind it, it was put behind a text that had none at
    /// its end either, and the line end before it was put there with it.
    pub(super) fn outer(&self, text: &[u8]) -> Range<usize> {
        let Range { start, end } = self.whole;
        match leading_line_end(&text[end..]) {
            0 => start - line_end(&text[..start])..end,
            behind => start..end + behind,
        }
    }
}

impl Layout {
    /// That of the first line; `\n` where no line has an end.
    pub(super) fn of(text: &[u8]) -> Self {
        let first = text.iter().position(|byte| *byte == b'\n');
        Self(if first.is_some_and(|at| text[..at].ends_with(b"\r")) { "\r\n" } else { "\n" })
    }

    /// What ends a line.
    pub(super) fn end(self) -> &'static [u8] {
        self.0.as_bytes()
    }

    /// `body`, each line ended.
    pub(super) fn lines(self, body: &str) -> Vec<u8> {
        match body {
            "" => Vec::new(),
            body => format!("{}{}", body.replace('\n', self.0), self.0).into_bytes(),
        }
    }

    /// `block` behind `text`, with a line end behind it if `text` has one, else before it.
    pub(super) fn appended(self, text: &[u8], block: &[u8]) -> Vec<u8> {
        let at_line_start = text.is_empty() || text == BOM || text.ends_with(b"\n");
        match at_line_start {
            true => [text, block, self.end()].concat(),
            false => [text, self.end(), block].concat(),
        }
    }
}

/// `text` with `\n` at the ends of its lines, and none at its own.
pub(super) fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned()
}

/// How many bytes of line end are at the end of `text`.
fn line_end(text: &[u8]) -> usize {
    [&b"\r\n"[..], b"\n"].into_iter().find(|end| text.ends_with(end)).map_or(0, <[u8]>::len)
}

/// How many are at its beginning. Blanks behind a marker belong to its line.
fn leading_line_end(text: &[u8]) -> usize {
    [&b"\r\n"[..], b"\n"].into_iter().find(|end| text.starts_with(end)).map_or(0, <[u8]>::len)
}

const BOM: &[u8] = b"\xef\xbb\xbf";
