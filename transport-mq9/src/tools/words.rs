//! The words that arguments are made of, and bodies as a model sees them.

use std::borrow::Cow;

use agentchat_core::{Address, Body, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// An mq9 mailbox: its address, or its bare name.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Mailbox(String);

/// A JSON object of any members, as it was written, or a text.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Message(Box<RawValue>);

/// A JSON object of any members, as it was written.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Object(Box<RawValue>);

impl From<String> for Mailbox {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Mailbox {
    /// The address; a bare name is of the scheme and broker of `own`.
    ///
    /// # Errors
    /// [`Invalid`](agentchat_core::ErrorKind::Invalid).
    pub(super) fn address(&self, own: &Address) -> Result<Address> {
        match (self.0.contains("://"), own.authority()) {
            (true, _) => Address::parse(&self.0),
            (false, Some(broker)) => Address::parse(format!("{}://{broker}/{}", own.scheme(), self.0)),
            (false, None) => Address::of(own.scheme(), &self.0),
        }
    }
}

impl Message {
    pub(super) fn into_body(self) -> Body {
        match serde_json::from_str::<String>(self.0.get()) {
            Ok(text) => Body::text(text),
            Err(_) => Body::json(String::from(Box::<str>::from(self.0))),
        }
    }
}

impl Object {
    pub(super) fn into_text(self) -> String {
        Box::<str>::from(self.0).into()
    }
}

/// A body as a model sees it: JSON as such, text as text, and of anything else how much it is.
pub(super) fn shown(body: &Body) -> Value {
    let media_type = body.media_type.as_str();
    match body.as_str() {
        Some(text) => match serde_json::from_str(text) {
            Ok(json) if !media_type.starts_with("text/") => json,
            _ => Value::from(text),
        },
        None => json!({ "media_type": media_type, "bytes": body.bytes.len() }),
    }
}

impl JsonSchema for Mailbox {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Mailbox".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A mailbox: its address as mq9_discover gives it, or its name on this broker.",
            "minLength": 1,
            "maxLength": 400,
            "pattern": "^(mq9s?://[^ ]+/)?[a-z0-9]+([.][a-z0-9]+)*$",
            "examples": ["agent.coder.inbox"]
        })
    }
}

impl JsonSchema for Message {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["object", "string"],
            "additionalProperties": {},
            "maxLength": 262_144,
            "examples": [{ "message": { "role": "user", "parts": [{ "text": "Sort these numbers." }] } }]
        })
    }
}

impl JsonSchema for Object {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": {},
            "required": ["name"],
            "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 128 } },
            "examples": [{ "name": "coder", "description": "writes programs", "tags": ["code"] }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_a_mailbox_of_the_own_broker() {
        let own = Address::parse("mq9://localhost:4333/me").expect("an address");
        let of = |text: &str| Mailbox(text.to_owned()).address(&own).expect("an address").as_str().to_owned();
        assert_eq!(of("agent.coder"), "mq9://localhost:4333/agent.coder");
        assert_eq!(of("mq9://other:1/agent.coder"), "mq9://other:1/agent.coder");
    }

    #[test]
    fn a_body_is_shown_as_what_it_is() {
        assert_eq!(shown(&Body::json(r#"{"a":1}"#)), json!({ "a": 1 }));
        assert_eq!(shown(&Body::text("7")), json!("7"), "a text is no number");
        assert_eq!(shown(&Body::json("{")), json!("{"));
        let binary = shown(&Body::binary([0xff, 0xfe].to_vec()));
        assert_eq!(binary["bytes"], 2);
    }
}
