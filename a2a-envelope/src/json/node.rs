//! Values of a checked document, as spans of its text.

use std::borrow::Cow;

use super::scan::{skip_space, skip_string, skip_value};
use crate::error::{Error, MemberRule, Result};

/// What a value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// One value of a checked document: the whole text and the value's span in it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

/// One member of an object, or one element of an array (whose key is empty).
pub(crate) struct Item<'a> {
    start: usize,
    raw_key: &'a str,
    pub(crate) value: Node<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn new(text: &'a str, start: usize, end: usize) -> Self {
        Self { text, start, end }
    }

    /// The whole document this value belongs to.
    pub(crate) fn document(self) -> &'a str {
        self.text
    }

    pub(crate) fn start(self) -> usize {
        self.start
    }

    pub(crate) fn end(self) -> usize {
        self.end
    }

    /// The value's own text.
    pub(crate) fn raw(self) -> &'a str {
        &self.text[self.start..self.end]
    }

    pub(crate) fn kind(self) -> Kind {
        match self.text.as_bytes().get(self.start) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    pub(crate) fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// The decoded text of a string; `None` for other kinds and for escapes that are no Unicode text.
    pub(crate) fn as_str(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| decode(self.raw())).flatten()
    }

    /// Members of an object or elements of an array; nothing for other kinds.
    pub(crate) fn items(self) -> Items<'a> {
        let keyed = self.is_object();
        let at = if keyed || self.kind() == Kind::Array { self.start + 1 } else { self.end };
        Items { node: self, at, keyed }
    }

    /// The member of this name. Of several the last counts, as in most JSON readers.
    pub(crate) fn get(self, name: &str) -> Option<Node<'a>> {
        if !self.is_object() {
            return None;
        }
        self.items().filter(|item| item.is_named(name)).last().map(|item| item.value)
    }

    /// The member at the end of a path of names.
    pub(crate) fn at(self, path: &[&str]) -> Option<Node<'a>> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The member of this name as a string.
    pub(crate) fn text_of(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.as_str()
    }

    /// The member of this name, provided there is only one. `path` is how an error calls it.
    pub(crate) fn only(self, name: &str, path: &str) -> Result<Option<Node<'a>>> {
        let mut named = self.items().filter(|item| item.is_named(name)).map(|item| item.value);
        let first = named.next();
        if named.next().is_some() {
            return Err(Error::member(path, MemberRule::Duplicate));
        }
        Ok(first)
    }
}

impl<'a> Item<'a> {
    /// Whether the key says `name`, in whatever spelling.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let Some(inner) = self.raw_key.get(1..self.raw_key.len().saturating_sub(1)) else { return false };
        if inner.contains('\\') { decode(self.raw_key).is_some_and(|key| key == name) } else { inner == name }
    }

    /// Where key and value begin.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The key as it stands, quotes included.
    pub(crate) fn raw_key(&self) -> &'a str {
        self.raw_key
    }

    /// The decoded key; `None` if its escapes are no Unicode text.
    pub(crate) fn key(&self) -> Option<Cow<'a, str>> {
        decode(self.raw_key)
    }
}

pub(crate) struct Items<'a> {
    node: Node<'a>,
    at: usize,
    keyed: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let Node { text, end, .. } = self.node;
        let bytes = text.as_bytes();
        let mut at = skip_space(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
        if at + 1 >= end {
            return None;
        }
        let start = at;
        let mut raw_key = "";
        if self.keyed {
            let key_end = skip_string(bytes, at);
            raw_key = &text[at..key_end];
            // Behind the colon.
            at = skip_space(bytes, skip_space(bytes, key_end) + 1);
        }
        let value_end = skip_value(bytes, at);
        self.at = value_end;
        Some(Item { start, raw_key, value: Node::new(text, at, value_end) })
    }
}

fn decode(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        serde_json::from_str::<String>(quoted).ok().map(Cow::Owned)
    } else {
        quoted.get(1..quoted.len().saturating_sub(1)).map(Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn node(text: &str) -> Node<'_> {
        super::super::parse_body(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn members_are_found_whatever_stands_between_them() {
        let text =
            "\n{ \"a\" : [1 , 2,{\"b\":\"}],\\\"\"}] ,\"c\":\t-1.0e5,\"d\":{} , \"e\":[ ],\"f\":null }\n";
        let root = node(text);
        let items: Vec<_> = root.items().map(|i| (i.key().unwrap().into_owned(), i.value.raw())).collect();
        let want =
            [("a", "[1 , 2,{\"b\":\"}],\\\"\"}]"), ("c", "-1.0e5"), ("d", "{}"), ("e", "[ ]"), ("f", "null")];
        assert_eq!(items, want.map(|(k, v)| (k.to_owned(), v)));
        let elements: Vec<_> = root.get("a").unwrap().items().map(|i| i.value.raw()).collect();
        assert_eq!(elements, ["1", "2", "{\"b\":\"}],\\\"\"}"]);
        for empty in ["d", "e", "f", "c"] {
            assert_eq!(root.get(empty).unwrap().items().count(), 0, "{empty}");
        }
    }

    #[test]
    fn a_key_spelled_with_escapes_is_the_same_key() {
        let root = node(r#"{"j\u0073onrpc":"2.0","\ud800":1}"#);
        assert_eq!(root.text_of("jsonrpc").as_deref(), Some("2.0"));
        assert_eq!(root.items().filter(|i| i.key().is_none()).count(), 1);
    }

    #[test]
    fn of_two_members_the_last_counts_and_an_edit_can_tell() {
        let root = node(r#"{"a":1,"b":0,"\u0061":2}"#);
        assert_eq!(root.get("a").unwrap().raw(), "2");
        assert_eq!(root.only("b", "b").unwrap().unwrap().raw(), "0");
        assert!(root.only("z", "z").unwrap().is_none());
        let Err(error) = root.only("a", "x.a") else { panic!("two members passed for one") };
        assert_eq!(error.to_string(), "`x.a` is there more than once");
    }

    #[test]
    fn strings_decode_and_other_kinds_do_not() {
        let root = node(r#"["pl\u00e4in","","\ud83d\ude00","\ud800",1,null,true,{},[]]"#);
        let got: Vec<_> = root.items().map(|i| i.value.as_str().map(Cow::into_owned)).collect();
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(got, [some("pläin"), some(""), some("😀"), None, None, None, None, None, None]);
        let kinds: Vec<_> = root.items().skip(4).map(|i| i.value.kind()).collect();
        assert_eq!(kinds, [Kind::Number, Kind::Null, Kind::Bool, Kind::Object, Kind::Array]);
    }

    #[test]
    fn a_path_stops_at_anything_that_is_no_object() {
        let root = node(r#"{"a":{"b":{"c":7}},"x":[{"b":1}]}"#);
        assert_eq!(root.at(&["a", "b", "c"]).unwrap().raw(), "7");
        assert!(root.at(&["a", "c"]).is_none());
        assert!(root.at(&["x", "b"]).is_none());
        assert!(root.at(&["a", "b", "c", "d"]).is_none());
    }
}
