//! What an agent puts into the registry.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::requests;

/// An agent's entry for the registry: a name and a card or free text.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    name: String,
    info: String,
}

impl Registration {
    /// An agent with a card: any JSON text, kept byte for byte.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty name, or a card that is not JSON.
    pub fn card(name: impl Into<String>, card_json: impl Into<Bytes>) -> Result<Self> {
        let card: Bytes = card_json.into();
        let text = std::str::from_utf8(&card).map_err(|_| invalid("the card is not UTF-8"))?;
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|error| invalid("the card is not JSON").with_source(error))?;
        Self::text(name, text)
    }

    /// An agent with a description in free text.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty name or text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Result<Self> {
        let (name, info) = (name.into(), text.into());
        if name.is_empty() {
            return Err(invalid("an agent's name must not be empty"));
        }
        if info.is_empty() {
            return Err(invalid("an agent's card or text must not be empty"));
        }
        Ok(Self { name, info })
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The card or text, as handed in.
    pub fn info(&self) -> &str {
        &self.info
    }

    /// The form that every broker takes and keeps exactly: `{name, payload}`.
    pub(crate) fn pair(&self) -> Result<Bytes> {
        requests::register_pair(&self.name, &self.info)
    }

    /// The card as it is, if it looks like one that the broker's strict reader takes under this name.
    /// That reader refuses any field it does not know, at every depth, so the last word is the broker's.
    pub(crate) fn strict(&self) -> Option<Bytes> {
        let Ok(Value::Object(card)) = serde_json::from_str::<Value>(&self.info) else {
            return None;
        };
        let known = card.keys().all(|key| CARD_FIELDS.contains(&key.as_str()));
        let named = card.get("name").and_then(Value::as_str) == Some(&self.name);
        (known && named).then(|| Bytes::copy_from_slice(self.info.as_bytes()))
    }
}

impl fmt::Debug for Registration {
    /// Leaves out the card, since it names mailboxes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("name", &self.name).field("bytes", &self.info.len()).finish()
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, "AGENT.REGISTER", why)
}

/// The fields of an A2A v1 card in both spellings of proto-JSON.
const CARD_FIELDS: [&str; 21] = [
    "name",
    "description",
    "version",
    "supportedInterfaces",
    "supported_interfaces",
    "provider",
    "documentationUrl",
    "documentation_url",
    "capabilities",
    "securitySchemes",
    "security_schemes",
    "securityRequirements",
    "security_requirements",
    "defaultInputModes",
    "default_input_modes",
    "defaultOutputModes",
    "default_output_modes",
    "skills",
    "signatures",
    "iconUrl",
    "icon_url",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_kept_byte_for_byte_in_the_pair() {
        let card = "{ \"name\": \"a\",\n \"x\": 1.50 }";
        let registration = Registration::card("a", card).expect("valid");
        let body: Value = serde_json::from_slice(&registration.pair().expect("a body")).expect("JSON");
        assert_eq!(body, serde_json::json!({"name": "a", "payload": card}));
    }

    #[test]
    fn only_a_plain_card_of_that_name_goes_strictly() {
        let strict = |card: &str| Registration::card("a", card.to_owned()).expect("valid").strict().is_some();
        assert!(strict(r#"{"name":"a","skills":[],"version":"1"}"#));
        assert!(!strict(r#"{"name":"a","mailbox":"mq9://broker/a"}"#));
        assert!(!strict(r#"{"name":"b","version":"1"}"#));
        assert!(!strict(r#"{"version":"1"}"#));
        assert!(!strict("[1]"));
    }

    #[test]
    fn the_debug_forms_show_no_card() {
        let card = r#"{"name":"a","mailbox":"s3cret.box"}"#;
        let entry = crate::AgentEntry::read(card).expect("an entry");
        let shown = format!("{:?} {entry:?}", Registration::card("a", card).expect("valid"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn unusable_registrations_are_refused() {
        for (registration, reason) in [
            (Registration::card("", "{}"), "name"),
            (Registration::card("a", "{"), "not JSON"),
            (Registration::card("a", "{} trailing"), "not JSON"),
            (Registration::card("a", vec![0xff]), "UTF-8"),
            (Registration::text("a", ""), "must not be empty"),
        ] {
            let error = registration.expect_err(reason);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
