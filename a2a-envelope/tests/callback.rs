//! Answer addresses: where they are read, and the one edit that writes them.

mod support;

use a2a_envelope::{
    AnswerSource, CallbackField, Envelope, Error, Headers, Limits, Placement, answer_address, callback_of,
    find_callback, with_callback, without_mailbox_callbacks,
};
use proptest::prelude::*;
use support::{fixture, foreign_member, seeded, space};

const URI: &str = "mq9://broker/new.cb";

fn edit(body: &str, field: Option<CallbackField>, replace: bool) -> Result<String, String> {
    with_callback(body.as_bytes(), URI, field, replace)
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        .map_err(|error| error.to_string())
}

#[test]
fn every_spelling_is_read() {
    for (name, uri, field) in [
        ("seed_call.json", "mq9://broker/cb.one", CallbackField::PushNotification),
        ("v0_1_tasks_send.json", "mq9://broker/cb.v01", CallbackField::ParamsPushNotification),
        ("v0_2_message_send.json", "mq9://broker/cb.v02", CallbackField::PushNotificationConfig),
        (
            "v1_send_message.json",
            "mq9://broker.internal:4222/cb.v1",
            CallbackField::TaskPushNotificationConfig,
        ),
    ] {
        let body = fixture(name).as_bytes();
        assert_eq!(callback_of(body).as_deref(), Some(uri), "{name}");
        assert_eq!(find_callback(body, &Limits::default()).unwrap().unwrap().field, field, "{name}");
    }
    for name in
        ["v0_3_message_stream.json", "v1_stream_request.json", "hermes_call.json", "bare_message.json"]
    {
        assert_eq!(callback_of(fixture(name).as_bytes()), None, "{name}");
    }
}

#[test]
fn spellings_are_read_in_their_order() {
    let levels = [
        r#""configuration":{"pushNotificationConfig":{"url":"2"},"taskPushNotificationConfig":{"url":"1"}}"#,
        r#""configuration":{"pushNotificationConfig":{"url":"2"},"taskPushNotificationConfig":{}}"#,
        r#""x":1"#,
    ];
    for (level, want) in levels.iter().zip(["1", "2", "3"]) {
        let body = format!(
            r#"{{"pushNotification":{{"url":"4"}},"jsonrpc":"2.0","params":{{"pushNotification":{{"url":"3"}},{level}}}}}"#
        );
        assert_eq!(callback_of(body.as_bytes()).as_deref(), Some(want), "{body}");
    }
    let last = r#"{"pushNotification":{"url":"4"},"jsonrpc":"2.0","params":{}}"#;
    assert_eq!(callback_of(last.as_bytes()).as_deref(), Some("4"));
}

