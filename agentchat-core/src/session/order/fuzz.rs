//! Random rows, answers and moments over the order: each row passes once, late ones say so, what is held is
//! bounded, and everything passes in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fuzz::Dice;

pub(crate) fn run(dice: &mut Dice) {
    let mut world = World::new(dice);
    while !dice.is_spent() {
        world.operate(dice);
    }
    world.come_to_rest();
}

struct World {
    order: Order<usize>,
    limits: OrderLimits,
    now: Instant,
    catching_up: bool,
    /// The conversation and the number of each row.
    rows: Vec<(u8, u64)>,
    passed: BTreeSet<usize>,
    /// The highest number that passed in order, and the highest that anything accounted for.
    highest: BTreeMap<u8, (u64, u64)>,
    questions: Vec<(u8, u64, usize)>,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let limits = OrderLimits {
            hold_rows: dice.usize(0..8),
            gap_wait: Duration::from_millis(dice.u64(0..3_000)),
            history_rows: [0, 1, 3, 200][dice.usize(0..4)],
            // Fewer than there are: then some are forgotten, and their numbers begin anew.
            conversations: [1, 2, 10_000][dice.usize(0..3)],
        };
        Self {
            order: Order::new(limits.clone()),
            limits,
            now: Instant::now(),
            catching_up: true,
            rows: Vec::new(),
            passed: BTreeSet::new(),
            highest: BTreeMap::new(),
            questions: Vec::new(),
        }
    }

    fn operate(&mut self, dice: &mut Dice) {
        let operation = dice.u8(0..16);
        let state = (self.order.most_held(), self.catching_up, self.order.deadline().is_some());
        dice.reached((operation, state, self.order.asked_rows().min(4), self.limits.history_rows.min(2)));
        let of = dice.u8(0..CONVERSATIONS);
        match operation {
            0..7 => {
                let (seq, item) = (number(dice), self.rows.len());
                self.rows.push((of, seq));
                self.order.row(&conversation(of), seq, item, self.now);
            }
            7 => self.note(of, number(dice)),
            8 => {
                let next = number(dice);
                self.accounted(of, next.saturating_sub(1));
                self.order.resume(&conversation(of), next, self.now);
            }
            9 => {
                self.catching_up = true;
                self.questions.clear();
                self.order.begin_catch_up();
            }
            10 => self.end_catch_up(),
            11 => drop(self.order.press(self.now)),
            12 => self.order.ask(dice.usize(0..8), self.now),
            13 => self.answer(dice),
            _ => {
                self.now += Duration::from_millis(dice.u64(0..2_000));
                self.order.tick(self.now);
            }
        }
        self.act();
    }

    fn end_catch_up(&mut self) {
        self.catching_up = false;
        self.order.end_catch_up(self.now);
    }

    fn note(&mut self, of: u8, seq: u64) {
        self.accounted(of, seq);
        self.order.note(&conversation(of), seq, self.now);
    }

    fn accounted(&mut self, of: u8, seq: u64) {
        let (_, known) = self.highest.entry(of).or_default();
        *known = seq.max(*known);
    }

    /// History answers with what it likes: nothing, some of the rows, or rows that were seen.
    fn answer(&mut self, dice: &mut Dice) {
        if self.questions.is_empty() {
            return;
        }
        let (of, from, limit) = self.questions.swap_remove(dice.usize(0..self.questions.len()));
        let (mut fresh, mut seen, mut proven) = (Vec::new(), Vec::new(), None);
        for seq in from..from.saturating_add(limit.min(6) as u64) {
            match dice.u8(0..4) {
                0 => continue,
                1 => seen.push(seq),
                _ => {
                    fresh.push((seq, self.rows.len()));
                    self.rows.push((of, seq));
                }
            }
            proven = Some(seq);
        }
        for seq in &seen {
            self.accounted(of, *seq);
        }
        self.order.history(&conversation(of), fresh, &seen, proven, self.now);
    }

    fn act(&mut self) {
        while let Some(action) = self.order.poll() {
            match action {
                OrderAction::Pass { item, late } => self.pass(item, late),
                OrderAction::AskHistory { conversation, from, limit } => {
                    assert!((1..=self.limits.history_rows).contains(&limit));
                    self.questions.push((parse(&conversation), from, limit));
                }
                OrderAction::Gap { conversation, expected, got } => {
                    assert!(expected < got, "a gap of nothing");
                    self.accounted(parse(&conversation), got - 1);
                }
            }
        }
        assert!(self.order.most_held() <= self.limits.hold_rows.max(usize::from(self.catching_up)));
        assert!(self.order.asked_rows() == 0 || self.limits.history_rows > 0);
    }

    fn pass(&mut self, item: usize, late: bool) {
        let (of, seq) = self.rows[item];
        assert!(self.passed.insert(item), "row {item} passed twice");
        let (passed, known) = self.highest.entry(of).or_default();
        if self.limits.conversations > usize::from(CONVERSATIONS) {
            assert!(late || seq >= *passed, "c{of}: {seq} passed after {passed}");
            assert!(!late || seq <= *known, "c{of}: {seq} is not late");
        }
        if !late {
            *passed = seq.max(*passed);
        }
        *known = seq.max(*known);
    }

    /// When nothing more comes, everything passes by time alone.
    fn come_to_rest(&mut self) {
        self.end_catch_up();
        self.act();
        for _ in 0..1_000 {
            self.order.ask(usize::MAX, self.now);
            self.act();
            let Some(at) = self.order.deadline() else { break };
            self.now = self.now.max(at);
            self.order.tick(self.now);
            self.act();
        }
        assert_eq!(self.order.most_held(), 0, "it does not come to rest");
        assert_eq!(self.passed.len(), self.rows.len(), "every row passes");
    }
}

/// Mostly small numbers, and the largest there is.
fn number(dice: &mut Dice) -> u64 {
    match dice.u8(0..32) {
        31 => u64::MAX,
        small => u64::from(small),
    }
}

fn conversation(number: u8) -> ConversationId {
    ConversationId::new(format!("c{number}")).expect("id")
}

fn parse(conversation: &ConversationId) -> u8 {
    conversation.as_str()[1..].parse().expect("a number")
}

const CONVERSATIONS: u8 = 3;
