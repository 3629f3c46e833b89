//! Group commit: changes that wait at the same time share one transaction and one sync of the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadTransaction, ReadableDatabase};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::super::limits::{StoreLimits, failure};
use super::fault::{Failure, Fault};
use super::file::StoreFile;
use super::tables::Tables;
use crate::error::{Advice, Error, ErrorKind, Result};

/// The calls on one file. Changes run one batch at a time, in the order in which they queued; reads run
/// beside them on what is committed.
pub(super) struct Queue {
    file: StoreFile,
    limits: StoreLimits,
    /// One per call under way, so that callers wait instead of filling the memory.
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Box<dyn Change>>,
    /// Whether a thread is at work, or about to be.
    draining: bool,
}

impl Queue {
    pub(super) fn new(file: StoreFile, limits: StoreLimits) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(MAX_CALLS));
        Arc::new(Self { file, limits, places, waiting: Mutex::default() })
    }

    pub(super) fn file(&self) -> &StoreFile {
        &self.file
    }

    /// Makes a change and returns once it is durable.
    pub(super) async fn change<T, F>(self: &Arc<Self>, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tables<'_>, &StoreLimits) -> std::result::Result<T, Fault> + Send + 'static,
    {
        let permit = self.enter(operation).await?;
        let (answer, answered) = oneshot::channel();
        let change =
            Work { operation, work: Some(work), outcome: None, answer, queue: Arc::clone(self), permit };
        self.push(operation, Box::new(change))?;
        answered.await.unwrap_or_else(|_| Err(ended(operation)))
    }

    /// Reads what is committed.
    pub(super) async fn read<T, F>(self: &Arc<Self>, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction) -> std::result::Result<T, Fault> + Send + 'static,
    {
        let permit = self.enter(operation).await?;
        let queue = Arc::clone(self);
        let reading = runtime(operation)?.spawn_blocking(move || {
            let _permit = permit;
            let outcome = queue.file.with(|database| work(&database.begin_read()?));
            outcome.map_err(|fault| queue.error(operation, fault))
        });
        reading.await.unwrap_or_else(|_| Err(ended(operation)))
    }

    /// Lets the calls under way end, refuses later ones, and closes the file.
    pub(super) async fn close(self: &Arc<Self>) -> Result<()> {
        const OPERATION: &str = "store.close";
        let runtime = runtime(OPERATION)?;
        let everyone = u32::try_from(MAX_CALLS).unwrap_or(u32::MAX);
        let Ok(permits) = self.places.acquire_many(everyone).await else { return Ok(()) };
        self.places.close();
        drop(permits);
        let queue = Arc::clone(self);
        let closing = runtime.spawn_blocking(move || {
            queue.file.close().map_err(|failure| failure.of(OPERATION, queue.file.path()))
        });
        closing.await.unwrap_or_else(|_| Err(ended(OPERATION)))
    }

    #[cfg(test)]
    pub(super) fn calls_under_way(&self) -> usize {
        MAX_CALLS - self.places.available_permits()
    }

    async fn enter(&self, operation: &'static str) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.places).acquire_owned().await;
        permit.map_err(|_| Failure::closed().of(operation, self.file.path()))
    }

    fn push(self: &Arc<Self>, operation: &'static str, change: Box<dyn Change>) -> Result<()> {
        let runtime = runtime(operation)?;
        let mut waiting = self.waiting();
        waiting.changes.push_back(change);
        if !waiting.draining {
            waiting.draining = true;
            drop(waiting);
            let drain = Drain { queue: Arc::clone(self), finished: false };
            runtime.spawn_blocking(move || drain.run());
        }
        Ok(())
    }

    fn commit(&self, batch: &mut [Box<dyn Change>]) -> std::result::Result<(), Fault> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            let mut tables = Tables::open(&transaction)?;
            for change in batch {
                change.apply(&mut tables, &self.limits)?;
            }
            drop(tables);
            Ok(transaction.commit()?)
        })
    }

    fn error(&self, operation: &'static str, fault: Fault) -> Error {
        match fault {
            Fault::Refused(error) => error,
            Fault::Failed(failure) => failure.of(operation, self.file.path()),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread at work. However it ends, also by a panic or because the runtime never ran it, the next
/// change starts another one.
struct Drain {
    queue: Arc<Queue>,
    finished: bool,
}

impl Drain {
    fn run(mut self) {
        while let Some(mut batch) = self.take() {
            let outcome = self.queue.commit(&mut batch);
            for change in batch {
                match &outcome {
                    Ok(()) => change.succeeded(),
                    Err(Fault::Failed(failure)) => change.failed(failure),
                    // A refusal is kept by its change; it never is the outcome of a batch.
                    Err(Fault::Refused(_)) => drop(change),
                }
            }
        }
    }

    fn take(&mut self) -> Option<Vec<Box<dyn Change>>> {
        let mut waiting = self.queue.waiting();
        if waiting.changes.is_empty() {
            waiting.draining = false;
            self.finished = true;
            return None;
        }
        let count = waiting.changes.len().min(MAX_BATCH);
        Some(waiting.changes.drain(..count).collect())
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if !self.finished {
            let abandoned = {
                let mut waiting = self.queue.waiting();
                waiting.draining = false;
                std::mem::take(&mut waiting.changes)
            };
            drop(abandoned);
        }
    }
}

/// A change in the queue.
trait Change: Send {
    /// Does the work; a refusal is kept for the caller. An error fails the whole batch.
    fn apply(&mut self, tables: &mut Tables<'_>, limits: &StoreLimits) -> std::result::Result<(), Failure>;

    /// The batch is durable: hands over what the work said.
    fn succeeded(self: Box<Self>);

    /// The batch failed.
    fn failed(self: Box<Self>, failure: &Failure);
}

struct Work<T, F> {
    operation: &'static str,
    work: Option<F>,
    outcome: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
    queue: Arc<Queue>,
    permit: OwnedSemaphorePermit,
}

impl<T, F> Change for Work<T, F>
where
    T: Send,
    F: FnOnce(&mut Tables<'_>, &StoreLimits) -> std::result::Result<T, Fault> + Send,
{
    fn apply(&mut self, tables: &mut Tables<'_>, limits: &StoreLimits) -> std::result::Result<(), Failure> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.outcome = match work(tables, limits) {
            Ok(value) => Some(Ok(value)),
            Err(Fault::Refused(error)) => Some(Err(error)),
            Err(Fault::Failed(failure)) => return Err(failure),
        };
        Ok(())
    }

    // The caller may be gone; its change stands.
    fn succeeded(self: Box<Self>) {
        let Self { operation, outcome, answer, permit, .. } = *self;
        drop(permit);
        let _ = answer.send(outcome.unwrap_or_else(|| Err(ended(operation))));
    }

    fn failed(self: Box<Self>, failure: &Failure) {
        let Self { operation, answer, queue, permit, .. } = *self;
        drop(permit);
        let _ = answer.send(Err(failure.of(operation, queue.file.path())));
    }
}

fn runtime(operation: &'static str) -> Result<Handle> {
    let missing = |_| failure(ErrorKind::Config, operation, "the durable store needs a tokio runtime");
    Handle::try_current().map_err(missing)
}

/// The thread that had the call ended without an answer.
fn ended(operation: &'static str) -> Error {
    let text = "the work was cut short: the runtime is shutting down, or the file is damaged";
    failure(ErrorKind::Unexpected, operation, text).with_advice(Advice::Backoff)
}

/// Calls under way at once; more wait.
const MAX_CALLS: usize = 1024;
/// Changes that share a transaction.
const MAX_BATCH: usize = 256;
