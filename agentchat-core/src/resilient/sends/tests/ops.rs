//! What can happen to senders.

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A new message; its sender may wait for room.
    Send {
        lane: u8,
        wait: bool,
    },
    /// One there was before, in the outbox or not.
    Again {
        which: usize,
        wait: bool,
    },
    /// A new message whose sender makes the attempt; without an answer, it is under way.
    Direct {
        lane: u8,
        answer: Option<Answer>,
    },
    Drop(usize),
    /// Dropped, but the session hears of it later.
    DropUnseen(usize),
    SeeDropped,
    Detach(usize),
    Poll,
    Answer {
        which: usize,
        answer: Answer,
    },
    Connect,
    Disconnect,
    Resume(usize),
    Discard(usize),
    Write {
        broken: bool,
    },
    Restart,
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Accepted,
    Busy,
    Forbidden,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let answer =
        || prop_oneof![3 => Just(Answer::Accepted), 2 => Just(Answer::Busy), 2 => Just(Answer::Forbidden)];
    let which = any::<usize>;
    prop_oneof![
        8 => (0_u8..3, any::<bool>()).prop_map(|(lane, wait)| Op::Send { lane, wait }),
        5 => (which(), any::<bool>()).prop_map(|(which, wait)| Op::Again { which, wait }),
        2 => (0_u8..3, prop::option::of(answer())).prop_map(|(lane, answer)| Op::Direct { lane, answer }),
        4 => which().prop_map(Op::Drop),
        1 => which().prop_map(Op::DropUnseen),
        1 => Just(Op::SeeDropped),
        4 => which().prop_map(Op::Detach),
        10 => Just(Op::Poll),
        8 => (which(), answer()).prop_map(|(which, answer)| Op::Answer { which, answer }),
        3 => Just(Op::Connect),
        1 => Just(Op::Disconnect),
        1 => which().prop_map(Op::Resume),
        1 => which().prop_map(Op::Discard),
        8 => prop::bool::weighted(0.1).prop_map(|broken| Op::Write { broken }),
        1 => Just(Op::Restart),
        4 => (0_u64..8_000).prop_map(Op::Pass),
    ]
}
