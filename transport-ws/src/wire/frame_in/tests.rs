//! Frames as recorded, and what is none.

use proptest::prelude::*;

use super::*;
use crate::wire::PresenceStatus;

#[test]
fn hello_ok_tells_what_is_granted() {
    for (frame, granted) in [
        (r#"{"type":"hello.ok"}"#, vec![]),
        (r#"{"type":"hello.ok","capabilities":["ack",7,"more"]}"#, vec!["ack", "more"]),
        (r#"{"type":"hello.ok","capabilities":"ack"}"#, vec![]),
        (r#"{"type":"hello.ok","capabilities":null}"#, vec![]),
    ] {
        let ServerFrame::HelloOk { capabilities } = ServerFrame::read(frame) else { panic!("{frame}") };
        assert_eq!(capabilities, granted, "{frame}");
    }
}

#[test]
fn a_pushed_message_shares_the_frames_memory() {
    let frame = Bytes::from_static(
        br#"{"payload":{"id":"msg_1","conversation_id":"conv_1","sender":"bob","seq":2,"content":{"text":"off 3"}},"type":"message.new"}"#,
    );
    let ServerFrame::Message(row) = ServerFrame::read(frame.clone()) else { panic!("a message") };
    assert_eq!((row.id(), row.seq(), row.sender()), (Some("msg_1"), Some(2), Some("bob")));
    let text = row.text_bytes().expect("a text");
    assert!(frame.as_ptr_range().contains(&text.as_ptr()), "copied");
}

#[test]
fn recorded_events_are_read() {
    let ServerFrame::Presence(presence) = ServerFrame::read(
        r#"{"type":"presence.update","payload":{"handle":"room-ga","status":"online","custom_message":null}}"#,
    ) else {
        panic!("presence")
    };
    assert_eq!((presence.handle.as_str(), presence.status), ("room-ga", PresenceStatus::Online));
    let ServerFrame::Invitation(invitation) = ServerFrame::read(
        r#"{"type":"group.invite.received","payload":{"id":"gri_1","group_id":"grp_1","group_name":"Test room","group_description":"d","group_avatar_url":null,"group_member_count":2,"inviter_handle":"room-ga","created_at":"2026-11-21T19:22:07.038094+00:00"}}"#,
    ) else {
        panic!("an invitation")
    };
    assert_eq!((invitation.id.as_str(), invitation.group_member_count), ("gri_1", Some(2)));
    let ServerFrame::GroupDeleted(gone) = ServerFrame::read(
        r#"{"type":"group.deleted","payload":{"group_id":"grp_1","deleted_by_handle":"room-ga","deleted_at":"2026-08-12T06:00:00Z"}}"#,
    ) else {
        panic!("a deletion")
    };
    assert_eq!((gone.group_id.as_str(), gone.deleted_by_handle.as_deref()), ("grp_1", Some("room-ga")));
}

#[test]
fn c56_unknown_frame_types() {
    let frame = ServerFrame::read(r#"{"type":"zebra.event","payload":{"a":[1]}}"#);
    assert_eq!(frame.kind(), Some("zebra.event"));
    let ServerFrame::Unknown { payload, .. } = &frame else { panic!("{frame:?}") };
    assert_eq!(payload.json, r#"{"a":[1]}"#);
    assert!(!format!("{frame:?}").contains("[1]"), "a payload does not print");
    for (frame, why) in [
        ("", Unreadable::NotJson),
        ("hello", Unreadable::NotJson),
        ("{", Unreadable::NotJson),
        ("[{}]", Unreadable::NotAnObject),
        ("null", Unreadable::NotAnObject),
        ("7", Unreadable::NotAnObject),
        ("{}", Unreadable::NoType),
        (r#"{"type":5}"#, Unreadable::NoType),
        (r#"{"type":"message.new"}"#, Unreadable::BadPayload),
        (r#"{"type":"message.new","payload":[]}"#, Unreadable::BadPayload),
        (r#"{"type":"message.new","payload":null}"#, Unreadable::BadPayload),
        (r#"{"type":"presence.update","payload":{}}"#, Unreadable::BadPayload),
    ] {
        let read = ServerFrame::read(frame);
        assert!(matches!(read, ServerFrame::Unreadable(found) if found == why), "{frame}: {read:?}");
    }
    assert!(matches!(ServerFrame::binary(), ServerFrame::Unreadable(Unreadable::Binary)));
    assert!(matches!(ServerFrame::read(&b"\xff\xfe"[..]), ServerFrame::Unreadable(Unreadable::NotJson)));
}

#[test]
fn a_refusal_says_why_wherever_the_words_stand() {
    for (frame, reason) in [
        (r#"{"type":"auth.rejected","payload":{"reason":"key revoked"}}"#, Some("key revoked")),
        (r#"{"type":"error","payload":{"message":"no","reason":"x"}}"#, Some("no")),
        (r#"{"type":"hello.error","message":"late"}"#, Some("late")),
        (r#"{"type":"error","reason":"bad","payload":[]}"#, Some("bad")),
        (r#"{"type":"error"}"#, None),
    ] {
        let ServerFrame::Refused { reason: read, .. } = ServerFrame::read(frame) else { panic!("{frame}") };
        assert_eq!(read.as_deref(), reason, "{frame}");
    }
}

#[test]
fn typing_and_warnings_are_read_and_may_be_thin() {
    let ServerFrame::Typing(typing) =
        ServerFrame::read(r#"{"type":"typing.stop","payload":{"conversation_id":"c","sender":"a"}}"#)
    else {
        panic!("typing")
    };
    assert_eq!((typing.conversation_id.as_str(), typing.started), ("c", false));
    let warning =
        r#"{"type":"rate_limit.warning","payload":{"endpoint":"POST /v1/messages","remaining":"4"}}"#;
    let ServerFrame::RateLimit(warning) = ServerFrame::read(warning) else { panic!("a warning") };
    assert_eq!((warning.remaining, warning.limit), (Some(4), None));
    assert!(matches!(ServerFrame::read(r#"{"type":"rate_limit.warning"}"#), ServerFrame::RateLimit(_)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_unreadable(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ServerFrame::read(bytes);
    }

    #[test]
    fn any_payload_of_any_type_is_a_frame_or_unreadable(
        kind in prop::sample::select(vec!["hello.ok", "message.new", "message.read", "presence.update", "typing.start",
            "rate_limit.warning", "group.invite.received", "group.deleted", "error", "x"]),
        payload in "(\\{(\"(id|handle|group_id|status|seq)\":(null|1|\"a\"|\\[\\]))?\\}|null|1|\"\\\\u0000\"|\\[1\\])",
    ) {
        let frame = ServerFrame::read(format!(r#"{{"type":"{kind}","payload":{payload}}}"#));
        if let Some(read) = frame.kind() {
            prop_assert_eq!(read, kind);
        }
    }
}
