//! Reading JSON by byte spans, so that what nobody asked about is never rewritten.

mod edit;
mod node;
mod scan;

pub(crate) use edit::{append_element, quote, remove_member, set_member, splice, write_quoted};
pub(crate) use node::{Item, Kind, Node};

use crate::error::{Error, Result};
use crate::limits::{LimitKind, Limits};

/// Checks size, encoding, grammar and depth once; the node navigates without further checks.
pub(crate) fn parse<'a>(bytes: &'a [u8], size: LimitKind, limits: &Limits) -> Result<Node<'a>> {
    limits.check(size, bytes.len())?;
    let text = std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 { offset: error.valid_up_to() })?;
    let scanned = scan::document(text)?;
    limits.check(LimitKind::Depth, scanned.depth)?;
    Ok(Node::new(text, scanned.start, scanned.end))
}

/// [`parse`] for bodies.
pub(crate) fn parse_body<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Node<'a>> {
    parse(bytes, LimitKind::Body, limits)
}

/// The object in bytes that [`parse_body`] has accepted before; grammar and limits are not checked again.
pub(crate) fn object_of_checked(bytes: &[u8]) -> Option<Node<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let start = scan::skip_space(bytes, 0);
    let node = Node::new(text, start, scan::skip_value(bytes, start));
    node.is_object().then_some(node)
}
