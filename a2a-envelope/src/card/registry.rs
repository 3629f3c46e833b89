//! Cards as registries list them, in every shape.

use std::fmt;

use super::raw::{RawCard, mailbox_of};
use super::view::text;
use crate::error::{Error, MemberRule, Result};
use crate::json::{self, Kind, Node};
use crate::limits::Limits;

/// One agent as a registry lists it, whichever way it was registered. `Debug` prints no address.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryEntry {
    /// The name it is registered under, or else its card's.
    pub name: Option<String>,
    /// The registry's own id for it.
    pub agent_id: Option<String>,
    /// What it does, as the registry says it, or else its card.
    pub description: Option<String>,
    /// Its card, byte for byte as the registry holds it; `None` where that is no card (the mq9 facade
    /// registers in a way of which a broker keeps the description only).
    pub card: Option<RawCard>,
    /// Its mailbox, a bare address or an `mq9://` URI: the first of an mq9 URL in the card's
    /// `supportedInterfaces`; `mailbox`, of the card or beside it; `metadata.mq9.mailbox`;
    /// `metadata.mq9.mail_address`; a 0.x card's `url`.
    pub mailbox: Option<String>,
}

impl RegistryEntry {
    /// Reads one entry, within the default [`Limits`]: a card itself; `{name, agent_info}` and
    /// `{agent_id, name, description, agent_info}` with the card as a JSON string or as an object;
    /// `{name, mailbox, payload, agent_card}`; `{name, payload}`.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`], [`Error::NotUtf8`] or [`Error::NotJson`] for a text that cannot be read;
    /// [`Error::Member`] if it is no object. An entry with a broken card is an entry without one.
    pub fn read(text: &[u8]) -> Result<Self> {
        let root = json::parse_body(text, &Limits::default())?;
        Self::of(root)
    }

    /// Reads a whole answer: a list, or an object with the list in `agents`, or a single entry.
    ///
    /// An entry that is no object is left out: one broken registration must not hide all others.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), for the text as a whole.
    pub fn read_all(text: &[u8]) -> Result<Vec<Self>> {
        let root = json::parse_body(text, &Limits::default())?;
        let list = match root.get("agents").filter(|agents| agents.kind() == Kind::Array) {
            Some(agents) => agents,
            None if root.kind() == Kind::Array => root,
            None => return Ok(vec![Self::of(root)?]),
        };
        Ok(list.items().filter_map(|item| Self::of(item.value).ok()).collect())
    }

    fn of(root: Node<'_>) -> Result<Self> {
        if !root.is_object() {
            return Err(Error::member("$", MemberRule::NotAnObject));
        }
        let held = ["agent_info", "agent_card", "payload"];
        let wrapped = held.iter().any(|name| root.get(name).is_some());
        let card = if wrapped {
            held.iter().find_map(|name| card_in(root.get(name)?))
        } else {
            RawCard::new(root.raw().to_owned()).ok()
        };
        let view = card.as_ref().map(RawCard::view);
        let beside = text(root, "mailbox").filter(|address| !address.is_empty());
        let mailbox = match &card {
            Some(card) => mailbox_of(card, beside),
            None => beside,
        };
        let plain = text(root, "payload").filter(|_| card.is_none() || root.get("agent_card").is_some());
        Ok(Self {
            name: text(root, "name").or_else(|| view.as_ref()?.name.clone()),
            agent_id: text(root, "agent_id"),
            description: text(root, "description").or_else(|| view?.description).or(plain),
            card,
            mailbox,
        })
    }
}

impl fmt::Debug for RegistryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryEntry")
            .field("name", &self.name)
            .field("agent_id", &self.agent_id)
            .field("card", &self.card)
            .field("mailbox", &self.mailbox.as_ref().map(|_| "<masked>"))
            .finish_non_exhaustive()
    }
}

/// A card held as an object, or as the text of one.
fn card_in(node: Node<'_>) -> Option<RawCard> {
    let text = if node.is_object() { node.raw().to_owned() } else { node.as_str()?.into_owned() };
    RawCard::new(text).ok()
}
