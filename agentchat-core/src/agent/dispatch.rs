//! Which message is handled when: in order within a conversation, parallel across, each once.
//!
//! This is the thinking; [`serve`](super::serve) does the waiting.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::dedup::{Dedup, Seen};
use crate::delivery::Delivery;
use crate::id::{AckTag, ConversationId};

/// The queue of a serving agent. Its size is bounded by the subscription's credit.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose head may start, in the order they became so.
    ready: VecDeque<LaneKey>,
    /// Ack tags of repetitions that arrived while the first copy was in progress.
    repeats: HashMap<String, Vec<AckTag>>,
    seen: Dedup,
    running: usize,
    /// How many lanes wait for the moment of their next try.
    held: usize,
    next_lone: u64,
    policy: Policy,
}

/// How many run at once, and what happens to a message whose handler fails.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) concurrency: usize,
    pub(crate) retry_base: Duration,
    pub(crate) retry_cap: Duration,
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
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Queued {
    delivery: Delivery,
    id: String,
    attempt: u32,
}

/// A message to hand to the handler.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lane: LaneKey,
    pub(crate) delivery: Delivery,
    /// 1 for the first time.
    pub(crate) attempt: u32,
    /// Its deadline has passed: answer with an error instead of running it.
    pub(crate) expired: bool,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    Settled,
    Failed,
}

/// What follows from the end of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Acknowledge these.
    Ack(Vec<AckTag>),
    /// It will be tried again at that moment.
    RetryAt(Instant),
    /// It failed as often as it may: hand it to the dead-letter address, then acknowledge these.
    GiveUp(Box<Delivery>, Vec<AckTag>),
}

impl Dispatcher {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            repeats: HashMap::new(),
            seen: Dedup::new(SEEN_IDS, SEEN_AGE),
            running: 0,
            held: 0,
            next_lone: 0,
            policy,
        }
    }

    /// Takes a delivery in. A repetition of a settled message gives its tag back to be acknowledged
    /// again; one of a message in progress is acknowledged together with it.
    pub(crate) fn admit(&mut self, delivery: Delivery, now: Instant) -> Option<AckTag> {
        let id = identity(&delivery);
        match self.seen.observe(&id, now) {
            Seen::Settled => return Some(delivery.tag),
            Seen::InProgress => {
                self.repeats.entry(id).or_default().push(delivery.tag);
                return None;
            }
            Seen::New => {}
        }
        let key = match &delivery.conversation {
            Some(conversation) => LaneKey::Conversation(conversation.clone()),
            None => {
                self.next_lone += 1;
                LaneKey::Lone(self.next_lone)
            }
        };
        let lane = self.lanes.entry(key.clone()).or_default();
        let idle = lane.queue.is_empty() && lane.running.is_none();
        lane.queue.push_back(Queued { delivery, id, attempt: 1 });
        if idle {
            self.ready.push_back(key);
        }
        None
    }

    /// The next message to run, when a slot is free and one may start.
    pub(crate) fn start(&mut self, now: Instant, clock: SystemTime) -> Option<Job> {
        if self.running >= self.policy.concurrency {
            return None;
        }
        self.wake(now);
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key)?;
        let queued = lane.queue.pop_front()?;
        let mut delivery = queued.delivery.clone();
        delivery.redelivered |= queued.attempt > 1;
        let job = Job {
            expired: delivery.deadline.is_some_and(|deadline| deadline <= clock),
            lane: key,
            delivery,
            attempt: queued.attempt,
        };
        lane.running = Some(queued);
        self.running += 1;
        Some(job)
    }

    /// Records how the job of `key` ended.
    pub(crate) fn finish(&mut self, key: &LaneKey, finished: Finished, now: Instant) -> Option<Verdict> {
        let lane = self.lanes.get_mut(key)?;
        let mut queued = lane.running.take()?;
        self.running -= 1;
        let exhausted = self.policy.max_attempts.is_some_and(|most| queued.attempt >= most);
        let verdict = if finished == Finished::Failed && !exhausted {
            let at = now + self.policy.retry_delay(queued.attempt);
            queued.attempt += 1;
            lane.not_before = Some(at);
            self.held += 1;
            lane.queue.push_front(queued);
            return Some(Verdict::RetryAt(at));
        } else {
            self.seen.settle(&queued.id, now);
            let mut tags = self.repeats.remove(&queued.id).unwrap_or_default();
            tags.push(queued.delivery.tag.clone());
            match finished {
                Finished::Settled => Verdict::Ack(tags),
                Finished::Failed => Verdict::GiveUp(Box::new(queued.delivery), tags),
            }
        };
        if lane.queue.is_empty() {
            self.lanes.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
        Some(verdict)
    }

    /// When a failed message may be tried again, the earliest of them.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.not_before).min()
    }

    /// How many messages are in hand: running, queued or waiting for another try.
    pub(crate) fn in_hand(&self) -> usize {
        self.running + self.lanes.values().map(|lane| lane.queue.len()).sum::<usize>()
    }

    fn wake(&mut self, now: Instant) {
        if self.held == 0 {
            return;
        }
        for (key, lane) in &mut self.lanes {
            if lane.not_before.is_some_and(|at| at <= now) {
                lane.not_before = None;
                self.held -= 1;
                self.ready.push_back(key.clone());
            }
        }
    }
}

