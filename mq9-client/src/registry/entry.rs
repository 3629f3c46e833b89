//! What a DISCOVER hands out, in every shape in use.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::address::MailAddress;
use crate::uri::{Mq9Uri, Scheme};

/// One registered agent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentEntry {
    /// The name it is registered under; on a broker that takes nameless agents, its mailbox.
    pub name: String,
    /// What it registered, byte for byte as the broker gave it: a card's JSON, or free text. A card
    /// registered as such on a broker with search comes back written anew by the broker; the exact one
    /// is in the agent's status then (see [`crate::AgentStatus::card`]).
    pub info: Bytes,
    /// The broker's id of the entry, where its search gives one.
    pub id: Option<String>,
    /// A mailbox that the listing names beside the card.
    listed_mailbox: Option<Mq9Uri>,
}

impl AgentEntry {
    /// Reads `{name, agent_info}`, `{agent_id, …}`, `{agent_card}`, or a card as such. One without a name
    /// goes by its id, its mailbox, or the empty name: anyone can register such a thing, and it must not
    /// hide the others. `None` for what is no JSON object.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(text) else {
            return None;
        };
        let word = |key: &str| entry.get(key).and_then(Value::as_str);
        let id = word("agent_id").map(str::to_owned);
        let info: Bytes = match ["agent_info", "agent_card"].iter().find_map(|key| exact(text, key)) {
            Some(info) => info,
            // `{name, payload}` beside other fields is how some clients list what they registered.
            None => match word("payload") {
                Some(payload) if !entry.contains_key("skills") => Bytes::copy_from_slice(payload.as_bytes()),
                _ => Bytes::copy_from_slice(text.as_bytes()),
            },
        };
        let own_name = || card(&info).and_then(|card| Some(card.get("name")?.as_str()?.to_owned()));
        let name = word("name").map(str::to_owned).or_else(own_name).or_else(|| id.clone());
        let name = name.or_else(|| word("mailbox").map(str::to_owned)).unwrap_or_default();
        let listed_mailbox = entry.get("mailbox").and_then(address);
        Some(Self { name, info, id, listed_mailbox })
    }

    /// Where to write to the agent: the first of an mq9 `supportedInterfaces[].url`, `mailbox`,
    /// `metadata.mq9.mailbox`, `metadata.mq9.mail_address`, an mq9 `url`. A bare mailbox name means the
    /// connected broker: `mq9://broker/{name}`. Check [`Mq9Uri::same_broker`] before sending there.
    pub fn mailbox(&self) -> Option<Mq9Uri> {
        let Some(card) = card(&self.info) else {
            return self.listed_mailbox.clone();
        };
        let interfaces =
            ["supportedInterfaces", "supported_interfaces"].iter().find_map(|key| card.get(*key));
        let interface = interfaces
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find_map(|interface| mq9_uri(interface.get("url")?.as_str()?));
        let metadata = card.get("metadata").and_then(|metadata| metadata.get("mq9"));
        interface
            .or_else(|| address(card.get("mailbox")?))
            .or_else(|| self.listed_mailbox.clone())
            .or_else(|| address(metadata?.get("mailbox")?))
            .or_else(|| address(metadata?.get("mail_address")?))
            .or_else(|| mq9_uri(card.get("url")?.as_str()?))
    }

    /// Whether `tag` is among the card's `tags` or its skills' `tags`, exactly and case-sensitively.
    pub fn has_tag(&self, tag: &str) -> bool {
        card(&self.info).is_some_and(|card| {
            let skills = card.get("skills").and_then(Value::as_array);
            let skill_tags = skills.into_iter().flatten().filter_map(|skill| skill.get("tags"));
            card.get("tags")
                .into_iter()
                .chain(skill_tags)
                .filter_map(Value::as_array)
                .flatten()
                .any(|found| found.as_str() == Some(tag))
        })
    }

    /// The words a text search goes by: name, descriptions, skills, tags and examples; all of a text
    /// that is no card.
    pub(crate) fn searchable(&self) -> String {
        let mut words = self.name.clone();
        match card(&self.info) {
            Some(card) => gather(&card, &mut words),
            None => {
                words.push(' ');
                words.push_str(&String::from_utf8_lossy(&self.info));
            }
        }
        words
    }
}

