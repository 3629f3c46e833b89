//! Bad input of every dialect, each by name: what is refused says why, and the rest is told for what it is.

use a2a_envelope::{
    Answer, CorrelationId, Dialect, Envelope, Headers, Limits, MessageKind, Received, RequestView, RpcView,
    names,
};

type Pairs = &'static [(&'static str, &'static str)];

const NONE: Pairs = &[];
const OURS: Pairs = &[(names::ENVELOPE, "1")];
const ASKED: Pairs = &[(names::ENVELOPE, "1"), (names::METHOD, "GetTask")];

fn read(pairs: Pairs, body: impl Into<Vec<u8>>) -> Result<Received, String> {
    let headers = Headers::from_pairs(pairs.iter().copied()).map_err(|error| error.to_string())?;
    Received::read(headers, body.into(), &Limits::default()).map_err(|error| error.to_string())
}

/// A message that is refused, with the words.
macro_rules! refused {
    ($($name:ident: $headers:expr, $body:expr => $words:expr;)*) => {$(
        #[test]
        fn $name() {
            assert_eq!(read($headers, $body).unwrap_err(), $words);
        }
    )*};
}

/// A message that is read for what it is, and whose bytes stay.
macro_rules! told {
    ($($name:ident: $headers:expr, $body:expr => $dialect:ident, $kind:ident;)*) => {$(
        #[test]
        fn $name() {
            let got = read($headers, $body).unwrap();
            assert_eq!((got.dialect, got.kind), (Dialect::$dialect, MessageKind::$kind));
            assert_eq!(got.envelope.body.as_ref(), AsRef::<[u8]>::as_ref($body));
            // Whatever it is, it can be looked at and answered without a panic.
            let _ = (got.request(), got.event(), got.text(), got.is_last());
            let _ = got.answering().write(&Answer::response("{}")).unwrap();
        }
    )*};
}

/// A request that is read, and refused by the check before it runs.
macro_rules! not_run {
    ($($name:ident: $headers:expr, $body:expr => $words:expr;)*) => {$(
        #[test]
        fn $name() {
            let got = read($headers, $body).unwrap();
            assert_eq!(got.check(&Limits::default()).unwrap_err().to_string(), $words);
        }
    )*};
}

