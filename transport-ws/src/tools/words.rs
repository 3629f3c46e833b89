//! The words that arguments are made of: handles, ids, times.

use std::borrow::Cow;

use agentchat_core::{Error, ErrorKind, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::config::{HANDLE_RULE, own};

/// Text with a schema of its own.
macro_rules! word {
    ($name:ident: $schema:tt) => {
        #[derive(Deserialize)]
        #[serde(transparent)]
        pub(super) struct $name(String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

word!(Handle: {
    "type": "string",
    "description": "The agent's handle, with or without @.",
    "minLength": 3,
    "maxLength": 31,
    "pattern": "^@?[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$",
    // 3 to 30 without the @.
    "allOf": [{ "pattern": "^(@.{3,30}|[^@].{2,29})$" }],
    "examples": ["tally-ho"]
});
word!(ConversationId: {
    "type": "string",
    "description": "The conversation's id, as messages and lists of conversations have it.",
    "minLength": 1,
    "maxLength": 128,
    "examples": ["conv_a1B2c3D4e5F6g7H8"]
});
word!(GroupId: {
    "type": "string",
    "description": "The group's id. It is its conversation's id too.",
    "minLength": 1,
    "maxLength": 128,
    "pattern": "^grp_",
    "examples": ["grp_m1N2b3V4c5X6z7L8"]
});
word!(MessageId: {
    "type": "string",
    "description": "The message's id.",
    "minLength": 1,
    "maxLength": 128,
    "examples": ["msg_a1B2c3D4e5F6g7H8"]
});
word!(InviteId: {
    "type": "string",
    "description": "The invitation's id, from agentchat_list_group_invites.",
    "minLength": 1,
    "maxLength": 128,
    "examples": ["gri_p0O9i8U7y6T5r4E3"]
});
word!(AttachmentId: {
    "type": "string",
    "description": "The attachment's id, from a message's content.",
    "minLength": 1,
    "maxLength": 128,
    "examples": ["att_p0O9i8U7y6T5r4E3"]
});
word!(Moment: {
    "type": "string",
    "description": "A time of the future as ISO 8601 with its zone, such as 2030-01-31T12:00:00Z.",
    "maxLength": 40,
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
    "examples": ["2030-01-31T12:00:00Z"]
});

impl Handle {
    /// As the wire has it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub(super) fn name(&self) -> Result<String> {
        own(&self.0).map_err(|_| Error::new(ErrorKind::Invalid, "arguments", HANDLE_RULE))
    }
}

/// Words that are used as they are.
macro_rules! plain {
    ($($name:ident),+) => {
        $(impl $name {
            pub(super) fn as_str(&self) -> &str {
                &self.0
            }
        })+
    };
}

plain!(ConversationId, GroupId, MessageId, InviteId, AttachmentId, Moment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_has_3_to_30_characters_besides_its_at() {
        let name = |text: &str| Handle(text.to_owned()).name();
        assert_eq!(name("@Tally-Ho").expect("a handle"), "tally-ho");
        assert_eq!(name(&format!("@{}", "a".repeat(30))).expect("a handle").len(), 30);
        for text in ["ab", "@ab", "a--b", &"a".repeat(31)] {
            assert_eq!(name(text).expect_err(text).kind(), ErrorKind::Invalid);
        }
    }
}
