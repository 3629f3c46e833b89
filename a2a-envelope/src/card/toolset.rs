//! Tools of an agent, from which a card's skills are made.

use std::collections::BTreeSet;

use super::view::Skill;

/// A named set of an agent's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Toolset {
    /// Its name, which becomes the first tag of each of its skills.
    pub name: String,
    /// Its tools.
    pub tools: Vec<Tool>,
}

impl Toolset {
    /// A set with these tools.
    #[must_use]
    pub fn new(name: impl Into<String>, tools: impl IntoIterator<Item = Tool>) -> Self {
        Self { name: name.into(), tools: tools.into_iter().collect() }
    }
}

/// One tool of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The name people see; without one it is the name.
    pub display_name: Option<String>,
    /// What it does.
    pub description: String,
    /// Tags beside the toolset's name.
    pub tags: Vec<String>,
    /// Examples of what to ask.
    pub examples: Vec<String>,
}

impl Tool {
    /// A tool with a name and what it does.
    #[must_use]
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), ..Self::default() }
    }

    /// This tool with a name for people.
    #[must_use]
    pub fn with_display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = Some(name.into());
        self
    }

    /// This tool with these tags.
    #[must_use]
    pub fn with_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// This tool with these examples.
    #[must_use]
    pub fn with_examples<T: Into<String>>(mut self, examples: impl IntoIterator<Item = T>) -> Self {
        self.examples = examples.into_iter().map(Into::into).collect();
        self
    }
}

/// One skill for each tool, sorted by id, whatever order they come in: the id is `{toolset}-{tool}`.
///
/// A tool that is there twice gives one skill; where two that differ come to the same id (`a-b` and `c`, `a`
/// and `b-c`), the later gets a number behind it.
pub(super) fn skills(toolsets: impl IntoIterator<Item = Toolset>) -> Vec<Skill> {
    let mut tools: Vec<(String, Tool)> = toolsets
        .into_iter()
        .flat_map(|set| set.tools.into_iter().map(move |tool| (set.name.clone(), tool)))
        .collect();
    tools.sort_by(|(a, left), (b, right)| (a, key(left)).cmp(&(b, key(right))));
    tools.dedup();
    // Ids that are free of numbers are given first, so that no number takes one of them.
    let natural: BTreeSet<String> = tools.iter().map(|(set, tool)| id(set, tool)).collect();
    let mut given = BTreeSet::new();
    let mut skills: Vec<Skill> = tools
        .into_iter()
        .map(|(set, tool)| {
            let id = id(&set, &tool);
            let free = |id: &String, given: &BTreeSet<String>| !given.contains(id);
            let unique = if free(&id, &given) {
                id
            } else {
                (2_u32..)
                    .map(|number| format!("{id}-{number}"))
                    .find(|id| free(id, &given) && !natural.contains(id))
                    .unwrap_or_default()
            };
            given.insert(unique.clone());
            skill(unique, set, tool)
        })
        .collect();
    skills.sort_by(|a, b| a.id.cmp(&b.id));
    skills
}

fn id(set: &str, tool: &Tool) -> String {
    format!("{set}-{}", tool.name)
}

fn skill(id: String, set: String, tool: Tool) -> Skill {
    let name = tool.display_name.filter(|name| !name.is_empty()).unwrap_or(tool.name);
    // A2A requires a description; the name is better than a card that nobody can register.
    let description = if tool.description.is_empty() { name.clone() } else { tool.description };
    let mut tags = vec![set];
    for tag in tool.tags {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Skill::new(id, name, description).with_tags(tags).with_examples(tool.examples)
}

fn key(tool: &Tool) -> (&str, &Option<String>, &str, &[String], &[String]) {
    (&tool.name, &tool.display_name, &tool.description, &tool.tags, &tool.examples)
}
