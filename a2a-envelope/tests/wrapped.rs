//! The wrapped carriage: headers and the exact body in one JSON text.

mod support;

use a2a_envelope::{Dialect, Envelope, Error, Headers, Limits, names};
use bytes::Bytes;
use proptest::prelude::*;
use support::{fixture, json_text, seeded};

fn read(text: &str) -> Result<Envelope, String> {
    Envelope::from_wrapped(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
}

#[test]
fn the_written_form_is_the_documented_one() {
    let envelope = Envelope::new("{\"a\": 1.0}\n").with_method("SendMessage").unwrap();
    let text = envelope.to_wrapped(&Limits::default()).unwrap();
    assert_eq!(
        text,
        r#"{"a2aEnvelope":"1","headers":{"amb-envelope":"1","mq9-a2a-method":"SendMessage"},"body":"{\"a\": 1.0}\n"}"#
    );
    assert_eq!(Envelope::from_wrapped(&text, &Limits::default()), Ok(envelope));
}

#[test]
fn a_foreign_writers_form_is_read_with_its_service_parameters() {
    let envelope = read(fixture("wrapped.json")).unwrap();
    assert_eq!(
        envelope.body,
        "{\"jsonrpc\":\"2.0\", \"id\":\"0198-aa\",\n \"method\":\"SendMessage\",\"params\":{\"n\":1.0}}"
    );
    let pairs: Vec<_> = envelope.headers.iter().collect();
    assert_eq!(
        pairs,
        [
            ("amb-envelope", "1"),
            ("mq9-a2a-method", "SendMessage"),
            ("mq9-reply-to", "cb7f"),
            ("amb-correlation-id", "0198-aa"),
            ("a2a-version", "1.0"),
            ("a2a-extensions", "https://example.org/x, https://example.org/y"),
        ]
    );
}

#[test]
fn a_header_counts_before_a_service_parameter_and_only_a2a_names_count_there() {
    let envelope = read(
        r#"{"a2aEnvelope":"1","headers":{"A2A-Version":"1.0"},"body":"",
            "a2a-service-parameters":{"a2a-version":"0.3","mq9-reply-to":"elsewhere","a2":"x","é":"y"}}"#,
    )
    .unwrap();
    assert_eq!(envelope.a2a_version(), Some("1.0"));
    assert_eq!(envelope.headers.len(), 2);
}

