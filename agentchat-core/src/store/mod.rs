//! What must survive a restart: the outbox, the cursors, and the ids already handled.
//!
//! Three small traits, because they are useful apart: [`OutboxStore`], [`CursorStore`], [`DedupStore`].
//! [`MemoryStore`] implements them for processes that need no restart, and `DurableStore` (feature
//! `store-redb`) in one file on disk. A network or database of your own takes the same traits; the module
//! `testing` (feature `conformance`) says what they mean as runnable cases.
//!
//! # What holds for every method
//! - **Durable on return.** `Ok` means that the change survives the death of the process, and for a store
//!   on disk the loss of power, as far as the disk keeps what it confirmed.
//! - **All or nothing.** A crash during a call leaves the state before it or the state after it. A crash
//!   between two calls leaves the first and not the second.
//! - **Order.** A call sees every call that returned before it began. Calls under way at the same time
//!   take effect in some order, each as a whole.
//! - **Cancel-safety.** A dropped future leaves its change made or not made, never half made; it may still
//!   be made after the drop. Every change may be repeated: the second time alters nothing.
//! - **Errors.** An error from the storage itself is [`ErrorKind::Unexpected`](crate::ErrorKind::Unexpected)
//!   with [`Advice::Backoff`](crate::Advice::Backoff): the change was made or not made, so repeat it. Nothing
//!   that an earlier call confirmed is lost by it. A record or file that is damaged says
//!   [`Advice::Never`](crate::Advice::Never) instead. Errors say [`Reached::No`](crate::Reached::No), because
//!   no store talks to a peer, and neither errors nor `Debug` show bodies, addresses, keys or cursors.
//! - **Bounds.** [`StoreLimits`] bounds everything. A full outbox refuses with
//!   [`ErrorKind::Backpressure`](crate::ErrorKind::Backpressure) and drops nothing; only ids already
//!   handled are forgotten, the oldest first.

mod arc;
mod limits;
mod memory;
mod types;

#[cfg(feature = "store-redb")]
mod durable;
#[cfg(feature = "conformance")]
pub mod testing;

use std::fmt::Debug;
use std::time::SystemTime;

use async_trait::async_trait;

#[cfg(feature = "store-redb")]
pub use durable::DurableStore;
pub use limits::StoreLimits;
pub use memory::MemoryStore;
pub use types::{Cursor, ParkedReason, ParkedSend, SettledId, StoredSend};

use crate::error::Result;
use crate::id::ClientMsgId;

/// Messages that were handed over and are not answered yet, and those that were given up.
///
/// The order of use is `save` before the first attempt, `remove` after the network's answer, `park` when
/// no further attempt makes sense. A crash after an attempt and before `remove` leaves the message in the
/// outbox: it is sent again under the same id, which receivers recognise.
///
/// An id is in the outbox or parked, never both. See the [module](self) for durability, cancel-safety and
/// errors.
#[async_trait]
pub trait OutboxStore: Send + Sync + Debug + 'static {
    /// Keeps `send`. Call it before the first attempt; once it returned, the message survives.
    ///
    /// Saving an id again replaces its position and count of attempts, and keeps its place among equal
    /// positions. A parked id returns to the outbox.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict): the id is kept with another content, which
    /// stays. [`ErrorKind::Backpressure`](crate::ErrorKind::Backpressure): the outbox and the parked
    /// messages together reach the limit.
    async fn save(&self, send: &StoredSend) -> Result<()>;

    /// Forgets the message `id`, in the outbox or parked. Without such a message it does nothing.
    async fn remove(&self, id: &ClientMsgId) -> Result<()>;

    /// The whole outbox by position, equal positions in the order in which they were first saved. Parked
    /// messages are not in it. It is bounded by [`StoreLimits`] and read at once, for the start.
    ///
    /// # Errors
    /// A record that cannot be read is an error of its own and hides nothing: nothing is passed over.
    async fn load(&self) -> Result<Vec<StoredSend>>;

    /// Takes `id` out of the outbox and keeps it aside with the reason. Needs no room, so a full store
    /// can always park. Parking a parked message replaces the reason.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) without such a message.
    async fn park(&self, id: &ClientMsgId, reason: &ParkedReason) -> Result<()>;

    /// The parked messages, in the order of [`load`](Self::load).
    async fn parked(&self) -> Result<Vec<ParkedSend>>;

    /// Returns a parked message to its former place in the outbox, to be sent again under its id. Gives
    /// the message, also when it is in the outbox already, or `None` without one. Needs no room.
    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>>;
}

/// The last settled position of each inbox or conversation.
///
/// Call `set` after everything up to the cursor is settled: a crash before it reads those messages again
/// (and [`DedupStore`] recognises them), a crash after it does not.
#[async_trait]
pub trait CursorStore: Send + Sync + Debug + 'static {
    /// The cursor under `key`, or `None`.
    async fn get(&self, key: &str) -> Result<Option<Cursor>>;

    /// Replaces the cursor under `key`. Two calls for one key at the same time end in either; whoever
    /// needs an order awaits the first.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a key that is empty or over 1,024 bytes,
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) for a cursor over 64 KiB,
    /// [`ErrorKind::Backpressure`](crate::ErrorKind::Backpressure) for a new key in a full store.
    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()>;

    /// Forgets the cursor under `key`, for an inbox or conversation that is gone. Without one it does
    /// nothing.
    async fn clear(&self, key: &str) -> Result<()>;

    /// The cursors whose keys begin with `prefix`, by key. They are bounded by [`StoreLimits`] and read at
    /// once, for the start.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>>;
}

/// The ids that are settled, so that a repetition after a restart is recognised.
///
/// Times are kept in whole milliseconds. A store has no clock: age counts from the time of each `insert`.
/// Call `insert` after the handler and before the network is told: a crash before it lets the message
/// come again, a crash after it does not let it be handled again.
#[async_trait]
pub trait DedupStore: Send + Sync + Debug + 'static {
    /// Keeps `id` as settled. Of two times for one id the later counts. Then forgets what is older than
    /// the maximum age before `settled_at`, and the oldest ids beyond the maximum count, which may be
    /// this one when `settled_at` is older than all others.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an id that is empty or over 1,024 bytes.
    async fn insert(&self, id: &str, settled_at: SystemTime) -> Result<()>;

    /// Whether `id` is kept as settled.
    async fn contains(&self, id: &str) -> Result<bool>;

    /// The `count` newest ids, the oldest of them first: the order in which to fill a window in memory.
    async fn newest(&self, count: usize) -> Result<Vec<SettledId>>;

    /// Forgets every id that was settled before `time`.
    async fn forget_older_than(&self, time: SystemTime) -> Result<()>;
}
