//! The reader against a model broker whose class reads are not atomic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind};
use crate::message::{MsgId, Priority, Received};
use crate::options::{DeliverPolicy, FetchOptions};

use super::model::{Cursor, Mailbox};
use super::options::{AckMode, ConsumerOptions};
use super::partition::Partition;
use super::reader::{Action, Reader};

const MS: Duration = Duration::from_millis(1);
const CLASSES: [Priority; 3] = [Priority::Critical, Priority::Urgent, Priority::Normal];

/// A reader, the broker, and what lies between them.
struct World {
    options: ConsumerOptions,
    group: String,
    mailbox: Mailbox,
    now: Instant,
    reader: Reader,
    fetch: Option<Cursor>,
    ack: Option<MsgId>,
    deletes: Vec<MsgId>,
    in_hand: Vec<MsgId>,
    /// First deliveries of this incarnation, per class.
    seen: [Vec<u64>; 3],
    delivered: BTreeMap<u64, usize>,
    settled: BTreeSet<u64>,
    ended: Option<Error>,
    asked: Vec<FetchOptions>,
    acks: Vec<u64>,
}

impl World {
    fn new(options: ConsumerOptions) -> Self {
        let address = MailAddress::new("box").expect("valid");
        let now = Instant::now();
        Self {
            group: options.group_for(&address).expect("group").as_str().to_owned(),
            mailbox: Mailbox::default(),
            now,
            reader: new_reader(&options, now),
            options,
            fetch: None,
            ack: None,
            deletes: Vec::new(),
            in_hand: Vec::new(),
            seen: Default::default(),
            delivered: BTreeMap::new(),
            settled: BTreeSet::new(),
            ended: None,
            asked: Vec::new(),
            acks: Vec::new(),
        }
    }

    fn send_all(&mut self, priorities: impl IntoIterator<Item = Priority>) {
        for priority in priorities {
            self.mailbox.send(priority);
        }
    }

    fn drain_actions(&mut self) {
        while let Some(action) = self.reader.poll(self.now) {
            match action {
                Action::Deliver(rows) => rows.into_iter().for_each(|row| {
                    self.in_hand.push(row.id());
                    if row.attempt == 1 {
                        *self.delivered.entry(row.id().get()).or_default() += 1;
                        let class = super::coverage::class_of(&row.message);
                        self.seen[class].push(row.id().get());
                    }
                }),
                Action::Ack(id) => {
                    assert!(self.ack.replace(id).is_none(), "two acknowledgements under way");
                }
                Action::Delete(id) => self.deletes.push(id),
                Action::Exists => self.reader.on_exists(self.now, Ok(true)),
                Action::End(error) => self.ended = Some(error),
            }
        }
    }

    /// One step of the FETCH: begun, a class read, or its reply handed in. False when none is due.
    fn step_fetch(&mut self) -> bool {
        if let Some(cursor) = &mut self.fetch {
            if let Some(reply) = self.mailbox.read_class(cursor) {
                self.fetch = None;
                self.reader.on_fetched(self.now, Ok(reply), Duration::ZERO);
                self.drain_actions();
            }
            return true;
        }
        if self.reader.fetch_due(self.now).is_none_or(|due| due > self.now) {
            return false;
        }
        let options = self.reader.begin_fetch(self.now);
        self.fetch = Some(self.mailbox.begin(&options));
        self.asked.push(options);
        true
    }

    /// The broker carries the acknowledgement out, or does not; the reader learns of it, or does not.
    fn step_ack(&mut self, carried_out: bool, answered: bool) {
        if let Some(id) = self.ack.take() {
            if carried_out {
                self.check_ack(id.get());
                self.mailbox.ack(&self.group, id.get());
                self.acks.push(id.get());
            }
            let lost = Error::new(ErrorKind::Timeout, "MSG.ACK", "no reply");
            self.reader.on_acked(self.now, if carried_out && answered { Ok(()) } else { Err(lost) });
        }
        while let Some(id) = self.deletes.pop() {
            if carried_out {
                assert!(self.settled.contains(&id.get()), "deleted unsettled {id}");
                self.mailbox.rows.remove(&id.get());
            }
            let lost = Error::new(ErrorKind::Timeout, "MSG.DELETE", "no reply");
            self.reader.on_deleted(self.now, id, if carried_out && answered { Ok(()) } else { Err(lost) });
        }
        self.drain_actions();
    }

    /// Every stored message that the acknowledgement covers was delivered and settled.
    fn check_ack(&self, up_to: u64) {
        for row in self.mailbox.rows.range(..=up_to).map(|(_, row)| row) {
            let foreign = self.options.partition.as_ref().is_some_and(|partition| !partition.owns(row));
            assert!(foreign || self.settled.contains(&row.id.get()), "acked {up_to}, skipping {}", row.id);
        }
    }

