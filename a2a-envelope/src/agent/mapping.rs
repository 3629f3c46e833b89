//! An envelope between its own form and that of a message of the core.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentchat_core::agent::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
use agentchat_core::{Body, CorrelationId, Delivery, Outbound};

use crate::envelope::Envelope;
use crate::headers::Headers;
use crate::names;

/// Headers of a delivery as the reader knows them: what the network carried in fields of its own is a header
/// again. Lines that no envelope may have are left out.
pub(crate) fn headers_of(delivery: &Delivery) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in delivery.headers.iter() {
        if ![REPLY_SEQ, REPLY_LAST, REPLY_ERROR].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            let _ = headers.set(name, value);
        }
    }
    // Writers other than the core's say their answer address in a header of this format or the facade's; where
    // the core says it, it is no sign of a dialect.
    if headers.contains(names::ENVELOPE) || delivery.client_msg_id.is_none() {
        if let Some(address) = &delivery.reply_to {
            let _ = headers.set(names::REPLY_TO, address.name());
        }
    }
    if let Some(id) = &delivery.correlation_id {
        let _ = headers.set(names::CORRELATION_ID, id.as_str());
    }
    if let Some(deadline) = delivery.deadline {
        let since = deadline.duration_since(UNIX_EPOCH).unwrap_or_default();
        let _ = headers.set(names::DEADLINE, &since.as_millis().to_string());
    }
    headers
}

/// Whether a delivery answers a call of the core's.
pub(crate) fn is_reply(delivery: &Delivery) -> bool {
    [REPLY_SEQ, REPLY_LAST, REPLY_ERROR].iter().any(|name| delivery.headers.get(name).is_some())
}

/// Puts an envelope into a message: what the network has fields for goes there.
pub(crate) fn put(message: &mut Outbound, envelope: &Envelope) {
    message.body = Body::json(envelope.body.clone());
    for (name, value) in envelope.headers.iter() {
        match name {
            names::CORRELATION_ID => message.correlation_id = CorrelationId::new(value).ok(),
            names::DEADLINE => message.deadline = value.parse().ok().and_then(moment),
            names::REPLY_TO => {}
            _ => message.headers.insert(name, value),
        }
    }
}

fn moment(unix_ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms))
}
