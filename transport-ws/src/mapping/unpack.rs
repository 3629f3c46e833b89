//! From a row to core's delivery.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use agentchat_core::{
    AckTag, Address, Body, ClientMsgId, ConversationId, CorrelationId, Delivery, Headers, MessageId,
    NetworkFacts,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BodyIn, CONTENT, JSON, OURS, Ours, SCHEME, SYSTEM, TEXT};
use crate::wire::MessageRow;

/// Reads a message as AgentChat hands it out. Nothing for a row without a usable id. Other parts that are
/// missing or cannot be read are left empty: other clients write other things, and their messages must
/// arrive all the same.
///
/// A message that names a conversation of its own is in that one and has no number: the server numbers
/// within its own conversations, which are in [`MessageRow::conversation_id`].
pub(crate) fn from_row(row: &MessageRow, tag: AckTag) -> Option<Delivery> {
    from_row_of(row, tag, address_of)
}

/// [`from_row`] for whoever knows the addresses of senders already.
pub(crate) fn from_row_of(
    row: &MessageRow,
    tag: AckTag,
    address: impl FnOnce(&str) -> Option<Address>,
) -> Option<Delivery> {
    let id = MessageId::new(row.id()?).ok()?;
    // A row of the server's own has nothing of ours, whatever it says.
    let ours = row.metadata_json().filter(|_| !row.is_system()).and_then(ours);
    let body = match &ours {
        Some(ours) => our_body(row, ours).unwrap_or_else(|| foreign_body(row)),
        None => foreign_body(row),
    };
    let mut delivery = Delivery::new(id, tag, body);
    delivery.client_msg_id = row.client_msg_id().and_then(|id| ClientMsgId::new(id).ok());
    delivery.sender = row.sender().and_then(address);
    delivery.created = row.created();
    if let Some(context) = row.context_json() {
        delivery.network = NetworkFacts::new(row.bytes_of(Cow::Borrowed(context)));
    }
    let Some(ours) = ours else {
        delivery.conversation = row.conversation_id().and_then(|id| ConversationId::new(id).ok());
        delivery.seq = row.seq();
        if !row.is_system() {
            delivery.headers = row.metadata_json().map(foreign_headers).unwrap_or_default();
        }
        return Some(delivery);
    };
    delivery.conversation = ours.conversation.and_then(|id| ConversationId::new(id).ok());
    if delivery.conversation.is_none() {
        delivery.conversation = row.conversation_id().and_then(|id| ConversationId::new(id).ok());
        delivery.seq = row.seq();
    }
    delivery.reply_to = ours.reply_to.and_then(|uri| Address::parse(uri).ok());
    delivery.correlation_id = ours.correlation_id.and_then(|id| CorrelationId::new(id).ok());
    delivery.deadline = ours.deadline.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    delivery.tags = ours.tags.into_iter().map(Cow::into_owned).collect();
    delivery.headers = ours.headers.into_iter().filter(|(name, value)| is_header(name, value)).collect();
    Some(delivery)
}

/// The address of a handle or a group's id.
pub(crate) fn address_of(name: &str) -> Option<Address> {
    Address::of(SCHEME, name).ok().filter(|address| address.authority().is_none())
}

fn ours(metadata: &str) -> Option<Ours<'_>> {
    if metadata == "{}" || !metadata.contains(OURS) {
        return None;
    }
    let members: std::collections::BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(metadata).ok()?;
    let ours = members.get(OURS)?.get();
    // A later version may write a body in a way that this one does not know: then it is foreign, whole.
    ours.starts_with('{').then(|| serde_json::from_str(ours).ok()).flatten()
}

fn our_body(row: &MessageRow, ours: &Ours<'_>) -> Option<Body> {
    let media_type = match ours.media_type.as_deref() {
        None => TEXT,
        // That name is the server's; a sender who uses it wants to be taken for it.
        Some(SYSTEM) => JSON,
        Some(media_type) => media_type,
    };
    let bytes = match ours.body {
        BodyIn::Text => row.text_bytes()?,
        BodyIn::Base64 => {
            #[derive(Deserialize)]
            struct Data<'a> {
                #[serde(borrow)]
                base64: Cow<'a, str>,
            }
            let data: Data<'_> = serde_json::from_str(row.content().data?).ok()?;
            Bytes::from(STANDARD.decode(data.base64.as_bytes()).ok()?)
        }
    };
    Some(Body::new(media_type, bytes))
}

/// The body of a message that another client wrote: its text, or its data, or the content as a whole.
fn foreign_body(row: &MessageRow) -> Body {
    let content = row.content();
    if row.is_system() {
        return Body::new(SYSTEM, content.data.unwrap_or("{}").to_owned());
    }
    match (content.text, content.data, content.attachment_id) {
        (Some(text), None, None) => Body::new(TEXT, row.bytes_of(text)),
        (None, Some(data), None) => Body::new(JSON, data.to_owned()),
        _ => Body::new(CONTENT, row.content_json().unwrap_or("{}").to_owned()),
    }
}

/// The texts that another client wrote beside its message, such as `reply_to`: the id of a message.
fn foreign_headers(metadata: &str) -> Headers {
    if metadata == "{}" {
        return Headers::new();
    }
    let Ok(Value::Object(members)) = serde_json::from_str(metadata) else { return Headers::new() };
    let texts = members.into_iter().filter_map(|(name, value)| match value {
        Value::String(value) if is_header(&name, &value) => Some((name, value)),
        _ => None,
    });
    texts.collect()
}

/// Whether a line could have been sent by core.
fn is_header(name: &str, value: &str) -> bool {
    [(name, value)].into_iter().collect::<Headers>().check().is_ok()
}
