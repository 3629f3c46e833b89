//! What can go wrong below the traits, and how callers hear of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::limits::failure;
use super::record::Unreadable;
use crate::error::{Advice, Error, ErrorKind};

/// Why a piece of work did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The work itself was refused and changed nothing. It concerns its caller alone.
    Refused(Error),
    /// The file failed: so did everything in the same transaction.
    Failed(Failure),
}

/// A failure of the file, told to everyone it concerns.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: ErrorKind,
    advice: Advice,
    text: String,
    source: Option<Arc<redb::Error>>,
}

impl Failure {
    /// A failure that time does not mend.
    pub(super) fn lasting(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, advice: Advice::Never, text: text.into(), source: None }
    }

    /// The store was closed by its owner.
    pub(super) fn closed() -> Self {
        Self::lasting(ErrorKind::Closed, "the store is closed")
    }

    /// The error of `operation` on `file`.
    pub(super) fn of(&self, operation: &'static str, file: &Path) -> Error {
        let text = format!("{}: {}", file.display(), self.text);
        let error = failure(self.kind, operation, text).with_advice(self.advice);
        match &self.source {
            Some(source) => error.with_source(Arc::clone(source)),
            None => error,
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use redb::Error as Cause;
        let (kind, advice, text) = match &error {
            Cause::DatabaseAlreadyOpen | Cause::LockProtocolMismatch => {
                let text = "already open, in another process or in this one; a store has one owner";
                (ErrorKind::Conflict, Advice::Backoff, text.to_owned())
            }
            Cause::Io(cause) => explain(cause),
            Cause::Corrupted(_) => {
                (ErrorKind::Unexpected, Advice::Never, "damaged: it was changed from outside".to_owned())
            }
            Cause::UpgradeRequired(found) => {
                let text = format!("in the old database format {found}, which this version cannot read");
                (ErrorKind::Config, Advice::Never, text)
            }
            Cause::ValueTooLarge(size) => {
                let text = format!("cannot hold a record of {size} bytes");
                (ErrorKind::TooLarge, Advice::Never, text)
            }
            Cause::TableTypeMismatch { .. }
            | Cause::TableIsMultimap(_)
            | Cause::TypeDefinitionChanged { .. }
            | Cause::TableDoesNotExist(_) => {
                (ErrorKind::Config, Advice::Never, "a database, but not a store of this library".to_owned())
            }
            other => (ErrorKind::Unexpected, Advice::Backoff, format!("cannot be used for now: {other}")),
        };
        Self { kind, advice, text, source: Some(Arc::new(error)) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Unreadable> for Fault {
    fn from(Unreadable(part): Unreadable) -> Self {
        let text = format!("a record of the store cannot be read: {part} is wrong");
        Self::Refused(failure(ErrorKind::Unexpected, "store.read", text))
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

macro_rules! from_database {
    ($($error:ident)*) => {
        $(
            impl From<redb::$error> for Fault {
                fn from(error: redb::$error) -> Self {
                    Self::Failed(Failure::from(redb::Error::from(error)))
                }
            }

            impl From<redb::$error> for Failure {
                fn from(error: redb::$error) -> Self {
                    Self::from(redb::Error::from(error))
                }
            }
        )*
    };
}

from_database! { StorageError TableError TransactionError CommitError DatabaseError }

fn explain(cause: &io::Error) -> (ErrorKind, Advice, String) {
    use io::ErrorKind as Io;
    match cause.kind() {
        Io::InvalidData => {
            (ErrorKind::Config, Advice::Never, "not a store, or damaged at its beginning".to_owned())
        }
        Io::NotFound | Io::NotADirectory => {
            (ErrorKind::Config, Advice::Never, "its folder does not exist".to_owned())
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::IsADirectory => {
            (ErrorKind::Config, Advice::Never, format!("cannot be opened for writing: {cause}"))
        }
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            let text = format!("no room on the disk: {cause}; what was saved is kept");
            (ErrorKind::Unexpected, Advice::Backoff, text)
        }
        _ => {
            let text = format!("could not be read or written: {cause}; what was saved is kept");
            (ErrorKind::Unexpected, Advice::Backoff, text)
        }
    }
}
