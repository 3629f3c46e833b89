//! What can happen to a queue.

use std::time::Duration;

use proptest::prelude::*;

use crate::fuzz::Dice;
use crate::{Advice, Error, ErrorKind, MessageId, Priority, Reached, Receipt, Result, SendOutcome};

#[derive(Debug, Clone)]
pub(super) enum Op {
    Push {
        lane: u8,
        size: usize,
        priority: Priority,
        deadline: Option<u64>,
    },
    Repeat {
        which: usize,
        altered: bool,
    },
    Poll(usize),
    Answer {
        which: usize,
        answer: Answer,
    },
    Late {
        which: usize,
        receipt: bool,
    },
    Withdraw(usize),
    Keep(usize),
    Resume(usize),
    Discard(usize),
    Disconnect,
    Connect,
    Pass(u64),
    /// A message that has ended is handed in again under its id.
    Again {
        which: usize,
        altered: bool,
    },
    /// The driver takes this many changes for the store.
    Write(usize),
    Written {
        which: usize,
        fate: Fate,
    },
    /// The process ends, with the changes under way made or not; another one begins.
    Kill(bool),
    /// The time of day is off by so many hours from now on.
    SetClock(i8),
}

/// What comes of a change in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Made,
    MadeButFailed,
    Failed,
    Full,
    /// It cannot be made, now or ever.
    Broken,
}

impl Op {
    /// Which operation it is.
    pub(super) fn kind(&self) -> (std::mem::Discriminant<Self>, Option<std::mem::Discriminant<Answer>>) {
        let answer = match self {
            Self::Answer { answer, .. } => Some(std::mem::discriminant(answer)),
            _ => None,
        };
        (std::mem::discriminant(self), answer)
    }
}

/// The next operation that some bytes stand for.
pub(super) fn decode(dice: &mut Dice) -> Op {
    let which = |dice: &mut Dice| dice.usize(0..256);
    match dice.u8(0..48) {
        0..8 => Op::Push {
            lane: dice.u8(0..4),
            size: dice.usize(0..600),
            priority: if dice.u8(0..5) == 0 { Priority::Urgent } else { Priority::Normal },
            deadline: (dice.u8(0..4) == 0).then(|| dice.u64(0..40_000)),
        },
        8 => Op::Repeat { which: which(dice), altered: dice.bool() },
        9 => Op::Keep(which(dice)),
        10..16 => Op::Poll(dice.usize(1..5)),
        16..22 => Op::Answer {
            which: which(dice),
            answer: match dice.u8(0..10) {
                0 => Answer::Busy,
                1 => Answer::SlowDown(dice.u64(0..60_000)),
                2 => Answer::TimedOut,
                3 => Answer::Lost,
                4 => Answer::LostBefore,
                5 => Answer::Forbidden,
                _ => Answer::Accepted,
            },
        },
        22 => Op::Late { which: which(dice), receipt: dice.bool() },
        23 => Op::Withdraw(which(dice)),
        24 => Op::Resume(which(dice)),
        25 => Op::Discard(which(dice)),
        26 => Op::Disconnect,
        27 => Op::Connect,
        28 => Op::SetClock(i8::try_from(dice.u8(0..97)).expect("small") - 48),
        29 => Op::Again { which: which(dice), altered: dice.bool() },
        30..36 => Op::Write(dice.usize(1..5)),
        36..44 => Op::Written {
            which: which(dice),
            fate: match dice.u8(0..18) {
                0 | 1 => Fate::MadeButFailed,
                2 | 3 => Fate::Failed,
                4 => Fate::Full,
                5 => Fate::Broken,
                _ => Fate::Made,
            },
        },
        44 => Op::Kill(dice.bool()),
        _ => Op::Pass(dice.u64(0..20_000)),
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Accepted,
    Busy,
    SlowDown(u64),
    TimedOut,
    Lost,
    LostBefore,
    Forbidden,
}

impl Answer {
    pub(super) fn result(self) -> Result<Receipt> {
        let error = |kind| Error::new(kind, "send", "");
        Err(match self {
            Self::Accepted => {
                let id = MessageId::new("m").expect("valid");
                return Ok(Receipt::new(SendOutcome::Accepted(id)));
            }
            Self::Busy => error(ErrorKind::Backpressure),
            Self::SlowDown(millis) => {
                error(ErrorKind::RateLimited).with_advice(Advice::After(Duration::from_millis(millis)))
            }
            Self::TimedOut => error(ErrorKind::Timeout),
            Self::Lost => error(ErrorKind::Disconnected),
            Self::LostBefore => error(ErrorKind::Disconnected).with_reached(Reached::No),
            Self::Forbidden => error(ErrorKind::Forbidden),
        })
    }
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let priority = prop_oneof![4 => Just(Priority::Normal), 1 => Just(Priority::Urgent)];
    let answer = prop_oneof![
        4 => Just(Answer::Accepted),
        1 => Just(Answer::Busy),
        1 => (0_u64..60_000).prop_map(Answer::SlowDown),
        1 => Just(Answer::TimedOut),
        1 => Just(Answer::Lost),
        1 => Just(Answer::LostBefore),
        1 => Just(Answer::Forbidden),
    ];
    prop_oneof![
        6 => (0_u8..4, 0_usize..600, priority, prop::option::weighted(0.3, 0_u64..40_000))
            .prop_map(|(lane, size, priority, deadline)| Op::Push { lane, size, priority, deadline }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, altered)| Op::Repeat { which, altered }),
        6 => (1_usize..5).prop_map(Op::Poll),
        6 => (any::<usize>(), answer).prop_map(|(which, answer)| Op::Answer { which, answer }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, receipt)| Op::Late { which, receipt }),
        1 => any::<usize>().prop_map(Op::Withdraw),
        1 => any::<usize>().prop_map(Op::Keep),
        1 => any::<usize>().prop_map(Op::Resume),
        1 => any::<usize>().prop_map(Op::Discard),
        1 => Just(Op::Disconnect),
        2 => Just(Op::Connect),
        3 => (0_u64..20_000).prop_map(Op::Pass),
        1 => (-48_i8..48).prop_map(Op::SetClock),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, altered)| Op::Again { which, altered }),
        6 => (1_usize..5).prop_map(Op::Write),
        8 => (any::<usize>(), fate()).prop_map(|(which, fate)| Op::Written { which, fate }),
        1 => any::<bool>().prop_map(Op::Kill),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Made),
        2 => Just(Fate::MadeButFailed),
        2 => Just(Fate::Failed),
        1 => Just(Fate::Full),
        1 => Just(Fate::Broken),
    ]
}
