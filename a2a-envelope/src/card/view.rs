//! What a card says: a lenient copy, from which nothing is written again.

use std::fmt;

use serde::Deserialize;

use super::is_mq9;
use crate::json::{Kind, Node};

/// What a card says, as far as this crate reads it: a copy, from which the card is never written again.
///
/// Reading is lenient: a field that is absent or of another type reads as absent, and of a repeated one the
/// last counts. Fields this view lacks are in [`RawCard::as_str`](super::RawCard::as_str).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CardView {
    /// `name`.
    pub name: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// The agent's own `version`.
    pub version: Option<String>,
    /// Tags at the top of the card, then those of the skills; each once, in order of appearance.
    pub tags: Vec<String>,
    /// `skills`, those that are objects.
    pub skills: Vec<Skill>,
    /// `supportedInterfaces`, then what a 0.x card says instead: `url`, then `additionalInterfaces`.
    pub interfaces: Vec<AgentInterface>,
    /// `capabilities.streaming`.
    pub streaming: bool,
    /// `capabilities.pushNotifications`.
    pub push_notifications: bool,
}

/// One skill of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Skill {
    /// `id`; empty if the card has none.
    pub id: String,
    /// `name`; empty if the card has none.
    pub name: String,
    /// `description`; empty if the card has none.
    pub description: String,
    /// `tags`.
    pub tags: Vec<String>,
    /// `examples`.
    pub examples: Vec<String>,
}

impl Skill {
    /// A skill with the fields A2A requires, tags apart.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), description: description.into(), ..Self::default() }
    }

    /// This skill with these tags in place of its own.
    #[must_use]
    pub fn with_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// This skill with these examples in place of its own.
    #[must_use]
    pub fn with_examples<T: Into<String>>(mut self, examples: impl IntoIterator<Item = T>) -> Self {
        self.examples = examples.into_iter().map(Into::into).collect();
        self
    }
}

/// One way to reach an agent. `Debug` leaves the address behind `mq9://` and `mq9s://` out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentInterface {
    /// `url`.
    pub url: String,
    /// `protocolBinding`, or a 0.x card's `transport` or `preferredTransport`.
    pub protocol_binding: Option<String>,
    /// `protocolVersion`; of a 0.x card the one at its top.
    pub protocol_version: Option<String>,
}

impl AgentInterface {
    /// Whether the interface is an mq9 mailbox, by its URL.
    #[must_use]
    pub fn is_mq9(&self) -> bool {
        is_mq9(&self.url)
    }
}

impl fmt::Debug for AgentInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = if self.is_mq9() { "mq9://<masked>" } else { self.url.as_str() };
        f.debug_struct("AgentInterface")
            .field("url", &url)
            .field("protocol_binding", &self.protocol_binding)
            .field("protocol_version", &self.protocol_version)
            .finish()
    }
}

impl CardView {
    pub(super) fn read(root: Node<'_>) -> Self {
        let skills: Vec<Skill> =
            elements(root, "skills").filter(|skill| skill.is_object()).map(read_skill).collect();
        let mut tags: Vec<String> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for tag in texts(root, "tags").into_iter().chain(skills.iter().flat_map(|s| s.tags.clone())) {
            if seen.insert(tag.clone()) {
                tags.push(tag);
            }
        }
        let capable = |name| root.at(&["capabilities", name]).is_some_and(|node| node.raw() == "true");
        Self {
            name: text(root, "name"),
            description: text(root, "description"),
            version: text(root, "version"),
            tags,
            skills,
            interfaces: interfaces(root),
            streaming: capable("streaming"),
            push_notifications: capable("pushNotifications"),
        }
    }
}

/// Every interface of a card, of whichever version, in reading order.
pub(super) fn interfaces(root: Node<'_>) -> Vec<AgentInterface> {
    let mut found: Vec<_> = supported_interfaces(root).collect();
    if let Some(url) = text(root, "url") {
        found.push(AgentInterface {
            url,
            protocol_binding: text(root, "preferredTransport"),
            protocol_version: text(root, "protocolVersion"),
        });
    }
    found.extend(elements(root, "additionalInterfaces").filter_map(|node| {
        Some(AgentInterface {
            url: text(node, "url")?,
            protocol_binding: text(node, "transport"),
            protocol_version: text(root, "protocolVersion"),
        })
    }));
    found
}

/// The interfaces of an A2A 1.0 card.
pub(super) fn supported_interfaces(root: Node<'_>) -> impl Iterator<Item = AgentInterface> {
    elements(root, "supportedInterfaces").filter_map(|node| {
        Some(AgentInterface {
            url: text(node, "url")?,
            protocol_binding: text(node, "protocolBinding"),
            protocol_version: text(node, "protocolVersion"),
        })
    })
}

pub(super) fn text(node: Node<'_>, name: &str) -> Option<String> {
    node.text_of(name).map(|text| text.into_owned())
}

fn read_skill(node: Node<'_>) -> Skill {
    let field = |name| text(node, name).unwrap_or_default();
    Skill {
        id: field("id"),
        name: field("name"),
        description: field("description"),
        tags: texts(node, "tags"),
        examples: texts(node, "examples"),
    }
}

fn texts(node: Node<'_>, name: &str) -> Vec<String> {
    elements(node, name).filter_map(|value| value.as_str().map(|text| text.into_owned())).collect()
}

fn elements<'a>(node: Node<'a>, name: &str) -> impl Iterator<Item = Node<'a>> + use<'a> {
    let array = node.get(name).filter(|array| array.kind() == Kind::Array);
    array.into_iter().flat_map(|array| array.items().map(|item| item.value))
}
