//! Events that are posted to somebody's own server.

use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use super::model::{AgentIx, EnvIx, MsgIx};
use super::outbound::{Effect, WebhookCall};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema::{self, Members};
use super::time::Moment;
use crate::digest::{hex, hmac_sha256};

/// Where an agent wants which events.
pub(super) struct Webhook {
    id: String,
    owner: AgentIx,
    url: String,
    events: Vec<String>,
    secret: String,
    created_at: Moment,
}

/// An event on its way to a webhook.
pub(super) struct Delivery {
    id: String,
    webhook: String,
    event: String,
    body: String,
    envelope: Option<EnvIx>,
    failures: usize,
    /// Nothing while an attempt is being made.
    next_at: Option<Moment>,
}

impl Engine {
    pub(super) fn route_webhooks(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        let agent = self.authenticated(request)?;
        let missing = || Reply::error(404, "NOT_FOUND", "Webhook not found");
        match (request.method, segments) {
            ("POST", []) => self.add_webhook(agent, request.body),
            ("GET", []) => {
                let own = self.webhooks.iter().filter(|webhook| webhook.owner == agent);
                Ok(Reply::ok(json!({ "webhooks": own.map(Webhook::row).collect::<Vec<_>>() })))
            }
            (method @ ("GET" | "DELETE"), [id]) => {
                let own = |webhook: &Webhook| webhook.owner == agent && webhook.id == *id;
                let position = self.webhooks.iter().position(own).ok_or_else(missing)?;
                if method == "GET" {
                    return Ok(Reply::ok(self.webhooks[position].row()));
                }
                self.webhooks.remove(position);
                Ok(Reply::ok(json!({ "ok": true })))
            }
            _ => Err(Reply::unknown_route()),
        }
    }

    /// Sends an event to each webhook of an agent that wants it.
    pub(super) fn call_webhooks(&mut self, agent: AgentIx, event: &str, data: Value) {
        self.call(agent, event, data, None);
    }

    pub(super) fn call_webhooks_for_message(&mut self, agent: AgentIx, message: MsgIx, envelope: EnvIx) {
        if self.webhooks.iter().any(|webhook| webhook.owner == agent) {
            let row = self.delivered_row(message).into();
            self.call(agent, "message.new", row, Some(envelope));
        }
    }

    /// How an attempt ended.
    pub(crate) fn webhook_answered(&mut self, now: Moment, delivery: &str, accepted: bool) {
        self.advance(now);
        let Some(position) = self.deliveries.iter().position(|known| known.id == delivery) else { return };
        if accepted {
            let done = self.deliveries.remove(position);
            if let Some(envelope) = done.envelope {
                self.mark_delivered(envelope);
            }
            return;
        }
        let failed = &mut self.deliveries[position];
        match RETRIES.get(failed.failures) {
            Some(wait) => {
                failed.failures += 1;
                failed.next_at = Some(self.now.plus(Duration::from_secs(*wait)));
            }
            None => {
                self.deliveries.remove(position);
            }
        }
    }

    pub(super) fn webhooks_due(&self) -> impl Iterator<Item = Moment> + '_ {
        self.deliveries.iter().filter_map(|delivery| delivery.next_at)
    }

    pub(super) fn retry_webhooks(&mut self) {
        let now = self.now;
        let due: Vec<usize> = (0..self.deliveries.len())
            .filter(|ix| self.deliveries[*ix].next_at.is_some_and(|at| at <= now))
            .collect();
        for position in due {
            self.attempt(position);
        }
        // A webhook that was removed meanwhile gets nothing more.
        self.deliveries.retain(|delivery| self.webhooks.iter().any(|webhook| webhook.id == delivery.webhook));
    }

    fn add_webhook(&mut self, agent: AgentIx, body: &[u8]) -> Answer {
        let body = schema::parse(body)?;
        let mut members = Members::of(&body)?;
        let url = members.text("url", 1, usize::MAX).unwrap_or_default().to_owned();
        if members.get("url").is_some() && url::Url::parse(&url).is_err() {
            members.fault("url", "Invalid url");
        }
        if members.get("events").is_none() {
            members.fault("events", "Required");
        }
        let events = members.texts("events", 1, EVENTS.len()).unwrap_or_default();
        if let Some(unknown) = events.iter().find(|event| !EVENTS.contains(event)) {
            let listed = EVENTS.map(|event| format!("'{event}'")).join(" | ");
            members.fault("events", format!("Invalid enum value. Expected {listed}, received '{unknown}'"));
        }
        members.finish()?;
        if self.webhooks.iter().filter(|webhook| webhook.owner == agent).count() >= MAX {
            // The recorded server does not catch its own complaint.
            let refused = || Reply::error(400, "LIMIT_REACHED", "Maximum of 5 webhooks per agent");
            return Err(if self.is_current() { refused() } else { Reply::internal() });
        }
        let webhook = Webhook {
            id: self.ids.id("whk"),
            owner: agent,
            url,
            events: events.into_iter().map(str::to_owned).collect(),
            secret: self.ids.secret(),
            created_at: self.now,
        };
        let mut row = webhook.row();
        row["secret"] = json!(webhook.secret);
        self.webhooks.push(webhook);
        Ok(Reply::created(row))
    }

    fn call(&mut self, agent: AgentIx, event: &str, data: Value, envelope: Option<EnvIx>) {
        let wanted = |webhook: &&Webhook| webhook.owner == agent && webhook.events.iter().any(|e| e == event);
        let webhooks: Vec<String> =
            self.webhooks.iter().filter(wanted).map(|webhook| webhook.id.clone()).collect();
        for webhook in webhooks {
            let body = json!({ "event": event, "timestamp": self.now.javascript(), "data": data });
            self.deliveries.push(Delivery {
                id: self.ids.id("whd"),
                webhook,
                event: event.to_owned(),
                body: body.to_string(),
                envelope,
                failures: 0,
                next_at: None,
            });
            self.attempt(self.deliveries.len() - 1);
        }
    }

    fn attempt(&mut self, position: usize) {
        let delivery = &mut self.deliveries[position];
        delivery.next_at = None;
        let Some(webhook) = self.webhooks.iter().find(|webhook| webhook.id == delivery.webhook) else {
            return;
        };
        self.effects.push(Effect::Webhook(WebhookCall {
            delivery: delivery.id.clone(),
            url: webhook.url.clone(),
            event: delivery.event.clone(),
            signature: hex(&hmac_sha256(webhook.secret.as_bytes(), delivery.body.as_bytes())),
            body: delivery.body.clone(),
        }));
    }
}

impl Webhook {
    fn row(&self) -> Value {
        json!({
            "id": self.id,
            "url": self.url,
            "events": self.events,
            "active": true,
            "created_at": self.created_at.database(),
        })
    }
}

const MAX: usize = 5;
/// Seconds before each further attempt.
const RETRIES: [u64; 8] = [10, 30, 60, 300, 900, 3_600, 21_600, 86_400];
const EVENTS: [&str; 6] = [
    "message.new",
    "message.read",
    "presence.update",
    "contact.blocked",
    "group.invite.received",
    "group.deleted",
];
