//! What the server says when it refuses.

use serde::Deserialize;
use serde_json::{Map, Value};

/// An error body that has at least a code and a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ErrorBody {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    /// Members beside these: `reason` and `detail` of a suspension, `retry_after_ms` of a mute.
    pub(crate) beside: Map<String, Value>,
}

impl ErrorBody {
    /// Reads `value`, an object with texts `code` and `message`.
    pub(crate) fn read(value: Value) -> Result<Self, Value> {
        let Value::Object(mut members) = value else { return Err(value) };
        let is_text = |members: &Map<String, Value>, name| members.get(name).is_some_and(Value::is_string);
        if !is_text(&members, "code") || !is_text(&members, "message") {
            return Err(Value::Object(members));
        }
        let mut text = |name| match members.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (code, message) = (text("code"), text("message"));
        let details = members.remove("details").filter(|details| !details.is_null());
        Ok(Self { code, message, details, beside: members })
    }

    /// How long the body asks to wait, in milliseconds: `retry_after_ms` in the details or beside them.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        let inside = self.details.as_ref().and_then(|details| details.get("retry_after_ms"));
        [inside, self.beside.get("retry_after_ms")]
            .into_iter()
            .flatten()
            .find_map(|value| u64::deserialize(value).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_needs_a_code_and_a_message() {
        for other in [json!([]), json!({"oops": 1}), json!({"code": 5, "message": "x"}), json!({"code": "X"})]
        {
            assert_eq!(ErrorBody::read(other.clone()), Err(other));
        }
        let body = ErrorBody::read(json!({"code":"SUSPENDED","message":"m","reason":"r","details":null}));
        let body = body.expect("a body");
        assert_eq!(
            (body.code.as_str(), body.details.as_ref(), body.beside["reason"].as_str()),
            ("SUSPENDED", None, Some("r"))
        );
    }

    #[test]
    fn the_hint_is_found_in_both_places() {
        for (json, hint) in [
            (json!({"code":"A","message":"","details":{"retry_after_ms":750}}), Some(750)),
            (json!({"code":"A","message":"","retry_after_ms":751}), Some(751)),
            (json!({"code":"A","message":"","retry_after_ms":"750"}), None),
            (json!({"code":"A","message":"","details":{"retry_after_ms":-1}}), None),
        ] {
            assert_eq!(ErrorBody::read(json).expect("a body").retry_after_ms(), hint);
        }
    }
}
