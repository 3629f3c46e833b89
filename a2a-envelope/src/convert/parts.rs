//! Messages, parts and artifacts said anew in another version.

use std::borrow::Cow;

use super::write::{Object, array};
use crate::json::{Item, Node, quote};
use crate::vocabulary::{A2aVersion, Role};

/// The members with their names; one whose name is no Unicode text has an empty one.
pub(super) fn members(node: Node<'_>) -> impl Iterator<Item = (Cow<'_, str>, Item<'_>)> {
    node.items().map(|item| (item.key().unwrap_or_default(), item))
}

/// What 0.2 and 0.3 say first in an object.
pub(super) fn mark(out: &mut Object, kind: &str, version: A2aVersion) {
    if version.is_legacy() && version != A2aVersion::V0_1 {
        out.put("kind", &quote(kind));
    }
}

pub(super) fn message(node: Node<'_>, version: A2aVersion) -> String {
    let mut out = Object::new();
    mark(&mut out, "message", version);
    for (name, item) in members(node) {
        match (name.as_ref(), item.value.as_str()) {
            ("kind", _) => {}
            ("role", Some(text)) => match Role::parse(&text) {
                Some(role) => out.put("role", &quote(role.name_in(version))),
                None => out.copy(&item),
            },
            ("parts", _) => out.put("parts", &array(item.value, |node| part(node, version))),
            _ => out.copy(&item),
        }
    }
    out.close()
}

pub(super) fn artifact(node: Node<'_>, version: A2aVersion) -> String {
    if !node.is_object() {
        return node.raw().to_owned();
    }
    let mut out = Object::new();
    let named = node.get("artifactId").is_some();
    for (name, item) in members(node) {
        match name.as_ref() {
            "parts" => out.put("parts", &array(item.value, |node| part(node, version))),
            // 0.1 has an index where the others have an id.
            "index" if !named => out.put("artifactId", &quote(item.value.raw())),
            "append" | "lastChunk" => {}
            _ => out.copy(&item),
        }
    }
    out.close()
}

fn part(node: Node<'_>, version: A2aVersion) -> String {
    if version.is_legacy() { old_part(node, version) } else { new_part(node) }
}

/// A part of 1.0: the member name tells what it is, and a file lies flat.
fn new_part(node: Node<'_>) -> String {
    let mut out = Object::new();
    let told = node.get("kind").is_some() || node.get("type").is_some();
    for (name, item) in members(node) {
        match name.as_ref() {
            "kind" | "type" if told => {}
            "file" if item.value.is_object() => {
                for (name, inner) in members(item.value) {
                    match name.as_ref() {
                        "bytes" | "fileWithBytes" => out.put("raw", inner.value.raw()),
                        "uri" | "fileWithUri" => out.put("url", inner.value.raw()),
                        "mimeType" => out.put("mediaType", inner.value.raw()),
                        "name" => out.put("filename", inner.value.raw()),
                        _ => out.copy(&inner),
                    }
                }
            }
            _ => out.copy(&item),
        }
    }
    out.close()
}

/// A part of 0.x: it says its kind, and a file lies in an object.
fn old_part(node: Node<'_>, version: A2aVersion) -> String {
    let key = if version == A2aVersion::V0_1 { "type" } else { "kind" };
    let has = |name| node.get(name).is_some();
    let kind = if has("text") {
        "text"
    } else if has("raw") || has("url") || has("file") {
        "file"
    } else if has("data") {
        "data"
    } else {
        return node.raw().to_owned();
    };
    let mut out = Object::new();
    out.put(key, &quote(kind));
    let mut file = Object::new();
    for (name, item) in members(node) {
        match (kind, name.as_ref()) {
            (_, "kind" | "type") => {}
            ("file", "raw") => file.put("bytes", item.value.raw()),
            ("file", "url") => file.put("uri", item.value.raw()),
            ("file", "mediaType") => file.put("mimeType", item.value.raw()),
            ("file", "filename") => file.put("name", item.value.raw()),
            // 0.x has objects only here.
            ("data", "data") if !item.value.is_object() => {
                out.put("data", &format!("{{\"value\":{}}}", item.value.raw()));
            }
            _ => out.copy(&item),
        }
    }
    if kind == "file" && !has("file") {
        out.put("file", &file.close());
    }
    out.close()
}
