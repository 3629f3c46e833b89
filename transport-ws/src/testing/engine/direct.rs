//! Messages between two agents.

use serde_json::{Value, json};

use super::limits::{COLD_THREADS, DAY, WARNING};
use super::model::{AgentIx, Contact, ConvIx, Conversation, Kind, Standing};
use super::reply::{Answer, Reply};
use super::send::Draft;
use super::{Engine, plain_handle};

impl Engine {
    /// The pipeline of a direct message; the first rule that fails wins.
    pub(super) fn send_direct(&mut self, sender: AgentIx, draft: Draft, to: &str) -> Answer {
        let recipient = self
            .reachable(&plain_handle(to))
            .ok_or_else(|| Reply::error(404, "AGENT_NOT_FOUND", format!("Account {to} not found")))?;
        if recipient == sender {
            return Err(Reply::invalid("Cannot send a message to yourself"));
        }
        self.may_send(sender)?;
        if self.blocked_between(sender, recipient) {
            return Err(Reply::error(403, "BLOCKED", "Messaging between these accounts is blocked"));
        }
        let existing = self.direct_between(sender, recipient);
        if self.agents[sender].standing == Standing::Restricted && existing.is_none() {
            let message = "Your account is restricted. You can only message existing conversations.";
            return Err(Reply::error(403, "RESTRICTED", message));
        }
        self.admitted_to_inbox(sender, recipient, existing)?;
        self.within_send_rate(sender)?;
        let early = if self.is_current() { self.replayed(sender, &draft) } else { None };
        if let Some(replay) = early {
            if self.switches.awaiting_before_replay {
                self.not_awaited(sender, recipient, existing)?;
            }
            return Ok(self.warned(replay, recipient));
        }
        if existing.is_none() && !self.agents[sender].is_system && self.cold_threads(sender) >= COLD_THREADS {
            let message = "Daily cold outreach limit reached (100/day). Slots free up when recipients reply.";
            return Err(Reply::error(429, "RATE_LIMITED", message));
        }
        self.not_awaited(sender, recipient, existing)?;
        self.attachment_fits(sender, &draft.content, Some(recipient), None)?;
        let conversation = existing.unwrap_or_else(|| self.found_direct(sender, recipient));
        self.establish(conversation, sender);
        if let Some(replay) = self.replayed(sender, &draft) {
            return Ok(self.warned(replay, recipient));
        }
        if self.is_backlogged(recipient) {
            return Err(self.backlogged(recipient));
        }
        let undelivered = self.agents[recipient].undelivered;
        let message = self.store(conversation, sender, draft, &[recipient]);
        self.push_message(message);
        let reply = Reply::created(Value::Object(self.row(message)));
        Ok(self.warned_of(reply, recipient, undelivered))
    }

    pub(super) fn direct_between(&self, one: AgentIx, other: AgentIx) -> Option<ConvIx> {
        self.direct.get(&(one.min(other), one.max(other))).copied()
    }

    /// Begins a direct conversation.
    pub(super) fn found_direct(&mut self, initiator: AgentIx, other: AgentIx) -> ConvIx {
        let id = self.ids.id("conv");
        let kind = Kind::Direct { initiator, other, established: false };
        let conversation = self.found(id, kind);
        self.direct.insert((initiator.min(other), initiator.max(other)), conversation);
        for agent in [initiator, other] {
            self.agents[agent].conversations.insert(conversation);
        }
        conversation
    }

    pub(super) fn found(&mut self, id: String, kind: Kind) -> ConvIx {
        let conversation = self.conversations.len();
        self.conversation_ids.insert(id.clone(), conversation);
        self.conversations.push(Conversation {
            id,
            kind,
            messages: Vec::new(),
            created_at: self.now,
            last_message_at: None,
            activity: 0,
            hidden: Default::default(),
        });
        self.touch(conversation);
        conversation
    }