    fn settle(&mut self, place: usize) {
        if self.in_hand.is_empty() {
            return;
        }
        let id = self.in_hand.swap_remove(place % self.in_hand.len());
        self.settled.insert(id.get());
        self.reader.settle(id, self.now);
        self.drain_actions();
    }

    fn retry(&mut self, place: usize) {
        if self.in_hand.is_empty() {
            return;
        }
        let id = self.in_hand.swap_remove(place % self.in_hand.len());
        self.reader.retry(id, 7 * MS, self.now);
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.drain_actions();
    }

    /// The process dies and starts again: what was under way is lost.
    fn crash(&mut self) {
        self.check_order();
        self.reader = new_reader(&self.options, self.now);
        (self.fetch, self.ack) = (None, None);
        self.deletes.clear();
        self.in_hand.clear();
        self.seen = Default::default();
    }

    /// Within one incarnation each class is handed out in order, each message once.
    fn check_order(&self) {
        for class in &self.seen {
            assert!(class.is_sorted_by(|a, b| a < b), "out of order or twice: {class:?}");
        }
    }

    /// Reads and settles until nothing is left to do.
    fn finish(&mut self) {
        for _ in 0..400 {
            while self.step_fetch() {}
            while !self.in_hand.is_empty() {
                self.settle(0);
            }
            self.step_ack(true, true);
            if self.reader.outstanding().is_empty() && self.is_told() {
                self.check_order();
                return;
            }
            let due = [self.reader.fetch_due(self.now), self.reader.deadline()].into_iter().flatten().min();
            self.advance(due.map_or(2 * MS, |due| due.saturating_duration_since(self.now)));
        }
        panic!("never came to rest: {:?}", self.reader);
    }

    fn is_told(&self) -> bool {
        let owned =
            |row: &&Received| self.options.partition.as_ref().is_none_or(|partition| partition.owns(row));
        match self.options.ack_mode {
            AckMode::Delete => self.mailbox.rows.values().find(owned).is_none(),
            AckMode::Offset => {
                let from = self.mailbox.offsets.get(&self.group).copied().unwrap_or(0);
                self.mailbox.rows.range(from..).next().is_none()
            }
        }
    }
}

fn new_reader(options: &ConsumerOptions, now: Instant) -> Reader {
    let address = MailAddress::new("box").expect("valid");
    let group = options.group_for(&address).expect("group");
    Reader::new(address, group, options.clone(), fastrand::Rng::with_seed(1), now)
}

/// One thing that happens; the numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Event {
    Send(usize),
    Compact(u64),
    Fetch(u8),
    Ack { carried_out: bool, answered: bool },
    Settle(usize),
    Retry(usize),
    Wait(u8),
    Crash,
    LoseOffset,
}

fn events(with_crash: bool) -> impl Strategy<Value = Vec<Event>> {
    let rare = u32::from(with_crash);
    let event = prop_oneof![
        8 => (0_usize..8).prop_map(Event::Send),
        1 => (0_u64..60).prop_map(Event::Compact),
        12 => (1_u8..5).prop_map(Event::Fetch),
        4 => Just(Event::Ack { carried_out: true, answered: true }),
        rare => any::<bool>().prop_map(|carried_out| Event::Ack { carried_out, answered: false }),
        8 => any::<usize>().prop_map(Event::Settle),
        1 => any::<usize>().prop_map(Event::Retry),
        4 => (0_u8..40).prop_map(Event::Wait),
        rare => Just(Event::Crash),
        rare => Just(Event::LoseOffset),
    ];
    prop::collection::vec(event, 0..220)
}

fn play(world: &mut World, events: Vec<Event>) {
    for event in events {
        match event {
            // Normal ones are the most frequent, as in life.
            Event::Send(choice) => world.send_all([CLASSES[choice.min(2)]]),
            Event::Compact(id) => drop(world.mailbox.rows.remove(&id)),
            Event::Fetch(steps) => {
                for _ in 0..steps {
                    world.step_fetch();
                }
            }
            Event::Ack { carried_out, answered } => world.step_ack(carried_out, answered),
            Event::Settle(place) => world.settle(place),
            Event::Retry(place) => world.retry(place),
            Event::Wait(ms) => world.advance(u32::from(ms) * MS),
            Event::Crash => world.crash(),
            Event::LoseOffset => world.mailbox.offsets.clear(),
        }
    }
    world.finish();
    assert!(world.ended.is_none(), "{:?}", world.ended);
    for id in world.mailbox.rows.keys() {
        let row = &world.mailbox.rows[id];
        if world.options.partition.as_ref().is_none_or(|partition| partition.owns(row)) {
            assert!(world.delivered.contains_key(id), "{id} was never delivered");
        }
    }
}

