//! A message between its own form and the wrapped carriage: all that stands beside a body, put into it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentchat_core::agent::{REPLY_LAST, REPLY_SEQ};
use agentchat_core::{
    Address, Body, Capabilities, ClientMsgId, ConversationId, CorrelationId, Delivery, ErrorKind,
    Headers as CoreHeaders, Outbound, Reached,
};

use super::address;
use super::base64;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::headers::Headers;
use crate::json;
use crate::limits::{LimitKind, Limits};
use crate::names;

/// The largest body that a network of these capabilities carries wrapped, whatever it is: in base 64 at the
/// worst, beside as many headers as there may be.
pub(crate) fn largest_body(able: &Capabilities) -> usize {
    let limits = Limits::default();
    let network = able.max_body.unwrap_or(usize::MAX).min(limits.max_wrapped);
    network.saturating_sub(MOST_HEADERS).min(limits.max_body) / 4 * 3
}

/// The message as a network of these capabilities carries it. What the network has of its own stays beside the
/// body as well. A body that is no text, or one whose escapes alone would make it too large, is in base 64.
///
/// # Errors
/// `Invalid` for a header that is written here, or that no envelope may have; `TooLarge`.
pub(crate) fn wrap(
    message: &Outbound,
    own: &Address,
    able: &Capabilities,
) -> agentchat_core::Result<Outbound> {
    let reserved = |name: &str| RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    if let Some((name, _)) = message.headers.iter().find(|(name, _)| reserved(name)) {
        let what = format!("the header {name:?} is written by the carriage itself");
        return Err(agentchat_core::Error::new(ErrorKind::Invalid, "send", what));
    }
    let largest = able.max_body.unwrap_or(usize::MAX);
    let text = match text_of(message, own, false) {
        Err(Error::NotUtf8 { .. } | Error::Limit { .. }) => text_of(message, own, true),
        Ok(text) if text.len() > largest => text_of(message, own, true),
        text => text,
    };
    let body = Body::json(text.map_err(refused)?);
    let mut wrapped = Outbound::new(message.to.clone(), body);
    wrapped.client_msg_id.clone_from(&message.client_msg_id);
    wrapped.conversation.clone_from(&message.conversation);
    wrapped.priority = message.priority;
    (wrapped.ttl, wrapped.delay) = (message.ttl, message.delay);
    wrapped.key.clone_from(&message.key);
    wrapped.tags.clone_from(&message.tags);
    if able.headers {
        wrapped.reply_to.clone_from(&message.reply_to);
        wrapped.correlation_id.clone_from(&message.correlation_id);
        wrapped.deadline = message.deadline;
    }
    Ok(wrapped)
}

/// The delivery that was wrapped; one that is no wrapped message as it is. What the network itself says of it
/// counts before what stands in the body.
pub(crate) fn unwrap(mut delivery: Delivery, own: &Address) -> Delivery {
    let Some((mut headers, body)) = read(&delivery.body.bytes) else { return delivery };
    let mut take = |name: &str| headers.remove(name);
    let media_type = take(MEDIA_TYPE);
    let encoded = take(ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case(BASE64));
    let bytes = match encoded.then(|| base64::decode(&body)) {
        Some(Some(bytes)) => bytes.into(),
        // Whatever it is, it is not what was meant; whoever reads it says so.
        Some(None) | None => body,
    };
    delivery.body = Body::new(media_type.unwrap_or_else(|| JSON.to_owned()), bytes);
    let id = take(CLIENT_MSG_ID).and_then(|id| ClientMsgId::new(id).ok());
    delivery.client_msg_id = delivery.client_msg_id.or(id);
    let sender = take(SENDER).and_then(|uri| Address::parse(uri).ok());
    delivery.sender = delivery.sender.or(sender.filter(|sender| address::check(own, sender).is_ok()));
    let conversation = take(CONVERSATION).and_then(|id| ConversationId::new(id).ok());
    delivery.conversation = delivery.conversation.or(conversation);
    let correlation_id = take(names::CORRELATION_ID).and_then(|id| CorrelationId::new(id).ok());
    delivery.correlation_id = delivery.correlation_id.or(correlation_id);
    if let Some(tags) = take(TAGS).filter(|_| delivery.tags.is_empty()) {
        delivery.tags = serde_json::from_str(&tags).unwrap_or_default();
    }
    let deadline = take(names::DEADLINE).and_then(|text| text.parse().ok());
    let deadline = deadline.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    delivery.deadline = delivery.deadline.or(deadline);
    if delivery.reply_to.is_none() {
        let claim = headers.get(names::REPLY_TO).filter(|claim| !claim.is_empty());
        match claim.map(|claim| address::resolve(own, claim)) {
            Some(Ok(reply_to)) => {
                delivery.reply_to = Some(reply_to);
                headers.remove(names::REPLY_TO);
            }
            // One that leads elsewhere stays, for the server to refuse.
            Some(Err(_)) => {}
            None => drop(headers.remove(names::REPLY_TO)),
        }
    } else {
        headers.remove(names::REPLY_TO);
    }
    let mut beside: CoreHeaders = headers.iter().collect();
    for (name, value) in delivery.headers.iter().filter(|(name, _)| !headers.contains(name)) {
        beside.insert(name, value);
    }
    // Writers that know this format alone number and end their replies by its own headers.
    let answers = beside.get(names::TYPE).is_some();
    if answers && beside.get(REPLY_SEQ).is_none() && beside.get(REPLY_LAST).is_none() {
        let last = beside.get(names::LAST).is_some_and(|last| last.eq_ignore_ascii_case("true"));
        beside.insert(REPLY_LAST, if last { "true" } else { "false" });
    }
    delivery.headers = beside;
    delivery
}

