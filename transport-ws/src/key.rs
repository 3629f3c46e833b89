//! The API key: it opens the account, so it cannot print.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
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

    /// Reads a key from a file that holds it and nothing else but blanks around it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read, and as [`ApiKey::new`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| {
            Error::new(ErrorKind::Config, "api key", "the key file cannot be read").with_source(error)
        })?;
        Self::new(text.trim())
    }

    /// Writes the key to a new file, on Unix one that only its owner can read (mode 0600). It is on the disk
    /// when this returns: a key is told once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file is there already or cannot be written.
    pub fn to_new_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let written = new_private_file(path.as_ref()).and_then(|mut file| {
            file.write_all(self.expose().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(|error| {
            Error::new(ErrorKind::Config, "api key", "the key file cannot be written").with_source(error)
        })
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

fn new_private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

const SHORTEST: usize = 20;
/// Longer ones would not fit into the header block that servers accept.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_a_key_for_its_owner_and_is_never_replaced() {
        let path = std::env::temp_dir().join(format!("agentchat-key-{}", uuid::Uuid::new_v4()));
        let key = ApiKey::new("ac_0123456789abcdefghij").expect("valid");
        key.to_new_file(&path).expect("written");
        assert_eq!(ApiKey::from_file(&path).expect("read"), key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        let again = ApiKey::new("ac_another_0123456789").expect("valid").to_new_file(&path);
        assert_eq!(again.expect_err("it is there").kind(), ErrorKind::Config);
        assert_eq!(ApiKey::from_file(&path).expect("read"), key);
        fs::remove_file(&path).expect("removed");
        assert_eq!(ApiKey::from_file(&path).expect_err("gone").kind(), ErrorKind::Config);
    }

    #[test]
    fn the_memory_of_a_key_is_wiped_with_its_last_clone() {
        fn wiped_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let key = ApiKey::new(KEY).expect("valid");
        let clone = key.clone();
        // What wipes itself is shared: no clone leaves a copy behind.
        wiped_on_drop(&*key.0);
        assert!(Arc::ptr_eq(&key.0, &clone.0));
        assert!(std::ptr::eq(key.expose(), clone.expose()));
        drop(key);
        assert_eq!(clone.expose(), KEY, "it is still needed");
    }

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
