//! Typed headers of an envelope, and the rules they keep.

use a2a_envelope::{CorrelationId, Envelope, Error, HeaderRule, Headers, Limits, ReplyType, names};

fn rule(result: Result<Envelope, Error>) -> (String, HeaderRule) {
    match result {
        Err(Error::Header { name, rule, .. }) => (name, rule),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_carries_each_header_under_its_wire_name() {
    let envelope = Envelope::new("{}")
        .with_method("SendStreamingMessage")
        .and_then(|e| e.with_reply_to("cb7f"))
        .and_then(|e| e.with_correlation_id(&CorrelationId::new("0198-aa")?))
        .and_then(|e| e.with_idempotency_key("m-1"))
        .and_then(|e| e.with_deadline(1_760_000_000_000))
        .and_then(|e| e.with_a2a_version("1.0"))
        .and_then(|e| {
            e.with_header(names::TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        })
        .unwrap();
    let pairs: Vec<_> = envelope.headers.iter().collect();
    assert_eq!(
        pairs,
        [
            ("amb-envelope", "1"),
            ("mq9-a2a-method", "SendStreamingMessage"),
            ("mq9-reply-to", "cb7f"),
            ("amb-correlation-id", "0198-aa"),
            ("amb-idempotency-key", "m-1"),
            ("amb-deadline", "1760000000000"),
            ("a2a-version", "1.0"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]
    );
    assert_eq!(envelope.method(), Some("SendStreamingMessage"));
    assert_eq!(envelope.reply_to(), Some("cb7f"));
    assert_eq!(envelope.correlation_id().unwrap().unwrap().as_str(), "0198-aa");
    assert_eq!(envelope.idempotency_key(), Some("m-1"));
    assert_eq!(envelope.deadline(), Ok(Some(1_760_000_000_000)));
    assert_eq!(envelope.a2a_version(), Some("1.0"));
    assert_eq!(envelope.validate(&Limits::default()), Ok(()));
}

#[test]
fn a_reply_carries_each_header_under_its_wire_name() {
    let envelope = Envelope::new("{}")
        .with_reply_type(ReplyType::StreamResponse)
        .and_then(|e| e.with_seq(2))
        .and_then(|e| e.with_generation(u64::MAX))
        .and_then(|e| e.with_task_id("t-9"))
        .and_then(|e| e.with_context_id("c-3"))
        .and_then(|e| e.with_task_inbox("support.inbox"))
        .and_then(|e| e.with_last(true))
        .unwrap();
    let pairs: Vec<_> = envelope.headers.iter().skip(1).collect();
    assert_eq!(
        pairs,
        [
            ("mq9-a2a-type", "StreamResponse"),
            ("amb-seq", "2"),
            ("amb-generation", "18446744073709551615"),
            ("mq9-a2a-task-id", "t-9"),
            ("amb-context-id", "c-3"),
            ("amb-task-inbox", "support.inbox"),
            ("mq9-a2a-last", "true"),
        ]
    );
    assert_eq!(envelope.reply_type(), Some(ReplyType::StreamResponse));
    assert_eq!((envelope.seq(), envelope.generation()), (Ok(Some(2)), Ok(Some(u64::MAX))));
    assert_eq!((envelope.task_id(), envelope.context_id()), (Some("t-9"), Some("c-3")));
    assert_eq!(envelope.task_inbox(), Some("support.inbox"));
    assert!(envelope.is_last());
    let envelope = envelope.with_last(false).unwrap();
    assert!(!envelope.is_last() && !envelope.headers.contains(names::LAST));
}

#[test]
fn last_is_true_in_any_case_and_nothing_else() {
    for (value, last) in
        [("true", true), ("True", true), ("TRUE", true), ("1", false), ("false", false), ("", false)]
    {
        let envelope = Envelope::new("").with_header(names::LAST, value).unwrap();
        assert_eq!(envelope.is_last(), last, "{value}");
    }
}

#[test]
fn headers_that_are_absent_read_as_absent() {
    let envelope = Envelope::from_parts(Headers::new(), "x");
    assert_eq!(envelope.method(), None);
    assert_eq!(envelope.correlation_id(), Ok(None));
    assert_eq!((envelope.seq(), envelope.generation(), envelope.deadline()), (Ok(None), Ok(None), Ok(None)));
    assert_eq!(envelope.reply_type(), None);
    assert!(!envelope.is_last());
    assert_eq!(envelope.into_parts(), (Headers::new(), "x".into()));
}

#[test]
fn a_refused_value_names_the_header_and_the_rule() {
    let refused = |value: &str| rule(Envelope::new("").with_reply_to(value));
    assert_eq!(refused(""), ("mq9-reply-to".into(), HeaderRule::Empty));
    assert_eq!(refused("a b"), ("mq9-reply-to".into(), HeaderRule::NotVisibleAscii));
    assert_eq!(refused("a\r\nx: y"), ("mq9-reply-to".into(), HeaderRule::NotVisibleAscii));
    assert_eq!(rule(Envelope::new("").with_method("")), ("mq9-a2a-method".into(), HeaderRule::Empty));
    assert_eq!(
        rule(Envelope::new("").with_task_id("a\nb")),
        ("mq9-a2a-task-id".into(), HeaderRule::LineBreak)
    );
    let long = "k".repeat(4097);
    assert_eq!(
        rule(Envelope::new("").with_idempotency_key(&long)),
        ("amb-idempotency-key".into(), HeaderRule::TooLong { found: 4097 })
    );
}

#[test]
fn numbers_are_plain_decimals_of_64_bits() {
    for bad in ["", "-1", "+1", "1.0", "0x1", "1e3", "18446744073709551616", "one"] {
        let envelope = Envelope::new("").with_header(names::SEQ, bad).unwrap();
        let error = envelope.seq().unwrap_err();
        assert_eq!(error.to_string(), "header `amb-seq` is not an unsigned 64-bit decimal number", "{bad}");
        assert_eq!(envelope.validate(&Limits::default()), Err(error));
    }
    for name in [names::SEQ, names::GENERATION, names::DEADLINE] {
        let error =
            Envelope::new("").with_header(name, "x").unwrap().validate(&Limits::default()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(Envelope::new("").with_header(names::SEQ, "007").unwrap().seq(), Ok(Some(7)));
}

#[test]
fn validation_covers_mark_count_body_and_correlation() {
    let limits = Limits::default().with_max_body(4).with_max_headers(2);
    let check = |e: Envelope| e.validate(&limits).map_err(|error| error.to_string());
    assert_eq!(check(Envelope::new("1234").with_seq(1).unwrap()), Ok(()));
    let over = check(Envelope::new("12345")).unwrap_err();
    assert_eq!(over, "max_body (bytes) is 4, found 5: 1 over");
    let many = Envelope::new("").with_seq(1).and_then(|e| e.with_last(true)).unwrap();
    assert_eq!(check(many).unwrap_err(), "max_headers (count) is 2, found 3: 1 over");
    assert_eq!(check(Envelope::new(vec![b'a', 0xff])).unwrap_err(), "not UTF-8 from byte 1 on");
    let future = Envelope::new("").with_header(names::ENVELOPE, "2").unwrap();
    assert_eq!(check(future).unwrap_err(), "envelope format `2` is not known here (format 1 is)");
    let spaced = Envelope::new("").with_header(names::CORRELATION_ID, "a b").unwrap();
    assert_eq!(
        check(spaced).unwrap_err(),
        "header `amb-correlation-id` has characters other than visible ASCII"
    );
}

#[test]
fn header_and_body_must_name_the_same_method() {
    let limits = Limits::default();
    let body = r#"{"jsonrpc":"2.0","id":"1","method":"SendMessage"}"#;
    let agreeing = Envelope::new(body).with_method("SendMessage").unwrap();
    assert_eq!(agreeing.request_method(&limits), Ok(Some("SendMessage".into())));
    assert_eq!(Envelope::new(body).request_method(&limits), Ok(Some("SendMessage".into())));
    let facade = Envelope::new("not json").with_method("GetTask").unwrap();
    assert_eq!(facade.request_method(&limits), Ok(Some("GetTask".into())));
    assert_eq!(Envelope::new("not json").request_method(&limits), Ok(None));
    let clash = Envelope::new(body).with_method("CancelTask").unwrap().request_method(&limits).unwrap_err();
    assert_eq!(
        clash.to_string(),
        "header `mq9-a2a-method` says `CancelTask` but the body says `SendMessage`"
    );
    let error = agreeing.request_method(&limits.with_max_body(5)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[test]
fn older_names_of_an_operation_agree_with_the_header_and_other_operations_do_not() {
    let pairs = [
        ("SendMessage", "message/send"),
        ("SendMessage", "tasks/send"),
        ("SendStreamingMessage", "message/stream"),
        ("SendStreamingMessage", "tasks/sendSubscribe"),
        ("GetTask", "tasks/get"),
        ("CancelTask", "tasks/cancel"),
        ("SubscribeToTask", "tasks/resubscribe"),
        ("CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set"),
        ("CreateTaskPushNotificationConfig", "tasks/pushNotification/set"),
        ("GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get"),
        ("GetTaskPushNotificationConfig", "tasks/pushNotification/get"),
        ("ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list"),
        ("DeleteTaskPushNotificationConfig", "tasks/pushNotificationConfig/delete"),
        ("GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"),
    ];
    for (header, _) in pairs {
        for (operation, method) in pairs {
            let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
            let read = Envelope::new(body).with_method(header).unwrap().request_method(&Limits::default());
            assert_eq!(read.is_ok(), header == operation, "{header} beside {method}");
        }
    }
}

#[test]
fn debug_shows_lengths_where_addresses_and_text_could_be() {
    let envelope = Envelope::new("topsecret").with_reply_to("secretbox").unwrap();
    let printed = format!("{envelope:?}");
    assert!(!printed.contains("secret"), "{printed}");
    assert!(printed.contains("<9 bytes>"), "{printed}");
}
