//! A sign of life in a file, for doctors and supervisors on the same host.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::id::ClientMsgId;
use crate::transport::ConnectionState;

/// A file that is written anew every 30 seconds for as long as the process lives, and says how it stands.
/// [`Beacon::look`] reads it. An agent keeps one by [`AgentBuilder::beacon`](crate::agent::AgentBuilder::beacon).
///
/// The file is JSON, for its owner alone (mode 0600 on Unix), and is replaced as a whole, so that nobody reads
/// half of it. It holds a process id, two times and a word; no address and no key. One process writes one
/// file: of two, the last one wins. Dropping the beacon stops the writing and leaves the file to grow stale;
/// [`Beacon::put_out`] says that the process ended on purpose.
pub struct Beacon {
    writer: Arc<Writer>,
    task: JoinHandle<()>,
}

/// What a beacon says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BeaconState {
    /// It ended on purpose.
    Off,
    /// It lives and is not to be connected, as a follower is.
    Idle,
    /// It has not been connected yet.
    Starting,
    /// It is connected.
    Connected,
    /// It was connected and is not.
    Down,
    /// It lives, and its network does not tell more.
    Running,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

/// What somebody sees who looks at a beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeaconSight {
    /// There is no such file.
    Absent,
    /// There is one, and it is no beacon, for this reason.
    Unreadable(String),
    /// It was written less than three minutes ago.
    Fresh {
        /// The process.
        pid: u32,
        /// How it stands: one that is still starting after 90 seconds is shown as down.
        state: BeaconState,
        /// How long ago it was written.
        age: Duration,
    },
    /// Nobody has written it for three minutes or more, though its process did not end on purpose: it died,
    /// or hangs.
    Stale {
        /// The process.
        pid: u32,
        /// How long ago it was written.
        age: Duration,
    },
}

struct Writer {
    path: PathBuf,
    started: SystemTime,
    state: Box<dyn Fn() -> BeaconState + Send + Sync>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    pid: u32,
    state: BeaconState,
    started_ms: u64,
    written_ms: u64,
}

impl Beacon {
    /// Writes the file at once, and then every 30 seconds, asking `state` each time. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be written. A later failure is logged and tried again.
    pub fn light(
        path: impl Into<PathBuf>,
        state: impl Fn() -> BeaconState + Send + Sync + 'static,
    ) -> Result<Self> {
        let writer = Writer { path: path.into(), started: SystemTime::now(), state: Box::new(state) };
        let writer = Arc::new(writer);
        writer.write((writer.state)()).map_err(|error| writer.failure(error))?;
        let task = tokio::spawn(keep(Arc::clone(&writer)));
        Ok(Self { writer, task })
    }

    /// Stops, and writes that the process ended on purpose. Dropping the future stops it too, and may leave
    /// the file to grow stale.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be written.
    pub async fn put_out(mut self) -> Result<()> {
        self.task.abort();
        // What is being written must not replace the last word.
        let _ = (&mut self.task).await;
        let writer = Arc::clone(&self.writer);
        let written = tokio::task::spawn_blocking(move || writer.write(BeaconState::Off)).await;
        let died = |_| Error::new(ErrorKind::Closed, "beacon", "the runtime is being shut down");
        written.map_err(died)?.map_err(|error| self.writer.failure(error))
    }

    /// What the beacon at `path` says at `now`. Nothing is written, and nothing waits for longer than
    /// reading a small file does.
    pub fn look(path: impl AsRef<Path>, now: SystemTime) -> BeaconSight {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BeaconSight::Absent,
            Err(error) => return BeaconSight::Unreadable(error.to_string()),
        };
        let page: Page = match serde_json::from_slice(&text) {
            Ok(page) => page,
            Err(error) => return BeaconSight::Unreadable(error.to_string()),
        };
        // A clock that was set back makes it no older than new.
        let since = |ms: u64| now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let age = since(page.written_ms).unwrap_or_default();
        let late = since(page.started_ms).unwrap_or_default() >= GRACE;
        match page.state {
            BeaconState::Off => BeaconSight::Fresh { pid: page.pid, state: BeaconState::Off, age },
            _ if age >= STALE => BeaconSight::Stale { pid: page.pid, age },
            BeaconState::Starting if late => {
                BeaconSight::Fresh { pid: page.pid, state: BeaconState::Down, age }
            }
            state => BeaconSight::Fresh { pid: page.pid, state, age },
        }
    }
}

