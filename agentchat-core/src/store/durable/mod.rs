//! The stores in one file on disk.

mod fault;
mod file;
mod queue;
mod record;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use redb::Builder;
use redb::backends::FileBackend;

use self::file::{Make, StoreFile};
use self::queue::Queue;
use super::limits::{StoreLimits, check_cursor, check_settled, failure};
use super::types::{Cursor, ParkedReason, ParkedSend, SettledId, StoredSend, to_millis};
use super::{CursorStore, DedupStore, OutboxStore};
use crate::error::{ErrorKind, Result};
use crate::id::ClientMsgId;

/// All three stores in one file, which one process has at a time.
///
/// A change returns after the disk confirmed it. Changes that wait at the same time share one
/// transaction; reads run beside them. Blocking work runs on tokio's blocking threads, so every method
/// needs a tokio runtime and says so in an error without one. At most 1,024 calls are under way; further
/// ones wait.
///
/// After a full disk or another failed write the file is opened again by the next call, without losing
/// what was saved. A process that is killed leaves a file that opens again as it is, with everything
/// that was confirmed.
///
/// The file is created for its owner alone (mode 0600 on Unix). It holds messages, addresses and cursors
/// in clear: keep it where secrets may lie. It takes at least 1 MiB, up to about twice the bytes of its
/// content, and never shrinks; the room of what was removed is used again.
///
/// Dropping it closes the file, which blocks for a moment: for the transaction under way, if there is
/// one, and the last write. [`close`](Self::close) waits instead of blocking, and tells of errors.
pub struct DurableStore {
    queue: Arc<Queue>,
}

impl DurableStore {
    /// Opens the file at `path`, or creates it, with the default [`StoreLimits`]. The folder must exist.
    ///
    /// The whole file is checked, so damage is found here and not in the middle of a send. Dropping the
    /// future may leave the file created, or open for another moment.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a folder that does not exist, missing permissions, a file that is no
    /// store, or one in a format that this version does not know (the error names the file and both
    /// versions). [`ErrorKind::Conflict`] with [`Advice::Backoff`](crate::Advice::Backoff) when another
    /// process, or another store of this one, has it open. [`ErrorKind::Unexpected`] for damage and for
    /// errors of the disk.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(path, StoreLimits::default()).await
    }

    /// As [`open`](Self::open), with `limits`. They hold for what is added; a file with more is kept.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ErrorKind::Invalid`] for [limits](StoreLimits::check) out of range.
    pub async fn open_with(path: impl Into<PathBuf>, limits: StoreLimits) -> Result<Self> {
        limits.check()?;
        let make: Make = Box::new(|file| builder().create_with_backend(FileBackend::new(file)?));
        Self::open_through(path.into(), limits, make).await
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.queue.file().path()
    }

    /// Lets the calls under way end, refuses later ones as [`ErrorKind::Closed`], and releases the file.
    /// Closing twice does nothing. A dropped future has closed the store or left it open.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`] when the disk failed at the end. Everything confirmed is kept.
    pub async fn close(&self) -> Result<()> {
        self.queue.close().await
    }

    async fn open_through(path: PathBuf, limits: StoreLimits, make: Make) -> Result<Self> {
        let shown = path.display().to_string();
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| failure(ErrorKind::Config, OPEN, "the durable store needs a tokio runtime"))?;
        let opening = runtime.spawn_blocking(move || {
            StoreFile::open(path.clone(), make).map_err(|failure| failure.of(OPEN, &path))
        });
        let damaged = |_| -> Result<StoreFile> {
            Err(failure(
                ErrorKind::Unexpected,
                OPEN,
                format!("{shown}: damaged, so opening it was cut short"),
            ))
        };
        let file = opening.await.unwrap_or_else(damaged)?;
        Ok(Self { queue: Queue::new(file, limits) })
    }
}

/// Nobody waits for an answer any more: futures of the store borrow it. What is still queued, by futures
/// that were dropped, is not made.
impl Drop for DurableStore {
    fn drop(&mut self) {
        let _ = self.queue.file().close();
    }
}

impl fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

#[async_trait]
impl OutboxStore for DurableStore {
    async fn save(&self, send: &StoredSend) -> Result<()> {
        let send = send.clone();
        self.queue.change("outbox.save", move |tables, limits| tables.save(&send, limits)).await
    }

    async fn remove(&self, id: &ClientMsgId) -> Result<()> {
        let id = id.clone();
        self.queue.change("outbox.remove", move |tables, _| tables.remove(&id)).await
    }

    async fn load(&self) -> Result<Vec<StoredSend>> {
        self.queue.read("outbox.load", tables::load).await
    }

    async fn park(&self, id: &ClientMsgId, reason: &ParkedReason) -> Result<()> {
        let (id, reason) = (id.clone(), reason.clone());
        self.queue.change("outbox.park", move |tables, _| tables.park(&id, &reason)).await
    }

    async fn parked(&self) -> Result<Vec<ParkedSend>> {
        self.queue.read("outbox.parked", tables::parked).await
    }

    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>> {
        let id = id.clone();
        self.queue.change("outbox.unpark", move |tables, _| tables.unpark(&id)).await
    }
}

#[async_trait]
impl CursorStore for DurableStore {
    async fn get(&self, key: &str) -> Result<Option<Cursor>> {
        let key = key.to_owned();
        self.queue.read("cursor.get", move |transaction| tables::cursor(transaction, &key)).await
    }

    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()> {
        check_cursor(key, cursor)?;
        let (key, cursor) = (key.to_owned(), cursor.clone());
        self.queue.change("cursor.set", move |tables, limits| tables.set_cursor(&key, &cursor, limits)).await
    }

    async fn clear(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.queue.change("cursor.clear", move |tables, _| tables.clear_cursor(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>> {
        let prefix = prefix.to_owned();
        self.queue.read("cursor.list", move |transaction| tables::cursors(transaction, &prefix)).await
    }
}

#[async_trait]
impl DedupStore for DurableStore {
    async fn insert(&self, id: &str, settled_at: SystemTime) -> Result<()> {
        let at = check_settled(id, settled_at)?;
        let id = id.to_owned();
        self.queue.change("dedup.insert", move |tables, limits| tables.settle(&id, at, limits)).await
    }

    async fn contains(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.queue.read("dedup.contains", move |transaction| tables::is_settled(transaction, &id)).await
    }

    async fn newest(&self, count: usize) -> Result<Vec<SettledId>> {
        self.queue.read("dedup.newest", move |transaction| tables::newest(transaction, count)).await
    }

    async fn forget_older_than(&self, time: SystemTime) -> Result<()> {
        let horizon = to_millis(time);
        self.queue.change("dedup.forget_older_than", move |tables, _| tables.forget_before(horizon)).await
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

const OPEN: &str = "store.open";
/// Bytes of the file kept in memory at most.
const CACHE: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