impl fmt::Debug for AgentEntry {
    /// Leaves out what was registered, since it names mailboxes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEntry")
            .field("name", &self.name)
            .field("bytes", &self.info.len())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The JSON object an entry's text is, or wraps as `{agent_info}`, `{agent_card}`, `{payload}`, or as a
/// JSON string.
fn card(info: &[u8]) -> Option<Map<String, Value>> {
    let mut value: Value = serde_json::from_slice(info).ok()?;
    for _ in 0..WRAPPINGS {
        value = match value {
            Value::String(text) => serde_json::from_str(&text).ok()?,
            Value::Object(mut card) => {
                let wrapped = ["agent_card", "agent_info", "payload"].iter().find_map(|key| {
                    card.get(*key).filter(|inner| is_object(inner))?;
                    card.remove(*key)
                });
                match wrapped {
                    // A mailbox beside the card counts for it unless it names its own.
                    Some(Value::Object(mut inner)) => {
                        if let Some(mailbox) = card.remove("mailbox") {
                            inner.entry("mailbox").or_insert(mailbox);
                        }
                        Value::Object(inner)
                    }
                    Some(text) => text,
                    None => return Some(card),
                }
            }
            _ => return None,
        };
    }
    None
}

/// Whether the value is an object, or the text of one.
fn is_object(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::String(text) => {
            text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_ok()
        }
        _ => false,
    }
}

/// The exact text under `key`: of a string its content, of anything else its JSON.
fn exact(text: &str, key: &str) -> Option<Bytes> {
    use serde_json::value::RawValue;
    let fields: std::collections::HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let raw = fields.get(key)?.get();
    match serde_json::from_str::<String>(raw) {
        Ok(content) => Some(content.into()),
        Err(_) if raw == "null" => None,
        Err(_) => Some(Bytes::copy_from_slice(raw.as_bytes())),
    }
}

fn address(value: &Value) -> Option<Mq9Uri> {
    let text = value.as_str()?;
    match MailAddress::new(text) {
        Ok(mailbox) => Some(Mq9Uri::on_connected(mailbox)),
        Err(_) => mq9_uri(text),
    }
}

fn mq9_uri(text: &str) -> Option<Mq9Uri> {
    let uri: Mq9Uri = text.parse().ok()?;
    (matches!(uri.scheme(), Scheme::Mq9 | Scheme::Mq9s) && uri.mailbox().is_some()).then_some(uri)
}

fn gather(card: &Map<String, Value>, words: &mut String) {
    for (key, value) in card {
        if matches!(key.as_str(), "name" | "description" | "tags" | "examples" | "skills" | "capabilities") {
            gather_value(value, words);
        }
    }
}

