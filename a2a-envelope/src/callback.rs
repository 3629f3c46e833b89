//! The answer address inside a body: found in every spelling, put in and taken out.

use std::fmt;

use bytes::Bytes;

use crate::dialect::is_hermes;
use crate::error::{Error, MemberRule, Result, excerpt};
use crate::json::{self, Kind, Node};
use crate::limits::{LimitKind, Limits};
use crate::safety::{AddressRule, has_userinfo};
use crate::wrapped::is_wrapped;

/// The places in a body where an answer address may stand, in the order a reader looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CallbackField {
    /// A2A 1.0: `configuration.taskPushNotificationConfig.url`.
    TaskPushNotificationConfig,
    /// A2A 0.2 and 0.3: `configuration.pushNotificationConfig.url`.
    PushNotificationConfig,
    /// A2A 0.1: `params.pushNotification.url`.
    ParamsPushNotification,
    /// A plain message of no version: `pushNotification.url` at the top.
    PushNotification,
}

impl CallbackField {
    /// Every field, in the order a reader looks.
    pub const READING_ORDER: [Self; 4] = [
        Self::TaskPushNotificationConfig,
        Self::PushNotificationConfig,
        Self::ParamsPushNotification,
        Self::PushNotification,
    ];

    /// The field of the message's own version.
    ///
    /// A JSON-RPC request is told by its method. A plain message is told by the shape of its `message`
    /// (a role `ROLE_…` is 1.0, a `kind` is 0.2 or 0.3); one that shows no version gets
    /// [`PushNotification`](Self::PushNotification).
    ///
    /// # Errors
    ///
    /// [`Error::NoCallbackField`] for JSON-RPC that is not a request to send or stream a message, for Hermes
    /// calls and for wrapped envelopes;
    /// [`Error::Limit`], [`Error::NotUtf8`], [`Error::NotJson`] or [`Error::Member`] for a body that cannot
    /// be read or is no object.
    pub fn own(body: &[u8], limits: &Limits) -> Result<Self> {
        own(object(body, limits)?)
    }

    /// Where the field stands, in a JSON-RPC object or in a plain one.
    fn path(self, rpc: bool) -> &'static [&'static str] {
        match (self, rpc) {
            (Self::TaskPushNotificationConfig, true) => {
                &["params", "configuration", "taskPushNotificationConfig", "url"]
            }
            (Self::TaskPushNotificationConfig, false) => {
                &["configuration", "taskPushNotificationConfig", "url"]
            }
            (Self::PushNotificationConfig, true) => {
                &["params", "configuration", "pushNotificationConfig", "url"]
            }
            (Self::PushNotificationConfig, false) => &["configuration", "pushNotificationConfig", "url"],
            (Self::ParamsPushNotification, _) => &["params", "pushNotification", "url"],
            (Self::PushNotification, _) => &["pushNotification", "url"],
        }
    }
}

impl fmt::Display for CallbackField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TaskPushNotificationConfig => "configuration.taskPushNotificationConfig.url",
            Self::PushNotificationConfig => "configuration.pushNotificationConfig.url",
            Self::ParamsPushNotification => "params.pushNotification.url",
            Self::PushNotification => "pushNotification.url",
        })
    }
}

/// An answer address found in a body. `Debug` leaves the address out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Callback {
    /// The address as written, of whatever scheme.
    pub uri: String,
    /// The field it stood in.
    pub field: CallbackField,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("uri", &"<masked>").field("field", &self.field).finish()
    }
}

/// The answer address a body carries, in whichever spelling; `None` if there is none, or if the body is not
/// JSON or beyond the default [`Limits`]. An empty one is none.
///
/// The address is the sender's claim and of any scheme: whoever answers to it decides which it accepts.
#[must_use]
pub fn callback_of(body: &[u8]) -> Option<String> {
    find_callback(body, &Limits::default()).ok().flatten().map(|found| found.uri)
}

/// [`callback_of`] within other limits, with the field it stood in.
///
/// # Errors
///
/// [`Error::Limit`], [`Error::NotUtf8`] or [`Error::NotJson`] for a body that cannot be read.
pub fn find_callback(body: &[u8], limits: &Limits) -> Result<Option<Callback>> {
    Ok(find(json::parse_body(body, limits)?))
}

