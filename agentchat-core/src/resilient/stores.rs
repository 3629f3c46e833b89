//! What a session keeps over restarts, and where.

use std::sync::Arc;

use crate::store::{CursorStore, DedupStore, OutboxStore};

/// Where a session keeps what must survive its process; each part may be left out. Clones share the stores.
///
/// - With an [`OutboxStore`] a message is kept before its first attempt and until the network has answered.
/// - With a [`DedupStore`] what was settled is known after a restart, and so is what was handed out. It
///   takes two entries for each message; keep at least twice as many as may repeat.
/// - With a [`CursorStore`] gaps in the numbers of a conversation are found over a restart, too, on networks
///   with readable history.
///
/// A store belongs to one session at a time: two on one outbox would both send what it holds.
#[derive(Debug, Clone, Default)]
pub struct Stores {
    outbox: Option<Arc<dyn OutboxStore>>,
    cursors: Option<Arc<dyn CursorStore>>,
    dedup: Option<Arc<dyn DedupStore>>,
}

impl Stores {
    /// Nothing survives the process.
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything is kept in `store`, such as a [`MemoryStore`](crate::store::MemoryStore), a `DurableStore`
    /// (feature `store-redb`), or an [`Arc`] of one.
    pub fn all_in(store: impl OutboxStore + CursorStore + DedupStore) -> Self {
        let store = Arc::new(store);
        Self {
            outbox: Some(Arc::clone(&store) as Arc<dyn OutboxStore>),
            cursors: Some(Arc::clone(&store) as Arc<dyn CursorStore>),
            dedup: Some(store),
        }
    }

    /// Keeps messages on their way out in `store`.
    pub fn with_outbox(mut self, store: impl OutboxStore) -> Self {
        self.outbox = Some(Arc::new(store));
        self
    }

    /// Keeps positions in conversations in `store`.
    pub fn with_cursors(mut self, store: impl CursorStore) -> Self {
        self.cursors = Some(Arc::new(store));
        self
    }

    /// Keeps what was handed out and settled in `store`.
    pub fn with_dedup(mut self, store: impl DedupStore) -> Self {
        self.dedup = Some(Arc::new(store));
        self
    }

    pub(super) fn outbox(&self) -> Option<&Arc<dyn OutboxStore>> {
        self.outbox.as_ref()
    }

    pub(super) fn cursors(&self) -> Option<&Arc<dyn CursorStore>> {
        self.cursors.as_ref()
    }

    pub(super) fn dedup(&self) -> Option<&Arc<dyn DedupStore>> {
        self.dedup.as_ref()
    }
}
