//! Rows: every known member is what was written, every other one is kept byte for byte.

use bytes::Bytes;
use fuzz_harness::Dice;

use super::json::{Object, damage, object};
use crate::wire::{MessageRow, Unreadable};

pub(super) fn run(dice: &mut Dice) {
    let made = object(dice, &NAMES);
    if dice.u8(0..4) == 0 {
        let bytes = Bytes::from(damage(dice, made.text));
        let read = MessageRow::parse(bytes.clone());
        dice.reached(("damaged", read.as_ref().map(|row| row.id().is_some()).map_err(|why| *why)));
        return match read {
            Ok(row) => assert_eq!(row.json_text().as_bytes(), &bytes[..], "it is what was read"),
            Err(why) => assert!(matches!(why, Unreadable::NotJson | Unreadable::NotAnObject)),
        };
    }
    let row = MessageRow::parse(made.text.clone()).expect("it is an object");
    judge(&row, &made);
    let again = MessageRow::parse(row.json_text().to_owned()).expect("it was read before");
    judge(&again, &made);
    dice.reached((row.id().is_some(), row.seq().is_some(), row.is_system(), row.extras().count().min(4)));
    dice.reached((row.kind(), row.system_event().is_some(), row.context().is_some()));
}

/// Holds a row to what it was written from.
pub(super) fn judge(row: &MessageRow, made: &Object) {
    assert_eq!(row.json_text(), made.text, "byte for byte");
    for (read, name) in [
        (row.id(), "id"),
        (row.conversation_id(), "conversation_id"),
        (row.client_msg_id(), "client_msg_id"),
        (row.created_at(), "created_at"),
        (row.delivery_id(), "delivery_id"),
        (row.status(), "status"),
    ] {
        assert_eq!(read, made.text_of(name).as_deref(), "{name} of {}", made.text);
    }
    for (read, name) in [(row.content_json(), "content"), (row.metadata_json(), "metadata")] {
        assert_eq!(read, made.json_of(name), "{name} of {}", made.text);
    }
    assert_eq!(row.seq(), made.member("seq").and_then(number), "seq of {}", made.text);
    let unknown = |(name, _): &&(String, String)| UNKNOWN.contains(&name.as_str());
    let extras: Vec<(&str, &str)> = made.members.iter().filter(unknown).map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(row.extras().collect::<Vec<_>>(), extras, "{}", made.text);
    let text = row.content().text;
    assert_eq!(row.text_bytes().as_deref(), text.as_ref().map(|text| text.as_bytes()));
    assert!(!row.is_system() || row.client_msg_id() == row.id().map(|id| format!("sys_{id}")).as_deref());
    let _ = (row.created(), row.context(), row.system_event(), row.skipped_recipients());
    let shown = format!("{row:?}");
    assert!(!shown.contains("wren"), "no content in {shown}");
}

/// What a member says of a number: whole, also as text, and one that can be counted on from.
fn number(written: &str) -> Option<u64> {
    let text: Option<String> = serde_json::from_str(written).ok();
    let digits = text.as_deref().unwrap_or(written);
    let number = match digits.parse::<u64>() {
        Ok(number) => Some(number),
        Err(_) if text.is_some() => None,
        Err(_) => written
            .parse::<f64>()
            .ok()
            .filter(|it| it.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(it))
            .map(|it| it as u64),
    };
    number.filter(|number| (1..=i64::MAX as u64).contains(number))
}

const UNKNOWN: [&str; 3] = ["priority", "x", ""];

const NAMES: [&str; 18] = [
    "id",
    "conversation_id",
    "sender",
    "sender_handle",
    "from",
    "client_msg_id",
    "seq",
    "type",
    "content",
    "metadata",
    "created_at",
    "delivery_id",
    "status",
    "context",
    "skipped_recipients",
    "priority",
    "x",
    "",
];
