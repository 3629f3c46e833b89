//! Reads a row in one pass over its text, however it is written.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::frame_in::Unreadable;
use super::loose::Loose;
use super::row::{Content, Members, MessageRow};
use super::row_scan::scan;
use super::span::{Span, Text};

/// Reads a row; `raw` becomes its own.
pub(super) fn read(raw: Bytes) -> Result<MessageRow, Unreadable> {
    // Checked once: every look at a member relies on it.
    let raw = Utf8Bytes::try_from(raw).map_err(|_| Unreadable::NotJson)?;
    let (own, members) = read_within(&raw, &raw)?;
    Ok(MessageRow { raw, own, members })
}

/// Reads the row that `text` is: its place and its members' within `whole`, of which it is a part.
pub(super) fn read_within(whole: &str, text: &str) -> Result<(Span, Box<Members>), Unreadable> {
    let members = match scan(whole, text) {
        Some(members) => members,
        None => members(whole, text)?,
    };
    Ok((Span::of(whole, text), members))
}

/// The members of a row, however it is written.
pub(super) fn members(whole: &str, text: &str) -> Result<Box<Members>, Unreadable> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Unreadable::NotAnObject);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let members = json.deserialize_map(RowVisitor(whole)).map_err(|_| Unreadable::NotJson)?;
    json.end().map_err(|_| Unreadable::NotJson)?;
    Ok(members)
}

struct RowVisitor<'a>(&'a str);

impl<'de> Visitor<'de> for RowVisitor<'de> {
    type Value = Box<Members>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Box<Members>, A::Error> {
        let whole = self.0;
        let mut row = Box::<Members>::default();
        let (mut sender_handle, mut from) = (Text::Absent, Text::Absent);
        // Of a member that comes twice the last one counts, as in the languages of the other clients.
        while let Some(Key(key)) = members.next_key()? {
            let slot = match &*key {
                "id" => &mut row.id,
                "conversation_id" => &mut row.conversation_id,
                "sender" => &mut row.sender,
                "sender_handle" => &mut sender_handle,
                "from" => &mut from,
                "client_msg_id" => &mut row.client_msg_id,
                "type" => &mut row.kind,
                "created_at" => &mut row.created_at,
                "delivery_id" => &mut row.delivery_id,
                "status" => &mut row.status,
                "delivered_at" => &mut row.delivered_at,
                "read_at" => &mut row.read_at,
                "seq" => {
                    row.seq = members.next_value::<Loose<'de>>()?.number();
                    continue;
                }
                other => {
                    let slot = match other {
                        "content" => Some(&mut row.content),
                        "metadata" => Some(&mut row.metadata),
                        "context" => Some(&mut row.context),
                        "skipped_recipients" => Some(&mut row.skipped),
                        _ => None,
                    };
                    let value: &'de RawValue = members.next_value()?;
                    let span = Span::of(whole, value.get());
                    match slot {
                        Some(slot) => *slot = span,
                        None => row.extra.push((Text::of(whole, key), span)),
                    }
                    continue;
                }
            };
            let text = members.next_value::<Loose<'de>>()?.text();
            *slot = text.map_or(Text::Absent, |text| Text::of(whole, text));
        }
        if matches!(row.sender, Text::Absent) {
            row.sender = if matches!(sender_handle, Text::Absent) { from } else { sender_handle };
        }
        Ok(row)
    }
}

/// Reads the known members of a content object.
pub(super) struct ContentVisitor;

impl ContentVisitor {
    pub(super) fn read(json: &str) -> Content<'_> {
        if !json.starts_with('{') {
            return Content::default();
        }
        serde_json::Deserializer::from_str(json).deserialize_map(Self).unwrap_or_default()
    }
}

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the content of a message row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Content<'de>, A::Error> {
        let mut content = Content::default();
        while let Some(Key(key)) = members.next_key()? {
            match &*key {
                "text" => content.text = members.next_value::<Loose<'de>>()?.text(),
                "attachment_id" => content.attachment_id = members.next_value::<Loose<'de>>()?.text(),
                "data" => {
                    let data: &'de RawValue = members.next_value()?;
                    content.data = Some(data.get()).filter(|json| *json != "null");
                }
                _ => drop(members.next_value::<de::IgnoredAny>()?),
            }
        }
        Ok(content)
    }
}

/// A member's name, borrowed unless it has escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(name)))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(name.to_owned())))
    }
}
