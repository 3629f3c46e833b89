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
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let generate =
                |prefix| MailAddress::generate(prefix).map_err(|cause| map_error::error("inbox", cause));
            let address = generate(prefix)?;
            match create(path, &address, generate("draft")?.as_str()) {
                Ok(()) => return Ok(address),
                // Another start of the same agent was first: its inbox is the agent's.
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(config("cannot be written", cause)),
            }
        }
        Err(cause) => return Err(config("cannot be read", cause)),
        Ok(_) => {}
    }
    let text = fs::read_to_string(path).map_err(|cause| config("cannot be read", cause))?;
    MailAddress::new(text.trim()).map_err(|cause| {
        let message = format!("the identity file {} holds no mailbox name", path.display());
        Error::new(ErrorKind::Config, "inbox", message).with_source(cause)
    })
}

/// Writes the whole file or nothing, readable by its owner alone: the name is the inbox's only guard.
/// `suffix` is this draft's alone: two starts in one process must not write into one draft.
fn create(path: &Path, address: &MailAddress, suffix: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{suffix}"));
    let draft = PathBuf::from(draft);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    let written = writeln!(file, "{address}").and_then(|()| file.sync_all());
    // A link, unlike a rename, does not replace what another process has written meanwhile.
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    linked.and(removed)
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
    fn agents_that_start_at_the_same_moment_agree_on_the_kept_inbox() {
        for round in 0..50 {
            let path = scratch(&format!("race-{round}"));
            let identity = Identity::Kept { prefix: "coder".into(), path: path.clone() };
            let gate = std::sync::Barrier::new(4);
            let resolve = || {
                gate.wait();
                identity.resolve()
            };
            let found: Vec<_> = std::thread::scope(|scope| {
                let starting: Vec<_> = (0..4).map(|_| scope.spawn(resolve)).collect();
                starting.into_iter().map(|agent| agent.join().expect("no panic")).collect()
            });
            for inbox in found {
                assert_eq!(inbox.expect("resolved"), identity.resolve().expect("read"), "round {round}");
            }
            fs::remove_file(path).expect("removed");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_an_error_and_leaves_no_draft_behind() {
        let directory = scratch("dangling");
        fs::create_dir_all(&directory).expect("made");
        let path = directory.join("inbox");
        std::os::unix::fs::symlink(directory.join("missing"), &path).expect("linked");
        let identity = Identity::Kept { prefix: "coder".into(), path };
        assert_eq!(identity.resolve().expect_err("nothing to read").kind(), ErrorKind::Config);
        assert_eq!(fs::read_dir(&directory).expect("listed").count(), 1, "the link alone");
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn generated_inboxes_differ() {
        let identity = Identity::Generated { prefix: "a".into() };
        assert_ne!(identity.resolve().expect("made"), identity.resolve().expect("made"));
    }
}
