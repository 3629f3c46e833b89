//! Which message is handled when: in order within a conversation, parallel across, each once.
//!
//! This is the thinking; [`serve`](super::serve) does the waiting. Every step costs the same however many
//! messages are in hand (but for a logarithm where moments are ordered, and for the size of a batch).

mod job;
mod lane;
mod policy;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{HandlerError, HandlerResult};
use super::serve_options::ServePolicy;
use super::serve_stats::ServeStats;
use super::turns::Gate;
use crate::clock::after;
use crate::dedup::{Dedup, Mark, Seen};
use crate::delivery::Delivery;
use crate::id::AckTag;
use crate::numbers::NumberHasher;
use lane::{Fate, Lane, Queued};

pub(crate) use job::{Job, LaneKey, Task};
pub(crate) use policy::Policy;

/// The queue of a serving agent. Its size is bounded by whoever admits: see [`Dispatcher::load`].
#[derive(Debug)]
pub(crate) struct Dispatcher {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose head may start, in the order they became so.
    ready: VecDeque<LaneKey>,
    /// Lanes whose head waits for another try, by when it is due; the number keeps equals in order.
    held: BTreeMap<(Instant, u64), LaneKey>,
    /// Ack tags of repetitions that arrived while the first copy was in progress.
    repeats: HashMap<Mark, BTreeSet<AckTag>, BuildHasherDefault<NumberHasher>>,
    seen: Dedup,
    /// Where identities are written.
    scratch: String,
    gate: Gate,
    running: usize,
    in_hand: usize,
    repeated: usize,
    counter: u64,
    policy: Policy,
    stats: ServeStats,
}