fn small(max_outstanding: usize) -> ConsumerOptions {
    ConsumerOptions::new("g").with_max_outstanding(max_outstanding).with_ack_every(4, 20 * MS)
}

#[test]
fn a_mailbox_at_rest_is_asked_as_a_group_and_one_with_work_in_hand_beyond_its_end() {
    let mut world = World::new(small(10));
    world.send_all([Priority::Normal; 3]);
    while world.in_hand.is_empty() {
        world.step_fetch();
    }
    world.asked.clear();
    world.advance(10 * MS);
    while !world.step_fetch() || world.fetch.is_some() {}
    let beyond = DeliverPolicy::FromId(MsgId::new(3));
    assert_eq!((&world.asked[0].group, world.asked[0].deliver), (&None, beyond), "not the same rows again");
    world.finish();
    world.asked.clear();
    world.advance(10 * MS);
    world.step_fetch();
    assert_eq!(world.asked[0].group.as_ref().map(|group| group.as_str()), Some(world.group.as_str()));
}

#[test]
fn a_gap_costs_one_narrow_read_before_the_acknowledgement() {
    let mut world = World::new(ConsumerOptions::new("g"));
    world.send_all([Priority::Normal; 3]);
    world.finish();
    world.asked.clear();
    world.send_all([Priority::Normal; 500]);
    world.mailbox.rows.remove(&100);
    world.finish();
    let narrow = world.asked.iter().filter(|read| read.num_msgs.is_some_and(|num| num < 50)).count();
    assert!(narrow >= 1 && world.asked.len() <= 5, "{:?}", world.asked);
    assert_eq!(world.acks.last(), Some(&502));
}

#[test]
fn a_critical_message_stored_between_the_class_reads_of_one_fetch_is_not_skipped() {
    let mut world = World::new(small(10));
    world.send_all([Priority::Normal]);
    world.finish();
    world.send_all([Priority::Normal]);
    world.advance(10 * MS);
    assert!(world.step_fetch() && world.step_fetch(), "begun, and the critical class read");
    world.send_all([Priority::Critical, Priority::Normal]);
    while world.fetch.is_some() {
        world.step_fetch();
    }
    assert_eq!(world.in_hand, [1, 3].map(MsgId::new), "id 2 was missed by this read");
    world.finish();
    assert_eq!(world.delivered.get(&2), Some(&1));
    assert!(world.acks.iter().all(|up_to| *up_to != 3) || world.settled.contains(&2));
}

#[test]
fn a_deep_backlog_of_one_class_needs_no_look_for_others() {
    let mut world = World::new(ConsumerOptions::new("g").with_max_outstanding(100));
    world.send_all([Priority::Normal; 1000]);
    world.finish();
    assert!(world.asked.len() <= 13, "{} reads of 100 rows", world.asked.len());
    assert_eq!(world.acks.last(), Some(&999));
}

#[test]
fn a_deep_backlog_of_mixed_classes_is_read_to_its_end() {
    let mut world = World::new(ConsumerOptions::new("g").with_max_outstanding(50));
    world.send_all((0..900).map(|n| CLASSES[n % 3]));
    world.finish();
    assert_eq!(world.delivered.len(), 900);
    assert!(world.delivered.values().all(|times| *times == 1));
}

proptest! {
    #[test]
    fn without_a_crash_every_message_is_delivered_exactly_once(
        events in events(false), max in 1_usize..12, backlog in prop::collection::vec(0_usize..8, 0..30),
    ) {
        let mut world = World::new(small(max));
        world.send_all(backlog.into_iter().map(|choice| CLASSES[choice.min(2)]));
        play(&mut world, events);
        for (id, times) in &world.delivered {
            prop_assert_eq!(*times, 1, "{} was delivered {} times", id, times);
        }
    }

    #[test]
    fn whatever_crashes_no_message_is_skipped(events in events(true), max in 1_usize..12) {
        play(&mut World::new(small(max)), events);
    }

    #[test]
    fn deleting_each_message_loses_none(events in events(true), max in 1_usize..12) {
        play(&mut World::new(small(max).with_ack_mode(AckMode::Delete)), events);
    }

    #[test]
    fn the_shares_of_a_mailbox_together_get_every_message(events in events(true), max in 1_usize..12) {
        for index in 0..2 {
            let share = Partition::new(index, 2).expect("share");
            play(&mut World::new(small(max).with_partition(share)), events.clone());
        }
    }
}
