//! A store that does as it is told, and tells what was asked of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agentchat_core::store::{
    Cursor, CursorStore, DedupStore, MemoryStore, OutboxStore, ParkedReason, ParkedSend, SettledId,
    StoreLimits, StoredSend,
};
use agentchat_core::{Advice, ClientMsgId, Error, ErrorKind, Reached, Result};
use async_trait::async_trait;

/// What a call does instead of succeeding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// It fails, now.
    Fails,
    /// It fails, now and ever.
    Broken,
    /// It takes this long, and then succeeds.
    Takes(Duration),
    /// It never ends.
    Hangs,
}

/// A store in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flaky {
    pub(crate) inner: Arc<MemoryStore>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    troubles: HashMap<&'static str, VecDeque<Trouble>>,
    calls: Vec<&'static str>,
}

impl Flaky {
    pub(crate) fn with_limits(limits: StoreLimits) -> Self {
        Self { inner: Arc::new(MemoryStore::with_limits(limits)), script: Arc::default() }
    }

    /// The next `times` calls of `operation` go wrong.
    pub(crate) fn trouble(&self, operation: &'static str, trouble: Trouble, times: usize) {
        let mut script = self.script.lock().expect("not poisoned");
        script.troubles.entry(operation).or_default().extend(std::iter::repeat_n(trouble, times));
    }

    /// The troubles of `operation` are over.
    pub(crate) fn mend(&self, operation: &'static str) {
        self.script.lock().expect("not poisoned").troubles.remove(operation);
    }

    /// How often `operation` was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.script.lock().expect("not poisoned").calls.iter().filter(|call| **call == operation).count()
    }

    /// The ids in the outbox, and those that are parked.
    pub(crate) async fn held(&self) -> (Vec<String>, Vec<String>) {
        let queued = self.inner.load().await.expect("read");
        let parked = self.inner.parked().await.expect("read");
        let id = |send: &StoredSend| send.id().to_string();
        (queued.iter().map(id).collect(), parked.iter().map(|parked| id(&parked.send)).collect())
    }

    async fn enter(&self, operation: &'static str) -> Result<()> {
        let trouble = {
            let mut script = self.script.lock().expect("not poisoned");
            script.calls.push(operation);
            script.troubles.get_mut(operation).and_then(VecDeque::pop_front)
        };
        let failed = |advice| {
            let error = Error::new(ErrorKind::Unexpected, operation, "as the script says");
            Err(error.with_advice(advice).with_reached(Reached::No))
        };
        match trouble {
            None => Ok(()),
            Some(Trouble::Fails) => failed(Advice::Backoff),
            Some(Trouble::Broken) => failed(Advice::Never),
            Some(Trouble::Takes(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Trouble::Hangs) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl OutboxStore for Flaky {
    async fn save(&self, send: &StoredSend) -> Result<()> {
        self.enter("save").await?;
        self.inner.save(send).await
    }

    async fn remove(&self, id: &ClientMsgId) -> Result<()> {
        self.enter("remove").await?;
        self.inner.remove(id).await
    }

    async fn load(&self) -> Result<Vec<StoredSend>> {
        self.enter("load").await?;
        self.inner.load().await
    }

    async fn park(&self, id: &ClientMsgId, reason: &ParkedReason) -> Result<()> {
        self.enter("park").await?;
        self.inner.park(id, reason).await
    }

    async fn parked(&self) -> Result<Vec<ParkedSend>> {
        self.enter("parked").await?;
        self.inner.parked().await
    }

    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>> {
        self.enter("unpark").await?;
        self.inner.unpark(id).await
    }
}

#[async_trait]
impl CursorStore for Flaky {
    async fn get(&self, key: &str) -> Result<Option<Cursor>> {
        self.enter("get").await?;
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()> {
        self.enter("set").await?;
        self.inner.set(key, cursor).await
    }

    async fn clear(&self, key: &str) -> Result<()> {
        self.enter("clear").await?;
        self.inner.clear(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>> {
        self.enter("list").await?;
        self.inner.list(prefix).await
    }
}

#[async_trait]
impl DedupStore for Flaky {
    async fn insert(&self, id: &str, settled_at: SystemTime) -> Result<()> {
        let operation = if id.starts_with("h/") { "hand" } else { "settle" };
        self.enter(operation).await?;
        self.inner.insert(id, settled_at).await
    }

    async fn contains(&self, id: &str) -> Result<bool> {
        self.enter("contains").await?;
        self.inner.contains(id).await
    }

    async fn newest(&self, count: usize) -> Result<Vec<SettledId>> {
        self.enter("newest").await?;
        self.inner.newest(count).await
    }

    async fn forget_older_than(&self, time: SystemTime) -> Result<()> {
        self.enter("forget").await?;
        self.inner.forget_older_than(time).await
    }
}
