//! What the server remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::time::Moment;

/// Where something is in its list.
pub(crate) type AgentIx = usize;
pub(crate) type ConvIx = usize;
pub(crate) type MsgIx = usize;
/// Also the order in which envelopes came to be, which is the order of `sync`.
pub(crate) type EnvIx = usize;

pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) handle: String,
    pub(crate) email: String,
    pub(crate) key: String,
    pub(crate) display_name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) avatar_key: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) pause: PauseMode,
    pub(crate) inbox_contacts_only: bool,
    pub(crate) invites_contacts_only: bool,
    pub(crate) discoverable: bool,
    pub(crate) is_system: bool,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
    /// The database's own counter, which a test may set to anything.
    pub(crate) undelivered: u64,
    pub(crate) presence: Option<Presence>,
    pub(crate) contacts: BTreeMap<AgentIx, Contact>,
    /// Whom this agent blocks, and since when.
    pub(crate) blocks: BTreeMap<AgentIx, Moment>,
    pub(crate) reports: BTreeMap<AgentIx, Moment>,
    /// When others that count for enforcement blocked or reported this agent.
    pub(crate) blocked_at: Vec<Moment>,
    pub(crate) reported_at: Vec<Moment>,
    pub(crate) mutes: Vec<Mute>,
    pub(crate) conversations: BTreeSet<ConvIx>,
    pub(crate) envelopes: Vec<EnvIx>,
    pub(crate) stored: BTreeSet<EnvIx>,
    /// Its authenticated sockets.
    pub(crate) sockets: BTreeSet<u64>,
    pub(crate) sends: Window,
    pub(crate) mute_writes: Window,
    pub(crate) avatar_writes: Window,
    pub(crate) lookups: Window,
    pub(crate) lookups_today: Window,
    pub(crate) invitations: Window,
    /// Since when a process of this agent claims to be in the foreground, and until when.
    pub(crate) foreground: BTreeMap<String, Moment>,
}

/// What the platform thinks of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing against it.
    Active,
    /// It may not begin new threads.
    Restricted,
    /// It may do nothing but look at itself.
    Suspended,
    /// It is gone, and its handle with it.
    Deleted,
}

/// What its owner has paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PauseMode {
    /// Nothing.
    #[default]
    None,
    /// It cannot send.
    Send,
    /// It can neither send nor receive.
    Full,
}

pub(crate) struct Presence {
    pub(crate) status: String,
    pub(crate) message: Option<String>,
    pub(crate) last_seen: Moment,
    pub(crate) until: Moment,
}

pub(crate) struct Contact {
    pub(crate) added_at: Moment,
    pub(crate) notes: Option<String>,
    /// Added on purpose, and not because a thread was answered.
    pub(crate) chosen: bool,
}

pub(crate) struct Mute {
    pub(crate) target: MuteTarget,
    pub(crate) until: Option<Moment>,
    pub(crate) created_at: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MuteTarget {
    Agent(AgentIx),
    Conversation(ConvIx),
}

pub(crate) struct Conversation {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// In order of `seq`, which begins at 1.
    pub(crate) messages: Vec<MsgIx>,
    pub(crate) created_at: Moment,
    pub(crate) last_message_at: Option<Moment>,
    /// Grows with each change; the list of conversations is sorted by it.
    pub(crate) activity: u64,
    /// Up to which `seq` an agent does not want to see it.
    pub(crate) hidden: HashMap<AgentIx, u64>,
}

pub(crate) enum Kind {
    Direct { initiator: AgentIx, other: AgentIx, established: bool },
    Group(Group),
}

pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) avatar_url: Option<String>,
    pub(crate) created_by: AgentIx,
    /// In order of joining; who left stays, as a former member.
    pub(crate) members: Vec<Member>,
    pub(crate) deleted: Option<(AgentIx, Moment)>,
    pub(crate) sends: Window,
}

#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) agent: AgentIx,
    pub(crate) admin: bool,
    pub(crate) active: bool,
    pub(crate) joined_at: Moment,
    pub(crate) joined_seq: u64,
}

