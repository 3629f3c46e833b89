//! Edits of a text by byte spans: nothing else is touched.

use std::ops::Range;

use bytes::Bytes;

use super::node::{Kind, Node};
use crate::error::{Error, MemberRule, Result};

/// One replacement in a text: the span that goes and what comes in its place.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(crate) span: Range<usize>,
    pub(crate) insert: String,
}

/// How to give the member at `path` the JSON text `value`, touching nothing else. Missing objects on the way
/// are created, and `null` counts as missing. A member is added behind the last one.
///
/// Fails if something on the way is no object, or is there twice.
pub(crate) fn set_member(root: Node<'_>, path: &[&str], value: &str) -> Result<Splice> {
    let mut node = root;
    for (depth, name) in path.iter().enumerate() {
        let so_far = || if depth == 0 { "$".to_owned() } else { path[..depth].join(".") };
        if !node.is_object() {
            return Err(Error::member(so_far(), MemberRule::NotAnObject));
        }
        let rest = &path[depth + 1..];
        match node.only(name, &path[..=depth].join("."))? {
            None => return Ok(append_member(node, name, &nested(rest, value))),
            Some(found) if rest.is_empty() || found.kind() == Kind::Null => {
                return Ok(Splice { span: found.start()..found.end(), insert: nested(rest, value) });
            }
            Some(found) => node = found,
        }
    }
    Ok(Splice { span: root.start()..root.end(), insert: value.to_owned() })
}

/// How to add `value` behind the last element of an array.
pub(crate) fn append_element(array: Node<'_>, value: &str) -> Splice {
    match array.items().last() {
        Some(last) => insert_at(last.value.end(), format!(",{value}")),
        None => insert_at(array.start() + 1, value.to_owned()),
    }
}

/// How to take a member out of an object, with the comma that stands by it; `None` if it is not there.
pub(crate) fn remove_member(object: Node<'_>, name: &str) -> Option<Splice> {
    let items: Vec<_> = object.items().collect();
    let place = items.iter().position(|item| item.is_named(name))?;
    let (start, end) = match (place.checked_sub(1), items.get(place + 1)) {
        (Some(before), _) => (items[before].value.end(), items[place].value.end()),
        (None, Some(next)) => (items[place].start(), next.start()),
        (None, None) => (items[place].start(), items[place].value.end()),
    };
    Some(Splice { span: start..end, insert: String::new() })
}

/// The text with one replacement made.
pub(crate) fn splice(text: &str, edit: &Splice) -> Bytes {
    let (before, after) = (&text[..edit.span.start], &text[edit.span.end..]);
    Bytes::from([before, &edit.insert, after].concat())
}

/// `text` as a JSON string, quotes included.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_quoted(&mut quoted, text);
    // What a JSON writer makes of text is text.
    String::from_utf8(quoted).unwrap_or_default()
}

/// [`quote`] behind what is in `out` already.
pub(crate) fn write_quoted(out: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "memory takes every text");
}

fn append_member(object: Node<'_>, name: &str, value: &str) -> Splice {
    let member = format!("{}:{value}", quote(name));
    match object.items().last() {
        Some(last) => insert_at(last.value.end(), format!(",{member}")),
        None => insert_at(object.start() + 1, member),
    }
}

fn insert_at(at: usize, insert: String) -> Splice {
    Splice { span: at..at, insert }
}

fn nested(path: &[&str], value: &str) -> String {
    path.iter().rev().fold(value.to_owned(), |inner, name| format!("{{{}:{inner}}}", quote(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn set(text: &str, path: &[&str], value: &str) -> Result<String> {
        let root = super::super::parse_body(text.as_bytes(), &Limits::default()).unwrap();
        set_member(root, path, value).map(|edit| String::from_utf8(splice(text, &edit).to_vec()).unwrap())
    }

    #[test]
    fn a_member_is_replaced_added_or_created_with_its_parents() {
        for (text, path, want) in [
            (r#"{"a": 1.0 , "b":2}"#, &["a"][..], r#"{"a": V , "b":2}"#),
            ("{ }", &["a"], r#"{"a":V }"#),
            (" {\n \"b\": 1e400\n} ", &["a"], " {\n \"b\": 1e400,\"a\":V\n} "),
            (r#"{"p":{"q":[1]},"z":0}"#, &["p", "c", "url"], r#"{"p":{"q":[1],"c":{"url":V}},"z":0}"#),
            (r#"{"p":null}"#, &["p", "c", "url"], r#"{"p":{"c":{"url":V}}}"#),
            (r#"{"p":{"c":{"url":{"x":[]}}}}"#, &["p", "c", "url"], r#"{"p":{"c":{"url":V}}}"#),
            (r#"{"\u0070":{}}"#, &["p", "u"], r#"{"\u0070":{"u":V}}"#),
        ] {
            assert_eq!(set(text, path, "V").unwrap(), want);
        }
    }

    #[test]
    fn a_way_through_something_else_or_through_twins_is_refused() {
        for (text, path, words) in [
            ("[]", &["a"][..], "`$` is not an object"),
            (r#"{"p":[1]}"#, &["p", "c"], "`p` is not an object"),
            (r#"{"p":{"c":"x"}}"#, &["p", "c", "url"], "`p.c` is not an object"),
            (r#"{"p":{},"p":{}}"#, &["p", "c"], "`p` is there more than once"),
            (r#"{"p":{"c":1,"\u0063":2}}"#, &["p", "c"], "`p.c` is there more than once"),
        ] {
            assert_eq!(set(text, path, "V").unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_member_goes_with_its_comma_and_nothing_else() {
        for (text, want) in [
            (r#"{"s":1, "b":1.0}"#, r#"{"b":1.0}"#),
            (r#"{ "a" : 1 , "s":[{}] , "b":2}"#, r#"{ "a" : 1 , "b":2}"#),
            (r#"{"a":1e400 , "s":null }"#, r#"{"a":1e400 }"#),
            (r#"{ "\u0073" : 1 }"#, "{  }"),
            (r#"{"a":{"s":1}}"#, r#"{"a":{"s":1}}"#),
        ] {
            let root = super::super::parse_body(text.as_bytes(), &Limits::default()).unwrap();
            let edited = remove_member(root, "s").map_or_else(|| text.into(), |edit| splice(text, &edit));
            assert_eq!(edited, want);
        }
    }

    #[test]
    fn elements_go_behind_the_last_one() {
        for (text, want) in [("[]", "[V]"), ("[ ]", "[V ]"), ("[1 , {} ]", "[1 , {},V ]")] {
            let root = super::super::parse_body(text.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(splice(text, &append_element(root, "V")), want);
        }
    }
}
