//! The file: opening and creating it, its format, and opening it again after a failure.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend};

use super::fault::{Failure, Fault};
use super::tables;
use crate::error::ErrorKind;

/// The version of what lies in the file. Raise it with every change that an older version would misread.
pub(super) const FORMAT: u64 = 1;

/// Makes a database of an open file, so that tests can put a failing disk below it.
pub(super) type Make = Box<dyn Fn(File) -> Result<Database, DatabaseError> + Send + Sync>;

/// One store file. It blocks: use it where blocking is allowed.
pub(super) struct StoreFile {
    path: PathBuf,
    make: Make,
    state: RwLock<State>,
}

enum State {
    Open(Database),
    /// After a failed write the database refuses everything until it is opened again.
    Failed,
    Closed,
}

impl StoreFile {
    /// Opens the file at `path`, or creates it for its owner alone.
    pub(super) fn open(path: PathBuf, make: Make) -> Result<Self, Failure> {
        let database = open_database(&path, &make)?;
        Ok(Self { path, make, state: RwLock::new(State::Open(database)) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does `work` on the database, after opening it again if it failed before.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        self.revive()?;
        let outcome = match &*self.reading() {
            State::Open(database) => work(database),
            State::Failed => return Err(Failure::from(redb::Error::PreviousIo).into()),
            State::Closed => return Err(Failure::closed().into()),
        };
        if matches!(outcome, Err(Fault::Failed(_))) {
            let mut state = self.writing();
            if matches!(*state, State::Open(_)) {
                *state = State::Failed;
            }
        }
        outcome
    }

    /// Closes the file and releases it to others. What follows fails as closed.
    pub(super) fn close(&self) -> Result<(), Failure> {
        match std::mem::replace(&mut *self.writing(), State::Closed) {
            State::Open(database) => Ok(database.close()?),
            State::Failed | State::Closed => Ok(()),
        }
    }

    fn revive(&self) -> Result<(), Failure> {
        if matches!(*self.reading(), State::Failed) {
            let mut state = self.writing();
            if matches!(*state, State::Failed) {
                *state = State::Open(open_database(&self.path, &self.make)?);
            }
        }
        Ok(())
    }

    fn reading(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_database(path: &Path, make: &Make) -> Result<Database, Failure> {
    let database = make(open_file(path).map_err(redb::Error::Io)?)?;
    match format_of(&database)? {
        Some(FORMAT) => {}
        Some(found) => {
            let text = format!("in store format {found}; this version reads and writes format {FORMAT}");
            return Err(Failure::lasting(ErrorKind::Config, text));
        }
        None => {
            let transaction = database.begin_write()?;
            tables::create(&transaction, FORMAT)?;
            transaction.commit()?;
            sync_folder(path).map_err(redb::Error::Io)?;
        }
    }
    Ok(database)
}

/// The format, or `None` when the database is empty: its creation was cut short before the format.
fn format_of(database: &Database) -> Result<Option<u64>, Failure> {
    let transaction = database.begin_read()?;
    if transaction.list_tables()?.next().is_none() {
        return Ok(None);
    }
    let format = tables::format(&transaction)?;
    let foreign = || Failure::lasting(ErrorKind::Config, "a database, but not a store of this library");
    format.ok_or_else(foreign).map(Some)
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let mut creating = options.clone();
    creating.create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut creating, 0o600);
    match creating.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created_or_failed => return created_or_failed,
    }
    empty_if_unfinished(options.open(path)?)?;
    options.open(path)
}

/// Empties a file whose creation was cut short by a crash. The database writes its first bytes last, so
/// such a file begins with zeros, has a header at most, and holds no data; but as it is not empty, the
/// database would refuse it for ever. The lock is the database's own: whoever creates right now holds it.
fn empty_if_unfinished(file: File) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 || length > MAX_UNFINISHED {
        return Ok(());
    }
    let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
    let mut start = [0; 9];
    let readable = length >= start.len() as u64 && backend.read(0, &mut start).is_ok();
    if !readable || start != [0; 9] {
        return Ok(());
    }
    if !matches!(backend.try_lock_range(Bound::Unbounded, Bound::Unbounded), Ok(true)) {
        return Ok(());
    }
    let length = backend.len()?;
    let mut content = vec![0; usize::try_from(length.min(MAX_UNFINISHED)).unwrap_or(0)];
    backend.read(0, &mut content)?;
    let behind_header = content.get(MAX_HEADER..).unwrap_or_default();
    if content.starts_with(&[0; 9]) && behind_header.iter().all(|byte| *byte == 0) {
        backend.set_len(0)?;
    }
    backend.close()
}

/// Makes the new file's name as durable as its content.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The database's header takes less; everything behind it is zero until the first transaction.
const MAX_HEADER: usize = 4096;
/// A new database is about a megabyte; a larger file was not left by a creation.
const MAX_UNFINISHED: u64 = 16 * 1024 * 1024;
