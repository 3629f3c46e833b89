//! Permits to begin an attempt: for the agent as a whole, and for each conversation. The counting is
//! `governor`'s, over the `now` that the caller gives.

mod limits;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{NotUntil, RateLimiter};
use tokio::time::Instant;

pub use self::limits::{Quota, RateLimits};
use crate::clock::after;
use crate::id::ConversationId;

/// Gives out permits. A permit is taken at the moment it is used or not at all: one that was saved up for
/// a message that lacks another would be one too many later.
#[derive(Debug)]
pub(crate) struct Rate {
    birth: Option<Instant>,
    moment: Moment,
    agent: Option<Limiter<()>>,
    conversations: Option<(Limiter<ConversationId>, Table<ConversationId>)>,
    most: usize,
}

/// Why there is no permit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Nothing can begin until then.
    Agent(Instant),
    /// Nothing of this conversation can.
    Conversation(Instant),
}

type Limiter<K> = RateLimiter<K, Table<K>, Moment, NoOpMiddleware<Nanos>>;

/// What the limiters see of the time: nanoseconds since the first question. And whether they only look.
#[derive(Debug, Clone, Default)]
struct Moment(Arc<Reading>);

#[derive(Debug, Default)]
struct Reading {
    now: AtomicU64,
    look: AtomicBool,
}

/// When each key will have all its permits back, which is the limiter's whole memory. A key whose time has
/// come is as good as new, and is forgotten. Nobody else locks it; the lock makes it shareable.
#[derive(Debug)]
struct Table<K> {
    moment: Moment,
    keys: Arc<Mutex<Keys<K>>>,
}

#[derive(Debug)]
struct Keys<K> {
    restored: HashMap<K, u64>,
    by_time: BTreeSet<(u64, K)>,
}

impl Rate {
    /// Limits that have been checked.
    pub(crate) fn new(limits: RateLimits) -> Self {
        let moment = Moment::default();
        let agent = limits.per_agent.map(|quota| Table::new(&moment).limiter(quota));
        let conversations = limits.per_conversation.map(|quota| {
            let table = Table::new(&moment);
            (table.clone().limiter(quota), table)
        });
        Self { birth: None, moment, agent, conversations, most: MOST }
    }

    /// Whether there is any limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.agent.is_some() || self.conversations.is_some()
    }

    /// Takes the permits for one attempt, or none of them.
    ///
    /// # Errors
    /// Which permit is lacking, and when to ask again.
    pub(crate) fn take(
        &mut self,
        conversation: Option<&ConversationId>,
        now: Instant,
    ) -> Result<(), Limited> {
        let conversation = conversation.and_then(|key| self.conversations.as_ref().map(|of| (of, key)));
        if conversation.is_none() && self.agent.is_none() {
            return Ok(());
        }
        let birth = *self.birth.get_or_insert(now);
        self.moment.0.now.store(nanos(now.saturating_duration_since(birth)), Ordering::Relaxed);
        let at = |nanos: u64| after(birth, Duration::from_nanos(nanos));
        let until = |refused: NotUntil<Nanos>| at(refused.earliest_possible().as_u64());
        // First only looked at, so that a permit of one kind is not spent where the other is lacking.
        for look in [true, false] {
            self.moment.0.look.store(look, Ordering::Relaxed);
            if let Some(((limiter, table), key)) = conversation {
                if let Some(room) = table.room_at(key, self.most) {
                    return Err(Limited::Conversation(at(room)));
                }
                limiter.check_key(key).map_err(|refused| Limited::Conversation(until(refused)))?;
            }
            if let Some(limiter) = &self.agent {
                limiter.check_key(&()).map_err(|refused| Limited::Agent(until(refused)))?;
            }
        }
        Ok(())
    }
}

impl Limited {
    pub(crate) fn until(self) -> Instant {
        match self {
            Self::Agent(at) | Self::Conversation(at) => at,
        }
    }
}

impl<K: Hash + Ord + Clone> Table<K> {
    fn new(moment: &Moment) -> Self {
        let keys = Keys { restored: HashMap::new(), by_time: BTreeSet::new() };
        Self { moment: moment.clone(), keys: Arc::new(Mutex::new(keys)) }
    }

    fn limiter(self, quota: Quota) -> Limiter<K> {
        let burst = NonZeroU32::new(quota.burst).unwrap_or(NonZeroU32::MIN);
        let interval = quota.interval().max(Duration::from_nanos(1));
        let quota = governor::Quota::with_period(interval).map(|quota| quota.allow_burst(burst));
        let clock = self.moment.clone();
        RateLimiter::new(quota.expect("the interval is longer than nothing"), self, clock)
    }

    /// When there is room for `key`, if there is none now. Room is made by time alone: to forget a key
    /// early would give it permits that it does not have.
    fn room_at(&self, key: &K, most: usize) -> Option<u64> {
        let mut keys = self.lock();
        keys.forget(self.moment.now());
        let full = keys.restored.len() >= most && !keys.restored.contains_key(key);
        keys.by_time.first().filter(|_| full).map(|(at, _)| *at)
    }

    fn lock(&self) -> MutexGuard<'_, Keys<K>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Table<K> {
    fn clone(&self) -> Self {
        Self { moment: self.moment.clone(), keys: Arc::clone(&self.keys) }
    }
}

impl<K: Hash + Ord + Clone> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.lock();
        let known = keys.restored.get(key).copied();
        let (allowed, restored) = decide(known.map(Nanos::new))?;
        if !self.moment.0.look.load(Ordering::Relaxed) {
            keys.set(key, known, restored.as_u64());
        }
        Ok(allowed)
    }
}

impl Clock for Moment {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.now.load(Ordering::Relaxed))
    }
}

impl<K: Hash + Ord + Clone> Keys<K> {
    fn set(&mut self, key: &K, known: Option<u64>, restored: u64) {
        if let Some(known) = known {
            self.by_time.remove(&(known, key.clone()));
        }
        self.restored.insert(key.clone(), restored);
        self.by_time.insert((restored, key.clone()));
    }

    fn forget(&mut self, now: Nanos) {
        while self.by_time.first().is_some_and(|(at, _)| *at <= now.as_u64()) {
            if let Some((_, key)) = self.by_time.pop_first() {
                self.restored.remove(&key);
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// How many conversations are counted at once. A further one waits until one of them is as good as new.
const MOST: usize = 16_384;

#[cfg(test)]
mod tests;
