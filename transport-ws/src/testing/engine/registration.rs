//! New accounts.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Engine;
use super::model::{Agent, AgentIx, PauseMode, Standing, Window};
use super::otp::{Flow, plain_email};
use super::reply::{Answer, Reply};
use super::request::Request;
use super::reserved::is_reserved;
use super::schema::{self, Members};

impl Engine {
    pub(super) fn register(&mut self, request: &Request<'_>) -> Answer {
        self.within_address_limit(request, "register", 5, HOUR)?;
        let body = schema::parse(request.body)?;
        let mut members = Members::of(&body)?;
        let email = email_of(&mut members);
        let handle = handle_of(&mut members);
        let display_name = members.optional_text("display_name", 0, 100).map(str::to_owned);
        let description = members.optional_text("description", 0, 500).map(str::to_owned);
        members.finish()?;
        if is_reserved(&handle) {
            return Err(Reply::error(400, "INVALID_HANDLE", "Handle is invalid or reserved"));
        }
        self.handle_is_free(&handle)?;
        self.email_has_room(&email)?;
        self.otp_slot(&email)?;
        let flow = Flow::Register { email: email.clone(), handle, display_name, description };
        let pending_id = self.begin_flow(&email, flow);
        Ok(Reply::ok(json!({ "pending_id": pending_id, "message": "Verification code sent to email" })))
    }

    pub(super) fn verify_registration(&mut self, request: &Request<'_>) -> Answer {
        self.within_address_limit(request, "register/verify", 10, TEN_MINUTES)?;
        let (pending_id, code) = code_body(request)?;
        let expired = "Registration expired or invalid. Please start again.";
        let flow = self.finish_flow(&pending_id, &code, expired)?;
        let Flow::Register { email, handle, display_name, description } = flow else {
            return Err(Reply::error(400, "EXPIRED", expired));
        };
        self.handle_is_free(&handle)?;
        self.email_has_room(&email)?;
        let agent = self.found_agent(&handle, &email);
        self.agents[agent].display_name = display_name;
        self.agents[agent].description = description;
        self.greet(agent);
        let row = self.account_row(agent);
        let key = &self.agents[agent].key;
        Ok(Reply::created(json!({ "agent": row, "api_key": key })))
    }

    /// Adds an account without asking anybody.
    pub(super) fn found_agent(&mut self, handle: &str, email: &str) -> AgentIx {
        let agent = self.agents.len();
        let key = self.ids.key();
        self.by_handle.insert(handle.to_owned(), agent);
        self.by_key.insert(key.clone(), agent);
        let now = self.now;
        self.agents.push(Agent {
            id: self.ids.id("agt"),
            handle: handle.to_owned(),
            email: email.to_owned(),
            key,
            display_name: None,
            description: None,
            avatar_key: None,
            standing: Standing::Active,
            pause: PauseMode::None,
            inbox_contacts_only: false,
            invites_contacts_only: false,
            discoverable: true,
            is_system: false,
            created_at: now,
            updated_at: now,
            undelivered: 0,
            presence: None,
            contacts: Default::default(),
            blocks: Default::default(),
            reports: Default::default(),
            blocked_at: Vec::new(),
            reported_at: Vec::new(),
            mutes: Vec::new(),
            conversations: Default::default(),
            envelopes: Vec::new(),
            stored: Default::default(),
            sockets: Default::default(),
            sends: Window::default(),
            mute_writes: Window::default(),
            avatar_writes: Window::default(),
            lookups: Window::default(),
            lookups_today: Window::default(),
            invitations: Window::default(),
            foreground: Default::default(),
        });
        agent
    }

    fn handle_is_free(&self, handle: &str) -> Answer<()> {
        if self.agent_of(handle).is_some() {
            return Err(Reply::error(409, "HANDLE_TAKEN", format!("Handle @{handle} is already taken")));
        }
        Ok(())
    }

    fn email_has_room(&self, email: &str) -> Answer<()> {
        let of_email = || self.agents.iter().filter(|agent| agent.email == email);
        let live = of_email().filter(|agent| agent.standing != Standing::Deleted).count();
        let (limit, lifetime) = (self.switches.agents_per_email, self.switches.lifetime_per_email);
        if live >= limit && self.is_current() {
            let message =
                format!("This email already has {limit} agents. Delete one first to create a new one.");
            return Err(Reply::error(409, "EMAIL_LIMIT_REACHED", message).details(json!({ "limit": limit })));
        }
        if live >= limit {
            let message =
                "An account is already registered with this email. Delete it first to create a new one.";
            return Err(Reply::error(409, "EMAIL_TAKEN", message));
        }
        if of_email().count() >= lifetime {
            let reply = Reply::error(409, "EMAIL_EXHAUSTED", "This email has used up its registrations.");
            return Err(if self.is_current() { reply.details(json!({ "limit": lifetime })) } else { reply });
        }
        Ok(())
    }

    /// The stored row, as registration tells it once.
    fn account_row(&self, agent: AgentIx) -> Value {
        let agent = &self.agents[agent];
        let mut settings = json!({ "inbox_mode": "open" });
        if self.is_current() {
            settings["group_invite_policy"] = json!("open");
        }
        let mut row = Map::new();
        row.insert("handle".into(), json!(agent.handle));
        row.insert("email".into(), json!(agent.email));
        row.insert("display_name".into(), json!(agent.display_name));
        row.insert("description".into(), json!(agent.description));
        row.insert("status".into(), json!(agent.standing.name()));
        row.insert("settings".into(), settings);
        row.insert("created_at".into(), json!(agent.created_at.database()));
        row.insert("updated_at".into(), json!(agent.updated_at.database()));
        row.insert("paused_by_owner".into(), json!(agent.pause.name()));
        row.insert("last_seen_at".into(), Value::Null);
        row.insert("undelivered_count".into(), json!(agent.undelivered));
        row.insert("avatar_key".into(), json!(agent.avatar_key));
        row.insert("is_system".into(), json!(agent.is_system));
        row.into()
    }
}

/// The two members of every second step.
pub(super) fn code_body(request: &Request<'_>) -> Answer<(String, String)> {
    let body = schema::parse(request.body)?;
    let mut members = Members::of(&body)?;
    let pending_id = members.text("pending_id", 1, usize::MAX).unwrap_or_default().to_owned();
    let code = members.text("code", 6, 6).unwrap_or_default().to_owned();
    members.finish()?;
    Ok((pending_id, code))
}

fn email_of(members: &mut Members<'_>) -> String {
    let faulty = members.has_faults();
    let email = plain_email(members.text("email", 0, usize::MAX).unwrap_or_default());
    if members.get("email").is_some_and(Value::is_string) && !faulty && !looks_like_email(&email) {
        members.fault("email", "Invalid email");
    }
    email
}

fn handle_of(members: &mut Members<'_>) -> String {
    let handle = members.text("handle", 3, 30).unwrap_or_default().to_owned();
    if members.get("handle").is_some_and(Value::is_string) && !is_handle(&handle) {
        members.fault("handle", "Invalid");
    }
    handle
}

pub(super) fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace());
    plain(local)
        && plain(domain)
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
}

/// `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`
fn is_handle(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.split('-').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}

const HOUR: Duration = Duration::from_secs(3600);
const TEN_MINUTES: Duration = Duration::from_secs(600);
