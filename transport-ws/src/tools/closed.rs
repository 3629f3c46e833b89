//! Threads that are closed for oneself: what is remembered, and where.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use agentchat_core::{ClientMsgId, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::wire::minute;

/// Threads that an agent has closed for itself: it wants to hear no more of them, and the server does not
/// know. Kept in a file, or in memory. At most 10,000; closing another forgets the one closed longest ago.
///
/// A file is read anew each time, so that processes which share it see each other's changes; it is written
/// beside its place and then moved there, for its owner alone (mode 600). Of two processes that change it in
/// the same moment, one change may be lost. Calls read and write in place: they block for as long as a small
/// file takes. Clones share what they know.
#[derive(Clone)]
pub struct LocalThreads(Arc<Kept>);

struct Kept {
    file: Option<PathBuf>,
    /// What is known, where there is no file; and one change at a time, where there is.
    known: Mutex<Vec<ClosedThread>>,
}

/// A thread that is closed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClosedThread {
    /// Its conversation.
    pub conversation_id: String,
    /// Since when: ISO 8601, in Greenwich.
    pub closed_at: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    closed_threads: Vec<ClosedThread>,
}

impl LocalThreads {
    /// Remembered for as long as the process lives.
    pub fn in_memory() -> Self {
        Self(Arc::new(Kept { file: None, known: Mutex::default() }))
    }

    /// Remembered in the file at `path`, which need not be there yet; its folder must.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a file that cannot be read, or holds something else.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let threads = Self(Arc::new(Kept { file: Some(path.into()), known: Mutex::default() }));
        threads.list()?;
        Ok(threads)
    }

    /// Closes a thread. Closing it again changes when and why.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read or written.
    pub fn close(&self, conversation_id: &str, reason: Option<&str>) -> Result<ClosedThread> {
        let thread = ClosedThread {
            conversation_id: conversation_id.to_owned(),
            closed_at: second(SystemTime::now()),
            reason: reason.map(str::to_owned),
        };
        self.change(|threads| {
            threads.retain(|it| it.conversation_id != conversation_id);
            threads.push(thread.clone());
            threads.drain(..threads.len().saturating_sub(MOST));
        })?;
        Ok(thread)
    }

    /// Opens a thread again. Returns whether it was closed.
    ///
    /// # Errors
    /// As [`LocalThreads::close`].
    pub fn reopen(&self, conversation_id: &str) -> Result<bool> {
        let mut known = self.lock();
        let mut threads = self.read(&known)?;
        let before = threads.len();
        threads.retain(|it| it.conversation_id != conversation_id);
        let was_closed = threads.len() < before;
        if was_closed {
            self.write(&mut known, threads)?;
        }
        Ok(was_closed)
    }

    /// Whether a thread is closed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read.
    pub fn is_closed(&self, conversation_id: &str) -> Result<bool> {
        Ok(self.read(&self.lock())?.iter().any(|it| it.conversation_id == conversation_id))
    }

    /// The closed threads, the one closed last first.
    ///
    /// # Errors
    /// As [`LocalThreads::is_closed`].
    pub fn list(&self) -> Result<Vec<ClosedThread>> {
        let mut threads = self.read(&self.lock())?;
        threads.reverse();
        Ok(threads)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<ClosedThread>)) -> Result<()> {
        let mut known = self.lock();
        let mut threads = self.read(&known)?;
        change(&mut threads);
        self.write(&mut known, threads)
    }

    /// In the order in which they were closed.
    fn read(&self, known: &[ClosedThread]) -> Result<Vec<ClosedThread>> {
        let Some(path) = &self.0.file else { return Ok(known.to_vec()) };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failure("cannot be read", error)),
        };
        let page: Page = serde_json::from_slice(&text)
            .map_err(|_| failure("holds something else", io::ErrorKind::InvalidData.into()))?;
        Ok(page.closed_threads)
    }

    fn write(&self, known: &mut Vec<ClosedThread>, threads: Vec<ClosedThread>) -> Result<()> {
        match &self.0.file {
            None => *known = threads,
            Some(path) => {
                let page = Page { closed_threads: threads };
                replace(path, &page).map_err(|error| failure("cannot be written", error))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ClosedThread>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LocalThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalThreads").field("in_memory", &self.0.file.is_none()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClosedThread {
    /// Not the reason: it may quote messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosedThread").field("closed_at", &self.closed_at).finish_non_exhaustive()
    }
}

/// A reader finds the old file or the new one, never half of one.
fn replace(path: &Path, page: &Page) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", ClientMsgId::random()));
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let text = serde_json::to_vec_pretty(page)?;
    let written = options
        .open(&new)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// `2026-11-21T19:12:33Z`
fn second(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{}:{:02}Z", minute(at).replace(' ', "T"), seconds % 60)
}

/// The path is the operator's, and no matter of the model that reads this.
fn failure(what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Config, "closed threads", format!("the file of closed threads {what}"))
        .with_source(error)
}

