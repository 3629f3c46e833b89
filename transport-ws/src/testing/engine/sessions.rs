//! Sockets: who they belong to, and what is due on them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{AgentIx, EnvIx, Kind, PauseMode};
use super::outbound::{Effect, SocketId};
use super::rows::frame;
use super::time::Moment;
use super::{Engine, drain::Drain};

/// One socket.
pub(super) struct Session {
    state: State,
    drain: Option<Drain>,
    ping_at: Moment,
    pong_by: Option<Moment>,
    /// What was pushed and not acknowledged, in ack mode only, with the time of the last push.
    pushed: BTreeMap<EnvIx, Moment>,
}

enum State {
    /// It has still to say who it is.
    Greeting {
        until: Moment,
    },
    Live {
        agent: AgentIx,
        ack: bool,
    },
}

/// A frame of a client.
pub(crate) enum Incoming<'a> {
    Text(&'a str),
    Binary,
}

impl Session {
    pub(super) fn agent(&self) -> Option<AgentIx> {
        match self.state {
            State::Live { agent, .. } => Some(agent),
            State::Greeting { .. } => None,
        }
    }

    fn acks(&self) -> bool {
        matches!(self.state, State::Live { ack: true, .. })
    }

    pub(super) fn drain_mut(&mut self) -> &mut Option<Drain> {
        &mut self.drain
    }
}

impl Engine {
    /// A socket is open; with a key if its upgrade had one, and whether it asked for `ack` there.
    pub(crate) fn opened(&mut self, now: Moment, socket: SocketId, key: Option<&str>, ack: bool) {
        self.advance(now);
        let until = self.now.plus(self.switches.hello_timeout);
        let state = State::Greeting { until };
        let ping_at = Moment(u64::MAX);
        let session = Session { state, drain: None, ping_at, pong_by: None, pushed: BTreeMap::new() };
        self.sessions.insert(socket, session);
        let Some(key) = key else { return };
        match self.holder(key) {
            Some(agent) => {
                let capabilities = ack.then(|| vec!["ack"]);
                let greeted = self.switches.header_hello_ok;
                self.live(socket, agent, capabilities, greeted);
            }
            None => self.close(socket, 1008, "Invalid token"),
        }
    }

    /// A client sent a frame.
    pub(crate) fn received(&mut self, now: Moment, socket: SocketId, incoming: &Incoming<'_>) {
        self.advance(now);
        let Some(session) = self.sessions.get(&socket) else { return };
        let value = match incoming {
            Incoming::Text(text) => serde_json::from_str::<Value>(text).ok(),
            Incoming::Binary => None,
        };
        match session.state {
            State::Greeting { .. } => self.greeted(socket, value),
            State::Live { agent, ack } => {
                if let Some(value) = value {
                    self.signalled(socket, agent, ack, &value);
                }
            }
        }
    }

    /// A client answered a ping.
    pub(crate) fn ponged(&mut self, now: Moment, socket: SocketId) {
        self.advance(now);
        let Some(session) = self.sessions.get_mut(&socket) else { return };
        session.pong_by = None;
        if let Some(agent) = session.agent() {
            self.renew_presence(agent);
        }
    }

    /// A socket is gone, whoever ended it.
    pub(crate) fn closed(&mut self, now: Moment, socket: SocketId) {
        self.advance(now);
        self.forget(socket);
    }

