//! What a section says of the agent's card.

use a2a_envelope::{CardCapabilities, CardOverride, Skill};
use agentchat_core::{ConfigSection, Result};

/// `capabilities`, beside the broker or within the card.
pub(super) fn capabilities(section: &mut ConfigSection) -> Result<CardCapabilities> {
    let mut named = CardCapabilities::default();
    let Some(mut section) = section.section("capabilities")? else { return Ok(named) };
    named.streaming = section.flag("streaming")?;
    named.push_notifications = section.flag("push_notifications")?.or(section.flag("pushNotifications")?);
    section.end()?;
    Ok(named)
}

/// `agent_card`: each field that is given replaces the generated one.
pub(super) fn agent_card(section: &mut ConfigSection) -> Result<CardOverride> {
    let mut card = CardOverride::default();
    let Some(mut section) = section.section("agent_card")? else { return Ok(card) };
    card.name = section.text("name")?;
    card.description = section.prose("description")?;
    card.version = section.text("version")?;
    card.capabilities = Some(capabilities(&mut section)?);
    card.default_input_modes = section.texts("default_input_modes")?.or(section.texts("defaultInputModes")?);
    card.default_output_modes =
        section.texts("default_output_modes")?.or(section.texts("defaultOutputModes")?);
    if let Some(skills) = section.sections("skills")? {
        card.skills = Some(skills.into_iter().map(skill).collect::<Result<_>>()?);
    }
    section.end()?;
    Ok(card)
}

fn skill(mut section: ConfigSection) -> Result<Skill> {
    let required = |section: &mut ConfigSection, key| {
        let text = section.prose(key)?;
        text.ok_or_else(|| section.fault(key, "is missing: every skill has one"))
    };
    let (id, name) = (required(&mut section, "id")?, required(&mut section, "name")?);
    let description = required(&mut section, "description")?;
    let tags = section.texts("tags")?.unwrap_or_default();
    let examples = section.texts("examples")?.unwrap_or_default();
    section.end()?;
    Ok(Skill::new(id, name, description).with_tags(tags).with_examples(examples))
}
