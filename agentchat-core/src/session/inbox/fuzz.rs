//! Random operations against a model of a server, a flaky connection and a reader.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::limits::AckStyle;
use super::*;
use crate::fuzz::Dice;
use crate::id::MessageId;
use crate::session::order::OrderLimits;
use crate::{Address, Body};

/// A message: its conversation and its number.
type Id = (u8, u64);

const CONVERSATIONS: u8 = 5;
const MAX_UNSETTLED: usize = 16;
const HOLD_ROWS: usize = 6;

#[derive(Debug)]
struct World {
    dice: Dice,
    now: Instant,
    inbox: Inbox,
    style: AckStyle,
    /// Everything history has, by conversation; `true` for the agent's own messages.
    history: BTreeMap<u8, BTreeMap<u64, bool>>,
    last: [u64; CONVERSATIONS as usize],
    unacked: BTreeSet<Id>,
    connection: Option<Connection>,
    questions: Vec<(u8, u64, usize)>,
    /// What the reader has, by the tag it was given.
    in_hand: Vec<(AckTag, Id)>,
    /// The same of readers that went away.
    loose: Vec<(AckTag, Id)>,
    settled: BTreeSet<Id>,
    spent: Vec<AckTag>,
    highest: HashMap<u8, u64>,
    /// The highest number of an own send that the inbox was told of.
    sent: HashMap<u8, u64>,
    deliveries: BTreeMap<Id, usize>,
    abandoned: bool,
}

#[derive(Debug, Default)]
struct Connection {
    /// What it will bring; `None` is the end of the backlog.
    coming: VecDeque<Option<Id>>,
    /// What it has brought, in order, and how many of that were acknowledged.
    arrived: Vec<(AckTag, Id)>,
    acked: usize,
    read: HashMap<AckTag, Id>,
}

impl World {
    fn new(mut dice: Dice) -> Self {
        let style = if dice.bool() { AckStyle::PerMessage } else { AckStyle::Prefix };
        let order = OrderLimits {
            hold_rows: HOLD_ROWS,
            history_rows: *dice.choice(&[0_usize, 3, 200]).expect("not empty"),
            conversations: *dice.choice(&[2_usize, 10_000]).expect("not empty"),
            ..OrderLimits::default()
        };
        let limits = InboxLimits {
            own: Some(Address::parse("loopback://me").expect("address")),
            max_unsettled: MAX_UNSETTLED,
            ack: style,
            order,
            ..InboxLimits::default()
        };
        let now = Instant::now();
        let mut inbox = Inbox::new(limits, now);
        inbox.keep_identities();
        Self {
            dice,
            now,
            inbox,
            style,
            history: BTreeMap::new(),
            last: [0; CONVERSATIONS as usize],
            unacked: BTreeSet::new(),
            connection: None,
            questions: Vec::new(),
            in_hand: Vec::new(),
            loose: Vec::new(),
            settled: BTreeSet::new(),
            spent: Vec::new(),
            highest: HashMap::new(),
            sent: HashMap::new(),
            deliveries: BTreeMap::new(),
            abandoned: false,
        }
    }

    fn operate(&mut self) {
        let operation = self.dice.u8(0..100);
        let load = self.inbox.unsettled.total().messages;
        let kind = [30, 60, 80, 88, 94, 96, 98, 100].iter().position(|end| operation < *end);
        let state = (load / 4, self.inbox.has_credit(), self.inbox.is_catching_up(), self.style as u8);
        let waits = (self.connection.is_some(), self.questions.is_empty(), self.loose.is_empty());
        self.dice.reached((kind, state, waits, self.inbox.deadline().is_some()));
        match operation {
            0..30 => self.publish(),
            30..60 => self.receive(),
            60..80 => self.settle(),
            80..88 => self.answer(),
            88..94 => {
                let time = Duration::from_millis(self.dice.u64(0..1500));
                self.wait(time);
            }
            94..96 if self.connection.is_some() => self.disconnect(),
            94..98 if self.connection.is_none() => self.connect(),
            98 if self.dice.u8(0..8) == 0 => self.abandon(),
            // A machine sleeps, or the network is away for long.
            99 if self.connection.is_none() => self.wait(Duration::from_secs(25 * 3600)),
            _ => {}
        }
    }

    fn publish(&mut self) {
        let of = self.dice.u8(0..CONVERSATIONS);
        let seq = self.last[usize::from(of)] + 1;
        self.last[usize::from(of)] = seq;
        match self.dice.u8(0..10) {
            0 => {}
            1 | 2 => {
                self.history.entry(of).or_default().insert(seq, true);
                if self.dice.bool() {
                    self.inbox.note_own_send(&conversation(of), seq, self.now);
                    self.sent.insert(of, seq);
                } else if let Some(connection) = &mut self.connection {
                    connection.coming.push_back(Some((of, seq)));
                }
            }
            chance => {
                self.history.entry(of).or_default().insert(seq, false);
                self.unacked.insert((of, seq));
                // Some are not pushed; they come with the next backlog or from history.
                if let (Some(connection), 3..) = (&mut self.connection, chance) {
                    connection.coming.push_back(Some((of, seq)));
                }
            }
        }
        self.act();
    }

