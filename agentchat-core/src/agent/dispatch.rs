//! Which message is handled when: in order within a conversation, parallel across, each once.
//!
//! This is the thinking; [`serve`](super::serve) does the waiting. Every step costs the same however many
//! messages are in hand (but for a logarithm where moments are ordered).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::after;
use crate::dedup::{Dedup, Seen};
use crate::delivery::Delivery;
use crate::id::{AckTag, ConversationId};

/// The queue of a serving agent. Its size is bounded by whoever admits: see [`Dispatcher::load`].
#[derive(Debug)]
pub(crate) struct Dispatcher {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose head may start, in the order they became so.
    ready: VecDeque<LaneKey>,
    /// Lanes whose head waits for another try, by when it is due; the number keeps equals in order.
    held: BTreeMap<(Instant, u64), LaneKey>,
    /// Ack tags of repetitions that arrived while the first copy was in progress.
    repeats: HashMap<String, BTreeSet<AckTag>>,
    seen: Dedup,
    running: usize,
    queued: usize,
    repeated: usize,
    counter: u64,
    policy: Policy,
}

/// How many run at once, and what happens to a message whose handler fails.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) concurrency: usize,
    pub(crate) retry_base: Duration,
    pub(crate) retry_cap: Duration,
    /// After how many failures a message is buried.
    pub(crate) max_attempts: Option<u32>,
}

/// What a conversation's messages queue in; a message without one has a lane to itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LaneKey {
    Conversation(ConversationId),
    Lone(u64),
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Queued>,
    running: Option<Queued>,
}

#[derive(Debug)]
struct Queued {
    delivery: Delivery,
    id: String,
    /// Its deadline, told once when it came: a clock that is set later does not move it.
    expires: Option<Instant>,
    /// How often its handler failed.
    failures: u32,
    /// How often it could not be buried.
    burials: u32,
}

/// Something to do for a message.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lane: LaneKey,
    pub(crate) delivery: Delivery,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Run the handler; `attempt` is 1 the first time.
    Handle { attempt: u32 },
    /// Its deadline has passed: answer with an error instead of running it.
    Expire,
    /// It failed this often, which is as often as it may: hand it to the dead-letter address.
    Bury { failures: u32 },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    Settled,
    Failed,
}

impl Dispatcher {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            held: BTreeMap::new(),
            repeats: HashMap::new(),
            seen: Dedup::new(SEEN_IDS, SEEN_AGE),
            running: 0,
            queued: 0,
            repeated: 0,
            counter: 0,
            policy,
        }
    }

    /// Takes a delivery in. A repetition of a settled message gives its tag back to be acknowledged
    /// again; one of a message in progress is acknowledged together with it, and never before: it may be
    /// the same row under another tag, or what replaced it.
    pub(crate) fn admit(&mut self, delivery: Delivery, now: Instant) -> Option<AckTag> {
        let id = delivery.identity();
        match self.seen.observe(&id, now) {
            Seen::Settled => return Some(delivery.tag),
            Seen::InProgress => {
                self.repeated += usize::from(self.repeats.entry(id).or_default().insert(delivery.tag));
                return None;
            }
            Seen::New => {}
        }
        let key = match &delivery.conversation {
            Some(conversation) => LaneKey::Conversation(conversation.clone()),
            None => LaneKey::Lone(self.count()),
        };
        let lane = self.lanes.entry(key.clone()).or_default();
        let idle = lane.queue.is_empty() && lane.running.is_none();
        let left = delivery.deadline.map(|at| at.duration_since(delivery.received).unwrap_or_default());
        let expires = left.map(|left| after(now, left));
        lane.queue.push_back(Queued { delivery, id, expires, failures: 0, burials: 0 });
        self.queued += 1;
        if idle {
            self.ready.push_back(key);
        }
        None
    }

    /// The next thing to do, when a slot is free and something may start.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Job> {
        self.wake(now);
        if self.running >= self.policy.concurrency {
            return None;
        }
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key)?;
        let queued = lane.queue.pop_front()?;
        let mut delivery = queued.delivery.clone();
        delivery.redelivered |= queued.failures > 0;
        let task = if self.policy.max_attempts.is_some_and(|most| queued.failures >= most) {
            Task::Bury { failures: queued.failures }
        } else if queued.expires.is_some_and(|at| at <= now) {
            Task::Expire
        } else {
            Task::Handle { attempt: queued.failures.saturating_add(1) }
        };
        lane.running = Some(queued);
        self.queued -= 1;
        self.running += 1;
        Some(Job { lane: key, delivery, task })
    }

    /// Records how the job of `key` ended; `task` is what it was. Returns what is to be acknowledged:
    /// nothing when it is to be tried again.
    pub(crate) fn finish(
        &mut self,
        key: &LaneKey,
        task: Task,
        finished: Finished,
        now: Instant,
    ) -> Vec<AckTag> {
        let Some(lane) = self.lanes.get_mut(key) else { return Vec::new() };
        let Some(mut queued) = lane.running.take() else { return Vec::new() };
        self.running -= 1;
        if finished == Finished::Failed {
            let tries = if let Task::Bury { .. } = task { &mut queued.burials } else { &mut queued.failures };
            *tries = tries.saturating_add(1);
            let tries = *tries;
            let exhausted = self.policy.max_attempts.is_some_and(|most| queued.failures >= most);
            let wait = match exhausted && queued.burials == 0 {
                true => Duration::ZERO,
                false => self.policy.retry_delay(tries),
            };
            lane.queue.push_front(queued);
            self.queued += 1;
            let number = self.count();
            self.held.insert((after(now, wait), number), key.clone());
            return Vec::new();
        }
        if lane.queue.is_empty() {
            self.lanes.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
        self.seen.settle(&queued.id, now);
        let mut tags = self.repeats.remove(&queued.id).unwrap_or_default();
        self.repeated -= tags.len();
        tags.insert(queued.delivery.tag);
        tags.into_iter().collect()
    }

    /// When something that is held back may start, the earliest of them.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.keys().next().map(|(at, _)| *at)
    }

    /// How many messages are in hand: running, queued or waiting for another try.
    pub(crate) fn in_hand(&self) -> usize {
        self.running + self.queued
    }

    /// How many deliveries are unsettled here: the messages in hand and the repetitions of them.
    pub(crate) fn load(&self) -> usize {
        self.in_hand() + self.repeated
    }

    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= now
        {
            self.ready.push_back(entry.remove());
        }
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

impl Policy {
    fn retry_delay(&self, tries: u32) -> Duration {
        self.retry_base.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(self.retry_cap)
    }
}

/// How many settled messages are remembered, and for how long: well over a reconnect's redeliveries.
const SEEN_IDS: usize = 65_536;
const SEEN_AGE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