const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("closed-threads-{}", ClientMsgId::random()));
            fs::create_dir(&path).expect("a folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ids(threads: &LocalThreads) -> Vec<String> {
        threads.list().expect("read").into_iter().map(|it| it.conversation_id).collect()
    }

    fn closes_and_opens(threads: &LocalThreads, same: &LocalThreads) {
        for id in ["conv_1", "conv_2", "conv_1"] {
            threads.close(id, Some("done")).expect("closed");
        }
        assert_eq!(ids(same), ["conv_1", "conv_2"], "the newest is not first, or one is there twice");
        assert!(same.is_closed("conv_2").expect("read") && !same.is_closed("conv_3").expect("read"));
        assert!(threads.reopen("conv_2").expect("opened") && !threads.reopen("conv_2").expect("open"));
        assert_eq!(ids(same), ["conv_1"]);
        assert_eq!(same.list().expect("read")[0].reason.as_deref(), Some("done"));
    }

    #[test]
    fn in_memory_clones_know_the_same() {
        let threads = LocalThreads::in_memory();
        closes_and_opens(&threads, &threads.clone());
    }

    #[test]
    fn in_a_file_others_know_it_too_and_nothing_lies_about() {
        let folder = Folder::new();
        let path = folder.0.join("closed.json");
        let open = || LocalThreads::at(&path).expect("no file yet, or a good one");
        closes_and_opens(&open(), &open());
        assert_eq!(fs::read_dir(&folder.0).expect("listed").count(), 1, "a draft was left behind");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_of_something_else_is_an_error_and_stays() {
        let folder = Folder::new();
        let path = folder.0.join("closed.json");
        let good = LocalThreads::at(&path).expect("none yet");
        fs::write(&path, r#"{"SECRET":1}"#).expect("written");
        for error in [LocalThreads::at(&path).expect_err("else"), good.close("c", None).expect_err("else")] {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("SECRET") && !error.to_string().contains("closed.json"));
        }
        assert_eq!(fs::read_to_string(&path).expect("there"), r#"{"SECRET":1}"#);
        let nowhere = LocalThreads::at(folder.0.join("no/folder")).expect("none yet");
        assert_eq!(nowhere.close("c", None).expect_err("no folder").kind(), ErrorKind::Config);
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let threads = LocalThreads::in_memory();
        let thread = |n: usize| ClosedThread {
            conversation_id: n.to_string(),
            closed_at: String::new(),
            reason: None,
        };
        *threads.lock() = (0..MOST).map(thread).collect();
        threads.close("new", None).expect("closed");
        let ids = ids(&threads);
        assert_eq!((ids.len(), ids[0].as_str(), ids[MOST - 1].as_str()), (MOST, "new", "1"));
    }

    #[test]
    fn a_moment_is_written_to_the_second() {
        let at = UNIX_EPOCH + Duration::from_millis(1_786_435_265_900);
        assert_eq!(second(at), "2026-08-11T08:01:05Z");
    }
}