    fn receive(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if !self.inbox.has_credit() || connection.coming.is_empty() {
            return;
        }
        let skip = self.dice.usize(0..connection.coming.len().min(4));
        let next = match connection.coming.get(skip) {
            // Nothing of the backlog is behind its end.
            Some(Some(_)) if connection.coming.iter().take(skip).all(Option::is_some) => {
                connection.coming.remove(skip)
            }
            _ => connection.coming.pop_front(),
        };
        match next {
            Some(Some(id)) => {
                if self.dice.u8(0..8) == 0 {
                    connection.coming.push_back(Some(id));
                }
                // Every connection counts from 0, so tags come back for other messages.
                let tag = AckTag::new(connection.arrived.len().to_string()).expect("tag");
                connection.arrived.push((tag.clone(), id));
                let own = self.history[&id.0][&id.1];
                self.inbox.on_delivery(row(id, tag, own), self.now);
            }
            Some(None) => self.inbox.on_caught_up(self.now),
            None => {}
        }
        self.act();
    }

    fn settle(&mut self) {
        let from =
            if self.loose.is_empty() || self.dice.bool() { &mut self.in_hand } else { &mut self.loose };
        if from.is_empty() {
            return;
        }
        let at = self.dice.usize(0..from.len());
        let (tag, id) = from.swap_remove(at);
        if self.inbox.settled(&tag, self.now).is_some() {
            self.settled.insert(id);
            self.in_hand.retain(|(_, other)| *other != id);
        }
        self.spent.push(tag);
        let again = self.dice.choice(&self.spent).expect("just pushed");
        assert_eq!(self.inbox.settled(again, self.now), None);
        self.act();
    }

    fn answer(&mut self) {
        if self.questions.is_empty() || self.connection.is_none() {
            return;
        }
        let (of, from, limit) = self.questions.swap_remove(0);
        let mut rows = Vec::new();
        // One in four fails.
        if self.dice.u8(0..4) > 0 {
            for (seq, own) in self.history.entry(of).or_default().range(from..).take(limit) {
                let tag = AckTag::new(format!("h{of}-{seq}")).expect("tag");
                self.connection.as_mut().expect("checked").read.insert(tag.clone(), (of, *seq));
                rows.push(row((of, *seq), tag, *own));
            }
        }
        self.inbox.on_history(&conversation(of), rows, self.now);
        self.act();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.inbox.on_tick(self.now);
        self.act();
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.questions.clear();
        self.inbox.on_disconnected(self.now);
        self.act();
    }

    fn connect(&mut self) {
        let backlog = self.unacked.iter().map(|id| Some(*id)).chain([None]).collect();
        self.connection = Some(Connection { coming: backlog, ..Connection::default() });
        self.inbox.on_subscribed(self.now);
        self.act();
    }

    fn abandon(&mut self) {
        self.abandoned = true;
        self.connection = None;
        self.questions.clear();
        self.loose.append(&mut self.in_hand);
        self.highest.clear();
        self.inbox.on_abandoned(self.now);
        self.act();
    }

    /// Does what the inbox says, and checks that it may say so.
    fn act(&mut self) {
        while let Some(action) = self.inbox.poll() {
            match action {
                InboxAction::Deliver { delivery, late } => self.delivered(&delivery, late),
                InboxAction::Ack(tags) => tags.iter().for_each(|tag| self.acknowledged(tag)),
                InboxAction::AskHistory { conversation, from, limit } => {
                    let of = conversation.as_str()[1..].parse().expect("number");
                    assert!((1..=200).contains(&limit));
                    self.questions.push((of, from, limit));
                }
                InboxAction::Gap { expected, got, .. } => assert!(expected < got),
                InboxAction::CaughtUp => {}
            }
        }
        assert!(self.inbox.order.most_held() <= HOLD_ROWS);
        let load = self.inbox.unsettled.total();
        assert_eq!(load.messages, self.in_hand.len() + self.inbox.unsettled.held().messages);
        assert_eq!(load.bytes, load.messages, "each body has one byte");
        assert!(load.messages <= 2 * MAX_UNSETTLED + 1, "{load:?}");
        assert_eq!(self.inbox.has_credit(), load.messages < MAX_UNSETTLED && !self.log_is_full());
        let stats = self.inbox.stats();
        assert_eq!(stats.delivered, self.deliveries.values().sum::<usize>() as u64);
    }

    fn log_is_full(&self) -> bool {
        self.inbox.acks.len() >= MAX_UNSETTLED * ARRIVALS_PER_MESSAGE
    }

