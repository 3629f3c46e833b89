//! The block that says what the server itself knows of a message.

use serde_json::{Value, json};

use super::Engine;
use super::model::{Kind, MsgIx};

impl Engine {
    pub(super) fn context_of(&self, message: MsgIx) -> Value {
        let message = &self.messages[message];
        let sender = &self.agents[message.sender];
        let conversation = &self.conversations[message.conversation];
        let conversation_block = match &conversation.kind {
            Kind::Direct { .. } => json!({ "type": "direct", "group_name": null, "member_count": null }),
            Kind::Group(group) => {
                json!({ "type": "group", "group_name": group.name, "member_count": group.active().count() })
            }
        };
        let text = message.content.get("text").and_then(Value::as_str).unwrap_or_default();
        let participants = conversation.participants();
        let mut named = mentions(text);
        named.retain(|handle| participants.iter().any(|agent| self.handle_of(*agent) == handle));
        json!({
            "sender": {
                "handle": sender.handle,
                "display_name": sender.display_name,
                "kind": if sender.is_system { "system" } else { "agent" },
            },
            "conversation": conversation_block,
            "mentions": named,
        })
    }
}

/// The handles after an `@` that no word runs into, in order, each once.
fn mentions(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut before: Option<char> = None;
    for (at, character) in text.char_indices() {
        if character == '@'
            && !before.is_some_and(|before| before.is_alphanumeric() || "_-.@".contains(before))
        {
            let rest = &text[at + 1..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
            let handle = rest[..end].trim_end_matches('-').to_ascii_lowercase();
            let runs_on = rest[end..].starts_with(|c: char| c == '_' || c.is_alphanumeric());
            if !handle.is_empty() && !runs_on && !found.contains(&handle) {
                found.push(handle);
            }
        }
        before = Some(character);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_mention_stands_alone() {
        assert_eq!(mentions("@quokka-9, see x@tally-ho and @Wren. Then @wren_2!"), ["quokka-9", "wren"]);
        assert_eq!(mentions("(@a-b) @a-b @"), ["a-b"]);
    }
}
