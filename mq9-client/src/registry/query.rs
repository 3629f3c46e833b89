//! What to look for in the registry, and what was found.

use crate::error::{Error, ErrorKind, Result};
use crate::registry::AgentEntry;

/// A question to the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoverQuery {
    /// What is asked.
    pub search: Search,
    /// At most this many agents. Default: 20.
    pub limit: u32,
    /// Which page of that size, from 1. Default: 1.
    pub page: u32,
}

/// How agents are chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Search {
    /// All of them, by name.
    All,
    /// By what they mean, on a broker built with search.
    Semantic(String),
    /// By words, on a broker built with search.
    Text(String),
    /// By one exact tag.
    Tag(String),
    /// By their exact name.
    Name(String),
}

/// The answer to a [`DiscoverQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// The agents, best first for a search, by name otherwise.
    pub agents: Vec<AgentEntry>,
    /// Which search really ran.
    pub ran: SearchKind,
}

/// Which search ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SearchKind {
    /// The broker's semantic search. It knows only agents registered as strict cards.
    BrokerSemantic,
    /// The broker's text search. It knows only agents registered as strict cards.
    BrokerText,
    /// The broker cannot search: all agents were listed and ranked here by shared words, which knows no
    /// synonyms and no other language.
    LocalText,
    /// All agents were listed and those with the tag kept.
    Tag,
    /// All agents were listed and those of the name kept.
    Name,
    /// All agents were listed.
    List,
}

impl DiscoverQuery {
    /// Every agent, by name.
    pub fn all() -> Self {
        Self { search: Search::All, limit: 20, page: 1 }
    }

    /// Agents whose meaning is near `text`. Where the broker cannot search, words are compared here.
    pub fn semantic(text: impl Into<String>) -> Self {
        Self { search: Search::Semantic(text.into()), ..Self::all() }
    }

    /// Agents that share words with `text`. Where the broker cannot search, they are compared here.
    pub fn text(text: impl Into<String>) -> Self {
        Self { search: Search::Text(text.into()), ..Self::all() }
    }

    /// Agents with this tag on the card or one of its skills, exactly and case-sensitively.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self { search: Search::Tag(tag.into()), ..Self::all() }
    }

    /// Agents of exactly this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self { search: Search::Name(name.into()), ..Self::all() }
    }

    /// Sets the limit, which must not be 0.
    pub fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the page, which begins at 1.
    pub fn with_page(mut self, page: u32) -> Self {
        self.page = page;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let fault = match &self.search {
            _ if self.limit == 0 => "a limit of 0 finds nothing",
            _ if self.page == 0 => "pages begin at 1",
            Search::Semantic(text) | Search::Text(text) if text.trim().is_empty() => {
                "an empty search would list everything: ask for all agents instead"
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Invalid, "AGENT.DISCOVER", fault))
    }

    /// This page of what was found.
    pub(crate) fn page_of(&self, found: impl IntoIterator<Item = AgentEntry>) -> Vec<AgentEntry> {
        let limit = self.limit as usize;
        found.into_iter().skip((self.page as usize - 1).saturating_mul(limit)).take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let query = DiscoverQuery::all();
        assert_eq!((query.limit, query.page), (20, 1));
    }

    #[test]
    fn questions_that_cannot_be_meant_are_refused() {
        for query in [
            DiscoverQuery::all().with_limit(0),
            DiscoverQuery::all().with_page(0),
            DiscoverQuery::text("  "),
            DiscoverQuery::semantic(""),
        ] {
            assert_eq!(query.check().expect_err("refused").kind(), ErrorKind::Invalid);
        }
        assert!(DiscoverQuery::tag("").check().is_ok());
    }

    #[test]
    fn pages_cover_the_list_without_overlap() {
        let entry = |number: u32| AgentEntry::read(&format!(r#"{{"name":"{number}"}}"#)).expect("an entry");
        let pages: Vec<Vec<String>> = (1..=4)
            .map(|page| {
                let query = DiscoverQuery::all().with_limit(2).with_page(page);
                query.page_of((0..5).map(entry)).into_iter().map(|entry| entry.name).collect()
            })
            .collect();
        assert_eq!(pages, [vec!["0", "1"], vec!["2", "3"], vec!["4"], vec![]]);
        assert!(DiscoverQuery::all().with_page(u32::MAX).page_of((0..5).map(entry)).is_empty());
    }
}
