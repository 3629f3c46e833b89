//! The raw NATS header block, as stored beside a message and handed out as an array of bytes.
//!
//! Reading never fails, since any publisher can store any bytes there and one bad block must not hide
//! the rest of a mailbox. Lines end with CRLF or LF; names keep their spelling; values lose the blanks
//! around them, as in the broker; a line without a colon is kept as a name with an empty value; a line
//! that is not UTF-8 is read byte by byte as Latin-1, so that no byte is lost.

use crate::message::Headers;

/// A header block taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HeaderBlock {
    /// What follows `NATS/1.0` on the first line: empty for a message, `503 …` for a refusal.
    pub(crate) status: String,
    /// The lines, in order.
    pub(crate) headers: Headers,
}

impl HeaderBlock {
    /// Takes a block apart.
    pub(crate) fn parse(block: &[u8]) -> Self {
        let mut lines = block
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.is_empty())
            .map(text)
            .peekable();
        let status = lines
            .next_if(|line| line.starts_with(VERSION))
            .map(|line| line[VERSION.len()..].trim().to_owned())
            .unwrap_or_default();
        let headers = lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => (name.trim().to_owned(), value.trim().to_owned()),
                None => (line, String::new()),
            })
            .collect();
        Self { status, headers }
    }

    /// The block for these lines. Names and values must be free of CR and LF, names of colons.
    #[cfg(test)]
    pub(crate) fn print(&self) -> Vec<u8> {
        let mut block = VERSION.to_owned();
        if !self.status.is_empty() {
            block.push(' ');
            block.push_str(&self.status);
        }
        block.push_str("\r\n");
        for (name, value) in self.headers.iter() {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        block.into_bytes()
    }
}

/// How many bytes these lines take on the wire.
pub(crate) fn wire_len(headers: &Headers) -> usize {
    let framing = VERSION.len() + 4;
    headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() + framing
}

fn text(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(line) => line.to_owned(),
        Err(_) => line.iter().copied().map(char::from).collect(),
    }
}

const VERSION: &str = "NATS/1.0";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(block: &[u8]) -> Vec<(String, String)> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        HeaderBlock::parse(block).headers.iter().map(owned).collect()
    }

    #[test]
    fn a_recorded_block_is_read() {
        let block = b"NATS/1.0\r\nmq9-priority: critical\r\n\r\n";
        assert_eq!(lines(block), [("mq9-priority".into(), "critical".into())]);
    }

    #[test]
    fn bare_line_feeds_and_odd_blanks_are_read() {
        let block = b"NATS/1.0\nA:1\n b :  2 \nno colon\nurl: mq9://x:1/y\n\n";
        let pairs = [("A", "1"), ("b", "2"), ("no colon", ""), ("url", "mq9://x:1/y")];
        assert_eq!(lines(block), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_repeated_name_keeps_all_its_values_in_order() {
        let block = HeaderBlock::parse(b"NATS/1.0\r\nk: 1\r\nx: y\r\nk: 2\r\n\r\n");
        assert_eq!(block.headers.iter().collect::<Vec<_>>(), [("k", "1"), ("x", "y"), ("k", "2")]);
        assert_eq!(block.headers.get("K"), Some("1"));
    }

    #[test]
    fn the_status_line_is_kept_apart() {
        let block = HeaderBlock::parse(b"NATS/1.0 503 No Responders\r\n\r\n");
        assert_eq!(block.status, "503 No Responders");
        assert!(block.headers.is_empty());
    }

    #[test]
    fn a_line_that_is_not_utf8_loses_no_byte() {
        let block = HeaderBlock::parse(b"NATS/1.0\r\nraw: \xff\xfe\r\nok: \xc3\xa9\r\n\r\n");
        let raw = block.headers.get("raw").expect("kept");
        assert_eq!(raw.chars().map(|c| c as u32).collect::<Vec<_>>(), [0xff, 0xfe]);
        assert_eq!(block.headers.get("ok"), Some("é"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            status in "|[1-5][0-9]{2}( [A-Za-z]{1,9})?",
            pairs in proptest::collection::vec(("[!-9;-~]{1,12}", "([!-~é](([ -~é])*[!-~é])?)?"), 0..8),
        ) {
            let block = HeaderBlock { status, headers: pairs.into_iter().collect() };
            let printed = block.print();
            prop_assert_eq!(HeaderBlock::parse(&printed), block.clone());
            if block.status.is_empty() {
                prop_assert_eq!(wire_len(&block.headers), printed.len());
            }
            let with_bare_feeds: Vec<u8> = printed.into_iter().filter(|byte| *byte != b'\r').collect();
            prop_assert_eq!(HeaderBlock::parse(&with_bare_feeds), block);
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_lose_a_line(block: Vec<u8>) {
            let full = block.split(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                .filter(|line| !line.is_empty()).count();
            let read = HeaderBlock::parse(&block);
            let first = usize::from(block.strip_prefix(b"\r\n").unwrap_or(&block).starts_with(b"NATS/1.0"));
            prop_assert!(read.headers.len() == full || read.headers.len() + 1 == full && first <= 1);
        }
    }
}
