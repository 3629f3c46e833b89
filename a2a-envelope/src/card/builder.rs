//! Cards written: known fields only, the same bytes for the same input.

use std::collections::BTreeSet;

use serde::Serialize;

use super::raw::RawCard;
use super::toolset::{self, Toolset};
use super::view::Skill;
use super::{MQ9_BINDING, MQ9_PROTOCOL_VERSION};
use crate::error::{CardRule, Error, Result};
use crate::limits::Limits;
use crate::safety::{AddressRule, has_userinfo};

/// Builds an A2A 1.0 card out of known fields only, in a fixed order: the same input gives the same bytes.
///
/// A registry that parses cards strictly, as the mq9 broker does, stores a card with any field unknown to
/// A2A 1.0 but does not index it for search; so the mailbox goes into an interface's `url`, and there is
/// no way to add other fields here.
#[derive(Debug, Clone)]
pub struct CardBuilder {
    name: String,
    description: String,
    version: String,
    interfaces: Vec<Interface>,
    skills: Vec<Skill>,
    streaming: bool,
    push_notifications: bool,
    input_modes: Vec<String>,
    output_modes: Vec<String>,
}

impl CardBuilder {
    /// A card with a name; text in and out, no capabilities, nothing else yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            version: String::new(),
            interfaces: Vec::new(),
            skills: Vec::new(),
            streaming: false,
            push_notifications: false,
            input_modes: vec![DEFAULT_MODE.to_owned()],
            output_modes: vec![DEFAULT_MODE.to_owned()],
        }
    }

    /// A card whose skills are an agent's tools: id `{toolset}-{tool}`, the name people see or else the tool's,
    /// its description (or else its name), the toolset among the tags, its examples.
    ///
    /// The same tools give the same card, in whatever order they come. An agent without tools has one
    /// skill, of its own name.
    #[must_use]
    pub fn from_toolsets(name: impl Into<String>, toolsets: impl IntoIterator<Item = Toolset>) -> Self {
        let builder = Self::new(name).skills(toolset::skills(toolsets));
        if !builder.skills.is_empty() {
            return builder;
        }
        let name = builder.name.clone();
        builder.skill(Skill::new(name.clone(), name.clone(), name).with_tags(["general"]))
    }

    /// Another name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// These skills in place of those there are.
    #[must_use]
    pub fn only_skills(mut self, skills: impl IntoIterator<Item = Skill>) -> Self {
        self.skills = skills.into_iter().collect();
        self
    }

    /// What the agent does. Required.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The agent's own version. Required.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds an mq9 mailbox, under [`MQ9_BINDING`]. A card requires at least one interface.
    #[must_use]
    pub fn mq9_interface(self, url: impl Into<String>) -> Self {
        self.interface(url, MQ9_BINDING, MQ9_PROTOCOL_VERSION)
    }

    /// Adds an interface under any binding: `JSONRPC`, `GRPC`, `HTTP+JSON` or a URI.
    #[must_use]
    pub fn interface(
        mut self,
        url: impl Into<String>,
        protocol_binding: impl Into<String>,
        protocol_version: impl Into<String>,
    ) -> Self {
        self.interfaces.push(Interface {
            url: url.into(),
            protocol_binding: protocol_binding.into(),
            protocol_version: protocol_version.into(),
        });
        self
    }

    /// Adds a skill. A card requires at least one.
    #[must_use]
    pub fn skill(mut self, skill: Skill) -> Self {
        self.skills.push(skill);
        self
    }

    /// Adds several skills, in order.
    #[must_use]
    pub fn skills(mut self, skills: impl IntoIterator<Item = Skill>) -> Self {
        self.skills.extend(skills);
        self
    }

    /// Whether the agent streams. Default no.
    #[must_use]
    pub fn streaming(mut self, yes: bool) -> Self {
        self.streaming = yes;
        self
    }

    /// Whether the agent sends push notifications. Default no.
    #[must_use]
    pub fn push_notifications(mut self, yes: bool) -> Self {
        self.push_notifications = yes;
        self
    }

    /// Media types the agent takes, in place of the default `text/plain`.
    #[must_use]
    pub fn input_modes<T: Into<String>>(mut self, modes: impl IntoIterator<Item = T>) -> Self {
        self.input_modes = modes.into_iter().map(Into::into).collect();
        self
    }

    /// Media types the agent gives, in place of the default `text/plain`.
    #[must_use]
    pub fn output_modes<T: Into<String>>(mut self, modes: impl IntoIterator<Item = T>) -> Self {
        self.output_modes = modes.into_iter().map(Into::into).collect();
        self
    }

    /// Writes the card.
    ///
    /// # Errors
    ///
    /// [`Error::Card`] naming the first required field that is absent or empty, the skill field that is, or
    /// the id that two skills share; [`Error::Address`] for an interface with credentials in its URL;
    /// [`Error::Limit`] for a card larger than the default [`Limits`] allow.
    pub fn build(&self) -> Result<RawCard> {
        self.check()?;
        let card = Card {
            name: &self.name,
            description: &self.description,
            version: &self.version,
            supported_interfaces: &self.interfaces,
            capabilities: Capabilities {
                streaming: self.streaming,
                push_notifications: self.push_notifications,
            },
            default_input_modes: &self.input_modes,
            default_output_modes: &self.output_modes,
            skills: self.skills.iter().map(WireSkill::of).collect(),
        };
        // Strings and booleans always serialise; an empty text would fail in `within` all the same.
        let text = serde_json::to_vec(&card).unwrap_or_default();
        RawCard::within(text, &Limits::default())
    }

    fn check(&self) -> Result<()> {
        let require = |present: bool, field| {
            if present { Ok(()) } else { Err(Error::Card(CardRule::Required(field))) }
        };
        let all_filled = |modes: &[String]| !modes.is_empty() && modes.iter().all(|mode| !mode.is_empty());
        require(!self.name.is_empty(), "name")?;
        require(!self.description.is_empty(), "description")?;
        require(!self.version.is_empty(), "version")?;
        require(!self.interfaces.is_empty(), "supportedInterfaces")?;
        for interface in &self.interfaces {
            require(!interface.url.is_empty(), "supportedInterfaces.url")?;
            if has_userinfo(&interface.url) {
                // A card is public.
                return Err(Error::Address(AddressRule::Credentials));
            }
            require(!interface.protocol_binding.is_empty(), "supportedInterfaces.protocolBinding")?;
            require(!interface.protocol_version.is_empty(), "supportedInterfaces.protocolVersion")?;
        }
        require(all_filled(&self.input_modes), "defaultInputModes")?;
        require(all_filled(&self.output_modes), "defaultOutputModes")?;
        require(!self.skills.is_empty(), "skills")?;
        let mut ids = BTreeSet::new();
        for skill in &self.skills {
            require(!skill.id.is_empty(), "skills.id")?;
            for (field, value) in [("name", &skill.name), ("description", &skill.description)] {
                if value.is_empty() {
                    return Err(Error::Card(CardRule::SkillRequires { skill: skill.id.clone(), field }));
                }
            }
            if !ids.insert(&skill.id) {
                return Err(Error::Card(CardRule::DuplicateSkill(skill.id.clone())));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    url: String,
    protocol_binding: String,
    protocol_version: String,
}

impl std::fmt::Debug for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interface").field("protocol_binding", &self.protocol_binding).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Card<'a> {
    name: &'a str,
    description: &'a str,
    version: &'a str,
    supported_interfaces: &'a [Interface],
    capabilities: Capabilities,
    default_input_modes: &'a [String],
    default_output_modes: &'a [String],
    skills: Vec<WireSkill<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    streaming: bool,
    push_notifications: bool,
}

#[derive(Serialize)]
struct WireSkill<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    tags: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    examples: &'a [String],
}

impl<'a> WireSkill<'a> {
    fn of(skill: &'a Skill) -> Self {
        Self {
            id: &skill.id,
            name: &skill.name,
            description: &skill.description,
            tags: &skill.tags,
            examples: &skill.examples,
        }
    }
}

const DEFAULT_MODE: &str = "text/plain";
