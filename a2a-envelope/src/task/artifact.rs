//! What a task has made.

use serde::{Deserialize, Serialize};

use crate::error::{Error, MemberRule, Result};
use crate::json::{Kind, Node, quote};
use crate::json_text::JsonText;

/// Something a task has made: parts in order, and what else its author said about it.
///
/// Members this version does not know are kept as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Unique within the task.
    pub id: String,
    /// The parts, each as its author wrote it.
    pub parts: Vec<JsonText>,
    /// Every other member, by name (`name`, `metadata`, `extensions`, …), in order.
    #[serde(default)]
    pub members: Vec<(String, JsonText)>,
}

impl Artifact {
    /// An artifact without parts.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), parts: Vec::new(), members: Vec::new() }
    }

    /// This artifact with one more part.
    #[must_use]
    pub fn with_part(mut self, part: JsonText) -> Self {
        self.parts.push(part);
        self
    }

    /// This artifact with one more text part.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        self.with_part(text_part(text))
    }

    /// This artifact with a member, which replaces one of the same name.
    #[must_use]
    pub fn with_member(mut self, name: impl Into<String>, value: JsonText) -> Self {
        set(&mut self.members, name.into(), value);
        self
    }

    /// The texts of all text parts, joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts.iter().filter_map(part_text).collect()
    }

    /// Adds the parts of `more`; a member of `more` replaces one of the same name.
    pub fn append(&mut self, more: Self) {
        self.parts.extend(more.parts);
        for (name, value) in more.members {
            set(&mut self.members, name, value);
        }
    }

    /// Bytes it holds, roughly as it is written.
    #[must_use]
    pub fn size(&self) -> usize {
        let parts = self.parts_size();
        let members: usize =
            self.members.iter().map(|(name, value)| name.len() + value.as_str().len() + 4).sum();
        self.id.len() + parts + members + 32
    }

    pub(crate) fn parts_size(&self) -> usize {
        self.parts.iter().map(|part| part.as_str().len() + 1).sum()
    }

    /// The artifact as an A2A 1.0 object.
    #[must_use]
    pub fn to_json(&self) -> JsonText {
        let mut text = format!("{{\"artifactId\":{}", quote(&self.id));
        for (name, value) in &self.members {
            text.push(',');
            text.push_str(&quote(name));
            text.push(':');
            text.push_str(value.as_str());
        }
        text.push_str(",\"parts\":[");
        push_all(&mut text, &self.parts);
        text.push_str("]}");
        JsonText::trusted(text)
    }

    pub(crate) fn read(node: Node<'_>, path: &str) -> Result<Self> {
        if !node.is_object() {
            return Err(Error::member(path, MemberRule::NotAnObject));
        }
        let mut artifact = Self::new("");
        for item in node.items() {
            let Some(name) = item.key() else { continue };
            match name.as_ref() {
                "artifactId" => {
                    let Some(id) = item.value.as_str() else {
                        return Err(Error::member(format!("{path}.artifactId"), MemberRule::NotAString));
                    };
                    artifact.id = id.into_owned();
                }
                "parts" => artifact.parts = item.value.items().map(|part| JsonText::of(part.value)).collect(),
                // A2A 0.1 numbers artifacts instead of naming them, and says these inside.
                "index" if item.value.kind() == Kind::Number && artifact.id.is_empty() => {
                    artifact.id = item.value.raw().to_owned();
                }
                "append" | "lastChunk" => {}
                _ => set(&mut artifact.members, name.into_owned(), JsonText::of(item.value)),
            }
        }
        if artifact.id.is_empty() {
            return Err(Error::member(format!("{path}.artifactId"), MemberRule::Missing));
        }
        Ok(artifact)
    }
}

/// A part that is text and nothing else.
pub(crate) fn text_part(text: &str) -> JsonText {
    JsonText::trusted(format!("{{\"text\":{}}}", quote(text)))
}

pub(crate) fn push_all(text: &mut String, values: &[JsonText]) {
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(value.as_str());
    }
}

fn part_text(part: &JsonText) -> Option<String> {
    let root = crate::json::object_of_checked(part.as_str().as_bytes())?;
    root.text_of("text").map(|text| text.into_owned())
}

fn set(members: &mut Vec<(String, JsonText)>, name: String, value: JsonText) {
    match members.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => members.push((name, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::limits::Limits;

    fn read(text: &str) -> Result<Artifact> {
        Artifact::read(json::parse_body(text.as_bytes(), &Limits::default()).unwrap(), "artifact")
    }

    #[test]
    fn what_is_read_is_written_again_with_unknown_members() {
        let text =
            r#"{"artifactId":"a","x":[1.0, 2],"name":"n","parts":[{"text":"on"},{"text":"e"},{"url":"u"}]}"#;
        let artifact = read(text).unwrap();
        assert_eq!(artifact.text(), "one");
        assert_eq!(artifact.to_json().as_str(), text);
    }

    #[test]
    fn appending_adds_parts_and_replaces_members() {
        let mut artifact = read(r#"{"artifactId":"a","name":"old","parts":[{"text":"1"}]}"#).unwrap();
        artifact.append(read(r#"{"artifactId":"a","name":"new","parts":[{"text":"2"}]}"#).unwrap());
        assert_eq!(
            artifact.to_json().as_str(),
            r#"{"artifactId":"a","name":"new","parts":[{"text":"1"},{"text":"2"}]}"#
        );
    }

    #[test]
    fn an_artifact_without_an_id_or_of_another_kind_is_refused() {
        for bad in [r#"{"parts":[]}"#, "[]", "7", r#"{"artifactId":7}"#, r#"{"artifactId":""}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read(r#"{"index":0,"parts":[],"append":true}"#).unwrap().id, "0");
    }
}
