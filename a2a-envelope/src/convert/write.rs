//! JSON objects in the making.

use crate::json::{Item, Kind, Node, quote};

/// A JSON object in the making.
pub(super) struct Object {
    text: String,
}

impl Object {
    pub(super) fn new() -> Self {
        Self { text: "{".to_owned() }
    }

    /// Adds a member whose value is JSON text.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.member(&quote(name), value);
    }

    /// Adds a member as it stands, spelling and all.
    pub(super) fn copy(&mut self, item: &Item<'_>) {
        self.member(item.raw_key(), item.value.raw());
    }

    pub(super) fn close(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn member(&mut self, key: &str, value: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push_str(key);
        self.text.push(':');
        self.text.push_str(value);
    }
}

/// An array with each object said anew; what is no array, and elements that are no objects, as they are.
pub(super) fn array(node: Node<'_>, convert: impl Fn(Node<'_>) -> String) -> String {
    if node.kind() != Kind::Array {
        return node.raw().to_owned();
    }
    let elements = node.items().map(|item| match item.value.kind() {
        Kind::Object => convert(item.value),
        _ => item.value.raw().to_owned(),
    });
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}
