//! Every dialect as it comes in: what is told about it, and that its bytes stay.

mod support;

use a2a_envelope::{
    A2aVersion, AnswerSource, CallbackField, Carriage, Dialect, Envelope, Error, Headers, LimitKind, Limits,
    MessageKind, Operation, Received, TaskState, names,
};
use support::{fixture, message, received};

type Row = (&'static str, Dialect, MessageKind, Option<A2aVersion>, Option<Operation>, Option<&'static str>);

#[test]
fn every_dialect_is_told_once_and_for_all() {
    use A2aVersion::{V0_1, V0_3, V1};
    use Dialect::{BareA2a, Envelope, Facade, Hermes, JsonRpc, JsonRpcLegacy, Opaque};
    use MessageKind::{Reply, Request, Unknown};
    use Operation::{GetTask, SendMessage, SendStreamingMessage};
    let rows: [Row; 20] = [
        ("native_request.msg", Envelope, Request, Some(V1), Some(SendStreamingMessage), Some("0198-aa")),
        ("native_reply.msg", Envelope, Reply, None, None, Some("0198-aa")),
        ("native_ack.msg", Envelope, Reply, None, None, Some("0198-aa")),
        ("native_end.msg", Envelope, Reply, None, None, Some("0198-aa")),
        ("wrapped.json", Envelope, Request, Some(V1), Some(SendMessage), Some("0198-aa")),
        ("facade_send.msg", Facade, Request, Some(V1), Some(SendMessage), None),
        ("facade_get.msg", Facade, Request, Some(V1), Some(GetTask), None),
        ("facade_last.msg", Facade, Reply, Some(V1), None, None),
        ("facade_java.msg", JsonRpcLegacy, Request, Some(V0_3), Some(SendMessage), Some("j-1")),
        ("hermes_call.json", Hermes, Request, None, None, Some("5d41402abc4b2a76b9719d911017c592")),
        ("hermes_reply.json", Hermes, Reply, None, None, Some("5d41402abc4b2a76b9719d911017c592")),
        ("v0_1_tasks_send.json", JsonRpcLegacy, Request, Some(V0_1), Some(SendMessage), Some("1")),
        ("v0_2_message_send.json", JsonRpcLegacy, Request, Some(V0_3), Some(SendMessage), Some("req-02")),
        (
            "v0_3_message_stream.json",
            JsonRpcLegacy,
            Request,
            Some(V0_3),
            Some(SendStreamingMessage),
            Some("req-03"),
        ),
        ("v0_3_result.json", JsonRpcLegacy, Reply, Some(V0_3), None, Some("req-03")),
        ("v1_send_message.json", JsonRpc, Request, Some(V1), Some(SendMessage), Some("0198-aa")),
        ("v1_error.json", JsonRpc, Reply, Some(V1), None, Some("0198-ab")),
        ("bare_message.json", BareA2a, Request, Some(V1), None, None),
        ("seed_call.json", BareA2a, Request, Some(V0_3), None, None),
        ("opaque.txt", Opaque, Unknown, None, None, None),
    ];
    for (name, dialect, kind, version, operation, correlation) in rows {
        let got = received(name);
        let id = got.correlation.as_ref().map(|found| found.id.as_str());
        assert_eq!(
            (got.dialect, got.kind, got.version, got.operation(), id),
            (dialect, kind, version, operation, correlation),
            "{name}"
        );
        let wrapped = name == "wrapped.json";
        assert_eq!(got.carriage == Carriage::Wrapped, wrapped, "{name}");
        if !wrapped {
            let body = if name.ends_with(".msg") { message(name).1 } else { fixture(name) };
            assert_eq!(got.envelope.body, body, "{name}: the bytes are the author's");
        }
        assert_eq!(got.check(&Limits::default()), Ok(()), "{name}");
    }
}

#[test]
fn the_answer_address_is_found_in_every_dialect_and_a_reply_has_none() {
    for (name, address, source) in [
        ("native_request.msg", "cb7f", AnswerSource::Header),
        ("wrapped.json", "cb7f", AnswerSource::Header),
        ("facade_get.msg", "demo.client", AnswerSource::Header),
        ("hermes_call.json", "cb.hermes", AnswerSource::Hermes),
        ("seed_call.json", "mq9://broker/cb.one", AnswerSource::Callback(CallbackField::PushNotification)),
        (
            "v0_1_tasks_send.json",
            "mq9://broker/cb.v01",
            AnswerSource::Callback(CallbackField::ParamsPushNotification),
        ),
    ] {
        let found = received(name).answer.unwrap();
        assert_eq!((found.address.as_str(), found.source), (address, source), "{name}");
    }
    let reply =
        Headers::from_pairs([(names::TYPE, "Response"), (names::REPLY_TO, "trap"), (names::ENVELOPE, "1")]);
    assert_eq!(Received::read(reply.unwrap(), "", &Limits::default()).unwrap().answer, None);
}

#[test]
fn where_headers_suffice_the_body_is_not_looked_at() {
    let (headers, _) = message("native_request.msg");
    // Nested beyond every limit: whoever looked would say so.
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let got = Received::read(headers.clone(), deep.clone(), &Limits::default()).unwrap();
    assert_eq!((got.kind, got.operation()), (MessageKind::Request, Some(Operation::SendStreamingMessage)));
    let mut open = headers;
    open.remove(names::REPLY_TO);
    let looked = Received::read(open, deep, &Limits::default());
    assert!(matches!(looked, Err(Error::Limit { limit: LimitKind::Depth, .. })));
}