/// Writes an answer address into a body: the only edit this crate ever makes to one.
///
/// `field` is where it goes; `None` is [the field of the message's own version](CallbackField::own). Objects
/// missing on the way are created behind the last member. Every other byte of the text stays as it was:
/// unknown fields, key order, number forms, escapes and white space.
///
/// # Errors
///
/// [`Error::CallbackExists`] if the body has a callback, in whichever spelling, and `replace` is not set;
/// [`Error::CallbackShadowed`] if it is set but readers would still prefer another spelling that is there;
/// [`Error::Address`] if the URI is a broker's and carries credentials, which all readers would learn;
/// [`Error::Member`] if the URI is empty, or something on the way is no object or is there twice;
/// [`Error::Limit`] if body or result are beyond the default [`Limits`]; and the errors of
/// [`CallbackField::own`].
pub fn with_callback(body: &[u8], uri: &str, field: Option<CallbackField>, replace: bool) -> Result<Bytes> {
    let limits = Limits::default();
    let root = object(body, &limits)?;
    let field = field.map_or_else(|| own(root), Ok)?;
    let path = field.path(is_rpc(root));
    if uri.is_empty() {
        return Err(Error::member(path.join("."), MemberRule::Missing));
    }
    if has_userinfo(uri) {
        return Err(Error::Address(AddressRule::Credentials));
    }
    if !replace && root.at(path).is_some_and(is_set) {
        return Err(Error::CallbackExists { field });
    }
    if let Some(found) = find(root) {
        if !replace {
            return Err(Error::CallbackExists { field: found.field });
        }
        if found.field < field {
            return Err(Error::CallbackShadowed { field, by: found.field });
        }
    }
    let edit = json::set_member(root, path, &json::quote(uri))?;
    let edited = json::splice(root.document(), &edit);
    limits.check(LimitKind::Body, edited.len())?;
    Ok(edited)
}

/// Takes mailbox callbacks out of a body, in every spelling, each with the configuration it stands in: for a
/// handler that takes a callback for an HTTP address and would refuse `mq9://`. Other callbacks, and every
/// other byte, stay. A body without one is handed back as it is.
///
/// The handler is then called with a body of its own; what travels on is still the author's.
///
/// # Errors
///
/// [`Error::Limit`], [`Error::NotUtf8`] or [`Error::NotJson`] for a body that cannot be read;
/// [`Error::Member`] if something on the way to a mailbox callback is there twice.
pub fn without_mailbox_callbacks(body: &Bytes) -> Result<Bytes> {
    let mut body = body.clone();
    for field in CallbackField::READING_ORDER {
        let root = json::parse_body(&body, &Limits::default())?;
        let path = field.path(is_rpc(root));
        let uri = root.at(path).and_then(Node::as_str).unwrap_or_default();
        if !is_mailbox(&uri) {
            continue;
        }
        let holder = &path[..path.len() - 1];
        let mut parent = root;
        for (depth, name) in holder.iter().enumerate() {
            let found = parent.only(name, &holder[..=depth].join("."))?;
            if depth + 1 < holder.len() {
                // It was found on this way a moment ago.
                parent = found.unwrap_or(parent);
            }
        }
        let edit = holder.last().and_then(|name| json::remove_member(parent, name));
        if let Some(edit) = edit {
            body = json::splice(root.document(), &edit);
        }
    }
    Ok(body)
}

/// The callback in a body that has been parsed already.
pub(crate) fn find(root: Node<'_>) -> Option<Callback> {
    let rpc = is_rpc(root);
    CallbackField::READING_ORDER.into_iter().find_map(|field| {
        let uri = root.at(field.path(rpc))?.as_str().filter(|uri| !uri.is_empty())?.into_owned();
        Some(Callback { uri, field })
    })
}

fn own(root: Node<'_>) -> Result<CallbackField> {
    if is_hermes(root) || is_wrapped(root) {
        // They have a reply address of their own, outside the A2A message they carry.
        let method = if is_hermes(root) { "mq9_call" } else { "a2aEnvelope" };
        return Err(Error::NoCallbackField { method: method.to_owned() });
    }
    if !is_rpc(root) {
        let Some(message) = root.get("message").filter(|message| message.is_object()) else {
            return Ok(CallbackField::PushNotification);
        };
        return Ok(if message.text_of("role").is_some_and(|role| role.starts_with("ROLE_")) {
            CallbackField::TaskPushNotificationConfig
        } else if message.get("kind").is_some() {
            CallbackField::PushNotificationConfig
        } else {
            CallbackField::PushNotification
        });
    }
    let method = root.text_of("method").unwrap_or_default();
    match method.as_ref() {
        "SendMessage" | "SendStreamingMessage" => Ok(CallbackField::TaskPushNotificationConfig),
        "message/send" | "message/stream" => Ok(CallbackField::PushNotificationConfig),
        "tasks/send" | "tasks/sendSubscribe" => Ok(CallbackField::ParamsPushNotification),
        other => Err(Error::NoCallbackField { method: excerpt(other) }),
    }
}

/// A body whose A2A request is its `params`, whether or not it says `jsonrpc`.
fn is_rpc(root: Node<'_>) -> bool {
    root.get("jsonrpc").is_some() || (root.get("method").is_some() && root.get("params").is_some())
}

/// `null` and the empty string are proto-JSON's ways to leave a field unset.
fn is_set(url: Node<'_>) -> bool {
    url.kind() != Kind::Null && url.raw() != "\"\""
}

fn is_mailbox(uri: &str) -> bool {
    uri.split_once("://")
        .is_some_and(|(scheme, _)| ["mq9", "mq9s"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

fn object<'a>(body: &'a [u8], limits: &Limits) -> Result<Node<'a>> {
    let root = json::parse_body(body, limits)?;
    if root.is_object() { Ok(root) } else { Err(Error::member("$", MemberRule::NotAnObject)) }
}
