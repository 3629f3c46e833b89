//! Frames that the client sends up the socket. There are two: messages, receipts and presence
//! go by REST.

use serde::Serialize;
use zeroize::Zeroizing;

use crate::config::ClientIdentity;
use crate::key::ApiKey;

/// The acknowledgement of a message. Written without a tree: there is one for each.
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
    fn an_acknowledgement_has_its_documented_shape_whatever_the_id() {
        for id in ["msg_1", "m\"\\é\n", ""] {
            let made: serde_json::Value = serde_json::from_str(&ack(id)).expect("JSON");
            assert_eq!(made, serde_json::json!({"type": "ack", "message_id": id}));
        }
    }
}