fn gather_value(value: &Value, words: &mut String) {
    match value {
        Value::String(text) => {
            words.push(' ');
            words.push_str(text);
        }
        Value::Array(values) => values.iter().for_each(|value| gather_value(value, words)),
        Value::Object(inner) => gather(inner, words),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// How deep cards are wrapped at most; more is nobody's card.
const WRAPPINGS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> AgentEntry {
        AgentEntry::read(text).unwrap_or_else(|| panic!("not read: {text}"))
    }

    fn mailbox(text: &str) -> Option<String> {
        read(text).mailbox().map(|uri| uri.to_string())
    }

    #[test]
    fn every_shape_of_an_entry_is_read_with_its_exact_text() {
        let card = r#"{"name":"a",  "version":1.50,"mailbox":"box.a"}"#;
        let quoted = serde_json::to_string(card).expect("text");
        for (entry, name, info) in [
            (format!(r#"{{"name":"a","agent_info":{quoted}}}"#), "a", card),
            (format!(r#"{{"agent_id":"i","name":"n","description":"d","agent_info":{quoted}}}"#), "n", card),
            (format!(r#"{{"agent_card":{card}}}"#), "a", card),
            (format!(r#"{{"agent_card":{quoted},"agent_info":null}}"#), "a", card),
            (r#"{"agent_id":"i","agent_card":{}}"#.to_owned(), "i", "{}"),
            (card.to_owned(), "a", card),
            (r#"{"name":"t","agent_info":"free text"}"#.to_owned(), "t", "free text"),
            (r#"{"name":"","agent_info":"{}"}"#.to_owned(), "", "{}"),
            (r#"{"mailbox":"a.b"}"#.to_owned(), "a.b", r#"{"mailbox":"a.b"}"#),
            (r#"{"agent_info":"text"}"#.to_owned(), "", "text"),
        ] {
            let read = read(&entry);
            assert_eq!((read.name.as_str(), read.info.as_ref()), (name, info.as_bytes()), "{entry}");
        }
        for other in ["[]", "3", "\"x\"", "null"] {
            assert!(AgentEntry::read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_mailbox_is_taken_from_the_first_place_that_names_one() {
        let interface = r#""supportedInterfaces":[{"url":"https://x/"},{"url":"mq9://h:1/from.interface"}]"#;
        let plain = r#""mailbox":"mq9://broker/from.mailbox""#;
        let nested = r#""metadata":{"mq9":{"mailbox":"from.metadata","mail_address":"from.mail"}}"#;
        let mail = r#""metadata":{"mq9":{"mail_address":"from.mail"}}"#;
        let url = r#""url":"mq9s://h/from.url""#;
        for (parts, expected) in [
            (vec![url, nested, plain, interface], Some("mq9://h:1/from.interface")),
            (vec![url, nested, plain], Some("mq9://broker/from.mailbox")),
            (vec![url, nested], Some("mq9://broker/from.metadata")),
            (vec![url, mail], Some("mq9://broker/from.mail")),
            (vec![url], Some("mq9s://h/from.url")),
            (vec![r#""url":"https://x/a""#], None),
            (vec![r#""mailbox":"NOT A BOX""#, url], Some("mq9s://h/from.url")),
            (vec![r#""mailbox":"mq9://host-without-box""#], None),
            (vec![r#""mailbox":7"#], None),
            (vec![], None),
        ] {
            let card =
                format!(r#"{{"name":"a"{}{}}}"#, if parts.is_empty() { "" } else { "," }, parts.join(","));
            assert_eq!(mailbox(&card).as_deref(), expected, "{card}");
            let quoted = serde_json::to_string(&card).expect("text");
            let listed = format!(r#"{{"name":"a","agent_info":{quoted}}}"#);
            assert_eq!(mailbox(&listed).as_deref(), expected, "{listed}");
        }
    }

    #[test]
    fn wrapped_cards_and_a_mailbox_beside_them_are_found() {
        let expected = Some("mq9://broker/a.b".to_owned());
        for entry in [
            r#"{"name":"h","mailbox":"a.b","payload":"does things","agent_card":{"name":"h"}}"#,
            r#"{"name":"h","agent_info":"{\"name\":\"h\",\"agent_card\":{\"mailbox\":\"a.b\"}}"}"#,
            r#"{"name":"h","agent_info":"{\"name\":\"h\",\"mailbox\":\"a.b\",\"agent_card\":{\"name\":\"h\"}}"}"#,
            r#"{"name":"h","mailbox":"a.b","agent_info":"free text"}"#,
            r#"{"name":"h","supported_interfaces":[{"url":"mq9://broker/a.b"}]}"#,
        ] {
            assert_eq!(mailbox(entry), expected, "{entry}");
        }
    }

    #[test]
    fn tags_are_matched_exactly_in_card_and_skills() {
        let entry = read(r#"{"name":"a","tags":["top"],"skills":[{"tags":["deep","x"]},{"id":"none"}]}"#);
        for tag in ["top", "deep", "x"] {
            assert!(entry.has_tag(tag), "{tag}");
        }
        for tag in ["Top", "to", "", "none"] {
            assert!(!entry.has_tag(tag), "{tag}");
        }
        assert!(!read(r#"{"name":"a","agent_info":"top"}"#).has_tag("top"));
    }

    #[test]
    fn the_words_searched_are_what_the_card_says_of_itself() {
        let entry = read(
            r#"{"name":"a","description":"translates","url":"mq9://secret","skills":[{"id":"i","description":"Chinese","examples":["hi"]}]}"#,
        );
        let words = entry.searchable();
        for word in ["translates", "Chinese", "hi"] {
            assert!(words.contains(word), "{words}");
        }
        assert!(!words.contains("secret"), "{words}");
    }
}
