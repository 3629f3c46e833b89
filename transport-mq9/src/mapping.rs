//! A message between its two forms: core's, and mq9's headers and payload.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentchat_core::{
    AckTag, Address, Body, ClientMsgId, ConversationId, CorrelationId, Delivery, Error, ErrorKind, Headers,
    MessageId, Outbound, Priority, Result,
};
use mq9_client::{Message, Received};

use crate::address::Broker;
use crate::headers::{
    CLIENT_MSG_ID, CONVERSATION, CORRELATION_ID, DEADLINE, MEDIA_TYPE, REPLY_TO, RESERVED, SENDER,
};

/// Writes a message as mq9 carries it.
pub(crate) fn to_mq9(message: &Outbound, sender: &Address, broker: &Broker) -> Result<Message> {
    let mut headers = mq9_client::Headers::new();
    headers.append(CLIENT_MSG_ID, message.client_msg_id.as_str());
    headers.append(SENDER, sender.as_str());
    headers.append(MEDIA_TYPE, message.body.media_type.as_str());
    if let Some(conversation) = &message.conversation {
        headers.append(CONVERSATION, conversation.as_str());
    }
    if let Some(address) = &message.reply_to {
        // The bare name, as the A2A facade of mq9 writes it; it must be on this broker to be reached.
        headers.append(REPLY_TO, broker.mailbox_of(address, "send")?.as_str());
    }
    if let Some(id) = &message.correlation_id {
        headers.append(CORRELATION_ID, id.as_str());
    }
    if let Some(deadline) = message.deadline {
        let since = deadline.duration_since(UNIX_EPOCH).unwrap_or_default();
        headers.append(DEADLINE, since.as_millis().to_string());
    }
    for (name, value) in message.headers.iter() {
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            let what = format!("the header {name:?} is written by the transport itself");
            return Err(Error::new(ErrorKind::Invalid, "send", what));
        }
        headers.append(name, value);
    }
    let mut mq9 = Message::new(message.body.bytes.clone())
        .with_priority(match message.priority {
            Priority::Urgent => mq9_client::Priority::Urgent,
            Priority::Critical => mq9_client::Priority::Critical,
            _ => mq9_client::Priority::Normal,
        })
        .with_headers(headers);
    if let Some(key) = &message.key {
        mq9 = mq9.with_key(key);
    }
    if let Some(ttl) = message.ttl {
        mq9 = mq9.with_ttl(ttl);
    }
    if let Some(delay) = message.delay {
        mq9 = mq9.with_delay(delay);
    }
    for tag in &message.tags {
        mq9 = mq9.with_tag(tag);
    }
    Ok(mq9)
}

/// Reads a message as mq9 hands it out. Lines that are missing or cannot be read leave their part empty:
/// other clients write other headers, and their messages must arrive all the same.
pub(crate) fn from_mq9(received: Received, tag: AckTag, broker: &Broker) -> Delivery {
    let id = MessageId::new(received.id.to_string()).expect("digits are visible ASCII");
    let headers = &received.headers;
    let media_type = headers.get(MEDIA_TYPE).unwrap_or(UNKNOWN_MEDIA_TYPE);
    let body = Body::new(media_type, received.payload.clone());
    let mut delivery = Delivery::new(id, tag, body);
    delivery.client_msg_id = headers.get(CLIENT_MSG_ID).and_then(|id| ClientMsgId::new(id).ok());
    delivery.sender = headers.get(SENDER).and_then(|uri| Address::parse(uri).ok());
    delivery.conversation = headers.get(CONVERSATION).and_then(|id| ConversationId::new(id).ok());
    delivery.reply_to = headers.get(REPLY_TO).and_then(|address| {
        let mailbox = broker.mailbox_in(address, "subscribe").ok()?;
        broker.address_of(&mailbox).ok()
    });
    delivery.correlation_id = headers.get(CORRELATION_ID).and_then(|id| CorrelationId::new(id).ok());
    delivery.deadline = headers.get(DEADLINE).and_then(unix_millis);
    delivery.priority = match received.priority {
        Some(mq9_client::Priority::Critical) => Priority::Critical,
        Some(mq9_client::Priority::Urgent) => Priority::Urgent,
        _ => Priority::Normal,
    };
    delivery.key = received.key().map(str::to_owned);
    delivery.tags = received.tags().map(str::to_owned).collect();
    delivery.created = UNIX_EPOCH.checked_add(Duration::from_secs(received.create_time));
    delivery.headers = free_headers(headers);
    delivery
}

/// The lines that are neither the transport's nor the broker's own.
fn free_headers(headers: &mq9_client::Headers) -> Headers {
    let own = |name: &str| RESERVED.iter().chain(&BROKER).any(|reserved| reserved.eq_ignore_ascii_case(name));
    headers.iter().filter(|(name, _)| !own(name)).collect()
}

fn unix_millis(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(text.parse().ok()?))
}

/// What a body is when its sender did not say.
pub(crate) const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";
/// Lines the broker reads; their values are parts of the delivery.
const BROKER: [&str; 6] =
    ["mq9-content-encoding", "mq9-priority", "mq9-key", "mq9-ttl", "mq9-delay", "mq9-tags"];
