//! A section of a host's configuration: each bad value is named by its path, none is repeated.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// One section of a host's configuration, whatever it is written in: YAML, TOML or JSON, by the host's own
/// reader. What is below it is read key by key, as [`EnvReader`](crate::EnvReader) reads variables, and a
/// value that cannot be used is a [`Config`](ErrorKind::Config) error that names its path and never shows the
/// value, which may be a secret.
///
/// A key without a value, or with an empty text, is not set. What was not asked for is refused at the end by
/// [`ConfigSection::end`]: a key that is misspelt must not go unnoticed. The format must say what its values
/// are, as all formats for people do.
///
/// ```
/// use agentchat_core::ConfigSection;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(serde::Deserialize)]
/// struct Host { broker: ConfigSection }
///
/// let host: Host = serde_json::from_str(r#"{"broker": {"url": "mq9://b", "ttl": -1, "colour": "red"}}"#)?;
/// let mut section = host.broker.named("broker");
/// assert_eq!(section.text("url")?.as_deref(), Some("mq9://b"));
/// let error = section.number("ttl", 1..=600).expect_err("too small");
/// assert_eq!(error.to_string(), "config: broker.ttl must be a whole number, 1 to 600");
/// let error = section.end().expect_err("nobody asked for a colour");
/// assert_eq!(error.to_string(), "config: broker.colour is not known");
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Default)]
pub struct ConfigSection {
    path: String,
    members: Map<String, Value>,
}

impl ConfigSection {
    /// Says what the section is called: its errors' paths begin so.
    pub fn named(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Whether nothing is set below it that was not read yet.
    pub fn is_empty(&self) -> bool {
        self.members.values().all(Value::is_null)
    }

    /// The text under `key`, without blanks at its ends.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path, for what is no text, is blank, or has a control character.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        let Some(text) = self.prose(key)? else { return Ok(None) };
        match text.chars().any(char::is_control) {
            true => Err(self.fault(key, "must not have control characters")),
            false => Ok(Some(text)),
        }
    }

    /// The same, of as many lines as it likes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path, for what is no text or is blank.
    pub fn prose(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key).map(|value| text(&self.path_of(key), &value)).transpose().map(Option::flatten)
    }

    /// What `make` makes of the text under `key`. Its errors become part of one that names the path: they must
    /// not repeat the value, as no error of this project does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path.
    pub fn with<T>(&mut self, key: &str, make: impl FnOnce(String) -> Result<T>) -> Result<Option<T>> {
        let text = self.text(key)?;
        let named = |error: Error| self.fault(key, &format!("cannot be used: {error}")).with_source(error);
        text.map(|text| make(text).map_err(named)).transpose()
    }

    /// The whole number under `key`, within `range`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path and the range.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_u64().filter(|number| range.contains(number));
        let what = || format!("must be a whole number, {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| self.fault(key, &what()))
    }

    /// Whether `key` says yes or no.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path, for anything but `true` and `false`.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.fault(key, "must be true or false"))
    }

    /// The list of texts under `key`, of any number of lines each.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path and the place in the list, for what is no text or has none.
    pub fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        let read = |(path, value): (String, Value)| {
            text(&path, &value)?.ok_or_else(|| fault(&path, "must be a text"))
        };
        self.list(key)?.map(|list| list.into_iter().map(read).collect()).transpose()
    }

    /// The section under `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path, for what is no section.
    pub fn section(&mut self, key: &str) -> Result<Option<Self>> {
        self.take(key).map(|value| below(self.path_of(key), value)).transpose()
    }

    /// The list of sections under `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path and the place in the list, for what is no section.
    pub fn sections(&mut self, key: &str) -> Result<Option<Vec<Self>>> {
        let read = |(path, value)| below(path, value);
        self.list(key)?.map(|list| list.into_iter().map(read).collect()).transpose()
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the first key that is set and that nobody asked for.
    pub fn end(self) -> Result<()> {
        match self.members.iter().find(|(_, value)| !value.is_null()) {
            Some((key, _)) => Err(self.fault(key, "is not known")),
            None => Ok(()),
        }
    }

    /// The error for `key`, of which `what` is wrong: "must be shorter". For rules among several keys.
    pub fn fault(&self, key: &str, what: &str) -> Error {
        fault(&self.path_of(key), what)
    }

    /// Where `key` is: `mq9.broker`.
    pub fn path_of(&self, key: &str) -> String {
        // A key is the host's text: what has blanks or controls in it would break a line of an error.
        let key: String = key.chars().filter(|c| !c.is_control()).take(LONGEST_KEY).collect();
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.members.remove(key).filter(|value| !value.is_null())
    }

    fn list(&mut self, key: &str) -> Result<Option<Vec<(String, Value)>>> {
        let path = self.path_of(key);
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                let placed = values.into_iter().enumerate();
                Ok(Some(placed.map(|(at, value)| (format!("{path}[{at}]"), value)).collect()))
            }
            Some(_) => Err(fault(&path, "must be a list")),
        }
    }
}

impl<'de> Deserialize<'de> for ConfigSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        // Anything first, so that the error for a section that is none is ours: a reader's shows the value.
        let value = Value::deserialize(deserializer)?;
        below(String::new(), value).map_err(|_| D::Error::custom("a section of keys and values is expected"))
    }
}

impl fmt::Debug for ConfigSection {
    /// No values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.members.keys().collect();
        f.debug_struct("ConfigSection").field("path", &self.path).field("keys", &keys).finish()
    }
}

