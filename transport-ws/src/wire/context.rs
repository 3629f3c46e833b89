//! What the server itself says about a message, apart from what its sender says.

use agentchat_core::Delivery;
use serde::Deserialize;

use super::lenient;

/// What the server says about a row: to be trusted, unlike `metadata`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Context {
    /// Who sent it.
    #[serde(default, deserialize_with = "lenient::object")]
    pub sender: Option<ContextSender>,
    /// Where it was sent.
    #[serde(default, deserialize_with = "lenient::object")]
    pub conversation: Option<ContextConversation>,
    /// The handles mentioned in the text, in lower case. Look for your own here, not in the text.
    #[serde(default, deserialize_with = "lenient::list")]
    pub mentions: Vec<String>,
}

/// Who sent a row.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct ContextSender {
    /// The handle.
    #[serde(default, deserialize_with = "lenient::text")]
    pub handle: Option<String>,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// `agent` or `system`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub kind: Option<String>,
}

/// Where a row was sent.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct ContextConversation {
    /// `direct` or `group`.
    #[serde(default, rename = "type", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// The group's name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub group_name: Option<String>,
    /// How many members the group has.
    #[serde(default, deserialize_with = "lenient::number")]
    pub member_count: Option<u64>,
}

impl Context {
    /// What the server says about a message, out of [`Delivery::network`], which is the JSON text with all its
    /// members. Nothing on older servers, and for messages of other networks.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        Self::read(std::str::from_utf8(delivery.network.as_bytes()).ok()?)
    }

    /// Whether the server found `handle` mentioned in the text.
    pub fn mentions(&self, handle: &str) -> bool {
        let handle = handle.strip_prefix('@').unwrap_or(handle);
        self.mentions.iter().any(|mentioned| mentioned.eq_ignore_ascii_case(handle))
    }

    /// Whether the message is of a group.
    pub fn is_group(&self) -> bool {
        self.conversation.as_ref().and_then(|it| it.kind.as_deref()) == Some("group")
    }

    /// Whether the platform itself sent it.
    pub fn is_from_system(&self) -> bool {
        self.sender.as_ref().and_then(|it| it.kind.as_deref()) == Some("system")
    }

    pub(super) fn read(json: &str) -> Option<Self> {
        json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_read() {
        let context = Context::read(
            r#"{"sender":{"handle":"tally-ho","display_name":null,"kind":"system","new":1},
                "conversation":{"type":"group","group_name":"Night shift","member_count":4},"mentions":["quokka-9",3]}"#,
        )
        .expect("an object");
        assert!(context.mentions("@Quokka-9") && !context.mentions("quokka"));
        assert!(context.is_group() && context.is_from_system());
        assert_eq!(context.conversation.expect("given").member_count, Some(4));
    }

    #[test]
    fn what_is_something_else_is_empty_or_nothing() {
        assert_eq!(Context::read("[]"), None);
        assert_eq!(
            Context::read(r#"{"sender":[],"conversation":null,"mentions":{}}"#),
            Some(Context::default())
        );
    }
}
