//! The inside of a JSON string, found and unescaped without a copy where none is needed.

/// What stood between two quotes: known to be UTF-8 with whole escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonText<'a> {
    raw: &'a [u8],
    escaped: bool,
}

/// Splits at the quote that ends the string whose first quote is already passed. `None` for what is no
/// string, and for escaped surrogates.
pub(crate) fn split(bytes: &[u8]) -> Option<(JsonText<'_>, &[u8])> {
    let mut end = plain(bytes);
    let mut escaped = false;
    while bytes.get(end) == Some(&b'\\') {
        escaped = true;
        end += match Escape::read(&bytes[end + 1..])? {
            Escape::Byte(_) => 2,
            Escape::Char(_) => 6,
        };
        end += plain(&bytes[end..]);
    }
    let rest = bytes.get(end..)?.strip_prefix(b"\"")?;
    let raw = &bytes[..end];
    let is_text = raw.is_ascii() || std::str::from_utf8(raw).is_ok();
    is_text.then_some((JsonText { raw, escaped }, rest))
}

impl<'a> JsonText<'a> {
    /// The text, which is written into `scratch` if it has escapes.
    pub(crate) fn unescaped<'b>(&self, scratch: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.raw;
        }
        scratch.clear();
        let mut rest = self.raw;
        loop {
            let run = plain(rest);
            scratch.extend_from_slice(&rest[..run]);
            // Splitting has seen that nothing but whole escapes stands between the runs.
            let Some(escape) = rest.get(run + 1..).and_then(Escape::read) else { return scratch };
            match escape {
                Escape::Byte(byte) => {
                    scratch.push(byte);
                    rest = &rest[run + 2..];
                }
                Escape::Char(char) => {
                    scratch.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = &rest[run + 6..];
                }
            }
        }
    }
}

/// What an escape, whose backslash is passed, stands for.
enum Escape {
    Byte(u8),
    Char(char),
}

impl Escape {
    fn read(bytes: &[u8]) -> Option<Self> {
        let byte = match *bytes.first()? {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let digits = bytes.get(1..5)?;
                let code = digits.iter().try_fold(0, |code, digit| {
                    char::from(*digit).to_digit(16).map(|digit| code * 16 + digit)
                })?;
                return char::from_u32(code).map(Self::Char);
            }
            _ => return None,
        };
        Some(Self::Byte(byte))
    }
}

/// How many bytes come before the first that is a quote, a backslash or a control character.
///
/// Eight at a time; where they go on for long, by blocks, which the compiler looks at with wide registers.
fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        for _ in 0..BLOCK / 8 {
            let Some(word) = bytes[at..].first_chunk() else {
                return at + bytes[at..].iter().take_while(|byte| !is_special(**byte)).count();
            };
            let hits = specials(u64::from_le_bytes(*word));
            if hits != 0 {
                return at + hits.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        while let Some(block) = bytes[at..].first_chunk::<BLOCK>()
            && !block.iter().fold(false, |any, byte| any | is_special(*byte))
        {
            at += BLOCK;
        }
    }
}

fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Marks the high bit of bytes of a word that are special. Marks above the lowest may be false.
fn specials(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & (ONES * 0x80)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn general(bytes: &[u8]) -> Option<String> {
        serde_json::from_slice(bytes).ok()
    }

    fn ours(bytes: &[u8]) -> Option<String> {
        let (text, rest) = split(bytes.strip_prefix(b"\"")?)?;
        let text = text.unescaped(&mut Vec::new()).to_vec();
        rest.is_empty().then(|| String::from_utf8(text).expect("checked"))
    }

    #[test]
    fn every_escape_and_every_offset_of_it_is_read() {
        for before in 0..140 {
            for escape in [r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0041", r"\u20aC"] {
                let text = format!("\"{}{escape}é\"", "x".repeat(before));
                assert_eq!(ours(text.as_bytes()), general(text.as_bytes()), "{text}");
                assert!(ours(text.as_bytes()).is_some(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_string_is_refused() {
        for broken in
            [r#"""#, r#""\"#, r#""\""#, r#""\u12"#, r#""\u12g4""#, r#""\x""#, "\"a\nb\"", "\"\u{1}\""]
        {
            assert_eq!((ours(broken.as_bytes()), general(broken.as_bytes())), (None, None), "{broken:?}");
        }
        assert_eq!(ours(b"\"\xff\""), None);
        assert_eq!(ours(br#""\ud83d\ude00""#), None, "left to the general parser");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "[ -~]{0,90}(\\PC|[\"\\\\\\x00-\\x1f]){0,9}[ -~]{0,90}") {
            let written = serde_json::to_vec(&text)?;
            prop_assert_eq!(ours(&written), Some(text));
        }

        #[test]
        fn it_agrees_with_the_general_parser_about_any_bytes(inside: Vec<u8>, ascii in "[ -\\x7f\\\\u0-9\"]{0,80}") {
            for inside in [&inside[..], ascii.as_bytes()] {
                let bytes = [b"\"", inside, b"\""].concat();
                if let Some(text) = ours(&bytes) {
                    prop_assert_eq!(Some(text), general(&bytes));
                }
            }
        }

        #[test]
        fn the_first_special_byte_is_found(bytes: Vec<u8>, filler in 0_usize..200) {
            let bytes = [vec![b'x'; filler], bytes].concat();
            let first = bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len());
            prop_assert_eq!(plain(&bytes), first);
        }
    }
}
