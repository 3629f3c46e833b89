//! Reads a row that is written as servers write it: no blanks between the parts, plain texts. Of anything else
//! nothing is concluded here; the general reader decides about it.

use std::borrow::Cow;

use super::row::Members;
use super::span::{Span, Text};

/// The members of the row that `text` is, as places in `whole`, of which it is a part; or nothing where the
/// general reader is to look at it. What is read here is what the general reader would read.
pub(super) fn scan(whole: &str, text: &str) -> Option<Box<Members>> {
    let mut scan = Scan { whole, text, bytes: text.as_bytes(), at: 0 };
    let mut row = Box::<Members>::default();
    let (mut sender_handle, mut from) = (Text::Absent, Text::Absent);
    scan.take(b'{')?;
    if scan.peek()? == b'}' {
        return None;
    }
    loop {
        let key = scan.string()?;
        scan.take(b':')?;
        let slot = match key {
            "id" => &mut row.id,
            "conversation_id" => &mut row.conversation_id,
            "sender" => &mut row.sender,
            "sender_handle" => &mut sender_handle,
            "from" => &mut from,
            "client_msg_id" => &mut row.client_msg_id,
            "type" => &mut row.kind,
            "created_at" => &mut row.created_at,
            "delivery_id" => &mut row.delivery_id,
            "status" => &mut row.status,
            "delivered_at" => &mut row.delivered_at,
            "read_at" => &mut row.read_at,
            "seq" => {
                row.seq = Some(scan.number()?);
                if scan.goes_on()? {
                    continue;
                }
                break;
            }
            other => {
                let begin = scan.at;
                if other == "content" {
                    row.plain = scan.plain_text();
                    scan.at = begin;
                }
                scan.value(0)?;
                let span = Span::of(whole, &text[begin..scan.at]);
                match other {
                    "content" => row.content = span,
                    "metadata" => row.metadata = span,
                    "context" => row.context = span,
                    "skipped_recipients" => row.skipped = span,
                    _ => row.extra.push((Text::of(whole, Cow::Borrowed(other)), span)),
                }
                if scan.goes_on()? {
                    continue;
                }
                break;
            }
        };
        *slot = match scan.peek()? {
            b'"' => Text::of(whole, Cow::Borrowed(scan.string()?)),
            _ => {
                scan.value(0)?;
                Text::Absent
            }
        };
        if !scan.goes_on()? {
            break;
        }
    }
    if matches!(row.sender, Text::Absent) {
        row.sender = if matches!(sender_handle, Text::Absent) { from } else { sender_handle };
    }
    (scan.at == text.len()).then_some(row)
}

/// A place in a text. Each step is past what it read, or nothing.
struct Scan<'a> {
    /// What places are told in.
    whole: &'a str,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether another member follows, or the object ends.
    fn goes_on(&mut self) -> Option<bool> {
        let next = self.peek()?;
        self.at += 1;
        match next {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// A text without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let begin = self.at;
        self.at = plain(self.bytes, begin);
        self.take(b'"')?;
        self.text.get(begin..self.at - 1)
    }

    /// A whole number without a sign.
    fn number(&mut self) -> Option<u64> {
        let begin = self.at;
        let mut number = 0_u64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        let digits = self.at - begin;
        let leads_with_zero = digits > 1 && self.bytes[begin] == b'0';
        (digits > 0 && !leads_with_zero && matches!(self.peek()?, b',' | b'}')).then_some(number)
    }

    /// Passes over a value. Texts may have the short escapes, and numbers are whole.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.escaped(),
            b'{' if depth < DEEPEST => {
                self.at += 1;
                if self.peek()? == b'}' {
                    return self.take(b'}');
                }
                loop {
                    self.escaped()?;
                    self.take(b':')?;
                    self.value(depth + 1)?;
                    if !self.goes_on()? {
                        return Some(());
                    }
                }
            }
            b'[' if depth < DEEPEST => {
                self.at += 1;
                if self.peek()? == b']' {
                    return self.take(b']');
                }
                loop {
                    self.value(depth + 1)?;
                    if self.peek()? == b']' {
                        return self.take(b']');
                    }
                    self.take(b',')?;
                }
            }
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'0'..=b'9' => {
                let begin = self.at;
                while self.peek()?.is_ascii_digit() {
                    self.at += 1;
                }
                let leads_with_zero = self.at - begin > 1 && self.bytes[begin] == b'0';
                (!leads_with_zero && matches!(self.peek()?, b',' | b'}' | b']')).then_some(())
            }
            _ => None,
        }
    }

    /// Passes over a text with short escapes.
    fn escaped(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.at = plain(self.bytes, self.at);
            match self.peek()? {
                b'"' => return self.take(b'"'),
                b'\\' if b"\"\\/bfnrt".contains(self.bytes.get(self.at + 1)?) => self.at += 2,
                _ => return None,
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// Where the text lies in a content that is nothing but a text without escapes; else empty.
    fn plain_text(&mut self) -> Span {
        let mut read = || {
            self.word(b"{\"text\":")?;
            let text = self.string()?;
            self.take(b'}')?;
            Some(Span::of(self.whole, text))
        };
        read().unwrap_or_default()
    }
}

/// Where the first quote, backslash or control character is at or behind `at`; else the end.
fn plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    // Eight bytes at a time. The lowest bit that is set is right, whatever the ones above it say.
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
        let word = u64::from_le_bytes(eight);
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// What is nested deeper is for the general reader.
const DEEPEST: usize = 16;

#[cfg(test)]
mod tests;