refused! {
    our_envelope_of_another_format: &[(names::ENVELOPE, "2")], "{}"
        => "envelope format `2` is not known here (format 1 is)";
    our_envelope_with_an_empty_format: &[(names::ENVELOPE, "")], "{}"
        => "envelope format `` is not known here (format 1 is)";
    our_envelope_with_a_body_that_is_no_text: OURS, [0x7b, 0xff, 0x7d] => "not UTF-8 from byte 1 on";
    our_envelope_with_a_line_break_in_a_header: &[(names::ENVELOPE, "1\r\nx: y")], "{}"
        => "header `amb-envelope` has a CR, LF or NUL in its value";
    wrapped_of_another_format: NONE, r#"{"a2aEnvelope":"9","body":""}"#
        => "envelope format `9` is not known here (format 1 is)";
    wrapped_with_a_number_for_a_format: NONE, r#"{"a2aEnvelope":1,"body":""}"#
        => "`a2aEnvelope` is not a string of Unicode text";
    wrapped_without_a_body: NONE, r#"{"a2aEnvelope":"1"}"# => "`body` is missing";
    wrapped_with_an_object_for_a_body: NONE, r#"{"a2aEnvelope":"1","body":{}}"#
        => "`body` is not a string of Unicode text";
    wrapped_with_two_bodies: NONE, r#"{"a2aEnvelope":"1","body":"a","body":"b"}"# => "`body` is there more than once";
    wrapped_with_a_lone_surrogate: NONE, r#"{"a2aEnvelope":"1","body":"\ud800"}"#
        => "`body` is not a string of Unicode text";
    wrapped_with_headers_in_a_list: NONE, r#"{"a2aEnvelope":"1","headers":[],"body":""}"# => "`headers` is not an object";
    wrapped_with_a_number_for_a_header: NONE, r#"{"a2aEnvelope":"1","headers":{"amb-seq":1},"body":""}"#
        => "`headers.amb-seq` is not a string of Unicode text";
    wrapped_with_a_header_that_breaks_lines: NONE, r#"{"a2aEnvelope":"1","headers":{"x":"a\nb"},"body":""}"#
        => "header `x` has a CR, LF or NUL in its value";
    wrapped_with_an_illegal_header_name: NONE, r#"{"a2aEnvelope":"1","headers":{"a b":""},"body":""}"#
        => "header `a b` has a name that is not 1 to 128 token characters";
    wrapped_whose_mark_and_header_disagree: NONE, r#"{"a2aEnvelope":"1","headers":{"amb-envelope":"2"},"body":""}"#
        => "envelope format `2` is not known here (format 1 is)";
    wrapped_with_a_header_of_5_000_bytes: NONE,
        format!(r#"{{"a2aEnvelope":"1","headers":{{"x":"{}"}},"body":""}}"#, "v".repeat(5_000))
        => "header `x` has a value of 5000 bytes; the most is 4096";
    a_body_of_5_mib: NONE, vec![b' '; 5 << 20] => "max_body (bytes) is 4194304, found 5242880: 1048576 over";
    our_envelope_with_a_body_of_5_mib: ASKED, vec![b' '; 5 << 20]
        => "max_body (bytes) is 4194304, found 5242880: 1048576 over";
    a_wrapped_text_of_9_mib: NONE, vec![b' '; 9 << 20] => "max_wrapped (bytes) is 8454144, found 9437184: 983040 over";
    a_body_of_100_000_levels: NONE, format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))
        => "max_depth (levels) is 128, found 100000: 99872 over";
    a_body_of_129_levels: NONE, format!("{}{}", "[".repeat(129), "]".repeat(129))
        => "max_depth (levels) is 128, found 129: 1 over";
    params_of_129_levels: NONE,
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}{}}}"#, "[".repeat(128), "]".repeat(128))
        => "max_depth (levels) is 128, found 129: 1 over";
}

