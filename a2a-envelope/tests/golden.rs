//! Every documented shape, read in full: one row per fixture.

mod support;

use a2a_envelope::{
    AnswerSource, CallbackField, CorrelationId, CorrelationSource, Dialect, Envelope, Headers, Limits,
    ReplyType, answer_address, correlation_of, names,
};
use support::fixture;

/// What all readers together make of a body without headers.
#[derive(Debug, PartialEq)]
struct Reading<'a> {
    dialect: Dialect,
    method: Option<&'a str>,
    correlation: Option<(&'a str, CorrelationSource)>,
    answer: Option<(&'a str, AnswerSource)>,
}

const NOTHING: Reading<'static> =
    Reading { dialect: Dialect::Opaque, method: None, correlation: None, answer: None };

fn assert_reads(headers: &[(&str, &str)], body: &str, want: &Reading<'_>, name: &str) {
    let headers = Headers::from_pairs(headers.iter().copied()).unwrap();
    let dialect = Dialect::detect(&headers, body.as_bytes());
    let correlation = correlation_of(&headers, body.as_bytes());
    let answer = answer_address(&headers, body.as_bytes());
    let method = Envelope::from_parts(headers, body.to_owned()).request_method(&Limits::default()).unwrap();
    let got = Reading {
        dialect,
        method: method.as_deref(),
        correlation: correlation.as_ref().map(|found| (found.id.as_str(), found.source)),
        answer: answer.as_ref().map(|found| (found.address.as_str(), found.source)),
    };
    assert_eq!(got, *want, "{name}");
}

#[test]
fn requests_of_every_version_are_read_from_the_body_alone() {
    use CallbackField as Field;
    let rpc = CorrelationSource::JsonRpcId;
    for (name, want) in [
        (
            "v0_1_tasks_send.json",
            Reading {
                dialect: Dialect::JsonRpcLegacy,
                method: Some("tasks/send"),
                correlation: Some(("1", rpc)),
                answer: Some(("mq9://broker/cb.v01", AnswerSource::Callback(Field::ParamsPushNotification))),
            },
        ),
        (
            "v0_2_message_send.json",
            Reading {
                dialect: Dialect::JsonRpcLegacy,
                method: Some("message/send"),
                correlation: Some(("req-02", rpc)),
                answer: Some(("mq9://broker/cb.v02", AnswerSource::Callback(Field::PushNotificationConfig))),
            },
        ),
        (
            "v0_3_message_stream.json",
            Reading {
                dialect: Dialect::JsonRpcLegacy,
                method: Some("message/stream"),
                correlation: Some(("req-03", rpc)),
                answer: None,
            },
        ),
        (
            "v1_send_message.json",
            Reading {
                dialect: Dialect::JsonRpc,
                method: Some("SendMessage"),
                correlation: Some(("0198-aa", rpc)),
                answer: Some((
                    "mq9://broker.internal:4222/cb.v1",
                    AnswerSource::Callback(Field::TaskPushNotificationConfig),
                )),
            },
        ),
        (
            "v1_stream_request.json",
            Reading {
                dialect: Dialect::JsonRpc,
                method: Some("SendStreamingMessage"),
                correlation: Some(("0198-ab", rpc)),
                answer: None,
            },
        ),
        (
            "seed_call.json",
            Reading {
                dialect: Dialect::BareA2a,
                answer: Some(("mq9://broker/cb.one", AnswerSource::Callback(Field::PushNotification))),
                ..NOTHING
            },
        ),
        (
            "hermes_call.json",
            Reading {
                dialect: Dialect::Hermes,
                method: None,
                correlation: Some(("5d41402abc4b2a76b9719d911017c592", CorrelationSource::Hermes)),
                answer: Some(("cb.hermes", AnswerSource::Hermes)),
            },
        ),
        ("facade_request.json", Reading { dialect: Dialect::BareA2a, ..NOTHING }),
        ("bare_message.json", Reading { dialect: Dialect::BareA2a, ..NOTHING }),
        ("opaque.txt", NOTHING),
    ] {
        assert_reads(&[], fixture(name), &want, name);
    }
}

#[test]
fn replies_are_read_from_the_body_alone() {
    let rpc = CorrelationSource::JsonRpcId;
    for (name, dialect, id) in [
        ("v0_3_result.json", Dialect::JsonRpcLegacy, ("req-03", rpc)),
        ("v1_stream_reply.json", Dialect::JsonRpc, ("0198-ab", rpc)),
        ("v1_error.json", Dialect::JsonRpc, ("0198-ab", rpc)),
        (
            "hermes_reply.json",
            Dialect::Hermes,
            ("5d41402abc4b2a76b9719d911017c592", CorrelationSource::Hermes),
        ),
    ] {
        assert_reads(&[], fixture(name), &Reading { dialect, correlation: Some(id), ..NOTHING }, name);
    }
}

#[test]
fn the_facade_is_read_by_its_headers() {
    let request = [("mq9-a2a-method", "GetTask"), ("mq9-reply-to", "demo.client")];
    let want = Reading {
        dialect: Dialect::Facade,
        method: Some("GetTask"),
        correlation: None,
        answer: Some(("demo.client", AnswerSource::Header)),
    };
    assert_reads(&request, r#"{"id":"t-7"}"#, &want, "facade GetTask");
    // It leaves the method out of plain sends.
    let send = Reading { method: None, ..want };
    assert_reads(&request[1..], fixture("facade_request.json"), &send, "facade send");
    let event =
        [("mq9-a2a-type", "TaskStatusUpdateEvent"), ("mq9-a2a-task-id", "t-7"), ("mq9-a2a-last", "true")];
    let want = Reading { dialect: Dialect::Facade, ..NOTHING };
    assert_reads(&event, fixture("facade_event.json"), &want, "facade event");
    let event = Envelope::from_parts(Headers::from_pairs(event).unwrap(), fixture("facade_event.json"));
    assert!(event.is_last());
    assert_eq!((event.reply_type(), event.task_id()), (None, Some("t-7")));
    assert_eq!(event.header(names::TYPE), Some("TaskStatusUpdateEvent"));
}

#[test]
fn a_0_2_5_request_beside_facade_headers_is_json_rpc() {
    let headers = [("mq9-a2a-method", "SendMessage"), ("mq9-reply-to", "demo.client")];
    let headers = Headers::from_pairs(headers).unwrap();
    let body = fixture("v0_2_message_send.json");
    assert_eq!(Dialect::detect(&headers, body.as_bytes()), Dialect::JsonRpcLegacy);
    // The header names the operation as 1.0 does, the body as 0.2 does: one operation all the same.
    let envelope = Envelope::from_parts(headers, body);
    assert_eq!(envelope.request_method(&Limits::default()), Ok(Some("SendMessage".into())));
}

#[test]
fn a_request_and_its_streamed_replies_belong_together() {
    let id = CorrelationId::new("0198-ab").unwrap();
    let request = Envelope::new(fixture("v1_stream_request.json"))
        .with_method("SendStreamingMessage")
        .and_then(|e| e.with_reply_to("cb7f"))
        .and_then(|e| e.with_correlation_id(&id))
        .unwrap();
    let ack = Envelope::new("").with_reply_type(ReplyType::Ack).and_then(|e| e.with_seq(0)).unwrap();
    let item = Envelope::new(fixture("v1_stream_reply.json"))
        .with_reply_type(ReplyType::StreamResponse)
        .and_then(|e| e.with_seq(1))
        .unwrap();
    let end = Envelope::new("")
        .with_reply_type(ReplyType::End)
        .and_then(|e| e.with_seq(2)?.with_last(true))
        .unwrap();
    let asked = correlation_of(&request.headers, &request.body).unwrap();
    assert_eq!(asked.to_header(), Ok(id.clone()));
    for (place, reply) in [ack, item, end].into_iter().enumerate() {
        let reply = reply.with_correlation_id(&id).unwrap();
        assert_eq!(reply.validate(&Limits::default()), Ok(()));
        assert_eq!(correlation_of(&reply.headers, &reply.body).unwrap().id, asked.id);
        assert_eq!(reply.seq(), Ok(Some(place as u64)));
        assert_eq!(reply.is_last(), place == 2);
        assert_eq!(Dialect::detect(&reply.headers, &reply.body), Dialect::Envelope);
    }
}

#[test]
fn header_names_are_those_of_the_format() {
    let all = [
        (names::ENVELOPE, "amb-envelope"),
        (names::METHOD, "mq9-a2a-method"),
        (names::REPLY_TO, "mq9-reply-to"),
        (names::CORRELATION_ID, "amb-correlation-id"),
        (names::TYPE, "mq9-a2a-type"),
        (names::SEQ, "amb-seq"),
        (names::GENERATION, "amb-generation"),
        (names::TASK_ID, "mq9-a2a-task-id"),
        (names::CONTEXT_ID, "amb-context-id"),
        (names::LAST, "mq9-a2a-last"),
        (names::A2A_VERSION, "a2a-version"),
        (names::A2A_EXTENSIONS, "a2a-extensions"),
        (names::IDEMPOTENCY_KEY, "amb-idempotency-key"),
        (names::DEADLINE, "amb-deadline"),
        (names::TRACEPARENT, "traceparent"),
        (names::TRACESTATE, "tracestate"),
        (names::TASK_INBOX, "amb-task-inbox"),
    ];
    let wire = include_str!("../WIRE.md");
    for (name, text) in all {
        assert_eq!(name, text);
        assert!(wire.contains(&format!("`{name}`")), "WIRE.md does not describe {name}");
    }
}

#[test]
fn public_types_can_cross_threads() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Envelope>();
    check::<Headers>();
    check::<a2a_envelope::RawCard>();
    check::<a2a_envelope::CardBuilder>();
    check::<a2a_envelope::Error>();
    check::<a2a_envelope::Correlation>();
}
