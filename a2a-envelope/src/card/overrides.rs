//! What an operator's configuration replaces of a generated card.

use serde::Deserialize;

use super::builder::CardBuilder;
use super::view::Skill;

/// What an operator says about a card in a configuration: each field that is given replaces the generated
/// one, and the rest stays generated.
///
/// A key that is not known is refused by its name, so that a misspelt one is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CardOverride {
    /// In place of the name.
    pub name: Option<String>,
    /// In place of the description.
    pub description: Option<String>,
    /// In place of the agent's version.
    pub version: Option<String>,
    /// In place of all skills.
    pub skills: Option<Vec<Skill>>,
    /// In place of each capability that is named.
    pub capabilities: Option<CardCapabilities>,
    /// In place of the media types the agent takes.
    #[serde(alias = "defaultInputModes")]
    pub default_input_modes: Option<Vec<String>>,
    /// In place of the media types the agent gives.
    #[serde(alias = "defaultOutputModes")]
    pub default_output_modes: Option<Vec<String>>,
}

/// What an agent can do beyond answering, as a configuration says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CardCapabilities {
    /// It streams.
    pub streaming: Option<bool>,
    /// It sends push notifications.
    #[serde(alias = "pushNotifications")]
    pub push_notifications: Option<bool>,
}

impl CardBuilder {
    /// Takes the capabilities that a configuration names, and leaves the others.
    #[must_use]
    pub fn capabilities(mut self, named: CardCapabilities) -> Self {
        if let Some(streaming) = named.streaming {
            self = self.streaming(streaming);
        }
        if let Some(push) = named.push_notifications {
            self = self.push_notifications(push);
        }
        self
    }

    /// Replaces each field that an operator has given.
    #[must_use]
    pub fn overridden(mut self, by: &CardOverride) -> Self {
        if let Some(name) = &by.name {
            self = self.name(name);
        }
        if let Some(description) = &by.description {
            self = self.description(description);
        }
        if let Some(version) = &by.version {
            self = self.version(version);
        }
        if let Some(skills) = &by.skills {
            self = self.only_skills(skills.iter().cloned());
        }
        if let Some(modes) = &by.default_input_modes {
            self = self.input_modes(modes);
        }
        if let Some(modes) = &by.default_output_modes {
            self = self.output_modes(modes);
        }
        self.capabilities(by.capabilities.unwrap_or_default())
    }
}
