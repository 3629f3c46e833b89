//! A network and stores that fail where a scene wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use a2a_envelope::idempotency::{MemoryRequestStore, RequestRecord, RequestStore};
use a2a_envelope::task::{MemoryTaskStore, StoreFuture, Task, TaskError, TaskStore};
use agentchat_core::{
    AckTag, Address, AgentCard, Body, Capabilities, CloseMode, Connector, Discovered, Error, ErrorKind,
    Heartbeat, KeyedValue, LoopbackConnector, MessageId, Outbound, Query, Receipt, Result, SendOutcome,
    SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;

/// What becomes of a reply by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    Lost,
    Refused,
}

#[derive(Debug, Clone)]
pub(crate) struct Faulty<T> {
    pub(crate) inner: T,
    pub(crate) fate: fn(u64, bool) -> Fate,
    /// Whether snapshots can be put, and whether the network says that it has them.
    pub(crate) puts: bool,
    pub(crate) keyed: bool,
    pub(crate) able: Option<Capabilities>,
}

impl Faulty<LoopbackConnector> {
    pub(crate) fn new(inner: LoopbackConnector, fate: fn(u64, bool) -> Fate) -> Self {
        Self { inner, fate, puts: true, keyed: true, able: None }
    }
}

#[async_trait]
impl Connector for Faulty<LoopbackConnector> {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = self.inner.connect().await?;
        let mut able = inner.capabilities().clone();
        able.keyed_state &= self.keyed;
        Ok(Arc::new(Faulty { inner, fate: self.fate, puts: self.puts, keyed: self.keyed, able: Some(able) }))
    }
}

#[async_trait]
impl Transport for Faulty<Arc<dyn Transport>> {
    fn capabilities(&self) -> &Capabilities {
        self.able.as_ref().expect("it is connected")
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.inner.register(card).await
    }

    async fn unregister(&self) -> Result<()> {
        self.inner.unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.inner.report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.inner.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let seq = message.headers.get("amb-seq").and_then(|seq| seq.parse().ok());
        let last = message.headers.get("mq9-a2a-last").is_some();
        match seq.map_or(Fate::Sent, |seq| (self.fate)(seq, last)) {
            Fate::Sent => self.inner.send(message).await,
            Fate::Lost => Ok(Receipt::new(SendOutcome::Accepted(MessageId::new("lost")?))),
            Fate::Refused => Err(Error::new(ErrorKind::Forbidden, "send", "the network refuses")),
        }
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.inner.subscribe(options).await
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.inner.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.inner.close(mode).await
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        if !self.puts {
            return Err(Error::new(ErrorKind::Forbidden, "put", "the network refuses"));
        }
        self.inner.put(at, key, value).await
    }

    async fn get(&self, of: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.inner.get(of, key).await
    }
}

/// Stores that outlive a server, and fail at the touch that is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) tasks: Arc<MemoryTaskStore>,
    pub(crate) requests: Arc<Requests>,
    /// How many more puts of tasks go well, before they fail as another worker's or by the storage.
    pub(crate) puts: Arc<AtomicUsize>,
    pub(crate) stale: bool,
}

#[derive(Debug)]
pub(crate) struct Requests(pub(crate) MemoryRequestStore);

impl Default for Requests {
    fn default() -> Self {
        Self(MemoryRequestStore::new(100))
    }
}

impl Kept {
    pub(crate) fn sound() -> Self {
        let kept = Self::default();
        kept.puts.store(usize::MAX, Ordering::SeqCst);
        kept
    }
}

impl TaskStore for Kept {
    fn get<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<Task>> {
        self.tasks.get(id)
    }

    fn put<'a>(&'a self, task: &'a Task, expected: u64) -> StoreFuture<'a, ()> {
        let left = self.puts.load(Ordering::SeqCst);
        if left == 0 {
            // One who replaces another generation than is kept is refused as stale.
            return match self.stale {
                true => self.tasks.put(task, expected + 7),
                false => Box::pin(std::future::ready(Err(TaskError::Storage("reason-to-hide".into())))),
            };
        }
        self.puts.store(left - 1, Ordering::SeqCst);
        self.tasks.put(task, expected)
    }

    fn remove<'a>(&'a self, id: &'a str) -> StoreFuture<'a, ()> {
        TaskStore::remove(&*self.tasks, id)
    }

    fn open_tasks(&self) -> StoreFuture<'_, Vec<Task>> {
        self.tasks.open_tasks()
    }

    fn due_tasks(&self, most: usize) -> StoreFuture<'_, Vec<(String, std::time::Duration)>> {
        self.tasks.due_tasks(most)
    }
}

impl RequestStore for Requests {
    fn put<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, ()> {
        self.0.put(record)
    }

    fn claim<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, Option<RequestRecord>> {
        self.0.claim(record)
    }

    fn remove<'a>(&'a self, sender: &'a str, key: &'a str) -> StoreFuture<'a, ()> {
        self.0.remove(sender, key)
    }

    fn load(&self) -> StoreFuture<'_, Vec<RequestRecord>> {
        self.0.load()
    }
}