    /// Does what is due by now.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.advance(now);
        let sockets: Vec<SocketId> = self.sessions.keys().copied().collect();
        for socket in sockets {
            self.tick_socket(socket);
        }
        self.retry_webhooks();
    }

    /// When [`Engine::tick`] has something to do next.
    pub(crate) fn due(&self) -> Option<Moment> {
        let sessions = self.sessions.values().flat_map(|session| {
            let greeting = match session.state {
                State::Greeting { until } => until,
                State::Live { .. } => session.ping_at,
            };
            let drain = session.drain.as_ref().map(|drain| drain.next_at);
            let repush = self
                .switches
                .repush_after
                .and_then(|after| session.pushed.values().min().map(|pushed| pushed.plus(after)));
            [Some(greeting), session.pong_by, drain, repush]
        });
        sessions.flatten().chain(self.webhooks_due()).min()
    }

    /// Ends a socket with a close frame.
    pub(crate) fn close(&mut self, socket: SocketId, code: u16, reason: &str) {
        if self.sessions.contains_key(&socket) {
            self.effects.push(Effect::Close { socket, code, reason: reason.to_owned() });
            self.forget(socket);
        }
    }

    /// Says goodbye on every authenticated socket, as a server that is deployed anew. Others wait for
    /// their greeting to time out.
    pub(crate) fn shut_down(&mut self, now: Moment) {
        self.advance(now);
        let live: Vec<(SocketId, AgentIx)> =
            self.sessions.iter().filter_map(|(id, session)| Some((*id, session.agent()?))).collect();
        for (socket, agent) in &live {
            let reason = "Server shutting down".to_owned();
            self.effects.push(Effect::Close { socket: *socket, code: 1001, reason });
            self.sessions.remove(socket);
            self.agents[*agent].sockets.remove(socket);
        }
        // Nobody is left to hear who went offline.
        for (_, agent) in live {
            self.go_offline(agent);
        }
    }

    /// A message's frame went to a socket: where nobody acknowledges, that is its delivery.
    pub(super) fn written(&mut self, socket: SocketId, envelope: EnvIx) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&socket) else { return };
        if session.acks() {
            session.pushed.insert(envelope, now);
        } else {
            self.mark_delivered(envelope);
        }
    }

    pub(super) fn acks(&self, socket: SocketId) -> bool {
        self.sessions.get(&socket).is_some_and(Session::acks)
    }

    fn greeted(&mut self, socket: SocketId, value: Option<Value>) {
        if self.database_down {
            // Nothing is found out about anybody; the greeting times out.
            return;
        }
        if !self.is_current() && value == Some(Value::Null) {
            // Bringing the recorded server down takes no more than this.
            self.effects.push(Effect::Cut(socket));
            self.forget(socket);
            return;
        }
        let hello = value.filter(|value| value.get("type").and_then(Value::as_str) == Some("hello"));
        let key = hello.as_ref().and_then(|hello| hello.get("api_key")?.as_str());
        let Some(key) = key else {
            return self.close(socket, 1008, "HELLO frame required first");
        };
        let Some(agent) = self.holder(key) else {
            return self.close(socket, 1008, "Invalid token");
        };
        let asked = hello.as_ref().and_then(|hello| hello.get("capabilities")?.as_array());
        let known = asked.map(|asked| {
            let ack = asked.iter().any(|capability| capability == "ack");
            if ack { vec!["ack"] } else { Vec::new() }
        });
        self.live(socket, agent, known, true);
    }

    fn live(&mut self, socket: SocketId, agent: AgentIx, capabilities: Option<Vec<&str>>, greet: bool) {
        if self.switches.socket_limit.is_some_and(|limit| self.sockets_of(agent).len() >= limit) {
            return self.close(socket, 1008, "Too many connections");
        }
        let first = self.sockets_of(agent).is_empty();
        let capabilities = capabilities.filter(|_| self.switches.acks);
        let ack = capabilities.as_ref().is_some_and(|known| known.contains(&"ack"));
        let ping_at = self.now.plus(self.switches.ping_interval);
        if let Some(session) = self.sessions.get_mut(&socket) {
            session.state = State::Live { agent, ack };
            session.ping_at = ping_at;
        }
        self.agents[agent].sockets.insert(socket);
        if greet {
            let mut hello = json!({ "type": "hello.ok" });
            if let Some(capabilities) = capabilities {
                hello["capabilities"] = json!(capabilities);
            }
            self.effects.push(Effect::Frame { socket, text: hello.to_string().into(), hello: true });
        }
        if self.switches.unknown_members {
            let text = json!({ "type": "zebra.event", "payload": {} }).to_string().into();
            self.effects.push(Effect::Frame { socket, text, hello: false });
        }
        if first {
            self.come_online(agent);
        } else {
            self.renew_presence(agent);
        }
        self.start_drain(socket, agent);
    }

    /// A frame after authentication.
    fn signalled(&mut self, socket: SocketId, agent: AgentIx, ack: bool, value: &Value) {
        match value.get("type").and_then(Value::as_str) {
            Some("ack") if ack => {
                let Some(id) = value.get("message_id").and_then(Value::as_str) else { return };
                let message = self.message_ids.get(id).copied();
                let Some(envelope) = message.and_then(|ix| self.messages[ix].envelopes.get(&agent).copied())
                else {
                    return;
                };
                let session = self.sessions.get_mut(&socket);
                let pushed = session.is_some_and(|session| session.pushed.remove(&envelope).is_some());
                if pushed || self.switches.ack_unpushed {
                    self.mark_delivered(envelope);
                }
            }
            Some(kind @ ("typing.start" | "typing.stop")) if self.switches.relay_typing => {
                let id = value.pointer("/payload/conversation_id").and_then(Value::as_str);
                let ix = id.and_then(|id| self.conversation_ids.get(id).copied());
                let Some(ix) = ix.filter(|ix| self.conversations[*ix].has(agent)) else { return };
                let payload = json!({ "conversation_id": id, "sender": self.handle_of(agent) });
                let deleted =
                    matches!(&self.conversations[ix].kind, Kind::Group(group) if group.deleted.is_some());
                if !deleted {
                    for other in self.conversations[ix].participants() {
                        if other != agent {
                            self.push(other, &frame(kind, payload.clone()));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn tick_socket(&mut self, socket: SocketId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&socket) else { return };
        match session.state {
            State::Greeting { until } => {
                if until <= now {
                    self.close(socket, 1008, "HELLO frame required");
                }
                return;
            }
            State::Live { .. } if session.pong_by.is_some_and(|by| by <= now) => {
                return self.close(socket, 1001, "Heartbeat timeout");
            }
            State::Live { .. } => {}
        }
        if session.ping_at <= now {
            session.ping_at = now.plus(self.switches.ping_interval);
            session.pong_by.get_or_insert(now.plus(self.switches.pong_timeout));
            self.effects.push(Effect::Ping(socket));
        }
        self.push_again(socket);
        self.continue_drain(socket);
    }

    /// Repeats what was not acknowledged, if this server does that.
    fn push_again(&mut self, socket: SocketId) {
        let Some(after) = self.switches.repush_after else { return };
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&socket) else { return };
        let due: Vec<EnvIx> =
            session.pushed.iter().filter(|(_, at)| at.plus(after) <= now).map(|(ix, _)| *ix).collect();
        for envelope in &due {
            session.pushed.insert(*envelope, now);
        }
        for envelope in due {
            let text = frame("message.new", self.stored_row(envelope)).to_string().into();
            self.effects.push(Effect::Frame { socket, text, hello: false });
        }
    }

    fn forget(&mut self, socket: SocketId) {
        let Some(session) = self.sessions.remove(&socket) else { return };
        let Some(agent) = session.agent() else { return };
        self.agents[agent].sockets.remove(&socket);
        if self.agents[agent].sockets.is_empty() {
            self.go_offline(agent);
        }
    }

    /// Whether nothing may reach this agent now.
    pub(super) fn is_fully_paused(&self, agent: AgentIx) -> bool {
        self.agents[agent].pause == PauseMode::Full
    }
}
