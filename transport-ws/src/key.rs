//! The API key: it opens the account, so it cannot print.

use std::fmt;
use std::sync::Arc;

use agentchat_core::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

/// An agent's API key. Opaque: its prefix and length have changed before.
///
/// `Debug` and `Display` show `***`. The memory is overwritten when the last clone is dropped.
///
/// Nothing that this crate logs or answers has it, also not where a server says it back. What the WebSocket
/// library logs by itself at level `trace` are whole frames and upgrades, the key in them: leave its target
/// `tungstenite` at `debug` or above.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<Zeroizing<String>>);

impl ApiKey {
    /// Takes a key as the server gave it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] unless it has 20 to 4,096 visible ASCII characters: anything else is a key cut
    /// short, or one with a line break of the file it came from.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        let fault = |what: String| Err(Error::new(ErrorKind::Config, "api key", what));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fault("the API key has a character that is not visible ASCII".to_owned());
        }
        if !(SHORTEST..=LONGEST).contains(&text.len()) {
            return fault(format!(
                "the API key has {} characters; {SHORTEST} to {LONGEST} are expected",
                text.len()
            ));
        }
        Ok(Self(Arc::new(text)))
    }

    /// The key itself, for the wire.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const SHORTEST: usize = 20;
/// Longer ones would not fit into the header block that servers accept.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ac_0123456789abcdefghij";

    #[test]
    fn a_key_never_prints() {
        let key = ApiKey::new(KEY).expect("valid");
        let shown = format!("{key:?} {key} {:?}", Some(&key));
        assert!(shown.contains("***") && !shown.contains("0123"), "{shown}");
        assert_eq!(key.expose(), KEY);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_without_repeating_it() {
        for (text, reason) in [
            (String::new(), "0 characters"),
            ("ac_short".to_owned(), "8 characters"),
            (format!("{KEY}\n"), "visible ASCII"),
            (format!("{KEY} x"), "visible ASCII"),
            ("x".repeat(4097), "4097"),
        ] {
            let error = ApiKey::new(text.clone()).expect_err(&text);
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(reason) && !shown.contains("abcdefghij"), "{shown}");
        }
    }
}
