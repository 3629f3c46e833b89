//! From core's message to a row's content and metadata.

use std::borrow::Cow;
use std::collections::BTreeMap;

use agentchat_core::{Address, Error, ErrorKind, Outbound, Priority, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{BodyIn, MAX_ANY_BODY, OURS, Ours, SCHEME, TEXT, VERSION, json_copy};
use crate::api::{Draft, MAX_CONTENT, Recipient};
use crate::wire::unix_millis;

/// Writes a message as AgentChat carries it, in the first of these ways that fits:
/// 1. bytes that are text as text, JSON objects with a copy as data;
/// 2. the same without the copy;
/// 3. anything as base64.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an address that is no handle or group; [`ErrorKind::Unsupported`] for what the
/// network has not; [`ErrorKind::TooLarge`] when none of the ways fits.
pub(crate) fn to_draft(message: &Outbound) -> Result<Draft> {
    refuse_the_impossible(message)?;
    let to = recipient(&message.to)?;
    let body = &message.body;
    // Servers fail on NUL in a text.
    let text = body.as_str().filter(|text| !text.contains('\0'));
    let mut sizes = Vec::new();
    let mut fits = |draft: Draft, growth: usize| {
        sizes.push(draft.size() + growth);
        (draft.size() + growth <= MAX_CONTENT).then(|| draft.with_client_msg_id(&message.client_msg_id))
    };
    if let Some(text) = text {
        let metadata = metadata(message, BodyIn::Text)?;
        let with = |draft: Draft| match &metadata {
            Some(json) => Ok::<_, Error>(draft.with_metadata(json)?),
            None => Ok(draft),
        };
        if let Some((data, growth)) = json_copy::object(&body.media_type, text) {
            let draft = with(Draft::data(to.clone(), data.get())?.with_text(text))?;
            if let Some(draft) = fits(draft, growth) {
                return Ok(draft);
            }
        }
        if let Some(draft) = fits(with(Draft::text(to.clone(), text))?, 0) {
            return Ok(draft);
        }
    }
    let data = format!(r#"{{"base64":"{}"}}"#, STANDARD.encode(&body.bytes));
    let mut draft = Draft::data(to, &data)?;
    if let Some(json) = metadata(message, BodyIn::Base64)? {
        draft = draft.with_metadata(&json)?;
    }
    if let Some(draft) = fits(draft, 0) {
        return Ok(draft);
    }
    let smallest = sizes.into_iter().min().unwrap_or_default();
    let what = format!(
        "a body of {} bytes ({}) and what is beside it take {smallest} bytes; at most {MAX_CONTENT} are carried, \
         which any {MAX_ANY_BODY} bytes fit into",
        body.bytes.len(),
        if text.is_some() { "text" } else { "binary" },
    );
    Err(Error::new(ErrorKind::TooLarge, "send", what))
}

/// The metadata as JSON; nothing when all is as usual.
fn metadata(message: &Outbound, body: BodyIn) -> Result<Option<String>> {
    let media_type = (message.body.media_type != TEXT).then(|| message.body.media_type.as_str().into());
    let ours = Ours {
        v: VERSION,
        body,
        media_type,
        conversation: message.conversation.as_ref().map(|it| it.as_str().into()),
        reply_to: message.reply_to.as_ref().map(|it| it.as_str().into()),
        correlation_id: message.correlation_id.as_ref().map(|it| it.as_str().into()),
        deadline: message.deadline.map(unix_millis),
        tags: message.tags.iter().map(Into::into).collect(),
        headers: message.headers.iter().map(|(name, value)| (Cow::from(name), Cow::from(value))).collect(),
    };
    if ours == (Ours { v: VERSION, ..Ours::default() }) {
        return Ok(None);
    }
    let json = serde_json::to_string(&BTreeMap::from([(OURS, ours)])).map_err(|error| {
        Error::new(ErrorKind::Invalid, "send", "the metadata cannot be written").with_source(error)
    })?;
    Ok(Some(json))
}

fn recipient(to: &Address) -> Result<Recipient> {
    if to.scheme() != SCHEME {
        let what = format!("this transport sends to {SCHEME}://, not to {}://", to.scheme());
        return Err(Error::new(ErrorKind::Invalid, "send", what));
    }
    if to.authority().is_some() {
        let what = format!("an {SCHEME}:// address has a handle or group and no host");
        return Err(Error::new(ErrorKind::Invalid, "send", what));
    }
    Ok(Recipient::parse(to.name())?)
}

/// What would be lost in silence. Capabilities say so before; this is for those who do not ask them.
fn refuse_the_impossible(message: &Outbound) -> Result<()> {
    for (asked, what) in [
        (message.priority != Priority::Normal, "priorities"),
        (message.ttl.is_some(), "message ttl"),
        (message.delay.is_some(), "delayed delivery"),
        (message.key.is_some(), "compaction keys"),
    ] {
        if asked {
            return Err(Error::unsupported("send", format!("this network has no {what}")));
        }
    }
    Ok(())
}
