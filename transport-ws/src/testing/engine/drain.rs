//! What was stored goes to a socket that has just been authenticated.

use std::ops::Bound;

use super::Engine;
use super::model::{AgentIx, EnvIx};
use super::outbound::{Effect, SocketId};
use super::rows::frame;
use super::time::Moment;

/// How far the connect drain of one socket has come.
pub(super) struct Drain {
    pub(super) next_at: Moment,
    agent: AgentIx,
    /// Envelopes from here on are newer than the connection and are pushed live.
    end: EnvIx,
    last: Option<EnvIx>,
    /// Rows of the last batch that come once more.
    repeated: Vec<EnvIx>,
    batches: usize,
}

impl Engine {
    pub(super) fn start_drain(&mut self, socket: SocketId, agent: AgentIx) {
        if self.is_fully_paused(agent) {
            return;
        }
        let drain = Drain {
            next_at: self.now,
            agent,
            end: self.envelopes.len(),
            last: None,
            repeated: Vec::new(),
            batches: 0,
        };
        if let Some(session) = self.sessions.get_mut(&socket) {
            *session.drain_mut() = Some(drain);
        }
        self.continue_drain(socket);
    }

    /// Writes the next batch if it is due.
    pub(super) fn continue_drain(&mut self, socket: SocketId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&socket) else { return };
        let Some(mut drain) = session.drain_mut().take() else { return };
        if drain.next_at > now {
            *session.drain_mut() = Some(drain);
            return;
        }
        if self.is_fully_paused(drain.agent) {
            return;
        }
        let from = drain.last.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = self.agents[drain.agent].stored.range((from, Bound::Excluded(drain.end)));
        let mut batch = std::mem::take(&mut drain.repeated);
        let repeated = batch.len();
        batch.extend(stored.take(BATCH.saturating_sub(repeated)).copied());
        let full = batch.len() >= BATCH;
        for (position, envelope) in batch.iter().enumerate() {
            let mut row = self.stored_row(*envelope);
            if position < repeated {
                // It was read before it was marked, so it still looks untouched.
                row["status"] = "stored".into();
                row["delivered_at"] = serde_json::Value::Null;
            }
            let text = frame("message.new", row).to_string().into();
            self.effects.push(Effect::Frame { socket, text, hello: false });
            self.written(socket, *envelope);
        }
        drain.last = batch.last().copied().max(drain.last);
        drain.batches += 1;
        if full && drain.batches < MAX_BATCHES {
            if !self.acks(socket) {
                let overlap = self.switches.drain_overlap.min(BATCH - 1);
                drain.repeated = batch.split_off(batch.len() - overlap);
            }
            drain.next_at = now.plus(self.switches.drain_pause);
            if let Some(session) = self.sessions.get_mut(&socket) {
                *session.drain_mut() = Some(drain);
            }
        }
    }
}

const BATCH: usize = 200;
const MAX_BATCHES: usize = 50;
