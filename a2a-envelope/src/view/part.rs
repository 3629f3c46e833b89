//! Parts of messages and artifacts.

use std::borrow::Cow;
use std::fmt;

use super::filled;
use crate::json::Node;

/// One part of a message or an artifact.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartView<'a> {
    /// What it holds.
    pub content: PartContent<'a>,
    /// `mediaType`, or a 0.x file's `mimeType`.
    pub media_type: Option<Cow<'a, str>>,
    /// `filename`, or a 0.x file's `name`.
    pub filename: Option<Cow<'a, str>>,
    /// `metadata`, as JSON text.
    pub metadata: Option<&'a str>,
    /// The whole part, as JSON text.
    pub raw: &'a str,
}

/// What a part holds.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartContent<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A file's bytes in base64: `raw`, or a 0.x file's `bytes` or `fileWithBytes`.
    Bytes(Cow<'a, str>),
    /// Where a file is: `url`, or a 0.x file's `uri` or `fileWithUri`.
    Url(Cow<'a, str>),
    /// Structured data, as JSON text.
    Data(&'a str),
    /// A kind of part this crate does not know.
    Unknown,
}

impl<'a> PartView<'a> {
    pub(crate) fn of(node: Node<'a>) -> Self {
        let file = node.get("file").filter(|file| file.is_object());
        let either = |new: &str, old: &[&str]| {
            filled(node, new).or_else(|| old.iter().find_map(|name| filled(file?, name)))
        };
        Self {
            content: content(node, file),
            media_type: either("mediaType", &["mimeType", "mediaType"]),
            filename: either("filename", &["name", "filename"]),
            metadata: super::raw(node, "metadata"),
            raw: node.raw(),
        }
    }

    /// The text, of a text part.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            PartContent::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Debug for PartContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = match self {
            Self::Text(text) => ("Text", text.len()),
            Self::Bytes(base64) => ("Bytes", base64.len()),
            Self::Url(url) => ("Url", url.len()),
            Self::Data(json) => ("Data", json.len()),
            Self::Unknown => return f.write_str("Unknown"),
        };
        write!(f, "{name}(<{bytes} bytes>)")
    }
}

fn content<'a>(node: Node<'a>, file: Option<Node<'a>>) -> PartContent<'a> {
    let one_of = |node: Node<'a>, names: &[&str]| names.iter().find_map(|name| node.text_of(name));
    if let Some(text) = node.text_of("text") {
        return PartContent::Text(text);
    }
    let bytes = node.text_of("raw").or_else(|| one_of(file?, &["bytes", "fileWithBytes"]));
    if let Some(bytes) = bytes {
        return PartContent::Bytes(bytes);
    }
    let url = node.text_of("url").or_else(|| one_of(file?, &["uri", "fileWithUri"]));
    if let Some(url) = url {
        return PartContent::Url(url);
    }
    node.get("data").map_or(PartContent::Unknown, |data| PartContent::Data(data.raw()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::object;

    fn part(text: &str) -> PartView<'_> {
        PartView::of(object(text.as_bytes()).unwrap())
    }

    #[test]
    fn each_kind_of_part_reads_alike_in_every_version() {
        for text in [r#"{"text":"hi"}"#, r#"{"kind":"text","text":"hi"}"#, r#"{"type":"text","text":"hi"}"#] {
            assert_eq!(part(text).text(), Some("hi"), "{text}");
        }
        for text in [
            r#"{"raw":"aGk=","mediaType":"text/plain","filename":"a.txt"}"#,
            r#"{"kind":"file","file":{"bytes":"aGk=","mimeType":"text/plain","name":"a.txt"}}"#,
            r#"{"type":"file","file":{"bytes":"aGk=","mimeType":"text/plain","name":"a.txt"}}"#,
            r#"{"kind":"file","file":{"fileWithBytes":"aGk=","mediaType":"text/plain","filename":"a.txt"}}"#,
        ] {
            let part = part(text);
            assert_eq!(part.content, PartContent::Bytes("aGk=".into()), "{text}");
            assert_eq!(
                (part.media_type.as_deref(), part.filename.as_deref()),
                (Some("text/plain"), Some("a.txt"))
            );
        }
        for text in [
            r#"{"url":"https://x"}"#,
            r#"{"kind":"file","file":{"uri":"https://x"}}"#,
            r#"{"kind":"file","file":{"fileWithUri":"https://x"}}"#,
        ] {
            assert_eq!(part(text).content, PartContent::Url("https://x".into()), "{text}");
        }
        for text in [r#"{"data":{"n":1.0}}"#, r#"{"kind":"data","data":{"n":1.0}}"#] {
            assert_eq!(part(text).content, PartContent::Data(r#"{"n":1.0}"#), "{text}");
        }
        assert_eq!(part(r#"{"data":null}"#).content, PartContent::Data("null"));
    }

    #[test]
    fn a_part_of_a_later_version_is_unknown_and_keeps_its_text() {
        let text = r#"{"video":{"frames":1e400},"metadata":{"k":1.50}}"#;
        let part = part(text);
        assert_eq!(
            (part.content, part.raw, part.metadata),
            (PartContent::Unknown, text, Some(r#"{"k":1.50}"#))
        );
    }
}
