//! Changes in the stores while they are made. With the driver, what waits.

use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::dating::Dating;
use super::positions::cursor;
use super::recall::{POSITIONS, Recall};
use super::shared::Shared;
use super::stores::Stores;
use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::id::{AckTag, ClientMsgId};
use crate::session::outbox::{Change, StoreOp};
use crate::store::{DedupStore, OutboxStore, ParkedReason, ParkedSend, StoredSend};

/// A change for the stores.
#[derive(Debug)]
pub(super) enum Keep {
    Send(StoreOp),
    /// These keys are being handed out.
    Handed {
        slot: u64,
        round: u64,
        keys: Vec<String>,
    },
    Positions(Vec<(String, u64)>),
}

/// What has come of a change.
#[derive(Debug)]
pub(super) enum Kept {
    Send(ClientMsgId, Result<()>),
    Handed { slot: u64, round: u64, result: Result<()> },
    Positions(Vec<(String, u64, Result<()>)>),
}

/// What the stores held at the start.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The outbox and the parked messages, where there is a store for them.
    pub(super) sends: Option<(Vec<StoredSend>, Vec<ParkedSend>)>,
    pub(super) recall: Recall,
    /// When the newest of what is settled was settled.
    pub(super) newest: Option<SystemTime>,
}

/// The changes under way. Dropping it gives them up: each was made or not.
#[derive(Debug)]
pub(super) struct Keeping {
    stores: Stores,
    limit: Duration,
    dating: Option<Dating>,
    changes: FuturesUnordered<BoxFuture<'static, Kept>>,
}

impl Keeping {
    /// A change may take as long as `limit`.
    pub(super) fn new(stores: Stores, limit: Duration, dating: Option<Dating>) -> Self {
        Self { stores, limit, dating, changes: FuturesUnordered::new() }
    }

    pub(super) fn start(&mut self, keep: Keep) {
        let (stores, limit, dating) = (self.stores.clone(), self.limit, self.dating);
        let change = match keep {
            Keep::Send(StoreOp { id, change }) => async move {
                let made = async {
                    match stores.outbox() {
                        Some(store) => make(&**store, &id, change).await,
                        None => Ok(()),
                    }
                };
                let result = in_time(limit, made).await;
                Kept::Send(id, result)
            }
            .boxed(),
            Keep::Handed { slot, round, keys } => async move {
                let result = match stores.dedup() {
                    Some(store) => in_time(limit, insert(&**store, keys, dating)).await,
                    None => Ok(()),
                };
                Kept::Handed { slot, round, result }
            }
            .boxed(),
            Keep::Positions(batch) => async move {
                let written = batch.into_iter().map(async |(key, next)| {
                    let result = match stores.cursors() {
                        Some(store) => in_time(limit, store.set(&key, &cursor(next))).await,
                        None => Ok(()),
                    };
                    (key, next, result)
                });
                Kept::Positions(join_all(written).await)
            }
            .boxed(),
        };
        self.changes.push(change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The next change that has ended; `None` when none is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Kept> {
        self.changes.next().await
    }

    /// Lets what is under way end, for a while.
    pub(super) async fn finish(&mut self, within: Duration) {
        let _ = timeout(within, async { while self.next().await.is_some() {} }).await;
    }
}

/// Reads what the stores hold.
pub(super) async fn load(stores: &Stores, until: Instant) -> Result<Loaded> {
    let loading = async {
        let mut loaded = Loaded::default();
        if let Some(store) = stores.outbox() {
            loaded.sends = Some((store.load().await?, store.parked().await?));
        }
        let ids = match stores.dedup() {
            Some(store) => store.newest(NEWEST).await?,
            None => Vec::new(),
        };
        let cursors = match stores.cursors() {
            Some(store) => store.list(POSITIONS).await?,
            None => Vec::new(),
        };
        loaded.newest = ids.last().map(|newest| newest.settled_at);
        loaded.recall = Recall::new(stores.dedup().is_some(), stores.cursors().is_some(), ids, cursors);
        Ok(loaded)
    };
    timeout_at(until, loading).await.unwrap_or_else(|_| Err(silent()))
}

/// Settles what was handed out under `tags`: in the store first, so that it is never handed out again.
pub(super) async fn settle(shared: &Shared, stores: &Stores, limit: Duration, tags: &[AckTag]) -> Result<()> {
    if let Some(store) = stores.dedup() {
        let (keys, dating) = {
            let core = shared.lock();
            core.check_ended("ack")?;
            (core.slots.settled_keys(tags)?, core.dating)
        };
        in_time(limit, insert(&**store, keys, dating)).await?;
    }
    shared.change(|core, now| {
        core.check_ended("ack")?;
        core.slots.settle(tags, now)
    })
}

async fn make(store: &dyn OutboxStore, id: &ClientMsgId, change: Change) -> Result<()> {
    match change {
        Change::Save(send) => store.save(&send).await,
        Change::Remove => store.remove(id).await,
        Change::Park(error) => store.park(id, &ParkedReason::from_error(&error, SystemTime::now())).await,
    }
}

/// All at the same time: a store on disk confirms many at once.
async fn insert(store: &dyn DedupStore, keys: Vec<String>, dating: Option<Dating>) -> Result<()> {
    let now = dating.map_or_else(SystemTime::now, |dating| dating.at(Instant::now()));
    let inserted = stream::iter(keys).map(|key| async move { store.insert(&key, now).await });
    inserted.buffer_unordered(AT_ONCE).try_collect().await
}

async fn in_time(limit: Duration, change: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(limit, change).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> Error {
    Error::new(ErrorKind::Timeout, "store", "the store gave no answer")
        .with_advice(Advice::Backoff)
        .with_reached(Reached::No)
}

/// How many ids are read at the start: two for each message that an inbox remembers.
const NEWEST: usize = 2 * 65_536;
/// How many ids are inserted at the same time.
const AT_ONCE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::resilient::recall::Scope;
    use crate::session::inbox::InboxLimits;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn as_many_messages_as_an_inbox_remembers_are_known_after_a_restart() {
        let remembered = InboxLimits::default().seen_ids;
        let scope = Scope::of(&Address::of("loopback", "a").expect("valid"));
        let store = MemoryStore::new();
        for number in 0..remembered + 4_000 {
            let identity = format!("c{number}");
            for key in [scope.handed(&identity), scope.settled(&identity)] {
                store.insert(&key, SystemTime::now()).await.expect("kept");
            }
        }
        let stores = Stores::all_in(store);
        let known =
            load(&stores, Instant::now() + Duration::from_secs(60)).await.expect("read").recall.of(&scope);
        assert_eq!((known.settled.len(), known.handed.len()), (remembered, 0));
        assert_eq!(known.settled.last(), Some(&format!("c{}", remembered + 3_999)));
    }
}
