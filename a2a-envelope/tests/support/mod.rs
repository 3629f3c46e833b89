//! What several test files share: fixtures, and JSON text no well-behaved writer would produce.
#![allow(dead_code)]

use a2a_envelope::{Headers, Limits, Received};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Every fixture that is a body alone, by file name.
pub(crate) const FIXTURES: &[(&str, &str)] = &[
    ("seed_call.json", include_str!("../fixtures/seed_call.json")),
    ("v0_1_tasks_send.json", include_str!("../fixtures/v0_1_tasks_send.json")),
    ("v0_2_message_send.json", include_str!("../fixtures/v0_2_message_send.json")),
    ("v0_3_message_stream.json", include_str!("../fixtures/v0_3_message_stream.json")),
    ("v0_3_result.json", include_str!("../fixtures/v0_3_result.json")),
    ("v1_send_message.json", include_str!("../fixtures/v1_send_message.json")),
    ("v1_stream_request.json", include_str!("../fixtures/v1_stream_request.json")),
    ("v1_stream_reply.json", include_str!("../fixtures/v1_stream_reply.json")),
    ("v1_error.json", include_str!("../fixtures/v1_error.json")),
    ("hermes_call.json", include_str!("../fixtures/hermes_call.json")),
    ("hermes_reply.json", include_str!("../fixtures/hermes_reply.json")),
    ("facade_request.json", include_str!("../fixtures/facade_request.json")),
    ("facade_event.json", include_str!("../fixtures/facade_event.json")),
    ("bare_message.json", include_str!("../fixtures/bare_message.json")),
    ("wrapped.json", include_str!("../fixtures/wrapped.json")),
    ("opaque.txt", include_str!("../fixtures/opaque.txt")),
    ("card_v1.json", include_str!("../fixtures/card_v1.json")),
    ("card_v0_3.json", include_str!("../fixtures/card_v0_3.json")),
    ("card_hermes.json", include_str!("../fixtures/card_hermes.json")),
    ("card_signed.json", include_str!("../fixtures/card_signed.json")),
    ("card_built.json", include_str!("../fixtures/card_built.json")),
];

/// Messages with headers beside the body: lines of them, an empty line, the body.
pub(crate) const MESSAGES: &[(&str, &str)] = &[
    ("native_request.msg", include_str!("../fixtures/native_request.msg")),
    ("native_reply.msg", include_str!("../fixtures/native_reply.msg")),
    ("native_ack.msg", include_str!("../fixtures/native_ack.msg")),
    ("native_end.msg", include_str!("../fixtures/native_end.msg")),
    ("facade_send.msg", include_str!("../fixtures/facade_send.msg")),
    ("facade_get.msg", include_str!("../fixtures/facade_get.msg")),
    ("facade_java.msg", include_str!("../fixtures/facade_java.msg")),
    ("facade_last.msg", include_str!("../fixtures/facade_last.msg")),
];

/// A fixture's text.
pub(crate) fn fixture(name: &str) -> &'static str {
    FIXTURES
        .iter()
        .chain(MESSAGES)
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no fixture {name}"))
        .1
}

/// The headers and the body of one of [`MESSAGES`].
pub(crate) fn message(name: &str) -> (Headers, &'static str) {
    let (block, body) = fixture(name).split_once("\n\n").expect("an empty line");
    let pairs = block.lines().map(|line| line.split_once(": ").expect("a header"));
    (Headers::from_pairs(pairs).expect("legal headers"), body)
}

/// A fixture as a transport received it: with its headers, if it has any.
pub(crate) fn received(name: &str) -> Received {
    let (headers, body) =
        if name.ends_with(".msg") { message(name) } else { (Headers::new(), fixture(name)) };
    Received::read(headers, body, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The same cases on every run.
pub(crate) fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x0A2A),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// White space as some pretty-printer might leave it.
pub(crate) fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,4}"]
}

/// A JSON string token, quotes included, with plain text, escapes and lone surrogates.
pub(crate) fn string_token() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 ,:{}\\[\\]/-]{0,6}",
        1 => "[äß世😀\u{7f}\u{2028}]{1,3}",
        1 => prop::sample::select(vec![
            "\\\"", "\\\\", "\\/", "\\n", "\\u0041", "\\u00e9", "\\uD83D\\uDE00", "\\ud800", "\\u0000",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A number token, most of which no 64-bit type keeps.
pub(crate) fn number_token() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "0",
            "-0",
            "1.0",
            "1.50",
            "1e400",
            "-1E-400",
            "1e+2",
            "0.1000",
            "12345678901234567890123",
        ])
        .prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ]
}

/// Any JSON value as text: odd numbers, odd spacing, repeated keys, keys of every spelling.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string_token(),
        number_token(),
        prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, v, b)| format!("{a}{v}{b}"));
        let array = (space(), prop::collection::vec(element, 0..4)).prop_map(|(gap, elements)| {
            if elements.is_empty() { format!("[{gap}]") } else { format!("[{}]", elements.join(",")) }
        });
        let object = (space(), prop::collection::vec(member(inner), 0..4)).prop_map(|(gap, members)| {
            if members.is_empty() { format!("{{{gap}}}") } else { format!("{{{}}}", members.join(",")) }
        });
        prop_oneof![array, object]
    })
}

/// A member whose name is none that this crate looks for.
pub(crate) fn foreign_member() -> impl Strategy<Value = String> {
    (space(), "[a-z]{1,3}[0-9]", space(), space(), json_text(), space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}\"{key}\"{b}:{c}{value}{d}"))
}

fn member(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (space(), string_token(), space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"))
}
