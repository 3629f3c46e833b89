//! What waits to be written to one socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// A bounded queue: beyond its limit it refuses, and the socket is closed with 1013.
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    cut: Notify,
    limit: usize,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    ended: bool,
}

pub(crate) enum Item {
    Text(Arc<str>),
    Ping,
    Pause(Duration),
    Close { code: u16, reason: String },
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Outbox { queue: Mutex::default(), filled: Notify::new(), cut: Notify::new(), limit }
    }

    /// Queues a frame. `false` if there is no room.
    pub(crate) fn text(&self, text: Arc<str>) -> bool {
        let mut queue = self.queue();
        if queue.ended {
            return true;
        }
        if queue.bytes + text.len() > self.limit {
            return false;
        }
        queue.bytes += text.len();
        queue.items.push_back(Item::Text(text));
        drop(queue);
        self.filled.notify_one();
        true
    }

    pub(crate) fn ping(&self) {
        self.add(Item::Ping);
    }

    pub(crate) fn pause(&self, pause: Duration) {
        self.add(Item::Pause(pause));
    }

    /// Closes after what is queued.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        self.add(Item::Close { code, reason: reason.to_owned() });
        self.queue().ended = true;
    }

    /// Closes instead of what is queued.
    pub(crate) fn overflow(&self, code: u16, reason: &str) {
        {
            let mut queue = self.queue();
            queue.items.clear();
            queue.bytes = 0;
        }
        self.close(code, reason);
    }

    /// Ends the connection without a close frame.
    pub(crate) fn cut(&self) {
        self.queue().ended = true;
        self.cut.notify_one();
    }

    /// Returns when the connection is to be cut. Cancel-safe.
    pub(crate) async fn until_cut(&self) {
        self.cut.notified().await;
    }

    /// Everything that is queued, at least one item. Cancel-safe.
    pub(crate) async fn take(&self) -> VecDeque<Item> {
        loop {
            {
                let mut queue = self.queue();
                if !queue.items.is_empty() {
                    return std::mem::take(&mut queue.items);
                }
            }
            self.filled.notified().await;
        }
    }

    /// So many bytes were written.
    pub(crate) fn written(&self, bytes: usize) {
        let mut queue = self.queue();
        queue.bytes = queue.bytes.saturating_sub(bytes);
    }

    fn add(&self, item: Item) {
        let mut queue = self.queue();
        if !queue.ended {
            queue.items.push_back(item);
            drop(queue);
            self.filled.notify_one();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
