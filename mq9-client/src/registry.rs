//! The registry: who is there, and what they can do.

mod entry;
mod query;
mod registration;

use bytes::Bytes;

pub use entry::AgentEntry;
pub use query::{DiscoverQuery, Discovered, Search, SearchKind};
pub use registration::Registration;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::subjects::Command;
use crate::protocol::{replies, requests};
use crate::ranking;

impl Client {
    /// Registers an agent, **replacing whoever holds the name**.
    ///
    /// The broker says yes to a name that is taken and keeps the old entry, so this unregisters the name
    /// first. Between the two commands (one round trip) the name is in nobody's hands: a search may miss
    /// the agent, and of two that register one name at once either may win. The registry knows no owners,
    /// no lifetime and no liveness; entries stay until someone unregisters them.
    ///
    /// A broker with search gets a plain A2A v1 card as it is, since it indexes nothing else, and writes
    /// it anew; everything else, and every card elsewhere, is stored as `{name, payload}` with the exact
    /// text.
    ///
    /// Cancel safety: dropped half-way, the name may be left unregistered.
    ///
    /// # Errors
    /// As every call. After an error the old entry may be gone; registering again is safe.
    pub async fn register(&self, registration: &Registration) -> Result<()> {
        let strict = match registration.strict() {
            Some(card) if self.can_search().await? => Some(card),
            _ => None,
        };
        self.unregister(registration.name()).await?;
        if let Some(card) = strict {
            match replies::done(Command::Register, &self.call(Command::Register, card).await?) {
                Err(error) if error.kind() == ErrorKind::Rejected => {}
                outcome => return outcome,
            }
        }
        replies::done(Command::Register, &self.call(Command::Register, registration.pair()?).await?)
    }

    /// Removes a name from the registry. One that is not there is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty name; otherwise as every call.
    pub async fn unregister(&self, name: &str) -> Result<()> {
        let body = requests::unregister(named(Command::Unregister, name)?)?;
        replies::done(Command::Unregister, &self.call(Command::Unregister, body).await?)
    }

    /// Reports on an agent. The broker keeps reports where no client can read them; for a heartbeat that
    /// others see use [`Client::publish_status`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty name; otherwise as every call.
    pub async fn report(&self, name: &str, info: &str) -> Result<()> {
        let body = requests::report(named(Command::Report, name)?, info)?;
        replies::done(Command::Report, &self.call(Command::Report, body).await?)
    }

    /// Looks for agents. [`Discovered::ran`] says which search really ran: the shipped builds of the
    /// broker cannot search, and then all agents are listed and ranked here.
    ///
    /// The broker lists every agent of every user whatever the limit; limit and page are applied here.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a limit or page of 0, or an empty search; otherwise as every call.
    pub async fn discover(&self, query: &DiscoverQuery) -> Result<Discovered> {
        query.check()?;
        match &query.search {
            Search::All => self.listed(query, SearchKind::List, |_| true).await,
            Search::Tag(tag) => self.listed(query, SearchKind::Tag, |agent| agent.has_tag(tag)).await,
            Search::Name(name) => self.listed(query, SearchKind::Name, |agent| agent.name == *name).await,
            Search::Semantic(text) => {
                let body = requests::discover(None, Some(text), query.limit, query.page)?;
                self.searched(query, text, body, SearchKind::BrokerSemantic).await
            }
            Search::Text(text) => {
                let body = requests::discover(Some(text), None, query.limit, query.page)?;
                self.searched(query, text, body, SearchKind::BrokerText).await
            }
        }
    }

    async fn listed(
        &self,
        query: &DiscoverQuery,
        ran: SearchKind,
        keep: impl Fn(&AgentEntry) -> bool,
    ) -> Result<Discovered> {
        let agents = self.entries(Bytes::from_static(b"{}")).await?;
        Ok(Discovered { agents: query.page_of(agents.into_iter().filter(keep)), ran })
    }

    async fn searched(
        &self,
        query: &DiscoverQuery,
        text: &str,
        body: Bytes,
        ran: SearchKind,
    ) -> Result<Discovered> {
        let link = self.session.link(Command::Discover.operation())?;
        if link.searches() != Some(false) {
            match self.entries(body).await {
                Ok(mut agents) => {
                    link.set_searches(true);
                    agents.truncate(query.limit as usize);
                    return Ok(Discovered { agents, ran });
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => link.set_searches(false),
                Err(error) => return Err(error),
            }
        }
        let agents = self.entries(Bytes::from_static(b"{}")).await?;
        let texts: Vec<String> = agents.iter().map(AgentEntry::searchable).collect();
        let ranked = ranking::rank(text, &texts);
        let mut agents: Vec<Option<AgentEntry>> = agents.into_iter().map(Some).collect();
        let best_first = ranked.into_iter().filter_map(|(at, _)| agents[at].take());
        Ok(Discovered { agents: query.page_of(best_first), ran: SearchKind::LocalText })
    }

    async fn entries(&self, body: Bytes) -> Result<Vec<AgentEntry>> {
        let raw = self.call(Command::Discover, body).await?;
        replies::agents(Command::Discover, &raw)?
            .into_iter()
            .map(|entry| {
                AgentEntry::read(entry.get())
                    .ok_or_else(|| replies::protocol(Command::Discover, "an agent that is no object", &raw))
            })
            .collect()
    }

    /// Whether the broker itself searches its registry. The shipped builds do not; then a search is a list
    /// ranked here. Asked once for each connection.
    ///
    /// # Errors
    /// As every call.
    pub async fn can_search(&self) -> Result<bool> {
        let link = self.session.link(Command::Discover.operation())?;
        if let Some(known) = link.searches() {
            return Ok(known);
        }
        let body = requests::discover(Some("agent"), None, 1, 1)?;
        let searches = match replies::agents(Command::Discover, &self.call(Command::Discover, body).await?) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::Unsupported => false,
            Err(error) => return Err(error),
        };
        link.set_searches(searches);
        Ok(searches)
    }
}

fn named<'a>(command: Command<'_>, name: &'a str) -> Result<&'a str> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, command.operation(), "an agent's name must not be empty"));
    }
    Ok(name)
}
