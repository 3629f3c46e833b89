//! A row of an inbox.

use std::sync::Arc;

use tokio::time::Instant;

use super::stored::Stored;
use super::view::Place;
use crate::message::Priority;

/// A message, and what storing, giving out and settling look at: the message itself is in the cache of
/// whoever made it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stored: Arc<Stored>,
    /// For the first reader: it need not count one up that its sender has in the cache.
    spare: Option<Arc<Stored>>,
    priority: Priority,
    pub(crate) size: usize,
    pub(crate) expires: Option<Instant>,
}

impl Row {
    pub(crate) fn new(stored: Arc<Stored>) -> Self {
        let (priority, size, expires) = (stored.priority, stored.size(), stored.expires());
        Self { spare: Some(Arc::clone(&stored)), stored, priority, size, expires }
    }

    pub(crate) fn give(&mut self) -> Arc<Stored> {
        self.spare.take().unwrap_or_else(|| Arc::clone(&self.stored))
    }

    pub(crate) fn place(&self, id: u64) -> Place {
        Place::of(self.priority, id)
    }
}