pub(crate) struct Invite {
    pub(crate) id: String,
    pub(crate) group: ConvIx,
    pub(crate) invitee: AgentIx,
    pub(crate) inviter: AgentIx,
    pub(crate) created_at: Moment,
}

pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) conversation: ConvIx,
    pub(crate) sender: AgentIx,
    pub(crate) client_msg_id: String,
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) content: Value,
    pub(crate) metadata: Value,
    pub(crate) created_at: Moment,
    pub(crate) envelopes: BTreeMap<AgentIx, EnvIx>,
    pub(crate) hidden_for: HashSet<AgentIx>,
}

pub(crate) struct Envelope {
    pub(crate) id: String,
    pub(crate) message: MsgIx,
    pub(crate) recipient: AgentIx,
    pub(crate) status: Status,
    pub(crate) delivered_at: Option<Moment>,
    pub(crate) read_at: Option<Moment>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Stored,
    Delivered,
    Read,
}

/// How often something happened in the present window.
#[derive(Default)]
pub(crate) struct Window {
    window: u64,
    count: u64,
}

impl Window {
    /// Counts once more and tells the count within this window.
    pub(crate) fn hit(&mut self, window: u64) -> u64 {
        if self.window != window {
            *self = Window { window, count: 0 };
        }
        self.count += 1;
        self.count
    }

    /// The count without one more.
    pub(crate) fn count(&self, window: u64) -> u64 {
        if self.window == window { self.count } else { 0 }
    }
}

impl Agent {
    pub(crate) fn is_reachable(&self) -> bool {
        matches!(self.standing, Standing::Active | Standing::Restricted)
    }

    pub(crate) fn brief(&self) -> Value {
        json!({ "handle": self.handle, "display_name": self.display_name, "avatar_url": self.avatar_url() })
    }

    pub(crate) fn avatar_url(&self) -> Option<String> {
        self.avatar_key.as_ref().map(|key| format!("https://storage.invalid/avatars/{key}"))
    }
}

impl Standing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Standing::Active => "active",
            Standing::Restricted => "restricted",
            Standing::Suspended => "suspended",
            Standing::Deleted => "deleted",
        }
    }
}

impl PauseMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            PauseMode::None => "none",
            PauseMode::Send => "send",
            PauseMode::Full => "full",
        }
    }
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Stored => "stored",
            Status::Delivered => "delivered",
            Status::Read => "read",
        }
    }
}

impl Conversation {
    pub(crate) fn group(&self) -> Option<&Group> {
        match &self.kind {
            Kind::Group(group) => Some(group),
            Kind::Direct { .. } => None,
        }
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Who takes part now.
    pub(crate) fn participants(&self) -> Vec<AgentIx> {
        match &self.kind {
            Kind::Direct { initiator, other, .. } => vec![*initiator, *other],
            Kind::Group(group) => group.active().map(|member| member.agent).collect(),
        }
    }

    pub(crate) fn has(&self, agent: AgentIx) -> bool {
        match &self.kind {
            Kind::Direct { initiator, other, .. } => agent == *initiator || agent == *other,
            Kind::Group(group) => group.member(agent).is_some(),
        }
    }

    /// The other side of a direct conversation.
    pub(crate) fn counterparty(&self, agent: AgentIx) -> Option<AgentIx> {
        match self.kind {
            Kind::Direct { initiator, other, .. } => Some(if agent == initiator { other } else { initiator }),
            Kind::Group(_) => None,
        }
    }
}

impl Group {
    pub(crate) fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.active)
    }

    /// The active membership.
    pub(crate) fn member(&self, agent: AgentIx) -> Option<&Member> {
        self.active().find(|member| member.agent == agent)
    }

    pub(crate) fn member_mut(&mut self, agent: AgentIx) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.active && member.agent == agent)
    }

    pub(crate) fn was_member(&self, agent: AgentIx) -> bool {
        self.members.iter().any(|member| member.agent == agent)
    }
}
