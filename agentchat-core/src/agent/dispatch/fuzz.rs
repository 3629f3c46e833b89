//! Random operations over the dispatcher: each message once and in its conversation's order, each delivery
//! acknowledged once and after its message, every slot used and none twice.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fuzz::Dice;
use crate::{Address, Body, ClientMsgId, ConversationId, MessageId};

pub(crate) fn run(dice: &mut Dice) {
    let mut world = World::new(dice);
    while !dice.is_spent() {
        world.operate(dice);
        world.judge();
    }
    world.come_to_rest();
}

struct World {
    dispatcher: Dispatcher,
    concurrency: usize,
    max_attempts: Option<u32>,
    now: Instant,
    running: Vec<Job>,
    /// The conversation and the deadline of each message.
    messages: BTreeMap<u8, (Option<u8>, Option<Instant>)>,
    failures: BTreeMap<u8, u32>,
    settled: BTreeSet<u8>,
    /// The first row of each message that is handled, by conversation.
    order: BTreeMap<u8, u64>,
    rows: u64,
    acknowledged: BTreeSet<u64>,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let concurrency = dice.usize(1..6);
        let max_attempts = dice.bool().then(|| u32::from(dice.u8(1..4)));
        let policy = Policy {
            serve: ServePolicy::Each,
            concurrency,
            retry_base: Duration::from_millis(dice.u64(0..2_000)),
            retry_cap: Duration::from_secs(dice.u64(0..20)),
            max_attempts,
        };
        Self {
            dispatcher: Dispatcher::new(policy, Gate::default()),
            concurrency,
            max_attempts,
            now: Instant::now(),
            running: Vec::new(),
            messages: BTreeMap::new(),
            failures: BTreeMap::new(),
            settled: BTreeSet::new(),
            order: BTreeMap::new(),
            rows: 0,
            acknowledged: BTreeSet::new(),
        }
    }

    fn operate(&mut self, dice: &mut Dice) {
        let operation = dice.u8(0..10);
        let state =
            (self.running.len(), self.dispatcher.in_hand().min(8), self.dispatcher.deadline().is_some());
        dice.reached((operation, state, self.dispatcher.load() - self.dispatcher.in_hand() > 0));
        match operation {
            0..4 => self.arrive(dice),
            4..6 => self.start(),
            6 | 7 => self.end(dice.usize(0..8), Ok(())),
            8 => self.end(dice.usize(0..8), Err("it fails".into())),
            _ => self.now += Duration::from_millis(dice.u64(0..5_000)),
        }
    }

    fn arrive(&mut self, dice: &mut Dice) {
        let id = dice.u8(0..40);
        let (conversation, due) = match self.messages.get(&id) {
            Some(known) => *known,
            None => {
                let due = (dice.u8(0..4) == 0).then(|| self.now + Duration::from_millis(dice.u64(0..9_000)));
                *self.messages.entry(id).or_insert(((dice.u8(0..3) > 0).then(|| dice.u8(0..4)), due))
            }
        };
        let row = self.rows;
        self.rows += 1;
        let tag = AckTag::new(row.to_string()).expect("tag");
        let mut delivery = Delivery::new(MessageId::new(row.to_string()).expect("id"), tag, Body::text("x"));
        delivery.client_msg_id = Some(ClientMsgId::new(format!("m{id}")).expect("id"));
        delivery.sender = Address::parse("loopback://a").ok();
        delivery.conversation = conversation.map(|c| ConversationId::new(format!("c{c}")).expect("id"));
        // The time of day jumps about; what is left until the deadline is what counts.
        delivery.received += Duration::from_secs(3_600 * u64::from(dice.u8(0..100)));
        delivery.deadline = due.map(|due| delivery.received + due.saturating_duration_since(self.now));
        let again = self.dispatcher.admit(delivery, self.now);
        assert_eq!(!again.is_empty(), self.settled.contains(&id), "m{id} in row {row}");
        again.into_iter().for_each(|tag| self.acknowledge(&tag));
    }

    fn start(&mut self) {
        let Some(job) = self.dispatcher.start(self.now) else { return };
        let id = id(&job);
        assert!(!self.settled.contains(&id), "m{id} was settled");
        assert!(self.running.iter().all(|other| other.lane != job.lane), "two of one conversation at once");
        let (failures, due) = (self.failures.get(&id).copied().unwrap_or_default(), self.messages[&id].1);
        let exhausted = self.max_attempts.is_some_and(|most| failures >= most);
        let expired = due.is_some_and(|due| due <= self.now);
        match job.task {
            Task::Bury { failures: told, .. } => assert!(exhausted && told == failures, "m{id}"),
            Task::Expire => assert!(expired && !exhausted, "m{id}"),
            Task::Handle { attempt } => assert!(!exhausted && !expired && attempt == failures + 1, "m{id}"),
            Task::Supersede { .. } => panic!("m{id} was not superseded"),
        }
        if let (Some(conversation), 0) = (self.messages[&id].0, failures) {
            let row = job.delivery.id.as_str().parse().expect("a number");
            let before = self.order.insert(conversation, row);
            assert!(before.is_none_or(|before| before <= row), "row {row} after {before:?}");
        }
        self.running.push(job);
        assert!(self.running.len() <= self.concurrency);
    }

    fn end(&mut self, which: usize, outcome: HandlerResult) {
        if self.running.is_empty() {
            return;
        }
        let job = self.running.remove(which % self.running.len());
        let failed = outcome.is_err();
        let tags = self.dispatcher.finish(&job.lane, outcome, self.now);
        assert_eq!(tags.is_empty(), failed);
        match job.task {
            _ if !failed => drop(self.settled.insert(id(&job))),
            Task::Bury { .. } => {}
            _ => *self.failures.entry(id(&job)).or_default() += 1,
        }
        tags.iter().for_each(|tag| self.acknowledge(tag));
    }

    fn acknowledge(&mut self, tag: &AckTag) {
        let row = tag.as_str().parse().expect("a number");
        assert!(self.acknowledged.insert(row), "row {row} was acknowledged");
    }

    fn judge(&self) {
        assert_eq!(self.dispatcher.load() as u64, self.rows - self.acknowledged.len() as u64);
        assert_eq!(self.dispatcher.in_hand(), self.messages.len() - self.settled.len());
    }

    /// Everything that is in hand ends when handlers succeed.
    fn come_to_rest(&mut self) {
        for _ in 0..10_000 {
            while self.running.len() < self.concurrency {
                let running = self.running.len();
                self.start();
                if self.running.len() == running {
                    break;
                }
            }
            if self.dispatcher.in_hand() == 0 {
                break;
            }
            if self.running.is_empty() {
                let due = self.dispatcher.deadline().expect("something waits for a moment");
                assert!(due > self.now, "what is due was not started");
                self.now = due;
            }
            self.end(0, Ok(()));
            self.judge();
        }
        assert_eq!((self.dispatcher.in_hand(), self.dispatcher.load()), (0, 0), "it does not come to rest");
        assert!(self.dispatcher.lanes.is_empty() && self.dispatcher.repeats.is_empty());
    }
}

fn id(job: &Job) -> u8 {
    let id = job.delivery.client_msg_id.as_ref().expect("it has one");
    id.as_str()[1..].parse().expect("a number")
}
