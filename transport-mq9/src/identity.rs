//! The inbox an agent comes back to.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agentchat_core::{Error, ErrorKind, Result};
use mq9_client::MailAddress;

use crate::map_error;

/// Where an agent's inbox name comes from.
#[derive(Clone)]
pub(crate) enum Identity {
    /// Told by the configuration.
    Named(String),
    /// Unguessable, new for each connector.
    Generated { prefix: String },
    /// Unguessable, made at the first start and read from this file at every later one.
    Kept { prefix: String, path: PathBuf },
}

impl Identity {
    pub(crate) fn resolve(&self) -> Result<MailAddress> {
        match self {
            Self::Named(name) => MailAddress::new(name),
            Self::Generated { prefix } => MailAddress::generate(prefix),
            Self::Kept { prefix, path } => return kept(prefix, path),
        }
        .map_err(|cause| map_error::error("inbox", cause))
    }
}

fn kept(prefix: &str, path: &Path) -> Result<MailAddress> {
    let config = |what: &str, cause: io::Error| {
        let message = format!("the identity file {} {what}: {cause}", path.display());
        Error::new(ErrorKind::Config, "inbox", message).with_source(cause)
    };
    match fs::read_to_string(path) {
        Ok(text) => MailAddress::new(text.trim()).map_err(|cause| {
            let message = format!("the identity file {} holds no mailbox name", path.display());
            Error::new(ErrorKind::Config, "inbox", message).with_source(cause)
        }),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let address = MailAddress::generate(prefix).map_err(|cause| map_error::error("inbox", cause))?;
            match create(path, &address) {
                Ok(()) => Ok(address),
                // Another process of the same agent was first: its inbox is the agent's.
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => kept(prefix, path),
                Err(cause) => Err(config("cannot be written", cause)),
            }
        }
        Err(cause) => Err(config("cannot be read", cause)),
    }
}

/// Writes the whole file or nothing, readable by its owner alone: the name is the inbox's only guard.
fn create(path: &Path, address: &MailAddress) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    writeln!(file, "{address}")?;
    file.sync_all()?;
    // A link, unlike a rename, does not replace what another process has written meanwhile.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("transport-mq9-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_kept_identity_is_the_same_at_every_start() {
        let path = scratch("kept");
        let identity = Identity::Kept { prefix: "coder".into(), path: path.clone() };
        let first = identity.resolve().expect("made");
        assert_eq!(identity.resolve().expect("read"), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600);
        }
        fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_damaged_identity_file_is_an_error_that_names_it_and_not_a_new_identity() {
        let path = scratch("damaged");
        fs::write(&path, "Not A Mailbox").expect("written");
        let identity = Identity::Kept { prefix: "coder".into(), path: path.clone() };
        let error = identity.resolve().expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("holds no mailbox name"), "{error}");
        fs::remove_file(path).expect("removed");
    }

    #[test]
    fn generated_inboxes_differ() {
        let identity = Identity::Generated { prefix: "a".into() };
        assert_ne!(identity.resolve().expect("made"), identity.resolve().expect("made"));
    }
}