fn text_of(message: &Outbound, own: &Address, encoded: bool) -> Result<bytes::Bytes, Error> {
    let mut headers = Headers::new();
    for (name, value) in message.headers.iter() {
        headers.set(name, value)?;
    }
    headers.set(CLIENT_MSG_ID, message.client_msg_id.as_str())?;
    headers.set(SENDER, own.as_str())?;
    headers.set(MEDIA_TYPE, message.body.media_type.as_str())?;
    if let Some(conversation) = &message.conversation {
        headers.set(CONVERSATION, conversation.as_str())?;
    }
    if let Some(address) = &message.reply_to {
        headers.set(names::REPLY_TO, address.name())?;
    }
    if let Some(id) = &message.correlation_id {
        headers.set(names::CORRELATION_ID, id.as_str())?;
    }
    if let Some(deadline) = message.deadline {
        headers.set(names::DEADLINE, &millis(deadline).to_string())?;
    }
    if !message.tags.is_empty() {
        let tags = serde_json::to_string(&message.tags).expect("a list of strings is JSON");
        headers.set(TAGS, &tags)?;
    }
    let mut body = message.body.bytes.clone();
    if encoded {
        headers.set(ENCODING, BASE64)?;
        body = base64::encode(&body).into();
    }
    Envelope { headers, body }.to_wrapped(&Limits::default())
}

/// The headers and the body of a wrapped message; `None` for anything else. What the core of another agent
/// wrapped is marked as this format only if it was before.
fn read(text: &[u8]) -> Option<(Headers, bytes::Bytes)> {
    if text.first() != Some(&b'{') {
        return None;
    }
    let limits = Limits::default();
    let Envelope { mut headers, body } = Envelope::from_wrapped(text, &limits).ok()?;
    if headers.contains(CLIENT_MSG_ID) {
        let root = json::parse(text, LimitKind::Wrapped, &limits).ok()?;
        let marked = root.get("headers").is_some_and(|headers| headers.get(names::ENVELOPE).is_some());
        if !marked {
            headers.remove(names::ENVELOPE);
        }
    }
    Some((headers, body))
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn refused(error: Error) -> agentchat_core::Error {
    let kind = if matches!(error, Error::Limit { .. }) { ErrorKind::TooLarge } else { ErrorKind::Invalid };
    agentchat_core::Error::new(kind, "send", error.to_string()).with_reached(Reached::No)
}

/// The names of what the core has fields for, as on mq9.
const CLIENT_MSG_ID: &str = "agentchat-msg-id";
const SENDER: &str = "agentchat-from";
const CONVERSATION: &str = "agentchat-conversation";
const TAGS: &str = "agentchat-tags";
const MEDIA_TYPE: &str = "content-type";
const ENCODING: &str = "mq9-content-encoding";
/// What headers and frame take at most, escapes included.
const MOST_HEADERS: usize = 2 * Headers::MAX_TOTAL + 8 * 1024;
const BASE64: &str = "base64";
const JSON: &str = "application/json";
const RESERVED: [&str; 9] = [
    CLIENT_MSG_ID,
    SENDER,
    CONVERSATION,
    TAGS,
    MEDIA_TYPE,
    ENCODING,
    names::REPLY_TO,
    names::CORRELATION_ID,
    names::DEADLINE,
];
