//! The usual form of a FETCH or QUERY reply, read in one pass.
//!
//! Consuming is mostly reading these rows, so the form in which the broker writes them (fields in its
//! order, no blanks, numbers of up to 18 digits, no escaped surrogates) has a reader of its own. It knows no
//! errors: whatever deviates, broken or merely unusual, is left to the general parser, whose word counts.

use crate::message::{Headers, MsgId, Priority};
use crate::protocol::header_block::HeaderBlock;
use crate::protocol::json_text;

use super::Row;

/// Gives each row to `each`, in order; `None`, perhaps after some rows, if this is not the usual form.
pub(super) fn read(reply: &[u8], mut each: impl FnMut(Row<'_>)) -> Option<()> {
    let mut cursor = Cursor(reply);
    let (mut text, mut block) = (Vec::new(), Vec::new());
    cursor.skip(br#"{"error":"","messages":["#)?;
    if cursor.skip(b"]}").is_none() {
        loop {
            each(cursor.row(&mut text, &mut block)?);
            if cursor.skip(b",").is_none() {
                break;
            }
        }
        cursor.skip(b"]}")?;
    }
    cursor.0.is_empty().then_some(())
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn row<'b>(&mut self, text: &'b mut Vec<u8>, block: &mut Vec<u8>) -> Option<Row<'b>>
    where
        'a: 'b,
    {
        self.skip(br#"{"msg_id":"#)?;
        let id = MsgId::new(self.number()?);
        self.skip(br#","payload":""#)?;
        let (payload, rest) = json_text::split(self.0)?;
        self.0 = rest;
        self.skip(br#","priority":""#)?;
        let priority = self.priority()?;
        self.skip(br#"","header":"#)?;
        let headers = self.headers(block)?;
        self.skip(br#","create_time":"#)?;
        let create_time = self.number()?;
        self.skip(b"}")?;
        Some(Row { id, payload: payload.unescaped(text), priority, headers, create_time })
    }

    fn skip(&mut self, literal: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let mut sum = 0_u64;
        let mut digits = 0;
        while let Some(digit) =
            self.0.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
            digits += 1;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        let leading_zero = digits > 1 && number[0] == b'0';
        (matches!(digits, 1..=MAX_DIGITS) && !leading_zero).then_some(sum)
    }

    /// The quote after the word stays.
    fn priority(&mut self) -> Option<Option<Priority>> {
        let word = self.0.split(|byte| *byte == b'"').next()?;
        self.0 = &self.0[word.len()..];
        match word {
            b"" => Some(None),
            word => Priority::from_wire(std::str::from_utf8(word).ok()?).map(Some),
        }
    }

    fn headers(&mut self, block: &mut Vec<u8>) -> Option<Headers> {
        if self.skip(b"null").is_some() {
            return Some(Headers::new());
        }
        block.clear();
        self.skip(b"[")?;
        if self.skip(b"]").is_none() {
            loop {
                block.push(u8::try_from(self.number()?).ok()?);
                match self.0.split_first()? {
                    (b',', rest) => self.0 = rest,
                    (b']', rest) => {
                        self.0 = rest;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        Some(HeaderBlock::parse(block).headers)
    }
}

/// So many digits always fit.
const MAX_DIGITS: usize = 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;
    use crate::protocol::rows::general;
    use crate::protocol::subjects::Command;

    #[derive(Debug, Serialize)]
    struct Written {
        msg_id: u64,
        payload: String,
        priority: &'static str,
        header: Option<Vec<u8>>,
        create_time: u64,
    }

    type Plain = (u64, Vec<u8>, Option<Priority>, Headers, u64);

    fn plain(row: Row<'_>) -> Plain {
        (row.id.get(), row.payload.to_vec(), row.priority, row.headers, row.create_time)
    }

    fn ours(reply: &[u8]) -> Option<Vec<Plain>> {
        let mut rows = Vec::new();
        read(reply, |row| rows.push(plain(row)))?;
        Some(rows)
    }

    fn reference(reply: &[u8]) -> Option<Vec<Plain>> {
        let rows = general(Command::Create(None), reply).ok()?;
        rows.iter().map(|row| row.read(Command::Create(None)).ok().map(plain)).collect()
    }

    fn reply(rows: &[Written]) -> Vec<u8> {
        let rows = serde_json::to_string(rows).expect("JSON");
        format!(r#"{{"error":"","messages":{rows}}}"#).into_bytes()
    }

    prop_compose! {
        fn written()(
            msg_id in prop_oneof![0_u64..20, any::<u64>().prop_map(|id| id % 10_u64.pow(18))],
            payload in prop_oneof!["[ -~]{0,200}", "(\\PC|[\"\\\\\x00-\x1f]){0,20}"],
            priority in prop::sample::select(vec!["", "normal", "urgent", "critical"]),
            header in prop::option::of(prop_oneof![
                any::<Vec<u8>>(),
                "NATS/1.0\r\n([a-z-]{1,9}: [ -~]{0,9}\r\n){0,3}\r\n".prop_map(String::into_bytes),
            ]),
            create_time in 0_u64..2_000_000_000,
        ) -> Written {
            Written { msg_id, payload, priority, header, create_time }
        }
    }

    #[test]
    fn unusual_forms_are_left_to_the_general_parser() {
        let usual =
            reply(&[Written { msg_id: 7, payload: "x".into(), priority: "", header: None, create_time: 1 }]);
        let usual = String::from_utf8(usual).expect("text");
        assert!(ours(usual.as_bytes()).is_some());
        for (from, to) in [
            ("\"msg_id\":7", "\"msg_id\": 7"),
            ("\"msg_id\":7", "\"msg_id\":1234567890123456789"),
            ("\"header\":null,", ""),
            ("\"header\":null", "\"header\":[ 1]"),
            ("\"x\"", "\"\\ud83d\\ude00\""),
            ("{\"error\"", "{\"more\":1,\"error\""),
        ] {
            let unusual = usual.replace(from, to);
            assert_ne!(unusual, usual);
            assert_eq!(ours(unusual.as_bytes()), None, "{unusual}");
            assert!(reference(unusual.as_bytes()).is_some(), "{unusual}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn what_the_broker_writes_is_read_and_as_the_general_parser_does(
            rows in prop::collection::vec(written(), 0..4),
        ) {
            let reply = reply(&rows);
            prop_assert!(ours(&reply).is_some());
            prop_assert_eq!(ours(&reply), reference(&reply));
        }

        #[test]
        fn whatever_is_read_of_a_damaged_reply_the_general_parser_reads_the_same(
            rows in prop::collection::vec(written(), 1..3),
            damage in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>(), "[]\\[{}\",:0-9\\\\nu ]"), 1..3),
        ) {
            let mut reply = reply(&rows);
            for (place, kind, byte, sign) in damage {
                let at = place.index(reply.len());
                match kind {
                    0 => reply[at] = byte,
                    1 => reply[at] = sign.as_bytes()[0],
                    2 => reply.insert(at, sign.as_bytes()[0]),
                    _ => drop(reply.remove(at)),
                }
            }
            if let Some(rows) = ours(&reply) {
                prop_assert_eq!(Some(rows), reference(&reply));
            }
        }

        #[test]
        fn a_number_is_read_only_as_json_has_it(text in "0{0,2}[0-9]{0,20}[-+. e]?") {
            let row = br#"{"error":"","messages":[{"msg_id":"#;
            let rest = br#","payload":"","priority":"","header":null,"create_time":1}]}"#;
            let reply = [&row[..], text.as_bytes(), &rest[..]].concat();
            if let Some(rows) = ours(&reply) {
                prop_assert_eq!(Some(rows), reference(&reply));
            }
        }
    }
}
