//! Frames: known ones are read, unknown ones are kept, all others are passed over by name.

use bytes::Bytes;
use fuzz_harness::Dice;

use super::json::{damage, object, value};
use crate::wire::{ServerFrame, Unreadable};

pub(super) fn run(dice: &mut Dice) {
    let kind = *dice.choice(&KINDS).expect("there are some");
    let payload = match dice.u8(0..4) {
        0 => value(dice),
        _ => object(dice, &MEMBERS).text.trim_ascii().to_owned(),
    };
    let beside = match dice.u8(0..6) {
        0 => format!(",\"capabilities\":{}", value(dice)),
        1 => format!(",\"message\":{}", value(dice)),
        2 => format!(",\"id\":{}", value(dice)),
        _ => String::new(),
    };
    let frame = match dice.u8(0..6) {
        0 => format!("{{\"payload\":{payload},\"type\":\"{kind}\"{beside}}}"),
        1 => format!("{{\"type\":\"{kind}\"{beside}}}"),
        2 => format!("{{\"type\":{},\"payload\":{payload}{beside}}}", value(dice)),
        _ => format!("{{\"type\":\"{kind}\",\"payload\":{payload}{beside}}}"),
    };
    if dice.u8(0..4) == 0 {
        let bytes = Bytes::from(damage(dice, frame));
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        let read = ServerFrame::read(bytes.clone());
        // Not more than what JSON is, and the same words again for the same bytes.
        assert!(is_json || matches!(read, ServerFrame::Unreadable(Unreadable::NotJson)), "{read:?}");
        assert_eq!(format!("{read:?}"), format!("{:?}", ServerFrame::read(bytes)));
        return dice.reached(("damaged", is_json, read.kind().is_some()));
    }
    let read = ServerFrame::read(frame.clone());
    dice.reached((kind, std::mem::discriminant(&read), payload.starts_with('{')));
    judge(&read, &frame);
}

fn judge(read: &ServerFrame, frame: &str) {
    let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
        serde_json::from_str(frame).expect("a frame is an object");
    let kind: Option<String> = members.get("type").and_then(|kind| serde_json::from_str(kind.get()).ok());
    // No payload, to whoever reads it.
    let payload = members.get("payload").map_or("", |payload| payload.get());
    let payload = if payload == "null" { "" } else { payload };
    match (&kind, read) {
        (None, read) => assert!(matches!(read, ServerFrame::Unreadable(Unreadable::NoType)), "{read:?}"),
        (Some(_), ServerFrame::Unreadable(why)) => {
            assert_eq!(*why, Unreadable::BadPayload, "{frame}");
            assert!(KINDS[1..8].contains(&kind.as_deref().unwrap_or_default()), "{kind:?} is lost");
        }
        (Some(kind), read) => assert_eq!(read.kind(), Some(kind.as_str())),
    }
    match read {
        ServerFrame::Message(row) => assert_eq!(row.json_text(), payload),
        ServerFrame::Unknown { payload: kept, .. } => assert_eq!(kept.json, payload),
        _ => {}
    }
    // A message of that type with an object is always one: nothing in it is worth losing it for.
    if kind.as_deref() == Some("message.new") && payload.starts_with('{') {
        assert!(matches!(read, ServerFrame::Message(_)), "{frame}");
    }
    assert!(!format!("{read:?}").contains("wren"), "no content in what is shown");
}

/// The second to the eighth may have a payload that is none.
const KINDS: [&str; 14] = [
    "hello.ok",
    "message.new",
    "message.read",
    "presence.update",
    "typing.start",
    "group.invite.received",
    "group.deleted",
    "typing.stop",
    "rate_limit.warning",
    "hello.error",
    "auth.rejected",
    "error",
    "zebra.event",
    "",
];

const MEMBERS: [&str; 14] = [
    "id",
    "conversation_id",
    "seq",
    "content",
    "message_id",
    "through_seq",
    "handle",
    "status",
    "sender",
    "group_id",
    "reason",
    "message",
    "inviter",
    "x",
];
