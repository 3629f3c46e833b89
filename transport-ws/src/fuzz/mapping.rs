//! Between core's messages and rows: what is sent comes back, and any row that has an id is a delivery.

use std::time::{Duration, SystemTime};

use agentchat_core::{AckTag, Address, Body, ConversationId, CorrelationId, ErrorKind, Outbound};
use fuzz_harness::Dice;

use super::json::{object, ours, value, words};
use crate::api::MAX_CONTENT;
use crate::mapping::tests::stored;
use crate::mapping::{MAX_ANY_BODY, SYSTEM, from_row, to_draft};
use crate::wire::MessageRow;

/// What is sent comes back.
pub(super) fn pack(dice: &mut Dice) {
    let sent = message(dice);
    let small = sent.body.bytes.len() <= MAX_ANY_BODY && sent.headers.size() < 500;
    let draft = match to_draft(&sent) {
        Ok(draft) => draft,
        Err(error) => {
            assert!(!small && error.kind() == ErrorKind::TooLarge, "{error}");
            return dice.reached("too large");
        }
    };
    assert!(draft.size() <= MAX_CONTENT);
    let row = stored(&draft);
    let got = from_row(&row, tag()).expect("a delivery");
    assert_eq!(got.body, sent.body);
    assert_eq!(got.client_msg_id.as_ref(), Some(&sent.client_msg_id));
    assert_eq!((&got.headers, &got.tags), (&sent.headers, &sent.tags));
    assert_eq!((&got.reply_to, &got.correlation_id), (&sent.reply_to, &sent.correlation_id));
    assert_eq!(got.deadline, sent.deadline);
    let conversation = sent.conversation.clone().or_else(|| ConversationId::new("conv_1").ok());
    assert_eq!(got.conversation, conversation);
    dice.reached((row.content().data.is_some(), row.content().text.is_some(), row.metadata_json().is_some()));
    dice.reached((sent.body.media_type.as_str().len(), sent.headers.len().min(2)));
}

/// Any row with a usable id is a delivery of that id, whatever else it says.
pub(super) fn unpack(dice: &mut Dice) {
    let metadata = match dice.u8(0..3) {
        0 => value(dice),
        _ => format!("{{\"agentchat-rs\":{}}}", ours(dice)),
    };
    let mut made =
        object(dice, &["content", "seq", "sender", "client_msg_id", "type", "conversation_id"]).text;
    made.truncate(made.trim_ascii_end().len() - 1);
    let comma = if made.trim_ascii() == "{" { "" } else { "," };
    let json = format!("{made}{comma}\"metadata\":{metadata},\"id\":\"a\"}}");
    let row = MessageRow::parse(json.clone()).expect("a row");
    let got = from_row(&row, tag()).unwrap_or_else(|| panic!("a message is lost: {json}"));
    assert_eq!(got.id.as_str(), "a");
    assert_eq!(got.body.media_type == SYSTEM, row.is_system(), "only the server tells events: {json}");
    assert!(got.seq.is_none() || got.seq == row.seq());
    got.headers.check().expect("what core would have sent");
    if let (Some(text), false) = (row.text_bytes(), row.is_system()) {
        let content: serde_json::Value =
            serde_json::from_str(row.content_json().unwrap_or("null")).unwrap_or_default();
        let alone = content.as_object().is_some_and(|content| content.len() == 1);
        let is_base64 = metadata.contains("\"body\":\"base64\"");
        assert!(!alone || is_base64 || got.body.bytes == text, "a plain text arrives as it is: {json}");
    }
    dice.reached((row.kind(), got.body.media_type.as_str().len(), got.conversation.is_some()));
    dice.reached((
        got.reply_to.is_some(),
        got.deadline.is_some(),
        got.tags.len().min(2),
        got.headers.len().min(2),
    ));
}

fn message(dice: &mut Dice) -> Outbound {
    let media_type = *dice.choice(&MEDIA_TYPES).expect("some");
    let bytes = match dice.u8(0..6) {
        0 => (0..dice.usize(0..40)).map(|_| dice.u8(0..255)).collect(),
        1 => words(dice).into_bytes(),
        2 => value(dice).into_bytes(),
        3 => vec![dice.u8(0..255); dice.usize(0..33_000)],
        _ => object(dice, &["text", "base64", "a", "é", ""]).text.into_bytes(),
    };
    let to = Address::parse("agentchat://bob").expect("valid");
    let mut message = Outbound::new(to.clone(), Body::new(media_type, bytes));
    if dice.bool() {
        message = message.with_conversation(ConversationId::new("c-1").expect("an id"));
    }
    if dice.bool() {
        message = message.with_correlation_id(CorrelationId::new("call/1").expect("an id")).with_reply_to(to);
    }
    for _ in 0..dice.usize(0..3) {
        let letters = ['a', 'é', '"', '\\', ' ', '=', '\u{1f600}'];
        let value: String = (0..dice.usize(1..8)).filter_map(|_| dice.choice(&letters).copied()).collect();
        message = message.with_header(*dice.choice(&["x", "X-y", "trace.id"]).expect("some"), value.trim());
        message = message.with_tag(*dice.choice(&["first", "b"]).expect("some"));
    }
    if dice.bool() {
        let ms = dice.u64(0..1 << 50);
        message = message.with_deadline(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    }
    message
}

fn tag() -> AckTag {
    AckTag::new("t").expect("a tag")
}

const MEDIA_TYPES: [&str; 6] = [
    "text/plain",
    "application/json",
    "application/a2a+json; charset=utf-8",
    "application/octet-stream",
    "application/vnd.agentchat.content+json",
    "image/png",
];