#[test]
fn a_plain_message_is_read_at_its_top_and_json_rpc_under_params() {
    let config = r#""configuration":{"taskPushNotificationConfig":{"url":"here"}}"#;
    assert_eq!(callback_of(format!("{{{config}}}").as_bytes()).as_deref(), Some("here"));
    assert_eq!(callback_of(format!(r#"{{"jsonrpc":"2.0",{config}}}"#).as_bytes()), None);
    let params = format!(r#"{{"method":"SendMessage","params":{{{config}}}}}"#);
    assert_eq!(callback_of(params.as_bytes()).as_deref(), Some("here"));
}

#[test]
fn what_is_no_address_is_not_read() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        r#"{"pushNotification":"mq9://x/y"}"#,
        r#"{"pushNotification":{"url":""}}"#,
        r#"{"pushNotification":{"url":null}}"#,
        r#"{"pushNotification":{"url":["a"]}}"#,
        r#"{"pushNotification":{"url":"\udead"}}"#,
        r#"{"pushNotification":[{"url":"a"}]}"#,
    ] {
        assert_eq!(callback_of(body.as_bytes()), None, "{body}");
    }
    let deep = format!(r#"{{"pushNotification":{{"url":"a"}},"x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    assert_eq!(callback_of(deep.as_bytes()), None);
    let error = find_callback(deep.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "max_depth (levels) is 128, found 129: 1 over");
}

#[test]
fn the_field_of_the_messages_own_version_is_written() {
    let v1 = r#"{"taskPushNotificationConfig":{"url":"mq9://broker/new.cb"}}"#;
    let v03 = r#"{"pushNotificationConfig":{"url":"mq9://broker/new.cb"}}"#;
    let v01 = r#"{"url":"mq9://broker/new.cb"}"#;
    let rpc = |method: &str, tail: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1.0,"method":"{method}","params":{{"n":1e400{tail}}}}}"#)
    };
    for (method, key, value) in [
        ("SendMessage", "configuration", v1),
        ("SendStreamingMessage", "configuration", v1),
        ("message/send", "configuration", v03),
        ("message/stream", "configuration", v03),
        ("tasks/send", "pushNotification", v01),
        ("tasks/sendSubscribe", "pushNotification", v01),
    ] {
        let want = rpc(method, &format!(r#","{key}":{value}"#));
        assert_eq!(edit(&rpc(method, ""), None, false), Ok(want), "{method}");
    }
    for (plain, key, value) in [
        (r#"{"message":{"role":"ROLE_USER"}"#, "configuration", v1),
        (r#"{"message":{"kind":"message","role":"user"}"#, "configuration", v03),
        (r#"{"message":{"role":"user"}"#, "pushNotification", v01),
        (r#"{"task":"anything","z":-0"#, "pushNotification", v01),
        (r#"{"message":"text"#, "pushNotification", v01),
    ] {
        let plain = if plain.ends_with("text") { format!("{plain}\"") } else { plain.to_owned() };
        assert_eq!(edit(&format!("{plain}}}"), None, false), Ok(format!(r#"{plain},"{key}":{value}}}"#)));
    }
}

#[test]
fn existing_configuration_is_extended_in_place() {
    let body = fixture("facade_request.json").trim_end();
    let want = body.replace(
        r#"["text/plain"]}"#,
        r#"["text/plain"],"taskPushNotificationConfig":{"url":"mq9://broker/new.cb"}}"#,
    );
    assert_eq!(edit(body, None, false), Ok(want));
}

#[test]
fn an_existing_callback_is_kept_unless_replacing_is_asked_for() {
    for (name, old, field) in [
        ("seed_call.json", "mq9://broker/cb.one", "pushNotification.url"),
        ("v0_1_tasks_send.json", "mq9://broker/cb.v01", "params.pushNotification.url"),
        ("v0_2_message_send.json", "mq9://broker/cb.v02", "configuration.pushNotificationConfig.url"),
        (
            "v1_send_message.json",
            "mq9://broker.internal:4222/cb.v1",
            "configuration.taskPushNotificationConfig.url",
        ),
    ] {
        let body = fixture(name);
        let refused = edit(body, None, false).unwrap_err();
        assert_eq!(refused, format!("the body already has a callback in {field}"));
        assert_eq!(edit(body, None, true).unwrap(), body.replace(old, URI), "{name}");
    }
}

#[test]
fn unset_forms_of_the_field_are_filled_without_asking() {
    for (body, want) in [
        (r#"{"pushNotification":{"url":""}}"#, r#"{"pushNotification":{"url":"mq9://broker/new.cb"}}"#),
        (
            r#"{"pushNotification":{"url":null,"token":"t"}}"#,
            r#"{"pushNotification":{"url":"mq9://broker/new.cb","token":"t"}}"#,
        ),
        (r#"{"pushNotification":null}"#, r#"{"pushNotification":{"url":"mq9://broker/new.cb"}}"#),
        ("{}", r#"{"pushNotification":{"url":"mq9://broker/new.cb"}}"#),
    ] {
        assert_eq!(edit(body, None, false).unwrap(), want);
    }
    let odd = r#"{"pushNotification":{"url":5}}"#;
    assert!(edit(odd, None, false).unwrap_err().contains("already has a callback"));
    assert_eq!(edit(odd, None, true).unwrap(), r#"{"pushNotification":{"url":"mq9://broker/new.cb"}}"#);
}

#[test]
fn another_spelling_counts_as_existing_and_is_never_silently_preferred() {
    let hidden = r#"{"jsonrpc":"2.0","method":"message/send","params":{"configuration":{"taskPushNotificationConfig":{"url":"a"}}}}"#;
    assert!(edit(hidden, None, false).unwrap_err().contains("taskPushNotificationConfig"));
    assert_eq!(
        edit(hidden, None, true).unwrap_err(),
        "the body's callback in configuration.taskPushNotificationConfig.url would hide one in \
         configuration.pushNotificationConfig.url"
    );
    let behind = r#"{"jsonrpc":"2.0","method":"SendMessage","params":{},"pushNotification":{"url":"a"}}"#;
    assert!(edit(behind, None, false).unwrap_err().ends_with("in pushNotification.url"));
    let edited = edit(behind, None, true).unwrap();
    assert!(edited.contains(r#""pushNotification":{"url":"a"}"#), "{edited}");
    assert_eq!(callback_of(edited.as_bytes()).as_deref(), Some(URI));
}

#[test]
fn a_field_can_be_named_where_the_message_has_none() {
    let body = r#"{"jsonrpc":"2.0","method":"GetTask","params":{"id":"t"}}"#;
    let refused = edit(body, None, false).unwrap_err();
    assert!(refused.starts_with("a `GetTask` request has no callback field of its own"), "{refused}");
    let edited = edit(body, Some(CallbackField::PushNotification), false).unwrap();
    assert_eq!(edited, body.replace("\"t\"}}", r#""t"},"pushNotification":{"url":"mq9://broker/new.cb"}}"#));
    for (name, kind) in [("hermes_call.json", "mq9_call"), ("wrapped.json", "a2aEnvelope")] {
        let refused = edit(fixture(name), None, false).unwrap_err();
        assert!(refused.starts_with(&format!("a `{kind}` request has no callback")), "{refused}");
    }
    let response = fixture("v1_stream_reply.json");
    assert!(edit(response, None, false).unwrap_err().starts_with("a `` request has no callback"));
}

#[test]
fn bodies_that_cannot_be_edited_are_refused_with_the_reason() {
    for (body, words) in [
        ("", "not JSON at byte 0"),
        ("[1]", "`$` is not an object"),
        (r#"{"pushNotification":[]}"#, "`pushNotification` is not an object"),
        (r#"{"method":"SendMessage","params":[1]}"#, "`params` is not an object"),
        (r#"{"pushNotification":{},"pushNotification":{}}"#, "`pushNotification` is there more than once"),
        (
            r#"{"pushNotification":{"url":null,"ur\u006c":null}}"#,
            "`pushNotification.url` is there more than once",
        ),
    ] {
        let error = edit(body, None, true).unwrap_err();
        assert!(error.starts_with(words), "{body}: {error}");
    }
    let error = with_callback(b"{}", "", None, false).unwrap_err();
    assert_eq!(error.to_string(), "`pushNotification.url` is missing");
    let full = format!("{{\"x\":\"{}\"}}", "x".repeat(4 * 1024 * 1024 - 8));
    assert!(matches!(with_callback(full.as_bytes(), URI, None, false), Err(Error::Limit { .. })));
}

#[test]
fn an_address_with_a_password_is_not_written() {
    for uri in ["mq9://user:secret@broker/cb", "MQ9S://token@broker/cb"] {
        let error = with_callback(b"{}", uri, None, false).unwrap_err().to_string();
        assert_eq!(error, "answer address: it carries credentials");
    }
    assert!(with_callback(b"{}", "https://example.org/@cb", None, false).is_ok());
}

#[test]
fn mailbox_callbacks_are_taken_out_for_handlers_that_know_http_alone() {
    let stripped = |body: &str| {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        without_mailbox_callbacks(&body).map(|body| String::from_utf8(body.to_vec()).unwrap())
    };
    for (body, want) in [
        (
            r#"{"jsonrpc":"2.0","params":{"message":{}, "configuration":{"a":1.0,"taskPushNotificationConfig":{"url":"mq9://b/x","id":"p"}}}}"#,
            r#"{"jsonrpc":"2.0","params":{"message":{}, "configuration":{"a":1.0}}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","params":{"configuration":{"pushNotificationConfig":{"url":"MQ9S://b/x"},"a":1e400}}}"#,
            r#"{"jsonrpc":"2.0","params":{"configuration":{"a":1e400}}}"#,
        ),
        (r#"{"pushNotification":{"url":"mq9://b/x"},"message":{}}"#, r#"{"message":{}}"#),
        (
            r#"{"jsonrpc":"2.0","params":{"pushNotification":{"url":"mq9://b/x"}},"pushNotification":{"url":"mq9://b/y"}}"#,
            r#"{"jsonrpc":"2.0","params":{}}"#,
        ),
    ] {
        assert_eq!(stripped(body).as_deref(), Ok(want));
    }
    for kept in [
        r#"{"pushNotification":{"url":"https://example.org/hook"}}"#,
        r#"{"pushNotification":{"url":"bare.box"} }"#,
        "[1.0 ]",
    ] {
        assert_eq!(stripped(kept).as_deref(), Ok(kept));
    }
    assert!(stripped(r#"{"pushNotification":{},"pushNotification":{"url":"mq9://b/x"}}"#).is_err());
    assert!(stripped("{").is_err());
}

#[test]
fn no_error_prints_the_address() {
    for name in ["seed_call.json", "v0_2_message_send.json", "v1_send_message.json"] {
        let error = with_callback(fixture(name).as_bytes(), "mq9://broker/hidden", None, false).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("mq9://"), "{error:?}");
        let found = find_callback(fixture(name).as_bytes(), &Limits::default()).unwrap().unwrap();
        assert!(!format!("{found:?}").contains("mq9://"), "{found:?}");
    }
}

#[test]
fn an_answer_goes_to_the_header_then_hermes_then_the_callback() {
    let find = |headers: &[(&str, &str)], body: &str| {
        answer_address(&Headers::from_pairs(headers.iter().copied()).unwrap(), body.as_bytes())
            .map(|answer| (answer.address.clone(), answer.source))
    };
    let hermes = r#"{"type":"mq9_call","reply_to":"h","pushNotification":{"url":"c"}}"#;
    assert_eq!(find(&[("mq9-reply-to", "x")], hermes), Some(("x".into(), AnswerSource::Header)));
    assert_eq!(find(&[("mq9-reply-to", "")], hermes), Some(("h".into(), AnswerSource::Hermes)));
    let callback = AnswerSource::Callback(CallbackField::PushNotification);
    assert_eq!(find(&[], &hermes.replace("mq9_call", "other")), Some(("c".into(), callback)));
    assert_eq!(find(&[], &hermes.replace("\"h\"", "\"\"")), Some(("c".into(), callback)));
    assert_eq!(find(&[], "plain"), None);
    assert_eq!(find(&[], "{}"), None);
    let answer = answer_address(&Headers::new(), fixture("hermes_call.json").as_bytes()).unwrap();
    assert_eq!(answer.address, "cb.hermes");
    assert!(!format!("{answer:?}").contains("cb.hermes"));
}

#[test]
fn placement_decides_between_header_and_body() {
    let body = "{\"x\": 1.0}";
    let place = |placement| Envelope::new(body).with_answer_address("new.cb", URI, placement, false).unwrap();
    let header = place(Placement::Header);
    assert_eq!((header.reply_to(), &header.body[..]), (Some("new.cb"), body.as_bytes()));
    let both = place(Placement::HeaderAndBody);
    assert_eq!((both.reply_to(), callback_of(&both.body).as_deref()), (Some("new.cb"), Some(URI)));
    let inside = place(Placement::Body);
    assert_eq!((inside.reply_to(), callback_of(&inside.body).as_deref()), (None, Some(URI)));

    let again =
        |e: Envelope, placement, replace| e.with_answer_address("b", "mq9://broker/b", placement, replace);
    assert_eq!(again(header.clone(), Placement::Header, false), Err(Error::AnswerExists));
    let blank = Envelope::new(body).with_header("mq9-reply-to", "").unwrap();
    assert_eq!(again(blank, Placement::Header, false).unwrap().reply_to(), Some("b"));
    assert!(matches!(again(inside, Placement::Body, false), Err(Error::CallbackExists { .. })));
    let replaced = again(both, Placement::HeaderAndBody, true).unwrap();
    assert_eq!(
        (replaced.reply_to(), callback_of(&replaced.body).as_deref()),
        (Some("b"), Some("mq9://broker/b"))
    );
    let moved = again(header, Placement::Body, true).unwrap();
    assert_eq!((moved.reply_to(), callback_of(&moved.body).as_deref()), (None, Some("mq9://broker/b")));
}

/// One object on the way to the field: members around the next one, and the space before the brace.
#[derive(Debug, Clone)]
struct Level {
    before: Vec<String>,
    after: Vec<String>,
    tail: String,
}

fn level() -> impl Strategy<Value = Level> {
    let members = || prop::collection::vec(foreign_member(), 0..3);
    (members(), members(), space()).prop_map(|(before, after, tail)| Level { before, after, tail })
}

/// Writes nested objects: `names[i]` leads from level `i` to the next. The innermost gets `leaf` between its
/// members, and `added` behind them.
fn render(levels: &[Level], names: &[&str], leaf: Option<&str>, added: Option<&str>) -> String {
    let (here, deeper) = levels.split_first().unwrap();
    let child = match deeper.is_empty() {
        true => leaf.map(str::to_owned),
        false => Some(format!("\"{}\":{}", names[0], render(deeper, &names[1..], leaf, added))),
    };
    let mut members: Vec<String> =
        here.before.iter().cloned().chain(child).chain(here.after.iter().cloned()).collect();
    // What is added goes directly behind the last value, before any space that follows it.
    let mut tail = here.tail.clone();
    if let Some(last) = members.last_mut() {
        let kept = last.trim_end().len();
        tail.insert_str(0, &last.split_off(kept));
    }
    if deeper.is_empty() {
        members.extend(added.map(str::to_owned));
    }
    format!("{{{}{tail}}}", members.join(","))
}

const VERSIONS: [(&str, CallbackField, &[&str]); 4] = [
    (
        "\"method\":\"SendMessage\",\"jsonrpc\":\"2.0\"",
        CallbackField::TaskPushNotificationConfig,
        &["params", "configuration", "taskPushNotificationConfig"],
    ),
    (
        "\"jsonrpc\":\"2.0\",\"method\":\"message/send\"",
        CallbackField::PushNotificationConfig,
        &["params", "configuration", "pushNotificationConfig"],
    ),
    (
        "\"jsonrpc\" : \"2.0\",\"method\":\"tasks/send\"",
        CallbackField::ParamsPushNotification,
        &["params", "pushNotification"],
    ),
    ("\"id\":1e400", CallbackField::PushNotification, &["pushNotification"]),
];

proptest! {
    #![proptest_config(seeded(768))]

    #[test]
    fn adding_a_callback_adds_exactly_that_field(
        mut levels in prop::collection::vec(level(), 4),
        version in 0usize..4,
        existing in 1usize..=4,
    ) {
        let (head, field, names) = VERSIONS[version];
        // So many objects of the way are there already; the rest is created.
        let existing = existing.min(names.len() + 1);
        levels.truncate(existing);
        levels[0].before.insert(0, head.to_owned());
        let missing = &names[existing - 1..];
        let quoted = format!("\"{URI}\"");
        let added = match missing.split_first() {
            None => format!("\"url\":{quoted}"),
            Some((first, rest)) => {
                let inner = format!("{{\"url\":{quoted}}}");
                let inner = rest.iter().rev().fold(inner, |inner, name| format!("{{\"{name}\":{inner}}}"));
                format!("\"{first}\":{inner}")
            }
        };
        let before = render(&levels, names, None, None);
        let after = render(&levels, names, None, Some(&added));
        prop_assert_eq!(edit(&before, None, false), Ok(after.clone()));
        prop_assert_eq!(callback_of(after.as_bytes()), Some(URI.to_owned()));
        prop_assert_eq!(find_callback(after.as_bytes(), &Limits::default()).unwrap().unwrap().field, field);
    }

    #[test]
    fn replacing_a_callback_changes_exactly_that_value(
        mut levels in prop::collection::vec(level(), 4),
        version in 0usize..4,
        old in support::string_token(),
    ) {
        let (head, _, names) = VERSIONS[version];
        levels.truncate(names.len() + 1);
        levels[0].before.insert(0, head.to_owned());
        let with = |value: &str| render(&levels, names, Some(&format!("\"url\" : {value} ")), None);
        let (before, after) = (with(&old), with(&format!("\"{URI}\"")));
        prop_assert_eq!(edit(&before, None, true), Ok(after));
        if old != "\"\"" {
            prop_assert!(edit(&before, None, false).unwrap_err().contains("already has a callback"));
        }
    }
}