impl Policy {
    fn retry_delay(&self, attempt: u32) -> Duration {
        self.retry_base.saturating_mul(1 << (attempt - 1).min(16)).min(self.retry_cap)
    }
}

/// What a repetition is recognised by: the sender's id under the sender's name, else the server's id.
fn identity(delivery: &Delivery) -> String {
    match &delivery.client_msg_id {
        Some(id) => format!("c|{}|{id}", delivery.sender.as_ref().map_or("", |sender| sender.name())),
        None => format!("s|{}", delivery.id),
    }
}

/// How many settled messages are remembered, and for how long: well over a reconnect's redeliveries.
const SEEN_IDS: usize = 65_536;
const SEEN_AGE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, ClientMsgId, MessageId};
    use proptest::prelude::*;

    fn policy(concurrency: usize) -> Policy {
        Policy {
            concurrency,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            max_attempts: None,
        }
    }

    fn delivery(number: usize, conversation: Option<u8>) -> Delivery {
        let tag = AckTag::new(format!("t{number}")).expect("tag");
        let mut delivery =
            Delivery::new(MessageId::new(number.to_string()).expect("id"), tag, Body::text("x"));
        delivery.conversation = conversation.map(|c| ConversationId::new(format!("c{c}")).expect("id"));
        delivery
    }

    #[test]
    fn a_failed_message_holds_its_conversation_but_no_other() {
        let now = Instant::now();
        let mut dispatcher = Dispatcher::new(policy(8));
        for (number, conversation) in [(0, 1), (1, 1), (2, 2)] {
            dispatcher.admit(delivery(number, Some(conversation)), now);
        }
        let first = dispatcher.start(now, SystemTime::now()).expect("first");
        let verdict = dispatcher.finish(&first.lane, Finished::Failed, now);
        assert_eq!(verdict, Some(Verdict::RetryAt(now + Duration::from_secs(1))));
        let other = dispatcher.start(now, SystemTime::now()).expect("the other conversation");
        assert_eq!(other.delivery.id.as_str(), "2");
        assert!(dispatcher.start(now, SystemTime::now()).is_none(), "its own conversation waits");
        let later = dispatcher.deadline().expect("a retry is due");
        let again = dispatcher.start(later, SystemTime::now()).expect("second try");
        assert_eq!((again.delivery.id.as_str(), again.attempt, again.delivery.redelivered), ("0", 2, true));
    }

    #[test]
    fn a_repetition_is_acknowledged_and_not_handled() {
        let now = Instant::now();
        let mut dispatcher = Dispatcher::new(policy(8));
        let mut original = delivery(0, None);
        original.client_msg_id = Some(ClientMsgId::new("m").expect("id"));
        let mut resent = delivery(7, None);
        resent.client_msg_id = original.client_msg_id.clone();
        let mut late = delivery(9, None);
        late.client_msg_id = original.client_msg_id.clone();
        assert_eq!(dispatcher.admit(original, now), None);
        assert_eq!(dispatcher.admit(resent, now), None);
        let job = dispatcher.start(now, SystemTime::now()).expect("one job");
        assert!(dispatcher.start(now, SystemTime::now()).is_none());
        let Some(Verdict::Ack(tags)) = dispatcher.finish(&job.lane, Finished::Settled, now) else {
            panic!("settled messages are acknowledged");
        };
        assert_eq!(tags.iter().map(AckTag::as_str).collect::<Vec<_>>(), ["t7", "t0"]);
        assert_eq!(dispatcher.admit(late, now).map(|tag| tag.to_string()).as_deref(), Some("t9"));
    }

    #[test]
    fn attempts_end_where_the_policy_says_and_the_message_is_handed_back() {
        let now = Instant::now();
        let mut dispatcher = Dispatcher::new(Policy { max_attempts: Some(2), ..policy(1) });
        dispatcher.admit(delivery(0, None), now);
        let job = dispatcher.start(now, SystemTime::now()).expect("first");
        dispatcher.finish(&job.lane, Finished::Failed, now);
        let later = now + Duration::from_secs(1);
        let job = dispatcher.start(later, SystemTime::now()).expect("second");
        let verdict = dispatcher.finish(&job.lane, Finished::Failed, later);
        assert!(matches!(verdict, Some(Verdict::GiveUp(given, _)) if given.id.as_str() == "0"));
        assert_eq!(dispatcher.in_hand(), 0);
    }

    #[test]
    fn a_message_past_its_deadline_is_marked() {
        let mut dispatcher = Dispatcher::new(policy(1));
        let mut stale = delivery(0, None);
        stale.deadline = Some(SystemTime::UNIX_EPOCH);
        dispatcher.admit(stale, Instant::now());
        assert!(dispatcher.start(Instant::now(), SystemTime::now()).expect("job").expired);
    }

    proptest! {
        #[test]
        fn conversations_keep_their_order_and_nothing_is_lost(
            plan in prop::collection::vec((prop::option::of(0_u8..4), 0_u8..4), 1..80),
            slots in 1_usize..6,
        ) {
            let mut now = Instant::now();
            let mut dispatcher = Dispatcher::new(policy(slots));
            for (number, (conversation, _)) in plan.iter().enumerate() {
                dispatcher.admit(delivery(number, *conversation), now);
            }
            let mut failures: Vec<u8> = plan.iter().map(|(_, failures)| *failures).collect();
            let mut running: VecDeque<Job> = VecDeque::new();
            let mut done: Vec<usize> = Vec::new();
            while dispatcher.in_hand() > 0 {
                while let Some(job) = dispatcher.start(now, SystemTime::now()) {
                    running.push_back(job);
                    prop_assert!(running.len() <= slots);
                }
                match running.pop_front() {
                    Some(job) => {
                        let number: usize = job.delivery.id.as_str().parse().unwrap();
                        if failures[number] > 0 {
                            failures[number] -= 1;
                            dispatcher.finish(&job.lane, Finished::Failed, now);
                        } else {
                            done.push(number);
                            let Some(Verdict::Ack(_)) = dispatcher.finish(&job.lane, Finished::Settled, now) else {
                                panic!("settled messages are acknowledged");
                            };
                        }
                    }
                    None => now = dispatcher.deadline().expect("something is due"),
                }
            }
            for conversation in 0..4 {
                let of = |n: &&usize| plan[**n].0 == Some(conversation);
                let order: Vec<_> = done.iter().filter(of).collect();
                prop_assert!(order.is_sorted(), "{order:?}");
            }
            done.sort_unstable();
            prop_assert_eq!(done, (0..plan.len()).collect::<Vec<_>>());
        }
    }
}
