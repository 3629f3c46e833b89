//! Bytes in, equal bytes out: through both carriages, through an answer, and there and back between versions.

mod support;

use a2a_envelope::{Answer, Dialect, Envelope, EventView, Headers, Limits, MessageKind, Received, names};
use proptest::prelude::*;
use support::{foreign_member, json_text, seeded, string_token};

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{0,40}", "[!-~][ -~äß世😀]{0,20}[!-~]"]
}

/// Headers of any kind but those a reader drops.
fn headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![
        3 => "x-[a-z]{1,8}",
        1 => prop::sample::select(vec![names::CORRELATION_ID, names::REPLY_TO, names::CONTEXT_ID, "a2a-x", "traceparent"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec((name, value()), 0..8).prop_map(|pairs| Headers::from_pairs(pairs).expect("legal"))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        json_text().prop_map(String::into_bytes),
        "\\PC{0,200}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

/// A task of 1.0 with members nobody knows at every level, its own members in a fixed order.
fn task() -> impl Strategy<Value = String> {
    let part =
        (string_token(), foreign_member()).prop_map(|(text, extra)| format!(r#"{{"text":{text},{extra}}}"#));
    let data = json_text().prop_filter("an object", |json| json.starts_with('{'));
    let part = prop_oneof![part, data.prop_map(|data| format!(r#"{{"data":{data}}}"#))];
    let parts = prop::collection::vec(part, 0..4).prop_map(|parts| parts.join(","));
    let states = prop::sample::select(vec!["SUBMITTED", "WORKING", "INPUT_REQUIRED", "COMPLETED", "PAUSED"]);
    (states, parts, foreign_member(), foreign_member(), foreign_member()).prop_map(|(state, parts, a, b, c)| {
        format!(
            r#"{{"task":{{"id":"t","status":{{"state":"TASK_STATE_{state}","message":{{"messageId":"m","role":"ROLE_AGENT","parts":[{parts}],{a}}}}},"artifacts":[{{"artifactId":"a","parts":[{parts}],{b}}}],{c}}}}}"#
        )
    })
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn what_comes_in_natively_is_handed_on_as_it_is(headers in headers(), body in body()) {
        let got = Received::read(headers.clone(), body.clone(), &Limits::default()).unwrap();
        prop_assert_eq!(got.envelope.body.as_ref(), body.as_slice());
        prop_assert_eq!(&got.envelope.headers, &headers);
        prop_assert_eq!(got.dialect, Dialect::detect(&headers, &body));
    }

    #[test]
    fn what_is_sent_wrapped_is_received_as_it_was_sent(headers in headers(), text in prop_oneof![json_text(), "\\PC{0,200}"]) {
        let mut sent = Envelope::from_parts(headers, text.clone());
        sent.headers.set(names::ENVELOPE, "1").unwrap();
        let wrapped = sent.to_wrapped(&Limits::default()).unwrap();
        let got = Received::read(Headers::new(), wrapped.clone(), &Limits::default()).unwrap();
        prop_assert_eq!(&got.envelope, &sent);
        // Nobody's JSON reader reads it otherwise.
        let parsed: serde_json::Value = serde_json::from_slice(&wrapped).unwrap();
        prop_assert_eq!(parsed["body"].as_str(), Some(text.as_str()));
    }

    #[test]
    fn bytes_of_a_handler_are_the_body_of_the_answer(bytes in body()) {
        for request in [
            r#"{"jsonrpc":"2.0","id":1,"method":"message/send","params":{}}"#,
            r#"{"message":{"role":"user","parts":[]}}"#,
            "opaque",
        ] {
            for headers in [Headers::new(), Envelope::new("").headers] {
                let got = Received::read(headers, request, &Limits::default()).unwrap();
                let answer = got.answering().write(&Answer::raw(bytes.clone())).unwrap().unwrap();
                prop_assert_eq!(answer.body.as_ref(), bytes.as_slice());
            }
        }
    }

    #[test]
    fn an_event_said_in_0_3_and_back_is_what_it_was(task in task()) {
        let ask = |method: &str| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
            Received::read(Headers::new(), body, &Limits::default()).unwrap().answering()
        };
        let result = |body: &[u8]| {
            let text = std::str::from_utf8(body).unwrap();
            let inner = text.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":"#).unwrap();
            inner.strip_suffix('}').unwrap().to_owned()
        };
        let old = result(&ask("message/stream").write(&Answer::item(task.clone())).unwrap().unwrap().body);
        prop_assert!(old.starts_with(r#"{"kind":"task""#), "{}", old);
        let back = result(&ask("SendStreamingMessage").write(&Answer::item(old)).unwrap().unwrap().body);
        // White space between known members is not a message's content.
        prop_assert_eq!(tight(&back), tight(&task));
        prop_assert_eq!(EventView::read(back.as_bytes()).map(|event| event.text()), EventView::read(task.as_bytes()).map(|event| event.text()));
    }

    #[test]
    fn a_request_never_brings_what_only_servers_say(headers in headers(), body in body()) {
        let mut hostile = headers;
        for (name, value) in [(names::METHOD, "GetTask"), (names::SEQ, "1"), (names::TASK_INBOX, "b"), ("amb-local-x", "y")] {
            hostile.set(name, value).unwrap();
        }
        let got = Received::read(hostile, body, &Limits::default()).unwrap();
        prop_assert_eq!(got.kind, MessageKind::Request);
        for name in [names::SEQ, names::TASK_INBOX, "amb-local-x"] {
            prop_assert!(!got.envelope.headers.contains(name), "{}", name);
        }
    }
}

/// A text without the white space between its tokens.
fn tight(json: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in json.chars() {
        if inside || !c.is_ascii_whitespace() {
            out.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            _ => {}
        }
    }
    out
}
