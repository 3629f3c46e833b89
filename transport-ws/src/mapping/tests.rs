//! What goes in comes out, through a server that takes JSON apart and puts it together again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentchat_core::{
    AckTag, Address, Body, ClientMsgId, ConversationId, CorrelationId, Delivery, ErrorKind, Outbound,
    Priority,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::{Draft, MAX_CONTENT};
use crate::wire::MessageRow;

fn to(name: &str) -> Address {
    Address::parse(format!("agentchat://{name}")).expect("valid")
}

fn message(body: Body) -> Outbound {
    Outbound::new(to("bob"), body)
}

/// The row a server makes of a draft: JSON is read and written anew, its members sorted.
pub(crate) fn stored(draft: &Draft) -> MessageRow {
    let request: Value = serde_json::from_slice(&draft.to_body().expect("JSON")).expect("JSON");
    let row = json!({
        "id": "msg_1", "conversation_id": "conv_1", "seq": 7, "sender": "alice", "type": request["type"],
        "client_msg_id": request["client_msg_id"], "content": request["content"],
        "metadata": request.get("metadata").cloned().unwrap_or(json!({})), "created_at": "2026-11-21T19:13:20.230582+00:00",
    });
    MessageRow::parse(row.to_string()).expect("a row")
}

fn through(message: &Outbound) -> Delivery {
    let draft = to_draft(message).expect("it fits");
    assert!(draft.size() <= MAX_CONTENT, "{}", draft.size());
    from_row(&stored(&draft), AckTag::new("t").expect("a tag")).expect("a delivery")
}