#[test]
fn the_mark_is_set_on_what_came_wrapped() {
    let envelope = read(r#"{"body":"x","a2aEnvelope":"1"}"#).unwrap();
    assert_eq!(envelope.header(names::ENVELOPE), Some("1"));
    assert_eq!(Dialect::detect(&envelope.headers, &envelope.body), Dialect::Envelope);
}

#[test]
fn what_is_not_a_wrapped_envelope_is_refused_with_the_reason() {
    for (text, words) in [
        ("[]", "`$` is not an object"),
        ("{}", "`a2aEnvelope` is missing"),
        (r#"{"a2aEnvelope":1,"body":""}"#, "`a2aEnvelope` is not a string of Unicode text"),
        (r#"{"a2aEnvelope":"2","body":""}"#, "envelope format `2` is not known here (format 1 is)"),
        (r#"{"a2aEnvelope":"1"}"#, "`body` is missing"),
        (r#"{"a2aEnvelope":"1","body":{}}"#, "`body` is not a string of Unicode text"),
        (r#"{"a2aEnvelope":"1","body":"\ud800"}"#, "`body` is not a string of Unicode text"),
        (r#"{"a2aEnvelope":"1","body":"a","body":"b"}"#, "`body` is there more than once"),
        (r#"{"a2aEnvelope":"1","body":"a","headers":[]}"#, "`headers` is not an object"),
        (
            r#"{"a2aEnvelope":"1","body":"a","headers":{"x":1}}"#,
            "`headers.x` is not a string of Unicode text",
        ),
        (
            r#"{"a2aEnvelope":"1","body":"a","headers":{"x":"a\r\nb"}}"#,
            "header `x` has a CR, LF or NUL in its value",
        ),
        (r#"{"a2aEnvelope":"1","body":"a","headers":{"x y":"a"}}"#, "header `x y` has a name that is not"),
        (r#"{"a2aEnvelope":"1","body":"a","headers":{"\ud800":"a"}}"#, "`headers` is not a string"),
        (
            r#"{"a2aEnvelope":"1","body":"a","headers":{"amb-envelope":"9"}}"#,
            "envelope format `9` is not known here",
        ),
        (
            r#"{"a2aEnvelope":"1","body":"a","a2a-service-parameters":{"a2a-version":[1]}}"#,
            "`a2a-service-parameters.a2a-version` is not a string",
        ),
        (r#"{"a2aEnvelope":"1","body":"#, "not JSON at byte 26: expected a value"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(words), "{text}: {error}");
    }
}

#[test]
fn limits_hold_in_both_directions() {
    let limits = Limits::default().with_max_body(8).with_max_wrapped(68).with_max_headers(1);
    let over = |result: Result<_, Error>| match result {
        Err(error @ Error::Limit { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let write = |e: Envelope| e.to_wrapped(&limits).map(drop);
    assert_eq!(write(Envelope::new("12345678")), Ok(()));
    assert_eq!(over(write(Envelope::new("123456789"))), "max_body (bytes) is 8, found 9: 1 over");
    assert_eq!(over(write(Envelope::new("\"\"\"\"\"\"\"\""))), "max_wrapped (bytes) is 68, found 76: 8 over");
    let two = Envelope::new("").with_last(true).unwrap();
    assert_eq!(over(write(two)), "max_headers (count) is 1, found 2: 1 over");

    let take = |text: &str| Envelope::from_wrapped(text.as_bytes(), &limits).map(drop);
    assert_eq!(take(r#"{"a2aEnvelope":"1","body":"12345678"}"#), Ok(()));
    assert_eq!(
        over(take(r#"{"a2aEnvelope":"1","body":"123456789"}"#)),
        "max_body (bytes) is 8, found 9: 1 over"
    );
    assert_eq!(over(take(&" ".repeat(69))), "max_wrapped (bytes) is 68, found 69: 1 over");
    assert_eq!(
        over(take(r#"{"a2aEnvelope":"1","body":"","headers":{"x":""}}"#)),
        "max_headers (count) is 1, found 2: 1 over"
    );
    let deep = Limits::default().with_max_depth(2);
    let text = br#"{"a2aEnvelope":"1","body":"","x":[[[]]]}"#;
    assert_eq!(
        over(Envelope::from_wrapped(text, &deep).map(drop)),
        "max_depth (levels) is 2, found 4: 2 over"
    );
}

#[test]
fn a_body_that_is_no_text_cannot_be_wrapped() {
    let error = Envelope::new(vec![b'a', b'b', 0xfe]).to_wrapped(&Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "not UTF-8 from byte 2 on");
    let future = Envelope::new("").with_header(names::ENVELOPE, "2").unwrap();
    assert!(matches!(future.to_wrapped(&Limits::default()), Err(Error::UnknownFormat { .. })));
}

proptest! {
    #![proptest_config(seeded(512))]

    #[test]
    fn any_text_and_any_headers_come_back_exactly(
        body in prop_oneof![json_text(), "\\PC{0,200}", "[\u{0}-\u{20}\"\\\\/\u{7f}\u{2028}\u{10ffff}]{0,60}"],
        headers in prop::collection::vec(("[a-z][a-z0-9-]{0,12}", "([!-~é世]([ -~é世]{0,20}[!-~é世])?)?"), 0..6),
    ) {
        let mut envelope = Envelope::new(body.clone());
        for (name, value) in &headers {
            envelope.headers.set(name, value).unwrap();
        }
        let wrapped = envelope.to_wrapped(&Limits::default()).unwrap();
        let back = Envelope::from_wrapped(&wrapped, &Limits::default()).unwrap();
        prop_assert_eq!(&back.body, &Bytes::from(body));
        let pairs = |headers: &Headers| headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>();
        prop_assert_eq!(pairs(&back.headers), pairs(&envelope.headers));
        prop_assert_eq!(Dialect::detect(&Headers::new(), &wrapped), Dialect::Envelope);
    }
}
