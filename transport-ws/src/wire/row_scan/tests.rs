//! What is read here is what the general reader reads.

use proptest::prelude::*;

use super::super::row_reader::members;
use super::*;

/// A row as it is pushed.
const PUSHED: &str = r#"{"id":"msg_1","conversation_id":"conv_1","client_msg_id":"d2a7","seq":31,"type":"text","content":{"text":"off 3"},"metadata":{},"created_at":"2026-08-11T08:02:31.900Z","sender":"tally-ho","context":{"sender":{"handle":"tally-ho","kind":null},"mentions":["a\nb",[],{},1,true]},"priority":{"level":[1,2]}}"#;

/// Reads `text` here and in general: whether it was read here.
fn compare(text: &str) -> bool {
    let Some(mut here) = scan(text, text) else { return false };
    let plain = std::mem::take(&mut here.plain);
    let general = members(text, text).unwrap_or_else(|why| panic!("{text}: {why}"));
    assert_eq!(here, general, "{text}");
    if !plain.is_empty() {
        let raw = text.into();
        let content: serde_json::Value = serde_json::from_str(general.content.text(&raw)).expect("JSON");
        assert_eq!(content, serde_json::json!({ "text": plain.text(&raw) }), "{text}");
    }
    true
}

#[test]
fn a_row_as_servers_write_it_is_read_here() {
    assert!(compare(PUSHED));
    let row = scan(PUSHED, PUSHED).expect("a row");
    assert!(!row.plain.is_empty(), "its text is at hand");
    for (text, here) in [
        (r#"{"id":"a","seq":0,"content":{"text":"a\"b"},"from":"b"}"#, true),
        (r#"{"id":null,"seq":1,"sender":[],"sender_handle":"h","x":"\\"}"#, true),
        (r#"{"id":"a","id":"é","content":{"text":"1"},"content":{"text":"2","more":3}}"#, true),
        (r#"{"id":"a","":false}"#, true),
        ("{}", false),
        (r#"{"id":"a"} "#, false),
        (r#"{"id": "a"}"#, false),
        (r#"{"id":"a",}"#, false),
        (r#"{"id":"a"}}"#, false),
        (r#"{"id":"a""#, false),
        (r#"{"i\u0064":"a"}"#, false),
        (r#"{"id":"a\n"}"#, false),
        (r#"{"content":{"text":"\u0000"}}"#, false),
        (r#"{"content":{"text":"\x"}}"#, false),
        (r#"{"content":{"text":01}}"#, false),
        (r#"{"content":nul}"#, false),
        (r#"{"content":[1,]}"#, false),
        (r#"{"content":{"text":}}"#, false),
        ("{\"content\":{\"text\":\"a\tb\"}}", false),
        (r#"{"seq":"1"}"#, false),
        (r#"{"seq":01}"#, false),
        (r#"{"seq":1.0}"#, false),
        (r#"{"seq":18446744073709551616}"#, false),
        (r#"["id","a"]"#, false),
        ("", false),
    ] {
        assert_eq!(compare(text), here, "{text}");
    }
}

#[test]
fn every_byte_that_ends_a_text_is_found_wherever_it_stands() {
    for length in 0..40 {
        for place in 0..length {
            for byte in 0..=255_u8 {
                let mut bytes = vec![b'x'; length];
                bytes[place] = byte;
                let ends = matches!(byte, b'"' | b'\\' | 0..0x20);
                assert_eq!(plain(&bytes, 0), if ends { place } else { length }, "{byte} at {place}");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_changed_it_is_read_like_the_general_reader_does(
        at in 0..PUSHED.len(), with in prop::sample::select(b"\"\\{}[],:0n e\x01u".to_vec()), cut in 0..3_usize,
    ) {
        let mut bytes = PUSHED.as_bytes().to_vec();
        bytes.splice(at..(at + cut).min(PUSHED.len()), [with]);
        compare(std::str::from_utf8(&bytes).expect("ASCII"));
    }

    #[test]
    fn any_value_of_any_member_is_read_like_the_general_reader_does(
        name in prop::sample::select(vec!["id", "seq", "content", "sender", "from", "metadata", "x", "é"]),
        value in "(\"([a-z é\\\\\"]|\\\\[nu0\"])*\"|[\\[{]*[0-9ntfe.\\-\",:]{0,6}[\\]}]*|null|true|[0-9]{1,21})",
    ) {
        compare(&format!(r#"{{"type":"text","{name}":{value},"status":"stored"}}"#));
    }
}