told! {
    nothing_at_all: NONE, "" => Opaque, Unknown;
    bytes_that_are_no_text: NONE, &[0xff, 0x00, 0xfe][..] => Opaque, Unknown;
    json_cut_off_in_the_middle: NONE, r#"{"jsonrpc":"2.0","id":1,"meth"# => Opaque, Unknown;
    json_with_text_behind_it: NONE, r#"{"jsonrpc":"2.0","method":"SendMessage"} x"# => Opaque, Unknown;
    json_behind_a_byte_order_mark: NONE, "\u{feff}{\"jsonrpc\":\"2.0\"}" => Opaque, Unknown;
    a_json_rpc_batch: NONE, r#"[{"jsonrpc":"2.0","id":1,"method":"SendMessage"}]"# => Opaque, Unknown;
    json_rpc_of_version_1: NONE, r#"{"jsonrpc":"1.0","id":1,"method":"SendMessage"}"# => Opaque, Request;
    json_rpc_with_a_number_for_a_version: NONE, r#"{"jsonrpc":2.0,"id":1,"method":"SendMessage"}"# => Opaque, Request;
    json_rpc_without_an_id: NONE, r#"{"jsonrpc":"2.0","method":"SendMessage","params":{}}"# => JsonRpc, Request;
    json_rpc_with_a_null_id: NONE, r#"{"jsonrpc":"2.0","id":null,"method":"SendMessage"}"# => JsonRpc, Request;
    json_rpc_with_an_object_for_an_id: NONE, r#"{"jsonrpc":"2.0","id":{},"method":"SendMessage"}"# => JsonRpc, Request;
    json_rpc_without_a_method: NONE, r#"{"jsonrpc":"2.0","id":1}"# => JsonRpc, Unknown;
    json_rpc_with_a_number_for_a_method: NONE, r#"{"jsonrpc":"2.0","id":1,"method":7}"# => JsonRpc, Request;
    json_rpc_with_a_method_nobody_knows: NONE, r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"# => JsonRpcLegacy, Request;
    json_rpc_without_params: NONE, r#"{"jsonrpc":"2.0","id":1,"method":"message/send"}"# => JsonRpcLegacy, Request;
    json_rpc_with_a_list_for_params: NONE, r#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":[1]}"#
        => JsonRpc, Request;
    json_rpc_with_result_and_error: NONE, r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}"# => JsonRpc, Reply;
    json_rpc_with_an_error_that_is_no_object: NONE, r#"{"jsonrpc":"2.0","id":1,"error":"broken"}"# => JsonRpc, Reply;
    json_rpc_with_a_null_result: NONE, r#"{"jsonrpc":"2.0","id":1,"result":null}"# => JsonRpc, Reply;
    an_a2a_version_of_the_future: &[("a2a-version", "9.9")], r#"{"jsonrpc":"2.0","id":1,"method":"SendMessage"}"#
        => JsonRpc, Request;
    an_a2a_version_that_is_none: &[("a2a-version", "latest")], r#"{"jsonrpc":"2.0","id":1,"method":"message/send"}"#
        => JsonRpcLegacy, Request;
    hermes_without_a_correlation_id: NONE, r#"{"type":"mq9_call","reply_to":"cb","payload":{}}"# => Hermes, Request;
    hermes_without_a_reply_address: NONE, r#"{"type":"mq9_call","correlation_id":"c"}"# => Hermes, Request;
    hermes_without_a_payload: NONE, r#"{"type":"mq9_call","reply_to":"cb","correlation_id":"c"}"# => Hermes, Request;
    hermes_with_a_list_for_a_payload: NONE, r#"{"type":"mq9_call","payload":[1,{}]}"# => Hermes, Request;
    hermes_with_numbers_for_everything: NONE, r#"{"type":"mq9_call","reply_to":1,"correlation_id":2,"payload":3}"#
        => Hermes, Request;
    hermes_reply_without_a_result: NONE, r#"{"type":"mq9_call_reply","ok":true}"# => Hermes, Reply;
    hermes_reply_with_a_text_for_a_result: NONE, r#"{"type":"mq9_call_reply","ok":1,"result":"x"}"# => Hermes, Reply;
    hermes_of_another_type: NONE, r#"{"type":"mq9_cast","payload":{}}"# => Opaque, Unknown;
    the_facade_with_an_empty_body: &[(names::REPLY_TO, "cb")], "" => Facade, Request;
    the_facade_with_protobuf: &[(names::METHOD, "SendMessage")], &[0x0a, 0x03, 0xff][..] => Facade, Request;
    the_facade_with_a_method_nobody_knows: &[(names::METHOD, "Dance"), (names::REPLY_TO, "cb")], "{}" => Facade, Request;
    the_facade_with_an_event_of_no_class: &[(names::LAST, "true")], r#"{"x":1}"# => Facade, Reply;
    the_facade_with_an_empty_task: &[("mq9-a2a-type", "Task")], "{}" => Facade, Reply;
    bare_without_parts: NONE, r#"{"role":"user"}"# => Opaque, Request;
    bare_with_a_text_for_a_message: NONE, r#"{"message":"hello"}"# => Opaque, Unknown;
    bare_with_an_empty_message: NONE, r#"{"message":{}}"# => BareA2a, Unknown;
    bare_with_a_role_nobody_knows: NONE, r#"{"role":"tool","parts":[]}"# => BareA2a, Unknown;
    bare_with_parts_of_numbers: NONE, r#"{"role":"user","parts":[1,null,"x"]}"# => BareA2a, Request;
    our_envelope_with_an_empty_body: OURS, "" => Envelope, Unknown;
    our_envelope_around_something_opaque: ASKED, "t=21.5" => Envelope, Request;
    our_envelope_with_a_method_nobody_knows: &[(names::ENVELOPE, "1"), (names::METHOD, "Dance")], "{}" => Envelope, Request;
}

