//! Asking the directory, and what it answers; the status agents report there.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;

/// A question to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// What is looked for.
    pub by: SearchBy,
    /// At most this many answers (default 20).
    pub limit: usize,
    /// Leave out agents whose last heartbeat is older than three of their intervals, or that never
    /// reported. Off by default: an agent that is away still has its inbox.
    pub alive_only: bool,
}

/// What a query looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchBy {
    /// Everybody.
    All,
    /// The agent of exactly this name.
    Name(String),
    /// Agents with exactly this tag, on the card or on a skill; case matters.
    Tag(String),
    /// Agents whose card shares words with this text.
    Text(String),
    /// Agents that can do what this sentence asks for.
    Meaning(String),
}

impl Query {
    /// A query of up to 20 answers.
    pub fn new(by: SearchBy) -> Self {
        Self { by, limit: 20, alive_only: false }
    }

    /// Everybody.
    pub fn all() -> Self {
        Self::new(SearchBy::All)
    }

    /// The agent of exactly this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::new(SearchBy::Name(name.into()))
    }

    /// Agents with exactly this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::new(SearchBy::Tag(tag.into()))
    }

    /// Agents whose card shares words with `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(SearchBy::Text(text.into()))
    }

    /// Agents that can do what `sentence` asks for.
    pub fn meaning(sentence: impl Into<String>) -> Self {
        Self::new(SearchBy::Meaning(sentence.into()))
    }

    /// Sets the limit.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out agents that are not known to be alive.
    pub fn alive_only(mut self) -> Self {
        self.alive_only = true;
        self
    }
}

/// The directory's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// The agents, best match first.
    pub agents: Vec<AgentEntry>,
    /// Which search ran: a network without semantic search answers by text, and says so.
    pub ran: SearchRan,
}

impl Discovered {
    /// An answer.
    pub fn new(agents: Vec<AgentEntry>, ran: SearchRan) -> Self {
        Self { agents, ran }
    }
}

/// Which search produced an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchRan {
    /// The network compared meanings.
    NetworkMeaning,
    /// The network compared words.
    NetworkText,
    /// The network listed its agents and this library compared words.
    LocalText,
    /// An exact comparison, of names or tags, or none at all.
    Exact,
}

/// An agent in the directory. `Debug` shows how long its card is, and not the card: it may hold an inbox.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentEntry {
    /// Its name.
    pub name: String,
    /// Its inbox, when the entry tells one that this transport can reach.
    pub address: Option<Address>,
    /// Its card, as stored. It need not be JSON: other clients register other things.
    pub card: Bytes,
    /// Its last reported status, where the network lets others read it.
    pub status: Option<AgentStatus>,
}

impl AgentEntry {
    /// An entry without status.
    pub fn new(name: impl Into<String>, address: Option<Address>, card: Bytes) -> Self {
        Self { name: name.into(), address, card, status: None }
    }
}

impl fmt::Debug for AgentEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEntry")
            .field("name", &self.name)
            .field("address", &self.address)
            .field("card", &format_args!("{} bytes", self.card.len()))
            .field("status", &self.status)
            .finish()
    }
}

/// What an agent reports of itself as a heartbeat.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// A word: `online`, `busy`, `away`.
    pub status: String,
    /// How many requests are being handled.
    pub active_tasks: u32,
    /// Share of the handler slots in use, 0 to 1.
    pub load: f32,
    /// When the next report is due. An agent counts as alive until three of these have passed.
    pub interval: Duration,
}

impl Heartbeat {
    /// A report with nothing in hand, repeated each `interval`.
    pub fn new(status: impl Into<String>, interval: Duration) -> Self {
        Self { status: status.into(), active_tasks: 0, load: 0.0, interval }
    }
}

/// An agent's status as others read it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStatus {
    /// The word it reported.
    pub status: String,
    /// How many requests it was handling.
    pub active_tasks: u32,
    /// How long ago it reported.
    pub age: Duration,
    /// Whether that is younger than three of its intervals.
    pub alive: bool,
}

impl AgentStatus {
    /// A status reported `age` ago by an agent that reports each `interval`. Both may come from the wire:
    /// no value of them is out of range.
    pub fn new(status: impl Into<String>, active_tasks: u32, age: Duration, interval: Duration) -> Self {
        Self { status: status.into(), active_tasks, age, alive: age < interval.saturating_mul(3) }
    }
}