#[test]
fn every_part_arrives() {
    let deadline = UNIX_EPOCH + Duration::from_millis(4_102_444_800_123);
    let sent = message(Body::json(r#"{"text":"größe", "n":1.0}"#))
        .with_conversation(ConversationId::new("conversation-1").expect("id"))
        .with_correlation_id(CorrelationId::new("call-1").expect("id"))
        .with_reply_to(to("alice"))
        .with_header("x-custom", "kept as it is")
        .with_header("a-later", "größe; a=\"b\", c")
        .with_tag("first")
        .with_tag("b")
        .with_deadline(deadline);
    let got = through(&sent);
    assert_eq!(got.body, sent.body);
    assert_eq!((got.client_msg_id, got.conversation), (Some(sent.client_msg_id), sent.conversation));
    assert_eq!((got.reply_to, got.correlation_id), (sent.reply_to, sent.correlation_id));
    assert_eq!((got.headers, got.tags, got.deadline), (sent.headers, sent.tags, Some(deadline)));
    assert_eq!(got.sender, Some(to("alice")));
    assert_eq!((got.seq, got.priority, got.key), (None, Priority::Normal, None));
    assert_eq!(got.created, crate::wire::parse_time("2026-11-21T19:13:20.230582+00:00"));
}

#[test]
fn plain_text_looks_like_everybody_elses() {
    let draft = to_draft(&message(Body::text("hello"))).expect("it fits");
    let row = stored(&draft);
    assert_eq!((row.content_json(), row.metadata_json()), (Some(r#"{"text":"hello"}"#), Some("{}")));
    let got = from_row(&row, AckTag::new("t").expect("a tag")).expect("a delivery");
    assert_eq!((got.body, got.seq), (Body::text("hello"), Some(7)));
    assert_eq!(got.conversation, ConversationId::new("conv_1").ok());
}

#[test]
fn json_is_there_for_other_clients_and_exact_for_ours() {
    let exact = "{ \"z\":1.50, \"a\":[1,2],\"z\":1e2 }";
    let row = stored(&to_draft(&message(Body::json(exact))).expect("it fits"));
    let data: Value = serde_json::from_str(row.content().data.expect("a copy")).expect("JSON");
    assert_eq!(data["a"], json!([1, 2]));
    assert_eq!(through(&message(Body::json(exact))).body, Body::json(exact));
}

#[test]
fn bodies_that_servers_choke_on_arrive_all_the_same() {
    for body in [
        Body::text("nul\0char"),
        Body::json("{\"a\":\"\\u0000\"}"),
        Body::json(r#"{"a":"\ud800"}"#),
        Body::json("{\"a\":\"\0\"}"),
        Body::json("no json at all"),
        Body::binary((0..=255).collect::<Vec<u8>>()),
        Body::binary(Vec::new()),
        Body::binary(b"\xef\xbb\xbftext".to_vec()),
        Body::new("text/markdown; charset=utf-8", "# t"),
        Body::new("application/vnd.agentchat.content+json", "{}"),
    ] {
        let draft = to_draft(&message(body.clone())).expect("it fits");
        let sent = String::from_utf8(draft.to_body().expect("JSON").to_vec()).expect("UTF-8");
        let data_and_text: Value = serde_json::from_str(&sent).expect("what is sent can be read anywhere");
        assert!(!data_and_text.to_string().contains(r#""nul\u0000"#), "{sent}");
        assert_eq!(through(&message(body.clone())).body, body, "{sent}");
    }
}

#[test]
fn the_largest_bodies_fit_and_one_byte_more_is_refused() {
    let largest = message(Body::text("x".repeat(MAX_BODY)));
    assert_eq!(to_draft(&largest).expect("it fits").size(), MAX_CONTENT);
    let error = to_draft(&message(Body::text("x".repeat(MAX_BODY + 1)))).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("32768"), "{error}");
    // Escapes would make six bytes of each: base64 makes four of three.
    for body in [Body::binary(vec![0xff; MAX_ANY_BODY]), Body::text("\u{1}".repeat(MAX_ANY_BODY))] {
        let sent = message(body.clone()).with_header("x-long", "v".repeat(600));
        assert_eq!(through(&sent).body, body);
    }
    let json = Body::json(format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000)));
    let row = stored(&to_draft(&message(json.clone())).expect("it fits without the copy"));
    assert!(row.content().data.is_none());
    assert_eq!(through(&message(json.clone())).body, json);
}

#[test]
fn what_the_network_has_not_is_refused_and_not_lost() {
    let minute = Duration::from_secs(60);
    let plain = || message(Body::text("x"));
    for asked in [
        plain().with_priority(Priority::Urgent),
        plain().with_ttl(minute),
        plain().with_delay(minute),
        plain().with_key("k"),
    ] {
        assert_eq!(to_draft(&asked).expect_err("refused").kind(), ErrorKind::Unsupported);
    }
    for address in ["loopback://bob", "agentchat://host/bob", "agentchat://conv_1"] {
        let sent = Outbound::new(Address::parse(address).expect("valid"), Body::text("x"));
        assert_eq!(to_draft(&sent).expect_err(address).kind(), ErrorKind::Invalid, "{address}");
    }
}

fn read(json: Value) -> Delivery {
    let row = MessageRow::parse(json.to_string()).expect("a row");
    from_row(&row, AckTag::new("t").expect("a tag")).expect("a delivery")
}

#[test]
fn other_clients_messages_arrive_whole() {
    for (content, body) in [
        (json!({"text": "hi"}), Body::text("hi")),
        (json!({"data": {"k": 1}}), Body::json(r#"{"k":1}"#)),
        (json!({"text": "t", "data": {"k": 1}}), Body::new(CONTENT, r#"{"data":{"k":1},"text":"t"}"#)),
        (json!({"attachment_id": "att_1"}), Body::new(CONTENT, r#"{"attachment_id":"att_1"}"#)),
        (json!("odd"), Body::new(CONTENT, "\"odd\"")),
        (Value::Null, Body::new(CONTENT, "{}")),
    ] {
        assert_eq!(read(json!({"id": "m", "content": content})).body, body, "{content}");
    }
    let got = read(json!({"id": "m", "content": {"text": "x"}, "client_msg_id": "é", "sender": "a/b",
        "metadata": {"reply_to": "msg_0", "bad name": "x", "n": 1, "line": "a\nb"}}));
    assert_eq!(got.headers.iter().collect::<Vec<_>>(), [("reply_to", "msg_0")]);
    assert_eq!((got.client_msg_id, got.sender, got.reply_to), (None, None, None));
}

#[test]
fn only_the_server_can_tell_an_event() {
    let event = json!({"event": "member_left", "agent_handle": "wren"});
    let genuine =
        read(json!({"id": "m1", "client_msg_id": "sys_m1", "type": "system", "content": {"data": event},
        "metadata": {OURS: {"v": 1, "type": "text/plain"}}}));
    assert_eq!(genuine.body.media_type, SYSTEM);
    let forged =
        read(json!({"id": "m1", "client_msg_id": "sys_m2", "type": "system", "content": {"data": event}}));
    assert_eq!(forged.body.media_type, JSON);
    let claimed =
        read(json!({"id": "m1", "content": {"text": "{}"}, "metadata": {OURS: {"v": 1, "type": SYSTEM}}}));
    assert_eq!(claimed.body.media_type, JSON);
}

#[test]
fn damaged_metadata_never_costs_the_message() {
    for ours in [
        json!(7),
        json!([]),
        json!({"v": 2, "body": "zip"}),
        json!({"v": 1, "body": "base64"}),
        json!({"v": 1, "tags": 5}),
        json!({"v": 1, "headers": [["a"]]}),
    ] {
        let got = read(json!({"id": "m", "content": {"text": "hi"}, "metadata": {OURS: ours}}));
        assert_eq!(got.body, Body::text("hi"), "{ours}");
    }
    let ours = json!({"v": 1, "reply_to": "nowhere", "conversation": "a b", "correlation_id": "", "deadline": u64::MAX,
        "headers": [["ok", "1"], ["not ok", "1"], ["x", "a\nb"]]});
    let got = read(
        json!({"id": "m", "conversation_id": "c", "seq": 3, "content": {"text": "hi"}, "metadata": {OURS: ours}}),
    );
    assert_eq!((got.reply_to, got.correlation_id), (None, None));
    assert_eq!((got.conversation, got.seq), (ConversationId::new("c").ok(), Some(3)));
    assert_eq!(got.headers.iter().collect::<Vec<_>>(), [("ok", "1")]);
}

#[test]
fn a_row_without_a_usable_id_is_no_delivery() {
    for id in [json!(null), json!(""), json!("a b"), json!(5)] {
        let row = MessageRow::parse(json!({ "id": id }).to_string()).expect("a row");
        assert!(from_row(&row, AckTag::new("t").expect("a tag")).is_none(), "{id}");
    }
}

fn any_body() -> impl Strategy<Value = Body> {
    let media_type = prop::sample::select(vec![
        "text/plain",
        "application/json",
        "application/a2a+json",
        "application/octet-stream",
        "image/png",
    ]);
    let json =
        prop::collection::vec(("[a-z\"\\\\\u{0}é]{0,3}", "-?[0-9]{1,3}(\\.[0-9]{1,2})?(e[0-9]{1,2})?"), 0..6)
            .prop_map(|members| {
                let member = |(name, number): (String, String)| format!("{} : {number}", Value::from(name));
                format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(" ,\n"))
                    .into_bytes()
            });
    let bytes = prop_oneof![
        json,
        prop::collection::vec(any::<u8>(), 0..300),
        ".{0,100}".prop_map(String::into_bytes)
    ];
    (media_type, bytes).prop_map(|(media_type, bytes)| Body::new(media_type, bytes))
}

proptest! {
    #[test]
    fn every_body_comes_back_byte_for_byte(body in any_body()) {
        prop_assert_eq!(through(&message(body.clone())).body, body);
    }

    #[test]
    fn headers_and_tags_keep_their_order(
        headers in prop::collection::vec(("[a-zA-Z0-9_.-]{1,8}", "[!-~é]([ -~é]{0,8}[!-~])?"), 0..6),
        tags in prop::collection::vec("[!-~]{1,8}", 0..4),
        ms in 0_u64..1 << 50,
        id in "[!-~]{1,128}",
    ) {
        let mut sent = message(Body::text("x")).with_id(ClientMsgId::new(&id).unwrap());
        sent.headers = headers.into_iter().collect();
        sent.tags = tags;
        sent.deadline = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let got = through(&sent);
        prop_assert_eq!((got.headers, got.tags, got.deadline), (sent.headers, sent.tags, sent.deadline));
        prop_assert_eq!(got.client_msg_id, Some(sent.client_msg_id));
    }

    #[test]
    fn any_metadata_is_read_without_panic(metadata in "\\{\"agentchat-rs\":\\{(\"(v|body|type|tags|headers|deadline)\":(1|\"text\"|\"base64\"|\\[\\]|null|\\[\\[\"a\",\"b\"\\]\\]))?\\}\\}|.{0,30}") {
        let json = format!(r#"{{"id":"m","content":{{"text":"a"}},"metadata":{metadata}}}"#);
        if let Ok(row) = MessageRow::parse(json) {
            prop_assert!(from_row(&row, AckTag::new("t").unwrap()).is_some());
        }
    }
}

#[test]
fn what_the_server_says_of_a_sender_is_apart_from_what_the_sender_says() {
    let row = json!({
        "id": "msg_1", "conversation_id": "conv_1", "seq": 7, "sender": "alice", "type": "text",
        "content": {"text": "x"}, "created_at": "2026-11-21T19:13:20.230582+00:00",
        "metadata": {"context": "mine", "contact": "true", "note": "of the sender"},
        "context": {"sender": {"display_name": "Alice"}, "relationship": {"contact": false}, "note": "of the server"},
    });
    let row = MessageRow::parse(row.to_string()).expect("a row");
    let got = from_row(&row, AckTag::new("t").expect("a tag")).expect("a delivery");
    let said: Vec<_> = got.headers.iter().collect();
    assert_eq!(said, [("contact", "true"), ("context", "mine"), ("note", "of the sender")]);
    assert!(row.context().is_some(), "the server's word is read from where only the server writes");
}
