//! Stores behind an [`Arc`] are stores: sessions and tests share them.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Cursor, CursorStore, DedupStore, OutboxStore, ParkedReason, ParkedSend, SettledId, StoredSend};
use crate::error::Result;
use crate::id::ClientMsgId;

#[async_trait]
impl<S: OutboxStore + ?Sized> OutboxStore for Arc<S> {
    async fn save(&self, send: &StoredSend) -> Result<()> {
        (**self).save(send).await
    }

    async fn remove(&self, id: &ClientMsgId) -> Result<()> {
        (**self).remove(id).await
    }

    async fn load(&self) -> Result<Vec<StoredSend>> {
        (**self).load().await
    }

    async fn park(&self, id: &ClientMsgId, reason: &ParkedReason) -> Result<()> {
        (**self).park(id, reason).await
    }

    async fn parked(&self) -> Result<Vec<ParkedSend>> {
        (**self).parked().await
    }

    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>> {
        (**self).unpark(id).await
    }
}

#[async_trait]
impl<S: CursorStore + ?Sized> CursorStore for Arc<S> {
    async fn get(&self, key: &str) -> Result<Option<Cursor>> {
        (**self).get(key).await
    }

    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()> {
        (**self).set(key, cursor).await
    }

    async fn clear(&self, key: &str) -> Result<()> {
        (**self).clear(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>> {
        (**self).list(prefix).await
    }
}

#[async_trait]
impl<S: DedupStore + ?Sized> DedupStore for Arc<S> {
    async fn insert(&self, id: &str, settled_at: SystemTime) -> Result<()> {
        (**self).insert(id, settled_at).await
    }

    async fn contains(&self, id: &str) -> Result<bool> {
        (**self).contains(id).await
    }

    async fn newest(&self, count: usize) -> Result<Vec<SettledId>> {
        (**self).newest(count).await
    }

    async fn forget_older_than(&self, time: SystemTime) -> Result<()> {
        (**self).forget_older_than(time).await
    }
}
