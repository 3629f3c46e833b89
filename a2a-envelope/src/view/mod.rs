//! What A2A objects of any version say, read where they stand.
//!
//! A view borrows from the text it reads. Reading is lenient: a field that is absent or of another type reads
//! as absent, and of a repeated one the last counts. What a view lacks is in its `raw` text, which is
//! where unknown fields, numbers of any form and later versions' members are. Nothing is written from a view.
//! `Debug` prints lengths, never what a message says.

mod event;
mod message;
mod part;
mod request;
mod rpc;
mod task;

use std::borrow::Cow;
use std::fmt;

pub use event::{EventView, UpdateView};
pub(crate) use event::{Shape, WRAPPINGS, shape_of};
pub use message::MessageView;
pub use part::{PartContent, PartView};
pub use request::RequestView;
pub use rpc::{RpcError, RpcView};
pub use task::{ArtifactView, StatusView, TaskView};

use crate::json::{Kind, Node};

/// `Debug` as a length.
macro_rules! masked {
    ($($view:ident),*) => {$(
        impl fmt::Debug for $view<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($view), "(<{} bytes>)"), self.raw.len())
            }
        }
    )*};
}
masked!(ArtifactView, MessageView, PartView, RequestView, TaskView, UpdateView);

/// The object members of a text that is JSON; `None` for other text, within the default limits.
pub(crate) fn object(text: &[u8]) -> Option<Node<'_>> {
    let limits = crate::limits::Limits::default();
    crate::json::parse_body(text, &limits).ok().filter(|root| root.is_object())
}

/// A non-empty text, as proto-JSON leaves empty ones out.
fn filled<'a>(node: Node<'a>, name: &str) -> Option<Cow<'a, str>> {
    node.text_of(name).filter(|text| !text.is_empty())
}

fn elements<'a>(node: Node<'a>, name: &str) -> impl Iterator<Item = Node<'a>> + use<'a> {
    let array = node.get(name).filter(|array| array.kind() == Kind::Array);
    array.into_iter().flat_map(|array| array.items().map(|item| item.value))
}

fn objects<'a>(node: Node<'a>, name: &str) -> impl Iterator<Item = Node<'a>> + use<'a> {
    elements(node, name).filter(|element| element.is_object())
}

fn texts<'a>(node: Node<'a>, name: &str) -> Vec<Cow<'a, str>> {
    elements(node, name).filter_map(Node::as_str).collect()
}

/// The text of a member that is there and not `null`.
fn raw<'a>(node: Node<'a>, name: &str) -> Option<&'a str> {
    node.get(name).filter(|value| value.kind() != Kind::Null).map(Node::raw)
}

/// A flag; `None` if the member is no boolean.
fn flag(node: Node<'_>, name: &str) -> Option<bool> {
    match node.get(name)?.raw() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// An unsigned number; proto-JSON writes those of 64 bits as strings, so both forms count.
fn number(node: Node<'_>, name: &str) -> Option<u64> {
    let value = node.get(name)?;
    let text = if value.kind() == Kind::String { value.as_str()? } else { Cow::Borrowed(value.raw()) };
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
