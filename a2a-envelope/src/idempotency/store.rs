//! Where the records of requests outlive a process, and the store in memory.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::ready;
use std::sync::{Mutex, PoisonError};

use super::record::{RequestRecord, RequestState};
use crate::task::{StoreFuture, TaskError};

/// Where the records of requests outlive a process, read back once by
/// [`Requests::restored`](super::Requests::restored).
///
/// Durable on return, all or nothing, and every change may be repeated, as for a
/// [`TaskStore`](crate::task::TaskStore). A store keeps what runs; of what is answered it may forget the
/// oldest beyond its own bounds, which are at least those of [`RequestLimits`](super::RequestLimits).
pub trait RequestStore: Send + Sync + Debug + 'static {
    /// Keeps a record in place of the one of the same sender and key. An answered record is not replaced by a
    /// running one.
    fn put<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, ()>;

    /// Keeps a record unless there is one of the same sender and key; gives that one then. Of several workers
    /// that claim one request at once exactly one gets `None`, and works on it.
    fn claim<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, Option<RequestRecord>>;

    /// Forgets the record of a request that was not taken after all.
    fn remove<'a>(&'a self, sender: &'a str, key: &'a str) -> StoreFuture<'a, ()>;

    /// All records, the oldest first.
    fn load(&self) -> StoreFuture<'_, Vec<RequestRecord>>;
}

/// Records in memory, at most so many; see [`RequestStore`].
pub struct MemoryRequestStore {
    records: Mutex<Records>,
    max: usize,
}

impl MemoryRequestStore {
    /// An empty store for so many records. Running ones count, and are never forgotten.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { records: Mutex::default(), max }
    }

    /// [`RequestStore::put`], at once.
    ///
    /// # Errors
    ///
    /// [`TaskError::Full`] if nothing can be forgotten.
    pub fn put_now(&self, record: &RequestRecord) -> Result<(), TaskError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (record.sender.clone(), record.key.clone());
        let known = records.get(&id);
        if known.is_some_and(|known| known.state == RequestState::Answered)
            && record.state == RequestState::Running
        {
            return Ok(());
        }
        put(&mut records, self.max, id, record)
    }

    /// [`RequestStore::claim`], at once.
    ///
    /// # Errors
    ///
    /// As [`put_now`](Self::put_now).
    pub fn claim_now(&self, record: &RequestRecord) -> Result<Option<RequestRecord>, TaskError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (record.sender.clone(), record.key.clone());
        match records.get(&id) {
            Some(known) => Ok(Some(known.clone())),
            None => put(&mut records, self.max, id, record).map(|()| None),
        }
    }

    /// [`RequestStore::load`], at once.
    #[must_use]
    pub fn load_now(&self) -> Vec<RequestRecord> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = records.values().cloned().collect();
        all.sort_by_key(|record| record.at_ms);
        all
    }
}

impl RequestStore for MemoryRequestStore {
    fn put<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, ()> {
        Box::pin(ready(self.put_now(record)))
    }

    fn claim<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, Option<RequestRecord>> {
        Box::pin(ready(self.claim_now(record)))
    }

    fn remove<'a>(&'a self, sender: &'a str, key: &'a str) -> StoreFuture<'a, ()> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.remove(&(sender.to_owned(), key.to_owned()));
        Box::pin(ready(Ok(())))
    }

    fn load(&self) -> StoreFuture<'_, Vec<RequestRecord>> {
        Box::pin(ready(Ok(self.load_now())))
    }
}

type Records = BTreeMap<(String, String), RequestRecord>;

fn put(
    records: &mut Records,
    max: usize,
    id: (String, String),
    record: &RequestRecord,
) -> Result<(), TaskError> {
    if !records.contains_key(&id) && records.len() >= max {
        let answered = records.iter().filter(|(_, known)| known.state == RequestState::Answered);
        let oldest = answered.min_by_key(|(_, known)| known.at_ms).map(|(id, _)| id.clone());
        let Some(oldest) = oldest else { return Err(TaskError::Full { count: records.len() }) };
        records.remove(&oldest);
    }
    records.insert(id, record.clone());
    Ok(())
}

impl fmt::Debug for MemoryRequestStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("MemoryRequestStore").field("records", &records.len()).finish_non_exhaustive()
    }
}
