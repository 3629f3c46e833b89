//! The broker's thinking: mailboxes, messages, groups and agents, without sockets, clock or threads.
//!
//! Every command is one call that takes the time and returns the outcome, so tests run in virtual time
//! and a journal of commands rebuilds the same state.

mod agents;
mod card;
mod clock;
mod delay;
mod groups;
mod headers;
mod mailboxes;
#[cfg(test)]
pub(crate) mod model;
mod names;
mod reading;
mod reply;
mod request;
#[cfg(test)]
pub(crate) mod rig;
mod storage;
#[cfg(test)]
mod tests;
mod verb;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use bytes::Bytes;

use agents::Agents;
use clock::Clock;
use delay::Delays;
use groups::Groups;
use storage::Topic;
pub(crate) use verb::Verb;

/// Which broker an [`Engine`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineProfile {
    /// Partitions of each mailbox, at least 1. With more than one, ids repeat and order is lost, as on a
    /// broker whose configuration says nothing about partitions (it then takes 3).
    pub partitions: u32,
    /// Whether DISCOVER can search. The scorer is word overlap with light stemming, for `text` and
    /// `semantic` alike: no embedding, no synonyms. Without it a search is answered with the error text
    /// of a broker built without that feature.
    pub search: bool,
    /// Whose rules apply where the broker and the protocol document disagree.
    pub rules: Rules,
}

/// Whose rules apply where the broker and the protocol document disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rules {
    /// What a RobustMQ broker was recorded doing.
    RobustMq,
    /// What the protocol document says: names of at most 128 characters without double dots; one text for
    /// a missing mailbox everywhere; DELETE of an unknown id fails; `num_msgs` bounds the whole reply;
    /// `latest` means new messages only; ACK never rewinds; QUERY gives the most recent rows and honours
    /// `since`; an expired mailbox takes its messages with it; agents may be named by `mailbox`, a second
    /// REGISTER updates, and DISCOVER returns bodies as they were registered.
    ///
    /// A FETCH on an empty mailbox still waits without waking up: an engine cannot call back.
    Documented,
}

impl EngineProfile {
    /// RobustMQ as recorded, with one partition and no search built in.
    pub fn robustmq() -> Self {
        Self { partitions: 1, search: false, rules: Rules::RobustMq }
    }

    /// RobustMQ as recorded, with one partition and search built in.
    pub fn robustmq_with_search() -> Self {
        Self { search: true, ..Self::robustmq() }
    }

    /// The protocol document's rules, with search.
    pub fn documented() -> Self {
        Self { partitions: 1, search: true, rules: Rules::Documented }
    }

    /// Sets [`EngineProfile::partitions`].
    pub fn with_partitions(mut self, n: u32) -> Self {
        self.partitions = n;
        self
    }
}

impl Default for EngineProfile {
    fn default() -> Self {
        Self::robustmq()
    }
}

/// One published message: what a NATS server knows of a PUB or HPUB.
#[derive(Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "made by every listener; a NATS message has no further part")]
pub struct Command<'a> {
    /// The subject it was published on.
    pub subject: &'a str,
    /// The complete raw header block (`NATS/1.0\r\nk: v\r\n\r\n`); `None` for a PUB without headers.
    pub header: Option<&'a [u8]>,
    /// The payload.
    pub payload: &'a [u8],
}

/// What the broker does about a command.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a listener must carry out every one of them")]
pub enum Outcome {
    /// Publish this on the reply subject, if there is one.
    Reply(Bytes),
    /// Publish this on the reply subject at that time, and carry out nothing else from this connection
    /// before. A FETCH that found nothing: it sleeps and does not read again.
    ReplyAt {
        /// When, in milliseconds since 1970.
        at_ms: u64,
        /// The reply.
        body: Bytes,
    },
    /// Never answer. The broker gives up on requests after 30 s without a word, so a FETCH that was told
    /// to wait that long is lost.
    Silent,
    /// Send this text in a `-ERR '…'` line on the connection and nothing on the reply subject.
    ServerError(String),
    /// A plain subject, for the NATS layer to route.
    NotMq9,
}

/// An mq9 broker without input and output.
///
/// Messages are kept until they expire, are deleted, are replaced under their key, or are 7 days old, as
/// on the broker; there is no other limit on what mailboxes hold. What plain publishes store under names
/// that never became mailboxes is bounded to 1,024 names and 16 MiB.
pub struct Engine {
    profile: EngineProfile,
    clock: Clock,
    topics: HashMap<String, Topic>,
    /// Expiry time and name of every mailbox that has one.
    expiries: BTreeSet<(u64, String)>,
    groups: Groups,
    delays: Delays,
    agents: Agents,
    unclaimed: mailboxes::Unclaimed,
    /// Counts what is stored: the partitions take turns over all mailboxes together.
    turn: u64,
    /// Counts the names and ids the engine makes.
    serial: u64,
    collected_ms: u64,
    retained_ms: u64,
}

