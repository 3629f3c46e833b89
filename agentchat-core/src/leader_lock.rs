//! One leader among the processes of one account: a lock on a file, which the kernel gives back.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Advice, Error, ErrorKind, Reached, Result};

/// The right to lead among all processes that use the same file. At most one holds it at a time. It is given
/// back when this is dropped, or when the process dies, however it dies.
///
/// The lock is the operating system's own, on the whole file, and is tied to this open file: a second try in
/// the same process is refused too, and a child process does not inherit it. The file is created for its
/// owner alone (mode 0600 on Unix), stays empty, and is never deleted: a lock on a file that others can
/// replace would have two holders. On a network file system it is worth what that file system's locks are.
#[must_use = "dropping it gives the lock back"]
pub struct LeaderLock {
    path: PathBuf,
    /// Closing it gives the lock back.
    _file: File,
}

/// How the lock stands, as somebody sees it who does not want it.
///
/// `Display` is `held`, `free`, `not present`, or `unknown: ` and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockState {
    /// Somebody leads.
    Held,
    /// Nobody leads.
    Free,
    /// There is no such file: nobody has led yet.
    Absent,
    /// It cannot be told, for this reason.
    Unknown(String),
}

impl LeaderLock {
    /// Tries to lead, without waiting for anybody: `None` when somebody else does. The folder must exist;
    /// the file is created when it does not, and is its owner's alone afterwards (mode 0600 on Unix) whatever
    /// its mode was. It blocks for as long as opening a file does, and where the lock is taken for 7 ms more: it
    /// may only have been looked at.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be opened or created, or lies where files cannot be locked.
    pub fn try_acquire(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        let failed = |error| failure(path, error);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ALONE);
        let file = options.open(path).map_err(failed)?;
        #[cfg(unix)]
        keep_to_owner(&file).map_err(failed)?;
        let taken = lock(&file, std::thread::sleep).map_err(failed)?;
        Ok(taken.then(|| Self { path: path.to_owned(), _file: file }))
    }

    /// Waits until this process leads: tries about each second, at random moments, so that processes that
    /// wait for the same file do not try in step. It waits for as long as somebody else leads; bound it from
    /// outside. Dropping the future gives the place up, and the lock back if it was just had. Who has waited
    /// longest has no precedence. It needs a tokio runtime with its timers on.
    ///
    /// # Errors
    /// As [`LeaderLock::try_acquire`], of the first try that fails so.
    pub async fn acquire(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        loop {
            let trying = path.clone();
            // The result of a try that nobody waits for any more is dropped, and with it the lock.
            let tried = tokio::task::spawn_blocking(move || Self::try_acquire(trying)).await;
            let died = |_| Error::new(ErrorKind::Closed, "leader lock", "the runtime is being shut down");
            if let Some(lock) = tried.map_err(died)?? {
                return Ok(lock);
            }
            tokio::time::sleep(POLL.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// How the lock at `path` stands. Nothing is created, and nothing waits. To look takes a shared lock for
    /// a moment: lookers do not disturb each other, and a try to lead outlasts that moment.
    pub fn probe(path: impl AsRef<Path>) -> LockState {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return LockState::Absent,
            Err(error) => return LockState::Unknown(error.to_string()),
        };
        match file.try_lock_shared() {
            Ok(()) => LockState::Free,
            Err(TryLockError::WouldBlock) => LockState::Held,
            Err(TryLockError::Error(error)) => LockState::Unknown(error.to_string()),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for LeaderLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderLock").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Display for LockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::Free => f.write_str("free"),
            Self::Absent => f.write_str("not present"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Whether the lock could be had. Who finds it taken tries again after each of [`LOOKS`].
fn lock(file: &File, mut pause: impl FnMut(Duration)) -> io::Result<bool> {
    let mut pauses = LOOKS.into_iter();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => match pauses.next() {
                Some(length) => pause(length),
                None => return Ok(false),
            },
        }
    }
}

/// A file that was there before may have been made by others, for others too. Whoever does not own it cannot
/// change that, and may use it all the same.
#[cfg(unix)]
fn keep_to_owner(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o777 == OWNER_ALONE {
        return Ok(());
    }
    permissions.set_mode(OWNER_ALONE);
    match file.set_permissions(permissions) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

fn failure(path: &Path, error: io::Error) -> Error {
    let what = format!("the lock file {} cannot be used: {error}", path.display());
    Error::new(ErrorKind::Config, "leader lock", what)
        .with_advice(Advice::Never)
        .with_reached(Reached::No)
        .with_source(error)
}

/// About how often the lock is tried: three quarters to five quarters of it.
const POLL: Duration = Duration::from_secs(1);
/// The pauses between tries that find the lock taken: longer than anybody looks at it.
const LOOKS: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(2), Duration::from_millis(4)];
#[cfg(unix)]
const OWNER_ALONE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClientMsgId;

    fn place() -> PathBuf {
        std::env::temp_dir().join(format!("leader-{}.lock", ClientMsgId::random()))
    }

    #[test]
    fn one_leads_until_the_guard_is_dropped_and_the_file_stays() {
        let path = place();
        assert_eq!(LeaderLock::probe(&path), LockState::Absent);
        let lock = LeaderLock::try_acquire(&path).expect("usable").expect("free");
        assert_eq!(lock.path(), path);
        assert!(LeaderLock::try_acquire(&path).expect("usable").is_none(), "two leaders");
        assert_eq!(LeaderLock::probe(&path), LockState::Held);
        drop(lock);
        assert_eq!(LeaderLock::probe(&path), LockState::Free);
        assert_eq!(std::fs::metadata(&path).expect("it stays").len(), 0);
        assert!(LeaderLock::try_acquire(&path).expect("usable").is_some());
        std::fs::remove_file(&path).expect("removed");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone_and_what_it_held_is_left_in_it() {
        use std::os::unix::fs::PermissionsExt;
        let path = place();
        drop(LeaderLock::try_acquire(&path).expect("usable"));
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "a note").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("opened to others");
        drop(LeaderLock::try_acquire(&path).expect("usable"));
        assert_eq!(std::fs::read(&path).expect("read"), b"a note");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a file that was there keeps its mode");
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn what_cannot_be_locked_is_an_error_that_names_the_file_and_unknown_to_a_looker() {
        let folder = std::env::temp_dir();
        let error = LeaderLock::try_acquire(&folder).expect_err("a folder");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
        let missing = folder.join("no such folder").join("lock");
        assert!(LeaderLock::try_acquire(&missing).is_err());
        assert_eq!(LeaderLock::probe(&missing), LockState::Absent);
        #[cfg(unix)]
        {
            let file = place();
            std::fs::write(&file, "").expect("written");
            let below = file.join("lock");
            assert!(matches!(LeaderLock::probe(&below), LockState::Unknown(why) if !why.is_empty()));
            std::fs::remove_file(&file).expect("removed");
        }
    }

    #[test]
    fn who_only_looks_makes_no_follower_and_a_leader_is_not_waited_for() {
        let path = place();
        drop(LeaderLock::try_acquire(&path).expect("usable"));
        let look = || {
            let file = File::open(&path).expect("there");
            file.try_lock_shared().expect("free");
            file
        };
        let file = OpenOptions::new().write(true).open(&path).expect("there");
        let mut looking = Some(look());
        assert!(lock(&file, |_| looking = None).expect("usable"), "a look made a follower");
        drop(file);
        let (_leading, mut paused) = (look(), Vec::new());
        let file = OpenOptions::new().write(true).open(&path).expect("there");
        assert!(!lock(&file, |length| paused.push(length)).expect("usable"));
        assert_eq!(paused, LOOKS);
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn states_print_as_an_operator_reads_them() {
        let states = [LockState::Held, LockState::Free, LockState::Absent, LockState::Unknown("x".into())];
        assert_eq!(states.map(|state| state.to_string()), ["held", "free", "not present", "unknown: x"]);
    }

    #[tokio::test]
    async fn who_waits_leads_once_the_leader_lets_go_and_who_gave_up_does_not() {
        let path = place();
        let lock = LeaderLock::try_acquire(&path).expect("usable").expect("free");
        let given_up = tokio::time::timeout(Duration::from_millis(20), LeaderLock::acquire(&path)).await;
        assert!(given_up.is_err(), "it led beside the leader");
        let waiting = tokio::spawn(LeaderLock::acquire(path.clone()));
        tokio::task::yield_now().await;
        drop(lock);
        let lock = waiting.await.expect("no panic").expect("led");
        assert_eq!(LeaderLock::probe(&path), LockState::Held);
        drop(lock);
        assert_eq!(LeaderLock::probe(&path), LockState::Free);
        std::fs::remove_file(&path).expect("removed");
    }
}