    fn delivered(&mut self, delivery: &Delivery, late: bool) {
        let (of, seq) = parse(delivery);
        assert!(!self.history[&of][&seq], "own messages are not delivered");
        assert!(!self.settled.contains(&(of, seq)), "settled messages are not delivered again");
        assert!(self.in_hand.iter().all(|(tag, id)| *id != (of, seq) && *tag != delivery.tag));
        let times = self.deliveries.entry((of, seq)).or_default();
        *times += 1;
        let was_loose = self.loose.iter().any(|(_, id)| *id == (of, seq));
        assert!(*times == 1 || was_loose || self.abandoned, "{of} {seq} was delivered {times} times");
        let highest = self.highest.entry(of).or_default();
        if self.inbox.limits.order.conversations > 2 {
            assert!(late || seq > *highest, "{of} {seq} after {highest}");
            // What a former reader settled passes without being delivered.
            let passed = (*highest).max(self.sent.get(&of).copied().unwrap_or(0));
            assert!(!late || seq < passed || self.abandoned, "{of} {seq} after {highest} is not late");
        }
        *highest = seq.max(*highest);
        self.in_hand.push((delivery.tag.clone(), (of, seq)));
    }

    fn acknowledged(&mut self, tag: &AckTag) {
        let connection = self.connection.as_mut().expect("nothing is acknowledged without a connection");
        let id = match connection.read.get(tag) {
            Some(id) => *id,
            None => {
                let at: usize = tag.as_str().parse().expect("a tag of this connection");
                if self.style == AckStyle::Prefix {
                    assert_eq!(at, connection.acked, "in arrival order, none left out");
                    connection.acked += 1;
                }
                connection.arrived[at].1
            }
        };
        assert!(self.settled.contains(&id) || self.history[&id.0][&id.1], "{id:?} is not settled");
        self.unacked.remove(&id);
    }

    /// Lets everything come to rest: no faults, a reader that settles everything.
    fn come_to_rest(&mut self) {
        if self.connection.is_some() {
            self.disconnect();
        }
        self.connect();
        for _ in 0..10_000 {
            self.receive();
            self.settle();
            self.answer();
            let coming = self.connection.as_ref().is_some_and(|connection| !connection.coming.is_empty());
            let stuck = !coming || !self.inbox.has_credit();
            if stuck && self.in_hand.is_empty() && self.loose.is_empty() && self.questions.is_empty() {
                match self.inbox.deadline() {
                    Some(at) => self.wait(at.saturating_duration_since(self.now)),
                    None if coming => panic!("it stopped reading for good"),
                    None => return,
                }
            }
        }
        panic!("it does not come to rest");
    }
}

fn conversation(number: u8) -> ConversationId {
    ConversationId::new(format!("c{number}")).expect("id")
}

fn row((of, seq): Id, tag: AckTag, own: bool) -> Delivery {
    let id = MessageId::new(format!("{of}-{seq}")).expect("id");
    let mut delivery = Delivery::new(id, tag, Body::text("x"));
    delivery.conversation = Some(conversation(of));
    delivery.seq = Some(seq);
    delivery.sender = Address::parse(if own { "loopback://me" } else { "loopback://peer" }).ok();
    delivery
}

fn parse(delivery: &Delivery) -> Id {
    let (of, seq) = delivery.id.as_str().split_once('-').expect("made here");
    (of.parse().expect("number"), seq.parse().expect("number"))
}

/// Everything is handled, acknowledged and let go of.
fn check_rest(world: &World) {
    let wanted: BTreeSet<Id> = world
        .history
        .iter()
        .flat_map(|(of, rows)| rows.iter().filter(|(_, own)| !**own).map(|(seq, _)| (*of, *seq)))
        .collect();
    assert_eq!(world.settled, wanted, "everything is handled");
    assert!(world.unacked.is_empty(), "everything is acknowledged");
    assert_eq!(world.inbox.unsettled.total().messages, 0, "nothing is left");
}

/// Reads the operations from bytes.
pub(crate) fn run(dice: &mut Dice) {
    let mut world = World::new(std::mem::replace(dice, Dice::seeded(0)));
    while !world.dice.is_spent() {
        world.operate();
    }
    world.come_to_rest();
    check_rest(&world);
    *dice = world.dice;
}

#[test]
fn random_operations_keep_every_promise() {
    let mut late = 0;
    let mut redelivered = 0;
    for seed in 0..400 {
        let mut world = World::new(Dice::seeded(seed));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..600 {
                world.operate();
            }
            world.come_to_rest();
            check_rest(&world);
        }));
        assert!(caught.is_ok(), "seed {seed} breaks a promise");
        late += world.inbox.stats().late;
        redelivered += world.inbox.stats().duplicates;
    }
    assert!(late > 0 && redelivered > 0, "the faults happen");
}
