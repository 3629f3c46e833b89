//! One JSON value kept as the text its author wrote.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json::{self, Node, quote};
use crate::limits::Limits;

/// One JSON value as the text its author wrote: numbers, spacing and the order of members stay.
///
/// Cloning shares the text. It is stored as a JSON string, so that a store cannot rewrite it either. `Debug`
/// prints its length only.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Checks a text within the default [`Limits`]. White space around the value is left out.
    ///
    /// # Errors
    ///
    /// [`Error::NotJson`] for anything but one JSON value, [`Error::Limit`] for one too large or too deep.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let root = json::parse_body(text.as_ref().as_bytes(), &Limits::default())?;
        Ok(Self(root.raw().into()))
    }

    /// A JSON string that says `text`.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self(quote(text).into())
    }

    /// The value's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Text that is known to be JSON: made here, or part of a text that was checked.
    pub(crate) fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub(crate) fn of(node: Node<'_>) -> Self {
        Self(node.raw().into())
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes of JSON>", self.0.len())
    }
}

impl TryFrom<String> for JsonText {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<JsonText> for String {
    fn from(text: JsonText) -> Self {
        text.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_spelling_through_a_store() {
        let text = JsonText::new(" {\"z\": 1e400, \"a\":1.0}\n").unwrap();
        assert_eq!(text.as_str(), "{\"z\": 1e400, \"a\":1.0}");
        let stored = serde_json::to_string(&text).unwrap();
        assert_eq!(serde_json::from_str::<JsonText>(&stored).unwrap(), text);
    }

    #[test]
    fn what_is_not_one_value_is_refused_also_from_a_store() {
        for bad in ["", "{", "1 2", "{\"a\":}", "nul"] {
            assert!(JsonText::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<JsonText>(&quote(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_content() {
        assert_eq!(format!("{:?}", JsonText::string("secret")), "<8 bytes of JSON>");
    }
}
