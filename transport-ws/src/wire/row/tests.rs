//! Rows as recorded, as damaged, and as nobody would send them.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The shape of a recorded drain row, with a member nobody knows.
const ROW: &str = r#"{"id":"msg_k3J4","conversation_id":"conv__tdb","client_msg_id":"d2a7","seq":31,"type":"text","content":{"text":"off 3"},"metadata":{"trace":"t1"},"created_at":"2026-11-21T19:17:25.647744+00:00","delivery_id":"del_b93c","status":"stored","delivered_at":null,"read_at":null,"sender":"liam","priority":{"level":[1, 2]}}"#;

#[test]
fn c04_unknown_members_kept() {
    let row = MessageRow::parse(ROW).expect("a row");
    assert_eq!(row.extra("priority"), Some(r#"{"level":[1, 2]}"#));
    assert_eq!(row.extras().collect::<Vec<_>>(), [("priority", r#"{"level":[1, 2]}"#)]);
    assert_eq!(row.json_text(), ROW);
}

#[test]
fn every_known_member_is_read() {
    let row = MessageRow::parse(ROW).expect("a row");
    assert_eq!((row.id(), row.conversation_id()), (Some("msg_k3J4"), Some("conv__tdb")));
    assert_eq!((row.sender(), row.client_msg_id(), row.seq()), (Some("liam"), Some("d2a7"), Some(31)));
    assert_eq!(
        (row.kind(), row.delivery_id(), row.status()),
        (MessageKind::Text, Some("del_b93c"), Some("stored"))
    );
    assert_eq!((row.delivered_at(), row.read_at()), (None, None));
    assert_eq!(
        (row.content_json(), row.metadata_json()),
        (Some(r#"{"text":"off 3"}"#), Some(r#"{"trace":"t1"}"#))
    );
    assert_eq!(row.content().text.as_deref(), Some("off 3"));
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_288_645_647_744);
    assert_eq!((row.created_at(), row.created()), (Some("2026-11-21T19:17:25.647744+00:00"), Some(at)));
    assert!(row.context().is_none() && row.skipped_recipients().is_empty());
}

#[test]
fn a_number_that_cannot_be_counted_on_from_is_none() {
    for (written, seq) in [
        ("1", Some(1)),
        ("9223372036854775807", Some(i64::MAX as u64)),
        ("9223372036854775808", None),
        ("18446744073709551615", None),
        ("\"18446744073709551615\"", None),
        ("18446744073709551616", None),
        ("0", None),
    ] {
        let row = MessageRow::parse(format!(r#"{{"id":"m","seq":{written}}}"#)).expect("a row");
        assert_eq!((row.id(), row.seq()), (Some("m"), seq), "{written}");
    }
}

#[test]
fn a_text_without_escapes_shares_the_rows_memory() {
    let row = MessageRow::parse(ROW).expect("a row");
    let text = row.text_bytes().expect("a text");
    assert!(row.raw.as_bytes().as_ptr_range().contains(&text.as_ptr()), "copied");
    let escaped = MessageRow::parse(r#"{"content":{"text":"a\nb"}}"#).expect("a row");
    assert_eq!(escaped.text_bytes().expect("a text"), "a\nb");
}

#[test]
fn members_of_the_wrong_type_are_missing_and_a_number_in_text_is_read() {
    for (json, id, seq) in [
        ("{}", None, None),
        (r#"{"id":null,"seq":null}"#, None, None),
        (r#"{"id":5,"seq":"12"}"#, None, Some(12)),
        (r#"{"id":"","seq":"x"}"#, None, None),
        (r#"{"id":{"a":1},"seq":[1]}"#, None, None),
        (r#"{"id":"a","seq":0}"#, Some("a"), None),
        (r#"{"id":"a","seq":-3}"#, Some("a"), None),
        (r#"{"id":"a","seq":3.0}"#, Some("a"), Some(3)),
        (r#"{"id":"a","id":"b"}"#, Some("b"), None),
        (r#"{"\u0069d":"a\u0062"}"#, Some("ab"), None),
    ] {
        let row = MessageRow::parse(json).expect(json);
        assert_eq!((row.id(), row.seq()), (id, seq), "{json}");
    }
}

#[test]
fn the_sender_has_three_names_and_no_at_sign() {
    for (json, sender) in [
        (r#"{"sender":"@a"}"#, Some("a")),
        (r#"{"from":"c","sender_handle":"b","sender":"a"}"#, Some("a")),
        (r#"{"from":"c","sender_handle":"b"}"#, Some("b")),
        (r#"{"from":"c","sender":null}"#, Some("c")),
        (r#"{"from":7}"#, None),
    ] {
        assert_eq!(MessageRow::parse(json).expect(json).sender(), sender, "{json}");
    }
}

#[test]
fn content_of_any_shape_is_looked_at() {
    for (json, text, data, attachment) in [
        (r#"{"content":null}"#, None, None, None),
        (r#"{"content":"x"}"#, None, None, None),
        (r#"{"content":{"text":null,"data":null}}"#, None, None, None),
        (r#"{"content":{"text":"","attachment_id":"att_1"}}"#, Some(""), None, Some("att_1")),
        (r#"{"content":{"more":[{}],"data":{ "n" : 1.50 }}}"#, None, Some(r#"{ "n" : 1.50 }"#), None),
        (r#"{"content":{"text":"\ud800"}}"#, None, None, None),
    ] {
        let row = MessageRow::parse(json).expect(json);
        let content = row.content();
        assert_eq!((content.text.as_deref(), content.data), (text, data), "{json}");
        assert_eq!(content.attachment_id.as_deref(), attachment, "{json}");
    }
}

#[test]
fn what_is_no_object_is_said_to_be_unreadable() {
    for (json, why) in [
        ("", Unreadable::NotAnObject),
        ("[]", Unreadable::NotAnObject),
        ("null", Unreadable::NotAnObject),
        ("{", Unreadable::NotJson),
        ("{} x", Unreadable::NotJson),
        (r#"{"id":"\ud800"}"#, Unreadable::NotJson),
    ] {
        assert_eq!(MessageRow::parse(json).expect_err(json), why, "{json}");
    }
    assert_eq!(MessageRow::parse(&b"{\"id\":\"\xff\"}"[..]).expect_err("no text"), Unreadable::NotJson);
}

#[test]
fn skipped_recipients_are_the_texts_of_the_list() {
    let row = MessageRow::parse(r#"{"skipped_recipients":["a",5,"b"]}"#).expect("a row");
    assert_eq!(row.skipped_recipients(), ["a", "b"]);
}

#[test]
fn debug_shows_no_content() {
    let shown = format!("{:?}", MessageRow::parse(ROW).expect("a row"));
    assert!(shown.contains("msg_k3J4") && !shown.contains("off 3") && !shown.contains("trace"), "{shown}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(row) = MessageRow::parse(bytes) {
            let _ = (row.id(), row.content(), row.context(), row.system_event(), row.extras().count());
        }
    }

    #[test]
    fn a_row_damaged_anywhere_is_read_or_refused(at in 0..ROW.len(), byte: u8) {
        let mut bytes = ROW.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(row) = MessageRow::parse(bytes) {
            let _ = (row.sender(), row.text_bytes(), row.created(), row.skipped_recipients());
        }
    }

    #[test]
    fn unknown_members_survive_whatever_they_are(name in "x[^\u{0}]{0,8}", value in any_json(), id in ".{0,10}") {
        let json = json!({ "id": id, "seq": 4, &name: value, "content": { "text": id } }).to_string();
        let row = MessageRow::parse(json).unwrap();
        let kept: Value = serde_json::from_str(row.extra(&name).unwrap()).unwrap();
        prop_assert_eq!(kept, value);
        prop_assert_eq!(row.id().unwrap_or_default(), id.as_str());
        prop_assert_eq!(row.text_bytes().unwrap(), id.as_bytes());
    }

    #[test]
    fn every_member_may_be_any_json(value in any_json()) {
        for name in ["id", "sender", "seq", "type", "content", "metadata", "context", "delivery_id", "skipped_recipients"] {
            let row = MessageRow::parse(json!({ name: value }).to_string()).unwrap();
            let _ = (row.id(), row.seq(), row.kind(), row.content(), row.context(), row.skipped_recipients());
            prop_assert!(row.extra(name).is_none());
        }
    }
}
