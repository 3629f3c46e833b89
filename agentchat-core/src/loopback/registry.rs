//! The network's directory.

use std::collections::{BTreeMap, HashSet};

use tokio::time::Instant;

use crate::address::Address;
use crate::card::AgentCard;
use crate::directory::{AgentEntry, AgentStatus, Discovered, Heartbeat, Query, SearchBy, SearchRan};

/// Who is registered, by name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: BTreeMap<String, Registered>,
}

#[derive(Debug)]
struct Registered {
    card: AgentCard,
    address: Address,
    reported: Option<(Heartbeat, Instant)>,
}

impl Registry {
    pub(crate) fn register(&mut self, address: &Address, card: &AgentCard) {
        let entry = Registered { card: card.clone(), address: address.clone(), reported: None };
        self.entries.insert(card.name().to_owned(), entry);
    }

    pub(crate) fn unregister(&mut self, address: &Address) {
        self.entries.retain(|_, entry| entry.address != *address);
    }

    pub(crate) fn report(&mut self, address: &Address, heartbeat: &Heartbeat) {
        for entry in self.entries.values_mut().filter(|entry| entry.address == *address) {
            entry.reported = Some((heartbeat.clone(), Instant::now()));
        }
    }

    pub(crate) fn forget_statuses(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.reported = None);
    }

    pub(crate) fn discover(&self, query: &Query) -> Discovered {
        let mut found: Vec<(&Registered, usize)> = self
            .entries
            .values()
            .map(|entry| (entry, entry.matches(&query.by)))
            .filter(|(_, score)| *score > 0)
            .collect();
        found.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        let entries = found.into_iter().map(|(entry, _)| entry.describe());
        let alive = |entry: &AgentEntry| entry.status.as_ref().is_some_and(|status| status.alive);
        let entries = entries.filter(|entry| !query.alive_only || alive(entry));
        let ran = match query.by {
            SearchBy::Text(_) | SearchBy::Meaning(_) => SearchRan::LocalText,
            SearchBy::All | SearchBy::Name(_) | SearchBy::Tag(_) => SearchRan::Exact,
        };
        Discovered::new(entries.take(query.limit).collect(), ran)
    }
}

impl Registered {
    /// How well the entry answers; 0 means not at all.
    fn matches(&self, by: &SearchBy) -> usize {
        match by {
            SearchBy::All => 1,
            SearchBy::Name(name) => usize::from(self.card.name() == name),
            SearchBy::Tag(tag) => usize::from(self.card.tags().any(|own| own == tag)),
            SearchBy::Text(text) | SearchBy::Meaning(text) => {
                shared_words(text, &self.card.searchable_text())
            }
        }
    }

    fn describe(&self) -> AgentEntry {
        let address = Some(self.address.clone());
        let mut entry = AgentEntry::new(self.card.name(), address, self.card.document().clone());
        entry.status = self.reported.as_ref().map(|(heartbeat, at)| {
            let age = at.elapsed();
            AgentStatus::new(&heartbeat.status, heartbeat.active_tasks, age, heartbeat.interval)
        });
        entry
    }
}

/// How many words of four or more letters the two share, without regard to case.
fn shared_words(query: &str, text: &str) -> usize {
    let words = |text: &str| -> HashSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 4);
        words.map(str::to_lowercase).collect()
    };
    words(query).intersection(&words(text)).count()
}
