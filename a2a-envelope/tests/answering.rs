//! One answer, said in every dialect that can ask: in its form, its version, and to its end.

mod support;

use a2a_envelope::{
    Answer, Answering, Carriage, Envelope, ErrorCode, Headers, Limits, Received, ReplyType, TaskState, names,
};
use support::received;

const TASK: &str = r#"{"id":"t-1","contextId":"c-1","status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[{"artifactId":"a","parts":[{"text":"done"}]}],"x":1.0}"#;
const OLD_TASK: &str = r#"{"kind":"task","id":"t-1","contextId":"c-1","status":{"state":"completed"},"artifacts":[{"artifactId":"a","parts":[{"kind":"text","text":"done"}]}],"x":1.0}"#;
const WORKING: &str = r#"{"taskId":"t-1","contextId":"c-1","status":{"state":"TASK_STATE_WORKING"}}"#;

fn answering(name: &str) -> Answering {
    received(name).answering().as_agent("coder")
}

fn written(name: &str, answer: &Answer) -> Option<Envelope> {
    answering(name).write(answer).unwrap()
}

fn body(name: &str, answer: &Answer) -> String {
    let envelope = written(name, answer).unwrap_or_else(|| panic!("{name}: nothing was written"));
    String::from_utf8(envelope.body.to_vec()).unwrap()
}

