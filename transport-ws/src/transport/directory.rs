//! The directory of AgentChat: accounts by their handles, with their profile and presence.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use agentchat_core::{
    AgentCard, AgentEntry, AgentStatus, Discovered, Error, ErrorKind, Heartbeat, Query, Result, SearchBy,
    SearchRan,
};
use serde::Serialize;

use super::verdict::confirmed;
use crate::api::{AgentChat, ProfileUpdate};
use crate::http::ApiError;
use crate::mapping::address_of;
use crate::wire::{DirectoryEntry, Me, Presence, PresenceStatus, time};

/// The directory, as the agent `own` uses it.
#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    pub(super) client: &'a AgentChat,
    pub(super) own: &'a str,
}

impl Directory<'_> {
    /// Shows what the profile has a place for, and that the agent is there.
    pub(super) async fn register(self, card: &AgentCard) -> Result<()> {
        let me = self.told(self.client.me().await).await?;
        if let Some(update) = update(&me, card) {
            self.told(self.client.update_profile(self.own, &update).await).await?;
        }
        self.told(self.client.set_presence(&PresenceStatus::Online, None).await).await.map(drop)
    }

    /// Says that the agent is not there.
    pub(super) async fn unregister(self) -> Result<()> {
        self.told(self.client.set_presence(&PresenceStatus::Offline, None).await).await.map(drop)
    }

    /// Sets the presence to the word of a heartbeat.
    pub(super) async fn report(self, heartbeat: &Heartbeat) -> Result<()> {
        let (status, words) = match PresenceStatus::from(heartbeat.status.as_str()) {
            PresenceStatus::Other(words) => (PresenceStatus::Online, Some(first(&words, WORDS).to_owned())),
            known => (known, None),
        };
        self.told(self.client.set_presence(&status, words.as_deref()).await).await.map(drop)
    }

    pub(super) async fn discover(self, query: &Query) -> Result<Discovered> {
        // Those that are not alive are left out only after their presence is read.
        let wanted = if query.alive_only { query.limit.max(LOOKED_AT) } else { query.limit };
        let (found, ran) = match &query.by {
            _ if query.limit == 0 => (Vec::new(), SearchRan::Exact),
            SearchBy::Name(name) => (self.of_handle(name).await?, SearchRan::Exact),
            SearchBy::Text(text) => (self.beginning_with(text, wanted).await?, SearchRan::NetworkText),
            SearchBy::Tag(_) => return Err(lacks("no tags")),
            SearchBy::Meaning(_) => return Err(lacks("no search by meaning")),
            _ => return Err(lacks("no list of everybody")),
        };
        let mut presences = match self.presences(&found).await {
            Ok(presences) => presences,
            Err(error) if query.alive_only => return Err(error),
            // Who was found is worth more than whether it is there.
            Err(error) => {
                tracing::debug!(%error, "the presence of agents that were found is not known");
                HashMap::new()
            }
        };
        let now = SystemTime::now();
        let entries = found.into_iter().filter_map(|found| {
            let status = presences.remove(&found.handle).map(|presence| status(&presence, now));
            let mut entry = entry(found)?;
            entry.status = status;
            (!query.alive_only || entry.status.as_ref().is_some_and(|status| status.alive)).then_some(entry)
        });
        Ok(Discovered::new(entries.take(query.limit).collect(), ran))
    }

    async fn of_handle(self, name: &str) -> Result<Vec<DirectoryEntry>> {
        match self.client.agent(name).await {
            Ok(agent) => Ok(vec![DirectoryEntry {
                handle: agent.handle,
                display_name: agent.display_name,
                description: agent.description,
                created_at: agent.created_at,
                ..DirectoryEntry::default()
            }]),
            // What cannot be a handle is nobody's.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => Ok(Vec::new()),
            Err(error) => Err(confirmed(self.client, self.own, error.into()).await),
        }
    }

    async fn beginning_with(self, text: &str, wanted: usize) -> Result<Vec<DirectoryEntry>> {
        let mut agents = self.client.directory_agents(text.trim().trim_start_matches('@'));
        let mut found = Vec::new();
        while found.len() < wanted
            && let Some(agent) = self.told(agents.next().await).await?
        {
            found.push(agent);
        }
        Ok(found)
    }

    async fn presences(self, of: &[DirectoryEntry]) -> Result<HashMap<String, Presence>> {
        let mut known = HashMap::new();
        for some in of.chunks(PRESENCES) {
            let handles = some.iter().map(|entry| entry.handle.clone()).collect();
            let presences = self.told(self.client.presences_of(handles).await).await?;
            known.extend(presences.into_iter().map(|presence| (presence.handle.clone(), presence)));
        }
        Ok(known)
    }

    async fn told<T>(self, answer: std::result::Result<T, ApiError>) -> Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(confirmed(self.client, self.own, error.into()).await),
        }
    }
}

