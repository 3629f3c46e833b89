//! Reading a file, and replacing it as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::conflict;
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::id::ClientMsgId;

/// What is in the file: `None` without one.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |error| failure(path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        let what = format!("{} has more than 16 MiB", path.display());
        return Err(Error::new(ErrorKind::TooLarge, "anchor", what));
    }
    Ok(Some(text))
}

/// Puts `after` in the place of `before`, if that is still what is there. The new file is written beside the
/// old one, brought to the disk, and then takes its name.
pub(super) fn replace(path: &Path, before: Option<&[u8]>, after: &[u8]) -> Result<()> {
    let failed = |error| failure(path, error);
    // The file behind a link is replaced, not the link.
    let target = if before.is_some() { path.canonicalize().map_err(failed)? } else { path.to_owned() };
    let draft = Draft::beside(&target).map_err(failed)?;
    draft.write(&target, before.is_some(), after).map_err(failed)?;
    if read(path)?.as_deref() != before {
        let changed = format!("somebody else changed {} at the same time", path.display());
        return Err(conflict(&changed).with_advice(Advice::Backoff));
    }
    draft.become_file(&target).map_err(failed)
}

/// A file on its way to take another's place. It is gone when this is dropped before that.
struct Draft {
    path: PathBuf,
    file: File,
    named: bool,
}

impl Draft {
    fn beside(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let path = folder(target).join(format!(".{name}.{}.tmp", ClientMsgId::random()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file, named: false })
    }

    fn write(&self, target: &Path, replaces: bool, text: &[u8]) -> io::Result<()> {
        if replaces {
            keep_owner_and_mode(target, &self.file)?;
        }
        (&self.file).write_all(text)?;
        self.file.sync_all()
    }

    fn become_file(mut self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)?;
        self.named = true;
        if cfg!(unix) {
            File::open(folder(target))?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.named {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The mode is kept. The owner too, as far as this process may give a file away.
fn keep_owner_and_mode(target: &Path, draft: &File) -> io::Result<()> {
    let old = std::fs::metadata(target)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let new = draft.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            let _ = std::os::unix::fs::fchown(draft, Some(old.uid()), Some(old.gid()));
        }
    }
    draft.set_permissions(old.permissions())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failure(path: &Path, error: io::Error) -> Error {
    let what = format!("{} cannot be read or written: {error}", path.display());
    Error::new(ErrorKind::Config, "anchor", what).with_source(error)
}

/// No prompt is longer; a file that is has been named by mistake.
const LARGEST: u64 = 16 * 1024 * 1024;