#[test]
fn our_envelope_finds_in_the_body_what_its_headers_leave_open() {
    let headers = Headers::from_pairs([(names::ENVELOPE, "1")]).unwrap();
    let got = Received::read(headers, fixture("v1_send_message.json"), &Limits::default()).unwrap();
    assert_eq!((got.dialect, got.kind), (Dialect::Envelope, MessageKind::Request));
    assert_eq!((got.method.as_deref(), got.version), (Some("SendMessage"), Some(A2aVersion::V1)));
    assert_eq!(got.correlation.unwrap().id, "0198-aa");
    assert_eq!(got.answer.unwrap().address, "mq9://broker.internal:4222/cb.v1");
}

#[test]
fn headers_that_only_a_server_sets_are_dropped_from_a_request() {
    let (mut headers, body) = message("native_request.msg");
    for (name, value) in [
        (names::TYPE, "Response"),
        (names::SEQ, "9"),
        (names::GENERATION, "9"),
        (names::LAST, "true"),
        (names::TASK_INBOX, "evil"),
        ("amb-local-sender", "admin"),
    ] {
        headers.set(name, value).unwrap();
    }
    let got = Received::read(headers, body, &Limits::default()).unwrap();
    assert_eq!(got.kind, MessageKind::Request);
    assert_eq!(got.envelope.headers, message("native_request.msg").0);
}

#[test]
fn nobody_can_pretend_to_be_the_own_server_in_any_carriage() {
    let wrapped = r#"{"a2aEnvelope":"1","headers":{"mq9-a2a-type":"Response","amb-seq":"1","AMB-Local-Sender":"admin"},"body":""}"#;
    let got = Received::read(Headers::new(), wrapped, &Limits::default()).unwrap();
    assert!(!got.envelope.headers.contains("amb-local-sender"));
    assert_eq!((got.kind, got.envelope.seq()), (MessageKind::Reply, Ok(Some(1))));
    let opaque = Headers::from_pairs([("amb-local-sender", "admin"), ("x", "1")]).unwrap();
    let got = Received::read(opaque, "t=21", &Limits::default()).unwrap();
    assert_eq!(got.envelope.headers.iter().collect::<Vec<_>>(), [("x", "1")]);
}

#[test]
fn a_method_a_version_and_a_state_nobody_knows_reach_the_handler_untouched() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"PauseTask","params":{"id":"t","why":1.0}}"#;
    let headers = Headers::from_pairs([("a2a-version", "7.3")]).unwrap();
    let got = Received::read(headers, body, &Limits::default()).unwrap();
    assert_eq!((got.method.as_deref(), got.operation(), got.version), (Some("PauseTask"), None, None));
    assert_eq!(got.envelope.a2a_version(), Some("7.3"));
    assert_eq!((got.envelope.body.as_ref(), got.check(&Limits::default())), (body.as_bytes(), Ok(())));
    assert_eq!(got.request().unwrap().raw, r#"{"id":"t","why":1.0}"#);
}

#[test]
fn a_header_that_names_another_operation_than_the_body_is_refused_before_it_runs() {
    let (mut headers, body) = message("native_request.msg");
    headers.set(names::METHOD, "GetTask").unwrap();
    let got = Received::read(headers, body, &Limits::default()).unwrap();
    assert!(matches!(got.check(&Limits::default()), Err(Error::MethodMismatch { .. })));
}

#[test]
fn replies_say_what_they_hold_and_whether_they_are_the_last() {
    for (name, text, state, last) in [
        ("native_reply.msg", "", Some(TaskState::Working), false),
        ("native_ack.msg", "", None, false),
        ("native_end.msg", "", None, true),
        ("facade_last.msg", "", Some(TaskState::Completed), true),
        ("hermes_reply.json", "use axum", None, true),
        ("v0_3_result.json", "", Some(TaskState::Completed), true),
        ("v1_stream_reply.json", "", Some(TaskState::Working), false),
        ("v1_error.json", "", None, true),
    ] {
        let got = received(name);
        let found = got.event().and_then(|event| event.state());
        assert_eq!((got.text().as_str(), found, got.is_last()), (text, state, last), "{name}");
    }
    let error = received("v1_error.json");
    assert_eq!(error.error().unwrap().code, -32001);
}

#[test]
fn an_empty_a2a_version_is_0_3() {
    let headers = Headers::from_pairs([("a2a-version", "")]).unwrap();
    let got = Received::read(headers, fixture("v1_send_message.json"), &Limits::default()).unwrap();
    assert_eq!((got.dialect, got.version), (Dialect::JsonRpcLegacy, Some(A2aVersion::V0_3)));
}

#[test]
fn a_wrapped_body_may_be_larger_than_a_plain_one() {
    let limits = Limits::default().with_max_body(1_000).with_max_wrapped(4_000);
    let envelope = Envelope::new("\"".repeat(1_000));
    let wrapped = envelope.to_wrapped(&limits).unwrap();
    assert!(wrapped.len() > 2_000);
    let got = Received::read(Headers::new(), wrapped.clone(), &limits).unwrap();
    assert_eq!((got.envelope, got.carriage), (envelope, Carriage::Wrapped));
    assert_eq!(Dialect::detect_within(&Headers::new(), &wrapped, &limits), Ok(Dialect::Envelope));
    let plain = format!("[\"{}\"]", "x".repeat(2_000));
    for body in [plain, "x".repeat(2_000)] {
        let refused = Received::read(Headers::new(), body, &limits);
        assert!(matches!(refused, Err(Error::Limit { limit: LimitKind::Body, .. })));
    }
}

#[test]
fn debug_prints_neither_body_nor_address() {
    for name in ["native_request.msg", "hermes_call.json", "seed_call.json"] {
        let got = received(name);
        let printed = format!("{got:?} {:?}", got.answering());
        assert!(
            !printed.contains("cb") && !printed.contains("order") && !printed.contains("Rust"),
            "{printed}"
        );
    }
}