not_run! {
    a_header_with_another_method_than_the_body: ASKED, r#"{"jsonrpc":"2.0","id":1,"method":"CancelTask"}"#
        => "header `mq9-a2a-method` says `GetTask` but the body says `CancelTask`";
    a_correlation_id_with_a_space: &[(names::ENVELOPE, "1"), (names::METHOD, "GetTask"), (names::CORRELATION_ID, "a b")], "{}"
        => "header `amb-correlation-id` has characters other than visible ASCII";
    an_empty_correlation_id: &[(names::ENVELOPE, "1"), (names::METHOD, "GetTask"), (names::CORRELATION_ID, "")], "{}"
        => "header `amb-correlation-id` must not be empty";
    a_deadline_that_is_no_number: &[(names::ENVELOPE, "1"), (names::METHOD, "GetTask"), (names::DEADLINE, "soon")], "{}"
        => "header `amb-deadline` is not an unsigned 64-bit decimal number";
    a_deadline_before_all_time: &[(names::ENVELOPE, "1"), (names::METHOD, "GetTask"), (names::DEADLINE, "-1")], "{}"
        => "header `amb-deadline` is not an unsigned 64-bit decimal number";
    a_deadline_beyond_64_bits: &[(names::ENVELOPE, "1"), (names::DEADLINE, "18446744073709551616")], "{}"
        => "header `amb-deadline` is not an unsigned 64-bit decimal number";
    a_sequence_number_that_is_none: &[(names::ENVELOPE, "1"), (names::TYPE, "Response"), (names::SEQ, "1.0")], ""
        => "header `amb-seq` is not an unsigned 64-bit decimal number";
    a_generation_that_is_none: &[(names::ENVELOPE, "1"), (names::TYPE, "StreamResponse"), (names::GENERATION, "")], ""
        => "header `amb-generation` is not an unsigned 64-bit decimal number";
}

#[test]
fn the_129th_header_is_refused() {
    let pairs: Vec<(String, &str)> = (0..129).map(|number| (format!("x-{number}"), "")).collect();
    let error = Headers::from_pairs(pairs).unwrap_err().to_string();
    assert_eq!(error, "header `x-128` is one too many; the most is 128");
}

#[test]
fn more_headers_than_a_reader_allows_are_refused() {
    let headers = Headers::from_pairs([("a", ""), ("b", ""), ("c", "")]).unwrap();
    let error = Received::read(headers, "", &Limits::default().with_max_headers(2)).unwrap_err();
    assert_eq!(error.to_string(), "max_headers (count) is 2, found 3: 1 over");
}

#[test]
fn an_id_of_a_megabyte_is_read_and_answered_but_fits_no_header() {
    let id = format!("\"{}\"", "x".repeat(1 << 20));
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"SendMessage","params":{{}}}}"#);
    let got = read(NONE, body).unwrap();
    assert!(got.correlation.as_ref().unwrap().to_header().is_err());
    let answer = got.answering().write(&Answer::response("null")).unwrap().unwrap();
    assert_eq!(RpcView::read(&answer.body).unwrap().id, Some(id.as_str()));
    assert!(CorrelationId::new("x".repeat(129)).is_err());
}

#[test]
fn a_request_without_ids_has_none_and_gets_none_invented() {
    let view = RequestView::read(
        br#"{"jsonrpc":"2.0","method":"SendMessage","params":{"message":{"role":"user","parts":[]}}}"#,
    );
    let view = view.unwrap();
    assert_eq!((view.task_id, view.context_id, view.message.unwrap().message_id), (None, None, None));
}

#[test]
fn what_one_level_less_allows_is_read() {
    let body = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(read(NONE, body).unwrap().dialect, Dialect::Opaque);
    let exactly = vec![b' '; 4 << 20];
    assert_eq!(read(ASKED, exactly.clone()).unwrap().envelope.body, exactly);
}

#[test]
fn what_was_refused_is_refused_the_same_way_again() {
    let envelope = Envelope::new("{}").with_header(names::ENVELOPE, "3").unwrap();
    for _ in 0..2 {
        assert!(envelope.check_format().is_err());
        assert!(envelope.to_wrapped(&Limits::default()).is_err());
    }
}
