//! An agent's address book.

use serde_json::{Value, json};

use super::model::AgentIx;
use super::reply::{Answer, Reply};
use super::request::Request;
use super::schema::{self, units};
use super::{Engine, plain_handle};

impl Engine {
    pub(super) fn route_contacts(&mut self, request: &Request<'_>, segments: &[&str]) -> Answer {
        match (request.method, segments) {
            ("POST", []) => self.add_contact(request),
            ("GET", []) => self.list_contacts(request),
            ("GET", [handle]) => self.check_contact(request, handle),
            ("PATCH", [handle]) => self.note_contact(request, handle),
            ("DELETE", [handle]) => self.remove_contact(request, handle),
            ("POST", [handle, "block"]) => self.once(request, |engine, agent| engine.block(agent, handle)),
            ("DELETE", [handle, "block"]) => self.unblock(request, handle),
            ("POST", [handle, "report"]) => {
                let body = request.body;
                self.once(request, |engine, agent| engine.report(agent, handle, body))
            }
            _ => Err(Reply::unknown_route()),
        }
    }

    fn add_contact(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let handle = body.get("handle").and_then(Value::as_str).filter(|handle| !handle.is_empty());
        let handle = plain_handle(handle.ok_or_else(|| Reply::invalid("handle is required"))?);
        if handle == self.handle_of(agent) {
            return Err(Reply::invalid("Cannot add yourself as a contact"));
        }
        let contact = self.found_or_404(&handle)?;
        self.befriend(agent, contact);
        if let Some(entry) = self.agents[agent].contacts.get_mut(&contact) {
            entry.chosen = true;
        }
        let display_name = &self.agents[contact].display_name;
        Ok(Reply::created(json!({ "handle": handle, "display_name": display_name })))
    }

    fn list_contacts(&mut self, request: &Request<'_>) -> Answer {
        let agent = self.authenticated(request)?;
        let limit = request.page("limit", 50, 1, 100);
        let offset = request.page("offset", 0, 0, u64::MAX);
        let contacts = &self.agents[agent].contacts;
        let mut listed: Vec<AgentIx> =
            contacts.keys().copied().filter(|contact| self.agents[*contact].is_reachable()).collect();
        listed.sort_by(|one, other| self.handle_of(*one).cmp(self.handle_of(*other)));
        let page: Vec<Value> = listed
            .iter()
            .skip(usize::try_from(offset).unwrap_or(usize::MAX))
            .take(limit as usize)
            .map(|contact| {
                let entry = &contacts[contact];
                let contact = &self.agents[*contact];
                json!({
                    "handle": contact.handle,
                    "display_name": contact.display_name,
                    "description": contact.description,
                    "notes": entry.notes,
                    "added_at": entry.added_at.database(),
                    "avatar_key": contact.avatar_key,
                })
            })
            .collect();
        // The count comes with the rows, so a page without rows has none.
        let total = if page.is_empty() { 0 } else { listed.len() };
        Ok(Reply::ok(json!({ "contacts": page, "total": total, "limit": limit, "offset": offset })))
    }

    fn check_contact(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let contact = self.agent_of(&plain_handle(handle));
        let entry = contact.and_then(|contact| self.agents[agent].contacts.get(&contact));
        Ok(Reply::ok(json!({
            "is_contact": entry.is_some(),
            "added_at": entry.map(|entry| entry.added_at.database()),
            "notes": entry.and_then(|entry| entry.notes.as_ref()),
        })))
    }

    fn note_contact(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let body = schema::parse(request.body)?;
        let notes = match body.get("notes") {
            Some(Value::Null) => None,
            Some(Value::String(notes)) if units(notes) > 1000 => {
                return Err(Reply::invalid("notes must be at most 1000 characters"));
            }
            Some(Value::String(notes)) => Some(notes.clone()),
            _ => return Err(Reply::invalid("notes must be a string or null")),
        };
        let handle = plain_handle(handle);
        let contact = self.agent_of(&handle);
        let entry = contact.and_then(|contact| self.agents[agent].contacts.get_mut(&contact));
        entry.ok_or_else(|| not_a_contact(&handle))?.notes = notes;
        Ok(Reply::ok(json!({ "ok": true })))
    }

    fn remove_contact(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let handle = plain_handle(handle);
        let contact = self.agent_of(&handle);
        let removed = contact.and_then(|contact| self.agents[agent].contacts.remove(&contact));
        removed.ok_or_else(|| not_a_contact(&handle))?;
        Ok(Reply::ok(json!({ "ok": true })))
    }
}

fn not_a_contact(handle: &str) -> Reply {
    Reply::error(404, "NOT_FOUND", format!("@{handle} is not in your contacts"))
}
