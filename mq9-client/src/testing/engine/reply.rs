//! The replies' JSON, written without an intermediate tree.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::storage::Record;

/// `{"error":""}`.
pub(crate) fn done() -> Bytes {
    Bytes::from_static(br#"{"error":""}"#)
}

/// A failure: `error` and nothing else.
pub(crate) fn error(text: &str) -> Bytes {
    let mut body = br#"{"error":"#.to_vec();
    json(&mut body, text);
    body.push(b'}');
    body.into()
}

/// A failed CREATE as the protocol document shows it.
pub(crate) fn error_with_empty_address(text: &str) -> Bytes {
    let mut body = br#"{"error":"#.to_vec();
    json(&mut body, text);
    body.extend_from_slice(br#","mail_address":""}"#);
    body.into()
}

pub(crate) fn created(address: &str) -> Bytes {
    let mut body = br#"{"error":"","mail_address":"#.to_vec();
    json(&mut body, address);
    body.push(b'}');
    body.into()
}

/// The id of a stored message, or -1 for a delayed one.
pub(crate) fn sent(id: Option<u64>) -> Bytes {
    match id {
        Some(id) => format!(r#"{{"error":"","msg_id":{id}}}"#).into(),
        None => Bytes::from_static(br#"{"error":"","msg_id":-1}"#),
    }
}

pub(crate) fn deleted() -> Bytes {
    Bytes::from_static(br#"{"error":"","deleted":true}"#)
}

/// The broker hands payloads out as text; what is no UTF-8 is lost. Checking first is several times faster
/// than converting, and nearly every payload passes.
fn as_text(payload: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(payload).map_or_else(|_| String::from_utf8_lossy(payload), Cow::Borrowed)
}

pub(crate) fn messages(rows: &[(u64, &Record)]) -> Bytes {
    let payloads: usize = rows.iter().map(|(_, record)| record.payload.len() + 128).sum();
    let mut body = Vec::with_capacity(32 + payloads);
    body.extend_from_slice(br#"{"error":"","messages":["#);
    for (at, (id, record)) in rows.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        row(&mut body, *id, record);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// One message in a FETCH or QUERY reply, written piece by piece: rows are nearly all that a broker writes.
fn row(body: &mut Vec<u8>, id: u64, record: &Record) {
    body.extend_from_slice(br#"{"msg_id":"#);
    json(body, &id);
    body.extend_from_slice(br#","payload":"#);
    text(body, &as_text(&record.payload));
    body.extend_from_slice(br#","priority":"#);
    json(body, record.priority.map_or("", |priority| priority.as_str()));
    body.extend_from_slice(br#","header":"#);
    json(body, &record.header.as_deref());
    body.extend_from_slice(br#","create_time":"#);
    json(body, &record.create_s);
    body.push(b'}');
}

/// A string's JSON. Text with nothing to escape, told by whole blocks, goes in one piece.
fn text(body: &mut Vec<u8>, text: &str) {
    let escapes = |block: &[u8]| block.iter().fold(false, |any, byte| any | must_escape(*byte));
    if text.as_bytes().chunks(64).any(escapes) {
        return json(body, text);
    }
    body.push(b'"');
    body.extend_from_slice(text.as_bytes());
    body.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// A DISCOVER reply of items that are JSON text already.
pub(crate) fn agents(items: impl IntoIterator<Item = Vec<u8>>) -> Bytes {
    let mut body = br#"{"error":"","agents":["#.to_vec();
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&item);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// Appends a value's JSON.
pub(crate) fn json<T: Serialize + ?Sized>(body: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(body, value).expect("strings, numbers and string-keyed maps go into a Vec");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Priority;

    #[derive(Serialize)]
    struct Row<'a> {
        msg_id: u64,
        payload: Cow<'a, str>,
        priority: &'static str,
        header: Option<&'a [u8]>,
        create_time: u64,
    }

    proptest! {
        #[test]
        fn rows_written_in_pieces_are_what_the_general_writer_makes_of_them(
            id: u64,
            payload in prop_oneof![any::<Vec<u8>>(), "[ -~]{0,200}(\\PC|[\"\\\\\x00-\x1f])?[ -~]{0,90}".prop_map(String::into_bytes)],
            header in prop::option::of(any::<Vec<u8>>()),
            priority in prop::option::of(prop::sample::select(&super::super::storage::CLASSES[..])),
            create_s: u64,
        ) {
            let (key, tags, last_s) = (None, Vec::new(), None);
            let record = Record {
                payload: payload.into(), header: header.map(Bytes::from), priority, key, tags, create_s, last_s,
            };
            let mut expected = br#"{"error":"","messages":["#.to_vec();
            json(&mut expected, &Row {
                msg_id: id,
                payload: String::from_utf8_lossy(&record.payload),
                priority: priority.map_or("", Priority::as_str),
                header: record.header.as_deref(),
                create_time: create_s,
            });
            expected.extend_from_slice(b"]}");
            prop_assert_eq!(messages(&[(id, &record)]), expected);
        }
    }
}