impl Writer {
    fn write(&self, state: BeaconState) -> std::io::Result<()> {
        let page = Page {
            pid: std::process::id(),
            state,
            started_ms: unix_ms(self.started),
            written_ms: unix_ms(SystemTime::now()),
        };
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", ClientMsgId::random()));
        let new = self.path.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options
            .open(&new)
            .and_then(|mut file| file.write_all(&serde_json::to_vec(&page)?))
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn failure(&self, error: std::io::Error) -> Error {
        let what = format!("the file {} cannot be written: {error}", self.path.display());
        Error::new(ErrorKind::Config, "beacon", what)
            .with_advice(Advice::Never)
            .with_reached(Reached::No)
            .with_source(error)
    }
}

impl BeaconState {
    /// What a connection means here: `was` is whether it has stood before.
    pub(crate) fn of(connection: ConnectionState, was: bool) -> Self {
        match connection {
            ConnectionState::Connected => Self::Connected,
            ConnectionState::Connecting if was => Self::Down,
            ConnectionState::Connecting => Self::Starting,
            ConnectionState::Closed => Self::Down,
            ConnectionState::Unknown => Self::Running,
        }
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Beacon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beacon").field("path", &self.writer.path).finish_non_exhaustive()
    }
}

impl fmt::Display for BeaconState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Connected => "connected",
            Self::Down => "down",
            Self::Running => "running",
            Self::Other => "unknown",
        })
    }
}

async fn keep(writer: Arc<Writer>) {
    let mut due = Instant::now();
    loop {
        due += EVERY;
        sleep_until(due).await;
        let writing = Arc::clone(&writer);
        let written = tokio::task::spawn_blocking(move || writing.write((writing.state)())).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(name: "beacon.failed", %error, "the sign of life could not be written");
        }
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How often it is written.
const EVERY: Duration = Duration::from_secs(30);
/// From which age on it is stale.
const STALE: Duration = Duration::from_secs(180);
/// How long a process may be starting.
const GRACE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    fn place() -> PathBuf {
        std::env::temp_dir().join(format!("beacon-{}.json", ClientMsgId::random()))
    }

    fn page(path: &Path, state: &str, started: u64, written: u64) {
        let page = format!(
            r#"{{"pid":7,"state":"{state}","started_ms":{},"written_ms":{}}}"#,
            started * 1000,
            written * 1000
        );
        fs::write(path, page).expect("written");
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_written_at_once_and_every_30_seconds_and_says_when_it_was_put_out() {
        let path = place();
        assert_eq!(Beacon::look(&path, SystemTime::now()), BeaconSight::Absent);
        let asked = Arc::new(AtomicU8::new(0));
        let asking = Arc::clone(&asked);
        let state = move || match asking.fetch_add(1, Ordering::Relaxed) {
            0 => BeaconState::Starting,
            _ => BeaconState::Connected,
        };
        let beacon = Beacon::light(&path, state).expect("written");
        let seen = |path: &Path| match Beacon::look(path, SystemTime::now()) {
            BeaconSight::Fresh { pid, state, .. } if pid == std::process::id() => state,
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(&path), BeaconState::Starting);
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        while seen(&path) != BeaconState::Connected {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        beacon.put_out().await.expect("written");
        assert_eq!(seen(&path), BeaconState::Off);
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("there").permissions())
                & 0o777,
            0o600
        );
        fs::remove_file(path).expect("removed");
    }

    #[test]
    fn it_is_stale_after_three_minutes_unless_it_was_put_out() {
        let path = place();
        page(&path, "connected", 0, 1_000);
        let fresh = |state, age| BeaconSight::Fresh { pid: 7, state, age: Duration::from_secs(age) };
        assert_eq!(Beacon::look(&path, at(1_179)), fresh(BeaconState::Connected, 179));
        let stale = BeaconSight::Stale { pid: 7, age: Duration::from_secs(180) };
        assert_eq!(Beacon::look(&path, at(1_180)), stale);
        assert_eq!(Beacon::look(&path, at(900)), fresh(BeaconState::Connected, 0), "a clock set back");
        page(&path, "off", 0, 1_000);
        assert_eq!(Beacon::look(&path, at(90_000)), fresh(BeaconState::Off, 89_000));
        page(&path, "dancing", 0, 1_000);
        assert_eq!(Beacon::look(&path, at(1_001)), fresh(BeaconState::Other, 1));
        fs::remove_file(path).expect("removed");
    }

    #[test]
    fn starting_is_down_after_90_seconds() {
        let path = place();
        page(&path, "starting", 1_000, 1_089);
        let state = |now| match Beacon::look(&path, at(now)) {
            BeaconSight::Fresh { state, .. } => state,
            other => panic!("{other:?}"),
        };
        assert_eq!((state(1_089), state(1_090)), (BeaconState::Starting, BeaconState::Down));
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn what_is_no_beacon_says_so_and_a_place_that_cannot_be_written_is_an_error() {
        let path = place();
        for text in ["", "{}", "[1]", "{\"pid\":-1}", "\u{0}"] {
            fs::write(&path, text).expect("written");
            let sight = Beacon::look(&path, SystemTime::now());
            assert!(matches!(sight, BeaconSight::Unreadable(_)), "{text:?}: {sight:?}");
        }
        fs::remove_file(&path).expect("removed");
        let error = Beacon::light(path.join("deeper"), || BeaconState::Idle).expect_err("no such folder");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