#[test]
fn a_task_goes_out_in_the_form_and_version_that_asked() {
    let answer = Answer::response(TASK);
    for (name, want) in [
        ("native_request.msg", format!(r#"{{"jsonrpc":"2.0","id":"0198-aa","result":{{"task":{TASK}}}}}"#)),
        ("wrapped.json", format!(r#"{{"jsonrpc":"2.0","id":"0198-aa","result":{{"task":{TASK}}}}}"#)),
        ("v1_send_message.json", format!(r#"{{"jsonrpc":"2.0","id":"0198-aa","result":{{"task":{TASK}}}}}"#)),
        ("v0_2_message_send.json", format!(r#"{{"jsonrpc":"2.0","id":"req-02","result":{OLD_TASK}}}"#)),
        ("facade_send.msg", TASK.to_owned()),
        ("facade_get.msg", TASK.to_owned()),
        ("facade_java.msg", OLD_TASK.to_owned()),
        ("bare_message.json", TASK.to_owned()),
        ("seed_call.json", OLD_TASK.to_owned()),
        ("opaque.txt", TASK.to_owned()),
    ] {
        assert_eq!(body(name, &answer), want, "{name}");
    }
    let oldest = body("v0_1_tasks_send.json", &answer);
    assert!(oldest.starts_with(r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t-1","#), "{oldest}");
    assert!(oldest.contains(r#"{"type":"text","text":"done"}"#), "{oldest}");
}

#[test]
fn a_result_in_the_version_that_asked_is_not_rewritten() {
    let spaced = OLD_TASK.replace(',', " , ");
    let got = body("v0_2_message_send.json", &Answer::response(spaced.clone()));
    assert!(got.contains(&spaced), "{got}");
    assert_eq!(body("bare_message.json", &Answer::raw("any bytes \u{1}")), "any bytes \u{1}");
}

#[test]
fn our_envelope_says_in_headers_what_an_answer_is() {
    let mut answers = answering("native_request.msg");
    let ack = answers.write(&Answer::ack()).unwrap().unwrap();
    let item = Answer::item(WORKING).with_seq(1).with_generation(4).with_task_inbox("support.inbox");
    let item = answers.write(&item).unwrap().unwrap();
    let end = answers.write(&Answer::end().with_seq(2)).unwrap().unwrap();
    assert_eq!((ack.reply_type(), ack.seq(), ack.body.len()), (Some(ReplyType::Ack), Ok(Some(0)), 0));
    assert_eq!((item.reply_type(), item.seq()), (Some(ReplyType::StreamResponse), Ok(Some(1))));
    assert_eq!((item.generation(), item.task_inbox()), (Ok(Some(4)), Some("support.inbox")));
    assert_eq!((item.task_id(), item.context_id(), item.is_last()), (Some("t-1"), Some("c-1"), false));
    assert_eq!((end.reply_type(), end.is_last()), (Some(ReplyType::End), true));
    for reply in [ack, item, end] {
        assert_eq!(reply.correlation_id().unwrap().unwrap().as_str(), "0198-aa");
        assert_eq!(reply.validate(&Limits::default()), Ok(()));
        // The one who asked finds its own token on every answer.
        assert_eq!(reply.origin().unwrap().token(), "tok-1");
        assert!(!reply.headers.contains(names::REPLY_TO));
    }
}

#[test]
fn answers_travel_in_the_carriage_of_the_request() {
    assert_eq!(answering("wrapped.json").carriage(), Carriage::Wrapped);
    assert_eq!(answering("native_request.msg").carriage(), Carriage::Native);
}

#[test]
fn there_is_no_answer_after_the_last() {
    for name in [
        "native_request.msg",
        "facade_send.msg",
        "hermes_call.json",
        "v1_stream_request.json",
        "seed_call.json",
    ] {
        let mut answers = answering(name);
        let failed = Answer::failure(ErrorCode::InternalError, "broken");
        assert!(answers.write(&failed).unwrap().is_some(), "{name}");
        assert!(answers.is_over(), "{name}");
        // The facade of others sends COMPLETED behind a failure.
        for more in [Answer::end(), Answer::item(WORKING), failed] {
            assert_eq!(answers.write(&more).unwrap(), None, "{name}");
        }
    }
}

#[test]
fn the_facade_gets_class_names_and_one_last_flag() {
    let mut answers = answering("facade_send.msg");
    let item = answers.write(&Answer::item(WORKING)).unwrap().unwrap();
    assert_eq!(item.header(names::TYPE), Some("TaskStatusUpdateEvent"));
    assert_eq!((item.task_id(), item.is_last(), item.headers.len()), (Some("t-1"), false, 2));
    assert_eq!(item.body, WORKING);
    let last = answers.write(&Answer::item(TASK).with_last(true)).unwrap().unwrap();
    assert_eq!((last.header(names::TYPE), last.is_last()), (Some("Task"), true));
    let ended = written("facade_send.msg", &Answer::end()).unwrap();
    assert_eq!(ended.body, r#"{"taskId":"","contextId":"","status":{"state":"TASK_STATE_COMPLETED"}}"#);
    assert!(ended.is_last());
}

#[test]
fn the_facades_queries_are_answered_without_headers() {
    let found = written("facade_get.msg", &Answer::response(TASK)).unwrap();
    assert!(found.headers.is_empty());
    let missing = written("facade_get.msg", &Answer::failure(ErrorCode::TaskNotFound, "no")).unwrap();
    assert_eq!((missing.headers.len(), missing.body.as_ref()), (0, b"{}".as_ref()));
}

#[test]
fn hermes_gets_one_reply_with_the_end_of_it() {
    let mut answers = answering("hermes_call.json");
    assert_eq!(answers.write(&Answer::ack()).unwrap(), None);
    assert_eq!(answers.write(&Answer::item(WORKING)).unwrap(), None);
    let last = Answer::item(TASK).with_last(true).with_time(1_763_683_203);
    let reply = answers.write(&last).unwrap().unwrap();
    assert!(reply.headers.is_empty());
    assert_eq!(
        reply.body,
        format!(
            concat!(
                r#"{{"type":"mq9_call_reply","ok":true,"from":"coder","correlation_id":"5d41402abc4b2a76b9719d911017c592","#,
                r#""protocol":"a2a","result":{{"mode":"a2a","summary":"done","answer":"done","task":{},"#,
                r#""request":{{"instruction": "Write a Rust HTTP server"}},"context":{{"platform": "telegram"}}}},"ts":1763683203}}"#
            ),
            TASK
        )
    );
    let back = Received::read(Headers::new(), reply.body, &Limits::default()).unwrap();
    assert_eq!((back.text().as_str(), back.is_last()), ("done", true));
    assert_eq!(back.event().unwrap().state(), Some(TaskState::Completed));
}

#[test]
fn hermes_ok_is_neither_failed_nor_rejected() {
    let ok = |answer: &Answer| {
        let text = body("hermes_call.json", answer);
        text.contains(r#""ok":true"#)
    };
    for (state, want) in [
        ("COMPLETED", true),
        ("FAILED", false),
        ("REJECTED", false),
        ("CANCELED", true),
        ("INPUT_REQUIRED", true),
    ] {
        assert_eq!(ok(&Answer::response(TASK.replace("COMPLETED", state))), want, "{state}");
    }
    assert!(!ok(&Answer::failure(ErrorCode::InternalError, "broken")));
    assert!(ok(&Answer::response("\"plain\"")));
}

#[test]
fn a_failure_has_a_form_in_every_dialect_that_has_one() {
    let failure = Answer::failure(ErrorCode::TaskNotFound, "no \"such\" task");
    let new = r#"{"jsonrpc":"2.0","id":"0198-aa","error":{"code":-32001,"message":"no \"such\" task","data":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TASK_NOT_FOUND","domain":"a2a-protocol.org"}]}}"#;
    assert_eq!(body("native_request.msg", &failure), new);
    assert_eq!(body("v1_send_message.json", &failure), new);
    let old = r#"{"jsonrpc":"2.0","id":"req-02","error":{"code":-32001,"message":"no \"such\" task"}}"#;
    assert_eq!(body("v0_2_message_send.json", &failure), old);
    for name in ["facade_send.msg", "bare_message.json"] {
        let event = body(name, &failure);
        assert!(event.contains("TASK_STATE_FAILED") && event.contains(r#"no \"such\" task"#), "{event}");
    }
    assert!(body("seed_call.json", &failure).contains(r#""state":"failed""#));
    assert!(body("hermes_call.json", &failure).contains(r#""error":"no \"such\" task""#));
    assert_eq!(written("opaque.txt", &failure), None);
}

#[test]
fn details_of_an_error_are_the_callers_if_it_gives_any() {
    let answer = Answer::failure_with(-32001, "m", Some(r#"{"n":1e400}"#.into()));
    assert!(body("v1_send_message.json", &answer).ends_with(r#""data":{"n":1e400}}}"#));
    let unknown = Answer::failure_with(-32099, "m", None);
    assert!(body("v1_send_message.json", &unknown).ends_with(r#""message":"m"}}"#));
}

#[test]
fn an_id_goes_back_as_the_token_it_was() {
    for id in ["7", "\"7\"", "1.0", "\"a\\u002fb\""] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"GetTask","params":{{"id":"t"}}}}"#);
        // A header can say an id only as text; the body says it as the token it is.
        let told = Envelope::new("").with_header(names::CORRELATION_ID, "other").unwrap().headers;
        for headers in [Headers::new(), Envelope::new("").headers, told] {
            let received = Received::read(headers, request.clone(), &Limits::default()).unwrap();
            let reply = received.answering().write(&Answer::response("{}")).unwrap().unwrap();
            assert_eq!(reply.body, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        }
    }
}

#[test]
fn a_request_without_an_id_is_answered_with_null() {
    let request = r#"{"jsonrpc":"2.0","method":"SendMessage","params":{}}"#;
    let received = Received::read(Headers::new(), request, &Limits::default()).unwrap();
    let reply = received.answering().write(&Answer::response("null")).unwrap().unwrap();
    assert_eq!(reply.body, r#"{"jsonrpc":"2.0","id":null,"result":null}"#);
}

#[test]
fn an_origin_is_echoed_to_everyone_who_sent_it_in_a_header() {
    let bodies = [
        r#"{"jsonrpc":"2.0","id":1,"method":"message/send","params":{}}"#,
        r#"{"role":"user","parts":[]}"#,
        "opaque",
    ];
    for body in bodies {
        for reply_to in [None, Some("cb")] {
            let mut headers =
                Headers::from_pairs([(names::ORIGIN_REF, "tok"), (names::ORIGIN_HOP, "2")]).unwrap();
            reply_to.map(|address| headers.set(names::REPLY_TO, address).unwrap());
            let received = Received::read(headers, body, &Limits::default()).unwrap();
            let reply = received.answering().write(&Answer::response(TASK)).unwrap().unwrap();
            let origin = reply.origin().unwrap();
            assert_eq!((origin.token(), origin.hop()), ("tok", 2), "{body}");
        }
        let received = Received::read(Headers::new(), body, &Limits::default()).unwrap();
        let reply = received.answering().write(&Answer::response(TASK)).unwrap().unwrap();
        assert_eq!(reply.origin(), None, "{body}");
    }
    let wrapped = r#"{"a2aEnvelope":"1","headers":{"mq9-a2a-method":"SendMessage"},"body":"{\"message\":{\"metadata\":{\"https://agentchat-rs.github.io/ext/origin/v1\":{\"ref\":\"m\"}}}}"}"#;
    let received = Received::read(Headers::new(), wrapped, &Limits::default()).unwrap();
    let reply = received.answering().write(&Answer::response(TASK)).unwrap().unwrap();
    assert_eq!(reply.origin().unwrap().token(), "m");
}

#[test]
fn debug_prints_no_answer() {
    let printed =
        format!("{:?} {:?}", Answer::response("secret"), Answer::failure(ErrorCode::ParseError, "secret"));
    assert!(!printed.contains("secret"), "{printed}");
}
