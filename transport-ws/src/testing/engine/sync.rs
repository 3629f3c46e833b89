//! What is stored for an agent, and that it has it.

use std::ops::Bound;

use serde_json::{Value, json};

use super::Engine;
use super::model::{AgentIx, EnvIx, PauseMode};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema;

impl Engine {
    pub(super) fn sync(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let limit = match request.query("limit").map(|text| text.parse::<i64>()) {
            None => 200,
            Some(Ok(limit)) if limit > 0 => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
            Some(_) => return Err(Reply::invalid("limit must be a positive integer")),
        };
        let after = match request.query("after") {
            None => Bound::Unbounded,
            Some(cursor) => match self.own_envelope(agent, &cursor) {
                Some(envelope) => Bound::Excluded(envelope),
                None => return Ok(Reply::ok(json!([]))),
            },
        };
        if self.agents[agent].pause == PauseMode::Full {
            return Ok(Reply::ok(json!([])));
        }
        let stored = self.agents[agent].stored.range((after, Bound::Unbounded)).take(limit);
        let rows: Vec<Value> = stored.map(|envelope| self.stored_row(*envelope)).collect();
        Ok(Reply::ok(rows.into()))
    }

    pub(super) fn sync_ack(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let cursor = body.get("last_delivery_id").and_then(Value::as_str).filter(|cursor| !cursor.is_empty());
        let cursor = cursor.ok_or_else(|| Reply::invalid("last_delivery_id is required"))?;
        let paused = self.agents[agent].pause == PauseMode::Full;
        let acked = match self.own_envelope(agent, cursor) {
            Some(envelope) if !paused => {
                let through: Vec<EnvIx> = self.agents[agent].stored.range(..=envelope).copied().collect();
                through.into_iter().filter(|envelope| self.mark_delivered(*envelope)).count()
            }
            _ => 0,
        };
        Ok(Reply::ok(json!({ "acked": acked })))
    }

    fn own_envelope(&self, agent: AgentIx, id: &str) -> Option<EnvIx> {
        let envelope = self.envelope_ids.get(id).copied()?;
        (self.envelopes[envelope].recipient == agent).then_some(envelope)
    }
}

const MAX_PAGE: usize = 500;
