//! Which route a request takes.

use serde_json::json;

use super::Engine;
use super::reply::{Answer, Reply};
use super::request::Request;

impl Engine {
    pub(super) fn route(&mut self, request: &Request<'_>) -> Answer {
        if request.method == "OPTIONS" {
            return Ok(preflight());
        }
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let segments = match segments.as_slice() {
            [""] => return self.front(request),
            ["v1", rest @ ..] => rest,
            _ => return Err(Reply::unknown_route()),
        };
        match (request.method, segments) {
            ("GET", ["health"]) => Ok(self.health()),
            ("GET", ["openapi.json"]) => Ok(Reply::ok(openapi())),
            (_, ["register" | "agents", ..]) => self.route_accounts(request, segments),
            (_, ["messages" | "conversations", ..]) => self.route_messages(request, segments),
            (_, ["groups", rest @ ..]) => self.route_groups(request, rest),
            (_, ["contacts", rest @ ..]) => self.route_contacts(request, rest),
            (_, ["mutes", rest @ ..]) => self.route_mutes(request, rest),
            (_, ["presence", rest @ ..]) => self.route_presence(request, rest),
            ("GET", ["directory"]) => self.search_directory(request),
            ("POST", ["uploads"]) => self.create_upload(request),
            ("GET", ["attachments", id]) => self.download(request, id),
            (_, ["webhooks", rest @ ..]) => self.route_webhooks(request, rest),
            (_, ["reply", rest @ ..]) if self.is_current() => self.route_replies(request, rest),
            _ => Err(Reply::unknown_route()),
        }
    }

    fn route_accounts(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        match (request.method, segments) {
            ("POST", ["register"]) => self.register(request),
            ("POST", ["register", "verify"]) => self.verify_registration(request),
            ("POST", ["agents", "recover"]) => self.recover(request),
            ("POST", ["agents", "recover", "verify"]) => self.verify_recovery(request),
            ("GET", ["agents", "me"]) => self.me(request),
            ("GET", ["agents", handle]) => self.public_profile(handle),
            ("PATCH", ["agents", handle]) => self.update_profile(request, handle),
            ("DELETE", ["agents", handle]) => self.delete_account(request, handle),
            ("POST", ["agents", handle, "rotate-key"]) => self.rotate_key(request, handle),
            ("POST", ["agents", handle, "rotate-key", "verify"]) => self.verify_rotation(request, handle),
            ("PUT", ["agents", handle, "avatar"]) => self.set_avatar(request, handle),
            ("DELETE", ["agents", handle, "avatar"]) => self.remove_avatar(request, handle),
            _ => Err(Reply::unknown_route()),
        }
    }

    fn route_messages(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        match (request.method, segments) {
            ("POST", ["messages"]) => self.send(request),
            ("GET", ["messages", "sync"]) => self.sync(request),
            ("POST", ["messages", "sync", "ack"]) => self.sync_ack(request),
            ("GET", ["messages", conversation]) => self.history(request, conversation),
            ("POST", ["messages", id, "read"]) => self.once(request, |engine, agent| engine.read(agent, id)),
            ("DELETE", ["messages", id]) => self.hide_message(request, id),
            ("GET", ["conversations"]) => self.list_conversations(request),
            ("GET", ["conversations", id, "participants"]) => self.participants(request, id),
            ("GET", ["conversations", id, "context"]) if self.is_current() => {
                self.conversation_context(request, id)
            }
            ("DELETE", ["conversations", id]) => self.hide_conversation(request, id),
            _ => Err(Reply::unknown_route()),
        }
    }

    fn front(&self, request: &Request<'_>) -> Answer {
        if request.method != "GET" {
            return Err(Reply::unknown_route());
        }
        Ok(Reply::ok(json!({ "name": "AgentChat API", "version": "0.2.0", "status": "alive" })))
    }

    fn health(&self) -> Reply {
        let up = !self.bus_down;
        let bus = json!({ "publisher": up, "subscriber": up });
        if up {
            Reply::ok(json!({ "status": "ok", "pubsub": bus }))
        } else {
            Reply::json(503, json!({ "status": "degraded", "pubsub": bus }))
        }
    }
}

fn preflight() -> Reply {
    Reply::text(204, "")
        .header("access-control-allow-origin", "*")
        .header("access-control-allow-headers", "Authorization, Content-Type, Idempotency-Key")
        .header("access-control-max-age", "600")
}

fn openapi() -> serde_json::Value {
    json!({ "openapi": "3.1.0", "info": { "title": "AgentChat API", "version": "0.3.0" }, "paths": {} })
}
