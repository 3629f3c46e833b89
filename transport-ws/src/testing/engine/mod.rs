//! The server's thinking without sockets, clock or threads: requests, frames and the time go in, answers
//! and what is to be written to which socket come out.

mod accounts;
mod auth;
mod avatar;
mod blocks;
mod contacts;
mod context;
mod control;
mod conversations;
mod direct;
mod directory;
mod drain;
mod groups;
mod history;
mod idempotency;
mod ids;
mod invites;
mod lifecycle;
mod limits;
mod members;
mod model;
mod mutes;
mod otp;
mod outbound;
mod presence;
mod receipts;
mod recovery;
mod registration;
mod replies;
mod reply;
mod request;
mod reserved;
mod router;
mod rows;
mod schema;
mod send;
mod sessions;
mod sync;
#[cfg(test)]
mod tests;
mod time;
mod uploads;
mod webhooks;
mod welcome;

use std::collections::{BTreeMap, HashMap};

pub(crate) use ids::Ids;
pub(crate) use model::AgentIx;
pub use model::{PauseMode, Standing};
pub(crate) use outbound::{Effect, SocketId, WebhookCall};
pub(crate) use reply::{Body, Reply};
pub(crate) use request::Request;
pub(crate) use sessions::Incoming;
pub(crate) use time::Moment;

use super::profile::{Profile, Switches};
use idempotency::Remembered;
use model::{Agent, ConvIx, Conversation, EnvIx, Envelope, Invite, Message, MsgIx};
use otp::Otp;
use sessions::Session;
use uploads::Attachment;
use webhooks::{Delivery, Webhook};

/// All of one server's state. Time never runs backwards in it.
pub(crate) struct Engine {
    profile: Profile,
    pub(crate) switches: Switches,
    ids: Ids,
    now: Moment,
    agents: Vec<Agent>,
    by_handle: HashMap<String, AgentIx>,
    by_key: HashMap<String, AgentIx>,
    conversations: Vec<Conversation>,
    conversation_ids: HashMap<String, ConvIx>,
    direct: HashMap<(AgentIx, AgentIx), ConvIx>,
    activity: u64,
    messages: Vec<Message>,
    message_ids: HashMap<String, MsgIx>,
    client_ids: HashMap<(AgentIx, String), MsgIx>,
    envelopes: Vec<Envelope>,
    envelope_ids: HashMap<String, EnvIx>,
    invites: Vec<Invite>,
    attachments: HashMap<String, Attachment>,
    webhooks: Vec<Webhook>,
    deliveries: Vec<Delivery>,
    otp: Otp,
    address_hits: HashMap<(&'static str, String), (Moment, u64)>,
    remembered: HashMap<(AgentIx, String), Remembered>,
    claims: HashMap<String, (String, Moment)>,
    sessions: BTreeMap<SocketId, Session>,
    effects: Vec<Effect>,
    /// The database is away: nobody can be authenticated.
    pub(crate) database_down: bool,
    /// The message bus is away, as `/v1/health` tells.
    pub(crate) bus_down: bool,
}

impl Engine {
    pub(crate) fn new(profile: Profile, switches: Switches, seed: u64, now: Moment) -> Self {
        let mut engine = Engine {
            profile,
            switches,
            ids: Ids::new(seed),
            now,
            agents: Vec::new(),
            by_handle: HashMap::new(),
            by_key: HashMap::new(),
            conversations: Vec::new(),
            conversation_ids: HashMap::new(),
            direct: HashMap::new(),
            activity: 0,
            messages: Vec::new(),
            message_ids: HashMap::new(),
            client_ids: HashMap::new(),
            envelopes: Vec::new(),
            envelope_ids: HashMap::new(),
            invites: Vec::new(),
            attachments: HashMap::new(),
            webhooks: Vec::new(),
            deliveries: Vec::new(),
            otp: Otp::default(),
            address_hits: HashMap::new(),
            remembered: HashMap::new(),
            claims: HashMap::new(),
            sessions: BTreeMap::new(),
            effects: Vec::new(),
            database_down: false,
            bus_down: false,
        };
        engine.found_platform_agent();
        engine
    }

    /// Answers one request. What it sets off lies in [`Engine::take_effects`] afterwards.
    pub(crate) fn handle(&mut self, now: Moment, request: &Request<'_>) -> Reply {
        self.advance(now);
        self.route(request).unwrap_or_else(|refusal| refusal)
    }

    /// What is to be written, in order for each socket.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    fn is_current(&self) -> bool {
        self.profile == Profile::Current
    }

    /// The agent of that handle, gone or not.
    fn agent_of(&self, handle: &str) -> Option<AgentIx> {
        self.by_handle.get(handle).copied()
    }

    /// The agent of that handle, if it can be found by others.
    fn reachable(&self, handle: &str) -> Option<AgentIx> {
        self.agent_of(handle).filter(|agent| self.agents[*agent].is_reachable())
    }

    fn handle_of(&self, agent: AgentIx) -> &str {
        &self.agents[agent].handle
    }

    fn touch(&mut self, conversation: ConvIx) {
        self.activity += 1;
        self.conversations[conversation].activity = self.activity;
    }
}

/// A handle as it is looked up: without one leading `@`, in lower case.
fn plain_handle(text: &str) -> String {
    text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase()
}
