//! A card as the exact text its author wrote.

use std::fmt;

use bytes::Bytes;

use super::view::{CardView, interfaces, supported_interfaces, text};
use super::{MQ9_BINDING, MQ9_PROTOCOL_VERSION, is_mq9};
use crate::error::{CardRule, Error, MemberRule, Result};
use crate::json::{self, Kind, Node, quote};
use crate::limits::Limits;

/// An agent card as the exact text its author wrote.
///
/// Unknown fields, key order, escapes and number forms are kept, as a signature over the text demands:
/// nothing here ever writes a card again from what it understood of it. `Debug` prints the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCard {
    bytes: Bytes,
}

impl RawCard {
    /// Takes a card's text, within the default [`Limits`].
    ///
    /// # Errors
    ///
    /// As [`within`](Self::within).
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        Self::within(bytes, &Limits::default())
    }

    /// Takes a card's text, within other limits.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`], [`Error::NotUtf8`] or [`Error::NotJson`] for a text that cannot be read;
    /// [`Error::Member`] if it is no object.
    pub fn within(bytes: impl Into<Bytes>, limits: &Limits) -> Result<Self> {
        let bytes = bytes.into();
        if !json::parse_body(&bytes, limits)?.is_object() {
            return Err(Error::member("$", MemberRule::NotAnObject));
        }
        Ok(Self { bytes })
    }

    /// The exact text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked on the way in; the fallback keeps this free of panics.
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The exact bytes, owned.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// What the card says, read anew on each call.
    #[must_use]
    pub fn view(&self) -> CardView {
        self.root().map(CardView::read).unwrap_or_default()
    }

    /// Whether the card carries signatures, so that its text must not be touched. Anything in `signatures`
    /// but an empty list counts.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.root().is_some_and(is_signed)
    }

    /// The agent's mailbox as the card writes it, a bare address or an `mq9://` URI. The first of: an mq9 URL
    /// in `supportedInterfaces`; `mailbox`; `metadata.mq9.mailbox`; `metadata.mq9.mail_address`; an mq9 URL
    /// in a 0.x card's `url` or `additionalInterfaces`.
    #[must_use]
    pub fn mailbox(&self) -> Option<String> {
        mailbox_of(self, None)
    }

    /// This card with one more entry behind those of `supportedInterfaces`: an mq9 mailbox under
    /// [`MQ9_BINDING`]. Every other byte of the text stays as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Card`] if the card is signed, if it has an mq9 interface already (by binding or by URL), or
    /// if the URL is no mq9 one; [`Error::Member`] if `supportedInterfaces` is no array or is there twice.
    pub fn with_interface(&self, url: &str) -> Result<Self> {
        if !is_mq9(url) {
            return Err(Error::Card(CardRule::UnknownScheme));
        }
        let Some(root) = self.root() else { return Err(Error::member("$", MemberRule::NotAnObject)) };
        if is_signed(root) {
            return Err(Error::Card(CardRule::Signed));
        }
        let ours = |binding: Option<&str>| binding == Some(MQ9_BINDING);
        if interfaces(root).iter().any(|known| known.is_mq9() || ours(known.protocol_binding.as_deref())) {
            return Err(Error::Card(CardRule::InterfaceExists));
        }
        let entry = format!(
            r#"{{"url":{},"protocolBinding":{},"protocolVersion":{}}}"#,
            quote(url),
            quote(MQ9_BINDING),
            quote(MQ9_PROTOCOL_VERSION)
        );
        let edit = match root.only(INTERFACES, INTERFACES)? {
            Some(array) if array.kind() == Kind::Array => json::append_element(array, &entry),
            Some(other) if other.kind() != Kind::Null => {
                return Err(Error::member(INTERFACES, MemberRule::NotAnArray));
            }
            _ => json::set_member(root, &[INTERFACES], &format!("[{entry}]"))?,
        };
        Ok(Self { bytes: json::splice(root.document(), &edit) })
    }

    /// The card's `name`.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        text(self.root()?, "name")
    }

    fn root(&self) -> Option<Node<'_>> {
        json::object_of_checked(&self.bytes)
    }
}

impl fmt::Debug for RawCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawCard(<{} bytes>)", self.bytes.len())
    }
}

/// The card's mailbox, with one that is named beside the card counting as its `mailbox` does.
pub(super) fn mailbox_of(card: &RawCard, beside: Option<String>) -> Option<String> {
    let root = card.root()?;
    let filled = |node: Option<Node<'_>>| {
        node?.as_str().filter(|address| !address.is_empty()).map(|address| address.into_owned())
    };
    supported_interfaces(root)
        .map(|interface| interface.url)
        .find(|url| is_mq9(url))
        .or_else(|| filled(root.get("mailbox")))
        .or(beside)
        .or_else(|| filled(root.at(&["metadata", "mq9", "mailbox"])))
        .or_else(|| filled(root.at(&["metadata", "mq9", "mail_address"])))
        .or_else(|| interfaces(root).into_iter().map(|interface| interface.url).find(|url| is_mq9(url)))
}

fn is_signed(root: Node<'_>) -> bool {
    match root.get("signatures") {
        None => false,
        Some(list) if list.kind() == Kind::Array => list.items().next().is_some(),
        Some(other) => other.kind() != Kind::Null,
    }
}

const INTERFACES: &str = "supportedInterfaces";
