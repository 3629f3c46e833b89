//! Credentials that cannot print.

use std::fmt;

/// Text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// How the client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    User { user: String, password: Secret },
    Token(Secret),
    File(std::path::PathBuf),
    NkeySeed(Secret),
}

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
