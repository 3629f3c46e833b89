//! Read receipts.

use serde::Deserialize;

use super::{Extra, lenient, moments};

/// Someone read something of ours. Servers write it in two shapes: of one message, or of everything up to a
/// number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadReceipt {
    /// The message, in the first shape.
    pub message_id: Option<String>,
    /// The conversation, in the second shape.
    pub conversation_id: Option<String>,
    /// Up to which number, in the second shape.
    pub through_seq: Option<u64>,
    /// Who read.
    pub reader: Option<String>,
    /// When, as written.
    pub at: Option<String>,
    /// What else came.
    pub extra: Extra,
}

impl ReadReceipt {
    /// Reads either shape; nothing when it is neither.
    pub(super) fn read(json: &str) -> Option<Self> {
        if !json.starts_with('{') {
            return None;
        }
        let members: Members = serde_json::from_str(json).ok()?;
        let known = members.message_id.is_some()
            || (members.conversation_id.is_some() && members.through_seq.is_some());
        known.then(|| Self {
            message_id: members.message_id,
            conversation_id: members.conversation_id,
            through_seq: members.through_seq,
            reader: members.read_by.or(members.reader),
            at: members.read_at.or(members.at),
            extra: members.extra,
        })
    }
}

moments! { ReadReceipt: at }

#[derive(Deserialize)]
struct Members {
    #[serde(default, deserialize_with = "lenient::text")]
    message_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    conversation_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::number")]
    through_seq: Option<u64>,
    #[serde(default, deserialize_with = "lenient::text")]
    read_by: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    reader: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    read_at: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    at: Option<String>,
    #[serde(flatten)]
    extra: Extra,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c91_read_receipt_shapes() {
        let one = ReadReceipt::read(r#"{"message_id":"m","read_by":"a","read_at":null}"#).expect("a receipt");
        assert_eq!((one.message_id.as_deref(), one.reader.as_deref(), one.at), (Some("m"), Some("a"), None));
        let many = r#"{"conversation_id":"c","through_seq":13,"reader":"a","at":"2026-08-11T08:02:30Z"}"#;
        let many = ReadReceipt::read(many).expect("a receipt");
        assert_eq!((many.conversation_id.as_deref(), many.through_seq), (Some("c"), Some(13)));
        assert_eq!((many.reader.as_deref(), many.at.as_deref()), (Some("a"), Some("2026-08-11T08:02:30Z")));
        for other in ["{}", r#"{"conversation_id":"c"}"#, "[]", "null", ""] {
            assert_eq!(ReadReceipt::read(other), None, "{other}");
        }
    }
}
