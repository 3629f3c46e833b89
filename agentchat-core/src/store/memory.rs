//! The stores in memory: the same semantics, without surviving the process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::limits::{StoreLimits, check_cursor, check_settled, nothing_to_park, other_content};
use super::types::{Cursor, ParkedReason, ParkedSend, SettledId, StoredSend, from_millis, to_millis};
use super::{CursorStore, DedupStore, OutboxStore};
use crate::error::Result;
use crate::id::ClientMsgId;

/// All three stores in memory, for tests and for processes that need not survive.
///
/// It keeps every promise of the traits except that its content ends with it. Its methods never wait.
#[derive(Default)]
pub struct MemoryStore {
    limits: StoreLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sends: HashMap<ClientMsgId, Kept>,
    send_bytes: u64,
    parked: usize,
    cursors: HashMap<String, Cursor>,
    settled: HashMap<String, (i64, u64)>,
    /// The same ids by time, then by the order of arrival.
    by_time: BTreeMap<(i64, u64), String>,
    /// Numbers first saves and inserts.
    next: u64,
}

struct Kept {
    arrived: u64,
    send: StoredSend,
    reason: Option<ParkedReason>,
}

impl MemoryStore {
    /// An empty store with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with `limits`. With limits [out of range](StoreLimits::check) every call fails.
    pub fn with_limits(limits: StoreLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.limits.check()?;
        Ok(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryStore")
            .field("sends", &state.sends.len())
            .field("parked", &state.parked)
            .field("cursors", &state.cursors.len())
            .field("settled", &state.settled.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn save(&self, send: &StoredSend) -> Result<()> {
        let mut state = self.state()?;
        let former = state.sends.get(send.id());
        if former.is_some_and(|kept| kept.send.message != send.message) {
            return Err(other_content());
        }
        let arrived = match former {
            Some(kept) => kept.arrived,
            None => {
                self.limits.admit_send(send, state.sends.len(), state.send_bytes, state.parked)?;
                state.send_bytes += send.size();
                state.next
            }
        };
        state.next += 1;
        let kept = Kept { arrived, send: send.clone(), reason: None };
        let replaced = state.sends.insert(send.id().clone(), kept);
        state.parked -= usize::from(replaced.is_some_and(|kept| kept.reason.is_some()));
        Ok(())
    }

    async fn remove(&self, id: &ClientMsgId) -> Result<()> {
        let mut state = self.state()?;
        if let Some(kept) = state.sends.remove(id) {
            state.send_bytes -= kept.send.size();
            state.parked -= usize::from(kept.reason.is_some());
        }
        Ok(())
    }

    async fn load(&self) -> Result<Vec<StoredSend>> {
        let state = self.state()?;
        let waiting = state.in_order().into_iter().filter(|kept| kept.reason.is_none());
        Ok(waiting.map(|kept| kept.send.clone()).collect())
    }

    async fn park(&self, id: &ClientMsgId, reason: &ParkedReason) -> Result<()> {
        let mut state = self.state()?;
        let kept = state.sends.get_mut(id).ok_or_else(nothing_to_park)?;
        let newly = kept.reason.replace(reason.clone()).is_none();
        state.parked += usize::from(newly);
        Ok(())
    }

    async fn parked(&self) -> Result<Vec<ParkedSend>> {
        let state = self.state()?;
        let parked = state.in_order().into_iter();
        Ok(parked.filter_map(|kept| Some(ParkedSend::new(kept.send.clone(), kept.reason.clone()?))).collect())
    }

    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>> {
        let mut state = self.state()?;
        let Some(kept) = state.sends.get_mut(id) else { return Ok(None) };
        let (send, was_parked) = (kept.send.clone(), kept.reason.take().is_some());
        state.parked -= usize::from(was_parked);
        Ok(Some(send))
    }
}

#[async_trait]
impl CursorStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Cursor>> {
        Ok(self.state()?.cursors.get(key).cloned())
    }

    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()> {
        check_cursor(key, cursor)?;
        let mut state = self.state()?;
        if !state.cursors.contains_key(key) {
            self.limits.admit_cursor(state.cursors.len())?;
        }
        state.cursors.insert(key.to_owned(), cursor.clone());
        Ok(())
    }

    async fn clear(&self, key: &str) -> Result<()> {
        self.state()?.cursors.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>> {
        let state = self.state()?;
        let matching = state.cursors.iter().filter(|(key, _)| key.starts_with(prefix));
        let mut cursors: Vec<_> = matching.map(|(key, cursor)| (key.clone(), cursor.clone())).collect();
        cursors.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(cursors)
    }
}

#[async_trait]
impl DedupStore for MemoryStore {
    async fn insert(&self, id: &str, settled_at: SystemTime) -> Result<()> {
        let at = check_settled(id, settled_at)?;
        let mut state = self.state()?;
        let former = state.settled.get(id).copied();
        if former.is_none_or(|(time, _)| time < at) {
            if let Some(former) = former {
                state.by_time.remove(&former);
            }
            let place = (at, state.next);
            state.next += 1;
            state.by_time.insert(place, id.to_owned());
            state.settled.insert(id.to_owned(), place);
        }
        state.forget_before(self.limits.settled_horizon(at));
        while state.settled.len() > self.limits.max_settled {
            state.forget_oldest();
        }
        Ok(())
    }

    async fn contains(&self, id: &str) -> Result<bool> {
        Ok(self.state()?.settled.contains_key(id))
    }

    async fn newest(&self, count: usize) -> Result<Vec<SettledId>> {
        let state = self.state()?;
        let newest = state.by_time.iter().rev().take(count);
        let mut ids: Vec<_> =
            newest.map(|((at, _), id)| SettledId::new(id.as_str(), from_millis(*at))).collect();
        ids.reverse();
        Ok(ids)
    }

    async fn forget_older_than(&self, time: SystemTime) -> Result<()> {
        self.state()?.forget_before(to_millis(time));
        Ok(())
    }
}

impl State {
    fn in_order(&self) -> Vec<&Kept> {
        let mut sends: Vec<_> = self.sends.values().collect();
        sends.sort_unstable_by_key(|kept| (kept.send.position, kept.arrived));
        sends
    }

    fn forget_before(&mut self, horizon: i64) {
        while self.by_time.first_key_value().is_some_and(|((at, _), _)| *at < horizon) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_time.pop_first() {
            self.settled.remove(&id);
        }
    }
}