/// Nothing is an empty section: `mq9:` with all of its keys commented out.
fn below(path: String, value: Value) -> Result<ConfigSection> {
    match value {
        Value::Object(members) => Ok(ConfigSection { path, members }),
        Value::Null => Ok(ConfigSection { path, members: Map::new() }),
        _ => Err(fault(&path, "must be a section of keys and values")),
    }
}

fn text(path: &str, value: &Value) -> Result<Option<String>> {
    match value {
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => match text.trim() {
            "" => Err(fault(path, "is blank: leave it out, or give it a value")),
            text => Ok(Some(text.to_owned())),
        },
        _ => Err(fault(path, "must be a text: put it between quotation marks")),
    }
}

fn fault(path: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, "config", format!("{path} {what}"))
}

const LONGEST_KEY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> ConfigSection {
        serde_json::from_str::<ConfigSection>(text).expect(text).named("x")
    }

    #[test]
    fn what_is_not_set_or_empty_or_null_is_nothing() {
        let mut section = section(r#"{"empty": "", "null": null}"#);
        for key in ["empty", "null", "missing"] {
            assert_eq!(section.text(key).expect("fine"), None, "{key}");
        }
        assert_eq!(section.number("missing", 0..=1).expect("fine"), None);
        assert_eq!(section.flag("missing").expect("fine"), None);
        assert_eq!(section.texts("missing").expect("fine"), None);
        assert!(section.sections("missing").expect("fine").is_none());
        assert!(section.with("missing", |_| -> Result<()> { panic!("asked") }).expect("fine").is_none());
        assert!(section.is_empty() && section.end().is_ok());
        let nothing: ConfigSection = serde_json::from_str("null").expect("an empty section");
        assert!(nothing.is_empty() && nothing.end().is_ok());
    }

    #[test]
    fn what_is_set_is_read_at_any_depth() {
        let mut whole = section(
            r#"{"a": " b ", "n": 7, "yes": true, "lines": "l\nm", "list": ["p", "q"], "in": {"c": "d"}, "all": [{"e": 1}, {}]}"#,
        );
        assert!(!whole.is_empty());
        assert_eq!(whole.text("a").expect("fine").as_deref(), Some("b"));
        assert_eq!(whole.prose("lines").expect("fine").as_deref(), Some("l\nm"));
        assert_eq!(whole.number("n", 7..=7).expect("fine"), Some(7));
        assert_eq!(whole.flag("yes").expect("fine"), Some(true));
        assert_eq!(whole.texts("list").expect("fine"), Some(vec!["p".to_owned(), "q".to_owned()]));
        let mut below = whole.section("in").expect("fine").expect("set");
        assert_eq!(below.with("c", Ok).expect("fine").as_deref(), Some("d"));
        assert_eq!(whole.sections("all").expect("fine").expect("set").len(), 2);
        whole.end().expect("everything was asked for");
    }

    #[test]
    fn each_bad_value_is_named_by_its_path_and_none_is_shown() {
        let inner = |_| -> Result<()> { Err(Error::new(ErrorKind::Invalid, "key", "too short")) };
        let mut whole = section(
            r#"{"number": 4711, "blank": "  ", "lines": "SEC\nRET", "text": "SECRET", "texts": ["a", 4711, ""],
                "in": {"b": {"c": ["SECRET"]}}, "list": [{}, "SECRET"], "negative": -4711, "left over": "SECRET"}"#,
        );
        let mut inside = whole.section("in").expect("fine").expect("set");
        let mut deeper = inside.section("b").expect("fine").expect("set");
        for (error, says) in [
            (whole.clone().text("number").map(drop), "x.number must be a text"),
            (whole.text("blank").map(drop), "x.blank is blank"),
            (whole.text("lines").map(drop), "x.lines must not have control characters"),
            (whole.clone().flag("text").map(drop), "x.text must be true or false"),
            (whole.clone().section("text").map(drop), "x.text must be a section"),
            (whole.clone().texts("text").map(drop), "x.text must be a list"),
            (whole.clone().number("text", 1..=2).map(drop), "x.text must be a whole number, 1 to 2"),
            (whole.number("number", 1..=2).map(drop), "x.number must be a whole number, 1 to 2"),
            (whole.number("negative", 1..=2).map(drop), "x.negative must be a whole number, 1 to 2"),
            (whole.with("text", inner).map(drop), "x.text cannot be used: key: too short"),
            (whole.texts("texts").map(drop), "x.texts[1] must be a text"),
            (whole.sections("list").map(drop), "x.list[1] must be a section"),
            (deeper.section("c").map(drop), "x.in.b.c must be a section"),
            (whole.end(), "x.left over is not known"),
        ] {
            let error = error.expect_err(says);
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(says) && !shown.contains("SECRET") && !shown.contains("4711"), "{shown}");
        }
        let shown = format!("{:?}", section(r#"{"key": "SECRET"}"#));
        assert!(shown.contains("key") && !shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn what_is_no_section_is_refused_and_not_shown() {
        for text in [r#""SECRET""#, r#"["SECRET"]"#, "4711", "true"] {
            let error = serde_json::from_str::<ConfigSection>(text).expect_err(text).to_string();
            assert!(error.contains("a section of keys and values"), "{error}");
            assert!(!error.contains("SECRET") && !error.contains("4711"), "{error}");
        }
    }
}