impl Dispatcher {
    pub(crate) fn new(policy: Policy, gate: Gate) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            held: BTreeMap::new(),
            repeats: HashMap::default(),
            seen: Dedup::new(SEEN_IDS, SEEN_AGE),
            scratch: String::new(),
            gate,
            running: 0,
            in_hand: 0,
            repeated: 0,
            counter: 0,
            policy,
            stats: ServeStats::default(),
        }
    }

    /// Takes a delivery in, and returns what is to be acknowledged because of it: a repetition of a settled
    /// message, or what it supersedes. A repetition of a message in progress is acknowledged together with
    /// it, and never before: it may be the same row under another tag, or what replaced it.
    pub(crate) fn admit(&mut self, delivery: Delivery, now: Instant) -> Vec<AckTag> {
        self.scratch.clear();
        delivery.write_identity(&mut self.scratch);
        let id = self.seen.mark(&self.scratch);
        match self.seen.observe(id, now) {
            Seen::Settled => {
                self.stats.repeated += 1;
                return vec![delivery.tag];
            }
            Seen::InProgress => {
                let new = self.repeats.entry(id).or_default().insert(delivery.tag);
                self.repeated += usize::from(new);
                self.stats.repeated += u64::from(new);
                return Vec::new();
            }
            Seen::New => {}
        }
        self.in_hand += 1;
        let key = match &delivery.conversation {
            Some(conversation) => LaneKey::Conversation(conversation.clone()),
            None => LaneKey::Lone(self.count()),
        };
        let lane = self.lanes.entry(key.clone()).or_default();
        let mut starts = lane.is_idle();
        let older = if self.policy.serve == ServePolicy::Latest { lane.take_open() } else { None };
        if older.is_some()
            && lane.queue.is_empty()
            && let Some(at) = lane.held.take()
        {
            // The wait was that of the older one.
            self.held.remove(&at);
            starts = true;
        }
        lane.queue.push_back(Queued::new(delivery, id, now));
        if starts {
            self.ready.push_back(key);
        }
        older.map_or_else(Vec::new, |older| self.supersede(older, now))
    }

    /// The next thing to do, when a slot is free and something may start.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Job> {
        self.wake(now);
        if self.running >= self.policy.concurrency {
            return None;
        }
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key)?;
        let mut head = lane.queue.pop_front()?;
        let task = head.task(&mut self.gate, now);
        let mut rest = Vec::new();
        if let Task::Handle { .. } = task {
            let room = self.policy.batch_after(head.failures).saturating_sub(1);
            while rest.len() < room
                && let Some(next) = lane.queue.front_mut()
                && next.failures == head.failures
                && matches!(next.task(&mut self.gate, now), Task::Handle { .. })
            {
                rest.extend(lane.queue.pop_front());
            }
        }
        let job = Job {
            lane: key,
            delivery: Arc::clone(&head.delivery),
            rest: rest.iter().map(|queued: &Queued| Arc::clone(&queued.delivery)).collect(),
            task,
        };
        lane.running = Some((head, rest));
        self.running += 1;
        Some(job)
    }

    /// Records how the job of `key` ended. Returns what is to be acknowledged; what is not comes to its turn
    /// again.
    pub(crate) fn finish(&mut self, key: &LaneKey, outcome: HandlerResult, now: Instant) -> Vec<AckTag> {
        let Some((head, rest)) = self.lanes.get_mut(key).and_then(|lane| lane.running.take()) else {
            return Vec::new();
        };
        self.running -= 1;
        let mut acks = Vec::new();
        let wait = match outcome {
            Ok(()) => {
                self.settle(head, now, &mut acks);
                rest.into_iter().for_each(|queued| self.settle(queued, now, &mut acks));
                Duration::ZERO
            }
            Err(error) => self.failed(key, head, rest, error, now, &mut acks),
        };
        let number = self.count();
        let Some(lane) = self.lanes.get_mut(key) else { return acks };
        if lane.queue.is_empty() {
            self.lanes.remove(key);
        } else if wait.is_zero() {
            self.ready.push_back(key.clone());
        } else {
            let at = (after(now, wait), number);
            lane.held = Some(at);
            self.held.insert(at, key.clone());
        }
        acks
    }

    /// When something that is held back may start, the earliest of them.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.keys().next().map(|(at, _)| *at)
    }

    /// How many messages are in hand: running, queued or waiting for another try.
    pub(crate) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// How many deliveries are unsettled here: the messages in hand and the repetitions of them.
    pub(crate) fn load(&self) -> usize {
        self.in_hand + self.repeated
    }

    /// What became of messages until now.
    pub(crate) fn stats(&self) -> ServeStats {
        self.stats
    }

    /// Puts back what failed, and what was not looked at; returns how long the lane waits.
    fn failed(
        &mut self,
        key: &LaneKey,
        head: Queued,
        rest: Vec<Queued>,
        error: HandlerError,
        now: Instant,
        acks: &mut Vec<AckTag>,
    ) -> Duration {
        let about = error.index(1 + rest.len()).filter(|_| !rest.is_empty());
        let error = Arc::new(error);
        let mut wait = Duration::ZERO;
        let mut back = Vec::with_capacity(1 + rest.len());
        for (index, mut queued) in std::iter::once(head).chain(rest).enumerate() {
            if about.is_some_and(|about| index < about) {
                self.settle(queued, now, acks);
                continue;
            }
            if about.is_none_or(|about| index == about) {
                wait = self.policy.strike(&mut queued, &error, &mut self.stats);
            }
            back.push(queued);
        }
        let Some(lane) = self.lanes.get_mut(key) else { return wait };
        if self.policy.serve == ServePolicy::Latest
            && lane.queue.back().is_some_and(Queued::is_open)
            && back.last().is_some_and(Queued::is_open)
            && let Some(older) = back.pop()
        {
            acks.extend(self.supersede(older, now));
            return Duration::ZERO;
        }
        back.into_iter().rev().for_each(|queued| lane.queue.push_front(queued));
        wait
    }

    /// A newer message took the place of `older`. It is settled at once, or when its sender was told.
    fn supersede(&mut self, mut older: Queued, now: Instant) -> Vec<AckTag> {
        tracing::debug!(
            name: "message.superseded", id = %older.delivery.id, "a newer message of its conversation came"
        );
        self.stats.superseded += 1;
        if !older.supersede() {
            let mut acks = Vec::new();
            self.settle(older, now, &mut acks);
            return acks;
        }
        let key = LaneKey::Lone(self.count());
        self.lanes.entry(key.clone()).or_default().queue.push_back(older);
        self.ready.push_back(key);
        Vec::new()
    }

    fn settle(&mut self, queued: Queued, now: Instant, acks: &mut Vec<AckTag>) {
        match queued.fate {
            Fate::Handle => self.stats.handled += 1,
            Fate::Expire => self.stats.expired += 1,
            Fate::Bury { error, .. } if error.is_reject() => self.stats.rejected += 1,
            Fate::Bury { .. } => self.stats.given_up += 1,
            Fate::Supersede => {}
        }
        self.in_hand -= 1;
        self.seen.settle(queued.id, now);
        let tag = queued.delivery.tag.clone();
        if let Some(mut tags) = self.repeats.remove(&queued.id) {
            self.repeated -= tags.len();
            tags.insert(tag);
            acks.extend(tags);
        } else {
            acks.push(tag);
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.held = None;
            }
            self.ready.push_back(key);
        }
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// How many settled messages are remembered, and for how long: well over a reconnect's redeliveries.
const SEEN_IDS: usize = 65_536;
const SEEN_AGE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
