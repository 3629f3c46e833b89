//! The grammar of JSON, checked in one pass without recursion.

use crate::error::{Error, Result};

/// Where the one value of a document lies, and how deeply it nests.
pub(crate) struct Scanned {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) depth: usize,
}

/// Checks `text` against the whole grammar of RFC 8259. Iterative: nesting costs a byte per level, and is
/// measured to the end even when absurd, so that an error can say by how much.
pub(crate) fn document(text: &str) -> Result<Scanned> {
    let mut scan = Scanner { bytes: text.as_bytes(), at: 0, open: Vec::new(), depth: 0 };
    scan.space();
    let start = scan.at;
    let end = scan.value()?;
    scan.space();
    if scan.at < scan.bytes.len() {
        return Err(scan.wrong("text after the value"));
    }
    Ok(Scanned { start, end, depth: scan.depth })
}

/// The index just behind the string that opens at `at`, in text known to be valid.
pub(crate) fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// How many bytes there are before the first that means something in a string: a quote, a backslash, or a
/// control character. Eight at a time, because most of a message is the inside of strings.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is zero; bytes above such a one may be marked wrongly.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut run = 0;
    for chunk in bytes.chunks_exact(8) {
        let Ok(eight) = <[u8; 8]>::try_from(chunk) else { break };
        let word = u64::from_le_bytes(eight);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
        if found != 0 {
            // The lowest mark is right, and stands for the first byte.
            return run + found.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    let rest = &bytes[run..];
    run + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// The index just behind the value that begins at `at`, in text known to be valid.
pub(crate) fn skip_value(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    let mut open = 0usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at),
            b'{' | b'[' => {
                open += 1;
                at += 1;
            }
            b'}' | b']' => {
                open = open.saturating_sub(1);
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            _ => {
                while bytes.get(at).is_some_and(|b| !b",:]} \t\n\r".contains(b)) {
                    at += 1;
                }
            }
        }
        if open == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The index of the next byte that is not white space.
pub(crate) fn skip_space(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while bytes.get(at).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<u8>,
    depth: usize,
}

impl Scanner<'_> {
    /// Scans one value, however nested, and returns its end.
    fn value(&mut self) -> Result<usize> {
        loop {
            self.space();
            match self.peek() {
                Some(opening @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.open.push(opening);
                    self.depth = self.depth.max(self.open.len());
                    self.space();
                    if self.peek() != Some(opening + 2) {
                        if opening == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err(self.wrong("expected a value")),
            }
            if !self.close()? {
                return Ok(self.at);
            }
        }
    }

    /// After a value: closes what ends here. `true` if another value follows, `false` at the very end.
    fn close(&mut self) -> Result<bool> {
        while let Some(&opening) = self.open.last() {
            self.space();
            match self.peek() {
                // In ASCII a closing brace or bracket is two behind its opening one.
                Some(byte) if byte == opening + 2 => {
                    self.at += 1;
                    self.open.pop();
                }
                Some(b',') => {
                    self.at += 1;
                    if opening == b'{' {
                        self.space();
                        self.key()?;
                    }
                    return Ok(true);
                }
                _ => return Err(self.wrong("expected a comma or the end of the list")),
            }
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<()> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a member name"));
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("expected a colon"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<()> {
        self.at += 1;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                                    return Err(self.wrong("expected four hexadecimal digits"));
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Err(self.wrong("unknown escape")),
                    }
                }
                Some(byte) if byte >= 0x20 => self.at += 1,
                Some(_) => return Err(self.wrong("control character in a string")),
                None => return Err(self.wrong("the string does not end")),
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return Err(self.wrong("expected a digit"));
        }
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.wrong("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        self.at = skip_space(self.bytes, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn wrong(&self, problem: &'static str) -> Error {
        Error::NotJson { offset: self.at, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(text: &str) -> usize {
        match document(text) {
            Err(Error::NotJson { offset, .. }) => offset,
            Err(other) => panic!("{text}: {other}"),
            Ok(_) => panic!("{text} was accepted"),
        }
    }

    #[test]
    fn every_form_of_value_is_accepted() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-0.0e-0",
            "1e400",
            "1.0",
            "123456789012345678901234567890",
            "1E+2",
            r#""""#,
            r#""a\"\\\/\b\f\n\r\t\u00e9""#,
            r#""\ud800""#,
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,2 , [3]]",
            r#"{"a":1,"a":{"b":[]}}"#,
            " \t\r\n[1]\n ",
            "\"\u{7f}é世\"",
        ] {
            let scanned = document(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(&text[scanned.start..scanned.end], text.trim());
            assert_eq!(skip_value(text.as_bytes(), scanned.start), scanned.end, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_goes_wrong() {
        for (text, at) in [
            ("", 0),
            (" ", 1),
            ("nul", 0),
            ("01", 1),
            ("-", 1),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("+1", 0),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("[1}", 2),
            ("[", 1),
            ("]", 0),
            ("1 1", 2),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("\"\n\"", 1),
            ("\u{feff}1", 0),
            ("[1]]", 3),
            ("NaN", 0),
            ("'a'", 0),
        ] {
            assert_eq!(offset(text), at, "{text:?}");
        }
    }

    #[test]
    fn a_run_ends_at_the_first_byte_that_means_something_wherever_it_stands() {
        let means = |b: u8| b < 0x20 || b == b'"' || b == b'\\';
        for length in 0..20_usize {
            for place in 0..length {
                // All bytes at one place, and another special one behind it to mislead.
                for byte in 0..=255_u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    if let Some(behind) = bytes.get_mut(place + 1) {
                        *behind = b'"';
                    }
                    let want = bytes.iter().position(|b| means(*b)).unwrap_or(length);
                    assert_eq!(plain_run(&bytes), want, "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn depth_is_measured_to_the_end_without_recursion() {
        for (text, depth) in
            [("1", 0), ("[]", 1), ("{\"a\":[1,{}]}", 3), ("[[],[[]]]", 3), ("[[[1]],[2]]", 3)]
        {
            assert_eq!(document(text).unwrap().depth, depth, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(document(&deep).unwrap().depth, 500_000);
    }
}
