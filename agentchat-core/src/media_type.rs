//! What the bytes of a body are.

use std::fmt;
use std::ops::Deref;

use crate::text::Text;

/// A media type such as `application/json`, as it was given. It reads as a `str`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Text);

impl MediaType {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.0.as_bytes().len()
    }
}

impl Deref for MediaType {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for MediaType {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&String> for MediaType {
    fn from(text: &String) -> Self {
        Self(text.as_str().into())
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        Self(text.as_str().into())
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str().to_owned()
    }
}

impl PartialEq<str> for MediaType {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for MediaType {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
