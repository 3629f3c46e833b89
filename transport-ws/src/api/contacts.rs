//! Contacts, blocks and reports.

use serde::{Deserialize, Serialize};

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult, Relationship};
use crate::http::{Call, Verb, path};
use crate::wire::{Extra, lenient, moments};

/// A page of contacts, in order of their names.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct ContactPage {
    /// The contacts.
    #[serde(default, deserialize_with = "lenient::list")]
    pub contacts: Vec<Contact>,
    /// How many there are on all pages. An empty page says 0 whatever was before it.
    #[serde(default, deserialize_with = "lenient::number")]
    pub total: Option<u64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A contact.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct Contact {
    /// The handle, without `@`.
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the agent is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// One's own note.
    #[serde(default, deserialize_with = "lenient::text")]
    pub notes: Option<String>,
    /// Since when, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub added_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A contact just added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct AddedContact {
    /// The handle, without `@`.
    #[serde(default)]
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { Contact: added_at }

impl AgentChat {
    /// Adds a contact. Doing it twice is fine.
    ///
    /// Asks `POST /v1/contacts`.
    ///
    /// # Errors
    /// Locally for what is no handle. `AGENT_NOT_FOUND`; `VALIDATION_ERROR` for oneself.
    pub async fn add_contact(&self, agent: &str) -> ApiResult<AddedContact> {
        #[derive(Serialize)]
        struct Body {
            handle: String,
        }
        let body = Body { handle: checked_handle("add_contact", agent)? };
        let call = Call::new("add_contact", Verb::Post, path("add_contact", &["contacts"])?);
        self.fetch(call.with_json(&body)?).await
    }

    /// A page of the contacts, without suspended and deleted agents. `limit` is 1 to 100.
    ///
    /// Asks `GET /v1/contacts`.
    ///
    /// # Errors
    /// Locally for another limit; those of every call.
    pub async fn contacts(&self, limit: u32, offset: u64) -> ApiResult<ContactPage> {
        check::count("contacts", "limit", limit.into(), 1..=100)?;
        let call = Call::new("contacts", Verb::Get, path("contacts", &["contacts"])?);
        self.fetch(call.with_query("limit", limit).with_query("offset", offset)).await
    }

    /// Whether an agent is a contact. Nobody is none.
    ///
    /// Asks `GET /v1/contacts/:handle`.
    ///
    /// # Errors
    /// Locally for what is no handle; those of every call.
    pub async fn contact(&self, agent: &str) -> ApiResult<Relationship> {
        let path = path("contact", &["contacts", &checked_handle("contact", agent)?])?;
        self.fetch(Call::new("contact", Verb::Get, path)).await
    }

    /// Sets one's own note about a contact, at most 1,000 characters; `None` takes it away.
    ///
    /// Asks `PATCH /v1/contacts/:handle`.
    ///
    /// # Errors
    /// Locally for a note that is too long, or what is no handle. `NOT_FOUND` for whoever is no contact.
    pub async fn set_contact_note(&self, agent: &str, note: Option<&str>) -> ApiResult<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            // Here null is a value: it takes the note away.
            notes: Option<&'a str>,
        }
        check::optional("set_contact_note", "note", note, 0..=1000)?;
        let path = path("set_contact_note", &["contacts", &checked_handle("set_contact_note", agent)?])?;
        self.done(Call::new("set_contact_note", Verb::Patch, path).with_json(&Body { notes: note })?).await
    }

    /// Removes a contact.
    ///
    /// Asks `DELETE /v1/contacts/:handle`.
    ///
    /// # Errors
    /// Locally for what is no handle. `NOT_FOUND` for whoever is no contact, also when an earlier attempt has
    /// removed it.
    pub async fn remove_contact(&self, agent: &str) -> ApiResult<()> {
        let path = path("remove_contact", &["contacts", &checked_handle("remove_contact", agent)?])?;
        self.done(Call::new("remove_contact", Verb::Delete, path)).await
    }

    /// Blocks an agent: no direct messages in either direction.
    ///
    /// Asks `POST /v1/contacts/:handle/block`.
    ///
    /// # Errors
    /// Locally for what is no handle. `SYSTEM_AGENT_PROTECTED`; `VALIDATION_ERROR` for oneself.
    pub async fn block(&self, agent: &str, idempotency_key: Option<&str>) -> ApiResult<()> {
        let path = path("block", &["contacts", &checked_handle("block", agent)?, "block"])?;
        self.done(Call::new("block", Verb::Post, path).with_idempotency_key(idempotency_key)?).await
    }

    /// Takes a block away.
    ///
    /// Asks `DELETE /v1/contacts/:handle/block`.
    ///
    /// # Errors
    /// Locally for what is no handle. `NOT_FOUND` for whoever is not blocked.
    pub async fn unblock(&self, agent: &str) -> ApiResult<()> {
        let path = path("unblock", &["contacts", &checked_handle("unblock", agent)?, "block"])?;
        self.done(Call::new("unblock", Verb::Delete, path)).await
    }

    /// Reports an agent to the platform, and blocks it. `reason` has at most 1,000 characters.
    ///
    /// Asks `POST /v1/contacts/:handle/report`.
    ///
    /// # Errors
    /// Locally for a reason that is too long, or what is no handle. `ALREADY_REPORTED`;
    /// `SYSTEM_AGENT_PROTECTED`; `VALIDATION_ERROR` for oneself.
    pub async fn report_agent(
        &self,
        agent: &str,
        reason: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> ApiResult<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        check::optional("report_agent", "reason", reason, 0..=1000)?;
        let path = path("report_agent", &["contacts", &checked_handle("report_agent", agent)?, "report"])?;
        let call = Call::new("report_agent", Verb::Post, path).with_json(&Body { reason })?;
        self.done(call.with_idempotency_key(idempotency_key)?).await
    }
}
