//! Frames that the client sends up the socket. Messages are not among them: they go by REST.

use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::presence::PresenceStatus;
use crate::config::ClientIdentity;
use crate::key::ApiKey;

/// A frame to the server. None has an answer. The first one, with the key, is made where the socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientFrame {
    /// `ack`: a message is handled, where the server granted the capability `ack`.
    Ack {
        /// Which one.
        message_id: String,
    },
    /// `typing.start` or `typing.stop`.
    Typing {
        /// Where.
        conversation_id: String,
        /// Whether it begins.
        started: bool,
    },
    /// `message.read_ack`: everything up to here is read. Older servers pass over it.
    ReadUpTo {
        /// Where.
        conversation_id: String,
        /// Up to which number.
        through_seq: u64,
    },
    /// `presence.update`. Older servers pass over it.
    Presence {
        /// The presence.
        status: PresenceStatus,
        /// A few words, at most 200 characters.
        custom_message: Option<String>,
    },
}

impl ClientFrame {
    /// The acknowledgement of one message.
    pub fn ack(message_id: impl Into<String>) -> Self {
        Self::Ack { message_id: message_id.into() }
    }

    /// The frame as JSON text.
    pub fn to_json(&self) -> String {
        match self {
            Self::Ack { message_id } => return ack(message_id),
            Self::Typing { conversation_id, started } => {
                let kind = if *started { "typing.start" } else { "typing.stop" };
                json!({"type": kind, "payload": {"conversation_id": conversation_id}})
            }
            Self::ReadUpTo { conversation_id, through_seq } => json!({
                "type": "message.read_ack",
                "payload": {"conversation_id": conversation_id, "through_seq": through_seq},
            }),
            Self::Presence { status, custom_message: None } => {
                json!({"type": "presence.update", "payload": {"status": status.as_str()}})
            }
            Self::Presence { status, custom_message: Some(words) } => json!({
                "type": "presence.update",
                "payload": {"status": status.as_str(), "custom_message": words},
            }),
        }
        .to_string()
    }
}

/// [`ClientFrame::Ack`], written without a tree: there is one for each message.
pub(crate) fn ack(message_id: &str) -> String {
    const AROUND: [&str; 2] = [r#"{"type":"ack","message_id":"#, "}"];
    let id = match message_id.bytes().all(|byte| matches!(byte, b' '..=b'~' if byte != b'"' && byte != b'\\'))
    {
        true => None,
        false => serde_json::to_string(message_id).ok(),
    };
    match id {
        None => [AROUND[0], "\"", message_id, "\"", AROUND[1]].concat(),
        Some(id) => [AROUND[0], &id, AROUND[1]].concat(),
    }
}

/// The first frame of a socket without an `Authorization` header.
pub(crate) fn hello(
    key: &ApiKey,
    capabilities: &[&str],
    identity: Option<&ClientIdentity>,
) -> Zeroizing<String> {
    let hello = Hello {
        kind: "hello",
        api_key: key.expose(),
        capabilities,
        client: identity.map(|it| it.name.as_str()),
        client_version: identity.and_then(|it| it.version.as_deref()),
    };
    Zeroizing::new(serde_json::to_string(&hello).unwrap_or_default())
}

#[derive(Serialize)]
struct Hello<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    api_key: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    capabilities: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_version: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_says_only_what_is_known() {
        let key = ApiKey::new("ac_0123456789abcdefghij").expect("valid");
        assert_eq!(*hello(&key, &[], None), r#"{"type":"hello","api_key":"ac_0123456789abcdefghij"}"#);
        let identity = ClientIdentity::new("mine", Some("2".to_owned()));
        assert_eq!(
            *hello(&key, &["ack"], Some(&identity)),
            r#"{"type":"hello","api_key":"ac_0123456789abcdefghij","capabilities":["ack"],"client":"mine","client_version":"2"}"#
        );
    }

    #[test]
    fn every_frame_has_its_documented_shape() {
        let conversation_id = "conv_1".to_owned();
        for (frame, json) in [
            (ClientFrame::ack("msg_1"), r#"{"message_id":"msg_1","type":"ack"}"#),
            (ClientFrame::ack("m\"\\é\n"), r#"{"message_id":"m\"\\é\n","type":"ack"}"#),
            (
                ClientFrame::Typing { conversation_id: conversation_id.clone(), started: true },
                r#"{"payload":{"conversation_id":"conv_1"},"type":"typing.start"}"#,
            ),
            (
                ClientFrame::ReadUpTo { conversation_id, through_seq: 13 },
                r#"{"payload":{"conversation_id":"conv_1","through_seq":13},"type":"message.read_ack"}"#,
            ),
            (
                ClientFrame::Presence { status: PresenceStatus::Busy, custom_message: None },
                r#"{"payload":{"status":"busy"},"type":"presence.update"}"#,
            ),
        ] {
            let made: serde_json::Value = serde_json::from_str(&frame.to_json()).expect("JSON");
            assert_eq!(made, serde_json::from_str::<serde_json::Value>(json).expect("JSON"));
        }
    }
}