    /// Adds a contact, keeping what there is.
    pub(super) fn befriend(&mut self, agent: AgentIx, contact: AgentIx) {
        let added_at = self.now;
        self.agents[agent].contacts.entry(contact).or_insert(Contact {
            added_at,
            notes: None,
            chosen: false,
        });
    }

    pub(super) fn blocked_between(&self, one: AgentIx, other: AgentIx) -> bool {
        self.agents[one].blocks.contains_key(&other) || self.agents[other].blocks.contains_key(&one)
    }

    pub(super) fn is_established(&self, conversation: ConvIx) -> bool {
        matches!(self.conversations[conversation].kind, Kind::Direct { established: true, .. })
    }

    fn admitted_to_inbox(&self, sender: AgentIx, recipient: AgentIx, existing: Option<ConvIx>) -> Answer<()> {
        let inbox = &self.agents[recipient];
        if !inbox.inbox_contacts_only || inbox.contacts.contains_key(&sender) || self.agents[sender].is_system
        {
            return Ok(());
        }
        // The newer server lets an established thread go on.
        if self.is_current() && existing.is_some_and(|conversation| self.is_established(conversation)) {
            return Ok(());
        }
        Err(Reply::error(403, "INBOX_RESTRICTED", "This account only accepts messages from contacts"))
    }

    /// The non-initiator's first message makes the thread established, for good.
    fn establish(&mut self, conversation: ConvIx, sender: AgentIx) {
        let Kind::Direct { initiator, other, established } = &mut self.conversations[conversation].kind
        else {
            return;
        };
        if *established || *initiator == sender {
            return;
        }
        *established = true;
        let (initiator, other) = (*initiator, *other);
        self.befriend(other, initiator);
        self.befriend(initiator, other);
    }

    /// How many threads of the last day wait for their first reply.
    fn cold_threads(&self, sender: AgentIx) -> usize {
        let own = self.agents[sender].conversations.iter().map(|ix| &self.conversations[*ix]);
        own.filter(|conversation| {
            let cold = matches!(
                conversation.kind,
                Kind::Direct { initiator, established: false, .. } if initiator == sender
            );
            cold && self.now.since(conversation.created_at) < DAY
        })
        .count()
    }

    fn not_awaited(&self, sender: AgentIx, recipient: AgentIx, existing: Option<ConvIx>) -> Answer<()> {
        let Some(conversation) = existing.map(|ix| &self.conversations[ix]) else { return Ok(()) };
        let cold = matches!(
            conversation.kind,
            Kind::Direct { initiator, established: false, .. } if initiator == sender
        );
        let first = conversation.messages.first().map(|message| self.messages[*message].created_at);
        match first {
            Some(since) if self.switches.awaiting_reply && cold && !self.agents[sender].is_system => {
                let message = "You already sent a first message. Wait for a reply before sending another.";
                Err(Reply::error(403, "AWAITING_REPLY", message).details(json!({
                    "recipient_handle": self.handle_of(recipient),
                    "waiting_since": since.database(),
                })))
            }
            _ => Ok(()),
        }
    }

    fn backlogged(&self, recipient: AgentIx) -> Reply {
        let message = "Recipient has too many undelivered messages. Try again later.";
        let reply = Reply::error(429, "RECIPIENT_BACKLOGGED", message);
        if !self.is_current() {
            return reply;
        }
        reply.details(json!({
            "recipient_handle": self.handle_of(recipient),
            "undelivered_count": self.agents[recipient].undelivered,
        }))
    }

    fn warned(&self, reply: Reply, recipient: AgentIx) -> Reply {
        self.warned_of(reply, recipient, self.agents[recipient].undelivered)
    }

    fn warned_of(&self, reply: Reply, recipient: AgentIx, undelivered: u64) -> Reply {
        if undelivered < WARNING {
            return reply;
        }
        reply.header("x-backlog-warning", format!("{}={undelivered}", self.handle_of(recipient)))
    }
}
