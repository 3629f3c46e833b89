//! Which dialect a message is in, told in a fixed order.

mod support;

use a2a_envelope::{Dialect, Error, Headers, Limits};
use support::fixture;

fn detect(headers: &[(&str, &str)], body: &str) -> Dialect {
    Dialect::detect(&Headers::from_pairs(headers.iter().copied()).unwrap(), body.as_bytes())
}

#[test]
fn every_documented_shape_is_told() {
    for (name, dialect) in [
        ("wrapped.json", Dialect::Envelope),
        ("hermes_call.json", Dialect::Hermes),
        ("hermes_reply.json", Dialect::Hermes),
        ("v0_1_tasks_send.json", Dialect::JsonRpcLegacy),
        ("v0_2_message_send.json", Dialect::JsonRpcLegacy),
        ("v0_3_message_stream.json", Dialect::JsonRpcLegacy),
        ("v0_3_result.json", Dialect::JsonRpcLegacy),
        ("v1_send_message.json", Dialect::JsonRpc),
        ("v1_stream_request.json", Dialect::JsonRpc),
        ("v1_stream_reply.json", Dialect::JsonRpc),
        ("v1_error.json", Dialect::JsonRpc),
        ("seed_call.json", Dialect::BareA2a),
        ("facade_request.json", Dialect::BareA2a),
        ("bare_message.json", Dialect::BareA2a),
        ("facade_event.json", Dialect::Opaque),
        ("opaque.txt", Dialect::Opaque),
    ] {
        assert_eq!(detect(&[], fixture(name)), dialect, "{name}");
    }
}

#[test]
fn the_first_match_wins_down_the_whole_order() {
    // One body that fits every rule loses its first-ranking feature step by step.
    let rest = r#""message":{},"role":"user","parts":[]"#;
    let rpc = format!(r#""jsonrpc":"2.0","method":"SendMessage",{rest}"#);
    let hermes = format!(r#""type":"mq9_call",{rpc}"#);
    let facade = [("mq9-reply-to", "cb")];
    let marked = [("mq9-reply-to", "cb"), ("amb-envelope", "1")];
    assert_eq!(detect(&marked, &format!("{{{hermes}}}")), Dialect::Envelope);
    assert_eq!(detect(&facade, &format!(r#"{{"a2aEnvelope":"1",{hermes}}}"#)), Dialect::Envelope);
    assert_eq!(detect(&facade, &format!("{{{hermes}}}")), Dialect::Hermes);
    assert_eq!(detect(&facade, &format!("{{{rpc}}}")), Dialect::JsonRpc);
    assert_eq!(detect(&facade, &format!("{{{rest}}}")), Dialect::Facade);
    assert_eq!(detect(&[], &format!("{{{rest}}}")), Dialect::BareA2a);
    assert_eq!(detect(&[], "{}"), Dialect::Opaque);
}

#[test]
fn the_mark_alone_decides_whatever_the_body_is() {
    for body in ["", "\u{0}", "{", "{}", fixture("hermes_call.json")] {
        assert_eq!(detect(&[("Amb-Envelope", "1")], body), Dialect::Envelope, "{body}");
    }
}

#[test]
fn the_version_header_decides_before_the_method() {
    let slash = r#"{"jsonrpc":"2.0","method":"message/send"}"#;
    let pascal = r#"{"jsonrpc":"2.0","method":"SendMessage"}"#;
    for (version, dialect) in [
        ("1.0", Dialect::JsonRpc),
        ("1", Dialect::JsonRpc),
        ("2.3", Dialect::JsonRpc),
        ("0.3", Dialect::JsonRpcLegacy),
        ("0.1", Dialect::JsonRpcLegacy),
        ("", Dialect::JsonRpcLegacy),
    ] {
        for body in [slash, pascal] {
            assert_eq!(detect(&[("a2a-version", version)], body), dialect, "{version:?} {body}");
        }
    }
    assert_eq!(detect(&[("a2a-version", "latest")], slash), Dialect::JsonRpcLegacy);
    assert_eq!(detect(&[("a2a-version", "latest")], pascal), Dialect::JsonRpc);
}

#[test]
fn a_response_shows_its_version_by_the_marks_of_old_objects() {
    for (result, dialect) in [
        (r#"{"kind":"task","id":"t"}"#, Dialect::JsonRpcLegacy),
        (r#"{"id":"t","final":false}"#, Dialect::JsonRpcLegacy),
        (r#"{"id":"t","sessionId":"s"}"#, Dialect::JsonRpcLegacy),
        (r#"{"id":"t","status":{"state":"TASK_STATE_WORKING"}}"#, Dialect::JsonRpc),
        ("null", Dialect::JsonRpc),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert_eq!(detect(&[], &body), dialect, "{body}");
        assert_eq!(detect(&[("a2a-version", "1.0")], &body), Dialect::JsonRpc, "{body}");
    }
}

#[test]
fn facade_headers_are_told_whatever_the_body() {
    for name in ["mq9-reply-to", "mq9-a2a-method", "mq9-a2a-type", "MQ9-A2A-Last"] {
        for body in ["{}", "", "plain", fixture("facade_event.json"), "[1]"] {
            assert_eq!(detect(&[(name, "x")], body), Dialect::Facade, "{name} {body}");
        }
    }
    assert_eq!(detect(&[("mq9-priority", "critical")], "{}"), Dialect::Opaque);
}

#[test]
fn near_misses_stay_opaque() {
    for body in [
        r#"{"jsonrpc":"1.0","method":"SendMessage"}"#,
        r#"{"jsonrpc":2.0}"#,
        r#"{"type":"mq9_other"}"#,
        r#"{"type":["mq9_call"]}"#,
        r#"{"message":"just text"}"#,
        r#"{"role":"user"}"#,
        r#"{"parts":[]}"#,
        r#"[{"jsonrpc":"2.0"}]"#,
        r#""jsonrpc""#,
        r#"{"jsonrpc":"2.0""#,
    ] {
        assert_eq!(detect(&[], body), Dialect::Opaque, "{body}");
    }
}

#[test]
fn spellings_of_a_key_make_no_difference() {
    assert_eq!(
        detect(&[], r#"{"\u006asonrpc":"2\u002e0","method":"message\/send"}"#),
        Dialect::JsonRpcLegacy
    );
}

#[test]
fn a_body_beyond_the_limits_is_told_by_headers_or_reported() {
    let limits = Limits::default().with_max_depth(3);
    let body = br#"{"jsonrpc":"2.0","x":[[[1]]]}"#;
    let none = Headers::new();
    let error = Dialect::detect_within(&none, body, &limits).unwrap_err();
    assert_eq!(error.to_string(), "max_depth (levels) is 3, found 4: 1 over");
    assert!(matches!(
        Dialect::detect_within(&none, body, &Limits::default().with_max_body(10)),
        Err(Error::Limit { allowed: 10, found: 29, .. })
    ));
    let marked = Headers::from_pairs([("amb-envelope", "1")]).unwrap();
    assert_eq!(Dialect::detect_within(&marked, body, &limits), Ok(Dialect::Envelope));
    assert_eq!(Dialect::detect_within(&none, b"\xff", &limits), Ok(Dialect::Opaque));

    let deep = format!(r#"{{"jsonrpc":"2.0","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(Dialect::detect(&none, deep.as_bytes()), Dialect::Opaque);
    assert_eq!(detect(&[("mq9-reply-to", "cb")], &deep), Dialect::Facade);
}