/// What of the profile is other than on the card.
fn update(me: &Me, card: &AgentCard) -> Option<ProfileUpdate> {
    let (name, description) = (first(card.name(), NAME), first(card.description(), DESCRIPTION));
    // A card that has the handle for its name has no name to show.
    let renamed = name != me.handle && me.display_name.as_deref() != Some(name);
    let described = !description.is_empty() && me.description.as_deref() != Some(description);
    let mut update = ProfileUpdate::new();
    if renamed {
        update = update.with_display_name(name);
    }
    if described {
        update = update.with_description(description);
    }
    (renamed || described).then_some(update)
}

/// A profile as a card.
fn entry(found: DirectoryEntry) -> Option<AgentEntry> {
    #[derive(Serialize)]
    struct Card<'a> {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        url: &'a str,
    }
    let address = address_of(&found.handle)?;
    let card = Card {
        name: found.display_name.as_deref().unwrap_or(&found.handle),
        description: found.description.as_deref(),
        url: address.as_str(),
    };
    let card = serde_json::to_vec(&card).ok()?;
    Some(AgentEntry::new(found.handle, Some(address), card.into()))
}

/// A presence as a status: whoever has a connection is alive, and was so just now.
fn status(presence: &Presence, now: SystemTime) -> AgentStatus {
    let there = presence.status != PresenceStatus::Offline;
    let word = match (&presence.status, &presence.custom_message) {
        (PresenceStatus::Online, Some(words)) => words,
        (status, _) => status.as_str(),
    };
    let seen = presence.last_seen.as_deref().and_then(time::parse);
    let age = seen.and_then(|seen| now.duration_since(seen).ok()).unwrap_or_default();
    match there {
        true => AgentStatus::new(word, 0, Duration::ZERO, Duration::from_secs(1)),
        false => AgentStatus::new(word, 0, age, Duration::ZERO),
    }
}

/// The first `units` of a text, as the server counts: in UTF-16.
fn first(text: &str, units: usize) -> &str {
    let mut left = units;
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn lacks(what: &str) -> Error {
    let alternative = "ask for a handle (by name) or for how handles begin (by text)";
    Error::unsupported("discover", format!("the directory of AgentChat has {what}: {alternative}"))
}

/// What a profile and a presence have room for, in UTF-16 units.
const NAME: usize = 100;
const DESCRIPTION: usize = 500;
const WORDS: usize = 200;
/// The most presences that are asked for at once.
const PRESENCES: usize = 100;
/// How many agents are looked at, at least, when only those alive are wanted.
const LOOKED_AT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn me(name: Option<&str>, description: Option<&str>) -> Me {
        Me {
            handle: "bob".to_owned(),
            display_name: name.map(str::to_owned),
            description: description.map(str::to_owned),
            ..Me::default()
        }
    }

    #[test]
    fn only_what_differs_is_changed_and_a_handle_is_no_name_to_show() {
        let card = |name: &str, description: &str| AgentCard::new(name, description).expect("a card");
        let new = ProfileUpdate::new;
        for (me, card, expected) in [
            (me(None, None), card("bob", ""), None),
            (me(Some("Bob"), Some("Answers")), card("bob", "Answers"), None),
            (me(Some("Bob"), Some("Answers")), card("Bob", ""), None),
            (me(None, None), card("Bob", ""), Some(new().with_display_name("Bob"))),
            (me(Some("Bob"), Some("x")), card("Bob", "y"), Some(new().with_description("y"))),
            (me(None, None), card("B", "y"), Some(new().with_display_name("B").with_description("y"))),
        ] {
            assert_eq!(update(&me, &card), expected);
        }
        let long = card(&"n".repeat(200), &"\u{1F600}".repeat(300));
        let cut = new().with_display_name("n".repeat(100)).with_description("\u{1F600}".repeat(250));
        assert_eq!(update(&me(None, None), &long), Some(cut));
    }

    #[test]
    fn an_entry_leads_to_its_agent_and_says_whether_it_is_there() {
        let found = DirectoryEntry { handle: "bob".to_owned(), ..DirectoryEntry::default() };
        let entry = entry(found).expect("a usable handle");
        assert_eq!(entry.address.expect("an address").as_str(), "agentchat://bob");
        assert_eq!(entry.card, r#"{"name":"bob","url":"agentchat://bob"}"#);
        let presence = |text: &str| serde_json::from_str::<Presence>(text).expect("a presence");
        let now = time::parse("2026-11-21T19:12:33Z").expect("a moment");
        let said = |text: &str| status(&presence(text), now);
        let busy = said(r#"{"handle":"bob","status":"busy","custom_message":"a call"}"#);
        assert_eq!((busy.status.as_str(), busy.alive), ("busy", true));
        let own = said(r#"{"handle":"bob","status":"online","custom_message":"indexing"}"#);
        assert_eq!((own.status.as_str(), own.alive), ("indexing", true));
        let gone = said(r#"{"handle":"bob","status":"offline","last_seen":"2026-11-21T19:12:03Z"}"#);
        assert_eq!((gone.status.as_str(), gone.alive, gone.age), ("offline", false, Duration::from_secs(30)));
    }
}
