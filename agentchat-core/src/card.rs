//! An agent's entry in the directory.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// What an agent says of itself: a JSON object, kept byte for byte.
///
/// The library reads `name`, `description`, `tags` and the same of each entry in `skills` for searching,
/// and never writes the document anew: unknown members and their order survive.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentCard {
    document: Bytes,
    view: View,
}

impl AgentCard {
    /// Reads a card from JSON text.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is not a JSON object with a non-empty string `name`.
    pub fn from_json(document: impl Into<Bytes>) -> Result<Self> {
        let document = document.into();
        let view: View = serde_json::from_slice(&document).map_err(|error| {
            Error::new(ErrorKind::Invalid, "agent card", format!("not a card: {error}")).with_source(error)
        })?;
        if view.name.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "agent card", "`name` is empty"));
        }
        Ok(Self { document, view })
    }

    /// The smallest card: a name and what the agent is for.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when `name` is empty.
    pub fn new(name: &str, description: &str) -> Result<Self> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        Self::from_json(format!(r#"{{"name":{},"description":{}}}"#, quoted(name), quoted(description)))
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// What the agent is for.
    pub fn description(&self) -> &str {
        &self.view.description
    }

    /// The card's own tags, then those of its skills.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.view.tags.iter().chain(self.view.skills.iter().flat_map(|skill| &skill.tags)).map(String::as_str)
    }

    /// The words a text search looks at: name, description, tags, and the same of each skill.
    pub fn searchable_text(&self) -> String {
        let skills = self.view.skills.iter().map(|skill| format!("{} {}", skill.name, skill.description));
        let tags: Vec<_> = self.tags().collect();
        [self.view.name.clone(), self.view.description.clone(), tags.join(" ")]
            .into_iter()
            .chain(skills)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The document, exactly as handed in.
    pub fn document(&self) -> &Bytes {
        &self.document
    }
}

impl fmt::Debug for AgentCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentCard({:?}, {} bytes)", self.view.name, self.document.len())
    }
}

/// The members the library reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct View {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    skills: Vec<Skill>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Skill {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_kept_byte_for_byte() {
        let text =
            r#"{ "x-first":1.0, "name":"coder","skills":[{"id":"py","tags":["python"]}],"tags":["code"] }"#;
        let card = AgentCard::from_json(text).expect("card");
        assert_eq!(card.document(), text.as_bytes());
        assert_eq!(card.tags().collect::<Vec<_>>(), ["code", "python"]);
    }

    #[test]
    fn a_made_card_escapes_its_texts() {
        let card = AgentCard::new("a \"b\"", "line\nbreak").expect("card");
        assert_eq!((card.name(), card.description()), ("a \"b\"", "line\nbreak"));
    }

    #[test]
    fn what_is_not_a_card_is_refused_with_the_reason() {
        for (text, reason) in [("[]", "not a card"), ("{}", "name"), (r#"{"name":""}"#, "empty"), ("", "EOF")]
        {
            let error = AgentCard::from_json(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