/// What a command changed, for a journal to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that must survive a restart.
    None,
    /// The state: running the command again on the state before gives the state after.
    State,
    /// As `State`, and the mailbox took over a topic made by plain publishes, which are in no journal:
    /// its name and the ids its partitions continue at.
    Claimed(String, Vec<u64>),
}

impl Engine {
    /// An empty broker. Its minute of collecting expired mailboxes is counted from the first time it hears.
    pub fn new(profile: EngineProfile) -> Self {
        Self {
            profile,
            clock: Clock::default(),
            topics: HashMap::new(),
            expiries: BTreeSet::new(),
            groups: Groups::default(),
            delays: Delays::default(),
            agents: Agents::default(),
            unclaimed: mailboxes::Unclaimed::default(),
            turn: 0,
            serial: 0,
            collected_ms: 0,
            retained_ms: 0,
        }
    }

    /// Carries out one command at `now_ms` (milliseconds since 1970; an earlier time than the last one
    /// heard counts as the last one). Whatever fell due before is carried out first.
    ///
    /// A plain publish on the name of a mailbox is stored there with the priority `""`, seen by QUERY and
    /// not by FETCH, and is still [`Outcome::NotMq9`].
    pub fn handle(&mut self, now_ms: u64, command: Command<'_>) -> Outcome {
        self.apply(now_ms, command).0
    }

    /// Delivers the delayed messages due by `now_ms`, and carries out the collection passes due by then:
    /// expired mailboxes each 60 s, messages and idle groups older than 7 days each 10 minutes.
    ///
    /// [`Engine::handle`] does the same, so ticking is needed only to see the effects between commands.
    pub fn tick(&mut self, now_ms: u64) {
        self.clock.hear(now_ms);
        self.deliver_due();
        self.collect();
    }

    /// When [`Engine::tick`] next has something to do, in milliseconds since 1970.
    pub fn next_deadline(&self) -> Option<u64> {
        let expiry = self.expiries.first().map(|(at, _)| self.clock.pass_after(*at, COLLECT_EACH_MS));
        self.delays.next_due().into_iter().chain(expiry).min()
    }

    /// The time of the last command or tick.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// [`Engine::handle`], and what changed.
    pub(crate) fn apply(&mut self, now_ms: u64, command: Command<'_>) -> (Outcome, Change) {
        self.tick(now_ms);
        let body = command.payload;
        let rules = self.profile.rules;
        let (reply, change) = match Verb::of(command.subject) {
            Verb::Create => self.create(body),
            Verb::Send(address) => self.send(address, command),
            Verb::Fetch(address) => return self.fetch(address, body),
            Verb::Ack => changed(self.ack(body)),
            Verb::Query(address) => (self.query(address, body), Change::None),
            Verb::Delete { address, id } => changed(self.delete(address, id)),
            Verb::Register => changed(self.agents.register(body, rules)),
            Verb::Unregister => changed(self.agents.unregister(body, rules)),
            Verb::Report => (Agents::report(body, rules), Change::None),
            Verb::Discover => (self.agents.discover(body, rules, self.profile.search), Change::None),
            Verb::Unrecognized => {
                let text = format!("unrecognized mq9 subject: {}", command.subject);
                return (Outcome::ServerError(text), Change::None);
            }
            Verb::Plain => return (Outcome::NotMq9, self.store_plain(command)),
        };
        (Outcome::Reply(reply.unwrap_or_else(|text| reply::error(&text))), change)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("profile", &self.profile)
            .field("now_ms", &self.clock.now_ms())
            .field("topics", &self.topics.len())
            .field("groups", &self.groups.len())
            .field("delayed", &self.delays.len())
            .field("agents", &self.agents.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("verb", &Verb::of(self.subject).name())
            .field("header_bytes", &self.header.map(<[u8]>::len))
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(body) => write!(f, "Reply({} bytes)", body.len()),
            Self::ReplyAt { at_ms, body } => write!(f, "ReplyAt({at_ms}, {} bytes)", body.len()),
            Self::Silent => f.write_str("Silent"),
            Self::ServerError(_) => f.write_str("ServerError(…)"),
            Self::NotMq9 => f.write_str("NotMq9"),
        }
    }
}

fn changed(done: Result<(Bytes, bool), String>) -> (Result<Bytes, String>, Change) {
    match done {
        Ok((reply, true)) => (Ok(reply), Change::State),
        Ok((reply, false)) => (Ok(reply), Change::None),
        Err(text) => (Err(text), Change::None),
    }
}

/// How often expired mailboxes are collected.
const COLLECT_EACH_MS: u64 = 60_000;
/// How often messages and groups are checked for age.
const RETAIN_EACH_MS: u64 = 600_000;
/// How long messages and idle group positions are kept.
const RETAIN_S: u64 = 7 * 86_400;
